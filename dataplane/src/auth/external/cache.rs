//! Answers that admitted, for as long as their policy says: a worker need not ask the same again.
//!
//! Only answers that admit are kept, so that whoever is let in is let in at once. The key is a hash of all that was told, by
//! a secret of this worker: nobody can make questions that meet.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    mem,
    sync::Arc,
    time::Instant,
};

use hashbrown::HashMap;
use http::{HeaderMap, HeaderValue};

use super::{Asker, External, Granted};
use crate::http::headers::X_REQUEST_ID;

/// Per half.
const HALF: usize = 1024;

/// In two halves, as tokens are.
pub(crate) struct AnswerCache {
    fresh: HashMap<Key, Kept>,
    stale: HashMap<Key, Kept>,
    hashers: [ahash::RandomState; 2],
}

/// 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64, u64);

struct Kept {
    /// Kept alive, so that no other gets its address.
    external: Arc<External>,
    until: Instant,
    granted: Arc<Granted>,
}

impl Default for AnswerCache {
    fn default() -> Self {
        AnswerCache {
            fresh: HashMap::default(),
            stale: HashMap::default(),
            hashers: [ahash::RandomState::new(), ahash::RandomState::new()],
        }
    }
}

impl AnswerCache {
    /// Of a question to this very method of this very policy: a change of either begins anew.
    pub(crate) fn key(&self, external: &Arc<External>, question: &HeaderMap, asker: &Asker<'_>) -> Key {
        let [first, second] = &self.hashers;
        let hash = |state: &ahash::RandomState| {
            let mut hasher = state.build_hasher();
            Arc::as_ptr(external).addr().hash(&mut hasher);
            // By HTTP nothing is told of it.
            if external.is_grpc() {
                asker.hash(&mut hasher);
            }
            for (name, value) in question.iter().filter(|(name, _)| *name != X_REQUEST_ID) {
                (name.as_str(), HeaderValue::as_bytes(value)).hash(&mut hasher);
            }
            hasher.finish()
        };
        Key(hash(first), hash(second))
    }

    pub(crate) fn get(&self, external: &Arc<External>, key: Key, now: Instant) -> Option<Arc<Granted>> {
        let kept = self.fresh.get(&key).or_else(|| self.stale.get(&key))?;
        (now < kept.until && Arc::ptr_eq(&kept.external, external)).then(|| Arc::clone(&kept.granted))
    }

    pub(crate) fn keep(&mut self, external: &Arc<External>, key: Key, granted: Arc<Granted>, until: Instant) {
        if self.fresh.len() >= HALF {
            self.stale = mem::take(&mut self.fresh);
        }
        self.fresh.insert(key, Kept { external: Arc::clone(external), until, granted });
    }
}

/// Without what was answered.
impl fmt::Debug for AnswerCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerCache").field("fresh", &self.fresh.len()).finish_non_exhaustive()
    }
}
