//! UDPRoute: datagrams of one client go to one backend and come back, for as long as some come.

use std::{net::SocketAddr, time::Duration};

use gatehouse_tests::{
    PATIENCE,
    backend::Backend,
    client::get,
    eventually,
    gateway::{Builder, Gateway},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
    task::JoinHandle,
    time::timeout,
};

/// Answers each datagram with its name and what came. Ends when it is dropped.
struct Echo {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Echo {
    async fn new(name: &'static str) -> Echo {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            loop {
                // An error is of an earlier answer that nobody took.
                let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
                let answer = [name.as_bytes(), b":", &buffer[..length]].concat();
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Echo { address, task }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One UDP listener `dns`, whose datagrams go to these backends, and one of TCP with the same port.
fn gateway(backend_refs: &str, limits: &str, services: &[(&str, SocketAddr)]) -> Builder {
    let mut builder = Gateway::builder().file(
        "edge.yaml",
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: gatehouse
  infrastructure: {{parametersRef: {{group: gatehouse.dev, kind: GatewayConfig, name: edge}}}}
  listeners:
  - {{name: dns, protocol: UDP, port: 5353}}
  - {{name: dns-tcp, protocol: TCP, port: 5353}}
---
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayConfig
metadata: {{name: edge}}
spec: {{limits: {limits}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {{name: dns}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: {backend_refs}}}]
"
        ),
    );
    for (name, address) in services {
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: tcp, port: 53}}, {{name: udp, \
             port: 53, protocol: UDP}}]}}\n"
        );
        builder = builder.file(&format!("service-{name}.yaml"), service).endpoint(name, *address);
    }
    builder
}

async fn client(gateway: &Gateway) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(gateway.listener("dns")).await.unwrap();
    socket
}

/// Asks until it is answered: datagrams may be lost.
async fn ask(socket: &UdpSocket, question: &str) -> String {
    eventually(&format!("an answer to {question}"), async || {
        socket.send(question.as_bytes()).await.ok()?;
        answer(socket, Duration::from_millis(500)).await
    })
    .await
}

async fn answer(socket: &UdpSocket, within: Duration) -> Option<String> {
    let mut buffer = vec![0; 64 << 10];
    let length = timeout(within, socket.recv(&mut buffer)).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[tokio::test]
async fn a_client_has_one_backend_and_its_answers_come_back() {
    let (one, two) = (Echo::new("one").await, Echo::new("two").await);
    let backends = "[{name: one, port: 53}, {name: two, port: 53}]";
    let gateway = gateway(backends, "{udpSessionTimeout: 1s}", &[("one", one.address), ("two", two.address)])
        .start()
        .await;
    let mut names = Vec::new();
    for _ in 0..20 {
        let socket = client(&gateway).await;
        let first = ask(&socket, "first").await;
        let (name, _) = first.split_once(':').unwrap();
        for number in 0..5 {
            assert_eq!(ask(&socket, &number.to_string()).await, format!("{name}:{number}"));
        }
        names.push(name.to_owned());
    }
    assert!(names.contains(&"one".to_owned()) && names.contains(&"two".to_owned()), "{names:?}");
    // The largest that fits, and none at all.
    let socket = client(&gateway).await;
    let large = "x".repeat(60_000);
    assert!(ask(&socket, &large).await.ends_with(&large));
    assert!(ask(&socket, "").await.ends_with(':'));

    let line = gateway.stream_logged(|line| line["bytes_received"] == 10).await;
    assert_eq!((&line["protocol"], &line["route"]), (&"UDP".into(), &"UDPRoute/default/dns".into()));
    assert_eq!(line["bytes_sent"], 10 + 6 * 4);
    assert_eq!(line["listener"], "default/edge/dns");
    assert!(line["reason"].is_null() && line["endpoint"].is_string(), "{line}");
    let metrics = get(gateway.admin(), "/metrics").send().await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("gatehouse_streams_total{route=\"UDPRoute/default/dns\",rule=\"0\"}"),
        "{metrics}"
    );
}

