//! The body of a response, read from its connection as it is asked for.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    BoxError, Connection, Error, Link, Outcome,
    chunked::{ChunkError, Chunked, Piece},
};

/// Sends on what is left of the request while it is read.
#[derive(Debug)]
pub(crate) enum Body<S, B> {
    /// All of it has been read; empty when it has been given out.
    Whole(Bytes),
    Reading(Box<Reading<S, B>>),
    /// Has been read to its end. What is left of the connection is here until it is taken.
    Ended(Option<Outcome<S, B>>),
    /// It broke off, and must never look as if it had ended.
    Broken,
    /// There is none: the connection now speaks another protocol.
    Switched(Connection<S>),
}

#[derive(Debug)]
pub(crate) struct Reading<S, B> {
    link: Link<S, B>,
    decoder: Decoder,
}

#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are still to be given out.
    Length(u64),
    /// With the piece that was taken already.
    Chunked(Chunked, Option<Piece>),
    Close {
        over: bool,
    },
}

impl Decoder {
    /// The next piece in the buffer, if there is any.
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, ChunkError> {
        match self {
            Decoder::Chunked(chunked, first) => match first.take() {
                Some(first) => Ok(Some(first)),
                None => chunked.next(buffer),
            },
            _ if buffer.is_empty() => Ok(None),
            Decoder::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= length as u64;
                Ok((length > 0).then(|| Piece::Data(buffer.split_to(length).freeze())))
            }
            Decoder::Close { .. } => Ok(Some(Piece::Data(buffer.split().freeze()))),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunked, first) => first.is_none() && chunked.is_over(),
            Decoder::Close { over } => *over,
        }
    }

    /// How many bytes may come, and one more: a read that does not fill its space tells the runtime that there is no
    /// more to read, and saves the call that would find it out.
    fn expected(&self) -> u64 {
        match self {
            Decoder::Length(left) => left.saturating_add(1),
            Decoder::Chunked(chunked, _) => chunked.expected(),
            Decoder::Close { .. } => u64::MAX,
        }
    }

    /// The stream has ended.
    fn end(&mut self) -> Result<(), Error> {
        match self {
            Decoder::Close { over } => {
                *over = true;
                Ok(())
            }
            Decoder::Length(_) | Decoder::Chunked(..) => Err(Error::Closed),
        }
    }
}

impl<S, B> Body<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    pub(super) fn whole(bytes: Bytes) -> Self {
        Body::Whole(bytes)
    }

    pub(super) fn reading(link: Link<S, B>, decoder: Decoder) -> Self {
        Body::Reading(Box::new(Reading { link, decoder }))
    }

    /// It ends when the connection does: nobody can tell whether it is whole (RFC 9112, 8).
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self, Body::Reading(reading) if matches!(reading.decoder, Decoder::Close { .. }))
    }

    pub(super) fn switched(connection: Connection<S>) -> Self {
        Body::Switched(connection)
    }

    /// What is left of the connection, once, as soon as the body has been read to its end.
    pub(crate) fn take_outcome(&mut self) -> Option<Outcome<S, B>> {
        match self {
            Body::Ended(outcome) => outcome.take(),
            _ => None,
        }
    }

    /// After 101: the stream, and what was read from it behind the head.
    pub(crate) fn into_switched(self) -> Option<(S, Bytes)> {
        match self {
            Body::Switched(connection) => Some(connection.into_parts()),
            _ => None,
        }
    }

    fn end_if_over(&mut self) {
        if matches!(self, Body::Reading(reading) if reading.decoder.is_over())
            && let Body::Reading(reading) = std::mem::replace(self, Body::Broken)
        {
            *self = Body::Ended(Some(reading.link.end()));
        }
    }
}

impl<S, B> Reading<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.link.poll_send(cx, None)?;
        loop {
            if let Some(piece) = self.decoder.next(&mut self.link.connection.buffer)? {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.decoder.is_over() {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.link.connection.poll_fill(cx, self.decoder.expected()))? == 0 {
                self.decoder.end()?;
            }
        }
    }
}

impl<S, B> HttpBody for Body<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let reading = match this {
            Body::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Body::Reading(reading) => reading,
            Body::Ended(_) | Body::Switched(_) => return Poll::Ready(None),
            Body::Broken => return Poll::Ready(Some(Err(Error::Closed))),
        };
        let piece = ready!(reading.poll_piece(cx));
        if piece.is_err() {
            *this = Body::Broken;
        }
        this.end_if_over();
        Poll::Ready(piece.transpose().map(|piece| {
            piece.map(|piece| match piece {
                Piece::Data(data) => Frame::data(data),
                Piece::Trailers(trailers) => Frame::trailers(*trailers),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Ended(_) | Body::Switched(_) => true,
            Body::Reading(_) | Body::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Reading(reading) => match reading.decoder {
                Decoder::Length(left) => SizeHint::with_exact(left),
                Decoder::Chunked(..) | Decoder::Close { .. } => SizeHint::default(),
            },
            Body::Ended(_) | Body::Switched(_) => SizeHint::with_exact(0),
            Body::Broken => SizeHint::default(),
        }
    }
}
