//! Plugins that change requests and answers, or answer by themselves.

use serde_json::{Value, json};

use super::{
    Conversion,
    model::Plugin,
    plugins::{Guard, config},
};
use crate::convert::{
    forms::{is_origin, unique},
    tree::{At, Reader},
};

/// Kong's, where a plugin names none.
const METHODS: [&str; 9] = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// Kong's, where the plugin names no size.
const MOST_MEGABYTES: i64 = 128;
/// What a rule can say at most.
const MOST_BYTES: i64 = 1 << 40;

/// Parts of a rule, as it has them.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) cors: Option<Value>,
    pub(super) request_headers: Option<Value>,
    pub(super) response_headers: Option<Value>,
    /// Bytes that a request's body may have.
    pub(super) max_body: Option<i64>,
    /// Instead of a backend.
    pub(super) respond: Option<Value>,
    pub(super) redirect: Option<Value>,
}

impl<'a> Conversion<'a, '_> {
    pub(super) fn cors(&mut self, plugin: &Plugin<'a>, guard: &mut Guard) {
        let config = config(plugin, self.report);
        self.report
            .warn(&plugin.name.node, "answers preflight requests with 204, and only for origins that may");
        let credentials = config.flag("credentials").is_some_and(|at| at.value);
        if config.flag("preflight_continue").is_some_and(|at| at.value) {
            config.warn("preflight_continue", "is not converted: backends see no preflight requests");
        }
        config.warn("private_network", "is not converted");
        config.exact(&["allow_origin_absent"]);
        let mut origins = Vec::new();
        let given = config.texts("origins");
        for origin in &given {
            match origin.value.as_str() {
                text if is_origin(text) => origins.push(text.trim_end_matches('/').to_owned()),
                _ => self.report.refuse(
                    &origin.node,
                    "is not converted: an origin is https://HOST[:PORT], the host may begin with `*.`",
                ),
            }
        }
        let is_any = given.is_empty() || origins.iter().any(|origin| origin == "*");
        if is_any && credentials {
            config.refuse("credentials", "lets every page act as its visitor, since every origin may: cors is left out until you name the origins");
            self.report.refuse(&plugin.name.node, "is left out: see `credentials`");
            return;
        }
        let origins = if is_any { vec!["*".to_owned()] } else { origins };
        let mut methods: Vec<String> = Vec::new();
        for method in config.texts("methods") {
            if METHODS.contains(&&*method.value) {
                methods.push(method.value);
            } else {
                self.report.refuse(&method.node, "is not converted: it is no method of HTTP");
            }
        }
        if methods.is_empty() {
            methods = METHODS.iter().map(|&method| method.to_owned()).collect();
        }
        let headers: Vec<String> = config.texts("headers").into_iter().map(|at| at.value).collect();
        let headers = if headers.is_empty() { vec!["*".to_owned()] } else { headers };
        let mut cors = json!({
            "allowOrigins": origins,
            "allowMethods": unique(methods),
            "allowHeaders": unique(headers),
        });
        if credentials {
            cors["allowCredentials"] = json!(true);
        }
        let exposed: Vec<String> = config.texts("exposed_headers").into_iter().map(|at| at.value).collect();
        if credentials && exposed.iter().any(|header| header == "*") {
            config.refuse(
                "exposed_headers",
                "is `*`, which browsers take for a name beside credentials: name them",
            );
        } else if !exposed.is_empty() {
            cors["exposeHeaders"] = json!(unique(exposed));
        }
        if let Some(age) = config.number("max_age").filter(|age| age.value > 0) {
            cors["maxAge"] = json!(age.value);
        }
        guard.filters.cors = Some(cors);
    }

    /// Order there: remove, rename, replace, add, append. Here: set, add, remove.
    pub(super) fn transform(&mut self, plugin: &Plugin<'a>, of_request: bool, guard: &mut Guard) {
        let config = config(plugin, self.report);
        let (mut set, mut add, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        for (part, why) in [
            ("replace", Some("is set whether or not it is there, where Kong only replaced it")),
            ("add", Some("takes the place of what is there, where Kong kept that")),
            ("append", None),
        ] {
            let Some(below) = config.below(part) else { continue };
            for header in below.texts("headers") {
                let Some(value) = self.header(&header) else {
                    self.report.refuse(
                        &header.node,
                        "is not converted: its value is a template, or it is no NAME:VALUE",
                    );
                    continue;
                };
                let list = if why.is_some() { &mut set } else { &mut add };
                list.retain(|one: &Value| one["name"] != value["name"]);
                list.push(value);
                if let Some(why) = why {
                    self.report.warn(&header.node, why);
                }
            }
            self.refuse_parts(&below);
        }
        if let Some(below) = config.below("remove") {
            remove.extend(below.texts("headers").into_iter().map(|at| at.value));
            self.refuse_parts(&below);
        }
        for name in ["rename", "allow"] {
            if let Some(below) = config.below(name) {
                below.refuse("headers", "is not converted: headers are not renamed here");
                self.refuse_parts(&below);
            }
        }
        config.refuse("http_method", "is not converted: methods are passed on as they are");
        let mut changes = json!({});
        for (name, list) in [("set", set), ("add", add)] {
            if !list.is_empty() {
                changes[name] = json!(list);
            }
        }
        if !remove.is_empty() {
            changes["remove"] = json!(unique(remove));
        }
        if changes.as_object().is_some_and(serde_json::Map::is_empty) {
            return;
        }
        let place =
            if of_request { &mut guard.filters.request_headers } else { &mut guard.filters.response_headers };
        *place = Some(changes);
    }

    fn header(&self, header: &At<'a, String>) -> Option<Value> {
        let (name, value) = header.value.split_once(':')?;
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let is_plain = !value.contains("$(") && !value.bytes().any(|byte| byte < b' ');
        (is_name && is_plain).then(|| json!({"name": name, "value": value.trim()}))
    }

    fn refuse_parts(&self, below: &Reader<'a, '_>) {
        for name in ["body", "querystring", "uri", "json", "json_types", "if_status"] {
            if let Some(node) =
                below.find(name).filter(|node| node.value().as_array().is_none_or(|list| !list.is_empty()))
            {
                self.report
                    .refuse(&node, "is not converted: bodies, queries and paths are not changed by this");
            } else {
                below.exact(&[name]);
            }
        }
    }

    pub(super) fn limit_bodies(&self, plugin: &Plugin<'a>, guard: &mut Guard) {
        let config = config(plugin, self.report);
        let size = config.number("allowed_payload_size").map_or(MOST_MEGABYTES, |at| at.value);
        let unit = config.text("size_unit").map_or_else(|| "megabytes".to_owned(), |at| at.value);
        let factor = match &*unit {
            "bytes" => 1,
            "kilobytes" => 1 << 10,
            _ => 1 << 20,
        };
        if config.flag("require_content_length").is_some_and(|at| at.value) {
            config.warn(
                "require_content_length",
                "is not converted: a body of unknown length is cut off when it is too long",
            );
        }
        match size.checked_mul(factor).filter(|bytes| (1..=MOST_BYTES).contains(bytes)) {
            Some(bytes) => guard.filters.max_body = Some(bytes),
            None => self.close(plugin, "names a size that no rule can have", guard),
        }
    }

    pub(super) fn terminate(&mut self, plugin: &Plugin<'a>, guard: &mut Guard) {
        let config = config(plugin, self.report);
        let status = config.number("status_code").map_or(503, |at| at.value);
        let (message, body) = (config.text("message"), config.text("body"));
        let content_type = config.text("content_type");
        if config.text("trigger").is_some() {
            return self.close(
                plugin,
                "ends only requests with a header or parameter (trigger), which has no like here",
                guard,
            );
        }
        if config.flag("echo").is_some_and(|at| at.value) {
            config.refuse("echo", "is not converted: the answer tells nothing of the request");
        }
        if !(200..=599).contains(&status) {
            return self.close(plugin, "answers with a status below 200", guard);
        }
        let body = body.map_or_else(
            || {
                let text = message.map_or_else(|| "Service unavailable".to_owned(), |message| message.value);
                json!({"message": text}).to_string()
            },
            |body| body.value,
        );
        let content_type =
            content_type.map_or_else(|| "application/json; charset=utf-8".to_owned(), |at| at.value);
        guard.filters.respond = Some(json!({
            "status": status,
            "headers": [{"name": "Content-Type", "value": content_type}],
            "body": body,
        }));
    }

    pub(super) fn redirect(&mut self, plugin: &Plugin<'a>, guard: &mut Guard) {
        let config = config(plugin, self.report);
        let status = config.number("status_code").map_or(301, |at| at.value);
        let keeps_path = config.flag("keep_incoming_path").is_some_and(|at| at.value);
        let Some(location) = config.text("location") else {
            return self.close(plugin, "names no location", guard);
        };
        let Ok(uri) = location.value.parse::<http::Uri>() else {
            return self.close(plugin, "names a location that is no URL", guard);
        };
        let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return self.close(plugin, "names a location that is no URL with a host", guard);
        };
        if uri.query().is_some() {
            self.report.refuse(&location.node, "loses its query: redirects keep that of the request");
        }
        let status = if [301, 302, 303, 307, 308].contains(&status) { status } else { 302 };
        let mut redirect =
            json!({"scheme": scheme, "hostname": host.to_ascii_lowercase(), "statusCode": status});
        if let Some(port) = uri.port_u16() {
            redirect["port"] = json!(port);
        }
        if !keeps_path {
            redirect["path"] = json!({"type": "ReplaceFullPath", "replaceFullPath": uri.path()});
        }
        guard.filters.redirect = Some(redirect);
    }
}
