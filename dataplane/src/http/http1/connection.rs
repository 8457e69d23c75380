//! The life of one HTTP/1 connection of a client: heads in, responses out, one after the other, in one task.
//!
//! A request is served while its connection is watched: a client that goes takes its request with it. What a client
//! sends ahead of its turn waits. While nothing is asked, the connection holds no buffer.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::BytesMut;
use http::{Method, Request, Response, StatusCode, Version};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::server::TlsStream;

use super::{
    alarms::Alarms,
    body::Body,
    encode::{self, Asked},
    head::{Framing, Head, Limits},
    send::{self, Sending},
    wire::Wire,
};
use crate::Reason;

/// After the last answer, what a client still sends is read and dropped within these bounds, so that a reset does not
/// overtake the answer (RFC 9112, 9.6).
const LINGER_BYTES: usize = 256 << 10;
const LINGER_TIME: Duration = Duration::from_millis(500);
/// When a drain begins, a connection without a request gets so long for one that may be on its way.
pub(crate) const LAST_CHANCE: Duration = Duration::from_millis(500);

/// Answers requests.
pub(crate) trait Service {
    type Body: http_body::Body<Data = bytes::Bytes> + Unpin;

    /// A response of 101 is only for a request that asks for an upgrade to WebSocket.
    fn serve(&self, request: Request<Body>) -> impl Future<Output = Response<Self::Body>>;
    /// Answers what broke the rules.
    fn refuse(&self, reason: Reason) -> Response<Self::Body>;
    /// Takes the connection over behind a response of 101 with this body. `early` was read already.
    fn upgrade<S>(&self, body: Self::Body, stream: S, early: BytesMut) -> impl Future<Output = ()>
    where
        S: Transport + 'static;
    /// Ready when the gateway drains.
    fn draining(&self) -> impl Future<Output = ()>;
    fn is_draining(&self) -> bool;
}

/// What a connection runs over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Lets the client see a break, and not an end, when the stream is dropped.
    fn will_break(&self);
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// From the first byte of a head to its last.
    pub(crate) header_timeout: Duration,
    /// Between two requests.
    pub(crate) idle_timeout: Duration,
}

/// What to do next.
enum Next {
    /// A head is there.
    Serve,
    /// A head has begun, and took too long.
    Refuse,
    Close,
}

/// How an exchange ended.
enum End<B> {
    KeepAlive,
    /// `unread`: the client has sent what will not be read, or may be sending it.
    Close {
        unread: bool,
    },
    Upgrade(Box<B>),
    /// The client has gone, or must not see a clean end.
    Break,
}

impl Transport for TcpStream {
    fn will_break(&self) {
        // A stream that is broken already can't be broken more.
        let _ = self.set_zero_linger();
    }
}

impl<S: Transport> Transport for TlsStream<S> {
    fn will_break(&self) {
        self.get_ref().0.will_break();
    }
}

/// Serves requests until the connection ends. `first` was read from the stream already.
pub(crate) fn serve<S, V>(
    stream: S,
    first: BytesMut,
    service: V,
    settings: Settings,
) -> impl Future<Output = io::Result<()>>
where
    S: Transport + 'static,
    V: Service,
{
    // A future has room for all that it was ever given, so this one is given little. What a request needs is on the heap
    // only while there is one.
    let wire = Rc::new(RefCell::new(Wire::new(stream, first, settings)));
    async move {
        let draining = pin!(service.draining());
        let mut alarms = Alarms::new(draining);
        let mut served = false;
        loop {
            let end = match next(&wire, &mut alarms, &service, served).await? {
                Next::Serve => Box::pin(exchange(&wire, &service)).await?,
                Next::Refuse => Box::pin(refuse(&wire, &service, Reason::RequestTimeout)).await?,
                Next::Close => return close(&wire, false).await,
            };
            match end {
                End::KeepAlive => served = true,
                End::Close { unread } => return close(&wire, unread).await,
                End::Break => return Ok(()),
                End::Upgrade(body) => {
                    // A request for an upgrade has no body that could hold on to the wire.
                    let Some(wire) = Rc::into_inner(wire) else { return Ok(()) };
                    Box::pin(upgrade(wire.into_inner(), &service, body)).await;
                    return Ok(());
                }
            }
        }
    }
}

async fn upgrade<S, V>(wire: Wire<S>, service: &V, body: Box<V::Body>)
where
    S: Transport + 'static,
    V: Service,
{
    let Wire { stream, reader, .. } = wire;
    service.upgrade(*body, stream, reader.into_rest()).await;
}

