//! Requests that the matches of a configuration ask for: for each match one that it takes, and for a prefix one below it.

use gatehouse_controller::translate::Config;
use gatehouse_proto::config::v1::{self, PathKind, Protocol, ValueKind, resource::Kind};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::offline;

/// Stands for whatever a wildcard or no host name leaves open.
const ANY_LABEL: &str = "any-host";

/// A request, and the port of the listener that it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) port: u16,
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
}

/// Of all rules. What no request can be made for, such as an expression that nothing matches, has none.
pub(super) fn all(config: &Config) -> Vec<Probe> {
    let mut probes = Vec::new();
    for kind in config.values() {
        let Kind::Route(route) = &**kind else { continue };
        for attachment in &route.attachments {
            let Some(listener) = offline::listener(config, &attachment.listener) else { continue };
            let hosts = match attachment.hostnames.as_slice() {
                [] => std::slice::from_ref(&listener.hostname),
                some => some,
            };
            for host in hosts {
                for one in &route.matches {
                    probes.extend(of_match(listener, &request_host(host), one));
                }
            }
        }
    }
    probes
}

fn request_host(hostname: &str) -> String {
    match hostname.strip_prefix('*') {
        Some(rest) => format!("{ANY_LABEL}{rest}"),
        None if hostname.is_empty() => format!("{ANY_LABEL}.example"),
        None => hostname.to_owned(),
    }
}

fn of_match(listener: &v1::Listener, host: &str, one: &v1::Match) -> Vec<Probe> {
    let scheme = match listener.protocol() {
        Protocol::Http => "http",
        Protocol::Https => "https",
        // Streams have no requests.
        _ => return Vec::new(),
    };
    let mut headers = HeaderMap::new();
    for wanted in &one.headers {
        let name = HeaderName::from_bytes(wanted.name.as_bytes());
        let value = value(wanted).and_then(|value| HeaderValue::from_str(&value).ok());
        let (Ok(name), Some(value)) = (name, value) else { return Vec::new() };
        headers.insert(name, value);
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for wanted in &one.query_params {
        let Some(value) = value(wanted) else { return Vec::new() };
        query.append_pair(&wanted.name, &value);
    }
    let query = Some(query.finish()).filter(|query| !query.is_empty());
    let method = if one.method.is_empty() { Ok(Method::GET) } else { one.method.parse() };
    let (Ok(method), Ok(port)) = (method, u16::try_from(listener.port)) else { return Vec::new() };
    let probe = |path: String| {
        let query = query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let url = format!("{scheme}://{host}:{port}{path}{query}").parse().ok()?;
        Some(Probe { port, method: method.clone(), url, headers: headers.clone() })
    };
    paths(one).into_iter().filter_map(probe).collect()
}

fn paths(one: &v1::Match) -> Vec<String> {
    let Some(path) = &one.path else { return vec!["/".to_owned()] };
    match path.kind() {
        PathKind::Exact => vec![path.value.clone()],
        PathKind::Prefix => {
            let prefix = path.value.trim_end_matches('/');
            let itself = if prefix.is_empty() { "/" } else { prefix };
            vec![itself.to_owned(), format!("{prefix}/below")]
        }
        PathKind::RegularExpression => example(&path.value).into_iter().collect(),
        PathKind::Unspecified => Vec::new(),
    }
}

fn value(wanted: &v1::ValueMatch) -> Option<String> {
    match wanted.kind() {
        ValueKind::Exact => Some(wanted.value.clone()),
        ValueKind::RegularExpression => example(&wanted.value),
        ValueKind::Unspecified => None,
    }
}

/// A short text that the expression matches as a whole.
fn example(expression: &str) -> Option<String> {
    let mut text = String::new();
    write(&regex_syntax::parse(expression).ok()?, &mut text)?;
    Some(text)
}

fn write(expression: &Hir, out: &mut String) -> Option<()> {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(()),
        HirKind::Literal(literal) => {
            out.push_str(std::str::from_utf8(&literal.0).ok()?);
            Some(())
        }
        HirKind::Class(Class::Unicode(class)) => {
            // Letters and digits can stand everywhere.
            let ranges = || class.ranges().iter().map(|range| range.start()..=range.end());
            let is_plain = |one: &char| one.is_ascii_alphanumeric();
            let plain = ['x', 'X', '1'].into_iter().find(|one| ranges().any(|range| range.contains(one)));
            out.push(
                plain
                    .or_else(|| ranges().flatten().take(256).find(is_plain))
                    .or_else(|| ranges().flatten().next())?,
            );
            Some(())
        }
        HirKind::Class(Class::Bytes(_)) => None,
        HirKind::Repetition(repetition) => (0..repetition.min).try_for_each(|_| write(&repetition.sub, out)),
        HirKind::Capture(capture) => write(&capture.sub, out),
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, out)),
        HirKind::Alternation(ways) => write(ways.first()?, out),
    }
}

#[cfg(test)]
mod tests {
    use super::example;

    #[test]
    fn examples_are_matched() {
        for expression in [
            "/api/v[0-9]+/.*",
            "/(users|orders)/[^/]+",
            "(?i)/Shop/?",
            "/a{3}b*",
            "[12]",
            "/x(?:/[a-z]{2})+$",
        ] {
            let text = example(expression).unwrap();
            let whole = regex::Regex::new(&format!("^(?:{expression})$")).unwrap();
            assert!(whole.is_match(&text), "{expression}: {text}");
        }
        assert_eq!(example("(").as_deref(), None);
    }
}
