//! How annotations of ingress-nginx are read: by the Ingresses of our classes that carry some, and by who converts the rest.

use std::net::IpAddr;

use gatehouse_crds::{Cors, Header, PathModifier, PathModifierType, Redirect, Respond};

use super::check;

/// What each of them begins with.
pub const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// Bytes that a body may have where nobody says more.
pub const BODY: i64 = 1 << 20;

/// Those of CORS, where they are not said.
const CORS_METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const CORS_HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization";
const CORS_MAX_AGE: i32 = 1_728_000;

/// What `(/|$)(.*)` at the end of a path makes of it: the path itself and all below.
const BELOW: &str = "(/|$)(.*)";
/// The rewrite that goes with it, and that of `/(.*)`.
const REST: &str = "/$2";
const ALL: &str = "/$1";

/// Stands for the path and query of a request.
const REQUEST_URI: &str = "$request_uri";

/// `true` and `1`, as Go reads it.
pub fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A list in a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// `8m`, `1024k`, `0`, in bytes.
pub fn bytes(text: &str) -> Option<i64> {
    scaled(text, |unit| match unit {
        'k' | 'K' => Some(1 << 10),
        'm' | 'M' => Some(1 << 20),
        'g' | 'G' => Some(1 << 30),
        _ => None,
    })
}

/// `60`, `60s`, `5m`, `1h`, in seconds.
pub fn seconds(text: &str) -> Option<i64> {
    scaled(text, |unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        _ => None,
    })
}

fn scaled(text: &str, factor: impl Fn(char) -> Option<i64>) -> Option<i64> {
    let text = text.trim();
    let (end, unit) = text.char_indices().next_back()?;
    let (number, factor) = match factor(unit) {
        Some(factor) => (&text[..end], factor),
        None => (text, 1),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(factor)
}

/// A path that is written as an expression of one of the usual shapes, or as no expression at all: the prefix that it is, and
/// what becomes of the path. `None`: it is of another shape.
pub fn usual(path: &str, target: Option<&str>) -> Option<(String, Option<PathModifier>)> {
    let prefix_to = |to: &str| PathModifier {
        kind: PathModifierType::ReplacePrefixMatch,
        replace_full_path: None,
        replace_prefix_match: Some(to.to_owned()),
        replace_regex_match: None,
    };
    let (prefix, rewrite) = match (path.strip_suffix(BELOW), target) {
        (Some(base), None) => (base, None),
        (Some(base), Some(REST)) => (base, Some(prefix_to("/"))),
        (Some(_), Some(_)) => return None,
        (None, None | Some(ALL)) if path == "/(.*)" => ("/", None),
        (None, None) => (path, None),
        (None, Some(target)) if is_plain(target) => {
            let full = PathModifier {
                kind: PathModifierType::ReplaceFullPath,
                replace_full_path: Some(target.to_owned()),
                ..prefix_to("")
            };
            (path, Some(PathModifier { replace_prefix_match: None, ..full }))
        }
        (None, Some(_)) => return None,
    };
    let is_path = is_plain(prefix) && (prefix == "/" || !prefix.ends_with('/'));
    is_path.then(|| (prefix.to_owned(), rewrite))
}

/// A path without expressions, variables and query.
fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && !b"\\^$|?*+()[]{}#<>\"`%".contains(&byte))
}

/// What sends clients elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub enum Moved {
    /// To this URL, whatever was asked for.
    To(Respond),
    /// To another server, for the same.
    Along(Redirect),
}

/// `permanent-redirect` and `temporal-redirect`. `None`: it leads to a URL with variables, other than the request's path and
/// query at its end.
pub fn moved(target: &str, code: i32) -> Option<Moved> {
    if !target.contains('$') {
        let headers = vec![Header { name: "Location".into(), value: target.to_owned() }];
        return Some(Moved::To(Respond { status: code, headers, body: String::new() }));
    }
    let base = target.strip_suffix(REQUEST_URI)?;
    let (scheme, authority) = base.split_once("://")?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let port = if port.is_empty() { None } else { Some(port.parse::<u16>().ok()?.into()) };
    let is_host =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let is_served =
        is_host && ["http", "https"].contains(&scheme) && [301, 302, 303, 307, 308].contains(&code);
    is_served.then(|| {
        Moved::Along(Redirect {
            scheme: Some(scheme.to_owned()),
            hostname: Some(host.to_ascii_lowercase()),
            path: None,
            port,
            status_code: Some(code),
        })
    })
}