/// Waits for a head.
fn next<'a, S, V, D>(
    wire: &'a RefCell<Wire<S>>,
    alarms: &'a mut Alarms<'_, D>,
    service: &'a V,
    served: bool,
) -> impl Future<Output = io::Result<Next>>
where
    S: Transport,
    V: Service,
    D: Future<Output = ()>,
{
    // From when on it has waited: for the rest of a head, for anything, for a last request.
    let (mut head_since, mut idle_since, mut drain_since) = (None, None, None);
    poll_fn(move |cx| {
        let mut wire = wire.borrow_mut();
        loop {
            if wire.reader.has_head() {
                return Poll::Ready(Ok(Next::Serve));
            }
            match wire.poll_read(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(Next::Close)),
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        wire.output.release();
        let is_idle = wire.reader.is_empty();
        let now = Instant::now();
        let mut end = if is_idle {
            *idle_since.get_or_insert(now) + wire.idle_timeout
        } else {
            *head_since.get_or_insert(now) + wire.header_timeout
        };
        let drained = alarms.is_drained(cx, service.is_draining());
        if drained {
            if served && is_idle {
                return Poll::Ready(Ok(Next::Close));
            }
            end = end.min(*drain_since.get_or_insert(now) + LAST_CHANCE);
        }
        match alarms.poll_end(cx, end, now) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if is_idle || drained => Poll::Ready(Ok(Next::Close)),
            Poll::Ready(()) => Poll::Ready(Ok(Next::Refuse)),
        }
    })
}

/// Answers what broke the rules. Nothing behind it is read.
async fn refuse<S, V>(wire: &RefCell<Wire<S>>, service: &V, reason: Reason) -> io::Result<End<V::Body>>
where
    S: Transport,
    V: Service,
{
    let asked = Asked { version: Version::HTTP_11, is_head: false, keep_alive: false };
    Ok(match send::send(wire, service.refuse(reason), asked).await? {
        Sending::Broken => End::Break,
        Sending::Done { .. } => End::Close { unread: true },
    })
}

/// One request and its response.
async fn exchange<S, V>(wire: &Rc<RefCell<Wire<S>>>, service: &V) -> io::Result<End<V::Body>>
where
    S: Transport + 'static,
    V: Service,
{
    let next = wire.borrow_mut().reader.next_head();
    let head = match next {
        Ok(Some(head)) => head,
        Ok(None) => return Ok(End::KeepAlive),
        Err(reason) => return refuse(wire, service, reason).await,
    };
    let Head { parts, framing, keep_alive, expects_continue } = head;
    let mut asked = Asked { version: parts.version, is_head: parts.method == Method::HEAD, keep_alive };
    let body = if wire.borrow().reader.owes_body() {
        wire.borrow_mut().hold(expects_continue);
        Body::new(Rc::<RefCell<Wire<S>>>::clone(wire))
    } else {
        Body::empty()
    };
    let answered = {
        let mut answering = pin!(service.serve(Request::from_parts(parts, body)));
        poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => wire.borrow_mut().poll_gone(cx).map(|()| None),
        })
        .await
    };
    let Some(response) = answered else { return Ok(End::Break) };

    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let asks_for_upgrade = framing == Framing::Upgrade;
    if upgraded && asks_for_upgrade {
        let (parts, body) = response.into_parts();
        encode::head(wire.borrow_mut().output.flat(), asked, &parts, None, SystemTime::now);
        poll_fn(|cx| wire.borrow_mut().poll_write(cx)).await?;
        return Ok(End::Upgrade(Box::new(body)));
    }
    // What follows a request for an upgrade was meant for another protocol: it is never read as a request (RFC 9931).
    asked.keep_alive &= !asks_for_upgrade;
    // A body that nobody will read is dropped now or ends the connection, which the head should say.
    asked.keep_alive &= poll_fn(|cx| Poll::Ready(wire.borrow_mut().settle_body(cx))).await;
    let keep_alive = match send::send(wire, response, asked).await? {
        Sending::Broken => return Ok(End::Break),
        Sending::Done { keep_alive } => keep_alive,
    };
    if !keep_alive {
        let reader = &wire.borrow().reader;
        return Ok(End::Close { unread: asks_for_upgrade || reader.owes_body() || !reader.is_empty() });
    }
    // A backend may answer before it has read all; the next head comes behind that.
    poll_fn(|cx| wire.borrow_mut().poll_let_go(cx)).await;
    let settled = poll_fn(|cx| Poll::Ready(wire.borrow_mut().settle_body(cx))).await;
    Ok(if settled { End::KeepAlive } else { End::Close { unread: true } })
}

/// Ends the sending side and, where bytes may be under way, reads and drops them for a moment.
async fn close<S: Transport>(wire: &RefCell<Wire<S>>, linger: bool) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut wire.borrow_mut().stream).poll_shutdown(cx)).await?;
    if linger {
        let mut left = LINGER_BYTES;
        let dropping = poll_fn(|cx| poll_drop_input(&mut wire.borrow_mut(), &mut left, cx));
        // Whether it ended by itself or not, it ends here.
        let _ = Box::pin(timeout(LINGER_TIME, dropping)).await;
    }
    Ok(())
}

fn poll_drop_input<S: Transport>(wire: &mut Wire<S>, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    while *left > 0 {
        wire.reader.space().clear();
        match ready!(wire.poll_read(cx)) {
            Ok(count) if count > 0 => *left = left.saturating_sub(count),
            _ => break,
        }
    }
    Poll::Ready(())
}
