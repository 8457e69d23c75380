//! TLS termination: which certificate, which listener, and what changes while connections live.

use gatehouse_tests::{
    backend::Backend,
    certs::Authority,
    client::{get, http2, tls},
    eventually,
    gateway::{Gateway, service},
};

use crate::route;

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: foo, hostname: foo.example.com, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: foo}]}}
  - {name: wild, hostname: '*.example.com', protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: wild}]}}
";

fn rules() -> String {
    let one = |section: &str| {
        route(&format!("- responseHeaders: {{set: [{{name: x-listener, value: {section}}}]}}\n  backendRefs: [{{name: echo, port: 80}}]"))
            .replace("{name: r}", &format!("{{name: {section}}}"))
            .replace("{name: edge}", &format!("{{name: edge, sectionName: {section}}}"))
    };
    [one("foo"), one("wild")].concat()
}

async fn start(authority: &Authority, backend: &Backend) -> Gateway {
    Gateway::builder()
        .file("edge.yaml", GATEWAY)
        .file("routes.yaml", rules())
        .file("service.yaml", service("echo"))
        .file("foo.json", authority.issue(&["foo.example.com"]).secret("foo"))
        .file("wild.json", authority.issue(&["*.example.com"]).secret("wild"))
        .endpoint("echo", backend.address)
        .start()
        .await
}

#[tokio::test]
async fn sni_chooses_certificate_and_listener() {
    let authority = Authority::default();
    let backend = Backend::echo("echo").await;
    let gateway = start(&authority, &backend).await;
    let address = gateway.listener("foo");
    for alpn in [&["h2", "http/1.1"][..], &["http/1.1"], &[]] {
        for (sni, host, wanted) in [
            ("foo.example.com", "foo.example.com", Ok("foo")),
            ("bar.example.com", "bar.example.com", Ok("wild")),
            ("bar.example.com", "baz.example.com", Ok("wild")),
            ("foo.example.com", "bar.example.com", Err(421)),
            ("bar.example.com", "foo.example.com", Err(421)),
            ("foo.example.com", "other.org", Err(404)),
        ] {
            let answer = get(address, "/").host(host).send_tls(sni, &authority.root, alpn).await.unwrap();
            let got = if answer.status == 200 {
                Ok(answer.header("x-listener").unwrap())
            } else {
                Err(answer.status)
            };
            assert_eq!(got, wanted, "{alpn:?} SNI {sni} Host {host}");
        }
    }
    assert!(tls(address, "other.org", &authority.root, &["h2"]).await.is_err(), "no listener for it");
    assert!(tls(address, "foo.example.com", &authority.root, &["spdy"]).await.is_err(), "no common protocol");
    let echo = get(address, "/")
        .host("foo.example.com")
        .send_tls("foo.example.com", &authority.root, &[])
        .await
        .unwrap();
    assert_eq!(gatehouse_tests::backend::header(&echo.json(), "x-forwarded-proto"), Some("https"));
}

/// Browsers send requests for all names of a certificate over one connection (RFC 9113, 9.1.1).
#[tokio::test]
async fn a_request_that_came_to_the_wrong_listener_harms_no_other_on_its_connection() {
    let authority = Authority::default();
    let backend = Backend::echo("echo").await;
    let gateway = start(&authority, &backend).await;
    let address = gateway.listener("wild");
    let mut connection =
        http2(tls(address, "bar.example.com", &authority.root, &["h2"]).await.unwrap()).await;
    for (host, wanted) in [
        ("bar.example.com", 200),
        ("foo.example.com", 421),
        ("baz.example.com", 200),
        ("other.org", 404),
        ("foo.example.com", 421),
        ("bar.example.com", 200),
    ] {
        let answer = get(address, "/").host(host).through(&mut connection, "https").await;
        assert_eq!(answer.status, wanted, "{host}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_handshakes_and_a_broken_one_harms_only_itself() {
    let authority = Authority::default();
    let backend = Backend::echo("echo").await;
    let gateway = start(&authority, &backend).await;
    let address = gateway.listener("foo");
    let leaf = async |sni: &str| {
        let stream = tls(address, sni, &authority.root, &[]).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.first()?.to_vec())
    };
    let (foo, wild) = (leaf("foo.example.com").await.unwrap(), leaf("bar.example.com").await.unwrap());
    let open = tls(address, "foo.example.com", &authority.root, &[]).await.unwrap();

    gateway.write("foo.json", &authority.issue(&["foo.example.com"]).secret("foo"));
    let renewed =
        eventually("the new certificate", async || leaf("foo.example.com").await.filter(|now| *now != foo))
            .await;
    assert_eq!(
        get(address, "/").host("foo.example.com").over_http1(open).await.status,
        200,
        "old connections live on"
    );
    assert_eq!(leaf("bar.example.com").await.unwrap(), wild);

    let mut mixed = authority.issue(&["foo.example.com"]);
    mixed.key = authority.issue(&["foo.example.com"]).key;
    gateway.write("foo.json", &mixed.secret("foo"));
    gateway.said("do not fit each other").await;
    assert_eq!(leaf("bar.example.com").await.unwrap(), wild, "the other listener goes on");
    gateway.write("foo.json", &authority.issue(&["foo.example.com"]).secret("foo"));
    let healed = eventually("it heals", async || leaf("foo.example.com").await).await;
    assert_ne!(healed, renewed);
}
