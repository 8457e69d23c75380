//! TCPRoute and TLSRoute: bytes go through as they are, both ways, to the backend that is named, and no other way.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use gatehouse_tests::{
    PATIENCE,
    backend::Backend,
    certs::Authority,
    client::{get, tls},
    eventually,
    gateway::{Builder, Gateway, service},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CONFIG: &str = "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayConfig
metadata: {name: edge}
spec: {limits: {streamIdleTimeout: 1s}}
";

/// A Gateway `edge`.
fn edge(listeners: &[&str]) -> String {
    let listeners: String = listeners.iter().map(|listener| format!("  - {listener}\n")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  gatewayClassName: \
         gatehouse\n  listeners:\n{listeners}"
    )
}

fn route(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  parentRefs: \
         [{{name: edge}}]\n  {spec}\n"
    )
}

/// One TCP listener `db`, whose streams go to these backends.
fn tcp(backend_refs: &str, services: &[(&str, Option<SocketAddr>)]) -> Builder {
    let mut builder = Gateway::builder()
        .file("edge.yaml", edge(&["{name: db, protocol: TCP, port: 5432}"]))
        .file("route.yaml", route("TCPRoute", "db", &format!("rules: [{{backendRefs: {backend_refs}}}]")));
    for (name, address) in services {
        builder = builder.file(&format!("service-{name}.yaml"), service(name));
        if let Some(address) = address {
            builder = builder.endpoint(name, *address);
        }
    }
    builder
}

