//! What a Kong route matches, as a GatewayRoute says it.
//!
//! Kong's plain paths are prefixes of the text: `/foo` takes `/foobar` and `/foo/` does not take `/foo`. Here they are
//! prefixes by segments, and it is said where that differs.

use regex::Regex;
use serde_json::{Value, json};

use super::{
    Conversion,
    model::{PathKind, Route},
};
use crate::convert::tree::At;

/// The methods that a match can name.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    /// Normal, and beginning with `/`.
    Prefix(String),
    /// The whole path.
    Exact(String),
    /// An expression without Kong's `~`. `is_whole`: it ends where the path does.
    Expression { text: String, is_whole: bool },
}

/// What a route asks of requests, each kind apart. Empty: anything.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) hosts: Vec<String>,
    pub(super) methods: Vec<String>,
    pub(super) paths: Vec<Path>,
    /// All of them.
    pub(super) headers: Vec<Value>,
}

impl Path {
    /// As `matches[].path`.
    pub(super) fn value(&self) -> Value {
        match self {
            Path::Prefix(path) => json!({"type": "PathPrefix", "value": path}),
            Path::Exact(path) => json!({"type": "Exact", "value": path}),
            Path::Expression { text, .. } => {
                json!({"type": "RegularExpression", "value": format!("(?:{text}).*")})
            }
        }
    }
}

impl<'a> Conversion<'a, '_> {
    /// `None`: of some kind nothing is left that can be asked for, and without it the route would take more than it may.
    pub(super) fn asked(&self, route: &Route<'a>) -> Option<Asked> {
        let asked = Asked {
            hosts: route.hosts.iter().filter_map(|host| self.host(host)).collect(),
            methods: route.methods.iter().filter_map(|method| self.method(method)).collect(),
            paths: route.paths.iter().filter_map(|path| self.path(path, route.path_kind)).collect(),
            headers: self.headers(route)?,
        };
        let lost = |given: usize, left: usize| given > 0 && left == 0;
        let is_lost = lost(route.hosts.len(), asked.hosts.len())
            || lost(route.methods.len(), asked.methods.len())
            || lost(route.paths.len(), asked.paths.len());
        (!is_lost).then_some(asked)
    }

    fn host(&self, host: &At<'a, String>) -> Option<String> {
        let refuse = |why: &str| {
            self.report.refuse(&host.node, why);
            None
        };
        let text = host.value.to_ascii_lowercase();
        if text.contains(':') {
            return refuse("is not converted: a port is that of a listener, not of a host");
        }
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if name.contains('*') {
            return refuse(
                "is not converted: a wildcard stands for the first labels of a host, as in *.example.com",
            );
        }
        if !name.split('.').all(is_label) {
            return refuse("is not converted: it is no host name");
        }
        Some(text)
    }

    fn method(&self, method: &At<'a, String>) -> Option<String> {
        let name = METHODS.iter().find(|known| **known == method.value.to_ascii_uppercase());
        if name.is_none() {
            self.report.refuse(&method.node, "is not converted: it is no method of HTTP");
        }
        name.map(|name| (*name).to_owned())
    }

    fn path(&self, path: &At<'a, String>, kind: PathKind) -> Option<Path> {
        let converted = read_path(kind, &path.value);
        match &converted {
            Err(why) => self.report.refuse(&path.node, format!("is not converted: {why}")),
            Ok(Path::Prefix(text)) if kind == PathKind::Kong => {
                if let Some(difference) = prefix_difference(text) {
                    self.report.warn(&path.node, difference);
                }
            }
            Ok(_) => {}
        }
        converted.ok()
    }

    /// Kong compares them without case; several values of one are alternatives.
    fn headers(&self, route: &Route<'a>) -> Option<Vec<Value>> {
        let mut headers = Vec::new();
        for (name, values) in &route.headers {
            let mut alternatives = Vec::new();
            for value in values {
                match value.value.strip_prefix("~*") {
                    Some(expression) if Regex::new(expression).is_ok() => {
                        alternatives.push(format!(".*(?:{expression}).*"));
                    }
                    Some(_) => self.report.refuse(
                        &value.node,
                        "is not converted: it is no regular expression that is known here",
                    ),
                    None => alternatives.push(regex::escape(&value.value)),
                }
            }
            if alternatives.is_empty() {
                self.report.refuse(&name.node, "is not converted: nothing of it is left");
                return None;
            }
            headers.push(json!({
                "type": "RegularExpression",
                "name": name.value,
                "value": format!("(?i)(?:{})", alternatives.join("|")),
            }));
        }
        Some(headers)
    }
}

