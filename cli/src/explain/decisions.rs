//! What the policies of the rule that takes a request decide, in words.

use std::{fmt, time::SystemTime};

use gatehouse_controller::translate::Config;
use gatehouse_dataplane::{
    Reason,
    inspect::{self, Counted, Explained, Guard, Inspected, Outcome, Sent, Verdict, Who},
};
use gatehouse_proto::config::v1;
use serde::Serialize;

use super::Asked;
use crate::{manifests::Identity, offline};

/// A policy, and what it decides.
#[derive(Debug, Serialize)]
pub(super) struct Decision {
    policy: String,
    /// `admits`, `refuses`, `asks` or `counts`.
    decides: &'static str,
    /// Whom it takes the client for, the challenges, or the counts.
    with: Vec<String>,
}

/// As the access log tells it.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    status: u16,
    reason: &'static str,
}

/// Nothing where no rule takes the request.
pub(super) fn of(
    config: &Config,
    inspected: &Inspected,
    explained: &Explained,
    asked: &Asked,
) -> Result<(Vec<Decision>, Option<Refused>), Reason> {
    let taker = explained.candidates.iter().find(|one| matches!(one.verdict, Verdict::Taken { .. }));
    let Some((name, route)) = taker.and_then(|one| Some((&one.route, offline::route(config, &one.route)?)))
    else {
        return Ok((Vec::new(), None));
    };
    let sent = Sent {
        port: asked.port,
        method: &asked.method,
        uri: &asked.url,
        headers: &asked.headers,
        peer: asked.client,
        at: SystemTime::now(),
    };
    let decided = inspected.decide(name, &sent)?;
    let decisions = decided.decisions.into_iter().map(|decision| Decision::of(route, decision)).collect();
    let refused =
        decided.refused.map(|reason| Refused { status: reason.status().as_u16(), reason: reason.as_str() });
    Ok((decisions, refused))
}

impl Decision {
    fn of(route: &v1::Route, decision: inspect::Decision) -> Self {
        let name = match decision.guard {
            Guard::Auth(index) => route.auth.get(index),
            Guard::RateLimit(index) => route.rate_limits.get(index),
        };
        let (decides, with) = match decision.outcome {
            Outcome::Admits(who) => ("admits", told(who)),
            Outcome::Refuses(challenges) => ("refuses", challenges),
            Outcome::Asks => ("asks", Vec::new()),
            Outcome::Counts(counts) => ("counts", counts.iter().map(count).collect()),
        };
        Decision {
            policy: name.map_or_else(String::new, |name| Identity::text_of_resource(name)),
            decides,
            with,
        }
    }
}

fn told(who: Who) -> Vec<String> {
    let Some(credential) = who.credential else { return vec!["anonymous".to_owned()] };
    let consumer = who.consumer.map(|consumer| format!("consumer {consumer}"));
    let tier = who.tier.map(|tier| format!("tier {tier}"));
    let groups = (!who.groups.is_empty()).then(|| format!("groups {}", who.groups.join(" ")));
    consumer.into_iter().chain([format!("credential {credential}")]).chain(tier).chain(groups).collect()
}

fn count(count: &Counted) -> String {
    let of = if count.key.is_empty() { "all".to_owned() } else { count.key.join(" and ") };
    let shadow = if count.shadow { ", without refusing" } else { "" };
    format!("{} of {of}{shadow}", count.limit)
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = self.with.join(", ");
        match (self.decides, with.as_str()) {
            ("asks", _) => write!(f, "{} asks somebody else, who is not asked here", self.policy),
            ("counts", "") => write!(f, "{} does not count it", self.policy),
            ("counts", with) => write!(f, "{} counts it: {with}", self.policy),
            (decides, "") => write!(f, "{} {decides} it", self.policy),
            (decides, with) => write!(f, "{} {decides} it: {with}", self.policy),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is answered {} {}", self.status, self.reason)
    }
}
