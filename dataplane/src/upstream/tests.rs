//! The pool over loopback: which connection carries the next request, and what happens when it fails.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{Method, Request};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
    time::timeout,
};

use super::{Endpoint, EndpointCell, Failed, Lease, Pool, Protocol, RequestBody, Service, Tried, send};
use crate::Reason;

const PATIENCE: Duration = Duration::from_secs(10);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Rig {
    pool: Rc<Pool>,
    service: Service,
    endpoint: Arc<Endpoint>,
    listener: TcpListener,
}

impl Rig {
    async fn new() -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cell = Arc::new(EndpointCell::default());
        cell.replace(vec![listener.local_addr().unwrap().into()], false);
        let service = Service {
            label: "a".into(),
            protocol: Protocol::Http1,
            tls: None,
            endpoints: cell,
            traffic: None,
        };
        let endpoint = service.pick(|| 0, None, &Tried::default()).unwrap();
        Rig { pool: Rc::default(), service, endpoint, listener }
    }

    async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap().0
    }

    async fn ask(&self, method: Method) -> Result<String, Failed> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = method;
        let lease = Lease::new(self.endpoint.begin(), Rc::clone(&self.pool));
        let sent = timeout(PATIENCE, send(&mut request, &self.service, lease, None)).await.unwrap();
        let body = sent?.into_body().collect().await.unwrap();
        Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    /// A request that is answered on a connection that the pool has already.
    async fn ask_on(&self, backend: &mut TcpStream) -> String {
        let (answer, ()) = tokio::join!(self.ask(Method::GET), answer(backend, OK));
        answer.unwrap()
    }

    /// A request that makes the pool open a connection.
    async fn open(&self) -> TcpStream {
        let serving = async {
            let mut backend = self.accept().await;
            answer(&mut backend, OK).await;
            backend
        };
        let (answer, backend) = tokio::join!(self.ask(Method::GET), serving);
        assert_eq!(answer.unwrap(), "ok");
        backend
    }
}

async fn answer(backend: &mut TcpStream, with: &[u8]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, backend.read_u8()).await.unwrap().unwrap());
    }
    backend.write_all(with).await.unwrap();
}

/// Until the gateway has closed its side.
async fn closed(backend: &mut TcpStream) {
    let read = timeout(PATIENCE, backend.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// Lets the runtime see what has happened on its sockets: loopback delivers at once, and it looks at least every 61 turns.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_are_used_again_last_in_first_out() {
    LocalSet::new()
        .run_until(async {
            let rig = Rig::new().await;
            let mut first = rig.open().await;
            for _ in 0..3 {
                assert_eq!(rig.ask_on(&mut first).await, "ok");
            }
            // While `first` is busy, another is opened and comes back.
            let parallel = async {
                let second = rig.open().await;
                answer(&mut first, OK).await;
                second
            };
            let (one, mut second) = tokio::join!(rig.ask(Method::GET), parallel);
            assert_eq!(one.unwrap(), "ok");
            // `first` came back last.
            assert_eq!(rig.ask_on(&mut first).await, "ok");
            drop(first);
            settle().await;
            assert_eq!(rig.ask_on(&mut second).await, "ok");
        })
        .await;
}

#[tokio::test]
async fn what_happened_while_idle_is_noticed() {
    LocalSet::new()
        .run_until(async {
            let rig = Rig::new().await;
            // Bytes that nobody asked for are never an answer.
            let mut stray = rig.open().await;
            stray.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await.unwrap();
            settle().await;
            let mut next = rig.open().await;
            closed(&mut stray).await;
            // A backend that has closed is not asked, whatever the method.
            next.shutdown().await.unwrap();
            settle().await;
            let serving = async {
                let mut backend = rig.accept().await;
                answer(&mut backend, OK).await;
                backend
            };
            let (posted, _open) = tokio::join!(rig.ask(Method::POST), serving);
            assert_eq!(posted.unwrap(), "ok");
            closed(&mut next).await;
        })
        .await;
}

#[tokio::test]
async fn the_sweep_closes_what_is_of_no_use() {
    LocalSet::new()
        .run_until(async {
            let rig = Rig::new().await;
            let mut left = rig.open().await;
            rig.pool.sweep();
            assert_eq!(rig.ask_on(&mut left).await, "ok", "what is fit stays");
            left.shutdown().await.unwrap();
            settle().await;
            rig.pool.sweep();
            closed(&mut left).await;
        })
        .await;
}

#[tokio::test]
async fn the_pool_parts_from_endpoints_that_are_gone() {
    LocalSet::new()
        .run_until(async {
            let rig = Rig::new().await;
            let mut open = rig.open().await;
            rig.pool.part();
            assert_eq!(rig.ask_on(&mut open).await, "ok", "it is still there");
            rig.service.endpoints.replace(vec![], false);
            rig.pool.part();
            closed(&mut open).await;
        })
        .await;
}

#[tokio::test]
async fn only_what_may_be_repeated_is_intact() {
    LocalSet::new()
        .run_until(async {
            for (method, with, expected) in [
                (Method::GET, &b""[..], Failed::Unsent(Reason::UpstreamFailed)),
                (Method::POST, b"", Failed::Sent(Reason::UpstreamFailed)),
                (Method::GET, b"H", Failed::Sent(Reason::UpstreamFailed)),
                (Method::GET, b"HTTP/1.1 100 Continue\r\n\r\n", Failed::Sent(Reason::UpstreamFailed)),
            ] {
                let rig = Rig::new().await;
                let mut backend = rig.open().await;
                let closing = async {
                    answer(&mut backend, with).await;
                    drop(backend);
                };
                let (failed, ()) = tokio::join!(rig.ask(method.clone()), closing);
                assert_eq!(failed, Err(expected), "{method} {with:?}");
            }
            // On a new connection nobody closes by chance.
            let rig = Rig::new().await;
            let closing = async {
                let mut backend = rig.accept().await;
                answer(&mut backend, b"").await;
            };
            let (failed, ()) = tokio::join!(rig.ask(Method::GET), closing);
            assert_eq!(failed, Err(Failed::Sent(Reason::UpstreamFailed)));
        })
        .await;
}

#[tokio::test]
async fn surplus_bytes_end_a_connection() {
    LocalSet::new()
        .run_until(async {
            let rig = Rig::new().await;
            for surplus in [
                &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"[..],
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            ] {
                let serving = async {
                    let mut backend = rig.accept().await;
                    answer(&mut backend, surplus).await;
                    backend
                };
                let (answer, mut backend) = tokio::join!(rig.ask(Method::GET), serving);
                assert_eq!(answer.unwrap(), "ok");
                closed(&mut backend).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_its_connection() {
    LocalSet::new()
        .run_until(async {
            let rig = Rig::new().await;
            let mut request = Request::new(RequestBody::Empty);
            let lease = Lease::new(rig.endpoint.begin(), Rc::clone(&rig.pool));
            let serving = async {
                let mut backend = rig.accept().await;
                answer(&mut backend, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok").await;
                backend
            };
            let (sent, mut backend) = tokio::join!(send(&mut request, &rig.service, lease, None), serving);
            let mut body = sent.unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
            drop(body);
            closed(&mut backend).await;
        })
        .await;
}
