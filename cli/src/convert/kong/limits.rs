//! `rate-limiting` to RateLimitPolicies: one for each plugin, so that routes share a count where they did.
//!
//! Kong's windows are those of the calendar: twice the number may pass around the turn of a minute. Here no stretch of that
//! length admits more.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Conversion, consumers,
    model::{Plugin, Scope},
    plugins::{Guard, config},
};
use crate::convert::{
    manifests::{File, own},
    tree::{Reader, is_template},
};

/// Kong's names of windows, with ours for how long they are. `None`: longer than a limit can be.
const WINDOWS: [(&str, Option<&str>); 6] = [
    ("second", Some("1s")),
    ("minute", Some("1m")),
    ("hour", Some("1h")),
    ("day", Some("24h")),
    ("month", Some("720h")),
    ("year", None),
];

/// No limit, as the schema lets it be written.
const UNLIMITED: i64 = 1_000_000_000_000;

/// Status of what is too much, if a plugin names no other.
const REFUSED: i64 = 429;

/// So many tiers has a limit at most.
const MOST_TIERS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Policies {
    /// By where the plugin stands and what it is for. `None`: it could not be converted.
    names: BTreeMap<(String, Scope), Option<String>>,
    /// The one with the limits of consumers that have their own.
    of_consumers: Option<String>,
    /// By position, consumers that have limits of their own.
    own: BTreeMap<usize, Vec<(&'static str, i64)>>,
    redis: Option<Redis>,
}

/// The store that a GatewayConfig names.
#[derive(Debug)]
struct Redis {
    address: String,
    /// As GatewayConfig has it.
    spec: Value,
}

impl Policies {
    /// `redis` of the GatewayConfig.
    pub(super) fn redis(&self) -> Option<&Value> {
        self.redis.as_ref().map(|redis| &redis.spec)
    }

    pub(super) fn of_consumers(&self) -> Option<&str> {
        self.of_consumers.as_deref()
    }
}

impl<'a> Conversion<'a, '_> {
    pub(super) fn limit(&mut self, plugin: &Plugin<'a>, guard: &mut Guard) {
        let place = (plugin.node.place(), plugin.scope);
        let name = match self.limits.names.get(&place) {
            Some(known) => known.clone(),
            None => {
                let made = self.limit_policy(plugin);
                self.limits.names.insert(place, made.clone());
                made
            }
        };
        match name {
            Some(name) => guard.limits.push(name),
            None => self.close(plugin, "has no window that can be converted", guard),
        }
    }

    fn limit_policy(&mut self, plugin: &Plugin<'a>) -> Option<String> {
        let config = config(plugin, self.report);
        let windows = self.windows(&config);
        let key = self.key(&config, plugin.scope);
        if windows.is_empty() {
            return None;
        }
        let key = key?;
        let tiers = self.free_tiers();
        let limits: Vec<Value> =
            windows.iter().map(|(name, requests)| limit(name, &key, *requests, &tiers)).collect();
        let mut spec = json!({"limits": limits});
        self.store(&config, &mut spec);
        self.answers(&config, &mut spec);
        let of = match (plugin.scope.route, plugin.scope.service) {
            (Some(route), _) => &*self.kong.routes[route].name,
            (None, Some(service)) => &*self.kong.services[service].name,
            (None, None) => "all",
        };
        let name = self.names.unique("RateLimitPolicy", &format!("{of}-rate-limiting"));
        self.manifests.add(File::Policies, own("RateLimitPolicy", &self.options.namespace, &name, &spec));
        Some(name)
    }

    /// Their names and how many requests they admit.
    fn windows(&self, config: &Reader<'a, '_>) -> Vec<(&'static str, i64)> {
        let mut windows = Vec::new();
        for (name, per) in WINDOWS {
            let Some(at) = config.number(name) else { continue };
            if per.is_none() {
                self.report.refuse(&at.node, "is not converted: a limit is for at most 31 days here");
            } else if !(1..=UNLIMITED).contains(&at.value) {
                self.report.refuse(&at.node, "is not converted: a limit admits at least 1 request");
            } else {
                self.report.warn(&at.node, format!("holds for any stretch of a {name}, not for those of the calendar: what Kong let pass twice around its turn gets 429"));
                windows.push((name, at.value));
            }
        }
        windows
    }

    /// `None`: what Kong counts by can't be counted by here.
    fn key(&self, config: &Reader<'a, '_>, scope: Scope) -> Option<Value> {
        let by = config.text("limit_by");
        let name = config.text("header_name");
        config.exact(&["path"]);
        match by.as_ref().map_or("consumer", |by| &*by.value) {
            "consumer" => Some(json!([{"consumer": {}}])),
            "credential" => Some(json!([{"credential": {}}])),
            "ip" => Some(json!([{"clientIP": {"ipv6Prefix": 128}}])),
            "service" if scope.service.is_some() || scope.route.is_some() => Some(json!([])),
            "header" => {
                let name = name?;
                self.report.warn(
                    &name.node,
                    "counts requests without the header together, where Kong counted them by address",
                );
                Some(json!([{"header": {"name": name.value}}]))
            }
            other => {
                if let Some(by) = &by {
                    self.report.refuse(&by.node, format!("is {other}, by which nothing is counted here"));
                }
                None
            }
        }
    }

    fn store(&mut self, config: &Reader<'a, '_>, spec: &mut Value) {
        let policy = config.text("policy");
        let lets_pass = config.flag("fault_tolerant").is_none_or(|at| at.value);
        // Seconds, after which Kong tells Redis; else it asks at each request.
        let later =
            config.text("sync_rate").is_some_and(|at| at.value.parse().is_ok_and(|rate: f64| rate > 0.0));
        let connection = Connection::read(config);
        match policy.as_ref().map_or("local", |policy| &*policy.value) {
            "redis" => {
                spec["onStoreFailure"] = json!(if lets_pass { "Allow" } else { "Deny" });
                if later {
                    spec["accuracy"] = json!("Fast");
                }
                if !lets_pass {
                    config.warn(
                        "fault_tolerant",
                        "is false: while Redis is away requests get 503, where Kong answered 500",
                    );
                }
                self.redis(config, &connection);
            }
            "cluster" => {
                if let Some(policy) = &policy {
                    self.report.refuse(&policy.node, "is cluster: counts are kept in Redis here. Name one in the GatewayConfig; until then each dataplane counts for itself");
                }
            }
            _ => {
                spec["store"] = json!("Local");
                let node = policy.map(|policy| policy.node).or_else(|| config.find("minute"));
                if let Some(node) = node {
                    self.report.warn(&node, "is counted by each dataplane for itself, as by each node of Kong: with other numbers of them other totals pass");
                }
            }
        }
    }

    fn redis(&mut self, config: &Reader<'a, '_>, connection: &Connection<'a>) {
        let Some(host) = connection.host.as_deref().filter(|host| !is_template(host)) else {
            self.report.refuse(&connection.node, "names no host that could be taken: name Redis in the GatewayConfig; until then each dataplane counts for itself");
            return;
        };
        let scheme = if connection.is_encrypted { "rediss" } else { "redis" };
        if connection.is_encrypted {
            self.report.warn(
                &connection.node,
                "has its certificate verified by the public authorities: name others in `redis.tls` of the GatewayConfig",
            );
        }
        let (port, database) = (connection.port, connection.database);
        let address = format!("{host}:{port}/{database}");
        match &self.limits.redis {
            Some(known) if known.address == address => return,
            Some(known) => {
                self.report.warn(
                    &connection.node,
                    format!("is another Redis than before: all limits are counted in {}", known.address),
                );
                return;
            }
            None => {}
        }
        let suffix = if database == 0 { String::new() } else { format!("/{database}") };
        let spec = match connection.password.as_deref().filter(|password| !password.is_empty()) {
            None => json!({"url": format!("{scheme}://{host}:{port}{suffix}")}),
            Some(password) => {
                let name = self.names.unique("Secret", "redis");
                if is_template(password) {
                    self.report.refuse(&connection.node, format!("has a password that is filled in from elsewhere: put {scheme}://USER:PASSWORD@{host}:{port}{suffix} into entry url of the Secret {name}"));
                } else {
                    let user = connection.user.as_deref().unwrap_or("");
                    let url =
                        format!("{scheme}://{}:{}@{host}:{port}{suffix}", encoded(user), encoded(password));
                    self.manifests.secret(&self.options.namespace, &name, "url", &url, false);
                }
                json!({"urlSecretRef": {"name": name, "key": "url"}})
            }
        };
        config.warn("redis_timeout", "is not converted: nobody waits longer than 20 ms for Redis");
        self.limits.redis = Some(Redis { address, spec });
    }

    fn answers(&self, config: &Reader<'a, '_>, spec: &mut Value) {
        if config.flag("hide_client_headers").is_some_and(|at| at.value) {
            config.warn(
                "hide_client_headers",
                "is not converted: clients are told RateLimit and RateLimit-Policy",
            );
        }
        let status = config.number("error_code").map_or(REFUSED, |at| at.value);
        let message = config.text("error_message");
        if !(400..=599).contains(&status) {
            config.refuse("error_code", "is not converted: a refusal has a status from 400 to 599");
        } else if status != REFUSED || message.is_some() {
            spec["response"] = json!({"status": status});
            if let Some(message) = message {
                spec["response"]["headers"] =
                    json!([{"name": "Content-Type", "value": "application/json; charset=utf-8"}]);
                spec["response"]["body"] = json!(json!({"message": message.value}).to_string());
            }
        }
    }

    /// Limits of consumers take the place of those of routes in Kong. Here they are a policy on every route, and the
    /// policies of routes admit everything of these consumers.
    pub(super) fn consumer_limits(&mut self) {
        let kong = self.kong;
        let mut store = json!({});
        for plugin in &kong.plugins {
            let Some(consumer) = self.has_own_limits(plugin) else { continue };
            let config = config(plugin, self.report);
            let windows = self.windows(&config);
            if config.text("limit_by").is_some_and(|by| by.value != "consumer") {
                config.refuse(
                    "limit_by",
                    "is not converted for a consumer's own limit: it is counted by consumer",
                );
            }
            self.store(&config, &mut store);
            self.answers(&config, &mut store);
            config.exact(&["header_name", "path"]);
            self.limits.own.insert(consumer, windows);
        }
        if self.limits.own.is_empty() {
            return;
        }
        let mut limits = Vec::new();
        for (window, _) in WINDOWS {
            let of = |(consumer, windows): (&usize, &Vec<(&str, i64)>)| {
                let (_, requests) = windows.iter().find(|(name, _)| *name == window)?;
                Some(json!({"tier": consumers::tier(&kong.consumers[*consumer]), "requests": requests}))
            };
            let tiers: Vec<Value> = self.limits.own.iter().filter_map(of).collect();
            if !tiers.is_empty() {
                limits.push(limit(window, &json!([{"consumer": {}}]), UNLIMITED, &tiers));
            }
        }
        if limits.is_empty() {
            return;
        }
        store["limits"] = Value::from(limits);
        let name = self.names.unique("RateLimitPolicy", "consumers-rate-limiting");
        self.manifests.add(File::Policies, own("RateLimitPolicy", &self.options.namespace, &name, &store));
        self.limits.of_consumers = Some(name);
    }

    /// The consumer that the plugin limits on all routes.
    fn has_own_limits(&self, plugin: &Plugin<'a>) -> Option<usize> {
        let Scope { route, service, consumer } = plugin.scope;
        let is_meant = plugin.called() == "rate-limiting"
            && plugin.unreadable.is_none()
            && route.is_none()
            && service.is_none();
        let consumer = consumer.filter(|_| is_meant && !self.options.without.contains("rate-limiting"))?;
        if self.limits.own.len() >= MOST_TIERS && !self.limits.own.contains_key(&consumer) {
            self.report.refuse(&plugin.node, format!("is not converted: at most {MOST_TIERS} consumers have limits of their own. The limits of routes hold for it"));
            return None;
        }
        Some(consumer)
    }

    pub(super) fn tier_of(&self, consumer: usize) -> Option<String> {
        let kong = self.kong;
        let mut all = kong.plugins.iter();
        let limits = |plugin: &Plugin<'_>| {
            plugin.called() == "rate-limiting"
                && plugin.scope == Scope { consumer: Some(consumer), ..Scope::default() }
        };
        all.any(limits).then(|| consumers::tier(&kong.consumers[consumer]))
    }

    /// Consumers whom only their own limits hold back.
    fn free_tiers(&self) -> Vec<Value> {
        let tier = |consumer: &usize| consumers::tier(&self.kong.consumers[*consumer]);
        self.limits
            .own
            .keys()
            .map(|consumer| json!({"tier": tier(consumer), "requests": UNLIMITED}))
            .collect()
    }
}

