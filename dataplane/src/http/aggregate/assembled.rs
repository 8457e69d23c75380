//! The assembled object on its way to the client: the parts as they came, and what stands between them.
//!
//! A part is held once. It is whole before the first byte of the answer leaves: a body that breaks off, or turns out to be
//! no JSON, must not break what was sent before it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::{gather::Gathered, room::Share};
use crate::upstream::BodyError;

/// Pieces up to this size leave together: to copy them costs less than to send each by itself.
const SMALL: usize = 2 << 10;

#[derive(Debug, Default)]
pub(crate) struct Assembled {
    pieces: VecDeque<Bytes>,
    /// Behind the pieces.
    small: BytesMut,
    length: u64,
    /// Held until all has left.
    shares: Vec<Share>,
}

impl Assembled {
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.small.extend_from_slice(bytes);
    }

    pub(super) fn push(&mut self, gathered: Gathered) {
        for piece in gathered.pieces {
            if piece.len() <= SMALL {
                self.push_bytes(&piece);
                continue;
            }
            self.length += piece.len() as u64;
            self.flush();
            self.pieces.push_back(piece);
        }
        self.shares.push(gathered.share);
    }

    /// No more comes.
    pub(super) fn finish(&mut self) {
        self.flush();
    }

    /// Of what is still to leave.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }
}

impl Body for Assembled {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(piece) = self.pieces.pop_front() else { return Poll::Ready(None) };
        self.length -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use http_body_util::BodyExt;

    use super::{super::room::Room, Assembled, Gathered, SMALL};

    #[tokio::test]
    async fn pieces_leave_in_order_and_large_ones_as_they_are() {
        let room = Rc::new(Room::default());
        let gathered = |pieces: Vec<Bytes>| {
            let mut share = room.share();
            assert!(pieces.iter().all(|piece| share.grow(piece.len())));
            Gathered { pieces, share }
        };
        let large = Bytes::from(vec![b'x'; SMALL + 1]);
        let mut assembled = Assembled::default();
        assembled.push_bytes(b"{\"a\":");
        assembled.push(gathered(vec![Bytes::from_static(b"1"), Bytes::from_static(b"2")]));
        assembled.push_bytes(b",\"b\":");
        assembled.push(gathered(vec![large.clone()]));
        assembled.push_bytes(b"}");
        assembled.finish();
        let length = assembled.length();
        let mut pieces = Vec::new();
        while let Some(frame) = assembled.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(pieces.len(), 3, "{pieces:?}");
        assert_eq!(pieces[0], "{\"a\":12,\"b\":");
        assert_eq!(pieces[1].as_ptr(), large.as_ptr(), "it was not copied");
        assert_eq!(pieces[2], "}");
        assert_eq!(length, pieces.iter().map(|piece| piece.len() as u64).sum::<u64>());
        assert!(room.is_taken(), "until all has left");
        drop(assembled);
        assert!(!room.is_taken());
    }
}
