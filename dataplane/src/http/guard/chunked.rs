//! The strict reading of a chunked body (RFC 9112, section 7).
//!
//! Pure: it is fed what arrives and says where the body ends. Extensions are allowed, as the parser behind drops them,
//! but their size is bounded; trailer lines are held to the same rules as header lines.

use super::head;
use crate::Reason;

/// The most bytes of extensions and of trailers in one body.
const OVERHEAD: usize = 8 << 10;
/// 15 hexadecimal digits always fit in 64 bits.
const SIZE_DIGITS: usize = 15;

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

/// What a piece of input came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it belongs to the body, which goes on.
    Within,
    /// The body ends after this many bytes of the piece.
    Ends(usize),
    /// The body is broken at this byte of the piece.
    Broken(usize),
}

impl Chunked {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let left = (bytes.len() - at) as u64;
                if self.size > left {
                    self.size -= left;
                    return Progress::Within;
                }
                at += usize::try_from(self.size).unwrap_or(bytes.len() - at);
                self.size = 0;
                self.state = State::DataReturn;
                continue;
            }
            match self.step(bytes[at]) {
                Ok(false) => at += 1,
                Ok(true) => return Progress::Ends(at + 1),
                Err(_) => return Progress::Broken(at),
            }
        }
        Progress::Within
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
                head::split(&self.line)?;
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

    /// Whole, and byte by byte: both must tell the same.
    fn read(body: &[u8]) -> Progress {
        let whole = Chunked::default().feed(body);
        let mut slow = Chunked::default();
        let bytewise = (0..body.len())
            .find_map(|at| match slow.feed(&body[at..=at]) {
                Progress::Within => None,
                Progress::Ends(_) => Some(Progress::Ends(at + 1)),
                Progress::Broken(_) => Some(Progress::Broken(at)),
            })
            .unwrap_or(Progress::Within);
        assert_eq!(whole, bytewise, "{body:?}");
        whole
    }

    #[test]
    fn bodies_end_where_they_end() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"5\r\nhello\r\n0\r\n\r\n",
            b"A;name=value\r\n0123456789\r\n000\r\n\r\n",
            b"1\r\nx\r\n0\r\nX-Trailer: a\r\nY: b\r\n\r\n",
        ] {
            assert_eq!(read(body), Progress::Ends(body.len()));
            let mut longer = body.to_vec();
            longer.extend_from_slice(b"GET / HTTP/1.1\r\n");
            assert_eq!(read(&longer), Progress::Ends(body.len()));
            assert_eq!(read(&body[..body.len() - 1]), Progress::Within);
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
            assert!(matches!(read(body), Progress::Broken(_)), "{:?}", String::from_utf8_lossy(body));
        }
        let mut long = b"3;".to_vec();
        long.resize(20_000, b'x');
        assert!(matches!(read(&long), Progress::Broken(_)));
    }
}
