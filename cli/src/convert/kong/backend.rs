//! Where the requests of a Kong service go: Services that the cluster has, and Services that are made for addresses.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};

use super::{Conversion, model::Service};
use crate::convert::{
    forms::{duration, is_host},
    manifests::{File, own},
    names::label,
    tree::{At, Node},
};

/// So many backends has a rule at most.
const MOST_BACKENDS: usize = 16;

/// Kong's, in milliseconds.
const TIMEOUT: i64 = 60_000;
/// So many may a rule wait for a connection at most.
const MOST_TO_CONNECT: i64 = 300_000;

#[derive(Debug, Default)]
pub(super) struct Backends {
    /// By position of the Kong service.
    known: BTreeMap<usize, Option<Backend>>,
}

/// What the rules of a service's routes have in common.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    /// As `backendRefs`.
    pub(super) references: Vec<Value>,
    /// What backends are asked for, if all are asked for the same.
    pub(super) host: Option<String>,
    /// Begins with `/` and does not end with it; empty: nothing is put before paths.
    pub(super) base: String,
    pub(super) timeouts: Value,
    pub(super) retry: Option<Value>,
}

/// One place that requests go to.
struct Place<'n, 'a> {
    host: String,
    port: i64,
    weight: i64,
    node: &'n Node<'a>,
}

