//! How Services are spoken to, and how their endpoints share requests.

use gatehouse_controller::translate::nginx::seconds;
use serde_json::{Value, json};

use super::{
    Conversion,
    annotations::Annotations,
    input::{Key, Target},
    treatment::Treatment,
};
use crate::convert::{
    manifests::{File, own},
    tree::Node,
};

const COOKIE: &str = "INGRESSCOOKIE";

impl<'a> Conversion<'a, '_> {
    pub(super) fn backend_protocol(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        let name = annotations.filled("proxy-ssl-name").map_or_else(String::new, |at| at.value);
        let Some(at) = annotations.filled("backend-protocol") else { return };
        let protocol = at.value.to_ascii_uppercase();
        match &*protocol {
            "HTTP" | "HTTPS" | "GRPC" | "GRPCS" => {}
            _ => {
                let why = format!("is {protocol}, which no backend is spoken to here");
                return self.close(&at.node, "backend-protocol", &why, &mut treatment.missing);
            }
        }
        if protocol.starts_with("GRPC") {
            treatment.is_h2c = true;
            self.report
                .warn(&at.node, "is spoken only if the Service's port has appProtocol: kubernetes.io/h2c");
        }
        if protocol.ends_with('S') {
            treatment.backend_tls = Some(name);
            self.report.warn(&at.node, "has the certificate of the backend verified by the system's authorities, for the name of the Service or proxy-ssl-name, where nginx verified nothing unless it was told to");
        }
    }

    /// As `loadBalancing` of a TrafficPolicy.
    pub(super) fn balancing(&self, annotations: &Annotations<'a, '_>) -> Option<Value> {
        if let Some(at) = annotations.filled("affinity").filter(|at| at.value == "cookie") {
            return Some(self.affinity(annotations, &at.node));
        }
        if let Some(at) = annotations.filled("upstream-hash-by") {
            let key = hash_key(&at.value);
            if key.is_none() {
                self.report.refuse(&at.node, "is not converted: a key is $remote_addr, $http_NAME or $cookie_NAME. Requests go to the less busy of two endpoints");
            }
            return Some(json!({"type": "ConsistentHash", "consistentHash": key?}));
        }
        let at = annotations.filled("load-balance")?;
        match &*at.value {
            "round_robin" => Some(json!({"type": "RoundRobin"})),
            _ => {
                self.report.warn(&at.node, "is not converted: requests go to the less busy of two endpoints");
                None
            }
        }
    }

    fn affinity(&self, annotations: &Annotations<'a, '_>, node: &Node<'a>) -> Value {
        self.report.warn(
            node,
            "has a cookie of another value, with Path=/, HttpOnly and SameSite=Lax: sessions move once",
        );
        let name = annotations.filled("session-cookie-name").map_or_else(|| COOKIE.to_owned(), |at| at.value);
        let lasts = annotations
            .filled("session-cookie-max-age")
            .or_else(|| annotations.filled("session-cookie-expires"));
        let lasts = lasts.and_then(|at| seconds(&at.value)).unwrap_or(0);
        annotations.warn("affinity-canary-behavior", "is not converted: weights decide about each request");
        if annotations.filled("affinity-mode").is_none_or(|at| at.value != "persistent") {
            annotations
                .warn("affinity-mode", "is persistent: a client stays for as long as its endpoint is there");
        }
        for name in ["path", "domain", "samesite", "secure"] {
            annotations.warn(
                &format!("session-cookie-{name}"),
                "is not converted: Path=/, no Domain, SameSite=Lax, and Secure over TLS",
            );
        }
        let ttl =
            if lasts > 99_999 { format!("{}h", (lasts / 3600).min(99_999)) } else { format!("{lasts}s") };
        json!({"type": "ConsistentHash", "consistentHash": {"cookie": {"name": name, "ttl": ttl}}})
    }

    /// As an entry of `backendRefs`, with what the Service needs besides.
    pub(super) fn backend(
        &mut self,
        ingress: usize,
        of: usize,
        target: &Target,
        weight: Option<i64>,
    ) -> Value {
        let input = self.input;
        let (own_namespace, namespace) =
            (&input.ingresses[of].namespace, &input.ingresses[ingress].namespace);
        let treatment = &self.treatments[of];
        let (is_h2c, tls) = (treatment.is_h2c, treatment.backend_tls.clone());
        self.manifests.service(File::Local, namespace, &target.service, target.port, is_h2c);
        if let Some(name) = tls {
            let name = if name.is_empty() { format!("{}.{namespace}.svc", target.service) } else { name };
            self.manifests.verify_backend(namespace, &target.service, &name);
        }
        let annotations = input.ingresses[of].annotations(self.report, &self.options.without);
        if let Some(balancing) = self.balancing(&annotations) {
            let key = input.ingresses[ingress].key(&target.service);
            self.balance(key, &balancing, &input.ingresses[of].node);
        }
        let mut reference = json!({"name": target.service, "port": target.port});
        if namespace != own_namespace {
            reference["namespace"] = json!(namespace);
            self.manifests.allow_routes("routes", namespace, &target.service, own_namespace);
        }
        if let Some(weight) = weight {
            reference["weight"] = json!(weight);
        }
        reference
    }

    fn balance(&mut self, key: Key, balancing: &Value, node: &Node<'a>) {
        match self.traffic.get(&key) {
            Some(known) if known == balancing => {}
            Some(_) => self.report.warn(
                node,
                format!("spreads requests over {} in its own way: another Ingress comes first, and a Service has one", key.1),
            ),
            None => {
                let spec = json!({"targetRefs": [{"name": key.1}], "loadBalancing": balancing});
                self.manifests.add(File::Policies, own("TrafficPolicy", &key.0, &key.1, &spec));
                self.traffic.insert(key, balancing.clone());
            }
        }
    }
}

/// As `consistentHash` has it.
fn hash_key(text: &str) -> Option<Value> {
    match text.trim_start_matches('$').trim_matches(['{', '}']) {
        "remote_addr" | "binary_remote_addr" => Some(json!({"clientIP": {"ipv6Prefix": 128}})),
        name => {
            let is_name = |name: &&str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            if let Some(header) = name.strip_prefix("http_").filter(is_name) {
                return Some(json!({"header": {"name": header.replace('_', "-")}}));
            }
            let cookie = name.strip_prefix("cookie_").filter(is_name)?;
            Some(json!({"cookie": {"name": cookie}}))
        }
    }
}
