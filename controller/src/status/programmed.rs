//! Which objects every ready dataplane has, as far as they acknowledged. Pure: states and acknowledgements go in as values.
//!
//! States that a Gateway was published in have positions in a row. An object's content is in every state since the
//! position at which it last changed, so a dataplane that acknowledged that position or a later one has it, and an edit of
//! one route leaves the others as they are. A state is known by its content, whichever replica sent it. One that is not
//! among the last [`HISTORY`] here, or was never published here, says nothing: what its dataplane acknowledged before
//! stands, also while it is not connected, for it serves by its last good state. A ready dataplane that never
//! acknowledged anything holds everything up.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::Affected;
use crate::{
    resources::ObjectKey,
    serve::{Acks, State, StateVersion},
    translate::{
        ObjectId,
        names::{self, Owner},
    },
};

/// States of a Gateway that are remembered.
const HISTORY: usize = 1024;

/// What became of an object on the dataplanes of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Programmed {
    /// Every ready dataplane has its present content.
    Programmed,
    Pending {
        message: String,
    },
    /// In the words of the dataplane.
    Rejected {
        message: String,
    },
}

/// All Gateways.
#[derive(Debug, Default)]
pub struct Tracker {
    gateways: BTreeMap<ObjectKey, Track>,
}

/// By the owner who is to be told: position and reason.
type Rejections = BTreeMap<Owner, Vec<(u64, String)>>;

#[derive(Debug, Default)]
struct Track {
    latest: Option<State>,
    /// Of the latest state; the first has 1.
    position: u64,
    /// A state that comes again has its last position: what changed in between has changed back.
    positions: HashMap<StateVersion, u64>,
    /// The oldest first.
    order: VecDeque<(u64, StateVersion)>,
    /// Where the present content of an object began.
    since: BTreeMap<Owner, u64>,
    /// The same for all objects that are not in `since`.
    floor: u64,
    /// By position, whose content began there; it may have changed since.
    begun: BTreeMap<u64, Vec<Owner>>,
    /// The ready ones. `None`: it never acknowledged a state that is known.
    dataplanes: BTreeMap<String, Option<Acknowledged>>,
    rejections: Rejections,
}

#[derive(Debug, Clone, PartialEq)]
struct Acknowledged {
    position: u64,
    rejected: BTreeMap<String, String>,
}

/// Owners whose state may not be what it was.
#[derive(Debug)]
enum Moved {
    Owners(BTreeSet<Owner>),
    All,
}

impl Moved {
    fn on(self, gateway: &ObjectKey) -> Affected {
        let Moved::Owners(owners) = self else { return Affected::Everything };
        let objects = owners.into_iter().map(|owner| match owner {
            Owner::Object(id) => id,
            Owner::Listener { set: Some(key), .. } => ObjectId { kind: "ListenerSet", key },
            Owner::Gateway | Owner::Listener { set: None, .. } => {
                ObjectId { kind: "Gateway", key: gateway.clone() }
            }
        });
        let mut affected = Affected::Nothing;
        affected.extend(objects);
        affected
    }
}

impl Tracker {
    /// Takes the state that a Gateway is published in now. The same again changes nothing.
    pub fn published(&mut self, gateway: &ObjectKey, state: State) -> Affected {
        let track = self.gateways.entry(gateway.clone()).or_default();
        track.publish(state).on(gateway)
    }

    /// Takes what the dataplanes of a Gateway say, and which of them are ready, by name.
    pub fn acknowledged(&mut self, gateway: &ObjectKey, acks: &Acks, ready: &BTreeSet<String>) -> Affected {
        let track = self.gateways.entry(gateway.clone()).or_default();
        track.acknowledge(acks, ready).on(gateway)
    }

    /// Forgets Gateways that are not published any more.
    pub fn retain(&mut self, keep: impl Fn(&ObjectKey) -> bool) {
        self.gateways.retain(|gateway, _| keep(gateway));
    }

    pub(super) fn state(&self, gateway: &ObjectKey, owner: &Owner) -> Programmed {
        match self.gateways.get(gateway) {
            Some(track) => track.state(owner),
            None => pending("the Gateway's configuration is not published yet"),
        }
    }

