use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use proptest::{
    arbitrary::any, collection::vec, option, prelude::Strategy, prop_assert_eq, proptest, sample::select,
};

use super::{
    Age, Conditions, Entry, Facts, Found, GrpcCondition, Hostname, Match, PathMatch, Table, ValueCondition,
    WholeExpression, examine, normal_prefix,
};

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(normal_prefix(path).into())
}

fn expression(pattern: &str) -> PathMatch {
    PathMatch::Expression(WholeExpression::new(pattern).unwrap().into())
}

/// An entry, and the host that it is for.
type Hosted = (Hostname, Arc<Entry<u32>>);

fn entry(host: &str, path: PathMatch, conditions: Conditions, rule: u32) -> Hosted {
    let age = Age { created: 0, object: Arc::from("HTTPRoute/default/r"), rule };
    let entry = Entry::new("route", age, [Match { path, conditions }].into(), rule);
    (Hostname::parse(host), Arc::new(entry))
}

fn build(entries: impl IntoIterator<Item = Hosted>) -> Table<u32> {
    let mut table = Table::default();
    for (hostname, entry) in entries {
        table.insert(&entry, &[hostname]);
    }
    table
}

fn table(routes: impl IntoIterator<Item = (&'static str, PathMatch)>) -> Table<u32> {
    build((0..).zip(routes).map(|(rule, (host, path))| entry(host, path, Conditions::default(), rule)))
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
    let conditions = |condition| {
        let header = (HeaderName::from_static("x-org-id"), condition);
        Conditions::new(None, [header].into(), Box::default(), None)
    };
    let loose = conditions(ValueCondition::Matches(WholeExpression::new(".*").unwrap()));
    let strict = conditions(ValueCondition::Equals("test-org".into()));
    let table = build([entry("", prefix("/"), loose, 0), entry("", prefix("/"), strict, 1)]);
    for (value, wanted) in [("test-org", 1), ("other", 0)] {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-org-id"), HeaderValue::from_static(value))]);
        let facts = Facts { host: "h", path: "/", method: &Method::GET, headers: &headers, query: None };
        assert_eq!(table.find(&facts).map(|found| *found.target), Some(wanted), "{value}");
    }
}

/// GRPCRouteRule.matches: service and method, the service, the method, neither.
#[test]
fn calls_in_the_order_of_grpc() {
    let call = |method: Option<&str>| {
        let method = method.map(|method| ValueCondition::Equals(method.into()));
        Conditions::new(Some(Method::POST), Box::default(), Box::default(), Some(GrpcCondition { method }))
    };
    let table = build([
        entry("", prefix("/"), call(None), 0),
        entry("", prefix("/"), call(Some("Get")), 1),
        entry("", prefix("/shop.Orders"), call(None), 2),
        entry("", exact("/shop.Orders/Get"), call(None), 3),
    ]);
    let found = |content_type: &'static str, method: &Method, path: &str| {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let facts = Facts { host: "h", path, method, headers: &headers, query: None };
        table.find(&facts).map(|found| *found.target)
    };
    for (path, wanted) in [
        ("/shop.Orders/Get", 3),
        ("/shop.Orders/List", 2),
        ("/shop.Other/Get", 1),
        ("/shop.Other/Get/more", 0),
        ("/shop.Other/List", 0),
    ] {
        assert_eq!(found("application/grpc", &Method::POST, path), Some(wanted), "{path}");
    }
    for (content_type, wanted) in [
        ("application/grpc+proto", true),
        ("application/grpc;x=y", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        assert_eq!(found(content_type, &Method::POST, "/a/b").is_some(), wanted, "{content_type}");
    }
    assert_eq!(found("application/grpc", &Method::GET, "/a/b"), None);
}

#[test]
fn query_parameters_are_compared_decoded() {
    let animal = ("animal".into(), ValueCondition::Equals("blue whale".into()));
    let conditions = Conditions::new(None, Box::default(), [animal].into(), None);
    let table = build([entry("", prefix("/"), conditions, 0)]);
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
    (path, 0..6).prop_map(|(path, kind)| match kind {
        0 => exact(&path),
        1 => prefix(&path),
        2 => expression(&format!("{path}.*")),
        // Filed under several texts, under one in the middle, and under none.
        3 => expression(&format!("{path}(/a/b|/ab/).*")),
        4 => expression(&format!("/.+{path}/?a?")),
        _ => expression("/(?:a|/)+b?"),
    })
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let method = option::of(select(vec![Method::GET, Method::POST]));
    let value = || select(vec!["1", "2"]).prop_map(|value| ValueCondition::Equals(value.into()));
    let header = (select(vec!["x-a", "x-b"]).prop_map(HeaderName::from_static), value());
    let query = (select(vec!["a", "b"]).prop_map(Box::from), value());
    (method, vec(header, 0..2), vec(query, 0..2)).prop_map(|(method, headers, query_params)| {
        Conditions::new(method, headers.into(), query_params.into(), None)
    })
}

fn any_entry() -> impl Strategy<Value = (Hostname, Entry<u32>)> {
    let host = select(vec!["", "*.example.com", "a.example.com", "*.a.example.com"]);
    let host = (host, any::<bool>()).prop_map(|(host, one_label)| {
        let hostname = Hostname::parse(host);
        if one_label { hostname.one_label() } else { hostname }
    });
    (host, vec((any_path(), any_conditions()), 1..3), 0..3_i64).prop_map(|(hostname, matches, created)| {
        let age = Age { created, object: Arc::from("HTTPRoute/ns/name"), rule: 0 };
        let matches = matches.into_iter().map(|(path, conditions)| Match { path, conditions });
        (hostname, Entry::new("route", age, matches.collect(), 0))
    })
}

/// Each by the rule that is its place among them.
fn numbered(entries: Vec<(Hostname, Entry<u32>)>) -> Vec<Hosted> {
    let numbered = (0..).zip(entries).map(|(rule, (hostname, mut entry))| {
        entry.age.rule = rule;
        entry.target = rule;
        (hostname, Arc::new(entry))
    });
    numbered.collect()
}

fn any_request() -> impl Strategy<Value = Asked> {
    let path = vec(select(vec!["a", "b", "ab"]), 0..5);
    (
        select(vec!["a.example.com", "x.a.example.com", "example.com", "b.example.com"]),
        path.prop_map(|segments| format!("/{}", segments.join("/"))),
        select(vec![Method::GET, Method::POST, Method::PUT]),
        option::of(select(vec!["1", "2"])),
        option::of(select(vec!["a=1", "b=2&a=2", "b=1"])),
    )
        .prop_map(|(host, path, method, header, query)| {
            let header =
                header.map(|value| (HeaderName::from_static("x-a"), HeaderValue::from_static(value)));
            Asked { host, path, method, headers: header.into_iter().collect(), query }
        })
}

#[derive(Debug)]
struct Asked {
    host: &'static str,
    path: String,
    method: Method,
    headers: HeaderMap,
    query: Option<&'static str>,
}

impl Asked {
    fn facts(&self) -> Facts<'_> {
        let Asked { host, path, method, headers, query } = self;
        Facts { host, path, method, headers, query: *query }
    }

    fn of(&self, table: &Table<u32>) -> Option<u32> {
        table.find(&self.facts()).map(|found| *found.target)
    }

    /// What a walk over all rules in the order of the specification finds.
    fn naively(&self, entries: &[Hosted]) -> Option<u32> {
        let entries = entries.iter().map(|(hostname, entry)| (&**entry, std::slice::from_ref(hostname)));
        let examined = examine(entries, &self.facts());
        examined.iter().find(|one| one.unmet.is_none()).map(|one| one.entry.target)
    }
}

