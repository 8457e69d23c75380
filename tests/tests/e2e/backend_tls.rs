//! TLS to backends: whom the gateway speaks to, and that it never falls back to clear text.

use gatehouse_tests::{
    backend::Backend,
    certs::Authority,
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};
use serde_json::json;

use crate::route;

const NAME: &str = "backend.example.com";

fn policy(service: &str, validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: {service}}}\nspec:\n  \
         targetRefs: [{{group: '', kind: Service, name: {service}}}]\n  validation: {{{validation}}}\n"
    )
}

/// By the authority of a ConfigMap `authority`.
fn trusting(hostname: &str) -> String {
    format!("caCertificateRefs: [{{group: '', kind: ConfigMap, name: authority}}], hostname: {hostname}")
}

/// The same Service behind each kind of route.
fn routes() -> String {
    let http = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: h}\nspec:\n  \
                parentRefs: [{name: edge}]\n  rules:\n  - matches: [{path: {value: /http}}]\n    \
                backendRefs: [{name: secure, port: 80}]\n";
    let own = route("- matches: [{path: {value: /own}}]\n  backendRefs: [{name: secure, port: 80}]");
    [http, &own].concat()
}

#[tokio::test]
async fn a_backend_is_spoken_to_as_its_policy_says_or_not_at_all() {
    let (ours, theirs) = (Authority::default(), Authority::default());
    let backend = Backend::tls(ours.issue(&[NAME]).server(&ours)).await;
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", routes())
        .file("service.yaml", service("secure").replace("port: 80", "port: 80, appProtocol: https"))
        .file("authority.json", ours.config_map("authority"))
        .file("policy.yaml", policy("secure", &trusting(NAME)))
        .endpoint("secure", backend.address)
        .start()
        .await;
    let statuses = async || {
        let mut statuses = Vec::new();
        for path in ["/http", "/own"] {
            statuses.push(get(gateway.http(), path).send().await.status);
        }
        statuses
    };
    let becomes = async |what: &str, status: u16| {
        eventually(what, async || (statuses().await == [status; 2]).then_some(())).await;
    };
    let told = get(gateway.http(), "/http").send().await.json();
    assert_eq!(told, json!({"sni": NAME, "certificate": false}));
    assert_eq!(statuses().await, [200; 2]);

    // Connections that were made before do not outlive the trust.
    gateway.write("authority.json", &theirs.config_map("authority"));
    becomes("another authority is trusted", 502).await;
    gateway.write("authority.json", &ours.config_map("authority"));
    becomes("the right one is", 200).await;
    gateway.write("policy.yaml", &policy("secure", &trusting("other.example.com")));
    becomes("another name is asked for", 502).await;
    let names = "subjectAltNames: [{type: URI, uri: 'spiffe://a/b'}, {type: Hostname, hostname: backend.example.com}]";
    gateway.write("policy.yaml", &policy("secure", &format!("{}, {names}", trusting("other.example.com"))));
    becomes("it is one of some", 200).await;
    gateway.write("authority.json", &ours.config_map("elsewhere"));
    becomes("nothing is trusted", 500).await;
    gateway.write("authority.json", &ours.config_map("authority"));
    becomes("it is again", 200).await;
    gateway.remove("policy.yaml");
    becomes("no policy is there", 500).await;
}

#[tokio::test]
async fn a_backend_without_tls_gets_no_request() {
    let ours = Authority::default();
    let backend = Backend::echo("plain").await;
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", routes())
        .file("service.yaml", service("secure"))
        .file("authority.json", ours.config_map("authority"))
        .file("policy.yaml", policy("secure", &trusting(NAME)))
        .endpoint("secure", backend.address)
        .start()
        .await;
    assert_eq!(get(gateway.http(), "/http").send().await.status, 502);
    backend.assert_untouched("it speaks no TLS");
}
