//! Where credentials stand in a request.

use std::borrow::Cow;

use gatehouse_proto::config::v1::{CredentialSource, credential_source::Kind};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

use super::{Invalid, Request};

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

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Nothing,
    One(Cow<'a, str>),
    Several,
}

impl Source {
    pub(super) fn bearer() -> Self {
        Source::Header { name: AUTHORIZATION, scheme: Some("Bearer".into()) }
    }

    pub(super) fn x_api_key() -> Self {
        Source::Header { name: HeaderName::from_static("x-api-key"), scheme: None }
    }
}

pub(super) fn compile(sources: &[CredentialSource], default: &[Source]) -> Result<Vec<Source>, Invalid> {
    if sources.is_empty() {
        return Ok(default.to_vec());
    }
    sources
        .iter()
        .map(|source| match &source.kind {
            Some(Kind::Header(header)) => Ok(Source::Header {
                name: HeaderName::from_bytes(header.name.as_bytes())
                    .map_err(|_| Invalid(format!("sources: {:?} is no header name", header.name)))?,
                scheme: (!header.scheme.is_empty()).then(|| header.scheme.as_str().into()),
            }),
            Some(Kind::Query(name)) => Ok(Source::Query(name.as_str().into())),
            Some(Kind::Cookie(name)) => Ok(Source::Cookie(name.as_str().into())),
            None => Err(Invalid("sources: this dataplane does not know one of them".into())),
        })
        .collect()
}

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

impl Source {
    fn find<'a>(&self, request: Request<'a>) -> Found<'a> {
        match self {
            Source::Header { name, scheme } => {
                let mut lines = request.headers.get_all(name).iter();
                let Some(line) = lines.next() else { return Found::Nothing };
                if lines.next().is_some() {
                    return Found::Several;
                }
                // What is no text is a credential that can't be right.
                let value = line.to_str().unwrap_or("");
                match scheme {
                    None => Found::One(value.into()),
                    Some(scheme) => {
                        after_scheme(value, scheme).map_or(Found::Nothing, |rest| Found::One(rest.into()))
                    }
                }
            }
            Source::Query(name) => {
                let query = request.query.unwrap_or("");
                one(form_urlencoded::parse(query.as_bytes())
                    .filter(|(key, _)| *key == **name)
                    .map(|(_, value)| value))
            }
            Source::Cookie(name) => one(cookies(request.headers)
                .filter(|(key, _)| *key == &**name)
                .map(|(_, value)| value.into())),
        }
    }
}

fn one<'a>(mut values: impl Iterator<Item = Cow<'a, str>>) -> Found<'a> {
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) => Found::One(value),
        (Some(_), Some(_)) => Found::Several,
    }
}

/// RFC 9110, 11.4: the scheme is compared without case and one space follows.
fn after_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// RFC 6265, 4.2.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// Takes the credentials out. Gives the query without them, if that changes it.
pub(super) fn strip<'s>(
    sources: impl Iterator<Item = &'s Source>,
    headers: &mut HeaderMap,
    query: Option<&str>,
) -> Option<String> {
    let mut stripped: Option<String> = None;
    for source in sources {
        match source {
            Source::Header { name, scheme: None } => {
                headers.remove(name);
            }
            Source::Header { name, scheme: Some(scheme) } => {
                let ours = headers.get(name).and_then(|value| value.to_str().ok());
                if ours.is_some_and(|value| after_scheme(value, scheme).is_some()) {
                    headers.remove(name);
                }
            }
            Source::Query(name) => {
                let Some(current) = stripped.as_deref().or(query) else { continue };
                let is_ours = |pair: &&str| {
                    form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(key, _)| key == **name)
                };
                if current.split('&').any(|pair| is_ours(&pair)) {
                    let kept: Vec<&str> = current.split('&').filter(|pair| !is_ours(pair)).collect();
                    stripped = Some(kept.join("&"));
                }
            }
            Source::Cookie(name) => strip_cookie(headers, name),
        }
    }
    stripped
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    if !cookies(headers).any(|(key, _)| key == name) {
        return;
    }
    let kept: Vec<String> = cookies(headers)
        .filter(|(key, _)| *key != name)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    headers.remove(COOKIE);
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::try_from(kept.join("; "))) {
        headers.insert(COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

    use super::{Found, Request, Source, find, strip};

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_place_and_once() {
        let sources = [Source::bearer(), Source::Query("token".into()), Source::Cookie("token".into())];
        for (lines, query, wanted) in [
            (&[][..], None, Found::Nothing),
            (&[("authorization", "Bearer t")], None, Found::One("t".into())),
            (&[("authorization", "bearer t")], None, Found::One("t".into())),
            (&[("authorization", "Bearer\tt")], None, Found::Nothing),
            (&[("authorization", "Basic t")], None, Found::Nothing),
            (&[("authorization", "Bearer t"), ("authorization", "Bearer t")], None, Found::Several),
            (&[], Some("a=1&token=x%2Ey"), Found::One("x.y".into())),
            (&[], Some("token=x&token=y"), Found::Several),
            (&[("cookie", "a=b; token=c")], None, Found::One("c".into())),
            (&[("authorization", "Bearer t")], Some("token=t"), Found::Several),
        ] {
            let headers = headers(lines);
            assert_eq!(find(&sources, Request { headers: &headers, query }), wanted, "{lines:?} {query:?}");
        }
    }

    #[test]
    fn credentials_are_taken_out_and_the_rest_stays() {
        let sources =
            [Source::bearer(), Source::x_api_key(), Source::Query("key".into()), Source::Cookie("k".into())];
        let mut request = headers(&[
            ("authorization", "Basic other"),
            ("x-api-key", "secret"),
            ("cookie", "a=b; k=secret"),
        ]);
        let query = strip(sources.iter(), &mut request, Some("a=1&key=secret&b=%20"));
        assert_eq!(query.as_deref(), Some("a=1&b=%20"));
        assert_eq!(request[AUTHORIZATION], "Basic other");
        assert_eq!(request["cookie"], "a=b");
        assert!(!request.contains_key("x-api-key"));
        assert_eq!(strip(sources.iter(), &mut request, Some("a=1")), None);
    }
}
