//! Sends a request and reads the head of its response.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Body, BoxError, Connection, Error, Link, Outcome, Scratch,
    body::Decoder,
    chunked::{Chunked, Piece},
    framing::{End, framing},
    head::{HeadError, HeadReader},
    outgoing::Outgoing,
};

/// A response whose head is there.
#[derive(Debug)]
pub(crate) struct Answered<S, B> {
    pub(crate) response: Response<Body<S, B>>,
    /// The body came whole with the head: this is left of the connection.
    pub(crate) over: Option<Outcome<S, B>>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) error: Error,
    /// Not one byte of a response came, so the backend may never have seen the request.
    pub(crate) silent: bool,
}

/// The request stays with the caller, its body but `body` aside. Dropping the future closes the connection.
pub(crate) async fn exchange<S, B, T>(
    connection: Connection<S>,
    request: &Request<T>,
    body: B,
    scratch: &Scratch,
) -> Result<Answered<S, B>, Unanswered>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let outgoing = Some(Outgoing::new(request, body, scratch));
    let mut link = Link { connection, outgoing, keep: true };
    let mut reader = HeadReader::default();
    let mut silent = true;
    let answered = match poll_fn(|cx| poll_head(cx, &mut link, &mut reader, &mut silent, scratch)).await {
        Ok(head) => answered(link, request, head),
        Err(error) => Err(error),
    };
    answered.map_err(|error| Unanswered { error, silent })
}

fn poll_head<S, B>(
    cx: &mut Context<'_>,
    link: &mut Link<S, B>,
    reader: &mut HeadReader,
    silent: &mut bool,
    scratch: &Scratch,
) -> Poll<Result<Response<()>, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    link.poll_send(cx, Some(scratch))?;
    loop {
        // Pieces stay small until there is a body.
        if ready!(link.connection.poll_fill(cx, 1))? == 0 {
            return Poll::Ready(Err(Error::Closed));
        }
        *silent = false;
        if let Some(head) = reader.next(&mut link.connection.buffer)? {
            return Poll::Ready(Ok(head));
        }
    }
}

/// Joins the head with its body, of which as much is taken as has come.
fn answered<S, B, T>(
    mut link: Link<S, B>,
    request: &Request<T>,
    mut head: Response<()>,
) -> Result<Answered<S, B>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let framing = framing(request.method(), &mut head)?;
    link.keep &= framing.keep;
    let buffer = &mut link.connection.buffer;
    let decoder = match framing.end {
        End::Length(length) => match take_whole(buffer, length) {
            Some(whole) => return Ok(over(link, head, whole)),
            None => Decoder::Length(length),
        },
        End::Chunked => {
            let mut chunked = Chunked::default();
            match chunked.next(buffer)? {
                Some(Piece::Data(whole)) if chunked.is_over() => return Ok(over(link, head, whole)),
                None if chunked.is_over() => return Ok(over(link, head, Bytes::new())),
                first => Decoder::Chunked(chunked, first),
            }
        }
        End::Close => Decoder::Close { over: false },
        End::Switch if link.outgoing.is_some() => return Err(HeadError::EarlySwitch.into()),
        End::Switch => {
            let response = head.map(|()| Body::switched(link.connection));
            return Ok(Answered { response, over: None });
        }
    };
    Ok(Answered { response: head.map(|()| Body::reading(link, decoder)), over: None })
}

fn take_whole(buffer: &mut BytesMut, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok().filter(|length| *length <= buffer.len())?;
    Some(buffer.split_to(length).freeze())
}

fn over<S, B>(link: Link<S, B>, head: Response<()>, whole: Bytes) -> Answered<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    Answered { response: head.map(|()| Body::whole(whole)), over: Some(link.end()) }
}
