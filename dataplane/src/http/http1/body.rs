//! The body of a request, read from its connection as it is asked for.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::wire::Feed;

/// Trailers are dropped (RFC 9110, 6.5.1 allows it), so its only frames are data.
pub(crate) struct Body {
    /// `None` once it has ended: what comes then on the connection is another request's.
    feed: Option<Rc<RefCell<dyn Feed>>>,
}

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the client went away")]
    Gone,
    #[error("the chunks are malformed")]
    Malformed,
}

impl Body {
    pub(super) fn empty() -> Self {
        Body { feed: None }
    }

    pub(super) fn new(feed: Rc<RefCell<dyn Feed>>) -> Self {
        Body { feed: Some(feed) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(feed) = &self.feed else { return Poll::Ready(None) };
        let mut feed = feed.borrow_mut();
        let piece = ready!(feed.poll_piece(cx));
        let over = feed.is_over();
        drop(feed);
        if over {
            self.feed = None;
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.feed.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.feed.as_ref().map_or_else(|| SizeHint::with_exact(0), |feed| feed.borrow().size_hint())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(feed) = &self.feed {
            feed.borrow_mut().let_go();
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Body").field("ended", &self.feed.is_none()).finish_non_exhaustive()
    }
}
