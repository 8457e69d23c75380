//! Every match that could take a request, in the order of precedence, with what keeps each from it.
//!
//! For people, and to prove the tables by: it goes through all rules, one after the other, where a table looks up.

use std::cmp::Reverse;

use super::{Entry, Facts, Hostname, PathMatch, conditions::Unmet, precedence::Precedence};

/// A match whose host and path the request has.
#[derive(Debug)]
pub(crate) struct Examined<'a, T> {
    pub(crate) entry: &'a Entry<T>,
    /// Which of the entry's matches.
    pub(crate) index: usize,
    /// As [`super::Found::prefix`].
    pub(crate) prefix: Option<usize>,
    /// The first condition that does not hold.
    pub(crate) unmet: Option<Unmet<'a>>,
}

/// How closely a name names a host; the smaller is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Exact,
    OneLabel,
    /// By the length of what follows the wildcard.
    Wildcard(Reverse<usize>),
    Any,
}

/// The first without an unmet condition takes the request.
pub(crate) fn examine<'a, T>(
    entries: impl IntoIterator<Item = (&'a Entry<T>, &'a [Hostname])>,
    facts: &Facts<'_>,
) -> Vec<Examined<'a, T>> {
    let mut found = Vec::new();
    for (entry, hostnames) in entries {
        let Some(closeness) = hostnames.iter().filter_map(|name| closeness(name, facts.host)).min() else {
            continue;
        };
        for (index, one) in entry.matches.iter().enumerate() {
            let Some(prefix) = takes(&one.path, facts.path) else { continue };
            let order = (closeness, Precedence::new(entry, index));
            found.push((order, Examined { entry, index, prefix, unmet: one.conditions.unmet(facts) }));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.into_iter().map(|(_, examined)| examined).collect()
}

fn closeness(name: &Hostname, host: &str) -> Option<Closeness> {
    let before = |suffix: &str| host.strip_suffix(suffix)?.strip_suffix('.');
    match name {
        Hostname::Any => Some(Closeness::Any),
        Hostname::Exact(exact) => (**exact == *host).then_some(Closeness::Exact),
        Hostname::OneLabel(suffix) => {
            before(suffix).filter(|label| !label.contains('.')).map(|_| Closeness::OneLabel)
        }
        Hostname::Wildcard(suffix) => before(suffix).map(|_| Closeness::Wildcard(Reverse(suffix.len()))),
    }
}

/// `None`: it does not match. Else the length of the prefix that did.
fn takes(wanted: &PathMatch, path: &str) -> Option<Option<usize>> {
    match wanted {
        PathMatch::Exact(exact) => (**exact == *path).then_some(None),
        PathMatch::Expression(expression) => expression.matches(path).then_some(None),
        PathMatch::Prefix(prefix) => {
            let rest = path.strip_prefix(&**prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(Some(prefix.len()))
        }
    }
}
