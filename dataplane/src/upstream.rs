//! Backends: their addresses, the choice among them, the connections that each worker keeps to them, and how a request
//! travels on one.

mod active;
mod age;
mod balance;
mod body;
mod clock;
mod connect;
mod constraint;
mod endpoint;
mod http1;
mod lease;
mod multiplexed;
mod outlier;
mod patience;
mod pool;
mod response;
mod send;
mod service;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use active::{ActiveCheck, HttpProbe, Probe};
pub(crate) use balance::{Affinity, Asker, Key, Tried};
pub(crate) use body::{BodyState, Recording, RequestBody};
pub(crate) use connect::{ConnectError, tcp};
pub(crate) use endpoint::{Active, Endpoint, EndpointCell, Place, Standing};
pub(crate) use lease::Lease;
pub(crate) use outlier::Outcome;
pub(crate) use patience::{Patience, bounded};
pub(crate) use pool::{Pool, SWEEP};
pub(crate) use response::{BackendBody, BodyError, Switched};
pub(crate) use send::{Failed, copy, send};
pub(crate) use service::{Protocol, Service, Traffic};
pub(crate) use tls::{OwnCertificate, Tls};

/// A connection of its own, made as those of requests are.
pub(crate) async fn stream(endpoint: &Endpoint, service: &Service) -> Result<stream::Stream, ConnectError> {
    connect::stream(endpoint, service.tls.as_deref(), None).await
}