    /// Gateways whose present state has the resource.
    pub(super) fn holders<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a ObjectKey> {
        let holds = move |track: &Track| track.latest.as_ref().is_some_and(|state| state.contains(resource));
        self.gateways.iter().filter(move |(_, track)| holds(track)).map(|(gateway, _)| gateway)
    }

    /// Whether the present state of the Gateway has the resource.
    pub(super) fn holds(&self, gateway: &ObjectKey, resource: &str) -> bool {
        let latest = self.gateways.get(gateway).and_then(|track| track.latest.as_ref());
        latest.is_some_and(|state| state.contains(resource))
    }
}

impl Track {
    fn publish(&mut self, state: State) -> Moved {
        let version = state.version();
        if self.latest.as_ref().is_some_and(|latest| latest.version() == version) {
            return Moved::Owners(BTreeSet::new());
        }
        self.position += 1;
        let mut moved = Moved::Owners(BTreeSet::new());
        if let Some(before) = self.positions.insert(version, self.position) {
            // Who had it then has it now.
            let same = self.dataplanes.values_mut().flatten().filter(|known| known.position == before);
            same.for_each(|known| known.position = self.position);
            moved = self.between(before, self.position);
        }
        self.order.push_back((self.position, version));
        match &self.latest {
            None => {
                self.floor = self.position;
                moved = Moved::All;
            }
            Some(before) => {
                let changed = state.differences(before).filter_map(names::owner);
                let changed: BTreeSet<Owner> = changed.collect();
                self.since.extend(changed.iter().map(|owner| (owner.clone(), self.position)));
                self.begun.insert(self.position, changed.iter().cloned().collect());
                if let Moved::Owners(owners) = &mut moved {
                    owners.extend(changed);
                }
            }
        }
        self.latest = Some(state);
        self.forget();
        moved
    }

    /// Whose content began after one position and not after another: what a dataplane gets to that goes from one to the
    /// other.
    fn between(&self, one: u64, other: u64) -> Moved {
        let (low, high) = (one.min(other), one.max(other));
        // What began at the floor is not listed.
        if low < self.floor {
            return Moved::All;
        }
        Moved::Owners(self.begun.range(low + 1..=high).flat_map(|(_, owners)| owners).cloned().collect())
    }

    /// Keeps the history within its bound. What is older than all of it can't be acknowledged any more, so that the
    /// positions before need not be told apart.
    fn forget(&mut self) {
        while self.order.len() > HISTORY
            && let Some((position, version)) = self.order.pop_front()
        {
            if self.positions.get(&version) == Some(&position) {
                self.positions.remove(&version);
            }
        }
        // Now and then, for it goes through all.
        if self.position.is_multiple_of(HISTORY as u64)
            && let Some((oldest, _)) = self.order.front()
        {
            let oldest = *oldest;
            self.since.retain(|_, since| *since > oldest);
            self.begun = self.begun.split_off(&(oldest + 1));
            self.floor = self.floor.max(oldest);
        }
    }

    fn acknowledge(&mut self, acks: &Acks, ready: &BTreeSet<String>) -> Moved {
        let before = self.dataplanes.clone();
        self.dataplanes.retain(|name, _| ready.contains(name));
        for name in ready {
            let ack = acks.dataplanes.get(name);
            let position = ack.and_then(|ack| self.positions.get(&ack.state?));
            let known = self.dataplanes.entry(name.clone()).or_default();
            if let (Some(ack), Some(position)) = (ack, position) {
                *known = Some(Acknowledged { position: *position, rejected: ack.rejected.clone() });
            }
        }
        let rejections = self.assign(acks);
        let before_rejections = std::mem::replace(&mut self.rejections, rejections);
        if !before.keys().eq(self.dataplanes.keys()) {
            return Moved::All;
        }
        let mut owners = differing(&before_rejections, &self.rejections);
        for (before, after) in before.values().zip(self.dataplanes.values()) {
            let moved = match (before, after) {
                (Some(before), Some(after)) if before.position == after.position => continue,
                (Some(before), Some(after)) => self.between(before.position, after.position),
                (None, None) => continue,
                _ => return Moved::All,
            };
            match moved {
                Moved::All => return Moved::All,
                Moved::Owners(more) => owners.extend(more),
            }
        }
        Moved::Owners(owners)
    }

