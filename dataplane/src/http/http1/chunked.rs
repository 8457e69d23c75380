//! The strict reading of a chunked body (RFC 9112, section 7).
//!
//! Pure: it is fed what arrives and says where data is and where the body ends. Extensions are allowed and dropped, but
//! their size is bounded; trailer lines are held to the same rules as header lines, and dropped too.

use super::head;
use crate::Reason;

/// The most bytes of extensions and of trailers in one body.
const OVERHEAD: usize = 8 << 10;
/// 15 hexadecimal digits always fit in 64 bits.
const SIZE_DIGITS: usize = 15;
/// Behind the last data: no extension, no trailer.
const PLAIN_END: &[u8] = b"\r\n0\r\n\r\n";

#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    size: u64,
    digits: usize,
    overhead: usize,
    /// The trailer line that is being read.
    line: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    Trailer,
    TrailerFeed,
}

/// What a piece of input begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it belongs to the body, which goes on, and none of it is data.
    Within,
    /// After `skip` bytes come `length` bytes of data.
    Data { skip: usize, length: usize },
    /// The body ends after this many bytes of the piece.
    Ends(usize),
    /// The body is broken at this byte of the piece.
    Broken(usize),
}

impl Chunked {
    /// Goes on to the end of the next data in `bytes`. Call it again with what is behind that.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Progress {
        for (at, byte) in bytes.iter().enumerate() {
            if self.state == State::Data {
                let here = bytes.len() - at;
                let length = usize::try_from(self.size).map_or(here, |size| size.min(here));
                self.size -= length as u64;
                if self.size == 0 {
                    self.state = State::DataReturn;
                }
                return Progress::Data { skip: at, length };
            }
            match self.step(*byte) {
                Ok(false) => {}
                Ok(true) => return Progress::Ends(at + 1),
                Err(_) => return Progress::Broken(at),
            }
        }
        Progress::Within
    }

    /// Where the body ends in `bytes`, if it is seen to at once.
    pub(super) fn ends_within(&self, bytes: &[u8]) -> Option<usize> {
        // The plainest of ends is enough: others are found when more is asked for.
        (self.state == State::DataReturn && bytes.starts_with(PLAIN_END)).then_some(PLAIN_END.len())
    }

    /// Whether a body that begins with `bytes` is broken within them.
    pub(super) fn breaks(mut bytes: &[u8]) -> bool {
        let mut chunked = Chunked::default();
        loop {
            match chunked.next(bytes) {
                Progress::Data { skip, length } => bytes = &bytes[skip + length..],
                Progress::Broken(_) => return true,
                Progress::Within | Progress::Ends(_) => return false,
            }
        }
    }

    /// Takes one byte that is not data; `true` ends the body.
    fn step(&mut self, byte: u8) -> Result<bool, Reason> {
        match (self.state, byte) {
            (State::Size, byte) if byte.is_ascii_hexdigit() && self.digits < SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.size = 16 * self.size + u64::from(digit);
                self.digits += 1;
            }
            (State::Size, b'\r') if self.digits > 0 => self.state = State::SizeFeed,
            (State::Size, b';') if self.digits > 0 => {
                self.state = State::Extension;
                self.spend()?;
            }
            (State::Extension, b'\r') => self.state = State::SizeFeed,
            (State::Extension, b'\t' | b' '..=b'~') => self.spend()?,
            (State::SizeFeed, b'\n') => {
                self.state = if self.size == 0 { State::Trailer } else { State::Data };
                self.digits = 0;
            }
            (State::DataReturn, b'\r') => self.state = State::DataFeed,
            (State::DataFeed, b'\n') => self.state = State::Size,
            (State::Trailer, b'\r') => self.state = State::TrailerFeed,
            (State::Trailer, byte) if byte != b'\n' => {
                self.spend()?;
                self.line.push(byte);
            }
            (State::TrailerFeed, b'\n') if self.line.is_empty() => return Ok(true),
            (State::TrailerFeed, b'\n') => {
                if !head::is_field(&self.line) {
                    return Err(Reason::BadRequest);
                }
                self.line.clear();
                self.state = State::Trailer;
            }
            _ => return Err(Reason::BadRequest),
        }
        Ok(false)
    }

    fn spend(&mut self) -> Result<(), Reason> {
        self.overhead += 1;
        if self.overhead > OVERHEAD { Err(Reason::BadRequest) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunked, Progress};

    /// Data, and how it ended: within, at a byte, or broken at a byte.
    fn run(body: &[u8], size: usize) -> (Vec<u8>, Progress) {
        let mut chunked = Chunked::default();
        let mut data = Vec::new();
        let mut before = 0;
        for piece in body.chunks(size) {
            let mut at = 0;
            loop {
                match chunked.next(&piece[at..]) {
                    Progress::Data { skip, length } => {
                        data.extend_from_slice(&piece[at + skip..at + skip + length]);
                        at += skip + length;
                    }
                    Progress::Within => break,
                    Progress::Ends(end) => return (data, Progress::Ends(before + at + end)),
                    Progress::Broken(end) => return (data, Progress::Broken(before + at + end)),
                }
            }
            before += piece.len();
        }
        (data, Progress::Within)
    }

    /// Whole, and in pieces: all must tell the same.
    fn read(body: &[u8]) -> (Vec<u8>, Progress) {
        let whole = run(body, body.len());
        for size in [1, 2, 3, 7] {
            assert_eq!(run(body, size), whole, "{size}, {body:?}");
        }
        assert_eq!(Chunked::breaks(body), matches!(whole.1, Progress::Broken(_)));
        whole
    }

    #[test]
    fn bodies_end_where_they_end() {
        for (body, data) in [
            (&b"0\r\n\r\n"[..], ""),
            (b"5\r\nhello\r\n0\r\n\r\n", "hello"),
            (b"A;name=value\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n", "0123456789x"),
            (b"1\r\nx\r\n0\r\nX-Trailer: a\r\nY: b\r\n\r\n", "x"),
        ] {
            let data = data.as_bytes().to_vec();
            assert_eq!(read(body), (data.clone(), Progress::Ends(body.len())));
            let longer = [body, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read(&longer), (data.clone(), Progress::Ends(body.len())));
            assert_eq!(read(&body[..body.len() - 1]), (data, Progress::Within));
        }
    }

    #[test]
    fn broken_chunks_are_seen() {
        for body in [
            &b"0x3\r\nabc\r\n"[..],
            b"+3\r\nabc\r\n",
            b"-0\r\n\r\n",
            b" 3\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"3_\r\nabc\r\n",
            b"\r\n\r\n",
            b"1234567890abcdef0\r\n",
            b"3\r\r\n;a",
            b"3\nabc\n",
            b"3;a\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\nX: a\n\r\n",
        ] {
            assert!(matches!(read(body).1, Progress::Broken(_)), "{:?}", String::from_utf8_lossy(body));
        }
        let mut long = b"3;".to_vec();
        long.resize(20_000, b'x');
        assert!(matches!(read(&long).1, Progress::Broken(_)));
    }
}
