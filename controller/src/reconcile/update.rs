//! What routes, Services and addresses change, at the cost of these alone.

use std::{collections::BTreeSet, time::Instant};

use super::{Reconciler, own_service};
use crate::{resources::ObjectKey, status, translate::Update};

impl Reconciler {
    /// What needs no translation of everything.
    pub(super) fn update(&mut self) {
        let endpoints = std::mem::take(&mut self.todo.endpoints);
        if !endpoints.is_empty() {
            self.look_at_pods(&endpoints);
            if let Some(translator) = &mut self.translator {
                let update = translator.endpoints(&self.view, &endpoints);
                self.change(update);
            }
        }
        if self.todo.anew {
            return;
        }
        let started = Instant::now();
        let services = std::mem::take(&mut self.todo.services);
        let routes = std::mem::take(&mut self.todo.routes);
        if services.is_empty() && routes.is_empty() {
            return;
        }
        let Some(mut translator) = self.translator.take() else {
            self.todo.anew = true;
            return;
        };
        // Where an update can't tell what follows, the translator is of no use any more.
        self.todo.anew = true;
        let Some(first) = translator.services(&self.view, &self.settings, &services) else { return };
        let Some(second) = translator.routes(&self.view, &self.settings, &routes) else { return };
        self.todo.anew = false;
        self.translator = Some(translator);
        self.outputs.metrics.translated(started.elapsed());
        self.change(first);
        self.change(second);
    }

    /// Publishes what an update changed.
    fn change(&mut self, update: Update) {
        self.todo.affected.extend(update.statuses);
        for (gateway, changes) in update.changes {
            self.outputs.server.change(&gateway.to_string(), changes);
            self.track(&gateway);
        }
    }

    /// Tells the tracker of the state that a Gateway is published in.
    pub(super) fn track(&mut self, gateway: &ObjectKey) {
        if let Some(state) = self.outputs.server.published(&gateway.to_string()) {
            self.todo.affected += self.tracker.published(gateway, state);
        }
    }

    /// Pods behind these Services came or went: those of the controller itself, and dataplanes, whom statuses ask and who
    /// share the local counts.
    fn look_at_pods(&mut self, services: &BTreeSet<ObjectKey>) {
        if services.contains(&self.replica.service) {
            self.find_replicas();
        }
        let gateways: Vec<ObjectKey> =
            self.gateways().filter(|gateway| services.contains(&own_service(gateway))).cloned().collect();
        for gateway in gateways {
            self.todo.acks = true;
            let ready = status::ready(&self.view, &own_service(&gateway)).len();
            let replicas = u32::try_from(ready.max(1)).unwrap_or(u32::MAX);
            if self.settings.replicas.insert(gateway, replicas) != Some(replicas) {
                self.todo.anew = true;
            }
        }
    }
}
