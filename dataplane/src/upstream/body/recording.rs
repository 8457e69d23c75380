//! The body of a request that goes out more than once: to be tried again, or to those who get copies.
//!
//! What the client sends is read once. While it is little it is kept, in the buffers that it came in, and each reading
//! begins with what was kept. One reading at a time goes on from there: the newest.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::{BodyBroken, RequestBody};

/// Of a longer body nothing is kept: it goes out once, and nobody gets a copy.
pub(crate) const MOST: usize = 64 << 10;

/// Owns what is kept, with those who read it.
#[derive(Debug)]
pub(crate) struct Recording(Rc<RefCell<Tape>>);

/// One reading.
#[derive(Debug)]
pub(crate) struct Replay {
    tape: Rc<RefCell<Tape>>,
    /// Its number among the readings.
    turn: u32,
    /// Pieces that it has had.
    at: usize,
    /// Bytes of them.
    had: u64,
}

#[derive(Debug)]
struct Tape {
    source: RequestBody,
    /// Of the whole body, if that is known.
    length: Option<u64>,
    pieces: Vec<Bytes>,
    kept: usize,
    state: State,
    /// The newest reading.
    turn: u32,
    /// Who waits for the source.
    reader: Option<Waker>,
    /// Those who want it once it is whole.
    copies: Vec<oneshot::Sender<Vec<Bytes>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All that came so far is kept.
    Intact,
    /// And nothing more will come.
    Whole,
    /// Too much came, or it broke off.
    Lost,
}

impl Recording {
    /// Takes a body's place: the other half is the first reading.
    pub(crate) fn begin(source: RequestBody) -> (Self, RequestBody) {
        let length = source.size_hint().exact();
        let recording = Recording::with(source, length, Vec::new(), State::Intact);
        let first = recording.read();
        (recording, first)
    }

    /// A body that is there already.
    pub(crate) fn of(pieces: Vec<Bytes>) -> RequestBody {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Recording::with(RequestBody::Empty, Some(length), pieces, State::Whole).read()
    }

    fn with(source: RequestBody, length: Option<u64>, pieces: Vec<Bytes>, state: State) -> Self {
        let (reader, copies) = (None, Vec::new());
        Recording(Rc::new(RefCell::new(Tape {
            source,
            length,
            pieces,
            kept: 0,
            state,
            turn: 0,
            reader,
            copies,
        })))
    }

    fn read(&self) -> RequestBody {
        let turn = self.0.borrow().turn;
        RequestBody::Replay(Replay { tape: Rc::clone(&self.0), turn, at: 0, had: 0 })
    }

    /// The body once more, from its beginning; `None` if that is not kept. The reading before breaks off.
    pub(crate) fn replay(&self) -> Option<RequestBody> {
        let mut tape = self.0.borrow_mut();
        if tape.state == State::Lost {
            return None;
        }
        tape.turn += 1;
        let earlier = tape.reader.take();
        drop(tape);
        // It must not wait for what it will never get.
        if let Some(earlier) = earlier {
            earlier.wake();
        }
        Some(self.read())
    }

    /// All of it, once it has come. An error: it was too long, or broke off, or nobody read it to its end.
    pub(crate) fn copy(&self) -> oneshot::Receiver<Vec<Bytes>> {
        let (sender, receiver) = oneshot::channel();
        self.0.borrow_mut().copies.push(sender);
        receiver
    }
}

impl Tape {
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.source).poll_frame(cx) else {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match frame.as_ref().map(|frame| frame.as_ref().ok().and_then(Frame::data_ref)) {
            None => self.end(),
            Some(Some(data)) if self.state == State::Intact && self.kept + data.len() <= MOST => {
                self.kept += data.len();
                self.pieces.push(data.clone());
                if self.source.is_end_stream() {
                    self.end();
                }
            }
            Some(_) => {
                self.state = State::Lost;
                self.pieces = Vec::new();
                self.copies = Vec::new();
            }
        }
        Poll::Ready(frame)
    }

    fn end(&mut self) {
        if self.state != State::Intact {
            return;
        }
        self.state = State::Whole;
        for copy in self.copies.drain(..) {
            // Who has given up does not need it.
            let _ = copy.send(self.pieces.clone());
        }
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let this = &mut *self;
        let mut tape = this.tape.borrow_mut();
        if this.turn != tape.turn {
            return Poll::Ready(Some(Err(BodyBroken(None))));
        }
        let frame = match tape.pieces.get(this.at) {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.clone())))),
            None if tape.state == State::Whole => Poll::Ready(None),
            None => tape.poll_source(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            this.at += 1;
            this.had += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let tape = self.tape.borrow();
        match tape.state {
            State::Intact => self.at == tape.pieces.len() && tape.source.is_end_stream(),
            State::Whole => self.at == tape.pieces.len(),
            State::Lost => tape.source.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.tape.borrow().length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.had)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