/// A path of Kong 3 or of an Ingress. The error continues "it is not converted: ".
pub(super) fn read_path(kind: PathKind, path: &str) -> Result<Path, String> {
    match kind {
        PathKind::Kong => {}
        PathKind::Segments => return normal(path).map(Path::Prefix),
        PathKind::Exact => return normal(path).map(Path::Exact),
    }
    let Some(expression) = path.strip_prefix('~') else {
        return normal(path).map(Path::Prefix);
    };
    // Kong puts `^` before it and nothing behind it.
    match Regex::new(&format!("^(?:{expression}).*$")) {
        Ok(_) => {
            let is_whole = expression.ends_with('$') && !expression.ends_with("\\$");
            Ok(Path::Expression { text: expression.to_owned(), is_whole })
        }
        Err(_) => {
            Err("it is no regular expression that is known here: look-around and back-references are not"
                .into())
        }
    }
}

/// The sentence about what a prefix takes here and not there, or there and not here.
pub(super) fn prefix_difference(path: &str) -> Option<String> {
    if path == "/" {
        return None;
    }
    Some(match path.strip_suffix('/') {
        Some(bare) => format!("takes {bare} too, which Kong left to others"),
        None => format!(
            "takes {path} and what is below {path}/; Kong took {path}x as well, as any path that begins so"
        ),
    })
}

/// As Kong normalises a path, and as requests are compared here: needless escapes decoded, others in upper case, no dot
/// segments, no empty ones.
fn normal(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err("a path begins with / or ~".into());
    }
    if let Some(bad) = path.chars().find(|char| matches!(char, '?' | '#')) {
        return Err(format!("no path of a request holds `{bad}`"));
    }
    let mut text = String::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = if byte == b'%' {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| "its escapes are malformed".to_owned())?
        } else {
            byte
        };
        let is_unreserved = decoded.is_ascii_alphanumeric() || b"-._~".contains(&decoded);
        let is_kept = byte != b'%' && (b'!'..=b'~').contains(&byte) && !b"<>\"\\".contains(&byte);
        if is_unreserved || is_kept {
            text.push(char::from(decoded));
        } else {
            text.push_str(&format!("%{decoded:02X}"));
        }
    }
    let mut segments: Vec<&str> = Vec::new();
    let all: Vec<&str> = text.split('/').skip(1).collect();
    for (index, segment) in all.iter().enumerate() {
        let is_last = index + 1 == all.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            "" if !is_last => {}
            other => segments.push(other),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::{Path, PathKind, normal, prefix_difference, read_path};

    #[test]
    fn paths() {
        for (path, wanted) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a//b/", Ok("/a/b/")),
            ("/%61%2fb", Ok("/a%2Fb")),
            ("/a b", Ok("/a%20b")),
            ("/é", Ok("/%C3%A9")),
            ("/a/../b/.", Ok("/b/")),
            ("/a(x)*", Ok("/a(x)*")),
            ("/a?b", Err(())),
            ("/a%zz", Err(())),
            ("a", Err(())),
        ] {
            assert_eq!(normal(path).as_deref().map_err(|_| ()), wanted, "{path}");
        }
        let expression = |text: &str, is_whole| Ok(Path::Expression { text: text.into(), is_whole });
        assert_eq!(read_path(PathKind::Kong, "~/a/\\d+$"), expression("/a/\\d+$", true));
        assert_eq!(read_path(PathKind::Kong, "~/a\\$"), expression("/a\\$", false));
        assert!(read_path(PathKind::Kong, "~/a(?!b)").is_err());
        assert_eq!(prefix_difference("/"), None);
        assert!(prefix_difference("/a/").is_some_and(|text| text.starts_with("takes /a too")));
    }
}
