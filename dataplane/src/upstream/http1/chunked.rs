//! Takes a chunked body apart (RFC 9112, section 7).
//!
//! Pure: data is split off the buffer without copying. Extensions are dropped; their size, like that of trailers, is
//! bounded. It stands at the body's end as soon as the bytes that say so are there, so that a connection is free the
//! moment its last data is taken.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::head;

/// 16 hexadecimal digits always fit in 64 bits.
const SIZE_DIGITS: u32 = 16;
/// Bytes of extensions in one body.
const MAX_EXTENSIONS: usize = 64 << 10;
/// Bytes and fields of trailers.
const MAX_TRAILERS: usize = 16 << 10;
const MAX_TRAILER_FIELDS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("not a chunk's size")]
    Size,
    #[error("a chunk that is longer than its size")]
    End,
    #[error("too many bytes of chunk extensions")]
    Extensions,
    #[error("too many bytes of trailers")]
    TooLarge,
    #[error("trailers: {0}")]
    Trailers(#[from] httparse::Error),
}

#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// Of the current chunk's data.
    left: u64,
    digits: u32,
    extensions: usize,
    /// The trailer section as far as it has come.
    section: Vec<u8>,
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Blanks between a size and what follows it, which some servers send.
    Blank,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    Trailers,
    Over,
}

