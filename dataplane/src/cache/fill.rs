//! An answer that is written down on its way to a client.
//!
//! Nothing waits for it: what is too long, or for what there is no room, goes on to the client and is kept by nobody.

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{
    Cache, End, Epoch, Flight, Key, Stored,
    policy::{Selection, Terms},
};
use crate::upstream::{BackendBody, BodyError};

/// What is known of an answer before its body. Dropped before the end, nothing is kept.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) cache: Arc<Cache>,
    pub(crate) key: Key,
    pub(crate) flight: Option<Flight>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) selection: Selection,
    pub(crate) terms: Terms,
    pub(crate) arrived: Instant,
    pub(crate) epoch: Epoch,
    pub(crate) service: usize,
    /// Bytes of the body.
    pub(crate) most: usize,
}

#[derive(Debug)]
struct Recording {
    fill: Fill,
    body: Vec<u8>,
    room: Room,
}

/// Of the memory for what is still coming.
#[derive(Debug)]
struct Room {
    cache: Arc<Cache>,
    bytes: u64,
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Recorded {
    body: BackendBody,
    /// `None`: nothing is written down any more.
    recording: Option<Recording>,
}

impl Recorded {
    pub(crate) fn new(body: BackendBody, fill: Fill) -> Self {
        let room = Room { cache: Arc::clone(&fill.cache), bytes: 0 };
        let recording = Recording { fill, body: Vec::new(), room };
        let mut recorded = Recorded { body, recording: Some(recording) };
        let length = recorded.body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        if length.is_some_and(|length| !recorded.reserve(length)) {
            recorded.give_up();
        }
        recorded.settle(false);
        recorded
    }

    fn reserve(&mut self, more: usize) -> bool {
        self.recording.as_mut().is_none_or(|recording| recording.reserve(more))
    }

    /// Nobody is to wait for it.
    fn give_up(&mut self) {
        if let Some(flight) = self.recording.take().and_then(|recording| recording.fill.flight) {
            flight.end(End::Alone);
        }
    }

    fn note(&mut self, frame: &Frame<Bytes>) {
        let Some(recording) = &mut self.recording else { return };
        // Trailers are not kept, and without them it is not the same answer.
        let Some(data) = frame.data_ref() else { return self.give_up() };
        if recording.reserve(data.len()) {
            recording.body.extend_from_slice(data);
        } else {
            self.give_up();
        }
    }

    /// A body of known length is not polled again after its last byte.
    fn settle(&mut self, ended: bool) {
        if (ended || self.body.is_end_stream())
            && let Some(recording) = self.recording.take()
        {
            recording.keep();
        }
    }
}

impl Recording {
    /// `false`: it is too long, or there is no room.
    fn reserve(&mut self, more: usize) -> bool {
        let wanted = self.body.len().saturating_add(more);
        if wanted > self.fill.most {
            return false;
        }
        if wanted <= self.body.capacity() {
            return true;
        }
        let capacity = wanted.max(2 * self.body.capacity()).min(self.fill.most);
        let grown = (capacity - self.body.capacity()) as u64;
        if !self.fill.cache.take_room(grown) {
            return false;
        }
        self.room.bytes += grown;
        self.body.reserve_exact(capacity - self.body.len());
        true
    }

    fn keep(self) {
        let Recording { fill, body, room } = self;
        let now = Instant::now();
        let stored = Stored {
            status: fill.status,
            headers: fill.headers,
            body: body.into_boxed_slice().into(),
            selection: fill.selection,
            terms: fill.terms,
            arrived: fill.arrived,
            epoch: fill.epoch,
            service: fill.service,
            refreshing: AtomicBool::new(false),
        };
        let is_of_use = stored.is_fresh(now);
        drop(room);
        let is_there = fill.cache.keep(&fill.key, Arc::new(stored));
        if let Some(flight) = fill.flight {
            flight.end(if is_there && is_of_use { End::Kept } else { End::Alone });
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.cache.give_room(self.bytes);
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                this.note(frame);
                this.settle(false);
            }
            // What is broken is not kept, and somebody else may try.
            Some(Err(_)) => this.recording = None,
            None => this.settle(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
