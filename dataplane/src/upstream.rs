//! Backends: their addresses, the choice among them, the connections that each worker keeps to them, and how a request
//! travels on one.

mod body;
mod connect;
mod endpoint;
mod http1;
mod lease;
mod multiplexed;
mod pool;
mod response;
mod send;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use body::{BodyState, Recording, RequestBody};
pub(crate) use connect::tcp;
pub(crate) use endpoint::{Active, Endpoint, EndpointCell, Protocol, Service};
pub(crate) use lease::Lease;
pub(crate) use pool::{Pool, SWEEP};
pub(crate) use response::{BackendBody, BodyError, Switched};
pub(crate) use send::{Failed, copy, send};
pub(crate) use tls::{OwnCertificate, Tls};
