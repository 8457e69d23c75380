//! Seeds of hashes.

use std::hash::BuildHasher;

/// Fresh for each map, so that nobody can make names or paths that meet. With the feature `bench` always the same, so that
/// the same work takes the same instructions.
#[derive(Debug, Clone)]
pub(crate) struct Seeds(ahash::RandomState);

impl Default for Seeds {
    fn default() -> Self {
        Seeds(if cfg!(feature = "bench") {
            ahash::RandomState::with_seeds(1, 2, 3, 4)
        } else {
            ahash::RandomState::new()
        })
    }
}

impl BuildHasher for Seeds {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> ahash::AHasher {
        self.0.build_hasher()
    }
}
