//! What a client that makes load has to know of an answer.

/// The head of an answer that has a length, as every gateway gives it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Of the body, where it is said.
    pub length: Option<usize>,
    /// The server takes no more requests on this connection.
    pub closes: bool,
    /// Where the body begins.
    pub end: usize,
}

impl Head {
    /// `None`: it is not whole, or no head.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let value = |wanted: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let length = value("content-length").and_then(|length| length.parse().ok());
        let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Some(Head { status, length, closes, end })
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn heads() {
        let head = |status, length, closes, end| Some(Head { status, length, closes, end });
        let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(Head::read(missing), head(404, Some(3), false, 45));
        assert_eq!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n"), head(200, None, false, 19));
        let last = b"HTTP/1.1 200 OK\r\nconnection: Close\r\n\r\n";
        assert_eq!(Head::read(last), head(200, None, true, 38));
        assert_eq!(Head::read(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
