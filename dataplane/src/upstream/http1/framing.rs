//! Where a response's body ends, and whether another response may follow it (RFC 9112, sections 6.3 and 9.3).
//!
//! Pure. Of two possible readings none is chosen: the response is an error.

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::head::HeadError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) end: End,
    /// The connection may carry another request.
    pub(super) keep: bool,
}

/// What ends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Length(u64),
    Chunked,
    /// The end of the connection.
    Close,
    /// There is no body: what follows is another protocol.
    Switch,
}

/// The framing of a final response to a request of this method. Lists the length once where it was said more often.
pub(super) fn framing(method: &Method, response: &mut Response<()>) -> Result<Framing, HeadError> {
    let (status, old) = (response.status(), response.version() == Version::HTTP_10);
    let coded = is_chunked(response.headers(), old)?;
    let length = content_length(response.headers_mut())?;
    // RFC 9112, 6.3: it "ought to be handled as an error"; nobody honest sends both.
    if coded && length.is_some() {
        return Err(HeadError::Ambiguous);
    }
    let keep = !old && !asks_to_close(response.headers());
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Framing { end: End::Switch, keep: false });
    }
    if status == StatusCode::NO_CONTENT {
        // A backend that announces a body here may well send one.
        let silent = !coded && length.unwrap_or(0) == 0;
        return Ok(Framing { end: End::Length(0), keep: keep && silent });
    }
    if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing { end: End::Length(0), keep });
    }
    Ok(match length {
        _ if coded => Framing { end: End::Chunked, keep },
        Some(length) => Framing { end: End::Length(length), keep },
        None => Framing { end: End::Close, keep: false },
    })
}

/// `chunked` once and nothing else: other codings can't be undone here, and must not be passed on as if they were.
fn is_chunked(headers: &HeaderMap, old: bool) -> Result<bool, HeadError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(only), None) if !old && only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(HeadError::TransferEncoding),
    }
}

fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, HeadError> {
    let mut length = None;
    let mut said = 0;
    for value in headers.get_all(CONTENT_LENGTH) {
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let number = number.trim_ascii();
            if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
                return Err(HeadError::ContentLength);
            }
            let number = std::str::from_utf8(number).ok().and_then(|number| number.parse::<u64>().ok());
            let number = number.ok_or(HeadError::ContentLength)?;
            if length.is_some_and(|length| length != number) {
                return Err(HeadError::ContentLength);
            }
            length = Some(number);
            said += 1;
        }
    }
    if let Some(length) = length
        && said > 1
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    lines.any(|line| {
        line.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method, Response, Version};

    use super::{End, Framing, framing};
    use crate::upstream::http1::head::HeadError;

    fn response(status: u16, version: Version, fields: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status).version(version).body(()).unwrap();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        response
    }

    fn of(method: &Method, status: u16, fields: &[(&str, &str)]) -> Result<Framing, HeadError> {
        framing(method, &mut response(status, Version::HTTP_11, fields))
    }

    /// Method, status, fields, and the framing that they make.
    type Case<'a> = (&'a Method, u16, &'a [(&'a str, &'a str)], End, bool);

    const CL: &str = "content-length";
    const TE: &str = "transfer-encoding";

    #[test]
    fn bodies_end_as_rfc_9112_says() {
        let (get, head) = (&Method::GET, &Method::HEAD);
        let cases: &[Case<'_>] = &[
            (get, 200, &[(CL, "5")], End::Length(5), true),
            (get, 200, &[(CL, "0")], End::Length(0), true),
            (get, 200, &[(CL, "18446744073709551615")], End::Length(u64::MAX), true),
            (get, 200, &[(CL, "5"), (CL, "5")], End::Length(5), true),
            (get, 200, &[(CL, "5, 5")], End::Length(5), true),
            (get, 200, &[(TE, "chunked")], End::Chunked, true),
            (get, 200, &[(TE, "Chunked")], End::Chunked, true),
            (get, 200, &[], End::Close, false),
            (get, 200, &[(CL, "5"), ("connection", "x, Close")], End::Length(5), false),
            (
                get,
                200,
                &[(CL, "5"), ("connection", "keep-alive"), ("connection", "close")],
                End::Length(5),
                false,
            ),
            (head, 200, &[(CL, "5")], End::Length(0), true),
            (head, 200, &[(TE, "chunked")], End::Length(0), true),
            (head, 200, &[], End::Length(0), true),
            (get, 304, &[(CL, "5")], End::Length(0), true),
            (get, 204, &[], End::Length(0), true),
            (get, 204, &[(CL, "0")], End::Length(0), true),
            (get, 204, &[(CL, "5")], End::Length(0), false),
            (get, 204, &[(TE, "chunked")], End::Length(0), false),
            (get, 101, &[], End::Switch, false),
        ];
        for (method, status, fields, end, keep) in cases {
            assert_eq!(
                of(method, *status, fields),
                Ok(Framing { end: *end, keep: *keep }),
                "{method} {status} {fields:?}"
            );
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_an_error() {
        for (fields, error) in [
            (&[(CL, "5"), (TE, "chunked")][..], HeadError::Ambiguous),
            (&[(TE, "chunked"), (CL, "5")], HeadError::Ambiguous),
            (&[(CL, "5"), (CL, "6")], HeadError::ContentLength),
            (&[(CL, "5, 6")], HeadError::ContentLength),
            (&[(CL, "")], HeadError::ContentLength),
            (&[(CL, "5,")], HeadError::ContentLength),
            (&[(CL, "+5")], HeadError::ContentLength),
            (&[(CL, "-1")], HeadError::ContentLength),
            (&[(CL, "0x5")], HeadError::ContentLength),
            (&[(CL, "18446744073709551616")], HeadError::ContentLength),
            (&[(TE, "gzip")], HeadError::TransferEncoding),
            (&[(TE, "gzip, chunked")], HeadError::TransferEncoding),
            (&[(TE, "chunked, chunked")], HeadError::TransferEncoding),
            (&[(TE, "chunked"), (TE, "chunked")], HeadError::TransferEncoding),
            (&[(TE, "identity")], HeadError::TransferEncoding),
            (&[(TE, "chunked;q=1")], HeadError::TransferEncoding),
            (&[(TE, "")], HeadError::TransferEncoding),
        ] {
            for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::GET, 304)] {
                assert_eq!(of(&method, status, fields), Err(error), "{method} {status} {fields:?}");
            }
        }
    }

    #[test]
    fn old_servers_end_their_connections() {
        let get =
            |fields: &[(&str, &str)]| framing(&Method::GET, &mut response(200, Version::HTTP_10, fields));
        assert_eq!(get(&[]), Ok(Framing { end: End::Close, keep: false }));
        let kept = get(&[(CL, "5"), ("connection", "keep-alive")]);
        assert_eq!(kept, Ok(Framing { end: End::Length(5), keep: false }));
        assert_eq!(get(&[(TE, "chunked")]), Err(HeadError::TransferEncoding));
    }

    #[test]
    fn a_length_that_was_said_twice_is_passed_on_once() {
        let mut head = response(200, Version::HTTP_11, &[(CL, "5, 5"), (CL, "05")]);
        assert!(framing(&Method::HEAD, &mut head).is_ok());
        assert_eq!(head.headers().get_all(CL).iter().collect::<Vec<_>>(), ["5"]);
    }
}
