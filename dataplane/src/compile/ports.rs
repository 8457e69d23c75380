//! Joins listeners, their certificates and their tables to what each port serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rustls::sign::CertifiedKey;

use super::{Refused, listener::Part, routes::Routes};
use crate::{
    listen::Clients,
    route::HostMap,
    snapshot::{Listener, Port, Speaks},
};

/// All ports.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) ports: BTreeMap<u16, Port>,
    pub(super) datagrams: BTreeMap<u16, Arc<Listener>>,
    /// Left out because their ports serve something else.
    pub(super) refused: Vec<Refused>,
}

/// All ports anew. A listener whose port speaks another protocol, or lets in other clients, as a listener before it by name
/// says, is left out and refused.
pub(super) fn build(
    listeners: &BTreeMap<String, Part>,
    certificates: &BTreeMap<String, Arc<CertifiedKey>>,
    routes: &Routes,
) -> Built {
    let mut built = Built::default();
    let mut admitted: BTreeMap<u16, Option<Arc<Clients>>> = BTreeMap::new();
    for (name, part) in listeners {
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
        let Some(speaks) = part.speaks() else {
            let other = built.datagrams.insert(part.port, Arc::new(listener));
            if let Some(other) = other {
                let reason = format!("{} serves UDP port {} as well", other.name, part.port);
                built.refused.push(Refused { name: name.clone(), reason });
                built.datagrams.insert(part.port, other);
            }
            continue;
        };
        let port = built.ports.entry(part.port).or_insert_with(|| Port {
            speaks,
            clients: None,
            listeners: HostMap::default(),
        });
        match (port.speaks, speaks) {
            (one, other) if one == other => {}
            // Which of them is meant, the server name tells.
            (Speaks::Https | Speaks::Tls, Speaks::Https | Speaks::Tls) => port.speaks = Speaks::Tls,
            _ => {
                let reason = format!("port {} already serves another protocol", part.port);
                built.refused.push(Refused { name: name.clone(), reason });
                continue;
            }
        }
        if part.protocol.is_terminated() {
            // A handshake is one for the whole port.
            let clients = admitted.entry(part.port).or_insert_with(|| part.clients.clone());
            if *clients != part.clients {
                let reason = format!("port {} already lets in other clients", part.port);
                built.refused.push(Refused { name: name.clone(), reason });
                continue;
            }
            port.clients.clone_from(clients);
        }
        port.listeners.insert(&part.hostname, Arc::new(listener));
    }
    built
}

/// Puts the new tables of some listeners where the old ones are. All else must be as it was when the ports were built.
pub(super) fn update(
    built: &mut Built,
    touched: &BTreeSet<Arc<str>>,
    listeners: &BTreeMap<String, Part>,
    routes: &Routes,
) {
    for name in touched {
        let Some(part) = listeners.get(&**name) else { continue };
        let listener = match part.speaks() {
            Some(_) => {
                let port = built.ports.get_mut(&part.port);
                port.and_then(|port| port.listeners.get_mut(&part.hostname))
            }
            None => built.datagrams.get_mut(&part.port),
        };
        let Some(listener) = listener else { continue };
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
