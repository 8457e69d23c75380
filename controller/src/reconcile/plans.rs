//! What is to be provisioned, and which statuses are to be written.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::Timestamp;

use super::{Reconciler, own_service};
use crate::{
    latest::tell,
    provision::{self, Plans},
    resources::ObjectKey,
    status::{self, Affected, GatewayFacts, Planned},
    translate::{ObjectId, Provisioning, Translation},
};

impl Reconciler {
    pub(super) fn plan_pods(&mut self) {
        let Some(authority) = self.inputs.authority.borrow().clone() else {
            // It wakes the loop when it comes.
            self.todo.plan_pods = true;
            return;
        };
        self.pods.ca_pem = authority.bundle();
        let Some(translator) = &self.translator else { return };
        let translation = translator.translation();
        let Translation { provisioning, implied_gateways, .. } = translation;
        let mut plans = Plans::new();
        for (key, provisioning) in provisioning {
            let Provisioning::Wanted(config) = provisioning else { continue };
            let implied = implied_gateways.get(key).map(|(gateway, _)| gateway);
            let Some(gateway) = implied.or_else(|| self.view.gateways.get(key)) else { continue };
            if gateway.metadata.deletion_timestamp.is_none() {
                let gateway = translation.merged(key, gateway);
                plans.insert(key.clone(), provision::plan(&gateway, config.as_deref(), &self.pods));
            }
        }
        for (key, gateway) in &self.view.gateways {
            if !provisioning.contains_key(key) && gateway.metadata.deletion_timestamp.is_none() {
                let withdrawal = provision::withdrawal(gateway, &self.view.services, &self.pods);
                plans.extend(withdrawal.map(|plan| (key.clone(), plan)));
            }
        }
        tell(&self.outputs.plans, Arc::new(plans));
    }

    pub(super) fn plan_statuses(&mut self) {
        if let Some(deadline) = self.statuses_wait {
            if Instant::now() < deadline && self.is_under_way() {
                return;
            }
            self.statuses_wait = None;
        }
        let acks = std::mem::take(&mut self.todo.acks);
        let affected = std::mem::take(&mut self.todo.affected);
        if affected.is_nothing() && !acks {
            return;
        }
        let (affected, facts) = self.facts(affected);
        let Some(translator) = self.translator.as_ref().filter(|_| self.leads_since.is_some()) else {
            return;
        };
        let statuses = &translator.translation().statuses;
        let input = status::Input {
            resources: &self.view,
            statuses,
            tracker: &self.tracker,
            facts: &facts,
            rollouts: &self.look.statuses,
            settling: self.settling_ends().is_some(),
            now: Timestamp::now(),
        };
        let planned = match affected {
            Affected::Nothing => return,
            Affected::Objects(objects) => {
                let plan = |id: ObjectId| {
                    let write = status::plan_of(&input, &id);
                    (id, write)
                };
                Planned::Objects(objects.into_iter().map(plan).collect())
            }
            Affected::Everything => {
                for news in self.told.news(statuses, &self.view) {
                    // When there is no room, there are events enough.
                    let _ = self.outputs.events.try_send(news);
                }
                Planned::Everything(status::plan(&input))
            }
        };
        // The writer ends with the process.
        let _ = self.outputs.statuses.send(planned);
    }

    /// Some dataplane has not acknowledged yet what its Gateway is published in.
    fn is_under_way(&self) -> bool {
        self.published.iter().any(|gateway| {
            let gateway = gateway.to_string();
            let Some(state) = self.outputs.server.published(&gateway) else { return false };
            let acks = self.outputs.server.acks(&gateway);
            let acks = acks.borrow();
            !acks.dataplanes.is_empty() && !acks.acknowledged(state.generation())
        })
    }

    /// What is known of each Gateway beside its objects, and whose status that affects besides.
    fn facts(&mut self, mut affected: Affected) -> (Affected, BTreeMap<ObjectKey, GatewayFacts>) {
        let elsewhere = self.inputs.elsewhere.borrow();
        let failures = self.inputs.failures.borrow();
        let mut facts = BTreeMap::new();
        for gateway in &self.published {
            let service = own_service(gateway);
            let ready = status::ready(&self.view, &service);
            affected += self.tracker.acknowledged(gateway, &self.acks.of(gateway, &elsewhere), &ready);
            let addresses = self.view.services.get(&service).map(status::addresses).unwrap_or_default();
            let errors = failures.get(gateway).cloned().unwrap_or_default();
            facts.insert(gateway.clone(), GatewayFacts { addresses, errors });
        }
        (affected, facts)
    }
}
