//! Cross-origin resource sharing (GEP-1767; the Fetch standard, 3.2).
//!
//! The rule alone decides: what a backend says of other origins is replaced. It never refuses a request, which is the
//! browser's part; it only does not say that the page may have the answer.

use gatehouse_proto::config::v1;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use super::InvalidFilter;

#[derive(Debug, Clone)]
pub(crate) struct Cors {
    origins: Origins,
    credentials: bool,
    methods: Allowed,
    headers: Allowed,
    /// `None`: no more than what every page may read.
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

#[derive(Debug, Clone)]
enum Origins {
    Any,
    Of(Box<[Pattern]>),
}

/// Which origins an entry stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    https: bool,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// In lower case.
    Is(Box<str>),
    /// The same, and begins with the period.
    EndsWith(Box<str>),
}

/// Methods or names of header fields.
#[derive(Debug, Clone)]
enum Allowed {
    None,
    /// Whatever is asked for. Told by name: `*` would not take in `Authorization`, nor anything with credentials.
    Asked,
    Listed(HeaderValue),
}

/// What the response to one request says.
#[derive(Debug)]
pub(crate) struct Sharing {
    origin: Option<HeaderValue>,
    credentials: bool,
    expose: Option<HeaderValue>,
    /// Another origin would be told something else.
    varies: bool,
}

/// The method that a preflight request asks about; `None`: the request is something else.
pub(crate) fn asked_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Cors {
    pub(crate) fn compile(cors: &v1::Cors) -> Result<Self, InvalidFilter> {
        let any = |list: &[String]| list.iter().any(|one| one == "*");
        let allowed = |list: &[String]| {
            Ok(match joined(list)? {
                None => Allowed::None,
                Some(_) if any(list) => Allowed::Asked,
                Some(value) => Allowed::Listed(value),
            })
        };
        Ok(Cors {
            origins: if any(&cors.allow_origins) {
                Origins::Any
            } else {
                Origins::Of(
                    cors.allow_origins.iter().map(|text| Pattern::compile(text)).collect::<Result<_, _>>()?,
                )
            },
            credentials: cors.allow_credentials,
            methods: allowed(&cors.allow_methods)?,
            headers: allowed(&cors.allow_headers)?,
            expose: match joined(&cors.expose_headers)? {
                // With credentials it would be taken as a name (Fetch, 4.10).
                Some(_) if any(&cors.expose_headers) => {
                    (!cors.allow_credentials).then(|| HeaderValue::from_static("*"))
                }
                value => value,
            },
            max_age: HeaderValue::from(cors.max_age_seconds),
        })
    }

    pub(crate) fn sharing(&self, request: &HeaderMap) -> Sharing {
        // `*` takes in every origin only where there are no credentials.
        let everyone = matches!(self.origins, Origins::Any) && !self.credentials;
        let origin = request.get(ORIGIN).filter(|origin| self.admits(origin));
        Sharing {
            credentials: self.credentials && origin.is_some(),
            expose: origin.and(self.expose.clone()),
            origin: origin
                .map(|origin| if everyone { HeaderValue::from_static("*") } else { origin.clone() }),
            varies: !everyone,
        }
    }

    /// The answer to a preflight request, besides what [`Sharing`] says.
    pub(crate) fn preflight(&self, request: &HeaderMap) -> HeaderMap {
        let mut fields = HeaderMap::new();
        if !request.get(ORIGIN).is_some_and(|origin| self.admits(origin)) {
            return fields;
        }
        for (allowed, asked, name) in [
            (&self.methods, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
            (&self.headers, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
        ] {
            let value = match allowed {
                Allowed::None => None,
                Allowed::Asked => request.get(asked).cloned(),
                Allowed::Listed(value) => Some(value.clone()),
            };
            if let Some(value) = value {
                fields.insert(name, value);
            }
        }
        fields.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        fields
    }

    fn admits(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Of(patterns) => {
                let origin = origin.to_str().ok().and_then(Origin::parse);
                origin.is_some_and(|origin| patterns.iter().any(|pattern| pattern.takes(&origin)))
            }
        }
    }
}

impl Sharing {
    pub(crate) fn write(self, response: &mut HeaderMap) {
        let credentials = self.credentials.then(|| HeaderValue::from_static("true"));
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_ORIGIN, self.origin),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials),
            (ACCESS_CONTROL_EXPOSE_HEADERS, self.expose),
        ] {
            match value {
                Some(value) => {
                    response.insert(name, value);
                }
                None => {
                    response.remove(name);
                }
            }
        }
        // Caches must keep the answers apart (Fetch, 3.2.5).
        if self.varies {
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// A serialised origin (RFC 6454, 6.2) of a page that came by HTTP.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    https: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = match rest.split_once(':') {
            None => (rest, if https { 443 } else { 80 }),
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, port.parse().ok()?)
            }
            Some(_) => return None,
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
        (!host.is_empty() && host.bytes().all(is_name)).then_some(Origin { https, host, port })
    }
}

impl Pattern {
    fn compile(text: &str) -> Result<Self, InvalidFilter> {
        let invalid = || {
            InvalidFilter(format!(
                "cors.allowOrigins: {text:?} is no origin: write `*`, or scheme and host such as `https://*.example.com`"
            ))
        };
        let origin = Origin::parse(text).ok_or_else(invalid)?;
        let host = origin.host.to_ascii_lowercase();
        let host = match host.strip_prefix('*') {
            None => Host::Is(host.into()),
            Some("") => Host::Any,
            Some(end) if end.starts_with('.') && end.len() > 1 => Host::EndsWith(end.into()),
            Some(_) => return Err(invalid()),
        };
        match &host {
            Host::Is(rest) | Host::EndsWith(rest) if rest.contains('*') => Err(invalid()),
            _ => Ok(Pattern { https: origin.https, host, port: origin.port }),
        }
    }

    fn takes(&self, origin: &Origin<'_>) -> bool {
        let ends_with = |end: &str| {
            let (host, end) = (origin.host.as_bytes(), end.as_bytes());
            // Something stands before the period.
            host.len() > end.len() && host[host.len() - end.len()..].eq_ignore_ascii_case(end)
        };
        self.https == origin.https
            && self.port == origin.port
            && match &self.host {
                Host::Any => true,
                Host::Is(host) => host.eq_ignore_ascii_case(origin.host),
                Host::EndsWith(end) => ends_with(end),
            }
    }
}

/// As one list; `None`: it is empty.
fn joined(list: &[String]) -> Result<Option<HeaderValue>, InvalidFilter> {
    for name in list {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| InvalidFilter(format!("cors: {name:?} is no method and no header name")))?;
    }
    match list {
        [] => Ok(None),
        list => HeaderValue::try_from(list.join(", "))
            .map(Some)
            .map_err(|_| InvalidFilter("cors: a list holds a control character".into())),
    }
}

#[cfg(test)]
mod tests;
