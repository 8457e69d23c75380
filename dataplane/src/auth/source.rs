//! Where credentials stand in a request: how they are found there, and taken out.
//!
//! A source holds a credential as soon as something stands there, be it ever so broken: what is found decides, and must
//! not pass as a request without a credential.

mod cookie;
mod query;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, str};

use gatehouse_proto::config::v1::{CredentialSource, credential_source::Kind};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

use super::{Invalid, Request};
use crate::http::headers;
pub(crate) use cookie::values as cookie_values;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The whole value, or what follows the scheme and a space.
    Header {
        name: HeaderName,
        scheme: Option<Box<str>>,
    },
    Query(Box<str>),
    Cookie(Box<str>),
}

/// Deliberately without `Debug`.
#[derive(PartialEq, Eq)]
pub(super) enum Found<'a> {
    Nothing,
    /// Empty if what stands there is malformed; no credential is empty.
    One(Cow<'a, str>),
    Several,
}

impl Source {
    pub(super) fn bearer() -> Self {
        Source::Header { name: AUTHORIZATION, scheme: Some("Bearer".into()) }
    }

    pub(super) fn basic() -> Self {
        Source::Header { name: AUTHORIZATION, scheme: Some("Basic".into()) }
    }

    pub(super) fn x_api_key() -> Self {
        Source::Header { name: HeaderName::from_static("x-api-key"), scheme: None }
    }

    fn compile(source: &CredentialSource) -> Result<Self, Invalid> {
        match &source.kind {
            Some(Kind::Header(header)) => {
                let name = HeaderName::from_bytes(header.name.as_bytes())
                    .map_err(|_| Invalid(format!("sources: {:?} is no header name", header.name)))?;
                if name == COOKIE || headers::is_ours(&name) {
                    return Err(Invalid(format!("sources: header {name} can't hold a credential")));
                }
                Ok(Source::Header {
                    name,
                    scheme: (!header.scheme.is_empty()).then(|| header.scheme.as_str().into()),
                })
            }
            Some(Kind::Query(name)) if !name.is_empty() => Ok(Source::Query(name.as_str().into())),
            Some(Kind::Cookie(name)) if !name.is_empty() => Ok(Source::Cookie(name.as_str().into())),
            Some(Kind::Query(_) | Kind::Cookie(_)) => Err(Invalid("sources: a name is empty".into())),
            None => Err(Invalid("sources: this dataplane does not know one of them".into())),
        }
    }

    /// One value could be found through both.
    fn overlaps(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Header { name, scheme }, Source::Header { name: other, scheme: others }) => {
                let differ = |a: &str, b: &str| !a.eq_ignore_ascii_case(b);
                name == other && !matches!((scheme, others), (Some(a), Some(b)) if differ(a, b))
            }
            _ => self == other,
        }
    }

    pub(super) fn is_header(&self, wanted: &HeaderName) -> bool {
        matches!(self, Source::Header { name, .. } if name == wanted)
    }

    fn find<'a>(&self, request: Request<'a>) -> Found<'a> {
        match self {
            Source::Header { name, scheme } => {
                let mut lines = request.headers.get_all(name).iter();
                let Some(line) = lines.next() else { return Found::Nothing };
                if lines.next().is_some() {
                    return Found::Several;
                }
                let value = match scheme {
                    None => Some(line.as_bytes()),
                    Some(scheme) => after_scheme(line.as_bytes(), scheme),
                };
                value.map_or(Found::Nothing, |value| Found::One(text(value)))
            }
            Source::Query(name) => one(query::values(request.query.unwrap_or(""), name)),
            Source::Cookie(name) => one(cookie::values(request.headers, name).map(text)),
        }
    }

    /// Gives the query without the credential, if that changes it.
    fn strip(&self, headers: &mut HeaderMap, query: Option<&str>) -> Option<String> {
        match self {
            Source::Header { name, scheme: None } => {
                headers.remove(name);
            }
            Source::Header { name, scheme: Some(scheme) } => {
                let is_ours = |value: &HeaderValue| after_scheme(value.as_bytes(), scheme).is_some();
                if headers.get_all(name).iter().any(is_ours) {
                    let others: Vec<_> =
                        headers.get_all(name).iter().filter(|value| !is_ours(value)).cloned().collect();
                    headers.remove(name);
                    for value in others {
                        headers.append(name, value);
                    }
                }
            }
            Source::Query(name) => return query.and_then(|query| query::without(query, name)),
            Source::Cookie(name) => cookie::remove(headers, name),
        }
        None
    }
}

/// `default` stands for an empty list.
pub(super) fn compile(sources: &[CredentialSource], default: Source) -> Result<Vec<Source>, Invalid> {
    let mut compiled: Vec<Source> = Vec::new();
    for source in sources {
        let source = Source::compile(source)?;
        if compiled.iter().any(|other| other.overlaps(&source)) {
            return Err(Invalid("sources: two of them name the same place".into()));
        }
        compiled.push(source);
    }
    if compiled.is_empty() {
        compiled.push(default);
    }
    Ok(compiled)
}

/// RFC 6750, 2: a client must not use more than one way at a time.
pub(super) fn find<'a>(sources: &[Source], request: Request<'a>) -> Found<'a> {
    let mut found = Found::Nothing;
    for source in sources {
        match (source.find(request), &found) {
            (Found::Nothing, _) => {}
            (one, Found::Nothing) => found = one,
            _ => return Found::Several,
        }
    }
    found
}

/// Takes the credentials out. Gives the query without them, if that changes it.
pub(super) fn strip<'s>(
    sources: impl Iterator<Item = &'s Source>,
    headers: &mut HeaderMap,
    query: Option<&str>,
) -> Option<String> {
    let mut stripped: Option<String> = None;
    for source in sources {
        if let Some(shorter) = source.strip(headers, stripped.as_deref().or(query)) {
            stripped = Some(shorter);
        }
    }
    stripped
}

fn one<'a>(mut values: impl Iterator<Item = Cow<'a, str>>) -> Found<'a> {
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) => Found::One(value),
        (Some(_), Some(_)) => Found::Several,
    }
}

/// RFC 9110, 11.4: the scheme is compared without case, and spaces follow. With a tab, or with nothing, the scheme is
/// there all the same, and what follows is malformed.
fn after_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    let (found, rest) = value.split_at(end);
    if !found.eq_ignore_ascii_case(scheme.as_bytes()) {
        return None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Some(if spaces == 0 { b"" } else { &rest[spaces..] })
}

fn text(value: &[u8]) -> Cow<'_, str> {
    str::from_utf8(value).unwrap_or("").into()
}