/// What is said of other origins, and what of it is not understood. `annotation`: what one of them says.
pub fn cors(annotation: impl Fn(&str) -> Option<String>) -> (Cors, Vec<String>) {
    let list = |name: &str, default: &str| {
        let text = annotation(name).unwrap_or_else(|| default.to_owned());
        let mut list: Vec<String> = Vec::new();
        for word in words(&text) {
            if !list.iter().any(|known| known == word) {
                list.push(word.to_owned());
            }
        }
        list
    };
    let given = list("cors-allow-origin", "*");
    let given = given.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase());
    let (origins, wrong): (Vec<String>, Vec<String>) =
        given.partition(|origin| check::origin(origin).is_ok());
    let is_any = origins.iter().any(|origin| origin == "*");
    let asked = annotation("cors-allow-credentials").and_then(|text| flag(&text)).unwrap_or(true);
    let age = annotation("cors-max-age").and_then(|text| text.parse().ok()).unwrap_or(CORS_MAX_AGE);
    let mut exposed = list("cors-expose-headers", "");
    // Beside credentials browsers take `*` for a name.
    exposed.retain(|name| !asked || name != "*");
    let cors = Cors {
        allow_origins: if is_any { vec!["*".into()] } else { origins },
        // And they refuse them beside any origin.
        allow_credentials: asked && !is_any,
        allow_methods: list("cors-allow-methods", CORS_METHODS),
        allow_headers: list("cors-allow-headers", CORS_HEADERS),
        expose_headers: exposed,
        max_age: age.max(1),
    };
    (cors, wrong)
}

/// Ranges of addresses; the error is the word that is none.
pub fn ranges(text: &str) -> Result<Vec<String>, String> {
    let mut ranges: Vec<String> = Vec::new();
    for word in words(text) {
        if word.split('/').next().is_none_or(|address| address.parse::<IpAddr>().is_err()) {
            return Err(word.to_owned());
        }
        if !ranges.iter().any(|known| known == word) {
            ranges.push(word.to_owned());
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::{Moved, bytes, cors, moved, seconds, usual};

    #[test]
    fn units() {
        for (text, wanted) in [
            ("8m", Some(8 << 20)),
            ("1G", Some(1 << 30)),
            ("0", Some(0)),
            ("1024k", Some(1 << 20)),
            ("-1m", None),
            ("", None),
            ("m", None),
            ("1mb", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
        for (text, wanted) in
            [("60", Some(60)), ("5s", Some(5)), ("2m", Some(120)), ("1ms", None), ("", None)]
        {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }

    #[test]
    fn usual_shapes_are_prefixes() {
        for (path, target, wanted) in [
            ("/x(/|$)(.*)", Some("/$2"), Some("/x")),
            ("/x(/|$)(.*)", Some("/y/$2"), None),
            ("/(.*)", Some("/$1"), Some("/")),
            ("/x/(.*)", Some("/$1"), None),
            ("/x", Some("/"), Some("/x")),
            ("/x", None, Some("/x")),
            ("/x/", None, None),
            ("/x[0-9]+", None, None),
            ("/x", Some("/y?z"), None),
        ] {
            let prefix = usual(path, target).map(|(prefix, _)| prefix);
            assert_eq!(prefix.as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn urls_with_and_without_the_request() {
        let Some(Moved::To(respond)) = moved("https://a.com/x?y=1", 308) else { panic!("a URL") };
        assert_eq!(respond.headers[0].value, "https://a.com/x?y=1");
        let Some(Moved::Along(redirect)) = moved("https://A.com:8443$request_uri", 301) else {
            panic!("a server")
        };
        assert_eq!((redirect.hostname.as_deref(), redirect.port), (Some("a.com"), Some(8443)));
        for target in [
            "https://$host/x",
            "https://a.com/x$request_uri",
            "https://a.com/$request_uri",
            "$scheme://a.com",
        ] {
            assert!(moved(target, 301).is_none(), "{target}");
        }
    }

    #[test]
    fn origins_and_credentials() {
        let (any, wrong) = cors(|_| None);
        assert!(any.allow_origins == ["*"] && !any.allow_credentials && wrong.is_empty());
        let said = |name: &str| (name == "cors-allow-origin").then(|| "https://A.com, a.com".to_owned());
        let (some, wrong) = cors(said);
        assert!(some.allow_origins == ["https://a.com"] && some.allow_credentials && wrong == ["a.com"]);
    }
}
