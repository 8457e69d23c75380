//! Certificates of clients: whom the listeners of a port let in, and what backends are shown.

use std::{net::SocketAddr, sync::Arc};

use gatehouse_tests::{
    backend::Backend,
    certs::{Authority, Pair},
    client::{self, connect, get},
    eventually,
    gateway::{EDGE, Gateway, service},
};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::to_echo;

const HOST: &str = "foo.example.com";

/// Two ports. `frontend`: `spec.tls.frontend`.
fn gateway(frontend: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: gatehouse
  tls: {{frontend: {frontend}}}
  listeners:
  - {{name: one, hostname: {HOST}, protocol: HTTPS, port: 8443, tls: {{certificateRefs: [{{name: foo}}]}}}}
  - {{name: two, hostname: {HOST}, protocol: HTTPS, port: 9443, tls: {{certificateRefs: [{{name: foo}}]}}}}
"
    )
}

fn validation(config_map: &str, mode: &str) -> String {
    format!(
        "{{validation: {{mode: {mode}, caCertificateRefs: [{{group: '', kind: ConfigMap, name: {config_map}}}]}}}}"
    )
}

/// The status of an answer; `None`: the handshake came to nothing.
async fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<u16> {
    let mut stream = connect(address, HOST, Arc::clone(config)).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // Servers that let nobody in say so only after the client's last message of the handshake.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

struct World {
    gateway: Gateway,
    serving: Authority,
    _backend: Backend,
}

impl World {
    async fn new(frontend: &str, authorities: &[(&str, &Authority)]) -> World {
        let (serving, backend) = (Authority::default(), Backend::echo("echo").await);
        let mut builder = Gateway::builder()
            .file("edge.yaml", gateway(frontend))
            .file("routes.yaml", to_echo())
            .file("service.yaml", service("echo"))
            .file("foo.json", serving.issue(&[HOST]).secret("foo"))
            .endpoint("echo", backend.address);
        for (name, authority) in authorities {
            builder = builder.file(&format!("{name}.json"), authority.config_map(name));
        }
        World { gateway: builder.start().await, serving, _backend: backend }
    }

    fn client(&self, shows: Option<&Pair>) -> Arc<ClientConfig> {
        client::trusting(&self.serving.root, shows, &[])
    }
}

#[tokio::test]
async fn the_clients_of_a_port_must_be_of_its_authority() {
    let (ours, theirs) = (Authority::default(), Authority::default());
    let frontend = format!(
        "{{default: {}, perPort: [{{port: 9443, tls: {}}}]}}",
        validation("ours", "AllowValidOnly"),
        validation("theirs", "AllowValidOnly")
    );
    let world = World::new(&frontend, &[("ours", &ours), ("theirs", &theirs)]).await;
    let (one, two) = (world.gateway.listener("one"), world.gateway.listener("two"));
    let (of_ours, of_theirs) = (ours.issue(&["client"]), theirs.issue(&["client"]));
    for (shows, wanted) in
        [(None, [None, None]), (Some(&of_ours), [Some(200), None]), (Some(&of_theirs), [None, Some(200)])]
    {
        let client = world.client(shows);
        assert_eq!([ask(one, &client).await, ask(two, &client).await], wanted);
    }
}

#[tokio::test]
async fn a_session_of_before_does_not_stand_in_for_a_certificate() {
    let ours = Authority::default();
    let world = World::new("{default: {}}", &[("ours", &ours)]).await;
    let address = world.gateway.listener("one");
    let client = world.client(None);
    assert_eq!([ask(address, &client).await, ask(address, &client).await], [Some(200); 2]);

    let frontend = |mode: &str| gateway(&format!("{{default: {}}}", validation("ours", mode)));
    world.gateway.write("edge.yaml", &frontend("AllowValidOnly"));
    eventually("certificates are asked for", async || ask(address, &client).await.is_none().then_some(()))
        .await;
    assert_eq!(ask(address, &client).await, None);
    assert_eq!(ask(address, &world.client(Some(&ours.issue(&["client"])))).await, Some(200));

    world.gateway.write("edge.yaml", &frontend("AllowInsecureFallback"));
    eventually("anybody is let in", async || (ask(address, &client).await == Some(200)).then_some(())).await;
    let foreign = Authority::default().issue(&["client"]);
    assert_eq!(ask(address, &world.client(Some(&foreign))).await, Some(200));

    // Nobody can be verified any more.
    world.gateway.write("edge.yaml", &frontend("AllowValidOnly"));
    world.gateway.remove("ours.json");
    let valid = world.client(Some(&ours.issue(&["client"])));
    eventually("nobody is let in", async || ask(address, &valid).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn backends_that_ask_are_shown_the_certificate_of_the_gateway() {
    let ours = Authority::default();
    let backend = Backend::tls(ours.issue(&["backend.example.com"]).server(&ours)).await;
    let policy = "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: echo}\nspec:\n  \
                  targetRefs: [{group: '', kind: Service, name: echo}]\n  validation: {hostname: backend.example.com, \
                  caCertificateRefs: [{group: '', kind: ConfigMap, name: ours}]}\n";
    let edge = format!("{EDGE}  tls: {{backend: {{clientCertificateRef: {{name: own}}}}}}\n");
    let gateway = Gateway::builder()
        .file("edge.yaml", edge)
        .file("routes.yaml", to_echo())
        .file("service.yaml", service("echo"))
        .file("policy.yaml", policy)
        .file("ours.json", ours.config_map("ours"))
        .file("own.json", ours.issue(&["gateway"]).secret("own"))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let shown = async || get(gateway.http(), "/").send().await.json()["certificate"].clone();
    assert_eq!(shown().await, true);
}
