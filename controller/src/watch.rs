//! Watches the API server and tells what changes, as steps that lead the view from one moment to the next.
//!
//! ```text
//! API server -> a watch a kind -> Change -> whoever owns the view (one writer)
//! ```
//!
//! A list replaces what was known of its kind at once, so nobody sees half a list. An object that does not have the
//! shape of its kind is skipped, and what was known of it before stays. Kinds whose CRD is absent are waited for.

mod change;
mod guard;
mod kind;
mod presence;
mod referenced;
mod source;

use std::collections::BTreeSet;

use gatehouse_crds::{
    AuthPolicy, BackendTlsPolicy, Consumer, Gateway, GatewayClass, GatewayConfig, GatewayRoute, GrpcRoute,
    HttpRoute, ListenerSet, RateLimitPolicy, ReferenceGrant, TcpRoute, TlsRoute, TrafficPolicy, UdpRoute,
};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::Client;
use tokio::sync::{mpsc, watch};

use crate::{latest::tell, translate::ObjectId};
use {referenced::Referenced, source::Place};

pub use change::{Change, Effect};
pub use source::Source;

/// Changes that wait for whoever applies them. When they are many, the watches wait, and the API server with them.
const CHANGES: usize = 1024;

/// All watches. They end when this is dropped.
#[derive(Debug)]
pub struct Watches {
    changes: mpsc::Receiver<Change>,
    /// What has to list before the view is whole.
    unlisted: BTreeSet<Source>,
    wanted: watch::Sender<BTreeSet<ObjectId>>,
    _tasks: tokio::task::JoinSet<()>,
}

impl Watches {
    /// `namespaces`: only these; none: all. `home` is the controller's own, where the other replicas are.
    pub fn start(client: &Client, home: &str, namespaces: &[String]) -> Self {
        let (out, changes) = mpsc::channel(CHANGES);
        let (wanted, wanted_here) = watch::channel(BTreeSet::new());
        let mut tasks = tokio::task::JoinSet::new();
        let (names, crds) = watch::channel(None);
        tasks.spawn(presence::run(client.clone(), names, out.clone()));
        let unlisted = BTreeSet::from([presence::source()]);
        let mut starter = Starter { client, crds, out, tasks: &mut tasks, unlisted };
        let everywhere = [Place::Cluster];
        let named: Vec<Place> = namespaces.iter().cloned().map(Place::Namespace).collect();
        let places = if named.is_empty() { &everywhere[..] } else { &named[..] };

        starter.watch::<GatewayClass>(&everywhere);
        starter.watch::<Namespace>(&everywhere);
        starter.watch::<Gateway>(places);
        starter.watch::<ListenerSet>(places);
        starter.watch::<HttpRoute>(places);
        starter.watch::<GrpcRoute>(places);
        starter.watch::<TlsRoute>(places);
        starter.watch::<TcpRoute>(places);
        starter.watch::<UdpRoute>(places);
        starter.watch::<BackendTlsPolicy>(places);
        starter.watch::<ReferenceGrant>(places);
        starter.watch::<GatewayRoute>(places);
        starter.watch::<AuthPolicy>(places);
        starter.watch::<RateLimitPolicy>(places);
        starter.watch::<TrafficPolicy>(places);
        starter.watch::<Consumer>(places);
        starter.watch::<GatewayConfig>(places);
        starter.watch::<IngressClass>(&everywhere);
        starter.watch::<Ingress>(places);
        starter.watch::<Service>(places);
        starter.watch::<EndpointSlice>(places);
        let home = [Place::Namespace(home.to_owned())];
        if !named.is_empty() && !named.contains(&home[0]) {
            starter.watch::<EndpointSlice>(&home);
        }
        starter.referenced::<Secret>(places, &wanted_here);
        starter.referenced::<ConfigMap>(places, &wanted_here);
        let unlisted = starter.unlisted;
        Watches { changes, unlisted, wanted, _tasks: tasks }
    }

    /// Every kind has listed: the view is whole.
    pub fn synced(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// What has not listed yet, for people to read.
    pub fn unlisted(&self) -> &BTreeSet<Source> {
        &self.unlisted
    }

    /// Waits for a change, and takes those that wait beside it. Cancel safe.
    pub async fn next(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.changes.recv_many(&mut changes, CHANGES).await == 0 {
            // The watches end with this value alone.
            std::future::pending::<()>().await;
        }
        for change in &changes {
            if let Some(source) = change.listed() {
                self.unlisted.remove(source);
            }
        }
        changes
    }

    /// Only these Secrets and ConfigMaps are read and kept. Each is in the view, or known not to exist, once
    /// [`Effect::Content`] told so.
    pub fn want(&self, wanted: BTreeSet<ObjectId>) {
        tell(&self.wanted, wanted);
    }
}

struct Starter<'a> {
    client: &'a Client,
    crds: presence::Crds,
    out: mpsc::Sender<Change>,
    tasks: &'a mut tokio::task::JoinSet<()>,
    unlisted: BTreeSet<Source>,
}

impl Starter<'_> {
    fn watch<K: kind::Watched>(&mut self, places: &[Place]) {
        for place in places {
            let source = Source::new(K::KIND, place.clone());
            self.unlisted.insert(source.clone());
            let task = kind::run::<K>(self.client.clone(), source, self.crds.clone(), self.out.clone());
            self.tasks.spawn(task);
        }
    }

    fn referenced<K: Referenced>(&mut self, places: &[Place], wanted: &watch::Receiver<BTreeSet<ObjectId>>) {
        for place in places {
            let source = Source::new(K::KIND, place.clone());
            self.unlisted.insert(source.clone());
            let task = referenced::run::<K>(self.client.clone(), source, wanted.clone(), self.out.clone());
            self.tasks.spawn(task);
        }
    }
}
