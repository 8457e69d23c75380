//! Which replica leads: a Lease that the leader renews (coordination.k8s.io). All replicas serve; the leader writes.
//!
//! A lease has run out when nobody has been seen to renew it for its duration, by the clock of whoever looks: clocks of
//! others are not believed. A leader that can't renew in time stops leading before anybody else can begin.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// The Lease's name, in the controller's namespace.
const LEASE: &str = "gatehouse-controller";
/// Without being renewed.
const DURATION: Duration = Duration::from_secs(10);
/// A leader that could not renew for so long leads no more.
const RENEW_DEADLINE: Duration = Duration::from_secs(7);
const INTERVAL: Duration = Duration::from_secs(2);

/// Takes part in the election.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
}

/// What was seen of the lease, and when it was last seen to change.
#[derive(Debug)]
struct Seen {
    version: Option<String>,
    since: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It is ours.
    Mine,
    /// Nobody holds it, or its holder has not renewed it in time.
    Free,
    Held,
}

impl Candidate {
    /// `name` is unique among the replicas.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Candidate { api: Api::namespaced(client, namespace), name: name.to_owned() }
    }

    /// Runs until `stop` is true; then gives the lease back, so that another replica leads at once.
    pub async fn run(self, leads: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        let mut seen = Seen { version: None, since: Instant::now() };
        let mut renewed = Instant::now();
        loop {
            let turn = timeout(INTERVAL, self.turn(&mut seen)).await;
            let leading = match turn {
                Ok(Ok(leading)) => {
                    if leading {
                        renewed = Instant::now();
                    }
                    leading
                }
                failed => {
                    match failed {
                        Ok(Err(error)) => warn!(%error, "lease"),
                        _ => warn!("lease: the API server does not answer"),
                    }
                    *leads.borrow() && renewed.elapsed() < RENEW_DEADLINE
                }
            };
            if leads.send_if_modified(|leads| std::mem::replace(leads, leading) != leading) {
                info!(name = self.name, leading, "election");
            }
            tokio::select! {
                () = sleep(INTERVAL) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if leads.send_replace(false)
            && let Err(error) = self.release().await
        {
            warn!(%error, "the lease was not given back: another replica leads in {DURATION:?}");
        }
    }

    async fn turn(&self, seen: &mut Seen) -> kube::Result<bool> {
        let Some(mut lease) = self.api.get_opt(LEASE).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let version = lease.metadata.resource_version.clone();
        if seen.version != version {
            *seen = Seen { version, since: Instant::now() };
        }
        match standing(lease.spec.as_ref(), &self.name, seen.since.elapsed()) {
            Standing::Held => Ok(false),
            Standing::Mine | Standing::Free => {
                lease.spec = Some(self.spec(lease.spec.as_ref()));
                won(self.api.replace(LEASE, &PostParams::default(), &lease).await)
            }
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(LEASE).await? else { return Ok(()) };
        let Some(spec) = &mut lease.spec else { return Ok(()) };
        if spec.holder_identity.as_deref() == Some(&self.name) {
            spec.holder_identity = None;
            won(self.api.replace(LEASE, &PostParams::default(), &lease).await)?;
        }
        Ok(())
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = before.is_some_and(|before| before.holder_identity.as_deref() == Some(&self.name));
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.name.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: match before.filter(|_| mine).and_then(|before| before.acquire_time.clone()) {
                Some(acquired) => Some(acquired),
                None => Some(now.clone()),
            },
            renew_time: Some(now),
            lease_transitions: Some(if mine { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }
}

/// `unchanged`: how long nobody has renewed it, as far as we have seen.
fn standing(lease: Option<&LeaseSpec>, me: &str, unchanged: Duration) -> Standing {
    match lease.and_then(|lease| lease.holder_identity.as_deref()) {
        None | Some("") => Standing::Free,
        Some(holder) if holder == me => Standing::Mine,
        Some(_) => {
            let seconds = lease.and_then(|lease| lease.lease_duration_seconds);
            let duration = seconds.and_then(|seconds| u64::try_from(seconds).ok());
            if unchanged >= duration.map_or(DURATION, Duration::from_secs) {
                Standing::Free
            } else {
                Standing::Held
            }
        }
    }
}

/// A conflict means that another replica was quicker.
fn won(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_free() {
        let held = |by: &str| LeaseSpec {
            holder_identity: Some(by.into()),
            lease_duration_seconds: Some(10),
            ..LeaseSpec::default()
        };
        let seconds = Duration::from_secs;
        for (lease, unchanged, expected) in [
            (None, 0, Standing::Free),
            (Some(LeaseSpec::default()), 0, Standing::Free),
            (Some(held("")), 0, Standing::Free),
            (Some(held("me")), 0, Standing::Mine),
            (Some(held("me")), 99, Standing::Mine),
            (Some(held("you")), 0, Standing::Held),
            (Some(held("you")), 9, Standing::Held),
            (Some(held("you")), 10, Standing::Free),
        ] {
            assert_eq!(standing(lease.as_ref(), "me", seconds(unchanged)), expected, "{lease:?} {unchanged}");
        }
    }
}
