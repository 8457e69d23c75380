//! Tokens that a worker has verified before: clients send the same one with every request, and a signature costs more
//! than the rest of authentication.
//!
//! Only valid tokens are kept, so invented ones can't push them out. An entry counts for the very verifier that made it:
//! when the policy changes, be it by a key that is withdrawn, the old entries count no more. Times are checked at each use.

use std::{fmt, mem, sync::Arc};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hashbrown::HashMap;

use super::{
    UnixMillis,
    jwt::{Token, TokenError, Verifier},
};

/// Per half. A token of 1 KiB takes some 3 KiB here.
const HALF: usize = 2048;

/// In two halves: when the fresh one is full, the other, whose tokens were not used since, is dropped.
pub(crate) struct TokenCache {
    fresh: HashMap<u64, Entry>,
    stale: HashMap<u64, Entry>,
    /// Keyed at random, so that nobody can make tokens that meet.
    hasher: ahash::RandomState,
    half: usize,
}

struct Entry {
    verifier: Arc<Verifier>,
    /// Two tokens may have the same hash, so the whole token counts.
    text: Box<str>,
    token: Arc<Token>,
}

impl Default for TokenCache {
    fn default() -> Self {
        TokenCache::with_half(HALF)
    }
}

impl TokenCache {
    fn with_half(half: usize) -> Self {
        TokenCache {
            fresh: HashMap::default(),
            stale: HashMap::default(),
            hasher: ahash::RandomState::new(),
            half,
        }
    }

    /// As [`Verifier::verify`] and [`Verifier::check_times`], but each signature only once.
    pub(super) fn verify(
        &mut self,
        verifier: &Arc<Verifier>,
        text: &str,
        now: UnixMillis,
    ) -> Result<Arc<Token>, TokenError> {
        let hash = self.hasher.hash_one((Arc::as_ptr(verifier).addr(), text));
        if let Some(token) = self.known(hash, verifier, text) {
            verifier.check_times(&token, now)?;
            return Ok(token);
        }
        let token = Arc::new(verifier.verify(text)?);
        verifier.check_times(&token, now)?;
        self.keep(
            hash,
            Entry { verifier: Arc::clone(verifier), text: text.into(), token: Arc::clone(&token) },
        );
        Ok(token)
    }

    fn known(&mut self, hash: u64, verifier: &Arc<Verifier>, text: &str) -> Option<Arc<Token>> {
        if let Some(entry) = self.fresh.get(&hash) {
            return entry.is(verifier, text).then(|| Arc::clone(&entry.token));
        }
        let entry = self.stale.remove(&hash).filter(|entry| entry.is(verifier, text))?;
        let token = Arc::clone(&entry.token);
        self.keep(hash, entry);
        Some(token)
    }

    fn keep(&mut self, hash: u64, entry: Entry) {
        if self.fresh.len() >= self.half {
            self.stale = mem::take(&mut self.fresh);
        }
        self.fresh.insert(hash, entry);
    }
}

impl Entry {
    /// An entry keeps its verifier alive, so no other can get its address.
    fn is(&self, verifier: &Arc<Verifier>, text: &str) -> bool {
        Arc::ptr_eq(&self.verifier, verifier)
            && verify_slices_are_equal(self.text.as_bytes(), text.as_bytes()).is_ok()
    }
}

/// Without the tokens.
impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("fresh", &self.fresh.len())
            .field("stale", &self.stale.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
