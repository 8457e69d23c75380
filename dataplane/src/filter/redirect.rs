//! Redirects (HTTPRequestRedirectFilter).

use gatehouse_proto::config::v1;
use http::{HeaderValue, StatusCode};

use super::{InvalidFilter, PathRewrite};
use crate::Reason;

#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    scheme: Option<Box<str>>,
    hostname: Option<Box<str>>,
    path: Option<PathRewrite>,
    port: Option<u16>,
    pub(crate) status: StatusCode,
}

/// The parts of a request that a redirect keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Original<'a> {
    pub(crate) scheme: &'static str,
    pub(crate) host: &'a str,
    /// The port that the listener is known by.
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) matched: Option<usize>,
}

impl Redirect {
    pub(crate) fn compile(redirect: &v1::Redirect) -> Result<Self, InvalidFilter> {
        let some = |text: &str| (!text.is_empty()).then(|| Box::from(text));
        let status = match redirect.status {
            0 => StatusCode::FOUND,
            301 | 302 | 303 | 307 | 308 => u16::try_from(redirect.status)
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok())
                .unwrap_or(StatusCode::FOUND),
            other => {
                return Err(InvalidFilter(format!("redirect status {other}: use 301, 302, 303, 307 or 308")));
            }
        };
        let port = u16::try_from(redirect.port)
            .map_err(|_| InvalidFilter(format!("redirect port {} is above 65535", redirect.port)))?;
        Ok(Redirect {
            scheme: some(&redirect.scheme),
            hostname: some(&redirect.hostname),
            path: PathRewrite::compile(redirect.path.as_ref())?,
            port: (port != 0).then_some(port),
            status,
        })
    }

    /// The port is the filter's, else the filter's scheme's own, else the listener's; it is left out where it is the
    /// scheme's default.
    pub(crate) fn location(&self, original: Original<'_>) -> Result<HeaderValue, Reason> {
        let scheme = self.scheme.as_deref().unwrap_or(original.scheme);
        let host = self.hostname.as_deref().unwrap_or(original.host);
        let default = default_port(scheme);
        let port = match (self.port, &self.scheme) {
            (Some(port), _) => Some(port),
            (None, Some(_)) if default.is_some() => default,
            (None, _) => Some(original.port),
        };
        let path = match &self.path {
            Some(rewrite) => rewrite.apply(original.path, original.matched)?,
            None => original.path.into(),
        };
        let mut location = format!("{scheme}://{host}");
        if let Some(port) = port.filter(|port| Some(*port) != default) {
            location.push_str(&format!(":{port}"));
        }
        location.push_str(&path);
        if let Some(query) = original.query {
            location.push('?');
            location.push_str(query);
        }
        HeaderValue::try_from(location).map_err(|_| Reason::BadRequest)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1;

    use super::{Original, Redirect};

    #[test]
    fn ports() {
        for (scheme, port, listener, wanted) in [
            ("", 0, 80, "http://a/x?q=1"),
            ("", 0, 8080, "http://a:8080/x?q=1"),
            ("", 80, 8080, "http://a/x?q=1"),
            ("", 443, 80, "http://a:443/x?q=1"),
            ("http", 0, 8080, "http://a/x?q=1"),
            ("https", 0, 80, "https://a/x?q=1"),
            ("https", 0, 8080, "https://a/x?q=1"),
            ("https", 443, 80, "https://a/x?q=1"),
            ("https", 8443, 80, "https://a:8443/x?q=1"),
        ] {
            let filter = v1::Redirect { scheme: scheme.into(), port, ..v1::Redirect::default() };
            let original = Original {
                scheme: "http",
                host: "a",
                port: listener,
                path: "/x",
                query: Some("q=1"),
                matched: Some(0),
            };
            let location = Redirect::compile(&filter).unwrap().location(original).unwrap();
            assert_eq!(location, wanted, "{scheme:?} {port} on {listener}");
        }
    }

    #[test]
    fn unknown_statuses_are_refused() {
        assert!(Redirect::compile(&v1::Redirect { status: 200, ..v1::Redirect::default() }).is_err());
    }
}
