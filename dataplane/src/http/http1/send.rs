//! Sends one response: head and what there is of the body in one write, the rest as it comes.
//!
//! No more is asked of the body while what it gave has not gone out. A body that breaks off, or that is not as long as was
//! said, is never ended cleanly.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};

use super::{
    connection::Transport,
    encode::{self, Asked, Length},
    wire::Wire,
};
use crate::message::{self, Output};

/// How it ended.
pub(super) enum Sending {
    /// All has gone out.
    Done { keep_alive: bool },
    /// The response broke off, or the client has gone.
    Broken,
}

/// The body on its way.
struct Outgoing<B> {
    body: B,
    length: Length,
    ended: bool,
}

/// Room that a head seldom needs more of; and so much for each field.
const HEAD: usize = 160;
const FIELD: usize = 32;
/// Room is made for a body of at most this size.
const BODY: u64 = 4 << 10;

/// Returns once all has gone out or it has broken. An `Err` is the stream's.
pub(super) async fn send<S, B>(
    wire: &RefCell<Wire<S>>,
    response: Response<B>,
    asked: Asked,
) -> io::Result<Sending>
where
    S: Transport,
    B: Body<Data = Bytes> + Unpin,
{
    let (mut parts, body) = response.into_parts();
    if parts.status.is_informational() {
        // Only the connection itself tells a client of what is not final, or of an upgrade.
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let size = body.size_hint().exact();
    let (length, keep_alive) = {
        let mut wire = wire.borrow_mut();
        wire.begin_response();
        let out = wire.output.flat();
        let body = usize::try_from(size.unwrap_or(0).min(BODY)).unwrap_or(0);
        out.reserve(HEAD + FIELD * parts.headers.len() + body);
        encode::head(out, asked, &parts, size, SystemTime::now)
    };
    drop(parts);
    let ended = length == Length::None || body.is_end_stream();
    let mut outgoing = Outgoing { body, length, ended: false };
    if ended && !outgoing.end(&mut wire.borrow_mut().output) {
        return Ok(Sending::Broken);
    }
    let whole = poll_fn(|cx| outgoing.poll_send(wire, cx)).await?;
    Ok(if whole { Sending::Done { keep_alive } } else { Sending::Broken })
}

impl<B: Body<Data = Bytes> + Unpin> Outgoing<B> {
    /// `false` if it broke off.
    fn poll_send<S>(&mut self, wire: &RefCell<Wire<S>>, cx: &mut Context<'_>) -> Poll<io::Result<bool>>
    where
        S: Transport,
    {
        loop {
            let mut waits = false;
            while !self.ended && !wire.borrow().output.is_full() {
                // The body of the response may read that of the request: the wire must be free meanwhile.
                let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                    waits = true;
                    break;
                };
                let good = match frame {
                    Some(Ok(frame)) => self.take(frame, &mut wire.borrow_mut().output),
                    Some(Err(_)) => false,
                    None => self.end(&mut wire.borrow_mut().output),
                };
                if !good {
                    return self.poll_break(wire, cx);
                }
            }
            let mut wire = wire.borrow_mut();
            if wire.poll_write(cx)?.is_ready() {
                if self.ended {
                    return Poll::Ready(Ok(true));
                }
                if !waits {
                    continue;
                }
            }
            ready!(wire.poll_gone(cx));
            return Poll::Ready(Ok(false));
        }
    }

    /// What came before the break goes out if it can at once. Where the end of the connection would be that of the body,
    /// it must not look like one.
    fn poll_break<S>(&mut self, wire: &RefCell<Wire<S>>, cx: &mut Context<'_>) -> Poll<io::Result<bool>>
    where
        S: Transport,
    {
        let mut wire = wire.borrow_mut();
        let _ = wire.poll_write(cx);
        if self.length == Length::UntilClose {
            wire.stream.will_break();
        }
        Poll::Ready(Ok(false))
    }

    /// `false` if it is more than was said.
    fn take(&mut self, frame: Frame<Bytes>, output: &mut Output) -> bool {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return self.end_with(output, Some(&trailers));
            }
        };
        if !data.is_empty() {
            match &mut self.length {
                Length::None => {}
                Length::Known(left) => {
                    let Some(rest) = left.checked_sub(data.len() as u64) else { return false };
                    *left = rest;
                    output.push(data);
                }
                Length::Chunked(_) => {
                    message::chunk_size(output.flat(), data.len());
                    output.push(data);
                    if self.body.is_end_stream() {
                        output.push_static(message::CHUNK_END_AND_LAST);
                        self.ended = true;
                        return true;
                    }
                    output.push_static(message::CHUNK_END);
                }
                Length::UntilClose => output.push(data),
            }
        }
        if self.body.is_end_stream() { self.end(output) } else { true }
    }

    /// `false` if it is less than was said.
    fn end(&mut self, output: &mut Output) -> bool {
        self.end_with(output, None)
    }

    fn end_with(&mut self, output: &mut Output, trailers: Option<&HeaderMap>) -> bool {
        self.ended = true;
        match (&self.length, trailers) {
            (Length::Known(left), _) => return *left == 0,
            (Length::Chunked(announced), Some(trailers)) => {
                encode::trailers(output.flat(), announced, trailers);
            }
            (Length::Chunked(_), None) => output.push_static(message::LAST_CHUNK),
            (Length::None | Length::UntilClose, _) => {}
        }
        true
    }
}
