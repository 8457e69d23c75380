//! A namespace with a Gateway, a backend and a route, as a team would have it.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::kubectl::{apply, condition, get, kubectl, run, within};

/// Gone when it is dropped.
pub(crate) struct Shop {
    pub(crate) namespace: String,
    pub(crate) address: SocketAddr,
}

pub(crate) const HOST: &str = "shop.example.com";

/// Backends and their Service.
pub(crate) fn backend(name: &str, replicas: usize) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 15
      containers:
      - name: backend
        image: gatehouse.test/backend:dev
        imagePullPolicy: Never
        env:
        - {{name: SERVICE, value: {name}}}
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        readinessProbe: {{httpGet: {{path: /healthz, port: 3000}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 3000}}]}}
"
    )
}

pub(crate) fn gateway(replicas: usize) -> String {
    format!(
        "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayConfig
metadata: {{name: edge}}
spec:
  deployment: {{replicas: {replicas}}}
  accessLog: {{enabled: false}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: gatehouse
  infrastructure: {{parametersRef: {{group: gatehouse.dev, kind: GatewayConfig, name: edge}}}}
  listeners: [{{name: http, protocol: HTTP, port: 80, allowedRoutes: {{namespaces: {{from: All}}}}}}]
"
    )
}

pub(crate) const ROUTE: &str = "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  hostnames: [shop.example.com]
  rules:
  - backendRefs: [{name: web, port: 3000}]
";

/// The route, told to send a header by which the edit is known.
fn edited(value: &str) -> String {
    let header =
        format!("responseHeaders: {{set: [{{name: X-Edit, value: \"{value}\"}}]}}\n    backendRefs:");
    ROUTE.replace("backendRefs:", &header)
}

pub(crate) fn namespace(name: &str) {
    // What an earlier run left must not be in the way.
    run("kubectl", &["delete", "namespace", name, "--ignore-not-found", "--timeout=90s"], "").unwrap();
    kubectl(&["create", "namespace", name]);
}

/// Where the Gateway can be reached, once it says so.
pub(crate) fn address(namespace: &str, gateway: &str, port: u16) -> SocketAddr {
    let address = within(60, "the Gateway has an address and is programmed", || {
        let gateway = get(namespace, &["gateway", gateway])?;
        let programmed = condition(&gateway, "/status/conditions", "Programmed")?;
        let address = gateway.pointer("/status/addresses/0/value")?.as_str()?.parse().ok()?;
        (programmed["status"] == "True").then(|| SocketAddr::new(address, port))
    });
    // The load balancer is not ours to know.
    within(30, "the load balancer leads there", || {
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
    });
    address
}

impl Shop {
    pub(crate) fn open(name: &str, gateways: usize, backends: usize) -> Shop {
        namespace(name);
        apply(name, &format!("{}---{}---{ROUTE}", gateway(gateways), backend("web", backends)));
        let address = address(name, "edge", 80);
        for deployment in ["edge-gatehouse", "web"] {
            kubectl(&["-n", name, "rollout", "status", &format!("deployment/{deployment}"), "--timeout=90s"]);
        }
        Shop { namespace: name.to_owned(), address }
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&[&["-n", &self.namespace], args].concat())
    }

    pub(crate) fn apply(&self, manifests: &str) {
        apply(&self.namespace, manifests);
    }

    /// Edits the route.
    pub(crate) fn edit(&self, value: &str) {
        self.apply(&edited(value));
    }

    /// What is served shows this edit of the route.
    pub(crate) fn serves_edit(&self, value: &str) -> Option<()> {
        let args = ["-sSi", "-m", "2", "-H", &format!("Host: {HOST}"), &format!("http://{}/", self.address)];
        let answer = run("curl", &args, "").ok()?.to_lowercase();
        answer.lines().any(|line| line == format!("x-edit: {value}")).then_some(())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = run("kubectl", &["delete", "namespace", &self.namespace, "--wait=false"], "");
    }
}
