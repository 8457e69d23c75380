//! Connections as clients see them.

mod ends;
mod exchanges;

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, header::UPGRADE};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, watch},
};

use super::{Body, Limits, Service, Settings, Transport, serve};
use crate::Reason;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SETTINGS: Settings = Settings {
    limits: Limits { head: 64 << 10, target: 8 << 10, fields: 100 },
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
};

impl Transport for DuplexStream {
    fn will_break(&self) {}
}

/// What responses are made of.
enum Reply {
    Whole(Bytes),
    /// As frames come; an `Err` breaks off.
    Stream(mpsc::UnboundedReceiver<Piece>),
    /// So many pieces of 100,000 bytes, all of them ready.
    Pieces(Rc<Cell<usize>>),
    Upgrade,
}

type Piece = Result<Frame<Bytes>, &'static str>;
type Answer = LocalBoxFuture<'static, Response<Reply>>;

/// Answers as it is told, and notes what it sees.
struct Fake {
    answer: Box<dyn Fn(Request<Body>) -> Answer>,
    seen: Rc<RefCell<Vec<String>>>,
    drain: watch::Sender<bool>,
    /// Requests whose client went before they were answered.
    dropped: Rc<Cell<usize>>,
}

/// Counts itself when it is dropped before its time.
struct Pending(Rc<Cell<usize>>, bool);

impl Fake {
    fn new<F: Future<Output = Response<Reply>> + 'static>(
        answer: impl Fn(Request<Body>) -> F + 'static,
    ) -> Rc<Self> {
        Rc::new(Fake {
            answer: Box::new(move |request| Box::pin(answer(request))),
            seen: Rc::default(),
            drain: watch::Sender::new(false),
            dropped: Rc::default(),
        })
    }

    /// Reads bodies and sends them back, with the path before them.
    fn echo() -> Rc<Self> {
        Fake::new(|request: Request<Body>| async move {
            let (parts, body) = request.into_parts();
            match body.collect().await {
                Ok(body) => whole(format!("{} {}", parts.uri, String::from_utf8_lossy(&body.to_bytes()))),
                Err(error) => whole(format!("{} {error}", parts.uri)),
            }
        })
    }

    /// Answers one request, with such a head, by what is sent.
    fn streaming(head: HeaderMap) -> (mpsc::UnboundedSender<Piece>, Rc<Self>) {
        let (sender, frames) = mpsc::unbounded_channel();
        let mut response = Response::new(Reply::Stream(frames));
        *response.headers_mut() = head;
        let response = Cell::new(Some(response));
        (sender, Fake::new(move |_| std::future::ready(response.take().unwrap())))
    }

    fn seen(&self) -> Vec<String> {
        self.seen.borrow().clone()
    }
}

impl Service for Rc<Fake> {
    type Body = Reply;

    async fn serve(&self, request: Request<Body>) -> Response<Reply> {
        self.seen.borrow_mut().push(format!("{} {}", request.method(), request.uri()));
        let mut pending = Pending(Rc::clone(&self.dropped), true);
        let response = (self.answer)(request).await;
        pending.1 = false;
        response
    }

    fn refuse(&self, reason: Reason) -> Response<Reply> {
        self.seen.borrow_mut().push(reason.as_str().to_owned());
        let mut response = whole(reason.as_str().to_owned());
        *response.status_mut() = reason.status();
        response
    }

    async fn upgrade<S: Transport + 'static>(&self, body: Reply, mut stream: S, early: BytesMut) {
        assert!(matches!(body, Reply::Upgrade));
        self.seen.borrow_mut().push(format!("tunnel {}", String::from_utf8_lossy(&early)));
        let mut more = Vec::new();
        stream.write_all(b"through the tunnel").await.unwrap();
        stream.read_to_end(&mut more).await.unwrap();
        self.seen.borrow_mut().push(String::from_utf8(more).unwrap());
    }

    async fn draining(&self) {
        let mut drain = self.drain.subscribe();
        drain.wait_for(|drain| *drain).await.unwrap();
    }

    fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.set(self.0.get() + usize::from(self.1));
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match &mut *self {
            Reply::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Reply::Stream(frames) => frames.poll_recv(cx),
            Reply::Pieces(left) => Poll::Ready(left.get().checked_sub(1).map(|fewer| {
                left.set(fewer);
                Ok(Frame::data(Bytes::from_static(&[b'x'; 100_000])))
            })),
            Reply::Upgrade => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Whole(bytes) => bytes.is_empty(),
            Reply::Stream(_) | Reply::Pieces(_) => false,
            Reply::Upgrade => true,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Reply::Whole(bytes) => http_body::SizeHint::with_exact(bytes.len() as u64),
            Reply::Stream(_) | Reply::Pieces(_) => http_body::SizeHint::default(),
            Reply::Upgrade => http_body::SizeHint::with_exact(0),
        }
    }
}

fn whole(body: impl Into<Bytes>) -> Response<Reply> {
    Response::new(Reply::Whole(body.into()))
}

fn switching() -> Response<Reply> {
    let mut response = Response::new(Reply::Upgrade);
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// A connection to the service; it runs until it ends.
fn connect(service: &Rc<Fake>) -> (DuplexStream, tokio::task::JoinHandle<std::io::Result<()>>) {
    connect_with(service, 1 << 20)
}

fn connect_with(
    service: &Rc<Fake>,
    capacity: usize,
) -> (DuplexStream, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (client, server) = duplex(capacity);
    let serving = serve(server, BytesMut::new(), Rc::clone(service), SETTINGS);
    (client, tokio::task::spawn_local(serving))
}

/// Within a `LocalSet`, for a connection is a task.
async fn local<T>(test: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(test).await
}

/// All up to the end of the connection. With time paused, `None` comes as soon as nothing else can happen for a day.
async fn rest(client: &mut DuplexStream) -> Option<String> {
    let mut read = Vec::new();
    let reading = client.read_to_end(&mut read);
    tokio::time::timeout(Duration::from_secs(86_400), reading).await.ok()?.unwrap();
    Some(undated(&read))
}

/// What comes until the server waits for something.
async fn answer(client: &mut DuplexStream) -> String {
    let mut read = BytesMut::new();
    while tokio::time::timeout(Duration::from_millis(1), client.read_buf(&mut read))
        .await
        .is_ok_and(|read| read.unwrap() > 0)
    {}
    undated(&read)
}

/// Without the fields that tell nothing here.
fn undated(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn last(body: &str) -> String {
    ok(body).replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1)
}

/// The body's next data.
async fn data(body: &mut Body) -> Option<Result<Bytes, super::BodyError>> {
    assert!(!body.is_end_stream() || body.size_hint().exact() == Some(0));
    body.frame().await.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
}
