//! An Ingress in a cluster: its class's Gateway comes by itself, and its status says where.

use std::net::SocketAddr;

use gatehouse_tests::certs::Authority;

use crate::{
    kubectl::{apply, get, installed, kubectl, run, within},
    shop::{backend, namespace},
};

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: gatehouse
  tls: [{hosts: [ingress.example.com], secretName: certificate}]
  rules:
  - host: ingress.example.com
    http: {paths: [{path: /shop, pathType: Prefix, backend: {service: {name: web, port: {number: 3000}}}}]}
";

#[test]
fn an_ingress_is_served_at_the_address_in_its_status() {
    installed();
    let name = "ingresses";
    namespace(name);
    let certificate = Authority::default().issue(&["ingress.example.com"]);
    apply(name, &format!("{INGRESS}---{}---\n{}", backend("web", 1), certificate.secret("certificate")));
    let address = within(60, "status.loadBalancer", || {
        let ingress = get(name, &["ingress", "web"])?;
        ingress.pointer("/status/loadBalancer/ingress/0/ip")?.as_str()?.parse().ok()
    });
    let curl = |port: u16, scheme: &str, path: &str| {
        let address = SocketAddr::new(address, port);
        let resolve = format!("ingress.example.com:{port}:{}", address.ip());
        let url = format!("{scheme}://ingress.example.com:{port}{path}");
        run(
            "curl",
            &["-sSk", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", &resolve, &url],
            "",
        )
        .ok()
    };
    let is = |code: &str, port, scheme: &str, path: &str| {
        within(30, &format!("{scheme}{path} is answered with {code}"), || {
            curl(port, scheme, path).filter(|answered| answered == code)
        });
    };
    is("200", 80, "http", "/shop/cart");
    is("200", 443, "https", "/shop");
    is("404", 80, "http", "/shopping");
    kubectl(&["-n", name, "delete", "ingress", "web"]);
    is("404", 80, "http", "/shop");
    kubectl(&["delete", "namespace", name, "--wait=false"]);
}
