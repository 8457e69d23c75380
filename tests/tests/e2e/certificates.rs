//! Clients that prove who they are by the certificate of their TLS connection.

use gatehouse_tests::{
    backend::{Backend, header},
    certs::Authority,
    client::{connect, get, http2, trusting},
    eventually,
    gateway::{Gateway, service},
};

use crate::route;

const HOST: &str = "foo.example.com";

const POLICY: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: certificates}
spec:
  anyOf: [{clientCertificate: {}}, {apiKey: {}}]
  identity: {claims: [{claim: dns, header: X-Client-Name}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: alice}
spec: {groups: [partners], credentials: [{name: c, certificate: {dns: alice.example}}]}
";

fn edge(mode: &str, authority: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: gatehouse
  tls: {{frontend: {{default: {{validation: {{mode: {mode}, caCertificateRefs: [{{group: '', kind: ConfigMap, name: {authority}}}]}}}}}}}}
  listeners:
  - {{name: one, hostname: {HOST}, protocol: HTTPS, port: 8443, tls: {{certificateRefs: [{{name: foo}}]}}}}
"
    )
}

#[tokio::test]
async fn the_certificate_of_the_connection_says_who_it_is() {
    let (ours, theirs, serving) = (Authority::default(), Authority::default(), Authority::default());
    let backend = Backend::echo("echo").await;
    let rules = "- auth: {policyRef: {name: certificates}}\n  backendRefs: [{name: echo, port: 80}]";
    let gateway = Gateway::builder()
        .file("edge.yaml", edge("AllowValidOnly", "ours"))
        .file("routes.yaml", format!("{}{POLICY}", route(rules)))
        .file("service.yaml", service("echo"))
        .file("foo.json", serving.issue(&[HOST]).secret("foo"))
        .file("ours.json", ours.config_map("ours"))
        .file("theirs.json", theirs.config_map("theirs"))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let address = gateway.listener("one");
    let ask = || {
        get(address, "/")
            .host(HOST)
            .header("x-client-name", "spoofed")
            .header("x-forwarded-client-cert", "alice.example")
    };

    for alpn in [&["h2"][..], &["http/1.1"]] {
        let known = trusting(&serving.root, Some(&ours.issue(&["alice.example"])), alpn);
        let stranger = trusting(&serving.root, Some(&ours.issue(&["bob.example"])), alpn);
        // The second connection resumes the session of the first.
        for _ in 0..2 {
            for (config, consumer, name) in
                [(&known, Some("alice"), "alice.example"), (&stranger, None, "bob.example")]
            {
                let stream = connect(address, HOST, config.clone()).await.unwrap();
                let answer = if alpn == ["h2"] {
                    ask().over_http2(stream, "https").await
                } else {
                    ask().over_http1(stream).await
                };
                let echo = answer.json();
                assert_eq!(header(&echo, "x-consumer-username"), consumer, "{alpn:?}: {echo}");
                assert_eq!(header(&echo, "x-consumer-credential"), Some(&*format!("certificate:{name}")));
                assert_eq!(header(&echo, "x-client-name"), Some(name));
            }
        }
    }

    // A connection goes on, but counts for nothing when its authority is not trusted any more.
    let known = trusting(&serving.root, Some(&ours.issue(&["alice.example"])), &["h2"]);
    let mut open = http2(connect(address, HOST, known.clone()).await.unwrap()).await;
    assert_eq!(ask().through(&mut open, "https").await.status, 200);
    gateway.write("edge.yaml", &edge("AllowValidOnly", "theirs"));
    let answer = eventually("the old authority does not count", async || {
        let answer = ask().through(&mut open, "https").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.status, 401);
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["ClientCertificate realm=\"gatehouse\"", "ApiKey realm=\"gatehouse\""]);

    // What is not verified proves nothing, be it ever so right.
    gateway.write("edge.yaml", &edge("AllowInsecureFallback", "ours"));
    let status = async || match connect(address, HOST, known.clone()).await {
        // A server may refuse a certificate after the client's part of the handshake is over.
        Ok(stream) => {
            let asking = tokio::spawn(ask().over_http2(stream, "https"));
            asking.await.ok().map(|answer| answer.status)
        }
        Err(_) => None,
    };
    eventually("anybody is let in, as nobody", async || (status().await == Some(401)).then_some(())).await;
    gateway.write("edge.yaml", &edge("AllowValidOnly", "ours"));
    eventually("it counts again", async || (status().await == Some(200)).then_some(())).await;
}
