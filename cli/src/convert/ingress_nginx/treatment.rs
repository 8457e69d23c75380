//! What the annotations of an Ingress do to the requests that it takes.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_controller::translate::nginx::{BODY, bytes, flag, seconds, words};
use serde_json::{Value, json};

use super::{
    Conversion,
    annotations::{Annotations, Fate, UNLIKE},
    snippets::checked,
};
use crate::convert::{
    forms::is_host,
    tree::{At, Node},
};

const TRIES: i64 = 3;

/// So many seconds may a rule wait for a connection at most.
const MOST_TO_CONNECT: i64 = 300;
/// And for something to move.
const MOST_IDLE: i64 = 99_999;

/// So often at most is a request tried again.
const MOST_RETRIES: i64 = 10;

#[derive(Debug, Default)]
pub(super) struct Treatment<'a> {
    /// It says which requests of other Ingresses go elsewhere.
    pub(super) is_canary: bool,
    /// What keeps its routes closed.
    pub(super) missing: BTreeSet<String>,
    /// What keeps all routes of its hosts closed.
    pub(super) missing_on_hosts: BTreeSet<String>,
    /// Names an AuthPolicy.
    pub(super) auth: Option<String>,
    /// Names a RateLimitPolicy.
    pub(super) limits: Option<String>,
    pub(super) cors: Option<Value>,
    pub(super) request_headers: Changes,
    pub(super) response_headers: Changes,
    /// A field of rules and its value, in place of a backend.
    pub(super) answer: Option<(&'static str, Value)>,
    pub(super) max_body: i64,
    pub(super) times: Times,
    pub(super) retry: Option<Value>,
    /// What backends are asked for.
    pub(super) hostname: Option<String>,
    pub(super) rewrite_target: Option<At<'a, String>>,
    pub(super) use_regex: bool,
    pub(super) forwarded_prefix: Option<String>,
    pub(super) to_https: ToHttps,
    pub(super) app_root: Option<String>,
    pub(super) aliases: Vec<At<'a, String>>,
    pub(super) from_to_www: Option<Node<'a>>,
    pub(super) is_h2c: bool,
    /// The name in the certificates of backends; empty: that of the Service.
    pub(super) backend_tls: Option<String>,
}

/// In seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) connect: i64,
    /// Between two reads, and between two writes.
    pub(super) read: i64,
    pub(super) send: i64,
}

/// The controller's.
impl Default for Times {
    fn default() -> Self {
        Times { connect: 5, read: 60, send: 60 }
    }
}

impl Times {
    /// As a rule has them: that for reads is for both directions.
    pub(super) fn value(self) -> Value {
        let (connect, idle) = (self.connect.clamp(1, MOST_TO_CONNECT), self.read.clamp(1, MOST_IDLE));
        json!({"connect": format!("{connect}s"), "idle": format!("{idle}s")})
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ToHttps {
    Never,
    /// Where there is a certificate for the host.
    #[default]
    Certified,
    Always,
}

/// Of header fields, by their names in lower case.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    pub(super) set: BTreeMap<String, Value>,
    pub(super) add: BTreeMap<String, Value>,
    pub(super) remove: BTreeSet<String>,
}

impl Changes {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.set.insert(name.to_ascii_lowercase(), json!({"name": name, "value": value}));
    }

    /// As a rule has them.
    pub(super) fn value(&self) -> Option<Value> {
        let mut value = json!({});
        for (name, list) in [("set", &self.set), ("add", &self.add)] {
            if !list.is_empty() {
                value[name] = list.values().cloned().collect();
            }
        }
        if !self.remove.is_empty() {
            value["remove"] = json!(self.remove);
        }
        value.as_object().is_some_and(|value| !value.is_empty()).then_some(value)
    }
}

