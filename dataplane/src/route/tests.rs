use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::{
    arbitrary::any, collection::vec, option, prelude::Strategy, prop_assert_eq, proptest, sample::select,
};

use super::{
    Age, Conditions, Entry, Facts, Found, Hostname, Match, PathMatch, Precedence, Table, ValueCondition,
    WholeExpression, normal_prefix,
};

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(normal_prefix(path).into())
}

fn expression(pattern: &str) -> PathMatch {
    PathMatch::Expression(WholeExpression::new(pattern).unwrap())
}

fn entry(host: &str, path: PathMatch, conditions: Conditions, rule: u32) -> Entry<u32> {
    Entry {
        hostnames: vec![Hostname::parse(host)],
        matches: vec![Match { path, conditions }],
        age: Age { created: 0, name: Arc::from("default/r"), rule },
        target: rule,
    }
}

fn table(routes: impl IntoIterator<Item = (&'static str, PathMatch)>) -> Table<u32> {
    Table::build((0..).zip(routes).map(|(rule, (host, path))| entry(host, path, Conditions::default(), rule)))
}

fn find(table: &Table<u32>, host: &str, path: &str) -> Option<u32> {
    let headers = HeaderMap::new();
    let facts = Facts { host, path, method: &Method::GET, headers: &headers, query: None };
    table.find(&facts).map(|found| *found.target)
}

#[test]
fn prefixes_match_whole_segments() {
    let table = table([("", prefix("/")), ("", prefix("/v2")), ("", prefix("/v2/deep/"))]);
    for (path, wanted) in [
        ("/v2", 1),
        ("/v2/", 1),
        ("/v2/x", 1),
        ("/v2//", 1),
        ("/v2example", 0),
        ("/v2.0", 0),
        ("/V2", 0),
        ("/v2%2Fx", 0),
        ("/", 0),
        ("/v2/deep", 2),
        ("/v2/deep/", 2),
        ("/v2/deep/er/still", 2),
        ("/v2/deeper", 1),
    ] {
        assert_eq!(find(&table, "any.example", path), Some(wanted), "{path}");
    }
}

#[test]
fn kinds_of_path_in_their_order() {
    let table = table([
        ("", prefix("/api/users")),
        ("", expression("/api/.*")),
        ("", exact("/api/users")),
        ("", expression("/api/users/[0-9]+")),
    ]);
    assert_eq!(find(&table, "h", "/api/users"), Some(2));
    assert_eq!(find(&table, "h", "/api/users/7"), Some(3), "the longer expression");
    assert_eq!(find(&table, "h", "/api/users/x"), Some(1), "an expression goes before a prefix");
    assert_eq!(find(&table, "h", "/something/api/foo"), None, "an expression takes the whole path");
    assert_eq!(find(&table, "h", "/api/x\nfoo"), None, "a line break is not skipped");
}

#[test]
fn the_prefix_that_matched_is_told() {
    let table = table([("", prefix("/api/orders/"))]);
    let headers = HeaderMap::new();
    let facts =
        Facts { host: "h", path: "/api/orders/7", method: &Method::GET, headers: &headers, query: None };
    assert_eq!(table.find(&facts), Some(Found { target: &0, prefix: Some("/api/orders".len()) }));
}

#[test]
fn hosts_from_the_most_specific() {
    let table = table([
        ("", prefix("/any")),
        ("*.example.com", prefix("/wild")),
        ("*.b.example.com", prefix("/")),
        ("a.example.com", prefix("/exact")),
    ]);
    assert_eq!(find(&table, "a.example.com", "/exact"), Some(3));
    assert_eq!(find(&table, "a.example.com", "/wild"), Some(1), "what the exact host leaves");
    assert_eq!(find(&table, "a.example.com", "/any"), Some(0));
    assert_eq!(find(&table, "x.b.example.com", "/wild"), Some(2));
    assert_eq!(find(&table, "example.com", "/wild"), None, "a wildcard stands for at least one label");
    assert_eq!(find(&table, "b.example.com", "/wild"), Some(1));
}

#[test]
fn equality_goes_before_expression_where_all_else_ties() {
    let conditions = |condition| Conditions {
        headers: vec![(HeaderName::from_static("x-org-id"), condition)],
        ..Conditions::default()
    };
    let loose = conditions(ValueCondition::Matches(WholeExpression::new(".*").unwrap()));
    let strict = conditions(ValueCondition::Equals("test-org".into()));
    let table = Table::build([entry("", prefix("/"), loose, 0), entry("", prefix("/"), strict, 1)]);
    for (value, wanted) in [("test-org", 1), ("other", 0)] {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-org-id"), HeaderValue::from_static(value))]);
        let facts = Facts { host: "h", path: "/", method: &Method::GET, headers: &headers, query: None };
        assert_eq!(table.find(&facts).map(|found| *found.target), Some(wanted), "{value}");
    }
}

#[test]
fn query_parameters_are_compared_decoded() {
    let conditions = Conditions {
        query_params: vec![("animal".into(), ValueCondition::Equals("blue whale".into()))],
        ..Conditions::default()
    };
    let table = Table::build([entry("", prefix("/"), conditions, 0)]);
    let headers = HeaderMap::new();
    for (query, wanted) in [
        ("animal=blue%20whale", true),
        ("x=1&animal=blue+whale", true),
        ("animal=cow&animal=blue+whale", false),
        ("animal", false),
        ("", false),
    ] {
        let facts =
            Facts { host: "h", path: "/", method: &Method::GET, headers: &headers, query: Some(query) };
        assert_eq!(table.find(&facts).is_some(), wanted, "{query}");
    }
}

fn any_path() -> impl Strategy<Value = PathMatch> {
    let path =
        vec(select(vec!["a", "b", "ab"]), 0..4).prop_map(|segments| format!("/{}", segments.join("/")));
    (path, 0..3).prop_map(|(path, kind)| match kind {
        0 => exact(&path),
        1 => prefix(&path),
        _ => expression(&format!("{path}.*")),
    })
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let method = option::of(select(vec![Method::GET, Method::POST]));
    let value = || select(vec!["1", "2"]).prop_map(|value| ValueCondition::Equals(value.into()));
    let header = (select(vec!["x-a", "x-b"]).prop_map(HeaderName::from_static), value());
    let query = (select(vec!["a", "b"]).prop_map(Box::from), value());
    (method, vec(header, 0..2), vec(query, 0..2)).prop_map(|(method, headers, query_params)| Conditions {
        method,
        headers,
        query_params,
    })
}

fn any_entry() -> impl Strategy<Value = Entry<u32>> {
    let host = select(vec!["", "*.example.com", "a.example.com", "*.a.example.com"]);
    let host = (host, any::<bool>()).prop_map(|(host, one_label)| {
        let hostname = Hostname::parse(host);
        if one_label { hostname.one_label() } else { hostname }
    });
    (host, vec((any_path(), any_conditions()), 1..3), 0..3_i64).prop_map(|(hostname, matches, created)| {
        Entry {
            hostnames: vec![hostname],
            matches: matches.into_iter().map(|(path, conditions)| Match { path, conditions }).collect(),
            age: Age { created, name: Arc::from("ns/name"), rule: 0 },
            target: 0,
        }
    })
}

/// Specificity of a host name for a host, the greater first; `None` if it does not cover it.
fn covers(hostname: &Hostname, host: &str) -> Option<usize> {
    match hostname {
        Hostname::Any => Some(0),
        Hostname::Wildcard(suffix) => host.ends_with(&format!(".{suffix}")).then(|| suffix.len() + 1),
        Hostname::OneLabel(suffix) => {
            host.split_once('.').is_some_and(|(_, rest)| *rest == **suffix).then_some(usize::MAX - 1)
        }
        Hostname::Exact(name) => (**name == *host).then_some(usize::MAX),
    }
}

fn takes(path: &PathMatch, request: &str) -> bool {
    match path {
        PathMatch::Exact(path) => **path == *request,
        PathMatch::Prefix(prefix) => {
            request.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Expression(expression) => expression.matches(request),
    }
}

proptest! {
    /// The table finds what a walk over all rules in the order of the specification finds, whatever order they came in.
    #[test]
    fn agrees_with_the_specification_read_literally(
        entries in vec(any_entry(), 0..24),
        host in select(vec!["a.example.com", "x.a.example.com", "example.com", "b.example.com"]),
        path in vec(select(vec!["a", "b", "ab"]), 0..5).prop_map(|segments| format!("/{}", segments.join("/"))),
        method in select(vec![Method::GET, Method::POST, Method::PUT]),
        header in option::of(select(vec!["1", "2"])),
        query in option::of(select(vec!["a=1", "b=2&a=2", "b=1"])),
    ) {
        let entries: Vec<_> = (0..)
            .zip(entries)
            .map(|(rule, mut entry)| {
                entry.age.rule = rule;
                entry.target = rule;
                entry
            })
            .collect();
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert("x-a", HeaderValue::from_static(value));
        }
        let facts = Facts { host, path: &path, method: &method, headers: &headers, query };
        let naive = entries
            .iter()
            .flat_map(|entry| entry.matches.iter().enumerate().map(move |(index, one)| (entry, index, one)))
            .filter_map(|(entry, index, one)| {
                let host = covers(&entry.hostnames[0], host)?;
                let holds = takes(&one.path, &path) && one.conditions.hold(&facts);
                holds.then(|| (std::cmp::Reverse(host), Precedence::new(one, &entry.age, index), entry.target))
            })
            .min();
        let table = Table::build(entries.iter().rev().cloned());
        prop_assert_eq!(table.find(&facts).map(|found| *found.target), naive.map(|(_, _, target)| target));
    }
}