proptest! {
    /// The table finds what the specification read literally finds, whatever order the rules came in.
    #[test]
    fn agrees_with_the_specification_read_literally(
        entries in vec(any_entry(), 0..24),
        requests in vec(any_request(), 8),
    ) {
        let entries = numbered(entries);
        let table = build(entries.iter().rev().cloned());
        for request in requests {
            prop_assert_eq!(request.of(&table), request.naively(&entries));
        }
    }

    /// What is put in and taken out, in any order, leaves what would be there without; and copies stay as they were.
    #[test]
    fn a_change_leaves_what_a_new_table_would_hold(
        entries in vec(any_entry(), 1..24),
        edits in vec(any::<proptest::sample::Index>(), 0..48),
        requests in vec(any_request(), 16),
    ) {
        let entries = numbered(entries);
        let (mut table, mut inside) = (Table::default(), Vec::<Hosted>::new());
        let mut copies = Vec::new();
        for edit in edits {
            let (hostname, entry) = &entries[edit.index(entries.len())];
            copies.push((table.clone(), inside.clone()));
            match inside.iter().position(|(_, other)| Arc::ptr_eq(other, entry)) {
                Some(at) => {
                    inside.remove(at);
                    table.remove(entry, std::slice::from_ref(hostname));
                }
                None => {
                    inside.push((hostname.clone(), Arc::clone(entry)));
                    table.insert(entry, std::slice::from_ref(hostname));
                }
            }
            prop_assert_eq!(table.is_empty(), inside.is_empty());
        }
        copies.push((table, inside));
        for (table, inside) in copies {
            for request in &requests {
                prop_assert_eq!(request.of(&table), request.naively(&inside));
            }
        }
    }
}

/// Prefixes may be deeper than what a request's hashes have room for.
#[test]
fn very_deep_prefixes() {
    let deep = |depth: usize| "/s".repeat(depth);
    let depths = [0, 1, 15, 16, 17, 30, 31, 32, 33, 60];
    let table = build(
        (0..).zip(depths).map(|(rule, depth)| entry("h", prefix(&deep(depth)), Conditions::default(), rule)),
    );
    for asked in 0..70 {
        let wanted = depths.iter().rposition(|depth| *depth <= asked).and_then(|at| u32::try_from(at).ok());
        assert_eq!(find(&table, "h", &format!("{}/x", deep(asked))), wanted, "{asked}");
    }
}

#[test]
fn an_expression_can_not_leave_its_group() {
    assert!(WholeExpression::new("a)|(?:b").is_err());
}
