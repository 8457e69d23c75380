//! A response's body on its way to the client.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http_body::{Body, Frame, SizeHint};

use super::{aggregate::Assembled, compressed::Compressed, exchange::Exchange, headers, tunnel::Tunnel};
use crate::{
    Reason,
    upstream::{BackendBody, BodyError},
};

/// Streams what a backend sends, or one piece of the gateway's own, and ends the exchange when it ends.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    kind: Kind,
    /// `None` where something else ends the exchange.
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    Streaming(BackendBody),
    Compressed(Box<Compressed>),
    Assembled(Box<Assembled>),
    Tunnel(Box<Tunnel>),
    Ended,
}

impl ResponseBody {
    pub(crate) fn whole(bytes: Bytes, exchange: Box<Exchange>) -> Self {
        ResponseBody { kind: Kind::Whole(bytes), exchange: Some(exchange) }
    }

    /// Of a response that switches protocols: what follows it is the tunnel's.
    pub(super) fn tunnel(tunnel: Tunnel, exchange: Box<Exchange>) -> Self {
        ResponseBody { kind: Kind::Tunnel(Box::new(tunnel)), exchange: Some(exchange) }
    }

    pub(crate) fn into_tunnel(self) -> Option<(Tunnel, Box<Exchange>)> {
        let Kind::Tunnel(tunnel) = self.kind else { return None };
        Some((*tunnel, self.exchange?))
    }

    pub(crate) fn streaming(body: BackendBody, exchange: Box<Exchange>) -> Self {
        let mut body = ResponseBody { kind: Kind::Streaming(body), exchange: Some(exchange) };
        body.settle();
        body
    }

    pub(super) fn compressed(body: Box<Compressed>, exchange: Box<Exchange>) -> Self {
        ResponseBody { kind: Kind::Compressed(body), exchange: Some(exchange) }
    }

    pub(super) fn assembled(body: Box<Assembled>, exchange: Box<Exchange>) -> Self {
        let mut body = ResponseBody { kind: Kind::Assembled(body), exchange: Some(exchange) };
        body.settle();
        body
    }

    /// Ends the exchange once all is read: a body of known length is not polled again after its last byte.
    fn settle(&mut self) {
        if self.is_end_stream()
            && let Some(exchange) = &mut self.exchange
        {
            exchange.complete();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Tunnel(_) | Kind::Ended => return Poll::Ready(None),
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.kind = Kind::Ended;
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(bytes.len());
                    exchange.complete();
                }
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Kind::Streaming(body) => ready!(Pin::new(body).poll_frame(cx)),
            Kind::Compressed(body) => ready!(Pin::new(&mut **body).poll_frame(cx)),
            Kind::Assembled(body) => ready!(Pin::new(&mut **body).poll_frame(cx)),
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(exchange) = &mut this.exchange {
                    if let Some(data) = frame.data_ref() {
                        exchange.sent(data.len());
                    } else if let Some(trailers) = frame.trailers_ref() {
                        exchange.grpc_end(trailers);
                    }
                }
                this.settle();
                Poll::Ready(Some(Ok(clean(frame))))
            }
            Some(Err(error)) => {
                if let Some(exchange) = &mut this.exchange {
                    let clients = exchange.body_state().failed.get();
                    let own = match error {
                        BodyError::Idle => Reason::UpstreamTimeout,
                        _ => Reason::UpstreamFailed,
                    };
                    exchange.fail(clients.unwrap_or(own));
                }
                // The client must see a break, never a clean end.
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.kind = Kind::Ended;
                this.settle();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Streaming(body) => body.is_end_stream(),
            Kind::Compressed(body) => body.is_end_stream(),
            Kind::Assembled(body) => body.is_end_stream(),
            Kind::Tunnel(_) | Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streaming(body) => body.size_hint(),
            Kind::Compressed(body) => body.size_hint(),
            Kind::Assembled(body) => body.size_hint(),
            Kind::Tunnel(_) | Kind::Ended => SizeHint::with_exact(0),
        }
    }
}

/// Trailers must not say what only a head may (RFC 9110, 6.5.1).
fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_data() {
        Ok(data) => Frame::data(data),
        Err(other) => match other.into_trailers() {
            Ok(mut trailers) => {
                headers::clean_response(&mut trailers);
                trailers.remove(CONTENT_LENGTH);
                trailers.remove(HOST);
                Frame::trailers(trailers)
            }
            Err(other) => other,
        },
    }
}