impl<'a> Conversion<'a, '_> {
    /// `None`: it has nowhere to go.
    pub(super) fn backend(&mut self, service: usize) -> Option<Backend> {
        if let Some(known) = self.backends.known.get(&service) {
            return known.clone();
        }
        let made = self.make_backend(&self.kong.services[service]);
        self.backends.known.insert(service, made.clone());
        made
    }

    fn make_backend(&mut self, service: &Service<'a>) -> Option<Backend> {
        if !["http", "https", "grpc", "grpcs", "ws", "wss"].contains(&&*service.protocol) {
            self.report.refuse(
                &service.node,
                format!("has protocol {}: use a TCPRoute, TLSRoute or UDPRoute", service.protocol),
            );
            return None;
        }
        let Some(host) = &service.host else {
            self.report.refuse(&service.node, "has no host");
            return None;
        };
        let kong = self.kong;
        let upstream = kong.upstreams.iter().find(|upstream| upstream.name == host.value);
        let mut places = Vec::new();
        match upstream.filter(|upstream| !upstream.targets.is_empty()) {
            None => places.push(Place {
                host: host.value.clone(),
                port: service.port,
                weight: 1,
                node: &host.node,
            }),
            Some(upstream) => {
                for target in &upstream.targets {
                    let (host, port) = split_port(&target.address.value);
                    let weight = target.weight;
                    places.push(Place {
                        host,
                        port: port.unwrap_or(8000),
                        weight,
                        node: &target.address.node,
                    });
                }
            }
        }
        let mut references: Vec<Value> = Vec::new();
        let weighted = places.iter().any(|place| place.weight != places[0].weight);
        let addresses: Option<Vec<(IpAddr, i64)>> = places
            .iter()
            .map(|place| Some((place.host.trim_matches(['[', ']']).parse().ok()?, place.port)))
            .collect();
        match addresses.filter(|_| !weighted) {
            Some(addresses) => {
                let name = self.address_service(&service.name, &addresses, service);
                references.push(json!({"name": name, "port": addresses[0].1}));
            }
            None => {
                for place in &places {
                    references.extend(self.place(place, service, places.len() > 1));
                }
            }
        }
        if references.len() > MOST_BACKENDS {
            self.report.refuse(
                &host.node,
                format!(
                    "has more than {MOST_BACKENDS} targets of different weights: only the first are used"
                ),
            );
            references.truncate(MOST_BACKENDS);
        }
        if references.is_empty() {
            return None;
        }
        if let Some(traffic) = upstream.and_then(|upstream| upstream.traffic.as_ref()) {
            self.balance(&references, traffic);
        }
        let wanted =
            upstream.and_then(|upstream| upstream.host_header.as_ref()).map(|header| header.value.clone());
        let is_same = places.iter().all(|place| place.host == places[0].host);
        let wanted = wanted.or_else(|| is_same.then(|| places[0].host.clone()));
        let asks = wanted.filter(|name| is_host(name));
        if asks.is_none() {
            self.report.warn(&host.node, "is not what backends are asked for: they see the client's Host");
        } else if ![80, 443].contains(&service.port) {
            self.report.warn(&host.node, format!("is asked for without :{}", service.port));
        }
        Some(Backend {
            references,
            host: asks,
            base: self.base(service),
            timeouts: self.timeouts(service),
            retry: self.retry(service),
        })
    }

    /// The Services of an upstream share their requests as it says. The first upstream that a Service belongs to counts.
    fn balance(&mut self, references: &[Value], traffic: &Value) {
        for reference in references {
            let name = reference["name"].as_str().unwrap_or_default();
            let namespace = reference["namespace"].as_str().unwrap_or(&self.options.namespace);
            if self.manifests.get_mut(File::Policies, "TrafficPolicy", namespace, name).is_none() {
                let mut spec = traffic.clone();
                spec["targetRefs"] = json!([{"name": name}]);
                self.manifests.add(File::Policies, own("TrafficPolicy", namespace, name, &spec));
            }
        }
    }

    fn base(&self, service: &Service<'a>) -> String {
        let Some(path) = &service.path else { return String::new() };
        let base = path.value.trim_end_matches('/');
        let is_path = base.is_empty() || base.starts_with('/');
        if !is_path || base.bytes().any(|byte| !(b'!'..=b'~').contains(&byte) || b"?#".contains(&byte)) {
            self.report.refuse(&path.node, "is not converted: it is no path");
            return String::new();
        }
        base.to_owned()
    }

    /// That for reads is for both directions.
    fn timeouts(&self, service: &Service<'a>) -> Value {
        let time = |given: &Option<At<'a, i64>>| given.as_ref().map_or(TIMEOUT, |at| at.value);
        let (connect, read, write) =
            (time(&service.times.connect), time(&service.times.read), time(&service.times.write));
        if let Some(at) = service.times.connect.as_ref().filter(|_| connect > MOST_TO_CONNECT) {
            self.report.warn(&at.node, format!("is {} s, the most that a rule has", MOST_TO_CONNECT / 1000));
        }
        if let Some(at) = service.times.write.as_ref().filter(|_| write != read) {
            self.report.warn(
                &at.node,
                format!(
                    "is not told apart from the time for reads: {} is for both directions",
                    duration(read)
                ),
            );
        }
        json!({
            "connect": duration(connect.clamp(10, MOST_TO_CONNECT)),
            "idle": duration(read.clamp(10, 99_999_000)),
        })
    }

    fn retry(&self, service: &Service<'a>) -> Option<Value> {
        let retries = service.retries.as_ref()?;
        self.report.warn(
            &retries.node,
            "is how often what failed is tried again, if that does no harm; what was not sent is tried on up to two other endpoints in any case",
        );
        (retries.value > 0).then(|| json!({"attempts": retries.value.min(10)}))
    }

    /// A Service for addresses.
    fn address_service(
        &mut self,
        wanted: &str,
        addresses: &[(IpAddr, i64)],
        service: &Service<'a>,
    ) -> String {
        let namespace = self.options.namespace.clone();
        let name = self.names.unique("Service", &label(wanted, 50));
        let port = addresses[0].1;
        let mut entry = json!({"name": "http", "port": port});
        if service.protocol.starts_with("grpc") {
            entry["appProtocol"] = json!("kubernetes.io/h2c");
        }
        self.manifests.add(
            File::Services,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"ports": [entry]},
            }),
        );
        let mut groups: BTreeMap<(&str, i64), Vec<String>> = BTreeMap::new();
        for (address, port) in addresses {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            groups.entry((family, *port)).or_default().push(address.to_string());
        }
        for (index, ((family, port), addresses)) in groups.into_iter().enumerate() {
            self.manifests.add(File::Services, json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{name}-{}", index + 1), "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": family,
                "ports": [{"name": "http", "port": port}],
                "endpoints": addresses.iter().map(|address| json!({"addresses": [address], "conditions": {"ready": true}})).collect::<Vec<_>>(),
            }));
        }
        self.encrypt(&name, &namespace, None, service);
        name
    }

    fn place(&mut self, place: &Place<'_, 'a>, service: &Service<'a>, weighted: bool) -> Option<Value> {
        let host = place.host.to_ascii_lowercase();
        let (name, namespace) = if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            (self.address_service(&host, &[(address, place.port)], service), self.options.namespace.clone())
        } else {
            self.named_service(&host, place, service)
        };
        let mut reference = json!({"name": name, "port": place.port});
        if namespace != self.options.namespace {
            reference["namespace"] = json!(namespace);
            self.manifests.allow_routes("kong-routes", &namespace, &name, &self.options.namespace);
        }
        if weighted {
            reference["weight"] = json!(place.weight);
        }
        (1..=65535).contains(&place.port).then_some(reference).or_else(|| {
            self.report.refuse(place.node, "has no port between 1 and 65535");
            None
        })
    }

    /// The Service that a host name stands for, and its namespace.
    fn named_service(
        &mut self,
        host: &str,
        place: &Place<'_, 'a>,
        service: &Service<'a>,
    ) -> (String, String) {
        let is_h2c = service.protocol.starts_with("grpc");
        let mut parts = host.trim_end_matches('.').split('.');
        let first = parts.next().unwrap_or_default();
        let rest: Vec<&str> = parts.collect();
        let namespace = match rest.as_slice() {
            [] if first == "localhost" => {
                self.report.refuse(
                    place.node,
                    "is the machine that Kong runs on: make a Service `localhost` with what listens there",
                );
                self.options.namespace.clone()
            }
            [] => self.options.namespace.clone(),
            [namespace, "svc", ..] => (*namespace).to_owned(),
            _ => {
                self.report.refuse(place.node, "is outside the cluster: put its addresses into an EndpointSlice of the Service that is made for it, or make it an ExternalName and set externalNames.enabled in the GatewayConfig");
                let name = label(host, 60);
                let namespace = self.options.namespace.clone();
                self.manifests.service(File::Services, &namespace, &name, place.port, is_h2c);
                self.encrypt(&name, &namespace, Some(host), service);
                return (name, namespace);
            }
        };
        let name = label(first, 63);
        if name != first {
            self.report.warn(
                place.node,
                format!("is no name of a Service, which has no `_`: {name} is meant in its place"),
            );
        }
        self.manifests.service(File::Local, &namespace, &name, place.port, is_h2c);
        self.encrypt(&name, &namespace, Some(host), service);
        if is_h2c {
            self.report.warn(
                place.node,
                format!(
                    "is spoken HTTP/2 to only if port {} of the Service has appProtocol: kubernetes.io/h2c",
                    place.port
                ),
            );
        }
        (name, namespace)
    }

    /// TLS to backends, with the certificate verified.
    fn encrypt(&mut self, name: &str, namespace: &str, host: Option<&str>, service: &Service<'a>) {
        if !["https", "grpcs", "wss"].contains(&&*service.protocol) {
            return;
        }
        if self.manifests.get_mut(File::Policies, "BackendTLSPolicy", namespace, name).is_some() {
            return;
        }
        let field = service.node.get("protocol").or_else(|| service.node.get("url"));
        let node = field.unwrap_or_else(|| service.node.clone());
        let Some(host) =
            host.or_else(|| service.host.as_ref().map(|host| &*host.value)).filter(|host| is_host(host))
        else {
            self.report.refuse(
                &node,
                "is TLS to an address: write a BackendTLSPolicy with the name in its certificate",
            );
            return;
        };
        self.report.warn(&node, "has the certificate of the backend verified by the system's authorities, where Kong verified nothing unless it was told to");
        self.manifests.verify_backend(namespace, name, host);
    }
}

/// `HOST[:PORT]`.
fn split_port(address: &str) -> (String, Option<i64>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host.to_owned(), Some(port)),
            Err(_) => (address.to_owned(), None),
        },
        _ => (address.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_port;

    #[test]
    fn ports() {
        assert_eq!(split_port("a:80"), ("a".into(), Some(80)));
        assert_eq!(split_port("[::1]:80"), ("[::1]".into(), Some(80)));
        assert_eq!(split_port("::1"), ("::1".into(), None));
        assert_eq!(split_port("a"), ("a".into(), None));
    }
}
