//! What end-to-end tests are made of: the real binary on free ports, backends that record what they saw, clients that
//! send exact bytes, a real Redis, certificates and tokens. `tests/README.md` says which rung a test belongs to.

// The whole crate is test code: what fails in it should fail loudly.
#![allow(clippy::unwrap_used, clippy::panic, missing_debug_implementations)]

pub mod answer;
pub mod apiserver;
pub mod backend;
pub mod certs;
pub mod channel;
pub mod client;
pub mod dns;
pub mod gateway;
pub mod nginx;
pub mod pretended;
pub mod process;
pub mod redis;
pub mod tokens;

use std::time::{Duration, Instant};

/// How long a condition may take: generous, as machines are noisy; a passing test never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` gives something.
///
/// # Panics
/// If it has not within [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The one crypto provider. Every test that speaks TLS calls it.
pub fn install_crypto() {
    // A second call finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
