//! A request's body on its way to a backend.

mod recording;

use std::{
    cell::Cell,
    num::NonZeroU64,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::{
    Reason,
    http::{client_body::ClientBody, headers, http1::BodyError},
};

pub(crate) use recording::Recording;

/// Streams what the client sends, counts it, and notes how it ended. Trailers are dropped where they could do harm, as RFC
/// 9110, 6.5.1 allows.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Streaming {
        incoming: ClientBody,
        state: Rc<BodyState>,
        idle: Option<IdleTimer>,
        trailers: bool,
    },
    /// Of a request that goes out more than once.
    Replay(recording::Replay),
}

/// Shared with the exchange that the body belongs to.
#[derive(Debug, Default)]
pub(crate) struct BodyState {
    pub(crate) received: Cell<u64>,
    /// What is received may be at most so much.
    pub(crate) bound: Cell<Option<NonZeroU64>>,
    /// Why the client's side broke.
    pub(crate) failed: Cell<Option<Reason>>,
    /// When something of it last went on, where somebody watches that.
    moved: Cell<Option<Instant>>,
    /// What came has gone on, and more is waited for.
    waits: Cell<bool>,
}

/// Fires when nothing has arrived for a while. Costs nothing while data is there.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    timeout: Duration,
    /// `None`: something has arrived since.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl BodyState {
    /// From now on it is noted when something goes on.
    pub(super) fn watch(&self, now: Instant) {
        self.moved.set(Some(now));
    }

    /// When something last went on; that is now while the client has nothing to send.
    pub(super) fn moved(&self, now: Instant) -> Instant {
        if self.waits.get() {
            self.moved.set(Some(now));
        }
        self.moved.get().unwrap_or(now)
    }

    pub(super) fn note(&self, waits: bool) {
        self.waits.set(waits);
        if !waits && self.moved.get().is_some() {
            self.moved.set(Some(Instant::now()));
        }
    }
}

/// The client's side of the body broke; the state says why.
#[derive(Debug, thiserror::Error)]
#[error("the client's body broke off")]
pub(crate) struct BodyBroken(#[source] Option<BodyError>);

impl RequestBody {
    /// Without a timeout the client may be silent as long as its connection lives. `trailers`: they are passed on.
    pub(crate) fn new(
        incoming: ClientBody,
        state: Rc<BodyState>,
        idle_timeout: Option<Duration>,
        trailers: bool,
    ) -> Self {
        if incoming.is_end_stream() {
            return RequestBody::Empty;
        }
        let idle = idle_timeout.map(IdleTimer::new);
        RequestBody::Streaming { incoming, state, idle, trailers }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }
}

impl IdleTimer {
    pub(super) fn new(timeout: Duration) -> Self {
        IdleTimer { timeout, sleep: None }
    }

    pub(super) fn rest(&mut self) {
        self.sleep = None;
    }

    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let (incoming, state, idle, trailers) = match &mut *self {
            RequestBody::Empty => return Poll::Ready(None),
            RequestBody::Streaming { incoming, state, idle, trailers } => (incoming, state, idle, trailers),
            RequestBody::Replay(replay) => return Pin::new(replay).poll_frame(cx),
        };
        let frame = match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                state.note(false);
                frame
            }
            Poll::Pending => {
                state.note(true);
                let Some(idle) = idle else { return Poll::Pending };
                ready!(idle.poll_expired(cx));
                state.failed.set(Some(Reason::RequestTimeout));
                return Poll::Ready(Some(Err(BodyBroken(None))));
            }
        };
        if let Some(idle) = idle {
            idle.rest();
        }
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let received = state.received.get() + data.len() as u64;
                    state.received.set(received);
                    if state.bound.get().is_some_and(|bound| received > bound.get()) {
                        state.failed.set(Some(Reason::BodyTooLarge));
                        return Poll::Ready(Some(Err(BodyBroken(None))));
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(mut fields) if *trailers => {
                        headers::clean_request_trailers(&mut fields);
                        Poll::Ready(Some(Ok(Frame::trailers(fields))))
                    }
                    _ => Poll::Ready(None),
                },
            },
            None => Poll::Ready(None),
            Some(Err(error)) => {
                state.failed.set(Some(match error {
                    BodyError::Gone => Reason::ClientGone,
                    BodyError::Malformed => Reason::BadRequest,
                }));
                Poll::Ready(Some(Err(BodyBroken(Some(error)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streaming { incoming, .. } => incoming.is_end_stream(),
            RequestBody::Replay(replay) => replay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streaming { incoming, .. } => incoming.size_hint(),
            RequestBody::Replay(replay) => replay.size_hint(),
        }
    }
}