impl<'a> Conversion<'a, '_> {
    pub(super) fn treatment(&mut self, index: usize) -> Treatment<'a> {
        let input = self.input;
        let ingress = &input.ingresses[index];
        let annotations = ingress.annotations(self.report, &self.options.without);
        let mut treatment = Treatment::default();
        if annotations.is_set("canary") {
            treatment.is_canary = true;
            // They do nothing there: those of the Ingress that it belongs to count.
            for (name, node) in annotations.all() {
                if !name.starts_with("canary") {
                    self.report.exact(&node);
                }
            }
            return treatment;
        }
        self.unlike(&annotations, &mut treatment);
        self.body_and_times(&annotations, &mut treatment);
        self.redirects(&annotations, &mut treatment);
        self.routing(&annotations, &mut treatment);
        self.guard(index, &annotations, &mut treatment);
        self.limits(index, &annotations, &mut treatment);
        self.cors(&annotations, &mut treatment);
        self.custom_headers(index, &annotations, &mut treatment);
        self.snippets(&annotations, &mut treatment);
        self.backend_protocol(&annotations, &mut treatment);
        annotations.tell_rest();
        treatment
    }

    /// `why` continues the annotation's name.
    pub(super) fn close(&self, node: &Node<'a>, name: &str, why: &str, missing: &mut BTreeSet<String>) {
        self.report.refuse(
            node,
            format!("{why}: its routes are closed (503) until you guard them by other means; `--without {name}` serves them without it"),
        );
        missing.insert(format!("annotation {name}"));
    }

    fn unlike(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        for (name, fate, why) in UNLIKE {
            let Some(node) = annotations.find(name) else { continue };
            // Off is what it is here.
            let is_off = flag(node.text()) == Some(false) || node.value().as_bool() == Some(false);
            match fate {
                Fate::Closes | Fate::Refused if is_off || node.text().is_empty() => self.report.exact(&node),
                Fate::Exact => self.report.exact(&node),
                Fate::Warned => self.report.warn(&node, why),
                Fate::Refused => self.report.refuse(&node, why),
                // A certificate is asked for in the handshake, which is the host's.
                Fate::Closes if name.starts_with("auth-tls") => {
                    self.close(&node, name, why, &mut treatment.missing_on_hosts);
                }
                Fate::Closes => self.close(&node, name, why, &mut treatment.missing),
            }
        }
    }

    fn body_and_times(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        let setting = |name: &str| annotations.filled(name).or_else(|| self.input.global(name, self.report));
        treatment.max_body = BODY;
        if let Some(at) = setting("proxy-body-size") {
            match bytes(&at.value) {
                Some(size) => treatment.max_body = size,
                None => self.report.refuse(&at.node, "is no size: 1 MiB is allowed, as by default"),
            }
        }
        let mut times = Times::default();
        for (name, time, default) in [
            ("proxy-connect-timeout", &mut times.connect, "5 s"),
            ("proxy-read-timeout", &mut times.read, "60 s"),
            ("proxy-send-timeout", &mut times.send, "60 s"),
        ] {
            if let Some(at) = setting(name) {
                match seconds(&at.value) {
                    Some(given) => *time = given,
                    None => self.report.refuse(&at.node, format!("is no time: {default}, as by default")),
                }
            }
        }
        if let Some(at) = setting("proxy-connect-timeout").filter(|_| times.connect > MOST_TO_CONNECT) {
            self.report.warn(&at.node, format!("is {MOST_TO_CONNECT} s, the most that a rule has"));
        }
        if let Some(at) = setting("proxy-send-timeout").filter(|_| times.send != times.read) {
            self.report.warn(
                &at.node,
                format!(
                    "is not told apart from proxy-read-timeout: {} s are for both directions",
                    times.read
                ),
            );
        }
        treatment.times = times;
        self.retries(annotations, treatment);
        if let Some(at) = annotations.filled("proxy-http-version").filter(|at| at.value != "1.1") {
            self.report.refuse(&at.node, "is not converted: backends are spoken HTTP/1.1 to, or HTTP/2");
        }
    }

    fn retries(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        let setting = |name: &str| annotations.filled(name).or_else(|| self.input.global(name, self.report));
        let tries = setting("proxy-next-upstream-tries").and_then(|at| {
            let tries = at.value.parse::<i64>().ok();
            if tries.is_none() {
                self.report.refuse(&at.node, "is no number: 3 tries, as by default");
            }
            tries
        });
        if let Some(at) = setting("proxy-next-upstream-timeout").filter(|at| at.value != "0") {
            self.report.warn(&at.node, "is not converted: tries are bounded by their number");
        }
        let mut codes = Vec::new();
        let mut is_off = false;
        if let Some(at) = setting("proxy-next-upstream") {
            for word in at.value.split_whitespace() {
                match word {
                    "error" | "timeout" => {}
                    "off" => is_off = true,
                    "invalid_header" | "non_idempotent" | "http_404" | "http_403" => {
                        self.report.warn(&at.node, format!("{word} is not converted"));
                    }
                    _ => match word.strip_prefix("http_").and_then(|code| code.parse::<i64>().ok()) {
                        Some(code) => {
                            codes.push(code);
                            self.report.warn(&at.node, format!("{word} is tried again whatever the method"));
                        }
                        None => self.report.refuse(&at.node, format!("{word} is not known")),
                    },
                }
            }
        }
        let attempts = match tries.unwrap_or(TRIES) {
            0 => MOST_RETRIES,
            tries => (tries - 1).min(MOST_RETRIES),
        };
        if is_off || attempts < 1 {
            return;
        }
        let mut retry = json!({"attempts": attempts});
        if !codes.is_empty() {
            retry["codes"] = json!(codes);
        }
        treatment.retry = Some(retry);
    }

    fn routing(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        treatment.use_regex = annotations.is_set("use-regex");
        treatment.rewrite_target = annotations.filled("rewrite-target");
        treatment.forwarded_prefix = annotations.filled("x-forwarded-prefix").and_then(|at| {
            if at.value.contains('$') {
                self.report.refuse(&at.node, "is not converted: it holds a variable");
                return None;
            }
            Some(at.value)
        });
        if let Some(at) = annotations.filled("upstream-vhost") {
            let host = at.value.to_ascii_lowercase();
            if is_host(&host) {
                treatment.hostname = Some(host);
            } else if !["$host", "$http_host", "$best_http_host"].contains(&&*host) {
                self.report.refuse(
                    &at.node,
                    "is not converted: it is no plain host name. Backends see the client's Host",
                );
            }
        }
        if let Some(at) = annotations.filled("server-alias") {
            for word in words(&at.value) {
                let host = word.to_ascii_lowercase();
                if is_host(host.strip_prefix("*.").unwrap_or(&host)) {
                    treatment.aliases.push(At { value: host, node: at.node.clone() });
                } else {
                    self.report.refuse(&at.node, format!("{word} is not converted: it is no host name"));
                }
            }
        }
        if let Some(at) = annotations.flag("from-to-www-redirect").filter(|at| at.value) {
            treatment.from_to_www = Some(at.node);
        }
        if let Some(at) = annotations.flag("ssl-passthrough").filter(|at| at.value) {
            let why = "hands TLS on, which is for a TLSRoute and a listener of mode Passthrough";
            self.close(&at.node, "ssl-passthrough", why, &mut treatment.missing_on_hosts);
        }
    }

    fn custom_headers(&self, index: usize, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        let Some(at) = annotations.filled("custom-headers") else { return };
        let ingress = &self.input.ingresses[index];
        let key = match at.value.split_once('/') {
            Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
            None => ingress.key(&at.value),
        };
        let Some(data) = self.input.config_maps.get(&key).and_then(|map| map.get("data")) else {
            self.report.refuse(&at.node, "is not converted: no file holds the ConfigMap");
            return;
        };
        for (name, value) in data.fields() {
            let is_line = !value.text().bytes().any(|byte| byte.is_ascii_control() && byte != b'\t');
            match checked(name) {
                Ok(name) if is_line => treatment.response_headers.set(name, value.text()),
                Ok(name) => {
                    let why = format!("has a value for {name} that is not one line");
                    self.report.refuse(&at.node, why);
                }
                Err(why) => self.report.refuse(&at.node, why),
            }
        }
    }
}
