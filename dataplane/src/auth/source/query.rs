//! Parameters of a query, decoded as forms are (WHATWG URL, 5.1).

use std::borrow::Cow;

pub(super) fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes()).filter(move |(key, _)| *key == *name).map(|(_, value)| value)
}

/// The query without a parameter, its other parts as they were; `None` if it does not hold it.
pub(super) fn without(query: &str, name: &str) -> Option<String> {
    let is_it = |part: &str| values(part, name).next().is_some();
    if !query.split('&').any(is_it) {
        return None;
    }
    let kept: Vec<&str> = query.split('&').filter(|part| !is_it(part)).collect();
    Some(kept.join("&"))
}
