//! What a request asks for: one canonical path and one host, computed once, before routing. Matching, policies, limits,
//! rewrites, logs and the backend all see the same.
//!
//! | in the path | becomes |
//! |---|---|
//! | `%41`, `%7e` (unreserved, RFC 3986 2.3) | `A`, `~` |
//! | `%2f`, `%5c` and other escapes | kept, in upper case; never equal to `/` |
//! | `/./`, `/../`, also as `%2e` | resolved; above the root: 400 |
//! | `//`, `;params` | kept |
//! | `%00`, `%zz`, `\`, `"`, `<`, `>`, space, control and non-ASCII bytes | 400 |
//!
//! The host is in lower case, without port and final dot. An absolute-form target and the Host field, or `:authority`
//! and Host in HTTP/2, must name the same; user information, a second port and anything but letters, digits, `-`, `_`
//! and `.` (or an IPv6 literal) are 400.

use std::borrow::Cow;

use http::{HeaderMap, Method, Uri, header::HOST};

use crate::Reason;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) path: Cow<'a, str>,
    pub(crate) query: Option<&'a str>,
    pub(crate) host: Cow<'a, str>,
    /// As the client wrote it, with its port.
    pub(crate) authority: &'a str,
}

impl<'a> Target<'a> {
    pub(crate) fn of(method: &Method, uri: &'a Uri, headers: &'a HeaderMap) -> Result<Self, Reason> {
        if method == Method::CONNECT {
            return Err(Reason::MethodUnsupported);
        }
        let authority = authority(uri, headers)?;
        let path = match uri.path() {
            // OPTIONS for the server as a whole has no path to route by.
            "*" => return Err(Reason::BadRequest),
            path => canonical_path(path)?,
        };
        Ok(Target { path, query: uri.query(), host: canonical_host(authority)?, authority })
    }
}

fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Reason> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| Reason::BadRequest)).transpose()?;
    if hosts.next().is_some() {
        return Err(Reason::BadRequest);
    }
    let in_target = uri.authority().map(http::uri::Authority::as_str);
    match (in_target, host) {
        (Some(target), Some(host)) if target.eq_ignore_ascii_case(host) => Ok(host),
        (Some(_), Some(_)) | (None, None) => Err(Reason::BadRequest),
        (Some(one), None) | (None, Some(one)) => Ok(one),
    }
}

/// `Err` for what is no host and optional port.
fn canonical_host(authority: &str) -> Result<Cow<'_, str>, Reason> {
    let name_end = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']').ok_or(Reason::BadRequest)? + 1;
            rest[..end - 1].parse::<std::net::Ipv6Addr>().map_err(|_| Reason::BadRequest)?;
            end + 1
        }
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at(name_end);
    if let Some(port) = port.strip_prefix(':') {
        if !port.is_empty() && port.parse::<u16>().is_err() || port.starts_with('+') {
            return Err(Reason::BadRequest);
        }
    } else if !port.is_empty() {
        return Err(Reason::BadRequest);
    }
    let name = if name.starts_with('[') {
        name
    } else {
        let name = name.strip_suffix('.').unwrap_or(name);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(Reason::BadRequest);
        }
        name
    };
    Ok(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// `Err` for a path that is malformed or leaves the root.
pub(crate) fn canonical_path(path: &str) -> Result<Cow<'_, str>, Reason> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(Reason::BadRequest);
    }
    let mut needs_work = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => needs_work = true,
            // A segment that begins with a dot may be a dot segment.
            b'.' => needs_work |= bytes[at - 1] == b'/',
            b'"' | b'<' | b'>' | b'\\' | b'#' | b'?' | 0..=b' ' | 0x7f.. => return Err(Reason::BadRequest),
            _ => {}
        }
    }
    if !needs_work {
        return Ok(Cow::Borrowed(path));
    }
    resolve_dots(&normal_escapes(bytes)?).map(Cow::Owned)
}

/// Decodes what needs no escape and writes the other escapes in upper case.
fn normal_escapes(bytes: &[u8]) -> Result<String, Reason> {
    let mut normal = String::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            normal.push(char::from(byte));
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Reason::BadRequest) };
        match u8::try_from(16 * high + low).unwrap_or(0) {
            0 => return Err(Reason::BadRequest),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                for digit in [high, low] {
                    normal.extend(char::from_digit(digit, 16).map(|digit| digit.to_ascii_uppercase()));
                }
            }
        }
    }
    Ok(normal)
}

