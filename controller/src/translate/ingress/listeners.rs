//! The listeners of the Gateway that the Ingresses of a class imply: one for plain HTTP, and one for each host that an
//! Ingress brings a certificate for.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use gatehouse_crds::{
    AllowedRoutes, CertificateRef, Gateway, GatewaySpec, GatewayTls, Listener, NamespaceSelector,
    NamespacesFrom, RouteKind,
};
use k8s_openapi::api::networking::v1::{Ingress, IngressTLS};

use super::rules;
use crate::{
    resources::{INGRESS_GROUP, ObjectKey},
    translate::{
        check,
        conditions::{Problem, reason},
    },
};

/// By host; the empty one is that of every client whose name no other has.
#[derive(Debug, Default)]
pub(super) struct Listeners<'a>(BTreeMap<String, Certified<'a>>);

/// Whose Secret a host has.
#[derive(Debug)]
struct Certified<'a> {
    ingress: &'a ObjectKey,
    secret: String,
}

/// What came of the TLS entries of an Ingress.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    /// Those that have a Secret of it.
    pub(super) hosts: Vec<String>,
    pub(super) unresolved: Vec<Problem>,
    pub(super) conflicts: Vec<Problem>,
}

impl<'a> Listeners<'a> {
    /// To be called with the oldest Ingress first.
    pub(super) fn claim(&mut self, key: &'a ObjectKey, ingress: &Ingress) -> Claimed {
        let mut claimed = Claimed::default();
        let entries = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        for (index, tls) in entries.enumerate() {
            let Some(secret) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else {
                let message =
                    format!("tls[{index}]: secretName is missing: name a Secret of type kubernetes.io/tls");
                claimed.unresolved.push(Problem::new(reason::INVALID_CERTIFICATE_REF, message));
                continue;
            };
            for host in hosts(tls, ingress) {
                if !host.is_empty()
                    && let Err(error) = check::hostname(&host)
                {
                    let message = format!("tls[{index}].hosts: {error}");
                    claimed.unresolved.push(Problem::new(reason::UNSUPPORTED_VALUE, message));
                    continue;
                }
                let new = Certified { ingress: key, secret: secret.to_owned() };
                let first = self.0.entry(host.clone()).or_insert(new);
                if (first.ingress.namespace.as_str(), &*first.secret) == (key.namespace.as_str(), secret) {
                    claimed.hosts.push(host);
                    continue;
                }
                let message = format!(
                    "tls[{index}]: host {host} is served with Secret {} of Ingress {}, which comes first",
                    first.secret, first.ingress
                );
                claimed.conflicts.push(Problem::new(reason::CONFLICTED, message));
            }
        }
        claimed
    }

    /// The listeners by their hosts, as they are numbered in the Gateway. Plain HTTP, which is not here, is the first.
    pub(super) fn numbered(&self) -> Numbered<'_> {
        Numbered(self.0.keys().map(String::as_str).zip(1..).collect())
    }

    /// With every listener, in order.
    pub(super) fn gateway(&self, class: &str, key: &ObjectKey) -> Gateway {
        let plain =
            Listener { name: "http".into(), port: 80, protocol: "HTTP".into(), ..Listener::default() };
        let listeners =
            iter::once(plain).chain(self.0.iter().map(|(host, certified)| https(host, certified)));
        let allowed = AllowedRoutes {
            namespaces: Some(NamespaceSelector { from: NamespacesFrom::All, selector: None }),
            kinds: vec![RouteKind { group: Some(INGRESS_GROUP.into()), kind: "Ingress".into() }],
        };
        let spec = GatewaySpec {
            gateway_class_name: class.to_owned(),
            listeners: listeners
                .map(|listener| Listener { allowed_routes: Some(allowed.clone()), ..listener })
                .collect(),
            ..GatewaySpec::default()
        };
        let mut gateway = Gateway::new(&key.name, spec);
        gateway.metadata.namespace = Some(key.namespace.clone());
        gateway
    }
}

/// See [`Listeners::numbered`].
#[derive(Debug)]
pub(super) struct Numbered<'a>(BTreeMap<&'a str, usize>);

impl Numbered<'_> {
    /// That of a TLS host.
    pub(super) fn of(&self, host: &str) -> Option<usize> {
        self.0.get(host).copied()
    }

    /// Those that requests for a rule's host may come in by.
    pub(super) fn serving(&self, host: &str) -> BTreeSet<usize> {
        if host.is_empty() {
            return (0..=self.0.len()).collect();
        }
        let wider = host.match_indices('.').map(|(dot, _)| format!("*{}", &host[dot..]));
        let named = iter::once(host.to_owned()).chain(wider).chain([String::new()]);
        let mut serving: BTreeSet<usize> = named.filter_map(|name| self.of(&name)).chain([0]).collect();
        if let Some(suffix) = host.strip_prefix("*.") {
            let one_label = |known: &str| known.split_once('.').is_some_and(|(_, rest)| rest == suffix);
            serving.extend(self.0.iter().filter(|(known, _)| one_label(known)).map(|(_, number)| *number));
        }
        serving
    }
}

/// As written, in lower case; without any, those of the rules (IngressTLS.hosts leaves the choice to the controller).
fn hosts(tls: &IngressTLS, ingress: &Ingress) -> BTreeSet<String> {
    let written = tls.hosts.iter().flatten();
    let written: BTreeSet<String> = written.map(|host| host.to_ascii_lowercase()).collect();
    if !written.is_empty() {
        return written;
    }
    let of_rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten()).map(rules::host);
    let of_rules: BTreeSet<String> = of_rules.collect();
    if of_rules.is_empty() { BTreeSet::from([String::new()]) } else { of_rules }
}

fn https(host: &str, certified: &Certified<'_>) -> Listener {
    Listener {
        // Names that begin alike would meet: a host may have a label `wildcard`.
        name: match host.strip_prefix("*.") {
            None if host.is_empty() => "https".into(),
            None => format!("https-{host}"),
            Some(suffix) => format!("wildcard-https-{suffix}"),
        },
        hostname: (!host.is_empty()).then(|| host.to_owned()),
        port: 443,
        protocol: "HTTPS".into(),
        tls: Some(GatewayTls {
            mode: None,
            certificate_refs: vec![CertificateRef {
                name: certified.secret.clone(),
                namespace: Some(certified.ingress.namespace.clone()),
                ..CertificateRef::default()
            }],
        }),
        allowed_routes: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Numbered;

    #[test]
    fn listeners_that_serve_a_host() {
        let hosts = ["", "*.b.c", "*.c", "a.b.c", "b.c", "x.a.b.c"];
        let numbered = Numbered(hosts.into_iter().zip(1..).collect());
        for (host, wanted) in [
            ("", vec!["", "*.b.c", "*.c", "a.b.c", "b.c", "x.a.b.c"]),
            ("a.b.c", vec!["", "*.b.c", "*.c", "a.b.c"]),
            ("*.b.c", vec!["", "*.b.c", "*.c", "a.b.c"]),
            ("*.a.b.c", vec!["", "*.b.c", "*.c", "x.a.b.c"]),
            ("c", vec![""]),
            ("*.d", vec![""]),
        ] {
            let wanted: BTreeSet<usize> =
                wanted.iter().filter_map(|host| numbered.of(host)).chain([0]).collect();
            assert_eq!(numbered.serving(host), wanted, "{host}");
        }
    }
}
