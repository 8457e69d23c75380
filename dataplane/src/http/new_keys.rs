//! A token that names a key which nobody knows here is looked at again when the controller has fetched the keys anew.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    auth::{Identity, Policy, Refusal, Request, UnixMillis},
    worker::Worker,
};

/// How often a request that waits looks whether the policy has changed.
const LOOK: Duration = Duration::from_millis(20);

/// What the policy says when it has other keys, or at the end of the wait.
pub(super) async fn admit(
    worker: &Worker,
    policy: &Policy,
    jwks: &str,
    request: Request<'_>,
    now: UnixMillis,
) -> Option<Result<Identity, Refusal>> {
    let until = worker.shared.wanted_keys.ask(jwks, std::time::Instant::now())?;
    let _waits = worker.wait_for_keys()?;
    loop {
        let snapshot = worker.snapshot();
        let newer =
            snapshot.keyed.get(policy.name()).filter(|newer| !std::ptr::eq(Arc::as_ptr(newer), policy));
        if let Some(newer) = newer {
            return Some(newer.admit(&snapshot.consumers, &mut worker.tokens(), request, now));
        }
        // The state is not held while it waits.
        drop(snapshot);
        if Instant::now().into_std() >= until {
            return None;
        }
        sleep(LOOK).await;
    }
}
