//! Subjects of tokens: an exact one first, else the longest prefix.

use gatehouse_proto::config::v1::JwtSubject;
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
    /// The error is a sentence.
    pub(super) fn add(&mut self, jwt: &JwtSubject, holder: Holder) -> Result<(), String> {
        if jwt.issuer.is_empty() || jwt.subject.is_empty() {
            return Err("give an issuer and a subject".into());
        }
        let of = self.by_issuer.entry(jwt.issuer.as_str().into()).or_default();
        match jwt.subject.strip_suffix('*') {
            None => add(&mut of.exact, &jwt.subject, holder),
            Some(prefix) => {
                add(&mut of.prefixes, prefix, holder)?;
                if let Err(at) = of.lengths.binary_search_by(|length| prefix.len().cmp(length)) {
                    of.lengths.insert(at, prefix.len());
                }
                Ok(())
            }
        }
    }

    /// A token without a subject stands for nobody.
    pub(super) fn get(&self, issuer: &str, subject: &str) -> Option<&Holders> {
        if subject.is_empty() {
            return None;
        }
        let of = self.by_issuer.get(issuer)?;
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
