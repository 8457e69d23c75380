//! Random tables and requests, answered by Kong's own matcher (`atc-router`) and by ours from what the converter wrote.
//!
//! Wherever they choose different routes, the report must say so, of the very cause: a path that takes more or less, or
//! two routes whose order differs. The expressions and priorities for Kong are made here anew, as Kong's
//! `router/transform.lua` describes them, and not by the code under test.

use std::fmt::Write;

use atc_router::{
    ast::{Type, Value},
    context::Context,
    router::Router,
    schema::Schema,
};
use gatehouse_controller::{resources::Resources, translate};
use gatehouse_dataplane::inspect::{Inspected, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use uuid::Uuid;

use super::{convert, source};
use crate::{
    convert::report::{Entry, Report},
    development::add_classes,
    offline,
};

const TABLES: usize = 2_000;
const PROBES: usize = 50;

const HOSTS: [&str; 6] = ["a.com", "b.a.com", "*.a.com", "*.b.a.com", "c.org", "*.c.org"];
const PATHS: [&str; 14] = [
    "/",
    "/a",
    "/a/",
    "/ab",
    "/a/b",
    "/a/b/",
    "/b",
    "/b/c",
    "~/a/\\\\d+$",
    "~/a",
    "~/[ab]/.*",
    "~/(?<x>[a-z]+)/b",
    "~/a/b$",
    "/a.b",
];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const VALUES: [&str; 3] = ["one", "Two", "~*^t"];

const ASKED_HOSTS: [&str; 7] = ["a.com", "b.a.com", "x.a.com", "x.b.a.com", "c.org", "x.c.org", "d.net"];
const ASKED_PATHS: [&str; 16] = [
    "/", "/a", "/a/", "/ab", "/abc", "/a/b", "/a/b/", "/a/b/c", "/a/bc", "/a/7", "/a/7x", "/b", "/b/c",
    "/b/b", "/a.b", "/axb",
];
const ASKED_VALUES: [Option<&str>; 4] = [None, Some("one"), Some("two"), Some("TWO")];

/// Not random at all: a failure is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % bound
    }

    fn some<'t>(&mut self, all: &[&'t str], most: usize) -> Vec<&'t str> {
        let mut some: Vec<&str> = (0..self.below(most + 1)).map(|_| all[self.below(all.len())]).collect();
        some.sort_unstable();
        some.dedup();
        some
    }
}

#[derive(Debug)]
struct Table {
    routes: Vec<Asks>,
}

#[derive(Debug)]
struct Asks {
    hosts: Vec<&'static str>,
    paths: Vec<&'static str>,
    methods: Vec<&'static str>,
    values: Vec<&'static str>,
    regex_priority: u64,
}

impl Table {
    fn random(random: &mut Random) -> Self {
        let routes = (0..2 + random.below(5)).filter_map(|_| {
            let asks = Asks {
                hosts: random.some(&HOSTS, 2),
                paths: random.some(&PATHS, 3),
                methods: random.some(&METHODS, 2),
                values: random.some(&VALUES, 1),
                regex_priority: random.below(3) as u64,
            };
            let is_empty = asks.hosts.is_empty()
                && asks.paths.is_empty()
                && asks.methods.is_empty()
                && asks.values.is_empty();
            (!is_empty).then_some(asks)
        });
        Table { routes: routes.collect() }
    }

    fn text(&self) -> String {
        let mut text =
            "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://s\n  routes:\n".to_owned();
        let list = |all: &[&str]| all.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ");
        for (index, route) in self.routes.iter().enumerate() {
            let _ = write!(
                text,
                "  - {{name: r{index}, strip_path: false, regex_priority: {}",
                route.regex_priority
            );
            for (name, all) in [("hosts", &route.hosts), ("paths", &route.paths), ("methods", &route.methods)]
            {
                if !all.is_empty() {
                    let _ = write!(text, ", {name}: [{}]", list(all));
                }
            }
            if !route.values.is_empty() {
                let _ = write!(text, ", headers: {{x-v: [{}]}}", list(&route.values));
            }
            text.push_str("}\n");
        }
        text
    }
}

