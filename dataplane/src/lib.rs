//! Serves traffic by the state that a controller sends.
//!
//! ```text
//! discover -> compile -> Snapshot -> workers: accept, TLS, HTTP, route, authenticate, limit, forward, observe
//! ```
//!
//! It knows nothing of Kubernetes: what enters is `gatehouse.config.v1`, what leaves is HTTP.

mod admin;
mod auth;
mod cache;
mod compile;
mod dataplane;
pub mod discover;
mod filter;
mod health;
mod http;
pub mod inspect;
mod interned;
mod kept;
mod limit;
pub mod limiter;
mod listen;
#[cfg(feature = "bench")]
pub mod measured;
mod message;
mod names;
mod observe;
mod reason;
mod retire;
mod rollout;
mod route;
mod seeds;
mod siblings;
mod signals;
mod snapshot;
mod state_file;
mod stream;
#[cfg(test)]
mod test_authority;
mod upstream;
mod worker;

pub use dataplane::{Dataplane, Options, Peers, StartError};
pub use discover::{Credentials, InvalidTarget, Status, Target};
pub use listen::{Bind, ListenPort, Listening, Ports};
pub use reason::Reason;
pub use siblings::Siblings;
pub use signals::StopSignals;
