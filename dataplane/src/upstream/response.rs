//! A response's body on its way from a backend, of either protocol.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{Lease, RequestBody, body::IdleTimer, http1, multiplexed::Counted, stream::Stream};
use crate::cache::Recorded;

/// Gives its connection back by itself when the last byte has been read, and closes it when it is dropped before.
#[derive(Debug)]
pub(crate) struct BackendBody {
    kind: Kind,
    /// Until the last byte has been read.
    lease: Option<Lease>,
    /// Where the backend may not be silent for long.
    idle: Option<Box<IdleTimer>>,
}

#[derive(Debug)]
enum Kind {
    Http1(http1::Body<Stream, RequestBody>),
    H2c {
        body: Incoming,
        _counted: Counted,
    },
    /// Of an answer that was kept.
    Stored(Bytes),
    /// It is written down on its way.
    Recorded(Box<Recorded>),
}

/// The body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Http1(#[from] http1::Error),
    #[error(transparent)]
    H2c(#[from] hyper::Error),
    #[error("the backend was silent for too long")]
    Idle,
    /// It can't be compressed.
    #[error(transparent)]
    Coding(std::io::Error),
}

/// A connection to a backend that speaks another protocol from now on.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) stream: Stream,
    /// What came behind the response's head.
    pub(crate) first: Bytes,
    /// Counts it towards its endpoint.
    pub(crate) lease: Lease,
}

impl BackendBody {
    pub(super) fn http1(body: http1::Body<Stream, RequestBody>, lease: Option<Lease>) -> Self {
        BackendBody { kind: Kind::Http1(body), lease, idle: None }
    }

    pub(super) fn h2c(body: Incoming, counted: Counted, lease: Lease) -> Self {
        let kind = Kind::H2c { body, _counted: counted };
        let mut body = BackendBody { kind, lease: Some(lease), idle: None };
        body.settle(false);
        body
    }

    /// It has come before.
    pub(crate) fn stored(bytes: Bytes) -> Self {
        BackendBody { kind: Kind::Stored(bytes), lease: None, idle: None }
    }

    pub(crate) fn recorded(recorded: Recorded) -> Self {
        BackendBody { kind: Kind::Recorded(Box::new(recorded)), lease: None, idle: None }
    }

    /// It breaks off when nothing comes for so long while somebody waits for it.
    pub(crate) fn bounded(mut self, idle: Duration) -> Self {
        self.idle = Some(Box::new(IdleTimer::new(idle)));
        self
    }

    /// Nobody can tell whether it is whole.
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(&self.kind, Kind::Http1(body) if body.ends_with_connection())
    }

    /// After a response of status 101 over HTTP/1.
    pub(crate) fn into_switched(self) -> Option<Switched> {
        let Kind::Http1(body) = self.kind else { return None };
        let (stream, first) = body.into_switched()?;
        Some(Switched { stream, first, lease: self.lease? })
    }

    /// Ends the lease with the body: a body of known length is not polled again after its last byte.
    fn settle(&mut self, ended: bool) {
        if !ended && !self.is_end_stream() {
            return;
        }
        if let Some(lease) = self.lease.take()
            && let Kind::Http1(body) = &mut self.kind
            && let Some(outcome) = body.take_outcome()
        {
            lease.end(outcome);
        }
    }
}

impl Body for BackendBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.kind {
            Kind::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Kind::H2c { body, .. } => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Kind::Stored(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Kind::Recorded(body) => Pin::new(&mut **body).poll_frame(cx),
        };
        let frame = match (polled, &mut this.idle) {
            (Poll::Ready(frame), idle) => {
                idle.iter_mut().for_each(|idle| idle.rest());
                frame
            }
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(idle)) => {
                ready!(idle.poll_expired(cx));
                return Poll::Ready(Some(Err(BodyError::Idle)));
            }
        };
        self.settle(frame.is_none());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Http1(body) => body.is_end_stream(),
            Kind::H2c { body, .. } => body.is_end_stream(),
            Kind::Stored(bytes) => bytes.is_empty(),
            Kind::Recorded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Http1(body) => body.size_hint(),
            Kind::H2c { body, .. } => body.size_hint(),
            Kind::Stored(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Recorded(body) => body.size_hint(),
        }
    }
}