#[tokio::test]
async fn weights_count_for_clients_and_a_broken_share_gets_nothing() {
    let (one, none) = (Echo::new("one").await, Echo::new("none").await);
    let backends = "[{name: one, port: 53}, {name: none, port: 53, weight: 0}, {name: nobody, port: 53}]";
    let gateway = gateway(backends, "{}", &[("one", one.address), ("none", none.address)]).start().await;
    let mut answered = 0;
    for _ in 0..60 {
        let socket = client(&gateway).await;
        socket.send(b"?").await.unwrap();
        if let Some(name) = answer(&socket, Duration::from_millis(50)).await {
            assert_eq!(name, "one:?");
            answered += 1;
        }
    }
    assert!((5..=55).contains(&answered), "{answered}");
    assert_eq!(gateway.stream_logged(|line| line["reason"].is_string()).await["reason"], "broken_route");
}

#[tokio::test]
async fn who_is_not_there_any_more_is_left() {
    // Bound, so that nobody else has the port, and closed before the question.
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let gateway = gateway("[{name: app, port: 53}]", "{}", &[("app", address)]).start().await;
    let socket = client(&gateway).await;
    socket.send(b"?").await.unwrap();
    let line = gateway.stream_logged(|_| true).await;
    assert_eq!(line["reason"], "connect_failed");
    // The same client finds it when it is back.
    let back = UdpSocket::bind(address).await.unwrap();
    let answering = tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((length, from)) = back.recv_from(&mut buffer).await {
            let _ = back.send_to(&buffer[..length], from).await;
        }
    });
    assert_eq!(ask(&socket, "again").await, "again");
    answering.abort();
}

#[tokio::test]
async fn sessions_take_half_of_the_connections_at_most() {
    let app = Echo::new("app").await;
    let limits = "{maxConnections: 4, udpSessionTimeout: 1s}";
    let gateway = gateway("[{name: app, port: 53}]", limits, &[("app", app.address)]).start().await;
    let (first, second, third) = (client(&gateway).await, client(&gateway).await, client(&gateway).await);
    assert_eq!(ask(&first, "1").await, "app:1");
    assert_eq!(ask(&second, "2").await, "app:2");
    third.send(b"3").await.unwrap();
    let metric = async || {
        let metrics = get(gateway.admin(), "/metrics").send().await;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        text.contains("gatehouse_connections_refused_total 1\n").then_some(())
    };
    eventually("the third is refused and counted", metric).await;
    // There is room again when they have been silent.
    assert_eq!(ask(&third, "3").await, "app:3");
}

#[tokio::test]
async fn a_port_of_udp_is_none_of_tcp() {
    let app = Echo::new("app").await;
    let stream = Backend::accepting(|mut stream, _| async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"tcp").await;
    })
    .await;
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: dns}\nspec:\n  parentRefs: \
                 [{name: edge}]\n  rules: [{backendRefs: [{name: stream, port: 53}]}]\n";
    let services = [("app", app.address), ("stream", stream.address)];
    let gateway = gateway("[{name: app, port: 53}]", "{}", &services).file("tcp.yaml", route).start().await;
    assert_eq!(ask(&client(&gateway).await, "?").await, "app:?");
    let mut socket = TcpStream::connect(gateway.listener("dns-tcp")).await.unwrap();
    let mut said = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, b"tcp");
}

#[tokio::test]
async fn a_drain_lets_sessions_end_and_begins_none() {
    let app = Echo::new("app").await;
    let builder = gateway("[{name: app, port: 53}]", "{udpSessionTimeout: 2s}", &[("app", app.address)]);
    let mut gateway = builder.arg("--drain-seconds").arg("60").start().await;
    let old = client(&gateway).await;
    assert_eq!(ask(&old, "?").await, "app:?");
    let address = gateway.listener("dns-tcp");
    gateway.interrupt();
    eventually("it drains", async || TcpStream::connect(address).await.err()).await;
    assert_eq!(ask(&old, "still").await, "app:still");
    // The other port closes at the same time, but not in the same moment.
    eventually("no session begins", async || {
        let new = client(&gateway).await;
        new.send(b"?").await.unwrap();
        answer(&new, Duration::from_millis(300)).await.is_none().then_some(())
    })
    .await;
    assert_eq!(gateway.ended().await, Some(0));
}
