//! Dataplanes of one Gateway give each other their state, so that a new one can start while the controller is away.
//!
//! Neither side asks anybody: the certificate and the keys that verify callers came with the state, while the controller
//! was there. `docs/decisions/0005-state-from-siblings.md` says why.

mod fetch;
mod identity;
mod serve;

pub use fetch::Siblings;
pub(crate) use {identity::Identity, serve::Host};

/// Of one message. A part is far below, unless one resource alone is larger.
const MESSAGE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests;
