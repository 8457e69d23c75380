//! Names of certificates.

use std::sync::Arc;

use hashbrown::{HashMap, hash_map::Entry};

use super::{
    CertificateName, ClientCertificate, Consumer,
    holders::{Holder, Holders},
};

#[derive(Debug, Default)]
pub(super) struct Certificates(HashMap<CertificateName, Holders, ahash::RandomState>);

/// The names of a certificate belong to more than one consumer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth) struct Ambiguous;

impl Certificates {
    /// The error is a sentence.
    pub(super) fn add(&mut self, name: &CertificateName, holder: Holder) -> Result<(), String> {
        match self.0.entry(name.clone()) {
            Entry::Occupied(known) => known.into_mut().add(holder),
            Entry::Vacant(place) => {
                place.insert(Holders::of(holder));
                Ok(())
            }
        }
    }

    /// Whom a certificate stands for, if for anybody.
    pub(super) fn get(&self, certificate: &ClientCertificate) -> Result<Option<&Arc<Consumer>>, Ambiguous> {
        let mut found: Option<&Arc<Consumer>> = None;
        for holders in certificate.names.iter().filter_map(|name| self.0.get(name)) {
            let consumer = holders.consumer();
            if found.is_some_and(|other| !Arc::ptr_eq(other, consumer)) {
                return Err(Ambiguous);
            }
            found = Some(consumer);
        }
        Ok(found)
    }
}
