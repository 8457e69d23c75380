//! The published state of one Gateway and what its dataplanes made of it.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::digest;
use gatehouse_proto::config::v1::{Rejection, Resource, resource::Kind};
use prost::Message;
use tokio::sync::watch;

/// Counts the publications of a Gateway. A dataplane that acknowledged one has everything of the ones before.
pub type Generation = u64;

/// 128 bits of SHA-256: nobody can make two contents that look the same.
const VERSION_BYTES: usize = 16;

/// By node, for dataplanes that are connected.
pub type Acks = BTreeMap<String, DataplaneAck>;

/// What a dataplane has in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataplaneAck {
    /// All of this publication and the ones before, but for `rejected`. 0: none yet.
    pub generation: Generation,
    /// Reasons by resource name.
    pub rejected: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(super) struct Gateway {
    published: watch::Sender<Published>,
    acks: watch::Sender<Acks>,
}

/// What dataplanes of the Gateway should have.
#[derive(Debug, Clone, Default)]
pub(super) struct Published {
    /// 0: nothing was published yet.
    pub(super) generation: Generation,
    pub(super) resources: Arc<BTreeMap<String, Arc<Resource>>>,
}

impl Gateway {
    pub(super) fn publish(&self, kinds: BTreeMap<String, Kind>) -> Generation {
        let mut generation = 0;
        self.published.send_if_modified(|published| {
            let resources: BTreeMap<_, _> = kinds
                .into_iter()
                .map(|(name, kind)| {
                    let resource = match published.resources.get(&name) {
                        Some(same) if same.kind.as_ref() == Some(&kind) => Arc::clone(same),
                        _ => Arc::new(versioned(name.clone(), kind)),
                    };
                    (name, resource)
                })
                .collect();
            let same = published.generation > 0
                && resources.len() == published.resources.len()
                && resources.iter().all(|(name, new)| {
                    published.resources.get(name).is_some_and(|old| Arc::ptr_eq(old, new))
                });
            if !same {
                published.generation += 1;
                published.resources = Arc::new(resources);
            }
            generation = published.generation;
            !same
        });
        generation
    }

    pub(super) fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    pub(super) fn acks(&self) -> watch::Receiver<Acks> {
        self.acks.subscribe()
    }

    pub(super) fn acknowledge(
        &self,
        node: &str,
        generation: Generation,
        rejected: &BTreeMap<String, Rejection>,
    ) {
        let rejected =
            rejected.iter().map(|(name, rejection)| (name.clone(), rejection.reason.clone())).collect();
        self.acks.send_modify(|acks| {
            acks.insert(node.to_owned(), DataplaneAck { generation, rejected });
        });
    }

    pub(super) fn forget(&self, node: &str) {
        self.acks.send_modify(|acks| {
            acks.remove(node);
        });
    }
}

fn versioned(name: String, kind: Kind) -> Resource {
    let mut resource = Resource { name, version: Vec::new(), kind: Some(kind) };
    let hash = digest::digest(&digest::SHA256, &resource.encode_to_vec());
    resource.version = hash.as_ref()[..VERSION_BYTES].to_vec();
    resource
}
