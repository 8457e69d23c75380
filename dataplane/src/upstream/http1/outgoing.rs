//! A request on its way out: its head, and its body as it comes.
//!
//! What there is goes in one write. No more of the body is asked for than the backend takes.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::{
    BoxError, Error,
    encode::{Framing, encode},
};
use crate::message::{CHUNK_END, CHUNK_END_AND_LAST, LAST_CHUNK, Output, chunk_size};

/// The memory that a worker writes heads in: one buffer serves all requests, as most go out at once.
#[derive(Debug, Default)]
pub(crate) struct Scratch(RefCell<Vec<u8>>);

impl Scratch {
    fn take(&self) -> Vec<u8> {
        self.0.take()
    }

    fn put(&self, buffer: Vec<u8>) {
        self.0.replace(buffer);
    }
}

#[derive(Debug)]
pub(super) struct Outgoing<B> {
    output: Output,
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
        let mut output = Output::within(scratch.take());
        encode(request, framing, output.flat());
        let body = (framing != Framing::None).then_some(body);
        Outgoing { output, body, framing }
    }

    /// Gives the buffer back for other requests. Call it when all is sent.
    pub(super) fn finish(self, scratch: &Scratch) {
        scratch.put(self.output.into_buffer());
    }

    /// Ready when the whole request was handed to the transport.
    pub(super) fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<(), Error>> {
        loop {
            self.poll_gather(cx)?;
            let gathered = !self.output.is_empty();
            // It flushes too: nothing of the head may wait for the body.
            ready!(self.output.poll_write(stream, cx))?;
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if !gathered {
                return Poll::Pending;
            }
        }
    }

    /// Takes what the body has, up to what is worth a write.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while let Some(body) = &mut self.body
            && !self.output.is_full()
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
            Framing::Chunked if data.is_empty() => {
                if last {
                    self.output.push_static(LAST_CHUNK);
                }
                return Ok(());
            }
            Framing::Chunked => chunk_size(self.output.flat(), data.len()),
        }
        self.output.push(data);
        if self.framing == Framing::Chunked {
            self.output.push_static(if last { CHUNK_END_AND_LAST } else { CHUNK_END });
        }
        Ok(())
    }
}
