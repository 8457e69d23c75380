//! API keys. Only their SHA-256 is known here, so nothing that is kept could be presented as a key.
//!
//! A presented key is found by the beginning of its hash, and then the whole hashes are compared in constant time: how
//! long an answer takes tells nothing of a hash beyond what a guess of its beginning would.

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use hashbrown::{HashMap, hash_map::Entry};

use super::holders::{Holder, Holders};

/// Longer keys are refused unread.
const KEY_BYTES: usize = 512;

type Hash = [u8; 32];
type Beginning = [u8; 8];

#[derive(Default)]
pub(super) struct Keys {
    by_beginning: HashMap<Beginning, Vec<(Hash, Holders)>, ahash::RandomState>,
}

impl Keys {
    /// The error is a sentence.
    pub(super) fn add(&mut self, hash: &[u8], holder: Holder) -> Result<(), String> {
        let hash = Hash::try_from(hash).map_err(|_| "the key's hash is not SHA-256".to_owned())?;
        if hash == sha256("") {
            return Err("the key is empty".into());
        }
        let known = match self.by_beginning.entry(beginning(&hash)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Vec::with_capacity(1)),
        };
        match known.iter_mut().find(|(other, _)| *other == hash) {
            Some((_, holders)) => holders.add(holder),
            None => {
                known.push((hash, Holders::of(holder)));
                Ok(())
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Holders> {
        if key.len() > KEY_BYTES {
            return None;
        }
        let hash = sha256(key);
        let candidates = self.by_beginning.get(&beginning(&hash))?;
        let found = candidates.iter().find(|(known, _)| verify_slices_are_equal(known, &hash).is_ok());
        found.map(|(_, holders)| holders)
    }
}

fn sha256(key: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    hash
}

fn beginning(hash: &Hash) -> Beginning {
    let mut beginning = Beginning::default();
    beginning.copy_from_slice(&hash[..size_of::<Beginning>()]);
    beginning
}

/// Without the hashes: a short key could be guessed from one.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.by_beginning.len()).finish_non_exhaustive()
    }
}
