//! `gatehouse check DIR --diff DIR2`: requests that the two folders treat differently.
//!
//! Every match of either folder gives the requests that are compared: all that a rule is written for is seen, and
//! nothing is said of requests that none is.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Write},
};

use gatehouse_controller::{
    resources::ObjectKey,
    translate::{Config, Translation},
};
use gatehouse_dataplane::inspect::Inspected;
use serde::Serialize;

use super::probes::{self, Probe};
use crate::{
    explain::{self, Taken},
    manifests::Folder,
    offline,
};

/// What two folders make of the same requests.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    /// Requests that were compared.
    compared: usize,
    different: Vec<Different>,
}

#[derive(Debug, Serialize)]
struct Different {
    gateway: String,
    request: String,
    /// By the first folder.
    now: Told,
    /// By the second.
    then: Told,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Told {
    Taken(Taken),
    Not(String),
}

pub(super) fn between(now: &Folder, then: &Folder) -> Difference {
    let (now, then) = (explain::translated(now), explain::translated(then));
    let gateways: BTreeSet<&ObjectKey> = now.gateways.keys().chain(then.gateways.keys()).collect();
    let mut difference = Difference { compared: 0, different: Vec::new() };
    for gateway in gateways {
        let (now, then) = (Side::of(&now, gateway), Side::of(&then, gateway));
        let mut seen = BTreeSet::new();
        for probe in now.probes().into_iter().chain(then.probes()) {
            let request = probe.to_string();
            if !seen.insert(request.clone()) {
                continue;
            }
            difference.compared += 1;
            let (now, then) = (now.told(&probe), then.told(&probe));
            if now != then {
                difference.different.push(Different { gateway: gateway.to_string(), request, now, then });
            }
        }
    }
    difference
}

/// A Gateway in one of the folders.
struct Side<'a>(Option<(&'a Config, Inspected)>);

impl<'a> Side<'a> {
    fn of(translation: &'a Translation, gateway: &ObjectKey) -> Self {
        Side(translation.gateways.get(gateway).map(|config| (config, offline::inspect(config))))
    }

    fn probes(&self) -> Vec<Probe> {
        self.0.as_ref().map_or_else(Vec::new, |(config, _)| probes::all(config))
    }

    fn told(&self, probe: &Probe) -> Told {
        let Some((config, inspected)) = &self.0 else {
            return Told::Not("there is no such Gateway".to_owned());
        };
        match inspected.explain(probe.port, &probe.method, &probe.url, &probe.headers) {
            Err(reason) => Told::Not(format!("refused: {}", reason.detail())),
            Ok(explained) if explained.listener.is_none() => Told::Not("no listener takes it".to_owned()),
            Ok(explained) => match explain::taken(config, &explained) {
                Some(taken) => Told::Taken(taken),
                None => Told::Not("no rule takes it: 404 no_route".to_owned()),
            },
        }
    }
}

impl Difference {
    pub(super) fn is_none(&self) -> bool {
        self.different.is_empty()
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for one in &self.different {
            writeln!(out, "{} at Gateway {}", one.request, one.gateway)?;
            writeln!(out, "  now  {}", one.now)?;
            writeln!(out, "  then {}", one.then)?;
        }
        writeln!(out, "{} of {} requests go elsewhere", self.different.len(), self.compared)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Taken(taken) => taken.fmt(f),
            Told::Not(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)?;
        let mut headers = self.headers.iter();
        headers
            .try_for_each(|(name, value)| write!(f, " -H '{name}: {}'", value.to_str().unwrap_or_default()))
    }
}
