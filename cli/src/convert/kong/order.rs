//! Which of two routes takes a request that both could: in Kong, and here.
//!
//! Kong (since 3.0) asks first how many kinds of conditions a route has, here the host and the path decide first. For each
//! two routes that some request fits, both orders are compared, and a request that would go elsewhere is told.
//!
//! Whether some request fits both is answered generously: a warning too many is said rather than one too few.

use std::cmp::{Ordering, Reverse};

use regex_syntax::hir::literal::Extractor;

use super::{
    Conversion,
    matches::{Asked, Path, prefix_difference, read_path},
    model::PathKind,
};
use crate::convert::{probes::Probe, sample::shortest_match, tree::Node};

/// A route as both sides see it.
#[derive(Debug)]
pub(super) struct Routed {
    /// Its position.
    pub(super) route: usize,
    pub(super) asked: Asked,
    pub(super) regex_priority: i64,
    /// Values by name, as they were written.
    pub(super) headers: Vec<(String, Vec<String>)>,
}

/// One combination of a host, a path and a method of a route.
#[derive(Debug, Clone, Copy)]
struct Choice<'a> {
    of: &'a Routed,
    host: Option<&'a str>,
    path: Option<&'a Path>,
    method: Option<&'a str>,
}

/// Kong's, the greater first: kinds of conditions, no wildcard among the hosts, names of headers, an expression, its
/// priority, the length of a plain path.
type KongRank = (usize, bool, usize, bool, i64, usize);

/// Ours, the smaller first: the host, the path, the method, the number of headers.
type OwnRank = (Reverse<usize>, PathRank, Reverse<bool>, Reverse<usize>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Expression(Reverse<usize>),
    Prefix(Reverse<usize>),
}

impl Routed {
    fn choices(&self) -> Vec<Choice<'_>> {
        fn each<T>(all: &[T]) -> Vec<Option<&T>> {
            if all.is_empty() { vec![None] } else { all.iter().map(Some).collect() }
        }
        let mut choices = Vec::new();
        for host in each(&self.asked.hosts) {
            for path in each(&self.asked.paths) {
                for method in each(&self.asked.methods) {
                    choices.push(Choice {
                        of: self,
                        host: host.map(String::as_str),
                        path,
                        method: method.map(String::as_str),
                    });
                }
            }
        }
        choices
    }

    fn kinds(&self) -> usize {
        let Asked { hosts, methods, paths, headers } = &self.asked;
        [hosts.is_empty(), methods.is_empty(), paths.is_empty(), headers.is_empty()]
            .into_iter()
            .filter(|is_empty| !is_empty)
            .count()
    }
}

impl Choice<'_> {
    fn in_kong(&self) -> KongRank {
        let hosts = &self.of.asked.hosts;
        let (expression, priority, length) = match self.path {
            // An Ingress's whole path is an expression there.
            Some(Path::Expression { .. } | Path::Exact(_)) => (true, self.of.regex_priority, 0),
            Some(Path::Prefix(path)) => (false, 0, path.len()),
            None => (false, 0, 0),
        };
        let is_plain = !hosts.is_empty() && hosts.iter().all(|host| !host.contains('*'));
        (self.of.kinds(), is_plain, self.of.headers.len(), expression, priority, length)
    }

    fn here(&self) -> OwnRank {
        // An exact host goes before every wildcard that covers it, and a longer wildcard before a shorter one.
        let host = match self.host {
            None => 0,
            Some(host) if host.starts_with("*.") => host.len(),
            Some(_) => usize::MAX,
        };
        let path = match self.path {
            Some(Path::Exact(_)) => PathRank::Exact,
            Some(path @ Path::Expression { .. }) => {
                PathRank::Expression(Reverse(path.value()["value"].as_str().map_or(0, str::len)))
            }
            Some(Path::Prefix(path)) => {
                PathRank::Prefix(Reverse(path.strip_suffix('/').unwrap_or(path).len()))
            }
            None => PathRank::Prefix(Reverse(0)),
        };
        (Reverse(host), path, Reverse(self.method.is_some()), Reverse(self.of.headers.len()))
    }
}

