//! Who may speak on the configuration channel, and how both sides know: TLS by an authority of our own, bound
//! ServiceAccount tokens checked by the API server.
//!
//! ```text
//! Secret -> Keeper -> Authority -> certificates        token -> TokenReview -> Identity -> serve
//! ```
//!
//! A dataplane gets the state of its own Gateway and no other. It trusts the authority by a ConfigMap beside it.

mod authority;
mod identity;
mod keeper;
mod server;
mod siblings;

pub use authority::{Authority, AuthorityError};
pub use identity::{Identities, Identity, admit};
pub use keeper::Keeper;
pub use server::{ServerError, serve};
pub use siblings::{ServiceAccountKeys, siblings};
