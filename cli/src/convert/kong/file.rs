//! `kong.yml` (1.1, 2.1, 3.0 and what decK adds) to Kong's entities: what is nested is made flat, what is written in
//! short or in an old way is written out.

mod credentials;
mod routes;
mod upstreams;

use super::model::{Certificate, Kong, Plugin, Scope, Target, Upstream};
use crate::convert::{
    report::Report,
    tree::{Node, Reader, Source},
};

/// What a file may hold.
const KINDS: [&str; 8] = [
    "services",
    "routes",
    "consumers",
    "consumer_groups",
    "plugins",
    "upstreams",
    "certificates",
    "ca_certificates",
];

/// What every entity may have and nothing depends on.
pub(super) const PLAIN: [&str; 5] = ["_comment", "_ignore", "created_at", "updated_at", "tags"];

/// Reads one document into what was read before.
pub(crate) fn read<'a>(source: &'a Source, report: &Report, kong: &mut Kong<'a>) -> Result<(), String> {
    let root = Node::root(source);
    let version = root.get("_format_version").map(|node| match node.value().as_str() {
        Some(text) => text.to_owned(),
        None => node.value().to_string(),
    });
    let is_old = match version.as_deref() {
        Some("3.0" | "3") => false,
        Some("1.1" | "2.1") => true,
        Some(other) => {
            return Err(format!("{}: _format_version {other} is none of 1.1, 2.1 and 3.0", source.file));
        }
        // decK takes such a file for one of today.
        None if KINDS.iter().any(|kind| root.get(kind).is_some()) => false,
        None => return Err(format!("{}: there is no _format_version: it is no kong.yml", source.file)),
    };
    let mut file =
        File { report, kong, is_old, is_hashed: false, defaults: None, configs: None, plugins: Vec::new() };
    file.document(&Reader::new(root, report));
    file.resolve();
    Ok(())
}

/// Refers to another entity, by name or id.
type Ref<'a> = Option<Node<'a>>;

/// A plugin whose references are not looked up yet: those that it stands in, and those that it names.
struct Unresolved<'a> {
    plugin: Plugin<'a>,
    route: Ref<'a>,
    service: Ref<'a>,
    consumer: Ref<'a>,
}

struct File<'a, 'k, 'r> {
    report: &'r Report,
    kong: &'k mut Kong<'a>,
    /// Kong 1 and 2 told a regular expression by its characters.
    is_old: bool,
    /// Passwords stand there hashed (`_transform: false`).
    is_hashed: bool,
    /// `_info.defaults`.
    defaults: Option<Node<'a>>,
    /// `_plugin_configs`.
    configs: Option<Node<'a>>,
    plugins: Vec<Unresolved<'a>>,
}

