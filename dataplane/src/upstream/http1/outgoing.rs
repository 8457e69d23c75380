//! A request on its way out: its head, and its body as it comes.
//!
//! What there is goes in one write: the head and small pieces of the body are laid side by side, large ones are written
//! from where they are. No more of the body is asked for than the backend takes.

use std::{
    cell::RefCell,
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::Request;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::{
    BoxError, Error,
    encode::{Framing, encode},
};

/// Larger pieces of a body are not copied.
const COPIED: usize = 4 << 10;
/// So many bytes side by side are worth a write.
const ENOUGH: usize = 16 << 10;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 << 10;

/// The memory that a worker writes heads in: one buffer serves all requests, as most go out at once.
#[derive(Debug, Default)]
pub(crate) struct Scratch(RefCell<Vec<u8>>);

impl Scratch {
    fn take(&self) -> Vec<u8> {
        self.0.take()
    }

    fn put(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT {
            buffer.clear();
            self.0.replace(buffer);
        }
    }
}

#[derive(Debug)]
pub(super) struct Outgoing<B> {
    /// Written first, from `written` on.
    buffer: Vec<u8>,
    written: usize,
    /// Then this,
    data: Bytes,
    /// and this.
    tail: &'static [u8],
    /// `None` when all of it has been taken.
    body: Option<B>,
    framing: Framing,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Outgoing<B> {
    pub(super) fn new<T>(request: &Request<T>, body: B, scratch: &Scratch) -> Self {
        let framing = match body.size_hint().exact() {
            _ if body.is_end_stream() => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        let mut buffer = scratch.take();
        encode(request, framing, &mut buffer);
        let body = (framing != Framing::None).then_some(body);
        Outgoing { buffer, written: 0, data: Bytes::new(), tail: b"", body, framing }
    }

    /// Gives the buffer back for other requests. Call it when all is sent.
    pub(super) fn finish(self, scratch: &Scratch) {
        scratch.put(self.buffer);
    }

    /// Ready when the whole request was handed to the transport.
    pub(super) fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<(), Error>> {
        loop {
            self.poll_gather(cx)?;
            if self.buffered() == 0 {
                if self.body.is_some() {
                    // Nothing of the head may wait for the body.
                    let _ = Pin::new(&mut *stream).poll_flush(cx)?;
                    return Poll::Pending;
                }
                return Pin::new(stream).poll_flush(cx).map_err(Error::Io);
            }
            ready!(self.poll_write(cx, stream))?;
        }
    }

    fn buffered(&self) -> usize {
        self.buffer.len() - self.written + self.data.len() + self.tail.len()
    }

    /// Takes what the body has, up to what is worth a write.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while let Some(body) = &mut self.body
            && self.data.is_empty()
            && self.tail.is_empty()
            && self.buffer.len() - self.written < ENOUGH
        {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Ok(()) };
            let frame = frame.transpose().map_err(|error| Error::Request(error.into()))?;
            // A body that says that it was the last piece need not be asked again.
            let last = frame.is_none() || body.is_end_stream();
            // Trailers are not passed on.
            let data = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
            if last {
                self.body = None;
            }
            self.frame(data, last)?;
        }
        Ok(())
    }

    fn frame(&mut self, data: Bytes, last: bool) -> Result<(), Error> {
        match &mut self.framing {
            Framing::None => {}
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Error::RequestLength)?;
                if last && *left > 0 {
                    return Err(Error::RequestLength);
                }
            }
            Framing::Chunked => {
                if !data.is_empty() {
                    // Writing to a `Vec` can't fail.
                    let _ = write!(self.buffer, "{:x}\r\n", data.len());
                }
                self.tail = match (data.is_empty(), last) {
                    (false, false) => b"\r\n",
                    (false, true) => b"\r\n0\r\n\r\n",
                    (true, true) => b"0\r\n\r\n",
                    (true, false) => b"",
                };
            }
        }
        if data.len() <= COPIED {
            self.buffer.extend_from_slice(&data);
            self.buffer.extend_from_slice(self.tail);
            self.tail = b"";
        } else {
            self.data = data;
        }
        Ok(())
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        let head = &self.buffer[self.written..];
        let written = if self.data.is_empty() && self.tail.is_empty() {
            ready!(Pin::new(stream).poll_write(cx, head))?
        } else {
            let slices = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            ready!(Pin::new(stream).poll_write_vectored(cx, &slices))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_head = written.min(head.len());
        self.written += of_head;
        if self.written == self.buffer.len() {
            self.buffer.clear();
            self.written = 0;
        }
        let of_data = (written - of_head).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_head - of_data..];
        Poll::Ready(Ok(()))
    }
}
