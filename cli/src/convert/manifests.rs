//! The objects that are written, each in the file that it belongs to.

use std::{collections::BTreeMap, fs, io, os::unix::fs::OpenOptionsExt, path::Path};

use serde_json::{Value, json};

use super::names::label;

/// In the order of what they depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum File {
    Gateway,
    Services,
    Policies,
    Consumers,
    Routes,
    /// What nobody but its owner may read.
    Secrets,
    /// Services that the cluster has already: `gatehouse run` needs to be told of them, and `kubectl apply` without `-R`
    /// does not go there.
    Local,
}

/// The annotation that keeps a route closed.
pub(crate) const UNCONVERTED: &str = "gatehouse.dev/unconverted";

#[derive(Debug, Default)]
pub(crate) struct Manifests(BTreeMap<File, Vec<Value>>);

impl File {
    pub(crate) fn name(self) -> &'static str {
        match self {
            File::Gateway => "gateway.yaml",
            File::Services => "services.yaml",
            File::Policies => "policies.yaml",
            File::Consumers => "consumers.yaml",
            File::Routes => "routes.yaml",
            File::Secrets => "secrets.yaml",
            File::Local => "local/services.yaml",
        }
    }

    fn head(self) -> &'static str {
        match self {
            File::Local => {
                "# Services that your cluster has already, as far as `gatehouse run` must know them. Don't apply them to a cluster.\n"
            }
            File::Secrets => {
                "# Credentials of clients, as the input held them. Keep this file out of repositories.\n"
            }
            _ => "",
        }
    }
}

impl Manifests {
    pub(crate) fn add(&mut self, file: File, object: Value) {
        self.0.entry(file).or_default().push(object);
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &Value> {
        self.0.values().flatten()
    }

    pub(crate) fn get_mut(
        &mut self,
        file: File,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<&mut Value> {
        let is_it = |object: &&mut Value| {
            object["kind"] == kind
                && object["metadata"]["name"] == name
                && object["metadata"]["namespace"] == namespace
        };
        self.0.get_mut(&file)?.iter_mut().find(is_it)
    }

    /// Each file as text.
    pub(crate) fn texts(&self) -> Result<Vec<(File, String)>, serde_saphyr::ser::Error> {
        let text = |(file, objects): (&File, &Vec<Value>)| {
            let mut text = file.head().to_owned();
            for (index, object) in objects.iter().enumerate() {
                if index > 0 {
                    text.push_str("---\n");
                }
                text.push_str(&serde_saphyr::to_string(object)?);
            }
            Ok((*file, text))
        };
        self.0.iter().map(text).collect()
    }

    /// Into a folder that does not exist yet.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        for (file, text) in self.texts().map_err(io::Error::other)? {
            let path = folder.join(file.name());
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            let mode = if file == File::Secrets { 0o600 } else { 0o644 };
            let mut opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            io::Write::write_all(&mut opened, text.as_bytes())?;
        }
        Ok(())
    }
}

/// What configurations of all origins need.
impl Manifests {
    /// A port of a Service, which is made with its first.
    pub(crate) fn service(&mut self, file: File, namespace: &str, name: &str, port: i64, is_h2c: bool) {
        let mut entry = json!({"name": format!("port-{port}"), "port": port});
        if is_h2c {
            entry["appProtocol"] = json!("kubernetes.io/h2c");
        }
        let Some(known) = self.get_mut(file, "Service", namespace, name) else {
            let service = json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"ports": [entry]},
            });
            return self.add(file, service);
        };
        if let Some(ports) = known["spec"]["ports"].as_array_mut()
            && !ports.iter().any(|known| known["port"] == port)
        {
            ports.push(entry);
        }
    }

    /// TLS to a Service, whose certificate must be for the host.
    pub(crate) fn verify_backend(&mut self, namespace: &str, name: &str, host: &str) {
        if self.get_mut(File::Policies, "BackendTLSPolicy", namespace, name).is_some() {
            return;
        }
        let policy = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": name}],
                "validation": {"wellKnownCACertificates": "System", "hostname": host},
            },
        });
        self.add(File::Policies, policy);
    }

    /// Lets GatewayRoutes of a namespace refer to a Service of another.
    pub(crate) fn allow_routes(&mut self, prefix: &str, namespace: &str, service: &str, from: &str) {
        let to = json!({"group": "", "kind": "Service", "name": service});
        let from = json!({"group": "gatehouse.dev", "kind": "GatewayRoute", "namespace": from});
        self.grant(&format!("{prefix}-{}", label(service, 50)), namespace, &from, &to);
    }

    /// Lets a Gateway of another namespace present a certificate.
    pub(crate) fn allow_gateway(&mut self, namespace: &str, secret: &str, from: &str) {
        let to = json!({"group": "", "kind": "Secret", "name": secret});
        let from = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": from});
        self.grant(&format!("gateway-{}", label(secret, 50)), namespace, &from, &to);
    }

    fn grant(&mut self, name: &str, namespace: &str, from: &Value, to: &Value) {
        if self.get_mut(File::Policies, "ReferenceGrant", namespace, name).is_none() {
            let grant = json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ReferenceGrant",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"from": [from], "to": [to]},
            });
            self.add(File::Policies, grant);
        }
    }

    /// A Secret's entry. The Secret is made with the first.
    pub(crate) fn secret(&mut self, namespace: &str, name: &str, entry: &str, value: &str, is_base64: bool) {
        if self.get_mut(File::Secrets, "Secret", namespace, name).is_none() {
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace},
            });
            self.add(File::Secrets, secret);
        }
        if let Some(secret) = self.get_mut(File::Secrets, "Secret", namespace, name) {
            let field = if is_base64 { "data" } else { "stringData" };
            secret[field][entry] = Value::from(value);
        }
    }
}

/// A Gateway of our class.
pub(crate) fn gateway(namespace: &str, name: &str, listeners: &[Value]) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"gatewayClassName": "gatehouse", "listeners": listeners},
    })
}

/// An object of one of our kinds.
pub(crate) fn own(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "gatehouse.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}
