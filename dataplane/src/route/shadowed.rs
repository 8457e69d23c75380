//! Matches that can never take a request, since one like it is tried before.

use std::{collections::HashMap, ptr};

use super::{Entry, Hostname, PathMatch, precedence::Precedence};

/// A match that takes nothing wherever its rule is served.
#[derive(Debug)]
pub(crate) struct Shadowed<'a, T> {
    pub(crate) entry: &'a Entry<T>,
    /// Which of the entry's matches.
    pub(crate) index: usize,
    /// The rule that takes what it would.
    pub(crate) by: &'a Entry<T>,
}

/// A listener, a name there, and all that a match asks for.
type Key<'a> = (&'a str, &'a Hostname, String);

/// Each rule with a listener and its names there. Told are only matches that are equal: of expressions nobody can say more.
pub(crate) fn shadowed<'a, T>(
    rules: impl IntoIterator<Item = (&'a str, &'a Entry<T>, &'a [Hostname])>,
) -> Vec<Shadowed<'a, T>> {
    let mut places: HashMap<Key<'a>, Vec<(&Entry<T>, usize)>> = HashMap::new();
    for (listener, entry, hostnames) in rules {
        for index in 0..entry.matches.len() {
            let asked = asked(entry, index);
            for hostname in hostnames {
                places.entry((listener, hostname, asked.clone())).or_default().push((entry, index));
            }
        }
    }
    // By match: `None` if it is the first somewhere.
    let mut first: HashMap<(*const Entry<T>, usize), Option<Shadowed<'a, T>>> = HashMap::new();
    for mut equal in places.into_values() {
        equal.sort_by_cached_key(|(entry, index)| Precedence::new(entry, *index));
        let by = equal[0].0;
        for (place, (entry, index)) in equal.into_iter().enumerate() {
            let slot = first
                .entry((ptr::from_ref(entry), index))
                .or_insert_with(|| Some(Shadowed { entry, index, by }));
            if place == 0 {
                *slot = None;
            }
        }
    }
    let mut found: Vec<_> = first.into_values().flatten().collect();
    found.sort_by_cached_key(|one| (one.entry.age.clone(), one.entry.name().into_owned(), one.index));
    found
}

fn asked<T>(entry: &Entry<T>, index: usize) -> String {
    let one = &entry.matches[index];
    let conditions = &one.conditions;
    let headers = conditions.headers().iter().map(|(name, condition)| format!("{name} {condition:?}"));
    let params = conditions.query_params().iter().map(|(name, condition)| format!("?{name} {condition:?}"));
    let mut conditions: Vec<String> = headers.chain(params).collect();
    conditions.sort_unstable();
    let path = match &one.path {
        PathMatch::Exact(path) => format!("= {path}"),
        PathMatch::Prefix(path) => format!("^ {path}"),
        PathMatch::Expression(expression) => format!("~ {}", expression.as_str()),
    };
    format!("{path} {:?} {conditions:?} {:?}", one.conditions.method(), one.conditions.grpc())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderName, Method};

    use super::{super::*, shadowed};

    fn entry(object: &str, matches: impl Into<Box<[Match]>>) -> Entry<()> {
        let age = Age { created: 0, object: Arc::from(object), rule: 0 };
        Entry::new(&format!("route/{object}/0"), age, matches.into(), ())
    }

    fn exact(path: &str) -> Match {
        Match { path: PathMatch::Exact(path.into()), conditions: Conditions::default() }
    }

    /// The names of the shadowed and of those that take what they would.
    fn told(rules: &[(&str, &Entry<()>, &[Hostname])]) -> Vec<(String, usize, String)> {
        let told =
            |one: Shadowed<'_, ()>| (one.entry.name().into_owned(), one.index, one.by.name().into_owned());
        shadowed(rules.iter().copied()).into_iter().map(told).collect()
    }

    #[test]
    fn of_equal_matches_the_first_takes_all() {
        let (first, second) =
            (entry("R/a/a", [exact("/x"), exact("/y")]), entry("R/a/b", [exact("/y"), exact("/z")]));
        let any = [Hostname::Any];
        let both = [("http", &second, &any[..]), ("http", &first, &any[..])];
        assert_eq!(told(&both), [("route/R/a/b/0".to_owned(), 0, "route/R/a/a/0".to_owned())]);
    }

    #[test]
    fn a_place_where_it_is_the_first_is_enough() {
        let (first, second) = (entry("R/a/a", [exact("/x")]), entry("R/a/b", [exact("/x")]));
        let (any, more) = ([Hostname::Any], [Hostname::Any, Hostname::parse("a.example.com")]);
        assert_eq!(told(&[("http", &first, &any), ("http", &second, &more)]), []);
        assert_eq!(told(&[("http", &first, &any), ("https", &second, &any)]), []);
        assert_eq!(told(&[("http", &first, &more), ("http", &second, &any)]).len(), 1);
    }

    #[test]
    fn conditions_are_compared_in_any_order() {
        let with = |names: [&'static str; 2], method| {
            let headers =
                names.map(|name| (HeaderName::from_static(name), ValueCondition::Equals("1".into())));
            let conditions = Conditions::new(method, headers.into(), Box::default(), None);
            Match { path: PathMatch::Prefix("".into()), conditions }
        };
        let first = entry("R/a/a", [with(["a", "b"], None)]);
        let turned = entry("R/a/b", [with(["b", "a"], None)]);
        let narrower = entry("R/a/c", [with(["a", "b"], Some(Method::GET))]);
        let any = [Hostname::Any];
        let told = told(&[("http", &first, &any), ("http", &turned, &any), ("http", &narrower, &any)]);
        assert_eq!(told, [("route/R/a/b/0".to_owned(), 0, "route/R/a/a/0".to_owned())]);
    }
}
