//! Which plugins run on a route, and who converts each.
//!
//! Kong runs one plugin of a name for a request, the most specific; so does this. What is not converted and may have kept
//! somebody out closes the route.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conversion, filters::Filters, model::Plugin};
use crate::convert::{report::Report, tree::Reader};

/// What guards and changes the requests of one route.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Names an AuthPolicy.
    pub(super) auth: Option<String>,
    /// Names RateLimitPolicies.
    pub(super) limits: Vec<String>,
    pub(super) filters: Filters,
    /// What keeps it closed.
    pub(super) missing: BTreeSet<String>,
}

/// They only tell or store what happened: nobody gets in or is kept out by them.
const OBSERVERS: [(&str, &str); 15] = [
    ("prometheus", "is built in: /metrics on the admin port, under names that begin with gatehouse_"),
    ("file-log", "is built in: one JSON line a request on standard output, with other fields"),
    ("http-log", "is not converted: ship the access log from standard output"),
    ("tcp-log", "is not converted: ship the access log from standard output"),
    ("udp-log", "is not converted: ship the access log from standard output"),
    ("syslog", "is not converted: ship the access log from standard output"),
    ("loggly", "is not converted: ship the access log from standard output"),
    ("kafka-log", "is not converted: ship the access log from standard output"),
    ("statsd", "is not converted: scrape /metrics"),
    ("datadog", "is not converted: scrape /metrics"),
    ("zipkin", "is not converted: set `tracing` of the GatewayConfig to an OTLP collector"),
    ("opentelemetry", "is not converted: set `tracing` of the GatewayConfig, which speaks OTLP over gRPC"),
    ("correlation-id", "is built in under another name: X-Request-Id, which a client may bring"),
    ("proxy-cache", "is not converted: backends get every request. Write `cache` of the rule"),
    ("grpc-web", "is not converted: browsers need gRPC of their own"),
];

/// Why what is not converted is not, where there is more to say than that.
const CLOSING: [(&str, &str); 7] = [
    ("hmac-auth", "has no like here"),
    ("oauth2", "issues tokens, which no route here does: let an authorization server do it and use jwt"),
    ("ldap-auth", "has no like here"),
    ("session", "has no like here"),
    (
        "openid-connect",
        "is of Kong's Enterprise edition: verify the tokens by an AuthPolicy with the issuer's JWKS URL",
    ),
    ("bot-detection", "has no like here"),
    ("response-ratelimiting", "has no like here"),
];

/// They become one AuthPolicy together.
const AUTHENTICATE: [&str; 5] = ["jwt", "key-auth", "basic-auth", "acl", "ip-restriction"];