impl Conversion<'_, '_> {
    /// Says where a request goes elsewhere than in Kong.
    pub(super) fn compare_orders(&mut self) {
        let routed = std::mem::take(&mut self.routed);
        let mut probes = Vec::new();
        for (at, one) in routed.iter().enumerate() {
            for other in &routed[at + 1..] {
                for (first, second, with_ties) in [(one, other, true), (other, one, false)] {
                    for (request, is_tie) in differences(first, second, with_ties) {
                        probes.push(self.tell(first, second, request, is_tie, probes.len()));
                    }
                }
            }
        }
        self.probes.extend(probes);
        self.routed = routed;
    }

    /// `first` takes the request in Kong, `second` here.
    fn tell(&self, first: &Routed, second: &Routed, request: Probe, is_tie: bool, number: usize) -> Probe {
        let (route, other) = (&self.kong.routes[first.route], &self.kong.routes[second.route]);
        let fields = [route.paths.first(), route.hosts.first(), route.methods.first()];
        let node = fields.into_iter().flatten().next().map_or(&route.node, |at| &at.node);
        let id = format!("order-{}", number + 1);
        let shown = request.shown();
        let message = if is_tie {
            format!(
                "takes {shown} as route {} does: Kong chooses by their ids, here the older object does, or the name",
                other.name
            )
        } else {
            format!("takes {shown} before route {} in Kong; here that one takes it", other.name)
        };
        self.report.warn(node, message.clone());
        self.probe(node, id, message, request)
    }

    fn probe(&self, node: &Node<'_>, id: String, changes: String, request: Probe) -> Probe {
        self.report.probe(node, &id);
        Probe {
            id,
            file: node.file().to_owned(),
            line: node.line(),
            field: node.path().to_owned(),
            changes,
            ..request
        }
    }

    /// A request for each path of each route, and one for what only Kong takes.
    pub(super) fn probe_paths(&mut self) {
        let mut probes = Vec::new();
        for routed in &self.routed {
            let route = &self.kong.routes[routed.route];
            for at in &route.paths {
                let Ok(path) = read_path(route.path_kind, &at.value) else { continue };
                let choice = Choice {
                    of: routed,
                    host: routed.asked.hosts.first().map(String::as_str),
                    path: Some(&path),
                    method: routed.asked.methods.first().map(String::as_str),
                };
                let Some(request) = meet(&choice, &choice) else { continue };
                let number = probes.len() + 1;
                let beside = match &path {
                    Path::Prefix(_) if route.path_kind != PathKind::Kong => None,
                    Path::Prefix(text) if text.ends_with('/') => {
                        text.strip_suffix('/').filter(|bare| !bare.is_empty()).map(str::to_owned)
                    }
                    Path::Prefix(text) => Some(format!("{text}x")),
                    Path::Exact(_) | Path::Expression { .. } => None,
                };
                probes.push(self.probe(&at.node, format!("path-{number}"), String::new(), request.clone()));
                if let (Some(path), Some(changes)) = (beside, prefix_difference(&at.value)) {
                    let id = format!("beside-{number}");
                    probes.push(self.probe(&at.node, id, changes, Probe { path, ..request }));
                }
            }
        }
        self.probes.extend(probes);
    }
}

/// A request that the first takes in Kong and the second here; and one of which one side leaves it to chance.
/// `with_ties`: also where Kong does.
fn differences(first: &Routed, second: &Routed, with_ties: bool) -> Vec<(Probe, bool)> {
    if !headers_meet(first, second) {
        return Vec::new();
    }
    let (mut elsewhere, mut tie) = (None, None);
    for one in first.choices() {
        for other in second.choices() {
            let in_kong = one.in_kong().cmp(&other.in_kong());
            // Kong has the greater first, and this side the smaller.
            let here = other.here().cmp(&one.here());
            let is_tie = match in_kong {
                Ordering::Less => continue,
                Ordering::Equal if !with_ties => continue,
                Ordering::Equal => true,
                Ordering::Greater => here == Ordering::Equal,
            };
            let place = match here {
                _ if is_tie => &mut tie,
                Ordering::Less => &mut elsewhere,
                _ => continue,
            };
            if place.is_none() {
                *place = meet(&one, &other).map(|request| (request, is_tie));
            }
        }
    }
    elsewhere.into_iter().chain(tie).collect()
}