impl<'a, 'r> File<'a, '_, 'r> {
    fn reader(&self, node: Node<'a>) -> Reader<'a, 'r> {
        Reader::new(node, self.report)
    }

    /// With what `_info.defaults` says of the kind.
    fn defaulted(&self, node: Node<'a>, kind: &str) -> Reader<'a, 'r> {
        let defaults = self.defaults.as_ref().and_then(|defaults| defaults.get(kind));
        self.reader(node).with_defaults(defaults)
    }

    fn document(&mut self, root: &Reader<'a, 'r>) {
        root.exact(&["_format_version", "_comment", "_ignore", "_workspace", "_konnect"]);
        if let Some(info) = root.below("_info") {
            info.exact(&["select_tags", "defaults"]);
            self.defaults = info.find("defaults");
        }
        self.configs = root.find("_plugin_configs");
        root.exact(&["_plugin_configs"]);
        if let Some(transform) = root.flag("_transform").filter(|transform| !transform.value) {
            self.is_hashed = true;
            self.report.warn(
                &transform.node,
                "is false: passwords in it are hashed Kong's way and can't be verified here",
            );
        }
        let all = |name: &str| root.list(name);
        for node in all("services") {
            self.service(&node);
        }
        for node in all("routes") {
            self.route(&node, None);
        }
        for node in all("upstreams") {
            self.upstream(node);
        }
        for node in all("targets") {
            self.loose_target(node);
        }
        for node in all("consumers") {
            self.consumer(&node);
        }
        self.loose_credentials(root);
        for node in all("certificates") {
            self.certificate(&node);
        }
        for node in all("plugins") {
            self.plugin(node, None, None, None);
        }
        for (name, why) in [
            ("vaults", "is not converted: make the Secrets that it stands for"),
            ("consumer_groups", "is not converted: limits by group have no like here; give consumers a tier"),
            (
                "ca_certificates",
                "is not converted: put it into a ConfigMap, entry ca.crt, and name that where it verifies",
            ),
            ("rbac_roles", "is not converted: rights are those of Kubernetes"),
            ("licenses", "is not needed"),
        ] {
            match name {
                "licenses" => root.warn(name, why),
                _ => root.refuse(name, why),
            }
        }
    }

    fn upstream(&mut self, node: Node<'a>) {
        let reader = self.defaulted(node.clone(), "upstream");
        reader.exact(&PLAIN);
        reader.exact(&["id"]);
        let name = reader.text("name").map(|name| name.value).unwrap_or_default();
        self.report.object(&node, format!("upstream {name}"));
        reader.exact(&["slots"]);
        reader.warn("use_srv_name", "is not converted: ports of SRV records are not looked up");
        let traffic = self.traffic(&reader);
        let host_header = reader.text("host_header");
        let targets = reader.list("targets");
        let targets = targets.into_iter().filter_map(|node| self.target(node)).collect();
        self.kong.upstreams.push(Upstream { node, name, host_header, targets, traffic });
    }

    fn target(&self, node: Node<'a>) -> Option<Target<'a>> {
        let reader = self.defaulted(node, "target");
        reader.exact(&PLAIN);
        reader.exact(&["id"]);
        let weight = reader.number("weight").map_or(100, |weight| weight.value);
        Some(Target { address: reader.text("target")?, weight })
    }

    /// A target beside its upstream.
    fn loose_target(&mut self, node: Node<'a>) {
        let upstream = node.get("upstream");
        let Some(target) = self.target(node) else { return };
        let known = upstream.as_ref().and_then(|upstream| {
            self.report.exact(upstream);
            let wanted = reference(upstream);
            self.kong.upstreams.iter_mut().find(|one| one.name == wanted || id_of(&one.node) == Some(wanted))
        });
        match known {
            Some(upstream) => upstream.targets.push(target),
            None => self.report.refuse(&target.address.node, "names no upstream of the file"),
        }
    }

    fn certificate(&mut self, node: &Node<'a>) {
        let reader = self.reader(node.clone());
        reader.exact(&PLAIN);
        reader.exact(&["id"]);
        self.report.object(node, "certificate");
        for name in ["cert_alt", "key_alt"] {
            reader.warn(name, "is not converted: the first certificate is used alone");
        }
        let mut snis = Vec::new();
        for sni in reader.list("snis") {
            let sni_reader = self.reader(sni.clone());
            match sni.value().as_str() {
                Some(text) => {
                    self.report.exact(&sni);
                    snis.push(crate::convert::tree::At { value: text.to_owned(), node: sni.clone() });
                }
                None => {
                    sni_reader.exact(&PLAIN);
                    sni_reader.exact(&["id"]);
                    snis.extend(sni_reader.text("name"));
                }
            }
        }
        let (Some(cert), Some(key)) = (reader.text("cert"), reader.text("key")) else { return };
        self.kong.certificates.push(Certificate { cert, key, snis });
    }

    /// A plugin, with what it stands in.
    fn plugin(&mut self, node: Node<'a>, route: Ref<'a>, service: Ref<'a>, consumer: Ref<'a>) {
        let reader = self.reader(node.clone());
        reader.exact(&PLAIN);
        reader.exact(&["id", "instance_name"]);
        let Some(name) = reader.text("name") else { return };
        self.report.object(&node, format!("plugin {}", name.value));
        if reader.flag("enabled").is_some_and(|enabled| !enabled.value) {
            // It does nothing there either.
            self.report.exact(&node);
            return;
        }
        reader.exact(&["protocols"]);
        for name in ["ordering", "condition", "partials"] {
            reader.refuse(name, "is of Kong's Enterprise edition and is not converted");
        }
        let mut defaults = Vec::new();
        if let Some(shared) = reader.text("_config") {
            let found = self.configs.as_ref().and_then(|configs| configs.get(&shared.value));
            match found {
                Some(found) => defaults.push(found),
                None => self.report.refuse(&shared.node, "names nothing in _plugin_configs"),
            }
        }
        let named = |name: &str, around: Ref<'a>| {
            let own = reader.find(name);
            if let Some(own) = &own {
                self.report.exact(own);
            }
            own.or(around)
        };
        let (route, service) = (named("route", route), named("service", service));
        let consumer = named("consumer", consumer);
        if let Some(group) = reader.find("consumer_group") {
            self.report.refuse(&group, "is not converted: give consumers a tier");
            self.report.refuse(&node, "is for a group of consumers");
            return;
        }
        let config = reader.find("config");
        let plugin = Plugin { node, name, config, defaults, scope: Scope::default(), unreadable: None };
        self.plugins.push(Unresolved { plugin, route, service, consumer });
    }

    /// Looks up what plugins name, once all is read.
    fn resolve(&mut self) {
        for mut one in std::mem::take(&mut self.plugins) {
            let kong = &*self.kong;
            let route = find(&one.route, &kong.routes, |route| {
                (route.name.as_str(), route.id.as_deref(), &route.node)
            });
            let service = find(&one.service, &kong.services, |service| {
                (service.name.as_str(), service.id.as_deref(), &service.node)
            });
            let consumer = find(&one.consumer, &kong.consumers, |consumer| {
                (consumer.name.as_str(), consumer.id.as_deref(), &consumer.node)
            });
            match (route, service, consumer) {
                (Ok(route), Ok(service), Ok(consumer)) => {
                    one.plugin.scope = Scope { route, service, consumer };
                    self.kong.plugins.push(one.plugin);
                }
                (Err(node), ..) | (_, Err(node), _) | (.., Err(node)) => {
                    // Kong would not start with such a file.
                    self.report.refuse(&node, "names nothing of the file");
                    self.report.refuse(&one.plugin.node, "is for something that is not in the file");
                }
            }
        }
    }
}

/// What a reference names: a text, or an object with a name or an id.
pub(super) fn reference<'a>(node: &Node<'a>) -> &'a str {
    let value = node.value();
    let fields = ["name", "username", "id"];
    value.as_str().or_else(|| fields.iter().find_map(|field| value[field].as_str())).unwrap_or("")
}

fn id_of<'a>(node: &Node<'a>) -> Option<&'a str> {
    node.value()["id"].as_str()
}

/// By position. The error is a reference that leads nowhere.
fn find<'a, T>(
    wanted: &Ref<'a>,
    all: &[T],
    called: impl Fn(&T) -> (&str, Option<&str>, &Node<'a>),
) -> Result<Option<usize>, Node<'a>> {
    let Some(wanted) = wanted else { return Ok(None) };
    let text = reference(wanted);
    let is_it = |one: &T| {
        let (name, id, node) = called(one);
        // What stands in another is known by its place: it may have neither name nor id.
        (node.source() == wanted.source() && node.path() == wanted.path())
            || (!text.is_empty() && (name == text || id == Some(text)))
    };
    all.iter().position(is_it).map(Some).ok_or_else(|| wanted.clone())
}
