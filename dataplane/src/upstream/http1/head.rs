//! The head of a response (RFC 9112, sections 2, 4 and 5).
//!
//! Pure. `httparse` reads status line and fields; here is where the head ends, how large it may be, and how it becomes
//! values that share the memory it arrived in.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use crate::message;

/// Bytes of one head.
const MAX_SIZE: usize = 64 << 10;
/// Fields of one head.
const MAX_FIELDS: usize = 256;
/// Interim responses before the final one (RFC 9110, 15.2).
const MAX_INTERIM: usize = 16;
const START: &[u8] = b"HTTP/1.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("not HTTP/1: {0}")]
    Syntax(#[from] httparse::Error),
    #[error("larger than {MAX_SIZE} bytes")]
    TooLarge,
    #[error("more than {MAX_INTERIM} interim responses")]
    TooManyInterim,
    #[error("Content-Length is not one number")]
    ContentLength,
    #[error("a transfer coding other than chunked")]
    TransferEncoding,
    #[error("both Content-Length and Transfer-Encoding")]
    Ambiguous,
    #[error("101 before the request was sent whole")]
    EarlySwitch,
}

/// Finds the final response's head in what has arrived.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// Bytes that hold no end of a head, so that what arrives byte by byte is not searched again and again.
    searched: usize,
    interim: usize,
}

impl HeadReader {
    /// Takes the final head out of `buffer`; `None` if it is not there yet. Interim responses are passed over, but for
    /// 101, which is final in HTTP/1.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Response<()>>, HeadError> {
        loop {
            let compared = START.len().min(buffer.len());
            if buffer[..compared] != START[..compared] {
                return Err(HeadError::Syntax(httparse::Error::Version));
            }
            let Some(end) = message::head_end(buffer, self.searched) else {
                self.searched = message::searched(buffer);
                return if buffer.len() > MAX_SIZE { Err(HeadError::TooLarge) } else { Ok(None) };
            };
            if end > MAX_SIZE {
                return Err(HeadError::TooLarge);
            }
            self.searched = 0;
            let response = parse(&buffer.split_to(end).freeze())?;
            let status = response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(response));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(HeadError::TooManyInterim);
            }
        }
    }
}

fn parse(head: &Bytes) -> Result<Response<()>, HeadError> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, head, &mut fields)?;
    // It must have read all of what was found to be the head.
    if status != httparse::Status::Complete(head.len()) {
        return Err(HeadError::Syntax(httparse::Error::NewLine));
    }
    let code = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut response = Response::new(());
    *response.status_mut() = code.ok_or(HeadError::Syntax(httparse::Error::Status))?;
    *response.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    if let Some(reason) = parsed.reason
        && response.status().canonical_reason() != Some(reason)
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    *response.headers_mut() = fields_of(parsed.headers, |value| head.slice_ref(value))?;
    Ok(response)
}