fn headers_meet(first: &Routed, second: &Routed) -> bool {
    let is_plain = |values: &[String]| values.iter().all(|value| !value.starts_with("~*"));
    first.headers.iter().all(|(name, values)| {
        let other = second.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        other.is_none_or(|(_, others)| {
            !is_plain(values)
                || !is_plain(others)
                || values.iter().any(|value| others.iter().any(|other| other.eq_ignore_ascii_case(value)))
        })
    })
}

/// A request that both could take, if there may be one.
fn meet(one: &Choice<'_>, other: &Choice<'_>) -> Option<Probe> {
    let host = match (one.host, other.host) {
        (None, None) => None,
        (Some(host), None) | (None, Some(host)) => Some(host),
        (Some(one), Some(other)) => Some(common_host(one, other)?),
    };
    let method = match (one.method, other.method) {
        (Some(one), Some(other)) if one != other => return None,
        (one, other) => one.or(other).unwrap_or("GET"),
    };
    let path = match (one.path, other.path) {
        (None, None) => "/".to_owned(),
        (Some(path), None) | (None, Some(path)) => sample(path),
        (Some(one), Some(other)) => common_path(one, other)?,
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, values) in one.of.headers.iter().chain(&other.of.headers) {
        let value = values.first().map(|value| value.trim_start_matches("~*").to_owned()).unwrap_or_default();
        if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            headers.push((name.clone(), value));
        }
    }
    let host = host.map(|host| host.strip_prefix("*.").map_or(host.to_owned(), |rest| format!("x.{rest}")));
    Some(Probe { method: method.to_owned(), host, path, headers, ..Probe::default() })
}

/// The narrower of two hosts, if one covers the other.
fn common_host<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let covers = |wide: &str, narrow: &str| {
        wide == narrow || wide.strip_prefix('*').is_some_and(|suffix| narrow.ends_with(suffix))
    };
    if covers(one, other) {
        Some(other)
    } else if covers(other, one) {
        Some(one)
    } else {
        None
    }
}

fn common_path(one: &Path, other: &Path) -> Option<String> {
    match (one, other) {
        (Path::Prefix(one) | Path::Exact(one), Path::Prefix(other) | Path::Exact(other)) => {
            let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
            // With and without the last slash: each side sees one of them as the shorter.
            let is_below =
                long.starts_with(&**short) || long.starts_with(short.strip_suffix('/').unwrap_or(short));
            is_below.then(|| long.clone())
        }
        (expression @ Path::Expression { text, .. }, Path::Prefix(path) | Path::Exact(path))
        | (Path::Prefix(path) | Path::Exact(path), expression @ Path::Expression { text, .. }) => {
            let bare = path.strip_suffix('/').unwrap_or(path);
            let may = beginnings(text)
                .iter()
                .any(|literal| literal.starts_with(bare) || bare.starts_with(&**literal));
            may.then(|| sample(expression))
        }
        (first @ Path::Expression { text: one, .. }, Path::Expression { text: other, .. }) => {
            let (ones, others) = (beginnings(one), beginnings(other));
            let meets = |one: &String| {
                others.iter().any(|other| one.starts_with(&**other) || other.starts_with(&**one))
            };
            ones.iter().any(meets).then(|| sample(first))
        }
    }
}

/// What the matches of an expression begin with: one of these, each as far as it is known.
fn beginnings(expression: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::parse(expression) else { return vec![String::new()] };
    let literals = Extractor::new().extract(&hir);
    let all = literals.literals().map(|all| {
        all.iter().map(|literal| String::from_utf8_lossy(literal.as_bytes()).into_owned()).collect::<Vec<_>>()
    });
    all.filter(|all| !all.is_empty()).unwrap_or_else(|| vec![String::new()])
}

/// A path that the condition takes.
fn sample(path: &Path) -> String {
    match path {
        Path::Prefix(path) | Path::Exact(path) => path.clone(),
        Path::Expression { text, .. } => shortest_match(text),
    }
}
