//! What `run` says: where it serves, and what a user must act on, each thing once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use gatehouse_controller::translate::Statuses;
use serde_json::json;

use super::{Serving, world::World};
use crate::{manifests::Folder, offline::Places};

/// Lines that have been said and still hold.
#[derive(Debug, Default)]
pub(super) struct Report {
    notes: BTreeSet<String>,
    problems: BTreeSet<String>,
}

impl Report {
    /// Says what is new, and how much has been mended. `refused`: reasons of dataplanes by resource name.
    pub(super) fn update(
        &mut self,
        folder: &Folder,
        world: &World,
        statuses: &Statuses,
        refused: &BTreeMap<String, String>,
    ) {
        let places = Places::of(folder);
        let told = places.told(statuses).map(|(_, _, problem)| problem.to_string());
        let refused = refused.iter().map(|(resource, reason)| places.refused(resource, reason).to_string());
        let problems: BTreeSet<String> = folder
            .problems()
            .chain(world.problems())
            .map(ToString::to_string)
            .chain(told)
            .chain(refused)
            .collect();
        for line in world.notes().difference(&self.notes).chain(problems.difference(&self.problems)) {
            eprintln!("{line}");
        }
        let mended = self.problems.difference(&problems).count();
        if mended > 0 {
            eprintln!("mended: {mended}; still wrong: {}", problems.len());
        }
        self.notes.clone_from(world.notes());
        self.problems = problems;
    }
}

/// Says where a Gateway is served: for people, or as one line of JSON.
pub(crate) fn serving(serving: &Serving<'_>, json: bool) {
    if json {
        let line = json!({
            "event": "serving",
            "gateway": serving.gateway.to_string(),
            "listeners": serving.listeners,
            "admin": serving.admin,
        });
        // Whoever asked for it may have gone.
        let _ = writeln!(std::io::stdout(), "{line}");
        return;
    }
    let listeners: Vec<String> = serving.urls().into_values().collect();
    eprintln!(
        "Gateway {}: serving {} on {}; metrics on http://{}/metrics",
        serving.gateway,
        counted(serving.routes),
        listeners.join(", "),
        serving.admin
    );
}

/// Says that the folder was read again.
pub(super) fn reread(folder: &str, routes: usize) {
    eprintln!("{folder}: read again, serving {}", counted(routes));
}

fn counted(routes: usize) -> String {
    match routes {
        1 => "1 route".to_owned(),
        more => format!("{more} routes"),
    }
}
