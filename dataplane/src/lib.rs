//! Serves traffic by the state that a controller sends.
//!
//! ```text
//! discover -> compile -> Snapshot -> workers: accept, TLS, HTTP, route, authenticate, limit, forward, observe
//! ```
//!
//! It knows nothing of Kubernetes: what enters is `gatehouse.config.v1`, what leaves is HTTP.

mod filter;
mod http;
pub mod limit;
mod reason;
mod route;

pub use reason::Reason;
