//! A connection's stream with its two sides. The loop of the connection and the body of the current request share it.
//!
//! While a request's body is owed, only the body reads, when it is asked for more; at all other times only the loop
//! does. So a client that sends faster than its request is served is held back by its own window.

use std::{
    io,
    pin::pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::SizeHint;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{
    body::BodyError,
    connection::Settings,
    encode::CONTINUE,
    reader::{Piece, Reader},
};
use crate::message::{Output, poll_read_some};

/// Read at once where a head is expected.
const HEAD_READ: usize = 4 << 10;
/// Read at once of a body: as much as the last read says that the client sends.
const BODY_READ: std::ops::RangeInclusive<usize> = 8 << 10..=64 << 10;
/// Of a body that nobody reads, so much is read and dropped to keep the connection, if it is there already.
const DISCARDED: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) reader: Reader,
    pub(super) output: Output,
    /// The client waits to be told to send its body.
    expects_continue: bool,
    /// Somebody holds the current body, and may read it.
    held: bool,
    /// Of the loop, while it waits for the body to end.
    waker: Option<Waker>,
    body_read: usize,
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
}

/// What the body of a request needs of its connection.
pub(super) trait Feed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;
    /// All of it has been given out.
    fn is_over(&self) -> bool;
    fn size_hint(&self) -> SizeHint;
    /// Nobody will read the rest.
    fn let_go(&mut self);
}

/// Reads what is there where a head is expected.
pub(crate) fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    into: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    poll_read_some::<HEAD_READ, _>(stream, into, cx)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, first: BytesMut, settings: Settings) -> Self {
        Wire {
            stream,
            reader: Reader::new(settings.limits, first),
            output: Output::default(),
            expects_continue: false,
            held: false,
            waker: None,
            body_read: *BODY_READ.start(),
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
        }
    }

    /// A request with a body begins.
    pub(super) fn hold(&mut self, expects_continue: bool) {
        self.expects_continue = expects_continue;
        self.held = true;
        self.body_read = *BODY_READ.start();
    }

    /// The response's head is next: it is too late to ask for the body.
    pub(super) fn begin_response(&mut self) {
        self.expects_continue = false;
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        read_head(&mut self.stream, self.reader.space(), cx)
    }

    /// Ready when the client has gone, which is only looked for where nothing else of it is to come first. Some of a
    /// next request may be read on the way.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reader.owes_body() {
            self.wake_at_end(cx);
            return Poll::Pending;
        }
        while self.reader.is_empty() {
            if !matches!(ready!(self.poll_read(cx)), Ok(count) if count > 0) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Ready when the request's body has been read to its end, or nobody will read more of it.
    pub(super) fn poll_let_go(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.held || !self.reader.owes_body() {
            return Poll::Ready(());
        }
        self.wake_at_end(cx);
        Poll::Pending
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_write(&mut self.stream, cx)
    }

    /// Drops what is left of a body that nobody reads. `false` if it does not end soon: then the connection must.
    pub(super) fn settle_body(&mut self, cx: &mut Context<'_>) -> bool {
        if self.held {
            // Its reader brings it to its end, or lets it go.
            return true;
        }
        let mut left = DISCARDED;
        loop {
            match self.reader.next_piece() {
                Piece::End => return true,
                Piece::Data(data) if data.len() <= left => left -= data.len(),
                Piece::Data(_) | Piece::Broken => return false,
                // It is still with the client, who may send it or not.
                Piece::More if self.expects_continue => return false,
                Piece::More => match self.poll_read(cx) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    _ => return false,
                },
            }
        }
    }

    fn wake_at_end(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// The task that reads the body may be another than the loop's.
    fn end_body(&mut self, cx: &Context<'_>) {
        self.held = false;
        if let Some(waker) = self.waker.take()
            && !waker.will_wake(cx.waker())
        {
            waker.wake();
        }
    }

    fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let space = self.reader.space();
        space.reserve(self.body_read);
        let room = space.capacity() - space.len();
        let mut reading = pin!(self.stream.read_buf(space));
        let count = ready!(reading.as_mut().poll(cx))?;
        if count == room {
            self.body_read = (2 * self.body_read).min(*BODY_READ.end());
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Feed for Wire<S> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            match self.reader.next_piece() {
                Piece::Data(data) => {
                    if !self.reader.owes_body() {
                        self.end_body(cx);
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Piece::End => {
                    self.end_body(cx);
                    return Poll::Ready(None);
                }
                Piece::Broken => return Poll::Ready(Some(Err(BodyError::Malformed))),
                Piece::More => {}
            }
            if std::mem::take(&mut self.expects_continue) {
                self.output.push_static(CONTINUE);
                // What does not go out now goes out with the response. It is the first thing in an empty buffer, so that
                // happens to nobody who reads.
                if let Poll::Ready(Err(_)) = self.poll_write(cx) {
                    return Poll::Ready(Some(Err(BodyError::Gone)));
                }
            }
            match ready!(self.poll_read_body(cx)) {
                Ok(count) if count > 0 => {}
                _ => return Poll::Ready(Some(Err(BodyError::Gone))),
            }
        }
    }

    fn is_over(&self) -> bool {
        !self.reader.owes_body()
    }

    fn size_hint(&self) -> SizeHint {
        self.reader.body_length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn let_go(&mut self) {
        self.held = false;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
