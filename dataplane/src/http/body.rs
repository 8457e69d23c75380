//! A response's body on its way to the client.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::Exchange;
use crate::{Reason, upstream::Lease};

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
    /// The lease goes back when the last byte has been read.
    Streaming(Incoming, Option<Lease>),
    Ended,
}

impl ResponseBody {
    pub(crate) fn whole(bytes: Bytes, exchange: Box<Exchange>) -> Self {
        ResponseBody { kind: Kind::Whole(bytes), exchange: Some(exchange) }
    }

    pub(crate) fn empty() -> Self {
        ResponseBody { kind: Kind::Ended, exchange: None }
    }

    pub(crate) fn streaming(incoming: Incoming, lease: Lease, exchange: Box<Exchange>) -> Self {
        let mut body =
            ResponseBody { kind: Kind::Streaming(incoming, Some(lease)), exchange: Some(exchange) };
        body.settle();
        body
    }

    /// Gives the connection back once all is read: a body of known length is not polled again after its last byte.
    fn settle(&mut self) {
        if let Kind::Streaming(incoming, lease) = &mut self.kind
            && incoming.is_end_stream()
        {
            let lease = lease.take();
            self.complete(lease);
        }
    }

    fn complete(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            lease.give_back();
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.complete();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Ended => return Poll::Ready(None),
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.kind = Kind::Ended;
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(bytes.len());
                    exchange.complete();
                }
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Kind::Streaming(incoming, _) => ready!(Pin::new(incoming).poll_frame(cx)),
        };
        match frame {
            Some(Ok(frame)) => {
                if let (Some(exchange), Some(data)) = (&mut this.exchange, frame.data_ref()) {
                    exchange.sent(data.len());
                }
                this.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.fail(Reason::UpstreamFailed);
                }
                // The client must see a break, never a clean end.
                Poll::Ready(Some(Err(error)))
            }
            None => {
                if let Kind::Streaming(_, lease) = std::mem::replace(&mut this.kind, Kind::Ended) {
                    this.complete(lease);
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Streaming(incoming, _) => incoming.is_end_stream(),
            Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streaming(incoming, _) => incoming.size_hint(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}
