//! The body of a part, as far as it may stand in the answer: one JSON value, and not too long.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::{json::Validator, room::Share};
use crate::{Reason, upstream::BackendBody};

/// A piece that is shorter is joined with the one before: what a backend sends byte by byte must not take many times its
/// size.
const SHORT: usize = 1 << 10;

/// What stands in the answer.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) pieces: Vec<Bytes>,
    pub(super) share: Share,
}

/// Pieces as they came, the short ones joined.
#[derive(Debug, Default)]
struct Pieces {
    all: Vec<Bytes>,
    /// Behind them.
    short: BytesMut,
}

impl Gathered {
    /// Of an answer without content.
    pub(super) fn null(share: Share) -> Self {
        Gathered { pieces: vec![Bytes::from_static(b"null")], share }
    }
}

/// Reads a body of at most so many bytes.
pub(super) async fn gather(mut body: BackendBody, most: usize, mut share: Share) -> Result<Gathered, Reason> {
    if body.size_hint().lower() > most as u64 {
        return Err(Reason::UpstreamTooLarge);
    }
    let mut validator = Validator::default();
    let mut pieces = Pieces::default();
    let mut left = most;
    while let Some(frame) = body.frame().await {
        // What is no data is a trailer, which says nothing about the value.
        let Ok(data) = frame.map_err(|_| Reason::UpstreamFailed)?.into_data() else { continue };
        left = left.checked_sub(data.len()).ok_or(Reason::UpstreamTooLarge)?;
        validator.push(&data).map_err(|_| Reason::UpstreamNotJson)?;
        if !share.grow(data.len()) {
            return Err(Reason::Overloaded);
        }
        pieces.push(data);
    }
    validator.finish().map_err(|_| Reason::UpstreamNotJson)?;
    Ok(Gathered { pieces: pieces.finish(), share })
}

impl Pieces {
    fn push(&mut self, data: Bytes) {
        // Most bodies come whole, and are not copied.
        if data.len() < SHORT && !self.all.is_empty() {
            self.short.extend_from_slice(&data);
            return;
        }
        self.flush();
        self.all.push(data);
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.all
    }

    fn flush(&mut self) {
        if !self.short.is_empty() {
            self.all.push(self.short.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Pieces, SHORT};

    #[test]
    fn short_pieces_are_joined() {
        let mut pieces = Pieces::default();
        let first = Bytes::from_static(b"{");
        pieces.push(first.clone());
        for _ in 0..10 * SHORT {
            pieces.push(Bytes::from_static(b" "));
        }
        let large = Bytes::from(vec![b' '; SHORT]);
        pieces.push(large.clone());
        pieces.push(Bytes::from_static(b"}"));
        let all = pieces.finish();
        assert_eq!(all.len(), 4);
        assert_eq!((all[0].as_ptr(), all[2].as_ptr()), (first.as_ptr(), large.as_ptr()));
        assert_eq!(all.iter().map(Bytes::len).sum::<usize>(), 11 * SHORT + 2);
    }
}