impl<'a> Conversion<'a, '_> {
    pub(super) fn guard(&mut self, route: usize) -> Guard {
        let mut guard = Guard::default();
        let kong = self.kong;
        let service = kong.routes[route].service;
        let plugins = effective(&kong.plugins, route, service);
        let (auth, others): (Vec<_>, Vec<_>) =
            plugins.into_values().partition(|plugin| AUTHENTICATE.contains(&plugin.called()));
        let auth: Vec<&Plugin<'a>> = auth.into_iter().filter(|plugin| !self.is_left_out(plugin)).collect();
        if auth.iter().all(|plugin| plugin.unreadable.is_none()) {
            self.authenticate(&auth, &mut guard);
        } else {
            for plugin in auth {
                let why = plugin.unreadable.as_deref().unwrap_or("stands beside one that nobody knows");
                self.close(plugin, why, &mut guard);
            }
        }
        for plugin in others {
            self.plugin(plugin, &mut guard);
        }
        for plugin in kong.plugins.iter().filter(|plugin| plugin.scope.consumer.is_some()) {
            if plugin.scope.covers(route, service) {
                self.of_consumer(plugin, &mut guard);
            }
        }
        guard
    }

    fn plugin(&mut self, plugin: &Plugin<'a>, guard: &mut Guard) {
        if self.observes(plugin) || self.is_left_out(plugin) {
            return;
        }
        if let Some(why) = &plugin.unreadable {
            return self.close(plugin, why, guard);
        }
        match plugin.called() {
            "rate-limiting" => self.limit(plugin, guard),
            "cors" => self.cors(plugin, guard),
            "request-transformer" => self.transform(plugin, true, guard),
            "response-transformer" => self.transform(plugin, false, guard),
            "request-size-limiting" => self.limit_bodies(plugin, guard),
            "request-termination" => self.terminate(plugin, guard),
            "redirect" => self.redirect(plugin, guard),
            name => {
                let known = CLOSING.iter().find(|(known, _)| *known == name);
                let why = known.map_or("is not known to this converter", |(_, why)| *why);
                self.close(plugin, why, guard);
            }
        }
    }

    /// A plugin that runs for one consumer alone.
    fn of_consumer(&mut self, plugin: &Plugin<'a>, guard: &mut Guard) {
        if self.observes(plugin) || self.is_left_out(plugin) {
            return;
        }
        if let Some(why) = &plugin.unreadable {
            return self.close(plugin, why, guard);
        }
        match plugin.called() {
            // Done once for all routes.
            "rate-limiting" if plugin.scope.route.is_none() && plugin.scope.service.is_none() => {
                guard.limits.extend(self.limits.of_consumers().map(str::to_owned));
                guard.limits.dedup();
            }
            "rate-limiting" => self.report.refuse(
                &plugin.node,
                "is not converted: it is for one consumer on some routes. The limits of the route hold for it",
            ),
            "request-termination" if self.anonymous_is_refused(plugin) => self.report.exact(&plugin.node),
            "request-transformer" | "response-transformer" | "cors" => {
                self.report.refuse(&plugin.node, "is not converted: it is for one consumer alone");
            }
            _ => self.close(plugin, "is for one consumer alone, which has no like here", guard),
        }
    }

    /// Whether that is how the consumer of the plugin, who stands for nobody, is kept out: by a policy here.
    fn anonymous_is_refused(&self, plugin: &Plugin<'a>) -> bool {
        let Some(consumer) = plugin.scope.consumer.and_then(|index| self.kong.consumers.get(index)) else {
            return false;
        };
        let has_no_credential = consumer.keys.is_empty() && consumer.tokens.is_empty();
        has_no_credential && plugin.scope.route.is_none() && plugin.scope.service.is_none()
    }

    fn observes(&self, plugin: &Plugin<'a>) -> bool {
        let known = OBSERVERS.iter().find(|(name, _)| *name == plugin.called());
        if let Some((_, why)) = known {
            self.report.warn(&plugin.node, *why);
        }
        known.is_some()
    }

    fn is_left_out(&self, plugin: &Plugin<'a>) -> bool {
        let is_left_out = self.options.without.contains(plugin.called());
        if is_left_out {
            self.report.warn(&plugin.node, "is left out, as --without asks");
        }
        is_left_out
    }

    /// `why` continues the name of the plugin.
    pub(super) fn close(&self, plugin: &Plugin<'a>, why: &str, guard: &mut Guard) {
        let name = plugin.called();
        self.report.refuse(
            &plugin.node,
            format!("plugin {name} {why}: its routes are closed (503) until you guard them by other means; `--without {name}` serves them without it"),
        );
        guard.missing.insert(format!("plugin {name}"));
    }

    /// What runs nowhere does nothing in Kong either.
    pub(super) fn tell_unused_plugins(&self) {
        let kong = self.kong;
        let mut used = BTreeSet::new();
        for (index, route) in kong.routes.iter().enumerate() {
            let runs = effective(&kong.plugins, index, route.service);
            used.extend(runs.values().map(|plugin| plugin.node.place()));
        }
        for plugin in kong.plugins.iter().filter(|plugin| plugin.scope.consumer.is_none()) {
            if !used.contains(&plugin.node.place()) {
                self.report.exact(&plugin.node);
            }
        }
    }
}

/// By name, those that run for requests of no special consumer.
fn effective<'p, 'a>(
    plugins: &'p [Plugin<'a>],
    route: usize,
    service: Option<usize>,
) -> BTreeMap<&'p str, &'p Plugin<'a>> {
    let mut found: BTreeMap<&str, &Plugin<'a>> = BTreeMap::new();
    let all = plugins.iter().filter(|plugin| plugin.scope.consumer.is_none());
    for plugin in all.filter(|plugin| plugin.scope.covers(route, service)) {
        let known = found.entry(plugin.called()).or_insert(plugin);
        if plugin.scope.rank() < known.scope.rank() {
            *known = plugin;
        }
    }
    found
}

/// What the plugin says, and what it leaves to `_plugin_configs`.
pub(super) fn config<'a, 'r>(plugin: &Plugin<'a>, report: &'r Report) -> Reader<'a, 'r> {
    // Without a config of its own there is nothing to find in it, as there is in a text.
    let node = plugin.config.clone().unwrap_or_else(|| plugin.name.node.clone());
    Reader::new(node, report).with_defaults(plugin.defaults.iter().cloned())
}
