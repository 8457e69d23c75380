//! Bytes that wait to go out on a stream, in order.
//!
//! Small pieces are put together, so that a head and a short body leave in one write; a large piece is not copied but
//! written from where it is, in the same write as what surrounds it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// What is at most this long is cheaper to copy than to write on its own.
const SMALL: usize = 8 << 10;
/// No more is put together than this before it is written.
const FULL: usize = 32 << 10;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 4 << 10;

#[derive(Debug, Default)]
pub(crate) struct Output {
    flat: Vec<u8>,
    /// So much of `flat` has been written.
    written: usize,
    /// Comes after `flat`.
    large: Bytes,
    /// Comes after `large`; empty without it.
    tail: &'static [u8],
}

impl Output {
    /// Gathers in the memory of a buffer that is no longer used, see [`Output::into_buffer`].
    pub(crate) fn within(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Output { flat: buffer, ..Output::default() }
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.flat
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flat.len() == self.written && self.large.is_empty() && self.tail.is_empty()
    }

    /// More should be written before more is added.
    pub(crate) fn is_full(&self) -> bool {
        !self.large.is_empty() || !self.tail.is_empty() || self.flat.len() >= FULL
    }

    /// To append to. Must not be called while it is full.
    pub(crate) fn flat(&mut self) -> &mut Vec<u8> {
        debug_assert!(
            self.large.is_empty() && self.tail.is_empty(),
            "what is appended comes before a large piece"
        );
        &mut self.flat
    }

    /// Adds a piece of a body. Must not be called while it is full.
    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() <= SMALL {
            self.flat().extend_from_slice(&data);
        } else {
            self.large = data;
        }
    }

    /// Adds what follows the last piece. At most once a piece while that is large.
    pub(crate) fn push_static(&mut self, bytes: &'static [u8]) {
        if self.large.is_empty() && self.tail.is_empty() {
            self.flat.extend_from_slice(bytes);
        } else {
            self.tail = bytes;
        }
    }

    /// Ready when all has gone out.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let stream = Pin::new(&mut *stream);
            let flat = &self.flat[self.written..];
            let count = if self.large.is_empty() && self.tail.is_empty() {
                ready!(stream.poll_write(cx, flat))?
            } else {
                let slices = [IoSlice::new(flat), IoSlice::new(&self.large), IoSlice::new(self.tail)];
                // The first slice must not be empty: what can't write vectors writes that alone.
                let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or(0);
                ready!(stream.poll_write_vectored(cx, &slices[first..]))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        if self.flat.capacity() > KEPT {
            self.flat = Vec::new();
        }
        self.flat.clear();
        self.written = 0;
        Pin::new(stream).poll_flush(cx)
    }

    /// Gives its memory back. Only when it is empty.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Output::default();
        }
    }

    fn advance(&mut self, mut count: usize) {
        let flat = count.min(self.flat.len() - self.written);
        self.written += flat;
        count -= flat;
        let large = count.min(self.large.len());
        self.large.advance(large);
        self.tail = &self.tail[count - large..];
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use tokio::io::AsyncWrite;

    use super::{Output, SMALL};

    /// Takes so many bytes a write, vectors or not.
    struct Sink {
        taken: Vec<u8>,
        writes: usize,
        most: usize,
        vectored: bool,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.most);
            self.writes += 1;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            assert!(!slices[0].is_empty());
            let taken = if self.vectored { slices } else { &slices[..1] };
            let all: Vec<u8> = taken.iter().flat_map(|slice| slice.iter().copied()).take(self.most).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn all_goes_out_in_order_however_little_a_write_takes() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for (most, vectored) in
            [(1, true), (7, false), (SMALL, true), (usize::MAX, true), (usize::MAX, false)]
        {
            for large in [SMALL, SMALL + 1, 100_000] {
                let mut sink = Sink { taken: Vec::new(), writes: 0, most, vectored };
                let mut output = Output::default();
                output.flat().extend_from_slice(b"head");
                output.push(Bytes::from_static(b"small"));
                output.push(vec![b'x'; large].into());
                assert_eq!(output.is_full(), large > SMALL);
                output.push_static(b"tail");
                assert!(output.poll_write(&mut sink, &mut cx).is_ready());
                assert!(output.is_empty() && !output.is_full());
                assert_eq!(sink.taken, [&b"headsmall"[..], &vec![b'x'; large], b"tail"].concat());
                if most == usize::MAX && (vectored || large <= SMALL) {
                    assert_eq!(sink.writes, 1, "{large}");
                }
                output.push_static(b"more");
                assert!(output.poll_write(&mut sink, &mut cx).is_ready());
                assert!(sink.taken.ends_with(b"tailmore"));
            }
        }
    }
}
