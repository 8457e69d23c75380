//! Backends: their addresses, the choice among them, and the connections that each worker keeps to them.

mod body;
mod connect;
mod endpoint;
mod pool;

pub(crate) use body::{BodyState, RequestBody};
pub(crate) use connect::ConnectError;
pub(crate) use endpoint::{Endpoint, EndpointCell, Protocol, Service};
pub(crate) use pool::{Lease, Pool};
