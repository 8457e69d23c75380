//! What a cluster would have and a folder need not: the classes, and certificates for development.

use std::collections::BTreeMap;

use gatehouse_controller::{
    resources::{ObjectKey, Resources},
    translate::{CONTROLLER_NAME, INGRESS_CONTROLLER_NAME, ImpliedGateways},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

/// The GatewayClass and the IngressClass that the chart would install.
pub(crate) const CLASS: &str = "gatehouse";

/// Certificates that were made for Secrets that are absent, by Secret. Kept, so that one lives as long as the process.
#[derive(Debug, Default)]
pub(crate) struct Certificates(BTreeMap<ObjectKey, Made>);

#[derive(Debug)]
struct Made {
    names: Vec<String>,
    certificate: String,
    key: String,
}

/// Adds the classes `gatehouse` where the folder brings none.
pub(crate) fn add_classes(resources: &mut Resources) {
    let of_gateways = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": CLASS},
        "spec": {"controllerName": CONTROLLER_NAME},
    });
    let of_ingresses = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": CLASS},
        "spec": {"controller": INGRESS_CONTROLLER_NAME},
    });
    let missing = [
        (!resources.gateway_classes.contains_key(CLASS)).then_some(of_gateways),
        (!resources.ingress_classes.contains_key(CLASS)).then_some(of_ingresses),
    ];
    for class in missing.into_iter().flatten() {
        if let Err(error) = resources.apply(class) {
            tracing::error!(%error, "a built-in class is broken");
        }
    }
}

impl Certificates {
    /// Adds a self-signed certificate for each Secret that a listener refers to and that does not exist. Gives these Secrets.
    /// One that was meant to be there (`is_meant`) and is not right gets no stand-in: its owner must mend it.
    pub(crate) fn add_missing(
        &mut self,
        resources: &mut Resources,
        implied: &ImpliedGateways,
        is_meant: impl Fn(&ObjectKey) -> bool,
    ) -> Vec<ObjectKey> {
        let mut wanted: BTreeMap<ObjectKey, Vec<String>> = BTreeMap::new();
        let implied = implied.iter().map(|(key, (gateway, _))| (key, gateway));
        let gateways = resources.gateways.iter().chain(implied);
        let gateways = gateways.map(|(key, gateway)| (key, &gateway.spec.listeners));
        let sets = resources.listener_sets.iter().map(|(key, set)| (key, &set.spec.listeners));
        for (holder, listeners) in gateways.chain(sets) {
            for listener in listeners {
                let references = listener.tls.iter().flat_map(|tls| &tls.certificate_refs);
                for reference in references {
                    let namespace = reference.namespace.as_deref().unwrap_or(&holder.namespace);
                    let key = ObjectKey::new(namespace, &reference.name);
                    if !resources.secrets.contains_key(&key) && !is_meant(&key) {
                        wanted.entry(key).or_default().extend(listener.hostname.clone());
                    }
                }
            }
        }
        let mut missing = Vec::new();
        for (secret, mut names) in wanted {
            names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
            if self.0.get(&secret).is_none_or(|made| made.names != names) {
                match make(names) {
                    Ok(made) => {
                        self.0.insert(secret.clone(), made);
                    }
                    Err(error) => tracing::error!(%secret, %error, "no certificate for development"),
                }
            }
            let Some(made) = self.0.get(&secret) else { continue };
            let object = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {"namespace": secret.namespace, "name": secret.name},
                "stringData": {"tls.crt": made.certificate, "tls.key": made.key},
            });
            if let Err(error) = resources.apply(object) {
                tracing::error!(%secret, %error, "the certificate for development is broken");
            }
            missing.push(secret);
        }
        missing
    }

    /// PEM, for clients to trust.
    pub(crate) fn certificate(&self, secret: &ObjectKey) -> Option<&str> {
        self.0.get(secret).map(|made| made.certificate.as_str())
    }
}

fn make(names: Vec<String>) -> Result<Made, rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names.clone())?.self_signed(&key)?;
    Ok(Made { names, certificate: certificate.pem(), key: key.serialize_pem() })
}
