//! Reads what the configuration refers to outside of the cluster. Results enter `Resources` as values.

mod jwks_state;

pub use jwks_state::JwksState;