/// As `get_expression` and `get_priority` have it, once for the expressions of a route and once for its plain paths of
/// each length.
fn in_kong(table: &Table) -> Vec<(usize, usize, String)> {
    let any = |all: Vec<String>| format!("({})", all.join(" || "));
    let mut matchers = Vec::new();
    for (index, route) in table.routes.iter().enumerate() {
        let mut groups: Vec<(usize, Vec<&str>)> = Vec::new();
        for path in &route.paths {
            let key = if path.starts_with('~') { 0 } else { path.len() };
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, paths)) => paths.push(path),
                None => groups.push((key, vec![path])),
            }
        }
        if groups.is_empty() {
            groups.push((0, Vec::new()));
        }
        for (length, paths) in groups {
            let mut all = Vec::new();
            if !route.methods.is_empty() {
                all.push(any(route
                    .methods
                    .iter()
                    .map(|method| format!("http.method == r#\"{method}\"#"))
                    .collect()));
            }
            if !route.hosts.is_empty() {
                let host = |host: &&str| match host.strip_prefix('*') {
                    Some(suffix) => format!("http.host =^ r#\"{suffix}\"#"),
                    None => format!("http.host == r#\"{host}\"#"),
                };
                all.push(any(route.hosts.iter().map(host).collect()));
            }
            if !paths.is_empty() {
                let path = |path: &&str| match path.strip_prefix('~') {
                    Some(text) => {
                        format!("http.path ~ r#\"^{}\"#", text.replace("\\\\", "\\").replace("?<", "?P<"))
                    }
                    None => format!("http.path ^= r#\"{path}\"#"),
                };
                all.push(any(paths.iter().map(path).collect()));
            }
            if !route.values.is_empty() {
                let value = |value: &&str| match value.strip_prefix("~*") {
                    Some(text) => format!("any(lower(http.headers.x_v)) ~ r#\"{}\"#", text.to_lowercase()),
                    None => format!("any(lower(http.headers.x_v)) == r#\"{}\"#", value.to_lowercase()),
                };
                all.push(any(route.values.iter().map(value).collect()));
            }
            let kinds = [
                route.hosts.is_empty(),
                route.paths.is_empty(),
                route.methods.is_empty(),
                route.values.is_empty(),
            ];
            let kinds = kinds.iter().filter(|is_empty| !**is_empty).count();
            let is_plain = !route.hosts.is_empty() && !route.hosts.iter().any(|host| host.contains('*'));
            let is_regex = paths.first().is_some_and(|path| path.starts_with('~'));
            let mut priority =
                (kinds << 61) | (usize::from(is_plain) << 60) | (usize::from(!route.values.is_empty()) << 52);
            if is_regex {
                priority |= (1 << 51) | (usize::try_from(route.regex_priority).unwrap_or(0) << 19);
            } else {
                priority |= length;
            }
            matchers.push((index, priority, all.join(" && ")));
        }
    }
    matchers
}

#[derive(Debug)]
struct Request {
    host: &'static str,
    path: &'static str,
    method: &'static str,
    value: Option<&'static str>,
}

impl Request {
    fn random(random: &mut Random) -> Self {
        Request {
            host: ASKED_HOSTS[random.below(ASKED_HOSTS.len())],
            path: ASKED_PATHS[random.below(ASKED_PATHS.len())],
            method: METHODS[random.below(METHODS.len())],
            value: ASKED_VALUES[random.below(ASKED_VALUES.len())],
        }
    }

    fn context<'s>(&self, schema: &'s Schema) -> Context<'s> {
        let mut context = Context::new(schema);
        for (field, value) in
            [("http.host", self.host), ("http.path", self.path), ("http.method", self.method)]
        {
            context.add_value(field, Value::String(value.to_owned()));
        }
        if let Some(value) = self.value {
            context.add_value("http.headers.x_v", Value::String(value.to_owned()));
        }
        context
    }

    /// Who takes it here, and all whom it fits.
    fn here(&self, inspected: &Inspected) -> (Option<usize>, Vec<usize>) {
        let uri: Uri = format!("http://{}:8000{}", self.host, self.path).parse().expect("a URL");
        let mut headers = HeaderMap::new();
        if let Some(value) = self.value {
            headers.insert(HeaderName::from_static("x-v"), HeaderValue::from_static(value));
        }
        let method: Method = self.method.parse().expect("a method");
        let explained = inspected.explain(8000, &method, &uri, &headers).expect("a good request");
        let (mut taken, mut fits) = (None, Vec::new());
        for candidate in explained.candidates {
            let index =
                candidate.route.split('/').nth(3).and_then(|name| name.strip_prefix('r')?.parse().ok());
            let index: usize = index.unwrap_or_else(|| panic!("{candidate:?}"));
            match candidate.verdict {
                Verdict::Taken { .. } => {
                    taken = Some(index);
                    fits.push(index);
                }
                Verdict::Later => fits.push(index),
                _ => {}
            }
        }
        (taken, fits)
    }
}

