//! The annotations of an Ingress, and those that nobody needs to look at.

use std::collections::BTreeSet;

use gatehouse_controller::translate::nginx::{PREFIX, flag};

use crate::convert::{
    report::Report,
    tree::{At, Node},
};

/// What becomes of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing changes without it.
    Exact,
    /// Something does, and nobody gets in or is kept out by it.
    Warned,
    /// It is not converted, and nobody was kept out by it.
    Refused,
    /// It is not converted, and may have kept somebody out.
    Closes,
}

use Fate::{Closes, Exact, Refused, Warned};

/// Those that have no like here, or need none.
pub(super) const UNLIKE: [(&str, Fate, &str); 77] = [
    ("auth-snippet", Closes, "has no like here"),
    ("auth-tls-error-page", Warned, "is not converted: who shows no certificate has no connection"),
    (
        "auth-tls-match-cn",
        Closes,
        "asks for certificates: set `tls.frontend` of the Gateway and attach an AuthPolicy with `clientCertificate`",
    ),
    (
        "auth-tls-pass-certificate-to-upstream",
        Refused,
        "is not converted: backends don't get the client's certificate",
    ),
    (
        "auth-tls-secret",
        Closes,
        "asks for certificates: set `tls.frontend` of the Gateway and attach an AuthPolicy with `clientCertificate`",
    ),
    ("auth-tls-verify-client", Warned, "belongs to auth-tls-secret"),
    ("auth-tls-verify-depth", Warned, "is not converted: chains may have any length"),
    (
        "auth-proxy-set-headers",
        Closes,
        "tells the asked service more than the request does, which has no like here",
    ),
    ("auth-keepalive", Exact, ""),
    ("auth-keepalive-requests", Exact, ""),
    ("auth-keepalive-share-vars", Exact, ""),
    ("auth-keepalive-timeout", Exact, ""),
    (
        "auth-always-set-cookie",
        Warned,
        "is not converted: cookies of the asked service go to the client with its refusals alone",
    ),
    ("auth-request-redirect", Warned, "is not converted: the asked service is told X-Forwarded-Uri"),
    ("auth-signin-redirect-param", Warned, "belongs to auth-signin"),
    ("client-body-buffer-size", Exact, ""),
    ("connection-proxy-header", Warned, "is not converted: Connection belongs to each connection"),
    ("custom-http-errors", Refused, "is not converted: clients see the answers of backends"),
    ("default-backend", Refused, "is not converted: without endpoints the answer is 503"),
    ("disable-proxy-intercept-errors", Exact, ""),
    ("enable-access-log", Warned, "is not converted: the access log is that of the Gateway"),
    ("enable-global-auth", Warned, "is not converted: what guards a Gateway is an AuthPolicy for it"),
    ("enable-http2-push-preload", Exact, ""),
    ("enable-influxdb", Warned, "was given up by ingress-nginx itself"),
    ("enable-opentelemetry", Warned, "is not converted: set `tracing` of the GatewayConfig"),
    ("enable-opentracing", Warned, "was given up by ingress-nginx itself"),
    ("enable-owasp-core-rules", Closes, "belongs to ModSecurity, which has no like here"),
    ("enable-modsecurity", Closes, "is ModSecurity, which has no like here"),
    ("enable-rewrite-log", Exact, ""),
    ("fastcgi-index", Refused, "is not converted: backends speak HTTP"),
    ("fastcgi-params-configmap", Refused, "is not converted: backends speak HTTP"),
    ("global-rate-limit", Warned, "was given up by ingress-nginx itself: write a RateLimitPolicy"),
    ("global-rate-limit-header-only", Warned, "was given up by ingress-nginx itself"),
    ("global-rate-limit-ignored-cidrs", Warned, "was given up by ingress-nginx itself"),
    ("global-rate-limit-key", Warned, "was given up by ingress-nginx itself"),
    ("global-rate-limit-window", Warned, "was given up by ingress-nginx itself"),
    ("http2-push-preload", Exact, ""),
    ("limit-rate", Refused, "is not converted: answers are not slowed down"),
    ("limit-rate-after", Refused, "is not converted: answers are not slowed down"),
    ("mirror-host", Warned, "belongs to mirror-target"),
    ("mirror-request-body", Warned, "belongs to mirror-target"),
    ("mirror-target", Refused, "is not converted: write `mirror` of the rule, to a Service"),
    ("modsecurity-snippet", Closes, "belongs to ModSecurity, which has no like here"),
    ("modsecurity-transaction-id", Warned, "belongs to ModSecurity"),
    ("opentelemetry-operation-name", Warned, "is not converted: spans are named by their rule"),
    ("opentelemetry-trust-incoming-span", Warned, "is not converted: incoming spans are trusted"),
    ("preserve-trailing-slash", Exact, ""),
    ("proxy-buffer-size", Exact, ""),
    ("proxy-buffering", Exact, ""),
    ("proxy-buffers-number", Exact, ""),
    ("proxy-busy-buffers-size", Exact, ""),
    ("proxy-cookie-domain", Refused, "is not converted: cookies of backends stay as they are"),
    ("proxy-cookie-path", Refused, "is not converted: cookies of backends stay as they are"),
    ("proxy-max-temp-file-size", Exact, ""),
    ("proxy-redirect-from", Refused, "is not converted: redirects of backends stay as they are"),
    ("proxy-redirect-to", Refused, "is not converted: redirects of backends stay as they are"),
    ("proxy-request-buffering", Exact, ""),
    ("proxy-ssl-ciphers", Warned, "is not converted: ciphers are those of TLS 1.2 and 1.3 that are safe"),
    ("proxy-ssl-protocols", Warned, "is not converted: protocols are TLS 1.2 and 1.3"),
    (
        "proxy-ssl-secret",
        Refused,
        "is not converted: name the authorities in a BackendTLSPolicy, and the client's certificate in `tls.backend` of the Gateway",
    ),
    ("proxy-ssl-server-name", Exact, ""),
    ("proxy-ssl-verify", Warned, "is not converted: certificates of backends are always verified"),
    ("proxy-ssl-verify-depth", Exact, ""),
    ("relative-redirects", Exact, ""),
    ("secure-backends", Warned, "was given up by ingress-nginx itself: it has backend-protocol"),
    ("service-upstream", Warned, "is not converted: requests go to endpoints, not to the Service's address"),
    (
        "session-cookie-change-on-failure",
        Warned,
        "is not converted: a client whose endpoint is gone goes to another with the same cookie",
    ),
    ("session-cookie-conditional-samesite-none", Warned, "is not converted: SameSite is Lax"),
    ("session-cookie-hash", Warned, "was given up by ingress-nginx itself"),
    ("ssl-ciphers", Refused, "is not converted: ciphers are those of TLS 1.2 and 1.3 that are safe"),
    ("ssl-prefer-server-ciphers", Warned, "is not converted"),
    ("stream-snippet", Closes, "has no like here"),
    ("upstream-hash-by-subset", Refused, "is not converted: a key goes to one endpoint"),
    ("upstream-hash-by-subset-size", Warned, "belongs to upstream-hash-by-subset"),
    ("use-port-in-redirects", Refused, "is not converted: redirects name no port"),
    ("websocket-services", Exact, ""),
    ("x-forwarded-prefix-header", Exact, ""),
];

