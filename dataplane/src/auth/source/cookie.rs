//! Cookies of a request (RFC 6265, 4.2), read and removed byte by byte: what is no text is somebody's all the same.

use http::{HeaderMap, HeaderValue, header::COOKIE};

/// The values of a cookie, over all lines: HTTP/2 may send each pair by itself (RFC 9113, 8.2.3).
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| pairs(line.as_bytes()))
        .filter_map(move |pair| value_of(pair, name))
}

/// Leaves the other cookies as they are.
pub(super) fn remove(headers: &mut HeaderMap, name: &str) {
    if values(headers, name).next().is_none() {
        return;
    }
    let others: Vec<Vec<u8>> = headers
        .get_all(COOKIE)
        .iter()
        .map(|line| {
            let kept: Vec<&[u8]> =
                pairs(line.as_bytes()).filter(|pair| value_of(pair, name).is_none()).collect();
            kept.join(&b"; "[..])
        })
        .collect();
    headers.remove(COOKIE);
    for line in others.iter().filter(|line| !line.is_empty()) {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, line);
        }
    }
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    (pair[..at].trim_ascii_end() == name.as_bytes()).then(|| pair[at + 1..].trim_ascii_start())
}
