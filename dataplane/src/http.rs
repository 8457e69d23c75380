//! HTTP: from bytes to a request, through the pipeline, and back.

mod body;
pub(crate) mod connection;
mod exchange;
mod forward;
pub(crate) mod guard;
pub(crate) mod headers;
pub(crate) mod pipeline;
mod policies;
mod respond;
pub(crate) mod target;
mod tunnel;
mod websocket;
