//! Whole exchanges: over a stream that is cut at will (`cuts`), and over sockets (`sockets`).

mod cuts;
mod sockets;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answered, BoxError, Connection, Error, Outcome, Scratch, exchange};

/// What a client gets of a response, and what becomes of the connection.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    status: u16,
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// The body ended as it should.
    clean: bool,
    /// The connection may be used again.
    free: bool,
}

fn request(method: Method) -> Request<()> {
    Request::builder().method(method).uri("/").header("host", "h").body(()).unwrap()
}

/// One exchange to its end. Gives the connection back if it is free.
async fn run<S, B>(
    connection: Connection<S>,
    method: Method,
    body: B,
) -> Result<(Got, Option<Connection<S>>), (Error, bool)>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let sent = exchange(connection, &request(method), body, &Scratch::default()).await;
    let Answered { response, over } = sent.map_err(|unanswered| (unanswered.error, unanswered.silent))?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let (mut data, mut trailers, mut clean) = (BytesMut::new(), None, true);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(piece)) => data.extend_from_slice(&piece),
            Ok(Err(other)) => trailers = other.into_trailers().ok(),
            Err(_) => {
                clean = false;
                break;
            }
        }
    }
    assert_eq!(body.is_end_stream(), clean, "a broken body never looks whole");
    let outcome = over.or_else(|| body.take_outcome());
    assert_eq!(outcome.is_some(), clean);
    let connection = match outcome {
        Some(Outcome::Free(connection)) => Some(connection),
        Some(Outcome::Sending(_) | Outcome::Spent) | None => None,
    };
    Ok((Got { status, data: data.freeze(), trailers, clean, free: connection.is_some() }, connection))
}