/// Those that are looked at one by one. Without the one that they belong to, they do nothing.
const KNOWN: [&str; 73] = [
    "affinity",
    "affinity-canary-behavior",
    "affinity-mode",
    "allowlist-source-range",
    "app-root",
    "auth-cache-duration",
    "auth-cache-key",
    "auth-method",
    "auth-realm",
    "auth-response-headers",
    "auth-secret",
    "auth-secret-type",
    "auth-signin",
    "auth-type",
    "auth-url",
    "backend-protocol",
    "canary",
    "canary-by-cookie",
    "canary-by-header",
    "canary-by-header-pattern",
    "canary-by-header-value",
    "canary-weight",
    "canary-weight-total",
    "configuration-snippet",
    "cors-allow-credentials",
    "cors-allow-headers",
    "cors-allow-methods",
    "cors-allow-origin",
    "cors-expose-headers",
    "cors-max-age",
    "custom-headers",
    "denylist-source-range",
    "enable-cors",
    "force-ssl-redirect",
    "from-to-www-redirect",
    "limit-allowlist",
    "limit-burst-multiplier",
    "limit-connections",
    "limit-rpm",
    "limit-rps",
    "limit-whitelist",
    "load-balance",
    "permanent-redirect",
    "permanent-redirect-code",
    "proxy-body-size",
    "proxy-connect-timeout",
    "proxy-http-version",
    "proxy-next-upstream",
    "proxy-next-upstream-timeout",
    "proxy-next-upstream-tries",
    "proxy-read-timeout",
    "proxy-send-timeout",
    "proxy-ssl-name",
    "rewrite-target",
    "satisfy",
    "server-alias",
    "server-snippet",
    "session-cookie-domain",
    "session-cookie-expires",
    "session-cookie-max-age",
    "session-cookie-name",
    "session-cookie-path",
    "session-cookie-samesite",
    "session-cookie-secure",
    "ssl-passthrough",
    "ssl-redirect",
    "temporal-redirect",
    "temporal-redirect-code",
    "upstream-hash-by",
    "upstream-vhost",
    "use-regex",
    "whitelist-source-range",
    "x-forwarded-prefix",
];

