//! How far the rollouts have come, while this replica leads.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;

use super::Reconciler;
use crate::{rollout::Look, translate::ObjectId};

impl Reconciler {
    pub(super) fn note_rollouts(&mut self, id: &ObjectId) {
        if id.kind == "GatewayRoute" {
            self.rollouts.note(&self.view, &id.key);
        }
    }

    /// Says how they should be, and whose status is not so yet.
    pub(super) fn look_at_rollouts(&mut self) {
        if self.collected.is_none() && self.rollouts.are_analysed(&self.view) {
            self.collected = Some(Instant::now());
        }
        let Some(translator) = self.translator.as_ref().filter(|_| self.leads_since.is_some()) else {
            self.rollouts.forget();
            self.look = Look::default();
            return;
        };
        let statuses = &translator.translation().statuses;
        self.look = self.rollouts.look(&self.view, statuses, Timestamp::now());
        let differing = self.look.statuses.iter().filter(|(key, wanted)| {
            let status = self.view.gateway_routes.get(*key).and_then(|route| route.status.as_ref());
            status.is_none_or(|status| status.rollouts != **wanted)
        });
        let differing = differing.map(|(key, _)| ObjectId { kind: "GatewayRoute", key: key.clone() });
        self.todo.affected.extend(differing);
    }

    /// Takes what dataplanes have counted, and passes it on to the other replicas.
    pub(super) fn collect_reports(&mut self) {
        self.collected = self.rollouts.are_analysed(&self.view).then(Instant::now);
        self.tell_replicas();
        if self.leads_since.is_none() {
            return;
        }
        let elsewhere = self.inputs.elsewhere.borrow();
        let mut all = Vec::new();
        for gateway in &self.published {
            // With what this replica hears itself, where a dataplane has moved here.
            let mut acks = self.acks.of(gateway, &elsewhere);
            for (node, report) in self.outputs.server.reports(&gateway.to_string()) {
                if let Some(dataplane) = acks.dataplanes.get_mut(&node).filter(|one| one.generation.is_some())
                {
                    dataplane.report = Some(report);
                }
            }
            let reports = acks.dataplanes.into_iter().filter_map(|(node, ack)| Some((node, ack.report?)));
            all.extend(reports.map(|(node, report)| (format!("{gateway}/{node}"), report)));
        }
        self.rollouts.take(all);
    }

    pub(super) fn tell_replicas(&self) {
        self.outputs.acks.send_replace(Arc::new(self.acks.by_gateway(&self.outputs.server)));
    }

    /// When time alone changes something.
    pub(super) fn rollout_due(&self) -> Option<Instant> {
        let left = self.look.due?.duration_since(Timestamp::now());
        Some(Instant::now() + left.max(jiff::SignedDuration::ZERO).unsigned_abs())
    }
}
