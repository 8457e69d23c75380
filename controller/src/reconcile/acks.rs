//! What the dataplanes of all Gateways say, to this replica and to the others.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use tokio_stream::{StreamMap, wrappers::WatchStream};

use crate::{
    replicas::AcksByGateway,
    resources::ObjectKey,
    serve::{Acks, ConfigServer},
};

#[derive(Default)]
pub(super) struct AllAcks {
    streams: StreamMap<ObjectKey, WatchStream<Acks>>,
    latest: BTreeMap<ObjectKey, Acks>,
}

impl AllAcks {
    /// Those of these Gateways and of no others.
    pub(super) fn follow<'a>(
        &mut self,
        server: &ConfigServer,
        gateways: impl Iterator<Item = &'a ObjectKey>,
    ) {
        let mut before = std::mem::take(&mut self.latest);
        for gateway in gateways {
            if !self.streams.contains_key(gateway) {
                self.streams.insert(gateway.clone(), WatchStream::new(server.acks(&gateway.to_string())));
            }
            self.latest.insert(gateway.clone(), before.remove(gateway).unwrap_or_default());
        }
        for gone in before.keys() {
            self.streams.remove(gone);
        }
    }

    /// Waits for news. Cancel safe.
    pub(super) async fn changed(&mut self) {
        match self.streams.next().await {
            Some((gateway, acks)) => {
                self.latest.insert(gateway, acks);
            }
            // None is followed.
            None => std::future::pending().await,
        }
    }

    /// To this replica, with what they report now.
    pub(super) fn by_gateway(&self, server: &ConfigServer) -> AcksByGateway {
        let each = self.latest.iter().map(|(gateway, acks)| {
            let mut acks = acks.clone();
            for (node, report) in server.reports(&gateway.to_string()) {
                if let Some(dataplane) = acks.dataplanes.get_mut(&node) {
                    dataplane.report = Some(report);
                }
            }
            (gateway.to_string(), acks)
        });
        each.collect()
    }

    /// Of one Gateway. `elsewhere`: what the other replicas were told.
    pub(super) fn of(&self, gateway: &ObjectKey, elsewhere: &AcksByGateway) -> Acks {
        let mut acks = self.latest.get(gateway).cloned().unwrap_or_default();
        if let Some(theirs) = elsewhere.get(&gateway.to_string()) {
            acks.merge(theirs.clone());
        }
        acks
    }
}

impl std::fmt::Debug for AllAcks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllAcks").field("latest", &self.latest).finish_non_exhaustive()
    }
}
