//! The contract between controller and dataplane: `proto/gatehouse/config/v1/config.proto` and what is generated from
//! it. Nothing else lives here but a table that both sides need, how secrets are kept out of debug output, how enums are
//! shown to people, and a protocol of others that a dataplane speaks: Envoy's external authorization.
//!
//! `cargo test -p gatehouse-proto` fails when the generated code is stale; with `UPDATE=1` it writes it anew.

/// `gatehouse.config.v1`.
pub mod config {
    // Generated: its style is its generator's.
    #[allow(
        missing_debug_implementations,
        unreachable_pub,
        clippy::unwrap_used,
        clippy::needless_pass_by_value,
        clippy::uninlined_format_args,
        clippy::semicolon_if_nothing_returned,
        clippy::large_enum_variant
    )]
    pub mod v1 {
        include!("gen/gatehouse.config.v1.rs");
    }
}

/// `envoy.service.auth.v3`.
pub mod ext_authz {
    // Generated: its style is its generator's.
    #[allow(
        missing_debug_implementations,
        unreachable_pub,
        clippy::unwrap_used,
        clippy::needless_pass_by_value,
        clippy::uninlined_format_args,
        clippy::semicolon_if_nothing_returned
    )]
    pub mod v3 {
        include!("gen/envoy.service.auth.v3.rs");
    }
}

pub mod durations;
mod redact;
mod show;
