//! HTTP/1.0 and 1.1 to clients (RFC 9112), over any stream.
//!
//! [`serve`] runs one connection in the task that calls it: no channel, no task a request. Requests are read strictly:
//! what two servers could read in two ways is refused, the connection closed, and nothing behind it read.
//!
//! - pure: `head`, `chunked` and `reader` make requests of bytes; `encode` and `date` make bytes of responses;
//! - with the stream: `wire` shares it between the loop (`connection`, `send`) and the `body` of the current request;
//! - `alarms` end a connection that waits.
//!
//! What is answered is not decided here but by the [`Service`].

mod alarms;
mod body;
mod chunked;
mod connection;
mod date;
mod encode;
mod head;
mod reader;
mod send;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use body::{Body, BodyError};
pub(crate) use connection::{LAST_CHANCE, Service, Settings, Transport, serve};
pub(crate) use head::Limits;
pub(crate) use wire::read_head;
