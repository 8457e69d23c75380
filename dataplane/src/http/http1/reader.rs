//! The read side of one connection: what has arrived, cut into heads and bodies.
//!
//! Pure: it is given bytes and gives what they are. A head is given out when it is whole, and the next one only when the
//! body between them has been taken, so that nothing is ever taken for a request that is not one.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    chunked::{Chunked, Progress},
    head::{self, Framing, Head, Limits},
};
use crate::{Reason, message};

#[derive(Debug)]
pub(super) struct Reader {
    limits: Limits,
    bytes: BytesMut,
    /// So many bytes are known not to hold the end of the head.
    scanned: usize,
    /// Length of the head, once its end has been found.
    end: Option<usize>,
    /// The empty line before this head has been seen.
    forgiven: bool,
    body: Body,
}

/// What is still to come of the current request's body.
#[derive(Debug)]
enum Body {
    Ended,
    Length(u64),
    Chunked(Box<Chunked>),
    Broken,
}

/// The next of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Not empty.
    Data(Bytes),
    /// More must arrive first.
    More,
    End,
    Broken,
}

impl Reader {
    /// `bytes` have arrived already.
    pub(super) fn new(limits: Limits, bytes: BytesMut) -> Self {
        Reader { limits, bytes, scanned: 0, end: None, forgiven: false, body: Body::Ended }
    }

    /// Where to put what arrives: behind what is there.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Nothing has arrived that was not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The current body has not been taken to its end.
    pub(super) fn owes_body(&self) -> bool {
        !matches!(self.body, Body::Ended)
    }

    /// How much of the body is to come, if that is known.
    pub(super) fn body_length(&self) -> Option<u64> {
        match self.body {
            Body::Ended => Some(0),
            Body::Length(left) => Some(left),
            Body::Chunked(_) | Body::Broken => None,
        }
    }

    /// What has arrived and was not taken.
    pub(super) fn into_rest(self) -> BytesMut {
        self.bytes
    }

    /// A head is whole, or can be refused already. Must not be called while a body is owed.
    pub(super) fn has_head(&mut self) -> bool {
        // RFC 9112, 2.2: one empty line before a request line is forgiven.
        if !self.forgiven && self.bytes.starts_with(b"\r\n") {
            self.bytes.advance(2);
            self.forgiven = true;
        }
        if self.bytes.is_empty() {
            return false;
        }
        self.end = message::head_end(&self.bytes, self.scanned);
        self.scanned = message::searched(&self.bytes);
        self.end.is_some() || self.bytes.len() > self.limits.head
    }

    /// The next head, if it is whole. Must not be called while a body is owed.
    pub(super) fn next_head(&mut self) -> Result<Option<Head>, Reason> {
        if self.end.is_none() && !self.has_head() {
            return Ok(None);
        }
        let Some(length) = self.end.take() else { return Err(head::too_large(&self.bytes, self.limits)) };
        let bytes = self.take(length);
        let head = head::read(&bytes, self.limits)?;
        self.body = match head.framing {
            Framing::Length(0) | Framing::Upgrade => Body::Ended,
            Framing::Length(length) => Body::Length(length),
            // A body that is seen to be broken before anybody has seen the head makes a bad request.
            Framing::Chunked if Chunked::breaks(&self.bytes) => return Err(Reason::BadRequest),
            Framing::Chunked => Body::Chunked(Box::default()),
        };
        self.scanned = 0;
        self.forgiven = false;
        Ok(Some(head))
    }

    /// The next of the current body.
    pub(super) fn next_piece(&mut self) -> Piece {
        match &mut self.body {
            Body::Ended => Piece::End,
            Body::Broken => Piece::Broken,
            Body::Length(_) if self.bytes.is_empty() => Piece::More,
            Body::Length(left) => {
                let here = self.bytes.len();
                let length = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= length as u64;
                if *left == 0 {
                    self.body = Body::Ended;
                }
                Piece::Data(self.take(length))
            }
            Body::Chunked(chunked) => match chunked.next(&self.bytes) {
                Progress::Data { skip, length } => {
                    self.bytes.advance(skip);
                    let data = self.take(length);
                    self.look_for_end();
                    Piece::Data(data)
                }
                Progress::Within => {
                    self.bytes.clear();
                    Piece::More
                }
                Progress::Ends(length) => {
                    self.bytes.advance(length);
                    self.body = Body::Ended;
                    Piece::End
                }
                Progress::Broken(_) => {
                    self.body = Body::Broken;
                    Piece::Broken
                }
            },
        }
    }

    /// Ends a chunked body with its last data, if its end has arrived with that.
    fn look_for_end(&mut self) {
        if let Body::Chunked(chunked) = &mut self.body
            && let Some(length) = chunked.ends_within(&self.bytes)
        {
            self.bytes.advance(length);
            self.body = Body::Ended;
        }
    }

    fn take(&mut self, length: usize) -> Bytes {
        if length == self.bytes.len() {
            // Leaves nothing that holds on to the memory.
            return std::mem::take(&mut self.bytes).freeze();
        }
        self.bytes.split_to(length).freeze()
    }
}

#[cfg(test)]
mod tests;