#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl Chunked {
    /// The next piece of the body; `None` until more has arrived, and at the end.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, ChunkError> {
        self.advance(buffer)?;
        if let Some(trailers) = self.trailers.take() {
            return Ok(Some(Piece::Trailers(trailers)));
        }
        if self.state != State::Data || buffer.is_empty() {
            return Ok(None);
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let data = buffer.split_to(length).freeze();
        self.left -= length as u64;
        if self.left == 0 {
            self.state = State::DataReturn;
            // What is wrong behind the data is found again by the next call.
            let _ = self.advance(buffer);
        }
        Ok(Some(Piece::Data(data)))
    }

    /// All of the body has been given out.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over && self.trailers.is_none()
    }

    /// Bytes that must still come before the next thing is to be decided.
    pub(super) fn expected(&self) -> u64 {
        self.left.saturating_add(2)
    }

    /// Goes through what is not data. A byte that is wrong is left in the buffer.
    fn advance(&mut self, buffer: &mut BytesMut) -> Result<(), ChunkError> {
        while self.state != State::Data
            && self.state != State::Over
            && let Some(byte) = buffer.first()
        {
            self.step(*byte)?;
            buffer.advance(1);
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size, byte) if byte.is_ascii_hexdigit() && self.digits < SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.left = 16 * self.left + u64::from(digit);
                self.digits += 1;
                State::Size
            }
            (State::Size | State::Blank, b'\r') if self.digits > 0 => State::SizeFeed,
            (State::Extension, b'\r') => State::SizeFeed,
            (State::Size | State::Blank, b' ' | b'\t') if self.digits > 0 => self.extension(State::Blank)?,
            (State::Size | State::Blank, b';') if self.digits > 0 => self.extension(State::Extension)?,
            (State::Extension, byte) if byte != b'\n' => self.extension(State::Extension)?,
            (State::SizeFeed, b'\n') => {
                self.digits = 0;
                if self.left == 0 { State::Trailers } else { State::Data }
            }
            (State::Size | State::Blank | State::Extension | State::SizeFeed, _) => {
                return Err(ChunkError::Size);
            }
            (State::DataReturn, b'\r') => State::DataFeed,
            (State::DataFeed, b'\n') => State::Size,
            (State::Trailers, byte) => self.trailer(byte)?,
            (State::DataReturn | State::DataFeed | State::Data | State::Over, _) => {
                return Err(ChunkError::End);
            }
        };
        Ok(())
    }

    fn extension(&mut self, then: State) -> Result<State, ChunkError> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(ChunkError::Extensions) } else { Ok(then) }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        if self.section.len() == MAX_TRAILERS {
            return Err(ChunkError::TooLarge);
        }
        self.section.push(byte);
        if self.section == b"\r\n" {
            return Ok(State::Over);
        }
        if !self.section.ends_with(b"\r\n\r\n") {
            return Ok(State::Trailers);
        }
        let section = std::mem::take(&mut self.section);
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        let httparse::Status::Complete((read, fields)) = httparse::parse_headers(&section, &mut fields)?
        else {
            return Err(httparse::Error::NewLine.into());
        };
        if read != section.len() {
            return Err(httparse::Error::NewLine.into());
        }
        self.trailers = Some(Box::new(head::fields_of(fields, Bytes::copy_from_slice)?));
        Ok(State::Over)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::{
        collection::vec,
        prelude::{Strategy, any, prop_assert_eq, proptest},
    };

    use super::{ChunkError, Chunked, MAX_EXTENSIONS, MAX_TRAILERS, Piece};

    /// Data, trailers as text, whether it is over, and what is left.
    type Read = Result<(Vec<u8>, Vec<String>, bool, Vec<u8>), ChunkError>;

    fn read_cut(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Read {
        let (mut chunked, mut buffer, mut from) = (Chunked::default(), BytesMut::new(), 0);
        let (mut data, mut trailers) = (Vec::new(), Vec::new());
        for to in cuts.into_iter().chain([bytes.len()]) {
            buffer.extend_from_slice(&bytes[from..to]);
            from = to;
            while let Some(piece) = chunked.next(&mut buffer)? {
                match piece {
                    Piece::Data(piece) => data.extend(piece),
                    Piece::Trailers(fields) => trailers.extend(
                        fields.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())),
                    ),
                }
            }
        }
        Ok((data, trailers, chunked.is_over(), buffer.to_vec()))
    }

    /// Whole, cut once at every place, and byte by byte: all must tell the same.
    fn read(bytes: &[u8]) -> Read {
        let whole = read_cut(bytes, []);
        for cut in 0..=bytes.len() {
            assert_eq!(read_cut(bytes, [cut]), whole, "cut at {cut}: {bytes:?}");
        }
        assert_eq!(read_cut(bytes, 0..bytes.len()), whole);
        whole
    }

    #[test]
    fn bodies_end_where_they_end() {
        for (body, data, trailers) in [
            (&b"0\r\n\r\n"[..], &b""[..], &[][..]),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", &[]),
            (b"A;name=\"v\"\r\n0123456789\r\n000\r\n\r\n", b"0123456789", &[]),
            (b"2  \r\nab\r\n1 ;x\r\nc\r\n0 \r\n\r\n", b"abc", &[]),
            (b"000000000000000a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", &[]),
            (b"1\r\nx\r\n0\r\nX-T: a\r\nY:b\r\n\r\n", b"x", &["x-t=a", "y=b"]),
        ] {
            let trailers: Vec<String> = trailers.iter().map(|trailer: &&str| (*trailer).into()).collect();
            assert_eq!(read(body), Ok((data.to_vec(), trailers.clone(), true, vec![])));
            let longer = [body, b"HTTP/1.1 200 OK\r\n"].concat();
            assert_eq!(read(&longer), Ok((data.to_vec(), trailers, true, b"HTTP/1.1 200 OK\r\n".to_vec())));
            let (_, _, over, _) = read(&body[..body.len() - 1]).unwrap();
            assert!(!over);
        }
    }

    #[test]
    fn the_end_is_known_with_the_last_data() {
        let mut chunked = Chunked::default();
        let mut buffer = BytesMut::from(&b"5\r\nhello\r\n0\r\n\r\n"[..]);
        assert!(matches!(chunked.next(&mut buffer), Ok(Some(Piece::Data(data))) if data == "hello"));
        assert!(chunked.is_over());
    }

    #[test]
    fn broken_bodies_are_errors_behind_what_was_whole() {
        for body in [
            &b"0x3\r\nabc\r\n"[..],
            b"+3\r\nabc\r\n",
            b"-0\r\n\r\n",
            b" 3\r\nabc\r\n",
            b"3_\r\nabc\r\n",
            b"3 3\r\nabc\r\n",
            b"\r\n\r\n",
            b";x\r\n\r\n",
            b"1234567890abcdef0\r\n",
            b"3\r\r\n;a",
            b"3\nabc\n",
            b"3;a\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\nx: a\r\n b\r\n\r\n",
            b"0\r\nx: a\0\r\n\r\n",
        ] {
            assert!(read(body).is_err(), "{:?}", String::from_utf8_lossy(body));
        }
        // The data before the fault still comes out, the end never does.
        let mut chunked = Chunked::default();
        let mut buffer = BytesMut::from(&b"3\r\nabcX0\r\n\r\n"[..]);
        assert!(matches!(chunked.next(&mut buffer), Ok(Some(Piece::Data(data))) if data == "abc"));
        assert!(!chunked.is_over());
        assert_eq!(chunked.next(&mut buffer).unwrap_err(), ChunkError::End);
        assert_eq!(chunked.next(&mut buffer).unwrap_err(), ChunkError::End);
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = [b"3;".to_vec(), vec![b'x'; MAX_EXTENSIONS]].concat();
        assert_eq!(read_cut(&long, []), Err(ChunkError::Extensions));
        let many = b"1;abcdefg\r\nx\r\n".repeat(MAX_EXTENSIONS / 8 + 1);
        assert_eq!(read_cut(&many, []), Err(ChunkError::Extensions));
        let trailers = [b"0\r\nx: ".to_vec(), vec![b'x'; MAX_TRAILERS]].concat();
        assert_eq!(read_cut(&trailers, []), Err(ChunkError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_out(
            chunks in vec(vec(any::<u8>(), 1..80), 0..6),
            cuts in vec(0..600_usize, 0..8).prop_map(|mut cuts| { cuts.sort_unstable(); cuts }),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let cuts = cuts.into_iter().filter(|cut| *cut <= body.len());
            prop_assert_eq!(read_cut(&body, cuts), Ok((chunks.concat(), vec![], true, vec![])));
        }

        #[test]
        fn no_input_panics_and_cuts_change_nothing(body in vec(proptest::sample::select(&b"013aF;\r\n x:"[..]), 0..40)) {
            let _ = read(&body);
        }
    }
}
