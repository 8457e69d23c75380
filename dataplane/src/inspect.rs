//! What a dataplane makes of a configuration, without serving it: what it refuses, which rules get no request, and which
//! rule takes a request, why the others don't, and what its policies decide.

mod decisions;

use std::sync::Arc;

use gatehouse_proto::config::v1;
use http::{HeaderMap, Method, Uri};

use crate::{
    Reason,
    compile::State,
    http::{forward, target::Target},
    observe::metrics::Metrics,
    route::{self, Examined, Facts, Unmet, examine},
    snapshot::{Action, Rule, Snapshot},
};

pub use crate::{compile::Refused, limit::Counted};
pub use decisions::{Decided, Decision, Guard, Outcome, Sent, Who};

/// A compiled configuration.
#[derive(Debug)]
pub struct Inspected {
    state: State,
    snapshot: Snapshot,
    refused: Vec<Refused>,
}

/// A request's way through a listener.
#[derive(Debug)]
pub struct Explained {
    /// As everything compares it: in lower case, without port.
    pub host: String,
    /// As everything compares it (RFC 3986, 6.2.2).
    pub path: String,
    /// `NAMESPACE/GATEWAY/NAME`; `None`: no listener of the port takes the host.
    pub listener: Option<String>,
    /// Every match whose host and path the request has, in the order that they are tried.
    pub candidates: Vec<Candidate>,
}

/// One match of one rule.
#[derive(Debug)]
pub struct Candidate {
    /// Its resource.
    pub route: String,
    /// Which of the rule's matches.
    pub index: usize,
    pub verdict: Verdict,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the request.
    Taken {
        /// Path and query as a backend sees them, if one is asked.
        backend_path: Option<String>,
    },
    /// It is for this method.
    Method(String),
    /// This header is missing or has another value.
    Header(String),
    /// This query parameter is missing or has another value.
    QueryParam(String),
    /// It is for gRPC calls, or for those of another method.
    Grpc,
    /// All holds, but one before it takes the request.
    Later,
}

/// A match that takes nothing.
#[derive(Debug)]
pub struct Shadowed {
    /// Its resource.
    pub route: String,
    /// Which of the rule's matches.
    pub index: usize,
    /// The resource of the rule that takes what it would.
    pub by: String,
}

impl Inspected {
    /// The whole configuration of one Gateway.
    #[must_use]
    pub fn new(resources: Vec<v1::Resource>) -> Self {
        let mut state = State::new(Arc::new(Metrics::default()));
        let mut refused = state.apply(resources, &[]).refused;
        let (snapshot, unfit) = state.assemble();
        refused.extend(unfit);
        Inspected { state, snapshot, refused }
    }

    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// # Errors
    /// The request has no canonical form and would be refused before routing.
    pub fn explain(
        &self,
        port: u16,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Explained, Reason> {
        let target = Target::of(method, uri, headers)?;
        let listener = self.snapshot.ports.get(&port).and_then(|port| port.listeners.best(&target.host));
        let facts = Facts { host: &target.host, path: &target.path, method, headers, query: target.query };
        // As its resource is called; a listener is named without its kind.
        let is_here = |name: &str| {
            listener.is_some_and(|listener| name.strip_prefix("listener/").unwrap_or(name) == &*listener.name)
        };
        let rules = self.state.rules().filter(|(name, ..)| is_here(name));
        let examined = examine(rules.map(|(_, entry, hostnames)| (entry, hostnames)), &facts);
        let mut is_taken = false;
        let mut candidates = Vec::with_capacity(examined.len());
        for one in examined {
            let verdict = match one.unmet {
                Some(Unmet::Method(wanted)) => Verdict::Method(wanted.to_string()),
                Some(Unmet::Header(name)) => Verdict::Header(name.to_string()),
                Some(Unmet::QueryParam(name)) => Verdict::QueryParam(name.to_owned()),
                Some(Unmet::Grpc) => Verdict::Grpc,
                None if is_taken => Verdict::Later,
                None => {
                    is_taken = true;
                    Verdict::Taken { backend_path: backend_path(&one, &facts, uri)? }
                }
            };
            candidates.push(Candidate { route: one.entry.name().into_owned(), index: one.index, verdict });
        }
        Ok(Explained {
            host: facts.host.to_owned(),
            path: facts.path.to_owned(),
            listener: listener.map(|listener| listener.name.to_string()),
            candidates,
        })
    }

    /// Matches that take nothing, since equal ones are tried before.
    #[must_use]
    pub fn shadowed(&self) -> Vec<Shadowed> {
        let told = |one: route::Shadowed<'_, Rule>| Shadowed {
            route: one.entry.name().into_owned(),
            index: one.index,
            by: one.by.name().into_owned(),
        };
        route::shadowed(self.state.rules()).into_iter().map(told).collect()
    }
}

fn backend_path(one: &Examined<'_, Rule>, facts: &Facts<'_>, uri: &Uri) -> Result<Option<String>, Reason> {
    let Action::Forward(forward) = &one.entry.target.plan.action else { return Ok(None) };
    let path = forward::path_and_query(forward, facts.path, facts.query, one.prefix, uri)?;
    Ok(Some(path.to_string()))
}
