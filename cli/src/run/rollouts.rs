//! Rollouts without an API server: how far they have come is kept here, and begins anew with the process.

use std::{collections::BTreeMap, time::Duration};

use gatehouse_controller::{resources::ObjectKey, rollout, serve::Report, translate::Statuses};
use gatehouse_crds::RolloutStatus;
use jiff::Timestamp;

use super::world::World;

/// How often dataplanes report.
const REPORTS: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Rollouts {
    keeper: rollout::Rollouts,
    statuses: BTreeMap<ObjectKey, Vec<RolloutStatus>>,
    due: Option<Timestamp>,
    /// Dataplanes report.
    is_counting: bool,
}

impl Rollouts {
    /// Puts what is kept into the objects of a folder that was read.
    pub(super) fn enter(&mut self, world: &mut World) {
        world.set_rollouts(&self.statuses);
        self.keeper.rescan(world.resources());
    }

    /// Looks how they should be, and says what is new. `true`: the objects are to be built and translated again.
    pub(super) fn look(&mut self, world: &World, statuses: &Statuses, reports: &[(String, Report)]) -> bool {
        self.keeper.take(reports.iter().map(|(dataplane, report)| (dataplane.clone(), report)));
        self.is_counting = self.keeper.are_analysed(world.resources());
        let look = self.keeper.look(world.resources(), statuses, Timestamp::now());
        self.due = look.due;
        if look.statuses == self.statuses {
            return false;
        }
        for (key, after) in &look.statuses {
            let before = self.statuses.get(key).map_or(&[][..], Vec::as_slice);
            let is_told = |status: &&RolloutStatus| {
                let told =
                    |status: &RolloutStatus| (status.phase, status.reason.clone(), status.message.clone());
                before.iter().any(|before| before.name == status.name && told(before) == told(status))
            };
            for status in after.iter().filter(|status| !is_told(status)) {
                eprintln!(
                    "GatewayRoute {key}, rule {}: {:?} {}: {}",
                    status.name, status.phase, status.reason, status.message
                );
            }
        }
        self.statuses = look.statuses;
        true
    }

    /// Waits until time alone changes something.
    pub(super) async fn due(&self) {
        let left =
            self.due.map(|due| Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default());
        match left.into_iter().chain(self.is_counting.then_some(REPORTS)).min() {
            None => std::future::pending().await,
            Some(left) => tokio::time::sleep(left).await,
        }
    }
}
