//! From a configured port to a connection that speaks HTTP, or a stream.

mod accept;
mod answers;
mod bind;
mod clients;
mod hello;
mod rewind;
mod tls;

pub(crate) use accept::accept;
pub(crate) use bind::Binder;
pub use bind::{Bind, ListenPort, Listening, Ports};
pub(crate) use clients::Clients;
pub(crate) use tls::TlsPorts;
