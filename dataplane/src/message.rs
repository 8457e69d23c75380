//! What HTTP/1 messages have in common, whoever sends them: how a head ends, how fields and chunks are written (RFC 9112,
//! sections 2, 5 and 7), and how bytes get from and to a stream.
//!
//! What may be sent, and how strictly what arrives is read, is decided by the two sides: `http::http1` towards clients,
//! `upstream::http1` towards backends.

mod output;

use std::{
    io::{self, Write},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

pub(crate) use output::Output;

pub(crate) const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";
pub(crate) const CHUNK_END: &[u8] = b"\r\n";
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
pub(crate) const CHUNK_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// Length of the head with its last line end, once it is whole. `from` bytes are known not to hold the end.
///
/// Bare line feeds end a head too (RFC 9112, 2.2): who refuses them must see them and not wait behind them.
pub(crate) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| match bytes.get(at + 1..) {
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        Some([b'\n', ..]) => Some(at + 2),
        _ => None,
    })
}

/// How many of `bytes`, which hold no end of a head, need not be searched again when more arrive.
pub(crate) fn searched(bytes: &[u8]) -> usize {
    // The end may have begun: it is at most three bytes long before its last line feed.
    bytes.len().saturating_sub(3)
}

/// Appends a field line.
pub(crate) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn content_length(out: &mut Vec<u8>, size: u64) {
    // Writing to a `Vec` can't fail.
    let _ = write!(out, "content-length: {size}\r\n");
}

/// Appends what goes before a chunk's data.
pub(crate) fn chunk_size(out: &mut Vec<u8>, size: usize) {
    // Writing to a `Vec` can't fail.
    let _ = write!(out, "{size:x}\r\n");
}

/// Reads what is there, at most `MOST` bytes, by way of the stack: memory is taken only for what has come.
pub(crate) fn poll_read_some<const MOST: usize, S: AsyncRead + Unpin>(
    stream: &mut S,
    into: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [const { MaybeUninit::uninit() }; MOST];
    let mut buffer = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    into.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

#[cfg(test)]
mod tests {
    use super::head_end;

    #[test]
    fn the_end_is_found_wherever_reading_resumes() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for from in 0..head.len() - 6 {
            assert_eq!(head_end(head, from), Some(head.len() - 4), "{from}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0), None);
        assert_eq!(head_end(b"GET / HTTP/1.1\n\nrest", 0), Some(16));
    }
}