/// RFC 3986, 5.2.4, but what would leave the root is refused.
fn resolve_dots(path: &str) -> Result<String, Reason> {
    let mut segments: Vec<&str> = Vec::new();
    let mut all = path[1..].split('/').peekable();
    while let Some(segment) = all.next() {
        let last = all.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop().ok_or(Reason::BadRequest)?;
                }
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Uri, header::HOST};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{Target, canonical_host, canonical_path};
    use crate::Reason;

    #[test]
    fn paths() {
        for (path, wanted) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a//b/", Ok("/a//b/")),
            ("/a;v=1/b", Ok("/a;v=1/b")),
            ("/%61dmin", Ok("/admin")),
            ("/a%2fb%5c", Ok("/a%2Fb%5C")),
            ("/a%20b%25zz", Ok("/a%20b%25zz")),
            ("/a/./b/.", Ok("/a/b/")),
            ("/a/x/../b", Ok("/a/b")),
            ("/a/%2e%2E/b", Ok("/b")),
            ("/a/..", Ok("/")),
            ("/.hidden/a.b", Ok("/.hidden/a.b")),
            ("/...", Ok("/...")),
            ("/..", Err(Reason::BadRequest)),
            ("/a/../../b", Err(Reason::BadRequest)),
            ("/%2e%2e/b", Err(Reason::BadRequest)),
            ("/a%00", Err(Reason::BadRequest)),
            ("/a%zz", Err(Reason::BadRequest)),
            ("/a%2", Err(Reason::BadRequest)),
            ("/a\\b", Err(Reason::BadRequest)),
            ("/a\u{e9}", Err(Reason::BadRequest)),
            ("/a b", Err(Reason::BadRequest)),
            ("", Err(Reason::BadRequest)),
            ("a", Err(Reason::BadRequest)),
        ] {
            assert_eq!(canonical_path(path).as_deref().map_err(|reason| *reason), wanted, "{path:?}");
        }
    }

    #[test]
    fn hosts() {
        for (authority, wanted) in [
            ("a.example.com", Ok("a.example.com")),
            ("A.Example.COM.:8080", Ok("a.example.com")),
            ("a:", Ok("a")),
            ("[::1]:80", Ok("[::1]")),
            ("my_host", Ok("my_host")),
            ("a:80:80", Err(Reason::BadRequest)),
            ("a:99999", Err(Reason::BadRequest)),
            ("a:+80", Err(Reason::BadRequest)),
            ("user@a", Err(Reason::BadRequest)),
            ("a\\b", Err(Reason::BadRequest)),
            ("a b", Err(Reason::BadRequest)),
            ("", Err(Reason::BadRequest)),
            (".", Err(Reason::BadRequest)),
            ("[::1", Err(Reason::BadRequest)),
            ("[x]", Err(Reason::BadRequest)),
            ("[::1]x", Err(Reason::BadRequest)),
        ] {
            assert_eq!(
                canonical_host(authority).as_deref().map_err(|reason| *reason),
                wanted,
                "{authority:?}"
            );
        }
    }

    #[test]
    fn one_authority() {
        let of = |uri: &'static str, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            Target::of(&Method::GET, &Uri::from_static(uri), &headers).map(|target| target.host.into_owned())
        };
        assert_eq!(of("/x", &["a"]).as_deref(), Ok("a"));
        assert_eq!(of("http://a:80/x", &["A:80"]).as_deref(), Ok("a"));
        assert_eq!(of("http://a/x", &[]).as_deref(), Ok("a"));
        assert_eq!(of("http://a/x", &["b"]), Err(Reason::BadRequest));
        assert_eq!(of("/x", &["a", "a"]), Err(Reason::BadRequest));
        assert_eq!(of("/x", &[]), Err(Reason::BadRequest));
        assert_eq!(of("*", &["a"]), Err(Reason::BadRequest));
    }

    proptest! {
        /// A canonical path is its own canonical form, stays under the root and hides no dot segment.
        #[test]
        fn canonical_is_final(path in "/[a-c./%2eEfF0-9~-]{0,40}") {
            if let Ok(canonical) = canonical_path(&path) {
                prop_assert!(canonical.starts_with('/'));
                prop_assert!(!canonical.split('/').any(|segment| segment == "." || segment == ".."));
                let again = canonical_path(&canonical);
                prop_assert_eq!(again.as_deref(), Ok(&*canonical));
            }
        }
    }
}
