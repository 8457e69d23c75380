//! Whose an answer is, where it must not be given to others: all that the policies of a rule know of who asks, and all that
//! they tell the backend of it.

use http::{HeaderMap, header::AUTHORIZATION};

use super::{Identity, Policy};
use crate::cache::KeyWriter;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is no credential, or nobody cares whose it is.
    #[default]
    Nobody,
    Who(Box<[u8]>),
    /// Somebody, and nobody can tell whom.
    Unclear,
}

impl Told {
    /// `headers`: as the policies leave them for the backend.
    pub(crate) fn of(policies: &[&Policy], identities: &[Identity], headers: &HeaderMap) -> Self {
        if identities.iter().all(|identity| identity.credential().is_none()) {
            return Told::Nobody;
        }
        if identities.iter().any(Identity::is_nameless) {
            return Told::Unclear;
        }
        let mut who = KeyWriter::default();
        for identity in identities {
            who.optional(identity.consumer().map(|consumer| consumer.as_bytes()));
            who.optional(identity.credential().map(str::as_bytes));
            if let Some(granted) = identity.granted() {
                granted.tell(&mut who);
            }
        }
        for name in policies.iter().flat_map(|policy| policy.told_headers()) {
            who.field(headers, name);
        }
        // It may be of somebody else than the credential that the policies have seen.
        who.secret(headers, &AUTHORIZATION);
        Told::Who(who.into_bytes())
    }
}
