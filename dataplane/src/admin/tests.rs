use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{CONNECTIONS, Pages, serve};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Fixed {
    ready: AtomicBool,
}

impl Pages for Fixed {
    fn metrics(&self) -> String {
        "gatehouse_x 1\n".into()
    }

    fn ready(&self) -> Result<(), &'static str> {
        if self.ready.load(Ordering::Relaxed) { Ok(()) } else { Err("draining") }
    }
}

async fn start() -> (SocketAddr, Arc<Fixed>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Arc::new(Fixed::default());
    tokio::spawn(serve(listener, Arc::clone(&pages)));
    (address, pages)
}

/// All that comes back until the connection is closed.
async fn ask(address: SocketAddr, method: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn the_pages() {
    let (address, pages) = start().await;
    for (method, target, status, body) in [
        ("GET", "/livez", 200, "ok\n"),
        ("GET", "/readyz", 503, "draining\n"),
        ("GET", "/metrics", 200, "gatehouse_x 1\n"),
        ("GET", "/metrics?x=1", 200, "gatehouse_x 1\n"),
        ("HEAD", "/metrics", 200, ""),
        ("GET", "/", 404, "pages: /metrics /livez /readyz\n"),
        ("POST", "/metrics", 405, "use GET\n"),
    ] {
        let answer = ask(address, method, target).await;
        let (head, got) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {head}");
        assert_eq!(got, body, "{method} {target}");
        assert_eq!(head.contains("version=0.0.4"), target.starts_with("/metrics") && status == 200, "{head}");
        assert_eq!(head.contains("allow: GET, HEAD"), status == 405, "{head}");
    }
    pages.ready.store(true, Ordering::Relaxed);
    assert!(ask(address, "GET", "/readyz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed() {
    let (address, _) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /livez HT").await.unwrap();
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_are_bounded() {
    let (address, _) = start().await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        // An answer shows that the connection has its place.
        assert!(timeout(LIMIT, stream.read(&mut [0; 256])).await.unwrap().unwrap() > 0);
        held.push(stream);
    }
    let mut one_more = TcpStream::connect(address).await.unwrap();
    let ended = timeout(LIMIT, one_more.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "closed without an answer");
}
