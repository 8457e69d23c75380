//! What `run` says: where it serves, and what a user must act on, each thing once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use gatehouse_controller::{resources::ObjectKey, translate::Translation};
use serde_json::json;

use super::{Serving, world::World};
use crate::manifests::{Folder, folder::Object};

/// Lines that have been said and still hold.
#[derive(Debug, Default)]
pub(super) struct Report(BTreeSet<String>);

impl Report {
    /// Says what is new, and how much has been mended.
    pub(super) fn update(&mut self, folder: &Folder, world: &World, translation: &Translation) {
        let places: BTreeMap<(&str, ObjectKey), &Object> = folder
            .objects()
            .filter_map(|object| {
                let metadata = &object.value["metadata"];
                let namespace = metadata["namespace"].as_str().unwrap_or("default");
                let key = ObjectKey::new(namespace, metadata["name"].as_str()?);
                Some(((object.value["kind"].as_str()?, key), object))
            })
            .collect();
        let mut lines: BTreeSet<String> =
            folder.problems().chain(world.problems()).map(ToString::to_string).collect();
        for (id, place, condition) in translation.statuses.problems() {
            let at = match places.get(&(id.kind, id.key.clone())) {
                Some(object) => format!("{}:{}: ", object.file, object.line),
                None => String::new(),
            };
            let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
            lines.insert(format!(
                "{at}{} {}{place}: {}={} {}: {}",
                id.kind,
                id.key.name,
                condition.kind,
                if condition.status { "True" } else { "False" },
                condition.reason,
                condition.message
            ));
        }
        for line in lines.difference(&self.0) {
            eprintln!("{line}");
        }
        let mended = self.0.difference(&lines).count();
        if mended > 0 {
            eprintln!("mended: {mended}; still wrong: {}", lines.len());
        }
        self.0 = lines;
    }
}

/// Says where a Gateway is served: for people, or as one line of JSON.
pub(super) fn serving(serving: &Serving<'_>, json: bool) {
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
    eprintln!("Gateway {} is served:", serving.gateway);
    for (name, address) in &serving.listeners {
        eprintln!("  {name:<12} {address}");
    }
    eprintln!("  {:<12} http://{}/metrics", "admin", serving.admin);
}
