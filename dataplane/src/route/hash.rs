//! Seeds of the hashes in tables.

use ahash::RandomState;

/// Fresh, so that nobody can make names or paths that meet. With the feature `bench` always the same, so that the same
/// tables take the same instructions.
pub(super) fn seeds() -> RandomState {
    if cfg!(feature = "bench") { RandomState::with_seeds(1, 2, 3, 4) } else { RandomState::new() }
}
