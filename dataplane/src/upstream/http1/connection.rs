//! One connection to a backend, and what was read from it but not yet taken.
//!
//! While it waits it holds no memory for what may come: little is read by way of the stack, much into a buffer that is
//! there only while bytes flow. Who takes bytes splits them off; they are not copied again.

use std::{
    io,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    task::coop::unconstrained,
};

use crate::message::poll_read_some;

/// A head and a small body fit in one read of this size.
const SMALL: usize = 8 << 10;
/// The most that is read at once.
const LARGE: usize = 128 << 10;

#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(super) stream: S,
    pub(super) buffer: BytesMut,
    /// How much to read at once: grows while reads come back full.
    piece: usize,
}

impl<S: AsyncRead + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Connection { stream, buffer: BytesMut::new(), piece: SMALL }
    }

    /// Between exchanges: neither closed nor saying anything that nobody asked for. Costs a system call only if something
    /// has happened.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.buffer.is_empty() && unconstrained(self.stream.read(&mut [0])).now_or_never().is_none()
    }

    /// Adds to the buffer: what is there, or as much of it as `expected` (at least one byte) and the piece allow. Gives
    /// the count, 0 at the stream's end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        let expected = usize::try_from(expected).unwrap_or(usize::MAX);
        let (read, space) = if self.piece.min(expected) <= SMALL {
            (ready!(poll_read_some::<SMALL, _>(&mut self.stream, &mut self.buffer, cx))?, SMALL)
        } else {
            ready!(self.poll_fill_large(cx, self.piece.min(expected)))?
        };
        if read == space {
            self.piece = self.piece.saturating_mul(4).min(LARGE);
        } else if read < SMALL / 2 {
            self.piece = SMALL;
        }
        Poll::Ready(Ok(read))
    }

    fn poll_fill_large(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<io::Result<(usize, usize)>> {
        let spare = self.buffer.capacity() - self.buffer.len();
        // The rest of an earlier buffer is good enough unless it would make for many small reads.
        if spare < want / 4 {
            self.buffer.reserve(want);
        }
        let space = self.buffer.capacity() - self.buffer.len();
        let read = pin!(self.stream.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        read.map_ok(|read| (read, space))
    }

    /// Makes it hold nothing but the stream. Only between exchanges.
    pub(super) fn rest(&mut self) {
        self.buffer = BytesMut::new();
        self.piece = SMALL;
    }

    /// The stream, and what was read from it already.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.buffer.freeze())
    }
}
