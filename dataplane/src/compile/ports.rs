//! Joins listeners, their certificates and their tables to what each port serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rustls::sign::CertifiedKey;

use super::{Refused, listener::Part, routes::Routes};
use crate::{
    route::HostMap,
    snapshot::{Listener, Port, Speaks},
};

/// All ports anew. A listener whose port speaks another protocol, as a listener before it by name says, is left out and
/// refused.
pub(super) fn build(
    listeners: &BTreeMap<String, Part>,
    certificates: &BTreeMap<String, Arc<CertifiedKey>>,
    routes: &Routes,
) -> (BTreeMap<u16, Port>, Vec<Refused>) {
    let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
    let mut refused = Vec::new();
    for (name, part) in listeners {
        let speaks = part.speaks();
        let port = ports.entry(part.port).or_insert_with(|| Port { speaks, listeners: HostMap::default() });
        match (port.speaks, speaks) {
            (one, other) if one == other => {}
            // Which of them is meant, the server name tells.
            (Speaks::Https | Speaks::Tls, Speaks::Https | Speaks::Tls) => port.speaks = Speaks::Tls,
            _ => {
                let reason = format!("port {} already serves another protocol", part.port);
                refused.push(Refused { name: name.clone(), reason });
                continue;
            }
        }
        let listener = Listener {
            name: Arc::clone(&part.name),
            protocol: part.protocol,
            certificates: part
                .certificates
                .iter()
                .filter_map(|name| certificates.get(name))
                .cloned()
                .collect(),
            routes: routes.table(name),
            stream_idle_timeout: part.stream_idle_timeout,
        };
        port.listeners.insert(&part.hostname, Arc::new(listener));
    }
    (ports, refused)
}

/// Puts the new tables of some listeners where the old ones are. All else must be as it was when the ports were built.
pub(super) fn update(
    ports: &mut BTreeMap<u16, Port>,
    touched: &BTreeSet<Arc<str>>,
    listeners: &BTreeMap<String, Part>,
    routes: &Routes,
) {
    for name in touched {
        let Some(part) = listeners.get(&**name) else { continue };
        let Some(listener) =
            ports.get_mut(&part.port).and_then(|port| port.listeners.get_mut(&part.hostname))
        else {
            continue;
        };
        // Another listener may have the place.
        if listener.name == part.name {
            *listener = Arc::new(Listener {
                name: Arc::clone(&listener.name),
                certificates: Arc::clone(&listener.certificates),
                routes: routes.table(name),
                ..**listener
            });
        }
    }
}