#[derive(Debug, Clone)]
pub(super) struct Annotations<'a, 'r> {
    node: Option<Node<'a>>,
    report: &'r Report,
    /// As if they were not there.
    without: &'r BTreeSet<String>,
}

impl<'a, 'r> Annotations<'a, 'r> {
    pub(super) fn new(node: Option<Node<'a>>, report: &'r Report, without: &'r BTreeSet<String>) -> Self {
        Annotations { node, report, without }
    }

    /// Unmarked.
    pub(super) fn find(&self, name: &str) -> Option<Node<'a>> {
        if self.without.contains(name) {
            return None;
        }
        self.node.as_ref()?.get(&format!("{PREFIX}{name}"))
    }

    /// All of the controller, without their prefix.
    pub(super) fn all(&self) -> Vec<(&'a str, Node<'a>)> {
        let fields = self.node.iter().flat_map(Node::fields);
        fields.filter_map(|(name, node)| Some((name.strip_prefix(PREFIX)?, node))).collect()
    }

    pub(super) fn text(&self, name: &str) -> Option<At<'a, String>> {
        let node = self.find(name)?;
        self.report.exact(&node);
        let value = node.value().as_str().map_or_else(|| node.value().to_string(), str::to_owned);
        Some(At { value: value.trim().to_owned(), node })
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, name: &str) -> Option<At<'a, String>> {
        self.text(name).filter(|at| !at.value.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> Option<At<'a, bool>> {
        let at = self.filled(name)?;
        match flag(&at.value) {
            Some(value) => Some(At { value, node: at.node }),
            None => {
                self.report.refuse(&at.node, "is neither true nor false, and not converted");
                None
            }
        }
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.flag(name).is_some_and(|at| at.value)
    }

    pub(super) fn number(&self, name: &str) -> Option<At<'a, i64>> {
        let at = self.filled(name)?;
        match at.value.parse() {
            Ok(value) => Some(At { value, node: at.node }),
            Err(_) => {
                self.report.refuse(&at.node, "is no whole number, and not converted");
                None
            }
        }
    }

    pub(super) fn warn(&self, name: &str, message: &str) {
        if let Some(node) = self.find(name) {
            self.report.warn(&node, message);
        }
    }

    /// What nobody has looked at.
    pub(super) fn tell_rest(&self) {
        for (name, node) in self.all() {
            if self.without.contains(name) {
                self.report.warn(&node, "is left out, as --without asks");
            } else if !self.report.is_marked(&node) {
                if KNOWN.contains(&name) {
                    self.report.exact(&node);
                } else {
                    self.report
                        .warn(&node, "is not known to ingress-nginx 1.15 either, and does nothing there");
                }
            }
        }
    }
}