/// `share` turns a part of the input into bytes that can stay.
pub(super) fn fields_of(
    parsed: &[httparse::Header<'_>],
    share: impl Fn(&[u8]) -> Bytes,
) -> Result<HeaderMap, httparse::Error> {
    let mut fields = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
        let value =
            HeaderValue::from_maybe_shared(share(field.value)).map_err(|_| httparse::Error::HeaderValue)?;
        fields.append(name, value);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use http::{Response, Version};
    use hyper::ext::ReasonPhrase;

    use proptest::prelude::{any, proptest};

    use super::{HeadError, HeadReader, MAX_FIELDS, MAX_INTERIM, MAX_SIZE};

    type Read = Result<(Option<Response<()>>, Vec<u8>), HeadError>;

    /// In pieces that end at `cuts`.
    fn read_cut(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Read {
        let (mut reader, mut buffer, mut from) = (HeadReader::default(), BytesMut::new(), 0);
        for to in cuts.into_iter().chain([bytes.len()]) {
            buffer.extend_from_slice(&bytes[from..to]);
            from = to;
            if let Some(response) = reader.next(&mut buffer)? {
                buffer.extend_from_slice(&bytes[from..]);
                return Ok((Some(response), buffer.to_vec()));
            }
        }
        Ok((None, buffer.to_vec()))
    }

    /// Whole, cut once at every place, and byte by byte: all must tell the same.
    fn read(bytes: &[u8]) -> Read {
        let shown = |read: &Read| format!("{read:?}");
        let whole = read_cut(bytes, []);
        for cut in 0..=bytes.len() {
            assert_eq!(shown(&read_cut(bytes, [cut])), shown(&whole), "cut at {cut}");
        }
        assert_eq!(shown(&read_cut(bytes, 0..bytes.len())), shown(&whole));
        whole
    }

    #[test]
    fn heads_are_taken_and_what_follows_is_left() {
        for (bytes, status, field, rest) in [
            (&b"HTTP/1.1 200 OK\r\nX: a\r\n\r\nrest"[..], 200, Some("a"), &b"rest"[..]),
            (b"HTTP/1.1 200\r\nx:a \t\r\n\r\n", 200, Some("a"), b""),
            (b"HTTP/1.1 200 OK\nx: a\n\n\n", 200, Some("a"), b"\n"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n\r\n", 404, None, b"\r\n"),
            (b"HTTP/1.1 299 \xE4\r\n\r\n", 299, None, b""),
            (b"HTTP/1.1 200 OK\r\nx: \xE4\r\n\r\n", 200, None, b""),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx: b\r\n\r\nHTTP/1.1 200 OK\r\nx: a\r\n\r\nr", 200, Some("a"), b"r"),
            (b"HTTP/1.1 101 Switching Protocols\r\nx: a\r\n\r\n\x81", 101, Some("a"), b"\x81"),
        ] {
            let (response, left) = read(bytes).unwrap();
            let response = response.unwrap();
            assert_eq!(response.status(), status);
            if let Some(field) = field {
                assert_eq!(response.headers()["x"], field);
            }
            assert_eq!(left, rest);
        }
        let (old, _) = read(b"HTTP/1.0 200 Fine\r\n\r\n").unwrap();
        let old = old.unwrap();
        assert_eq!(old.version(), Version::HTTP_10);
        assert_eq!(old.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Fine");
    }

    #[test]
    fn what_is_not_whole_waits() {
        for bytes in [
            &b""[..],
            b"HTT",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\r\n\r",
            b"HTTP/1.1 100 Continue\r\n\r\n",
        ] {
            assert!(read(bytes).unwrap().0.is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn bad_heads_are_errors() {
        for bytes in [
            &b"\r\nHTTP/1.1 200 OK\r\n\r\n"[..],
            b"this is no HTTP\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 099 Low\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n x: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx\xE4: a\r\n\r\n",
        ] {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn size_fields_and_interim_responses_are_bounded() {
        let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: a\r\n".repeat(count));
        assert!(read_cut(fields(MAX_FIELDS).as_bytes(), []).is_ok());
        let many = read_cut(fields(MAX_FIELDS + 1).as_bytes(), []);
        assert_eq!(many.unwrap_err(), HeadError::Syntax(httparse::Error::TooManyHeaders));

        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(MAX_SIZE));
        assert_eq!(read_cut(endless.as_bytes(), []).unwrap_err(), HeadError::TooLarge);
        let large = format!("{endless}\r\n\r\n");
        assert_eq!(read_cut(large.as_bytes(), []).unwrap_err(), HeadError::TooLarge);

        let interim = |count: usize| {
            format!("{}HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n".repeat(count))
        };
        assert!(read_cut(interim(MAX_INTERIM).as_bytes(), []).unwrap().0.is_some());
        let flood = read_cut(interim(MAX_INTERIM + 1).as_bytes(), []);
        assert_eq!(flood.unwrap_err(), HeadError::TooManyInterim);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>, tail in any::<bool>()) {
            let mut input = b"HTTP/1.1 200 OK\r\n".to_vec();
            input.extend(bytes);
            if tail {
                input.extend(b"\r\n\r\n");
            }
            let _ = read(&input);
        }
    }
}
