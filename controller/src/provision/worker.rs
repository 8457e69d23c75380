//! The task that keeps the cluster as planned, while its process leads.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{Applier, Plan};
use crate::{latest::tell, resources::ObjectKey};

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
            tell(&failures, failed);
            known = present;
        }
        tokio::select! {
            changed = plans.changed() => {
                if changed.is_err() {
                    return;
                }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::{Client, client::Body};
    use tokio::task::yield_now;

    use super::*;

    /// One that does not lead waits, whatever is planned.
    #[tokio::test]
    async fn a_follower_rests() {
        let service = tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        });
        let applier = Applier::new(Client::new(service, "default"));
        let (plans, planned) = watch::channel(Arc::default());
        let (_leads, leading) = watch::channel(false);
        let (failures, _) = watch::channel(Failures::new());
        let polls = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&polls);
        let mut working = Box::pin(provision(applier, planned, leading, failures));
        tokio::spawn(std::future::poll_fn(move |context| {
            counter.fetch_add(1, Ordering::Relaxed);
            working.as_mut().poll(context)
        }));
        yield_now().await;
        plans.send_replace(Arc::default());
        for _ in 0..100 {
            yield_now().await;
        }
        let polls = polls.load(Ordering::Relaxed);
        assert!((1..10).contains(&polls), "polled {polls} times");
    }
}
