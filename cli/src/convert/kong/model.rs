//! Kong's entities as they refer to each other, whatever form they were written in. Values know where they stand.
//!
//! Nothing here decides what becomes of them.

use serde_json::Value;

use crate::convert::tree::{At, Node};

#[derive(Debug, Default)]
pub(crate) struct Kong<'a> {
    pub(crate) services: Vec<Service<'a>>,
    pub(crate) routes: Vec<Route<'a>>,
    pub(crate) upstreams: Vec<Upstream<'a>>,
    pub(crate) consumers: Vec<Consumer<'a>>,
    pub(crate) plugins: Vec<Plugin<'a>>,
    pub(crate) certificates: Vec<Certificate<'a>>,
    /// Names of Secrets with certificates that the cluster has already.
    pub(crate) tls_secrets: Vec<At<'a, String>>,
}

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    /// `http`, `https`, `grpc`, ...
    pub(crate) protocol: String,
    pub(crate) host: Option<At<'a, String>>,
    pub(crate) port: i64,
    pub(crate) path: Option<At<'a, String>>,
    pub(crate) retries: Option<At<'a, i64>>,
    pub(crate) times: Times<'a>,
    pub(crate) is_enabled: bool,
}

/// Milliseconds.
#[derive(Debug)]
pub(crate) struct Times<'a> {
    pub(crate) connect: Option<At<'a, i64>>,
    /// Between two reads, and between two writes.
    pub(crate) read: Option<At<'a, i64>>,
    pub(crate) write: Option<At<'a, i64>>,
}

#[derive(Debug)]
pub(crate) struct Route<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    /// By its position. `None`: it has none of its own, or names one that is not there.
    pub(crate) service: Option<usize>,
    pub(crate) protocols: Vec<String>,
    pub(crate) methods: Vec<At<'a, String>>,
    pub(crate) hosts: Vec<At<'a, String>>,
    /// A regular expression begins with `~`.
    pub(crate) paths: Vec<At<'a, String>>,
    pub(crate) path_kind: PathKind,
    pub(crate) headers: Vec<(At<'a, String>, Vec<At<'a, String>>)>,
    pub(crate) strip_path: bool,
    pub(crate) preserve_host: bool,
    pub(crate) https_redirect_status: i64,
    pub(crate) regex_priority: i64,
    pub(crate) tags: Vec<String>,
    /// What asks for something that no route here can ask for: it must not be served without it.
    pub(crate) unservable: Option<String>,
}

/// What the paths of a route are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// Kong's own: prefixes of the text, and expressions.
    Kong,
    /// Prefixes of whole segments, as an Ingress has them.
    Segments,
    /// Whole paths.
    Exact,
}

#[derive(Debug)]
pub(crate) struct Upstream<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) name: String,
    pub(crate) host_header: Option<At<'a, String>>,
    pub(crate) targets: Vec<Target<'a>>,
    /// As a TrafficPolicy has it, without `targetRefs`.
    pub(crate) traffic: Option<Value>,
}

#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) address: At<'a, String>,
    pub(crate) weight: i64,
}

#[derive(Debug)]
pub(crate) struct Consumer<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) custom_id: Option<String>,
    pub(crate) groups: Vec<At<'a, String>>,
    pub(crate) keys: Vec<ApiKey<'a>>,
    pub(crate) tokens: Vec<JwtSecret<'a>>,
    pub(crate) passwords: Vec<Password<'a>>,
}

#[derive(Debug)]
pub(crate) struct ApiKey<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) key: Option<At<'a, String>>,
    pub(crate) expires: bool,
}

#[derive(Debug)]
pub(crate) struct Password<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) username: Option<At<'a, String>>,
    pub(crate) password: Option<At<'a, String>>,
    /// It stands there as Kong's own hash.
    pub(crate) is_hashed: bool,
}

#[derive(Debug)]
pub(crate) struct JwtSecret<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) key: Option<At<'a, String>>,
    pub(crate) algorithm: String,
    pub(crate) secret: Option<At<'a, String>>,
    pub(crate) public_key: Option<At<'a, String>>,
}

#[derive(Debug)]
pub(crate) struct Plugin<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) name: At<'a, String>,
    pub(crate) config: Option<Node<'a>>,
    /// What `config` does not say.
    pub(crate) defaults: Vec<Node<'a>>,
    pub(crate) scope: Scope,
    /// Why nobody knows what it does. It continues the name of the plugin.
    pub(crate) unreadable: Option<String>,
}

/// What a plugin is for, by positions; nothing at all is everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Scope {
    pub(crate) route: Option<usize>,
    pub(crate) service: Option<usize>,
    pub(crate) consumer: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    pub(crate) cert: At<'a, String>,
    pub(crate) key: At<'a, String>,
    pub(crate) snis: Vec<At<'a, String>>,
}

impl Scope {
    /// Kong's order of plugins of one name, the most specific first. Without those of consumers, which are looked at by
    /// themselves.
    pub(crate) fn rank(self) -> u8 {
        match (self.route, self.service) {
            (Some(_), Some(_)) => 0,
            (Some(_), None) => 1,
            (None, Some(_)) => 2,
            (None, None) => 3,
        }
    }

    pub(crate) fn covers(self, route: usize, service: Option<usize>) -> bool {
        self.route.is_none_or(|own| own == route) && self.service.is_none_or(|own| Some(own) == service)
    }
}

impl Plugin<'_> {
    pub(crate) fn called(&self) -> &str {
        &self.name.value
    }
}
