//! API keys, or passwords, by their hashes.
//!
//! A presented key is found by the beginning of its hash, and then the whole hashes are compared in constant time: how
//! long an answer takes tells nothing of a hash beyond what a guess of its beginning would.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hashbrown::HashTable;

use super::holders::Holder;
use crate::auth::{
    Identity, UnixMillis,
    consumer::{Hash, sha256},
};

/// Longer keys are refused unread.
const KEY_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Keys {
    holders: HashTable<Holder>,
    /// Nobody can make keys that lie close.
    hasher: ahash::RandomState,
}

impl Keys {
    /// The error is a sentence.
    pub(super) fn add(&mut self, hash: &Hash, holder: Holder) -> Result<(), String> {
        if let Some(known) = self.holders_of(hash).next() {
            known.may_share(&holder)?;
        }
        let hasher = &self.hasher;
        let place = |held: &Holder| {
            let known = held.credential().and_then(|credential| credential.hash());
            known.map_or(0, |hash| hasher.hash_one(beginning(hash)))
        };
        self.holders.insert_unique(hasher.hash_one(beginning(hash)), holder, place);
        Ok(())
    }

    pub(super) fn find(&self, key: &str, now: UnixMillis) -> Option<Identity> {
        if key.len() > KEY_BYTES {
            return None;
        }
        self.find_hash(&sha256(key), now)
    }

    pub(super) fn find_hash(&self, hash: &Hash, now: UnixMillis) -> Option<Identity> {
        self.holders_of(hash).find(|holder| holder.is_in_force(now))?.identity()
    }

    fn holders_of(&self, hash: &Hash) -> impl Iterator<Item = &Holder> {
        let near = self.holders.iter_hash(self.hasher.hash_one(beginning(hash)));
        near.filter(move |holder| {
            let known = holder.credential().and_then(|credential| credential.hash());
            known.is_some_and(|known| verify_slices_are_equal(known, hash).is_ok())
        })
    }
}

fn beginning(hash: &Hash) -> [u8; 8] {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&hash[..8]);
    beginning
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.holders.len()).finish_non_exhaustive()
    }
}
