//! What an answer is kept under. Two requests have one key only if nothing that the key is made of tells them apart: every
//! piece stands there with its length.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Arc<[u8]>);

#[derive(Debug, Clone, Default)]
pub(crate) struct KeyWriter(Vec<u8>);

impl Key {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A longer one.
    pub(crate) fn and(&self, write: impl FnOnce(&mut KeyWriter)) -> Key {
        let mut writer = KeyWriter(self.0.to_vec());
        write(&mut writer);
        writer.finish()
    }
}

impl KeyWriter {
    pub(crate) fn piece(&mut self, bytes: &[u8]) {
        // No head is as long as that.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Differs from every piece.
    pub(crate) fn absent(&mut self) {
        self.0.extend_from_slice(&u32::MAX.to_be_bytes());
    }

    pub(crate) fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.piece(bytes),
            None => self.absent(),
        }
    }

    /// All values of a field.
    pub(crate) fn field(&mut self, headers: &HeaderMap, name: &HeaderName) {
        for value in headers.get_all(name) {
            self.piece(value.as_bytes());
        }
        self.absent();
    }

    /// The same for one that holds a secret.
    pub(crate) fn secret(&mut self, headers: &HeaderMap, name: &HeaderName) {
        for value in headers.get_all(name) {
            self.piece(digest(&SHA256, value.as_bytes()).as_ref());
        }
        self.absent();
    }

    pub(crate) fn into_bytes(self) -> Box<[u8]> {
        self.0.into()
    }

    pub(crate) fn finish(self) -> Key {
        Key(self.0.into())
    }
}
