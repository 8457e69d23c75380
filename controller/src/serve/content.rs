//! What a resource holds, encoded. A controller keeps the resources of large tables so: it takes a fifth of what they take
//! as values, it is what versions are of, and it is what crosses the channel.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use gatehouse_proto::config::v1::{Resource, resource::Kind};
use prost::Message;

/// A `Kind` as it stands in a `Resource`. Equal content has equal bytes: fields go in the order of their numbers, and the
/// contract has no maps.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Bytes);

impl Content {
    /// # Panics
    /// Never: it was encoded by this program.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let resource = Resource::decode(self.0.clone()).expect("what was encoded can be decoded");
        resource.kind.expect("what was encoded is of a kind")
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.0
    }
}

impl From<&Kind> for Content {
    fn from(kind: &Kind) -> Self {
        let mut encoded = Vec::with_capacity(kind.encoded_len());
        kind.encode(&mut encoded);
        Content(encoded.into())
    }
}

impl From<Kind> for Content {
    fn from(kind: Kind) -> Self {
        Content::from(&kind)
    }
}

impl From<Arc<Kind>> for Content {
    fn from(kind: Arc<Kind>) -> Self {
        Content::from(&*kind)
    }
}

/// As the value: it keeps its secrets.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}
