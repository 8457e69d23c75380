//! Subjects of tokens: an exact one first, else the longest prefix.

use hashbrown::{HashMap, hash_map::Entry};

use super::holders::{Holder, Holders};

#[derive(Debug, Default)]
pub(super) struct Subjects {
    by_issuer: HashMap<Box<str>, OfIssuer, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct OfIssuer {
    exact: Index,
    prefixes: Index,
    /// Of the prefixes, the longest first: looking up costs as many steps as there are lengths, however many prefixes
    /// there are.
    lengths: Vec<usize>,
}

type Index = HashMap<Box<str>, Holders, ahash::RandomState>;

impl Subjects {
    /// Neither is empty. The error is a sentence.
    pub(super) fn add(&mut self, issuer: &str, subject: &str, holder: Holder) -> Result<(), String> {
        let of = self.by_issuer.entry(issuer.into()).or_default();
        match subject.strip_suffix('*') {
            None => add(&mut of.exact, subject, holder),
            Some(prefix) => {
                add(&mut of.prefixes, prefix, holder)?;
                if let Err(at) = of.lengths.binary_search_by(|length| prefix.len().cmp(length)) {
                    of.lengths.insert(at, prefix.len());
                }
                Ok(())
            }
        }
    }

    /// A token without a subject is nobody's but whose who is meant by all tokens of the issuer.
    pub(super) fn get(&self, issuer: &str, subject: &str) -> Option<&Holders> {
        let of = self.by_issuer.get(issuer)?;
        if subject.is_empty() {
            return of.prefixes.get("");
        }
        let of_prefix = |length: &usize| subject.get(..*length).and_then(|prefix| of.prefixes.get(prefix));
        of.exact.get(subject).or_else(|| of.lengths.iter().find_map(of_prefix))
    }
}

fn add(index: &mut Index, subject: &str, holder: Holder) -> Result<(), String> {
    match index.entry(subject.into()) {
        Entry::Occupied(known) => known.into_mut().add(holder),
        Entry::Vacant(place) => {
            place.insert(Holders::of(holder));
            Ok(())
        }
    }
}
