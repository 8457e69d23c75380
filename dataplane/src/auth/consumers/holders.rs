//! Who holds a credential, and from when until when.

use std::sync::Arc;

use gatehouse_proto::config::v1;

use super::{Consumer, UnixMillis};

#[derive(Debug)]
pub(super) struct Holder {
    pub(super) consumer: Arc<Consumer>,
    /// `namespace/name#credential`.
    pub(super) credential: Arc<str>,
    not_before: UnixMillis,
    /// 0: never.
    expires: UnixMillis,
}

/// The same credential may be listed more than once, with other times; all belong to one consumer.
#[derive(Debug)]
pub(super) struct Holders {
    first: Holder,
    more: Vec<Holder>,
}

impl Holder {
    pub(super) fn new(consumer: &Arc<Consumer>, credential: &v1::Credential) -> Self {
        Holder {
            consumer: Arc::clone(consumer),
            credential: format!("{}#{}", consumer.id, credential.name).into(),
            not_before: credential.not_before_ms,
            expires: credential.expires_ms,
        }
    }

    fn is_in_force(&self, now: UnixMillis) -> bool {
        now >= self.not_before && (self.expires == 0 || now < self.expires)
    }
}

impl Holders {
    pub(super) fn of(first: Holder) -> Self {
        Holders { first, more: Vec::new() }
    }

    /// The error is a sentence.
    pub(super) fn add(&mut self, holder: Holder) -> Result<(), String> {
        if !Arc::ptr_eq(&holder.consumer, &self.first.consumer) {
            return Err(format!("Consumer {} has the same and keeps it", self.first.consumer.id));
        }
        self.more.push(holder);
        Ok(())
    }

    pub(super) fn in_force(&self, now: UnixMillis) -> Option<&Holder> {
        std::iter::once(&self.first).chain(&self.more).find(|holder| holder.is_in_force(now))
    }
}
