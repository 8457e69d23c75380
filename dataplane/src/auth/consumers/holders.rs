//! Who holds a credential.

use std::sync::Arc;

use crate::auth::{
    Identity, UnixMillis,
    consumer::{Consumer, Credential},
};

/// One credential of a consumer.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) consumer: Arc<Consumer>,
    /// Its number among the consumer's.
    pub(super) at: u32,
}

/// The same credential may be listed more than once, with other times; all belong to one consumer.
#[derive(Debug)]
pub(super) struct Holders {
    first: Holder,
    more: Vec<Holder>,
}

impl Holder {
    pub(super) fn credential(&self) -> Option<&Credential> {
        self.consumer.credentials.get(self.at as usize)
    }

    pub(super) fn is_in_force(&self, now: UnixMillis) -> bool {
        self.credential().is_some_and(|credential| credential.is_in_force(now))
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        let credential = Arc::clone(&self.credential()?.name);
        Some(Identity::of_key(Arc::clone(&self.consumer), credential))
    }

    /// The error is a sentence.
    pub(super) fn may_share(&self, other: &Holder) -> Result<(), String> {
        if Arc::ptr_eq(&self.consumer, &other.consumer) {
            Ok(())
        } else {
            Err(format!("Consumer {} has the same and keeps it", self.consumer.id))
        }
    }
}

impl Holders {
    pub(super) fn of(first: Holder) -> Self {
        Holders { first, more: Vec::new() }
    }

    /// The error is a sentence.
    pub(super) fn add(&mut self, holder: Holder) -> Result<(), String> {
        self.first.may_share(&holder)?;
        self.more.push(holder);
        Ok(())
    }

    pub(super) fn consumer(&self) -> &Arc<Consumer> {
        &self.first.consumer
    }

    pub(super) fn in_force(&self, now: UnixMillis) -> Option<&Holder> {
        std::iter::once(&self.first).chain(&self.more).find(|holder| holder.is_in_force(now))
    }
}
