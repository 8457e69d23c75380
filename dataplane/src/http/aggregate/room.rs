//! Memory that the parts of aggregates may take on one worker, until their answers have left: clients that read slowly
//! must not make it grow without end.

use std::{cell::Cell, rc::Rc};

/// Bytes: for sixteen parts of the largest size that there may be.
const ROOM: usize = 64 << 20;

#[derive(Debug, Default)]
pub(crate) struct Room(Cell<usize>);

/// What one part has taken of it.
#[derive(Debug)]
pub(super) struct Share {
    room: Rc<Room>,
    bytes: usize,
}

impl Room {
    pub(super) fn share(self: &Rc<Self>) -> Share {
        Share { room: Rc::clone(self), bytes: 0 }
    }

    #[cfg(test)]
    pub(super) fn is_taken(&self) -> bool {
        self.0.get() > 0
    }
}

impl Share {
    /// `false`: there is no room for so many bytes more.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.room.0.get().saturating_add(bytes);
        if taken > ROOM {
            return false;
        }
        self.room.0.set(taken);
        self.bytes += bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.0.set(self.room.0.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::{ROOM, Room};

    #[test]
    fn what_is_taken_comes_back() {
        let room = Rc::new(Room::default());
        let (mut first, mut second) = (room.share(), room.share());
        assert!(first.grow(ROOM - 1) && second.grow(1) && second.grow(0) && !second.grow(1));
        drop(first);
        assert!(second.grow(ROOM - 1) && !second.grow(1));
        drop(second);
        assert!(!room.is_taken());
    }
}
