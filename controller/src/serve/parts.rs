//! Cuts a delta into messages. A delta of any size becomes one batch, in parts that stay below what a message may have.

use gatehouse_proto::config::v1::{Ack, Batch, Rejection};

use super::peer::Delta;

/// A part is closed before it passes this, in bytes of content. One larger resource goes alone.
const PART_BYTES: usize = 1 << 20;
/// What a resource takes beside its name and content, in bytes, at most: version, tags, lengths.
const OVERHEAD_BYTES: usize = 48;

/// A batch that is not acknowledged yet.
#[derive(Debug)]
pub(super) struct InFlight {
    nonce: u64,
    delta: Delta,
    upserts_sent: usize,
    removals_sent: usize,
    sent: bool,
}

impl InFlight {
    pub(super) fn new(nonce: u64, delta: Delta) -> Self {
        Self { nonce, delta, upserts_sent: 0, removals_sent: 0, sent: false }
    }

    /// The last part has been taken.
    pub(super) fn sent(&self) -> bool {
        self.sent
    }

    /// The next part to send. An empty delta has one empty part. After the last, parts are empty.
    pub(super) fn next_part(&mut self) -> Batch {
        let mut part = Batch { nonce: self.nonce, ..Batch::default() };
        let mut room = PART_BYTES;
        while let Some(name) = self.delta.removals.get(self.removals_sent)
            && fits(&mut room, name.len())
        {
            part.removals.push(name.to_string());
            self.removals_sent += 1;
        }
        while let Some(resource) = self.delta.upserts.get(self.upserts_sent)
            && fits(&mut room, resource.name.len() + resource.content.encoded().len())
        {
            part.upserts.push(resource.encoded());
            self.upserts_sent += 1;
        }
        part.more =
            self.removals_sent < self.delta.removals.len() || self.upserts_sent < self.delta.upserts.len();
        self.sent = !part.more;
        part
    }

    /// What the ack is about, and what it refuses. `None`: it is about another batch, or comes before the last part.
    pub(super) fn acknowledged_by(self, ack: Ack) -> Option<(Delta, Vec<Rejection>)> {
        (self.sent && self.nonce == ack.nonce).then_some((self.delta, ack.rejected))
    }
}

/// Takes the room for `bytes` of content. The first of a part always fits.
fn fits(room: &mut usize, bytes: usize) -> bool {
    let bytes = bytes + OVERHEAD_BYTES;
    let first = *room == PART_BYTES;
    if bytes > *room && !first {
        return false;
    }
    *room = room.saturating_sub(bytes);
    true
}

#[cfg(test)]
mod tests;
