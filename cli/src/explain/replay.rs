//! Replays an access log through a folder: which of its requests would go to another rule than the log says.
//!
//! A log holds neither headers nor query parameters. Where a rule that asks for some is tried before the answer is
//! certain, the request may go to any of them, and is counted apart unless the log names none of them.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    path::Path,
};

use gatehouse_controller::translate::{Config, Translation};
use gatehouse_dataplane::inspect::{Inspected, Verdict};
use gatehouse_proto::config::v1;
use http::{HeaderMap, Method, Uri};
use serde::{Deserialize, Serialize};

use super::lines;
use crate::{offline, run::RunError};

/// What of a line is needed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
struct Line {
    method: String,
    scheme: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    path: String,
    /// Absent: nothing was matched.
    listener: Option<String>,
    route: Option<String>,
    rule: Option<String>,
}

/// The sum of a log.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Replayed {
    /// Lines of requests that reached a listener.
    requests: u64,
    /// Go to the rule that the log names.
    same: u64,
    /// May go there, as their headers or query parameters are.
    uncertain: u64,
    /// Lines of no such request: of streams, of requests that could not be read, and what is no line at all.
    skipped: u64,
    elsewhere: Vec<Elsewhere>,
}

/// Requests that the log has at one rule and the folder at another.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Elsewhere {
    logged: String,
    here: String,
    requests: u64,
    /// One of them.
    example: String,
}

/// Where a request may go: the first that is certain is the last.
struct Ways(Vec<String>);

pub(super) fn replay(log: &Path, translation: &Translation) -> Result<Replayed, RunError> {
    let (mut replayed, mut distinct) = (Replayed::default(), HashMap::<Line, u64>::new());
    for line in lines::of(log)? {
        match serde_json::from_str::<Line>(&line?) {
            Ok(line) if line.listener.is_some() => *distinct.entry(line).or_default() += 1,
            _ => replayed.skipped += 1,
        }
    }
    let gateways = Gateways::of(translation);
    let mut elsewhere = BTreeMap::<(String, String), (u64, String)>::new();
    for (line, count) in distinct {
        let logged = match (&line.route, &line.rule) {
            (Some(route), Some(rule)) => named(route, rule),
            _ => NOBODY.to_owned(),
        };
        replayed.requests += count;
        let Ways(ways) = gateways.ways(&line);
        match ways.as_slice() {
            [only] if *only == logged => replayed.same += count,
            all if all.contains(&logged) => replayed.uncertain += count,
            all => {
                let example = format!("{} {}://{}{}", line.method, line.scheme, line.host, line.path);
                let entry = elsewhere.entry((logged, all.join(" or "))).or_insert((0, example));
                entry.0 += count;
            }
        }
    }
    replayed.elsewhere = elsewhere
        .into_iter()
        .map(|((logged, here), (requests, example))| Elsewhere { logged, here, requests, example })
        .collect();
    replayed.elsewhere.sort_by_key(|one| std::cmp::Reverse(one.requests));
    Ok(replayed)
}

const NOBODY: &str = "no rule";

/// As an access log tells it.
fn named(object: &str, rule: &str) -> String {
    format!("rule {rule} of {object}")
}

/// What each Gateway would do, by the names of its listeners.
struct Gateways<'a>(Vec<(&'a Config, Inspected)>);

impl<'a> Gateways<'a> {
    fn of(translation: &'a Translation) -> Self {
        Gateways(translation.gateways.values().map(|config| (config, offline::inspect(config))).collect())
    }

    fn ways(&self, line: &Line) -> Ways {
        let nobody = || Ways(vec![NOBODY.to_owned()]);
        let name = format!("listener/{}", line.listener.as_deref().unwrap_or_default());
        let found = self
            .0
            .iter()
            .find_map(|(config, inspected)| Some((*config, inspected, offline::listener(config, &name)?)));
        let Some((config, inspected, listener)) = found else { return nobody() };
        let url = format!("{}://{}{}", line.scheme, line.host, line.path).parse::<Uri>();
        let (Ok(url), Ok(method)) = (url, line.method.parse::<Method>()) else { return nobody() };
        let port = u16::try_from(listener.port).unwrap_or_default();
        let Ok(explained) = inspected.explain(port, &method, &url, &HeaderMap::new()) else {
            return nobody();
        };
        let mut ways = Vec::new();
        for candidate in explained.candidates {
            let Some(route) = offline::route(config, &candidate.route) else { continue };
            let is_certain = match candidate.verdict {
                Verdict::Taken { .. } => true,
                Verdict::Header(_) | Verdict::QueryParam(_) | Verdict::Grpc => false,
                Verdict::Method(_) | Verdict::Later => continue,
            };
            let name = logged_name(route);
            if !ways.contains(&name) {
                ways.push(name);
            }
            if is_certain {
                return Ways(ways);
            }
        }
        ways.push(NOBODY.to_owned());
        Ways(ways)
    }
}

fn logged_name(route: &v1::Route) -> String {
    match route.rule_name.as_str() {
        "" => named(&route.object, &route.rule.to_string()),
        name => named(&route.object, name),
    }
}

impl Replayed {
    pub(super) fn is_same(&self) -> bool {
        self.elsewhere.is_empty()
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let elsewhere: u64 = self.elsewhere.iter().map(|one| one.requests).sum();
        writeln!(
            out,
            "{} requests: {} as the log says, {} may be (it holds no headers and no query), {elsewhere} go elsewhere; {} other lines",
            self.requests, self.same, self.uncertain, self.skipped
        )?;
        for one in &self.elsewhere {
            writeln!(
                out,
                "  {}, as {}: logged {}, here {}",
                one.requests, one.example, one.logged, one.here
            )?;
        }
        Ok(())
    }
}
