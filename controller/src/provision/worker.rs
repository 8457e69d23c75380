//! The task that keeps the cluster as planned, while its process leads.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{Applier, Plan};
use crate::resources::ObjectKey;

/// By Gateway.
pub type Plans = BTreeMap<ObjectKey, Plan>;
/// Why something that a Gateway needs could not be made. Sentences for its owner.
pub type Failures = BTreeMap<ObjectKey, Vec<String>>;

/// After a failure.
const RETRY: Duration = Duration::from_secs(2);
/// What others change is put right so often.
const RESYNC: Duration = Duration::from_secs(300);

/// Runs until the sender of `plans` is dropped.
pub async fn provision(
    mut applier: Applier,
    mut plans: watch::Receiver<Arc<Plans>>,
    mut leading: watch::Receiver<bool>,
    failures: watch::Sender<Failures>,
) {
    let mut known = Arc::<Plans>::default();
    let mut resync = Instant::now() + RESYNC;
    plans.mark_changed();
    loop {
        let mut next = resync;
        if *leading.borrow_and_update() {
            let present = plans.borrow_and_update().clone();
            for gone in known.keys().filter(|gateway| !present.contains_key(*gateway)) {
                applier.forget(gone);
            }
            let mut failed = Failures::new();
            for (gateway, plan) in present.iter() {
                if let Err(sentences) = applier.apply(plan).await {
                    warn!(%gateway, problems = sentences.join("; "), "can't provision");
                    failed.insert(gateway.clone(), sentences);
                }
            }
            if !failed.is_empty() {
                next = next.min(Instant::now() + RETRY);
            }
            failures.send_if_modified(|before| {
                let differs = *before != failed;
                *before = failed;
                differs
            });
            known = present;
        }
        tokio::select! {
            changed = plans.changed() => {
                if changed.is_err() {
                    return;
                }
                plans.mark_changed();
            }
            changed = leading.changed() => {
                if changed.is_err() {
                    return;
                }
                // Another may have led meanwhile.
                known.keys().for_each(|gateway| applier.forget(gateway));
            }
            () = sleep_until(next) => {
                if Instant::now() >= resync {
                    known.keys().for_each(|gateway| applier.forget(gateway));
                    resync = Instant::now() + RESYNC;
                }
            }
        }
    }
}
