//! What a client of a benchmark has to know of an answer.

/// The head of an answer that has a length, as every gateway gives it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Of the body, where it is said.
    pub length: Option<usize>,
    /// Where the body begins.
    pub end: usize,
}

impl Head {
    /// `None`: it is not whole, or no head.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        Some(Head { status, length, end })
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn heads() {
        let read = |bytes: &[u8]| Head::read(bytes).map(|head| (head.status, head.length, head.end));
        let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(read(missing), Some((404, Some(3), 45)));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\n"), Some((200, None, 19)));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
