//! HTTP: from bytes to a request, through the pipeline, and back.

pub(crate) mod aggregate;
pub(crate) mod body;
pub(crate) mod cached;
pub(crate) mod client_body;
mod compressed;
pub(crate) mod connection;
pub(crate) mod exchange;
mod external;
mod failover;
mod fault;
pub(crate) mod forward;
pub(crate) mod grpc;
pub(crate) mod headers;
pub(crate) mod http1;
mod mirror;
mod new_keys;
pub(crate) mod pipeline;
pub(crate) mod policies;
pub(crate) mod respond;
mod retry;
pub(crate) mod target;
pub(crate) mod tunnel;
mod websocket;
