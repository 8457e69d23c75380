//! Which answers are compressed on their way to a client, and how (RFC 9110, 8.4 and 12.5.3).

mod accepted;
mod encoder;
#[cfg(test)]
mod tests;

use gatehouse_proto::config::v1;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG,
        HeaderName, VARY,
    },
};

use crate::http::headers::words;
pub(crate) use encoder::Encoder;

/// Digests of the bytes that a backend sent, and not of those that a client gets (RFC 9530).
const OF_CONTENT: [HeaderName; 2] =
    [HeaderName::from_static("content-digest"), HeaderName::from_static("content-md5")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

/// What a TrafficPolicy says.
#[derive(Debug)]
pub(crate) struct Compression {
    /// The one that is liked best first.
    codings: Box<[Coding]>,
    /// Bytes.
    min_length: u64,
    content_types: Box<[ContentType]>,
}

#[derive(Debug)]
struct ContentType {
    /// With its slash.
    kind: Box<str>,
    /// `None`: every one.
    name: Option<Box<str>>,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }
}

impl Compression {
    pub(crate) fn compile(wire: &v1::Compression) -> Result<Self, String> {
        let coding = |coding: &i32| match v1::Coding::try_from(*coding) {
            Ok(v1::Coding::Gzip) => Ok(Coding::Gzip),
            Ok(v1::Coding::Brotli) => Ok(Coding::Brotli),
            Ok(v1::Coding::Zstd) => Ok(Coding::Zstd),
            Ok(v1::Coding::Unspecified) | Err(_) => Err("compression: this dataplane does not know a coding"),
        };
        Ok(Compression {
            codings: wire.codings.iter().map(coding).collect::<Result<_, _>>()?,
            min_length: wire.min_length,
            content_types: wire.content_types.iter().filter_map(|text| ContentType::new(text)).collect(),
        })
    }

    /// What a client takes, of what there is.
    pub(crate) fn accepted(&self, request: &HeaderMap) -> Option<Coding> {
        accepted::best(&self.codings, request.get_all(ACCEPT_ENCODING))
    }

    /// Prepares the head of an answer whose body is to go through the encoder. `accepted`: what the client takes; `length`:
    /// of the body, where it is known. `None`: it goes out as it is.
    pub(crate) fn begin(
        &self,
        accepted: Option<Coding>,
        status: StatusCode,
        headers: &mut HeaderMap,
        length: Option<u64>,
    ) -> Option<Encoder> {
        if !self.is_worth_it(status, headers, length) {
            return None;
        }
        // Caches must know that others get another answer.
        vary(headers);
        let coding = accepted?;
        let encoder = Encoder::new(coding).ok()?;
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        headers.remove(ACCEPT_RANGES);
        for name in &OF_CONTENT {
            headers.remove(name);
        }
        // The bytes are others; what they say is the same.
        let weak = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        let weak = weak.map(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()));
        if let Some(Ok(weak)) = weak {
            headers.insert(ETAG, weak);
        }
        Some(encoder)
    }

    fn is_worth_it(&self, status: StatusCode, headers: &HeaderMap, length: Option<u64>) -> bool {
        let without_body = matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::PARTIAL_CONTENT
        );
        let is_left_alone = headers.contains_key(CONTENT_ENCODING)
            || headers.contains_key(CONTENT_RANGE)
            || has_token(headers, &CACHE_CONTROL, "no-transform");
        !without_body
            && !status.is_informational()
            && !is_left_alone
            && length.is_none_or(|length| length >= self.min_length)
            && headers.get(CONTENT_TYPE).is_some_and(|value| self.takes_type(value))
    }

    fn takes_type(&self, value: &HeaderValue) -> bool {
        let Ok(value) = value.to_str() else { return false };
        let essence = value.split(';').next().unwrap_or("").trim();
        self.content_types.iter().any(|content_type| content_type.is(essence))
    }
}

impl ContentType {
    fn new(text: &str) -> Option<Self> {
        let (kind, name) = text.split_at(text.find('/')? + 1);
        Some(ContentType { kind: kind.into(), name: (name != "*").then(|| name.into()) })
    }

    fn is(&self, essence: &str) -> bool {
        let kind = essence.get(..self.kind.len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(&self.kind))
            && self.name.as_ref().is_none_or(|name| essence[self.kind.len()..].eq_ignore_ascii_case(name))
    }
}

fn vary(headers: &mut HeaderMap) {
    if !has_token(headers, &VARY, ACCEPT_ENCODING.as_str()) && !has_token(headers, &VARY, "*") {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// In a list of words.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(token))
}
