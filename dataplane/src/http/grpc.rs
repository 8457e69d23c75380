//! What of gRPC shows in HTTP (gRPC over HTTP/2: Requests, Responses).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header::CONTENT_TYPE};
use prost::Message;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// By the content type of gRPC, and not that of its relatives such as gRPC-Web.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let Some(rest) = value.as_bytes().strip_prefix(b"application/grpc") else { return false };
    matches!(rest, [] | [b'+' | b';', ..])
}

/// The time that the client gives the call: at most eight digits and a unit.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let are_digits = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let value: u64 = digits.parse().ok().filter(|_| are_digits)?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// A message as it stands in a body: not compressed.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

/// The one message of a body. `None`: it is none, several, or compressed.
pub(crate) fn unframe<M: Message + Default>(framed: &[u8]) -> Option<M> {
    let (head, message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    M::decode(message).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{frame, timeout, unframe};

    #[test]
    fn one_message_is_framed() {
        let text = "a.B".to_owned();
        assert_eq!(&frame(&text)[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        assert_eq!(unframe::<String>(&frame(&text)), Some(text));
        assert_eq!(unframe::<String>(&[0, 0, 0, 0, 0]), Some(String::new()));
        for bad in
            [&[][..], &[0, 0, 0, 0, 2, 8], &[0, 0, 0, 0, 1, 0x0a, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1, 8]]
        {
            assert_eq!(unframe::<String>(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn timeouts_of_calls() {
        let of = |text: &str| {
            let value = HeaderValue::try_from(text).unwrap();
            timeout(&HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), value)]))
        };
        for (text, wanted) in [
            ("2H", Duration::from_secs(7200)),
            ("2M", Duration::from_secs(120)),
            ("20S", Duration::from_secs(20)),
            ("100m", Duration::from_millis(100)),
            ("7u", Duration::from_micros(7)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(of(text), Some(wanted), "{text}");
        }
        for bad in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S", "\u{e9}"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