/// How Redis is reached, in the old way of writing or the new.
struct Connection<'a> {
    node: crate::convert::tree::Node<'a>,
    host: Option<String>,
    port: i64,
    database: i64,
    user: Option<String>,
    password: Option<String>,
    is_encrypted: bool,
}

impl<'a> Connection<'a> {
    fn read(config: &Reader<'a, '_>) -> Self {
        let below = config.below("redis");
        let text = |new: &str, old: &str| {
            let new = below.as_ref().and_then(|below| below.text(new));
            new.or_else(|| config.text(old)).map(|at| at.value)
        };
        let number = |new: &str, old: &str| {
            let new = below.as_ref().and_then(|below| below.number(new));
            new.or_else(|| config.number(old)).map(|at| at.value)
        };
        let flag = |new: &str, old: &str| {
            let new = below.as_ref().and_then(|below| below.flag(new));
            new.or_else(|| config.flag(old)).is_some_and(|at| at.value)
        };
        if let Some(below) = &below {
            below.warn("timeout", "is not converted: nobody waits longer than 20 ms for Redis");
            below.exact(&["ssl_verify", "server_name", "keepalive_pool_size", "keepalive_backlog"]);
        }
        config.warn("redis_timeout", "is not converted: nobody waits longer than 20 ms for Redis");
        config.exact(&["redis_ssl_verify", "redis_server_name"]);
        Connection {
            host: text("host", "redis_host"),
            port: number("port", "redis_port").unwrap_or(6379),
            database: number("database", "redis_database").unwrap_or(0),
            user: text("username", "redis_username"),
            password: text("password", "redis_password"),
            is_encrypted: flag("ssl", "redis_ssl"),
            node: below.map_or_else(
                || config.find("policy").unwrap_or_else(|| config.node.clone()),
                |below| below.node,
            ),
        }
    }
}

fn limit(window: &str, key: &Value, requests: i64, tiers: &[Value]) -> Value {
    let per = WINDOWS.iter().find(|(name, _)| *name == window).and_then(|(_, per)| *per);
    let mut limit = json!({"name": window, "requests": requests, "per": per, "algorithm": "SlidingWindow"});
    if key.as_array().is_none_or(|parts| !parts.is_empty()) {
        limit["key"] = key.clone();
    }
    if !tiers.is_empty() {
        limit["tiers"] = json!(tiers);
    }
    limit
}

/// For the user information of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}
