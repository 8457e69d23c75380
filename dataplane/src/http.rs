//! HTTP: from bytes to a request, through the pipeline, and back.

pub(crate) mod body;
pub(crate) mod client_body;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod grpc;
pub(crate) mod headers;
pub(crate) mod http1;
mod mirror;
pub(crate) mod pipeline;
mod policies;
mod respond;
mod retry;
pub(crate) mod target;
pub(crate) mod tunnel;
mod websocket;
