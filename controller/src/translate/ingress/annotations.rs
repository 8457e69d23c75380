//! Annotations of ingress-nginx that an Ingress of ours may carry. What is served of them does here what it does there; what
//! may have kept somebody out and is not served closes the Ingress; the rest is told.

use std::collections::BTreeMap;

use gatehouse_crds::{Cors, Redirect, Respond, RouteMatch, Timeouts, UrlRewrite};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;

use crate::translate::{
    check,
    nginx::{self, Moved, PREFIX, bytes, flag, seconds},
};

/// In seconds: what a rule may have.
const MOST_TO_CONNECT: i64 = 300;

/// They change nothing here.
const NEEDLESS: [&str; 14] = [
    "canary",
    "client-body-buffer-size",
    "enable-rewrite-log",
    "permanent-redirect-code",
    "preserve-trailing-slash",
    "proxy-buffer-size",
    "proxy-buffering",
    "proxy-buffers-number",
    "proxy-busy-buffers-size",
    "proxy-max-temp-file-size",
    "proxy-request-buffering",
    "service-upstream",
    "temporal-redirect-code",
    "use-regex",
];

/// Without what guards, requests would pass that did not there.
const GUARDS: [&str; 18] = [
    "allowlist-source-range",
    "auth-snippet",
    "auth-tls-secret",
    "auth-type",
    "auth-url",
    "configuration-snippet",
    "denylist-source-range",
    "enable-modsecurity",
    "enable-owasp-core-rules",
    "limit-connections",
    "limit-rpm",
    "limit-rps",
    "modsecurity-snippet",
    "satisfy",
    "server-snippet",
    "ssl-passthrough",
    "stream-snippet",
    "whitelist-source-range",
];

/// What they ask for.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    /// Takes a share of the requests of another Ingress, which is not served.
    pub(super) is_canary: bool,
    pub(super) max_body_bytes: Option<i64>,
    pub(super) timeouts: Option<Timeouts>,
    pub(super) cors: Option<Cors>,
    /// `upstream-vhost`.
    hostname: Option<String>,
    pub(super) to_https: bool,
    /// In place of a backend.
    pub(super) moved: Option<Answer>,
    target: Option<String>,
    by_expression: bool,
    /// What keeps it closed.
    pub(super) closed: Option<String>,
    /// Names of those that are not served, and why.
    pub(super) unserved: Vec<String>,
}

/// What an answer of the gateway's own is.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Redirect(Redirect),
    Respond(Respond),
}

impl Annotations {
    pub(super) fn of(ingress: &Ingress) -> Self {
        let all: BTreeMap<&str, &str> = ingress
            .annotations()
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value.trim())))
            .collect();
        let mut found = Annotations::default();
        for (&name, &value) in all.iter().filter(|(_, value)| !value.is_empty()) {
            if let Err(why) = found.take(name, value, &all) {
                found.unserved.push(format!("annotation {name} {why}"));
            }
        }
        found
    }

    /// The error continues the annotation's name.
    fn take(&mut self, name: &str, value: &str, all: &BTreeMap<&str, &str>) -> Result<(), &'static str> {
        let is_on = flag(value) == Some(true);
        match name {
            "canary" if is_on => {
                self.is_canary = true;
                return Err("is not served, and neither is its Ingress: write a GatewayRoute with weights");
            }
            "proxy-body-size" => self.max_body_bytes = Some(bytes(value).ok_or("is no size")?),
            "proxy-read-timeout" => {
                let time = seconds(value).ok_or("is no time")?.clamp(1, 99_999);
                self.timeouts.get_or_insert_default().idle = Some(format!("{time}s"));
            }
            "proxy-connect-timeout" => {
                let time = seconds(value).ok_or("is no time")?.clamp(1, MOST_TO_CONNECT);
                self.timeouts.get_or_insert_default().connect = Some(format!("{time}s"));
            }
            "ssl-redirect" | "force-ssl-redirect" => self.to_https |= is_on,
            "upstream-vhost" => {
                let host = value.to_ascii_lowercase();
                check::hostname(&host).map_err(|_| "is no plain host name")?;
                self.hostname = Some(host);
            }
            "rewrite-target" => self.target = Some(value.to_owned()),
            "use-regex" => self.by_expression = is_on,
            "enable-cors" if is_on => {
                let (cors, wrong) = nginx::cors(|name| all.get(name).map(|text| (*text).to_owned()));
                self.cors = Some(cors);
                if !wrong.is_empty() {
                    return Err("names origins that are none");
                }
            }
            "permanent-redirect" | "temporal-redirect" => {
                // The one for a time wins.
                if name == "permanent-redirect"
                    && all.get("temporal-redirect").is_some_and(|to| !to.is_empty())
                {
                    return Ok(());
                }
                let (default, most) = if name == "permanent-redirect" { (301, 308) } else { (302, 307) };
                let code = all.get(&*format!("{name}-code")).and_then(|code| code.parse::<i32>().ok());
                let code = code.filter(|code| (300..=most).contains(code)).unwrap_or(default);
                match nginx::moved(value, code) {
                    Some(Moved::To(respond)) => self.moved = Some(Answer::Respond(respond)),
                    Some(Moved::Along(redirect)) => self.moved = Some(Answer::Redirect(redirect)),
                    None => self.close(name),
                }
            }
            "backend-protocol" if value == "HTTP" => {}
            _ if GUARDS.contains(&name) => {
                if flag(value) != Some(false) && value != "all" && value != "0" {
                    self.close(name);
                }
            }
            _ if NEEDLESS.contains(&name)
                || name.starts_with("cors-")
                || name.starts_with("canary-")
                || name == "enable-cors" => {}
            _ => {
                return Err("is not served: write a GatewayRoute, as `gatehouse convert ingress-nginx` does");
            }
        }
        Ok(())
    }

    fn close(&mut self, name: &str) {
        match &mut self.closed {
            Some(closed) => closed.push_str(&format!(", annotation {name}")),
            None => self.closed = Some(format!("annotation {name}")),
        }
    }

    /// How a path is rewritten; what is written as an expression of a usual shape becomes the prefix that it is. The error says
    /// of another that it is none.
    pub(super) fn rewrite(&self, one: Option<&mut RouteMatch>) -> Result<Option<UrlRewrite>, String> {
        let mut rewrite = UrlRewrite { hostname: self.hostname.clone(), path: None };
        let written = one.as_ref().map_or("/", |one| &*one.path.value);
        let target = self.target.as_deref().filter(|target| *target != written);
        if target.is_some() || self.by_expression {
            let (prefix, path) = nginx::usual(written, target).ok_or_else(|| {
                format!(
                    "path: {written:?} with the annotations use-regex and rewrite-target is not served: write a GatewayRoute, as \
                     `gatehouse convert ingress-nginx` does"
                )
            })?;
            rewrite.path = path;
            if let Some(one) = one {
                one.path.value = prefix;
                one.path.kind = gatehouse_crds::PathMatchType::PathPrefix;
            }
        }
        Ok(Some(rewrite).filter(|rewrite| *rewrite != UrlRewrite::default()))
    }
}
