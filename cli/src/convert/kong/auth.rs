//! Plugins that authenticate, to AuthPolicies.
//!
//! Kong's plugins all have to succeed, unless each has an `anonymous` consumer: then one is enough. Here the methods of a
//! policy are always alternatives, so two plugins without `anonymous` are not converted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Conversion,
    consumers::TokenKey,
    model::Plugin,
    plugins::{Guard, config},
};
use crate::convert::{
    manifests::{File, own},
    tree::{At, Reader},
};

/// So many methods has a policy at most.
const MOST_METHODS: usize = 8;

/// By what they say.
#[derive(Debug, Default)]
pub(super) struct Policies(BTreeMap<String, String>);

/// What one plugin asks for.
struct Asked<'a> {
    methods: Vec<Value>,
    anonymous: Option<At<'a, String>>,
    hides: bool,
}

impl<'a> Conversion<'a, '_> {
    /// The AuthPolicy of a route with these plugins.
    pub(super) fn authenticate(&mut self, plugins: &[&Plugin<'a>], guard: &mut Guard) {
        if plugins.is_empty() {
            return;
        }
        let is_rule = |plugin: &&&Plugin<'a>| ["acl", "ip-restriction"].contains(&plugin.called());
        let (mut rule, mut denied) = (json!({}), Vec::new());
        for plugin in plugins.iter().filter(is_rule) {
            let taken = match plugin.called() {
                "acl" if plugins.iter().all(|plugin| is_rule(&plugin)) => {
                    Err("asks for groups where nobody proves who they are".to_owned())
                }
                "acl" => self.groups(plugin, &mut rule),
                _ => self.addresses(plugin, &mut rule, &mut denied),
            };
            if let Err(why) = taken {
                self.close(plugin, &why, guard);
            }
        }
        let proofs: Vec<&Plugin<'a>> = plugins.iter().filter(|plugin| !is_rule(plugin)).copied().collect();
        let mut asked = Vec::new();
        for plugin in &proofs {
            let one = match plugin.called() {
                "jwt" => self.tokens(plugin),
                "basic-auth" => Ok(self.passwords(plugin)),
                _ => self.keys(plugin),
            };
            match one {
                Ok(one) => asked.push(one),
                Err(why) => return self.close(plugin, &why, guard),
            }
        }
        let alternatives = asked.iter().all(|one| one.anonymous.is_some());
        if asked.len() > 1 && !alternatives {
            for plugin in proofs {
                let why = "has to succeed besides another plugin, and methods of a policy are alternatives";
                self.close(plugin, why, guard);
            }
            return;
        }
        if !guard.missing.is_empty() {
            return;
        }
        let mut allows = false;
        for anonymous in asked.iter().filter_map(|one| one.anonymous.as_ref()) {
            if self.is_cut_off(&anonymous.value) {
                self.report.exact(&anonymous.node);
            } else {
                allows = true;
                self.report.warn(&anonymous.node, "lets requests without a credential in, without an identity; one with a wrong credential gets 401, where Kong took it for anonymous");
            }
        }
        let hides = asked.iter().all(|one| one.hides);
        let methods: Vec<Value> = asked.into_iter().flat_map(|one| one.methods).collect();
        if methods.len() > MOST_METHODS {
            let why = format!("needs {} methods, and a policy has at most {MOST_METHODS}", methods.len());
            for plugin in proofs {
                self.close(plugin, &why, guard);
            }
            return;
        }
        let mut spec = json!({});
        if !methods.is_empty() {
            spec["anyOf"] = json!(methods);
        }
        if rule.as_object().is_some_and(|rule| !rule.is_empty()) {
            spec["authorize"] = json!([rule]);
        }
        if !denied.is_empty() {
            spec["denyClientIPs"] = json!(denied);
        }
        // An address is looked at whoever sends a request.
        if allows || proofs.is_empty() {
            spec["anonymous"] = json!("Allow");
        }
        if !hides && !proofs.is_empty() {
            spec["identity"] = json!({"forwardCredential": true});
        }
        let wanted: Vec<&str> = plugins.iter().map(|plugin| plugin.called()).collect();
        guard.auth = Some(self.policy(&wanted.join("-"), &spec));
    }

    fn policy(&mut self, wanted: &str, spec: &Value) -> String {
        let text = spec.to_string();
        if let Some(name) = self.auth.0.get(&text) {
            return name.clone();
        }
        let name = self.names.unique("AuthPolicy", wanted);
        self.manifests.add(File::Policies, own("AuthPolicy", &self.options.namespace, &name, spec));
        self.auth.0.insert(text, name.clone());
        name
    }

    /// The error says why it can't be.
    fn tokens(&mut self, plugin: &Plugin<'a>) -> Result<Asked<'a>, String> {
        let config = config(plugin, self.report);
        let common = self.common(&config);
        let mut sources = Vec::new();
        let headers = texts(&config, "header_names", &["authorization"]);
        sources.extend(headers.iter().map(|name| json!({"header": {"name": name, "scheme": "Bearer"}})));
        let queries = texts(&config, "uri_param_names", &["jwt"]);
        sources.extend(queries.iter().map(|name| json!({"query": {"name": name}})));
        let cookies = texts(&config, "cookie_names", &[]);
        sources.extend(cookies.iter().map(|name| json!({"cookie": {"name": name}})));
        if sources.len() > MOST_METHODS {
            return Err(format!("looks for tokens in more than {MOST_METHODS} places"));
        }
        if let Some(claim) = config.text("key_claim_name").filter(|at| at.value != "iss") {
            return Err(format!("finds keys by {}, and here the issuer does: key_claim_name", claim.value));
        }
        if config.number("maximum_expiration").is_some_and(|at| at.value > 0) {
            return Err(
                "bounds how far `exp` may lie ahead, which is not checked here: maximum_expiration".into()
            );
        }
        let verified: Vec<String> = config.texts("claims_to_verify").into_iter().map(|at| at.value).collect();
        let stricter = "Tokens without `exp` get 401 and `nbf` is honoured, where Kong did not look at them";
        if !verified.iter().any(|claim| claim == "exp") {
            let node = config.find("claims_to_verify").unwrap_or_else(|| plugin.name.node.clone());
            self.report.warn(&node, format!("does not have `exp` verified. {stricter}"));
        }
        let is_base64 = config.flag("secret_is_base64").is_some_and(|at| at.value);
        let mut methods = Vec::new();
        let sources = Value::from(sources);
        let mut shared = Vec::new();
        for token in &self.consumers.tokens {
            if is_base64 && let Some(problem) = token.problem(true) {
                self.report.warn(
                    &plugin.name.node,
                    format!("can't use the key of issuer {}: {problem}", token.issuer),
                );
                continue;
            }
            methods.push(token.method(&sources));
            if let TokenKey::Shared { name, entry, secret: Some(secret) } = &token.key {
                shared.push((name.clone(), entry.clone(), secret.clone()));
            }
        }
        for (name, entry, secret) in shared {
            self.manifests.secret(&self.options.namespace, &name, &entry, &secret, is_base64);
        }
        if methods.is_empty() {
            return Err("has no jwt_secret that can be used".into());
        }
        Ok(Asked { methods, anonymous: common, hides: false })
    }

    fn keys(&mut self, plugin: &Plugin<'a>) -> Result<Asked<'a>, String> {
        let config = config(plugin, self.report);
        let anonymous = self.common(&config);
        let names = texts(&config, "key_names", &["apikey"]);
        let in_header = config.flag("key_in_header").is_none_or(|at| at.value);
        let in_query = config.flag("key_in_query").is_none_or(|at| at.value);
        if config.flag("key_in_body").is_some_and(|at| at.value) {
            config.refuse(
                "key_in_body",
                "is not converted: keys in bodies are not looked for, such requests get 401",
            );
        }
        let mut sources = Vec::new();
        if in_header {
            sources.extend(names.iter().map(|name| json!({"header": {"name": name}})));
        }
        if in_query {
            sources.extend(names.iter().map(|name| json!({"query": {"name": name}})));
        }
        if sources.is_empty() {
            return Err("looks for keys in bodies alone".into());
        }
        if sources.len() > MOST_METHODS {
            return Err(format!("looks for keys in more than {MOST_METHODS} places"));
        }
        let hides = config.flag("hide_credentials").is_some_and(|at| at.value);
        Ok(Asked { methods: vec![json!({"apiKey": {"sources": sources}})], anonymous, hides })
    }

    fn passwords(&mut self, plugin: &Plugin<'a>) -> Asked<'a> {
        let config = config(plugin, self.report);
        let anonymous = self.common(&config);
        let hides = config.flag("hide_credentials").is_some_and(|at| at.value);
        self.report
            .warn(&plugin.name.node, "looks for the password in Authorization, not in Proxy-Authorization");
        Asked { methods: vec![json!({"basic": {}})], anonymous, hides }
    }

    /// The error says why it can't be.
    fn groups(&self, plugin: &Plugin<'a>, rule: &mut Value) -> Result<(), String> {
        let config = config(plugin, self.report);
        config.exact(&["hide_groups_header", "always_use_authenticated_groups", "include_consumer_groups"]);
        let mut denied = config.texts("deny");
        denied.extend(config.texts("blacklist"));
        if !denied.is_empty() {
            return Err("keeps groups out (deny), and rules here let groups in".into());
        }
        let mut allowed = config.texts("allow");
        allowed.extend(config.texts("whitelist"));
        let groups: BTreeSet<String> = allowed.into_iter().map(|at| at.value).collect();
        if groups.is_empty() || groups.iter().any(|group| group.is_empty() || group.contains(',')) {
            return Err("names no group that can be asked for".into());
        }
        rule["groups"] = json!(groups);
        Ok(())
    }

    /// The error says why it can't be.
    fn addresses(
        &self,
        plugin: &Plugin<'a>,
        rule: &mut Value,
        denied: &mut Vec<String>,
    ) -> Result<(), String> {
        let config = config(plugin, self.report);
        config.warn("status", "is not converted: the answer is 403");
        config.warn("message", "is not converted: the answer is problem details (RFC 9457)");
        let read = |names: [&str; 2]| -> Result<BTreeSet<String>, String> {
            let mut ranges = BTreeSet::new();
            for range in names.into_iter().flat_map(|name| config.texts(name)) {
                let address = range.value.split('/').next().unwrap_or_default();
                if address.parse::<std::net::IpAddr>().is_err() {
                    return Err(format!("names {}, which is no range of addresses", range.value));
                }
                ranges.insert(range.value);
            }
            Ok(ranges)
        };
        denied.extend(read(["deny", "blacklist"])?);
        let allowed = read(["allow", "whitelist"])?;
        if !allowed.is_empty() {
            rule["clientIPs"] = json!(allowed);
        }
        Ok(())
    }

    /// What all of them have. Gives `anonymous`.
    fn common(&self, config: &Reader<'a, '_>) -> Option<At<'a, String>> {
        config.warn("realm", "is not converted: WWW-Authenticate names none");
        if config.flag("run_on_preflight").is_some_and(|at| !at.value) {
            config.warn(
                "run_on_preflight",
                "is false: here OPTIONS needs a credential too, unless `cors` answers it",
            );
        }
        config.text("anonymous").filter(|at| !at.value.is_empty())
    }

    /// The usual idiom: whoever is anonymous is refused by a plugin of its own.
    fn is_cut_off(&self, anonymous: &str) -> bool {
        let mut all = self.kong.consumers.iter();
        let Some(index) = all.position(|one| one.name == anonymous || one.id.as_deref() == Some(anonymous))
        else {
            return false;
        };
        let ends = |plugin: &Plugin<'_>| {
            plugin.called() == "request-termination"
                && plugin.scope.consumer == Some(index)
                && plugin.scope.route.is_none()
                && plugin.scope.service.is_none()
        };
        self.kong.plugins.iter().any(ends)
    }
}

fn texts(config: &Reader<'_, '_>, name: &str, default: &[&str]) -> Vec<String> {
    if config.find(name).is_none() {
        return default.iter().map(|&text| text.to_owned()).collect();
    }
    config.texts(name).into_iter().map(|at| at.value).collect()
}