/// Says its name, then sends back what comes, and at the client's end how much that was.
async fn telling(name: &'static str) -> Backend {
    Backend::accepting(move |mut stream, _| async move {
        let _ = stream.write_all(name.as_bytes()).await;
        let mut buffer = vec![0; 16 << 10];
        let mut total = 0;
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => break,
                Err(_) => return,
                Ok(count) => {
                    total += count;
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = stream.write_all(format!("={total}").as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await
}

async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end in time").expect("a clean end");
    all
}

/// The client is refused: not a regular end, and no byte.
async fn assert_reset(address: SocketAddr) {
    let ended = timeout(PATIENCE, read_first::<8>(address)).await.expect("an end in time");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// The first bytes that a server says. A reset may come as soon as there is a connection.
async fn read_first<const LENGTH: usize>(address: SocketAddr) -> std::io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    TcpStream::connect(address).await?.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_side_ends_for_itself() {
    let backend = telling("db:").await;
    let gateway = tcp("[{name: app, port: 80}]", &[("app", Some(backend.address))]).start().await;
    let mut stream = TcpStream::connect(gateway.listener("db")).await.unwrap();
    // The server may speak first.
    let mut greeting = [0; 3];
    timeout(PATIENCE, stream.read_exact(&mut greeting)).await.unwrap().unwrap();
    assert_eq!(&greeting, b"db:");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let ((), all) = tokio::join!(writing, read_all(&mut reader));
    assert!(all[..sent.len()] == sent[..], "what came back is not what was sent");
    assert_eq!(&all[sent.len()..], b"=3000000");

    let line = gateway.stream_logged(|line| line["bytes_received"] == 3_000_000).await;
    assert_eq!(line["protocol"], "TCP");
    assert_eq!(line["bytes_sent"], 3_000_000 + 3 + 8);
    assert_eq!(line["listener"], "default/edge/db");
    assert_eq!((&line["route"], &line["rule"]), (&"TCPRoute/default/db".into(), &"0".into()));
    assert_eq!(line["service"], "default/app/80");
    assert_eq!(line["endpoint"], backend.address.to_string());
    assert_eq!(line["client"], "127.0.0.1");
    assert!(line["reason"].is_null() && line["duration_ms"].is_number(), "{line}");
    let metrics = get(gateway.admin(), "/metrics").send().await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for wanted in [
        "gatehouse_streams_total{route=\"TCPRoute/default/db\",rule=\"0\"} 1",
        "gatehouse_stream_bytes_total{route=\"TCPRoute/default/db\",rule=\"0\",direction=\"received\"} 3000000",
    ] {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
}

#[tokio::test]
async fn weights_share_streams_and_what_is_broken_refuses_its_own() {
    let (one, two, none) = (telling("one").await, telling("two").await, telling("none").await);
    let backends = "[{name: one, port: 80, weight: 6}, {name: two, port: 80, weight: 3}, {name: none, port: 80, weight: 0}, \
                    {name: nobody, port: 80, weight: 1}]";
    let services = [("one", Some(one.address)), ("two", Some(two.address)), ("none", Some(none.address))];
    let gateway = tcp(backends, &services).start().await;
    let (mut first, mut second, mut refused) = (0, 0, 0);
    for _ in 0..300 {
        match timeout(PATIENCE, read_first(gateway.listener("db"))).await.unwrap() {
            Ok(name) if &name == b"one" => first += 1,
            Ok(name) if &name == b"two" => second += 1,
            Ok(name) => panic!("{name:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                refused += 1;
            }
        }
    }
    // Six standard deviations.
    assert!((130..=230).contains(&first) && (42..=138).contains(&second), "{first} {second}");
    assert!((1..=61).contains(&refused), "{refused}");
}

#[tokio::test]
async fn without_a_backend_a_stream_is_reset() {
    // Bound, and nobody listens.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = closed.local_addr().unwrap();
    for (backends, services, reason) in [
        ("[{name: app, port: 80}]", vec![("app", None)], "no_endpoints"),
        ("[{name: app, port: 80}]", vec![("app", Some(dead))], "connect_failed"),
        ("[{name: app, port: 80, weight: 0}]", vec![("app", Some(dead))], "no_endpoints"),
        ("[{name: nobody, port: 80}]", vec![], "broken_route"),
    ] {
        let gateway = tcp(backends, &services).start().await;
        assert_reset(gateway.listener("db")).await;
        let line = gateway.stream_logged(|line| line["reason"].is_string()).await;
        assert_eq!(line["reason"], reason, "{backends}");
    }
    let gateway =
        Gateway::builder().file("edge.yaml", edge(&["{name: db, protocol: TCP, port: 5432}"])).start().await;
    assert_reset(gateway.listener("db")).await;
    assert_eq!(gateway.stream_logged(|_| true).await["reason"], "no_route");
}

#[tokio::test]
async fn a_break_is_no_end() {
    let backend = Backend::accepting(|mut stream, _| async move {
        let _ = stream.write_all(b"half of it").await;
        let _ = stream.read(&mut [0; 8]).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let gateway = tcp("[{name: app, port: 80}]", &[("app", Some(backend.address))]).start().await;
    let mut stream = TcpStream::connect(gateway.listener("db")).await.unwrap();
    let mut half = [0; 10];
    timeout(PATIENCE, stream.read_exact(&mut half)).await.unwrap().unwrap();
    stream.write_all(b"more").await.unwrap();
    let ended = timeout(PATIENCE, stream.read(&mut half)).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(gateway.stream_logged(|_| true).await["reason"], "upstream_failed");
}

#[tokio::test]
async fn silence_ends_a_stream() {
    let backend = telling("app").await;
    let listener = "  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: edge}}\n  listeners:";
    let gateway = tcp("[{name: app, port: 80}]", &[("app", Some(backend.address))])
        .file("edge.yaml", edge(&["{name: db, protocol: TCP, port: 5432}"]).replace("  listeners:", listener))
        .file("config.yaml", CONFIG)
        .start()
        .await;
    let mut stream = TcpStream::connect(gateway.listener("db")).await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    let line = gateway.stream_logged(|_| true).await;
    assert_eq!(line["reason"], "stream_idle");
    assert!(line["duration_ms"].as_f64().unwrap() >= 1000.0, "{line}");
}

#[tokio::test]
async fn a_drain_waits_for_streams_but_not_for_ever() {
    let backend = telling("app").await;
    let start = async |seconds: &str| {
        let builder = tcp("[{name: app, port: 80}]", &[("app", Some(backend.address))]);
        let gateway = builder.arg("--drain-seconds").arg(seconds).start().await;
        let mut stream = TcpStream::connect(gateway.listener("db")).await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        (gateway, stream)
    };
    let (mut gateway, mut stream) = start("30").await;
    let address = gateway.listener("db");
    gateway.interrupt();
    eventually("it takes no more", async || TcpStream::connect(address).await.err()).await;
    stream.write_all(b"still here").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await, b"still here=10");
    assert_eq!(gateway.ended().await, Some(0));

    let (mut gateway, mut stream) = start("1").await;
    gateway.interrupt();
    assert_eq!(gateway.ended().await, Some(0));
    let ended = timeout(PATIENCE, stream.read(&mut [0; 8])).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(gateway.stream_logged(|_| true).await["reason"], "draining");
}

/// Ends TLS with a certificate for the names, and says its name inside.
async fn over_tls(authority: &Authority, name: &'static str, host: &str) -> Backend {
    let acceptor = authority.issue(&[host]).acceptor();
    Backend::accepting(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.write_all(name.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

#[tokio::test]
async fn the_server_name_tells_what_becomes_of_tls() {
    let authority = Authority::default();
    let (a, b) = (
        over_tls(&authority, "a", "a.through.example").await,
        over_tls(&authority, "b", "*.through.example").await,
    );
    let plain = telling("plain:").await;
    let web = Backend::echo("web").await;
    let certificate = "tls: {mode: Terminate, certificateRefs: [{name: pair}]}";
    let listeners = [
        "{name: through, protocol: TLS, port: 8443, hostname: '*.through.example', tls: {mode: Passthrough}}"
            .to_owned(),
        format!("{{name: ended, protocol: TLS, port: 8443, hostname: ended.example, {certificate}}}"),
        format!("{{name: web, protocol: HTTPS, port: 8443, hostname: web.example, {certificate}}}"),
    ];
    let listeners: Vec<&str> = listeners.iter().map(String::as_str).collect();
    let to = |hosts: &str, service: &str| {
        format!("hostnames: {hosts}\n  rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]")
    };
    let mut builder = Gateway::builder()
        .file("edge.yaml", edge(&listeners))
        .file("pair.yaml", authority.issue(&["ended.example", "web.example"]).secret("pair"))
        .file("a.yaml", route("TLSRoute", "a", &to("[a.through.example]", "a")))
        .file("b.yaml", route("TLSRoute", "b", &to("['*.through.example']", "b")))
        .file("ended.yaml", route("TLSRoute", "ended", &to("[ended.example]", "plain")))
        .file("web.yaml", route("HTTPRoute", "web", &to("[web.example]", "web")));
    for (name, address) in
        [("a", a.address), ("b", b.address), ("plain", plain.address), ("web", web.address)]
    {
        builder = builder.file(&format!("service-{name}.yaml"), service(name)).endpoint(name, address);
    }
    let gateway = builder.start().await;
    let address = gateway.listener("through");

    for (host, said) in [("a.through.example", "a"), ("A.Through.Example", "a"), ("c.through.example", "b")] {
        let mut stream = tls(address, host, &authority.root, &["h2"]).await.unwrap();
        assert_eq!(read_all(&mut stream).await, said.as_bytes(), "{host}");
    }
    let line = gateway.stream_logged(|line| line["host"] == "c.through.example").await;
    assert_eq!((&line["protocol"], &line["route"]), (&"TLS".into(), &"TLSRoute/default/b".into()));

    // What the client offers inside is between it and the backend: no protocol is agreed on.
    let mut stream = tls(address, "ended.example", &authority.root, &["postgresql"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    stream.write_all(b"ping").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await, b"plain:ping=4");
    assert_eq!(gateway.stream_logged(|line| line["host"] == "ended.example").await["bytes_received"], 4);

    for alpn in [&["h2"][..], &["http/1.1"]] {
        let asked = get(address, "/").host("web.example");
        let answer = asked.send_tls("web.example", &authority.root, alpn).await.unwrap();
        assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some("web")));
        // What a connection was made for is all that it reaches.
        let asked = get(address, "/").host("ended.example");
        assert_eq!(asked.send_tls("web.example", &authority.root, alpn).await.unwrap().status, 421);
    }

    // Refused as a connection is, and not by an alert that the backend could have meant.
    for host in ["nobody.example", "through.example"] {
        let refused = tls(address, host, &authority.root, &[]).await.unwrap_err();
        assert!(refused.contains("reset"), "{host}: {refused}");
    }
}

#[tokio::test]
async fn who_greets_slowly_is_let_go() {
    let gateway = Gateway::builder()
        .file("edge.yaml", edge(&["{name: through, protocol: TLS, port: 8443, tls: {mode: Passthrough}}"]).replace(
            "  listeners:",
            "  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: edge}}\n  listeners:",
        ))
        .file("config.yaml", CONFIG.replace("streamIdleTimeout: 1s", "tlsHandshakeTimeout: 200ms"))
        .start()
        .await;
    let mut stream = TcpStream::connect(gateway.listener("through")).await.unwrap();
    stream.write_all(&[22, 3, 1, 2]).await.unwrap();
    let ended = timeout(Duration::from_secs(5), stream.read(&mut [0; 8])).await.expect("an end in time");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}