    /// Who is to be told of which rejection: the owner of the resource, and those whose resources name it.
    fn assign(&self, acks: &Acks) -> Rejections {
        let oversized = acks.oversized.iter().map(|(name, reason)| (self.position, name, reason));
        let acknowledged = self.dataplanes.values().flatten();
        let refused = acknowledged
            .flat_map(|known| known.rejected.iter().map(|(name, reason)| (known.position, name, reason)));
        let rejections: Vec<_> = oversized
            .chain(refused)
            .filter_map(|(position, name, reason)| Some((position, name, reason, names::owner(name)?)))
            // Its content has changed since then.
            .filter(|(position, _, _, owner)| *position >= self.since(owner))
            .collect();
        let shared: BTreeSet<&str> = rejections
            .iter()
            .filter(
                |(.., owner)| matches!(owner, Owner::Object(id) if ["Service", "Secret"].contains(&id.kind)),
            )
            .map(|(_, name, ..)| name.as_str())
            .collect();
        let referrers = self.referrers(&shared);
        let mut assigned = Rejections::new();
        for (position, name, reason, owner) in rejections {
            for referrer in referrers.get(name.as_str()).into_iter().flatten() {
                let told = (position, format!("{name}: {reason}"));
                assigned.entry(referrer.clone()).or_default().push(told);
            }
            assigned.entry(owner).or_default().push((position, reason.clone()));
        }
        assigned
    }

    fn referrers<'n>(&self, wanted: &BTreeSet<&'n str>) -> BTreeMap<&'n str, BTreeSet<Owner>> {
        let mut referrers: BTreeMap<&str, BTreeSet<Owner>> = BTreeMap::new();
        let Some(latest) = self.latest.as_ref().filter(|_| !wanted.is_empty()) else { return referrers };
        // Of `endpoints/PLACE` tells who names `service/PLACE`.
        let places: Vec<&str> = wanted.iter().filter_map(|name| Some(name.split_once('/')?.1)).collect();
        for (name, kind) in latest.holding(&places) {
            for reference in names::references(&kind) {
                if let (Some(shared), Some(owner)) = (wanted.get(reference.as_str()), names::owner(name)) {
                    referrers.entry(shared).or_default().insert(owner);
                }
            }
        }
        referrers
    }

    fn since(&self, owner: &Owner) -> u64 {
        self.since.get(owner).copied().unwrap_or(self.floor)
    }

    fn state(&self, owner: &Owner) -> Programmed {
        if self.latest.is_none() {
            return pending("the Gateway's configuration is not published yet");
        }
        if self.dataplanes.is_empty() {
            return pending("the Gateway has no ready dataplane");
        }
        let since = self.since(owner);
        let rejections = self.rejections.get(owner).into_iter().flatten();
        let reasons: BTreeSet<&str> = rejections
            .filter(|(position, _)| *position >= since)
            .map(|(_, reason)| reason.as_str())
            .collect();
        if !reasons.is_empty() {
            return Programmed::Rejected { message: reasons.into_iter().collect::<Vec<_>>().join("; ") };
        }
        let behind = self
            .dataplanes
            .iter()
            .find(|(_, known)| known.as_ref().is_none_or(|known| known.position < since));
        match behind {
            Some((name, _)) => pending(format!("dataplane {name} has not acknowledged it yet")),
            None => Programmed::Programmed,
        }
    }
}

/// Who is told of other rejections.
fn differing(before: &Rejections, after: &Rejections) -> BTreeSet<Owner> {
    let gone = before.keys().filter(|owner| !after.contains_key(owner));
    let changed = after.iter().filter(|(owner, told)| before.get(owner) != Some(told));
    gone.chain(changed.map(|(owner, _)| owner)).cloned().collect()
}

fn pending(message: impl Into<String>) -> Programmed {
    Programmed::Pending { message: message.into() }
}

#[cfg(test)]
mod tests;
