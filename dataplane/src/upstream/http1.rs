//! HTTP/1.1 to backends (RFC 9112), driven by whoever waits for the response.
//!
//! There is no task and no channel: [`exchange()`] writes the request and reads the response's head on one [`Connection`],
//! and the [`Body`] that it gives reads the rest. Both directions are polled together, since a response may come before
//! the request has gone out. What can be pure is: `encode`, `head`, `framing` and `chunked` see bytes, never a socket.
//!
//! Backends are trusted less than the gateway itself: a response that could be read in two ways is an error, and a
//! connection is used again only when every byte of both messages is accounted for.

mod body;
mod chunked;
mod connection;
mod encode;
mod exchange;
mod framing;
mod head;
mod link;
mod outgoing;
#[cfg(test)]
mod tests;

use std::io;

pub(crate) use body::Body;
pub(crate) use connection::Connection;
pub(crate) use exchange::{Answered, exchange};
pub(crate) use link::{Link, Outcome};
pub(crate) use outgoing::Scratch;

/// Why an exchange broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the backend closed the connection in the middle of the exchange")]
    Closed,
    #[error("connection to the backend: {0}")]
    Io(#[from] io::Error),
    #[error("response head: {0}")]
    Head(#[from] head::HeadError),
    #[error("response body: {0}")]
    Chunk(#[from] chunked::ChunkError),
    /// The side that the request comes from.
    #[error("the request's body broke off")]
    Request(#[source] BoxError),
    #[error("the request's body is not as long as was said")]
    RequestLength,
}

/// What the body of a request fails with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