fn converted(table: &Table) -> (Inspected, Vec<Entry>) {
    let sources = [source(&table.text())];
    let report = Report::default();
    let made = convert(&sources, &report, &super::options(&[])).expect("a kong.yml");
    let mut resources = Resources::default();
    for object in made.manifests.all() {
        resources.apply(object.clone()).expect("the shape of its kind");
    }
    add_classes(&mut resources);
    let translation = translate::translate(&resources, &offline::settings());
    let config = translation.gateways.values().next().expect("a Gateway");
    (offline::inspect(config), report.entries(&sources))
}

/// What the report says of the paths, or of anything, of a route.
fn says(entries: &[Entry], route: usize) -> impl Iterator<Item = &str> {
    let object = format!("route r{route}");
    entries.iter().filter(move |entry| entry.object == object).map(|entry| &*entry.changes)
}

#[test]
fn every_difference_from_kongs_own_matcher_is_told() {
    let mut schema = Schema::default();
    for field in ["http.host", "http.path", "http.method", "http.headers.*"] {
        schema.add_field(field, Type::String);
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut same, mut by_path, mut by_order, mut by_tie) = (0, 0, 0, 0);
    for number in 0..TABLES {
        let table = Table::random(&mut random);
        if table.routes.is_empty() {
            continue;
        }
        let matchers = in_kong(&table);
        let mut router = Router::new(&schema);
        for (at, (_, priority, expression)) in matchers.iter().enumerate() {
            // Kong's ids are those of names: any order among equals.
            let id = Uuid::from_u128(u128::try_from(at + 1).unwrap_or(0));
            router
                .add_matcher(*priority, id, expression)
                .unwrap_or_else(|error| panic!("{expression}: {error}"));
        }
        let (inspected, entries) = converted(&table);
        for _ in 0..PROBES {
            let request = Request::random(&mut random);
            let mut context = request.context(&schema);
            let found = router.execute(&mut context);
            let id = context.result.as_ref().filter(|_| found).map(|found| found.uuid.as_u128());
            let kong = id.map(|id| matchers[usize::try_from(id).unwrap_or(1) - 1].0);
            let (own, fits) = request.here(&inspected);
            if kong == own {
                same += 1;
                continue;
            }
            let fits_in_kong = |route: usize| {
                matchers.iter().filter(|(index, ..)| *index == route).any(|(_, _, expression)| {
                    let mut alone = Router::new(&schema);
                    alone.add_matcher(1, Uuid::from_u128(1), expression).expect("it was taken before");
                    alone.execute(&mut request.context(&schema))
                })
            };
            let told = match (kong, own) {
                // A path of which this side takes less.
                (Some(kong), _) if !fits.contains(&kong) => {
                    by_path += 1;
                    says(&entries, kong).any(|text| {
                        let taken =
                            text.split("Kong took ").nth(1).and_then(|text| text.split("x as well").next());
                        taken.is_some_and(|prefix| request.path.starts_with(prefix))
                    })
                }
                // A path of which this side takes more.
                (_, Some(own)) if !fits_in_kong(own) => {
                    by_path += 1;
                    says(&entries, own).any(|text| text.contains(&format!("takes {} too", request.path)))
                }
                (Some(kong), Some(own)) => {
                    let order = says(&entries, kong)
                        .any(|text| text.contains(&format!("before route r{own} in Kong")));
                    let (first, second) = (kong.min(own), kong.max(own));
                    let tie = says(&entries, first)
                        .any(|text| text.contains(&format!("as route r{second} does")))
                        || says(&entries, second)
                            .any(|text| text.contains(&format!("as route r{first} does")));
                    by_order += usize::from(order);
                    by_tie += usize::from(!order && tie);
                    order || tie
                }
                _ => false,
            };
            assert!(
                told,
                "table {number}: {request:?}: Kong has {kong:?}, here {own:?} of {fits:?}, and nothing is said of it\n{}\n{:#?}",
                table.text(),
                entries.iter().filter(|entry| !entry.changes.is_empty()).collect::<Vec<_>>()
            );
        }
    }
    // Nothing of this is rare: else the test would see nothing.
    assert!(
        same > 10_000 && by_path > 1_000 && by_order > 1_000 && by_tie > 100,
        "{same} {by_path} {by_order} {by_tie}"
    );
    println!("{same} alike; told: {by_path} by path, {by_order} by order, {by_tie} left to chance");
}
