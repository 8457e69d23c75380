//! The frames of a WebSocket (RFC 6455, 5.2), as far as one must know where each ends.

/// Close, 1001: going away (RFC 6455, 7.4.1). As a server sends it: unmasked.
pub(super) const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xE9];

const CLOSE: u8 = 0x8;
const LONGEST_HEAD: usize = 14;

/// Follows a stream of frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; LONGEST_HEAD],
    /// So much of the head has been seen.
    seen: usize,
    /// Bytes of the payload that are still to come.
    payload: u64,
    closed: bool,
}

impl Frames {
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.seen] = bytes[0];
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen == self.head_length() {
                self.payload = self.payload_length();
                self.closed |= self.head[0] & 0xF == CLOSE;
                self.seen = 0;
            }
        }
    }

    /// A frame of one's own can go in here: no other is under way, and none says that it was the last.
    pub(super) fn between(&self) -> bool {
        self.seen == 0 && self.payload == 0 && !self.closed
    }

    fn head_length(&self) -> usize {
        if self.seen < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload_length(&self) -> u64 {
        let [_, length, a, b, c, d, e, f, g, h, ..] = self.head;
        match length & 0x7F {
            126 => u16::from_be_bytes([a, b]).into(),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => short.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, GOING_AWAY};

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + if masked { 4 } else { 0 } + length, 0xFF);
        frame
    }

    #[test]
    fn ends_are_found_however_the_bytes_come() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
                let frame = frame(length, masked);
                let mut whole = Frames::default();
                assert!(whole.between());
                whole.follow(&frame);
                assert!(whole.between(), "{length}");
                let mut pieces = Frames::default();
                for round in 0..2 {
                    for (at, byte) in frame.iter().enumerate() {
                        pieces.follow(&[*byte]);
                        assert_eq!(pieces.between(), at + 1 == frame.len(), "{length}, {round}, {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut frames = Frames::default();
        frames.follow(&GOING_AWAY);
        assert!(!frames.between());
    }
}
