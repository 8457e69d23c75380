//! Serves traffic by the state that a controller sends.
//!
//! ```text
//! discover -> compile -> Snapshot -> workers: accept, TLS, HTTP, route, authenticate, limit, forward, observe
//! ```
//!
//! It knows nothing of Kubernetes: what enters is `gatehouse.config.v1`, what leaves is HTTP.

mod admin;
mod auth;
mod compile;
mod dataplane;
pub mod discover;
mod filter;
mod http;
mod limit;
mod listen;
mod observe;
mod reason;
mod route;
mod snapshot;
mod upstream;
mod worker;

pub use dataplane::{Dataplane, Options, StartError};
pub use discover::Status;
pub use listen::{Bind, Listening, Ports};
pub use reason::Reason;
