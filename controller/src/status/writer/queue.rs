//! What is to be written, and when. Pure but for the instants that it is told.
//!
//! A plan is made from what the watch has brought, and that lags behind what was written. So an object waits after a write
//! until a plan knows another resourceVersion of it: what is planned from the former one is either written already or
//! would meet a conflict.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::time::Instant;

use super::WriterOptions;
use crate::{status::plan::Write, translate::ObjectId};

#[derive(Debug)]
pub(super) struct Queue {
    options: WriterOptions,
    slots: BTreeMap<ObjectId, Slot>,
    /// Of every slot that has something to write and is not written, and of those that nothing is wanted of any more.
    schedule: BTreeSet<(Instant, ObjectId)>,
}

/// What came of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    Written {
        resource_version: String,
    },
    /// The object is not what the plan was made from.
    Outdated,
    Failed,
}

#[derive(Debug)]
struct Slot {
    wanted: Option<Write>,
    /// Not before.
    due: Instant,
    under_way: bool,
    /// No plan wants any more what is under way.
    abandoned: bool,
    tried: Option<Tried>,
    failures: u32,
}

/// The last write that is not to be tried again.
#[derive(Debug)]
struct Tried {
    from: String,
    /// The write changed nothing.
    idle: bool,
    status: Value,
}

impl Queue {
    pub(super) fn new(options: WriterOptions) -> Self {
        Queue { options, slots: BTreeMap::new(), schedule: BTreeSet::new() }
    }

    /// Wants what the plan holds, and nothing else.
    pub(super) fn take(&mut self, plan: Vec<Write>, now: Instant) {
        let wanted: BTreeSet<&ObjectId> = plan.iter().map(|write| &write.id).collect();
        let unwanted: Vec<ObjectId> = self.slots.keys().filter(|id| !wanted.contains(id)).cloned().collect();
        for id in unwanted {
            self.unwant(&id, now);
        }
        for write in plan {
            self.want(write, now);
        }
    }

    pub(super) fn want(&mut self, write: Write, now: Instant) {
        let id = write.id.clone();
        let slot = self.slots.entry(id.clone()).or_insert_with(|| Slot {
            wanted: None,
            due: now,
            under_way: false,
            abandoned: false,
            tried: None,
            failures: 0,
        });
        self.schedule.remove(&(slot.due, id.clone()));
        if slot.wanted.is_none() {
            slot.due = slot.due.max(now + self.options.settle);
        }
        slot.wanted = Some(write);
        if !slot.under_way {
            self.schedule.insert((slot.due, id));
        }
    }

    /// The object has the status that it should have: the watch has brought what was written.
    pub(super) fn unwant(&mut self, id: &ObjectId, now: Instant) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        self.schedule.remove(&(slot.due, id.clone()));
        slot.wanted = None;
        slot.abandoned = true;
        slot.tried = None;
        slot.failures = 0;
        if slot.due > now {
            // Until then no other write of it may begin.
            self.schedule.insert((slot.due, id.clone()));
        } else if !slot.under_way {
            self.slots.remove(id);
        }
    }

    /// When the next write is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.first().map(|(due, _)| *due)
    }

    /// Takes out the next write that is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Write> {
        while self.due().is_some_and(|due| due <= now) {
            let (_, id) = self.schedule.pop_first()?;
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let Some(write) = slot.wanted.take() else {
                if slot.is_over() {
                    self.slots.remove(&id);
                }
                continue;
            };
            if slot.tried.as_ref().is_none_or(|tried| tried.allows(&write)) {
                slot.under_way = true;
                slot.abandoned = false;
                return Some(write);
            }
        }
        None
    }

    pub(super) fn done(&mut self, write: &Write, outcome: Outcome, now: Instant) {
        let Some(slot) = self.slots.get_mut(&write.id) else { return };
        self.schedule.remove(&(slot.due, write.id.clone()));
        slot.under_way = false;
        let tried = |idle| Tried { from: write.resource_version.clone(), idle, status: write.status.clone() };
        match outcome {
            Outcome::Written { resource_version } => {
                slot.failures = 0;
                slot.due = now + self.options.spacing;
                slot.tried = slot.tried_unless_abandoned(tried(resource_version == write.resource_version));
            }
            Outcome::Outdated => {
                slot.failures = 0;
                slot.due = now + self.options.settle;
                slot.tried = slot.tried_unless_abandoned(tried(false));
            }
            Outcome::Failed => {
                let backoff = self.options.backoff * 2_u32.saturating_pow(slot.failures.min(16));
                slot.due = now + backoff.min(self.options.max_backoff);
                slot.failures += 1;
                if !slot.abandoned {
                    slot.wanted.get_or_insert_with(|| write.clone());
                }
            }
        }
        if slot.wanted.is_some() || slot.is_over() {
            self.schedule.insert((slot.due, write.id.clone()));
        }
    }
}

impl Slot {
    /// What a plan has said to be over needs no memory: the watch was quicker than the answer.
    fn tried_unless_abandoned(&self, tried: Tried) -> Option<Tried> {
        (!self.abandoned).then_some(tried)
    }

    /// Nobody waits for anything.
    fn is_over(&self) -> bool {
        self.wanted.is_none() && !self.under_way && self.tried.is_none()
    }
}

impl Tried {
    /// Whether there is sense in a write after this one.
    fn allows(&self, write: &Write) -> bool {
        self.from != write.resource_version || (self.idle && !same_but_times(&self.status, &write.status))
    }
}

/// The time of a transition that is not stored yet is that of each plan.
fn same_but_times(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    name == "lastTransitionTime"
                        || other.get(name).is_some_and(|other| same_but_times(value, other))
                })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_but_times(one, other))
        }
        _ => one == other,
    }
}
