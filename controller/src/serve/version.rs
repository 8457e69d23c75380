//! The version of a resource: a hash of its content, so that equal content never crosses the channel twice, whichever
//! replica or process made it.

use aws_lc_rs::digest::{SHA256, digest};

use super::content::Content;

/// SHA-256 of the encoded kind, cut to 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version([u8; 16]);

impl Version {
    pub(super) fn of(content: &Content) -> Self {
        let mut version = [0; 16];
        for (to, from) in version.iter_mut().zip(digest(&SHA256, content.encoded()).as_ref()) {
            *to = *from;
        }
        Self(version)
    }

    /// `None` when it can't be one of ours: what carries it differs from whatever we have.
    pub(super) fn from_wire(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn to_wire(self) -> Vec<u8> {
        self.0.to_vec()
    }
}
