//! Events on objects, for what a user must act on: a condition that becomes a problem, and one that is none any more.
//!
//! They tell what a status that was written changed, so that what does not change is never told again, whichever replica
//! leads. In a storm of problems the statuses say it all, and the events a part.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::mpsc, time::Instant};
use tracing::debug;

use super::{Flip, Write};
use crate::translate::CONTROLLER_NAME;

/// Events that may come at once.
const BURST: u32 = 100;
/// Events in the long run: one each.
const PERIOD: Duration = Duration::from_millis(200);
/// Of an event's note, in bytes.
const MAX_NOTE: usize = 1024;
/// Where events on objects without a namespace are.
const DEFAULT_NAMESPACE: &str = "default";

/// Since the process began, for metrics.
#[derive(Debug, Default)]
pub struct EventCounters {
    pub sent: AtomicU64,
    /// Because there were too many, or the API server refused.
    pub dropped: AtomicU64,
}

/// Sends the events of statuses that were `written`, until there can't be more. `instance`: the name of this pod.
pub async fn send_events(
    client: Client,
    instance: String,
    mut written: mpsc::Receiver<Write>,
    counters: Arc<EventCounters>,
) {
    let mut bucket = Bucket::new(Instant::now());
    while let Some(write) = written.recv().await {
        for (number, note) in notes(&write).into_iter().enumerate() {
            if !bucket.admits(Instant::now()) {
                counters.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let event = event(&write, note, &instance, number, Timestamp::now());
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
            match events.create(&PostParams::default(), &event).await {
                Ok(_) => counters.sent.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    debug!(kind = write.id.kind, object = %write.id.key, %error, "event not sent");
                    counters.dropped.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    warns: bool,
    reason: &'static str,
    action: &'static str,
    text: String,
}

/// What a write tells, each once: several parents often say the same.
fn notes(write: &Write) -> BTreeSet<Note> {
    let news = write.news.iter().map(|news| Note {
        warns: news.warns,
        reason: news.reason,
        action: "Rollout",
        text: news.text.clone(),
    });
    flips(&write.flips).chain(news).collect()
}

fn flips(flips: &[Flip]) -> impl Iterator<Item = Note> {
    flips.iter().map(|flip| {
        let action = flip.kind.as_str();
        let place = if flip.place.is_empty() { String::new() } else { format!("{}: ", flip.place) };
        match &flip.problem {
            Some(trouble) => {
                let text = format!("{place}{}", trouble.message);
                Note { warns: true, reason: trouble.reason, action, text }
            }
            None => {
                let text = format!("{place}the problem that {action} told is gone");
                Note { warns: false, reason: "Resolved", action, text }
            }
        }
    })
}

/// `number` tells apart what happens in one instant.
fn event(write: &Write, note: Note, instance: &str, number: usize, now: Timestamp) -> Event {
    let key = &write.id.key;
    let own = Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty());
    let namespace = own.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let mut text = note.text;
    text.truncate(text.floor_char_boundary(MAX_NOTE));
    // A name of at most 253 characters, that no other event has.
    let mut stem = key.name.clone();
    stem.truncate(stem.floor_char_boundary(200));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{stem}.{:x}.{number}", now.as_nanosecond())),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some(note.action.replace('/', "-")),
        event_time: Some(MicroTime(now)),
        note: Some(text),
        reason: Some(note.reason.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(write.resource.api_version.clone()),
            kind: Some(write.id.kind.to_owned()),
            name: Some(key.name.clone()),
            namespace: own,
            uid: Some(write.uid.clone()),
            resource_version: Some(write.resource_version.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER_NAME.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(if note.warns { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

/// So many at once, then one a period.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Bucket { tokens: BURST, filled: now }
    }

    fn admits(&mut self, now: Instant) -> bool {
        while self.tokens < BURST && self.filled + PERIOD <= now {
            self.tokens += 1;
            self.filled += PERIOD;
        }
        if self.tokens == BURST {
            self.filled = now;
        }
        let admitted = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_crds::{GatewayClass, HttpRoute};
    use jiff::Timestamp;
    use kube::core::ApiResource;
    use serde_json::json;
    use tokio::time::Instant;

    use super::{BURST, Bucket, PERIOD, event, notes};
    use crate::{
        resources::ObjectKey,
        status::{Flip, Trouble, Write},
        translate::{ConditionType, ObjectId},
    };

    fn flip(place: &str, problem: Option<&str>) -> Flip {
        let problem = problem.map(|message| Trouble { reason: "Invalid", message: message.into() });
        Flip { place: place.into(), kind: ConditionType::Accepted, problem }
    }

    fn write(resource: ApiResource, kind: &'static str, namespace: &str, name: &str) -> Write {
        let id = ObjectId { kind, key: ObjectKey::new(namespace, name) };
        let (uid, resource_version) = ("u-1".into(), "7".into());
        Write { id, resource, uid, resource_version, status: json!({}), flips: Vec::new(), news: Vec::new() }
    }

    #[test]
    fn a_problem_warns_and_its_end_is_told() {
        let flips = [flip("on edge", Some("bad regex")), flip("on edge", Some("bad regex")), flip("", None)];
        let route = Write {
            flips: flips.into(),
            ..write(ApiResource::erase::<HttpRoute>(&()), "HTTPRoute", "shop", "a")
        };
        let told: Vec<_> =
            notes(&route).into_iter().map(|note| (note.warns, note.reason, note.text)).collect();
        let gone = (false, "Resolved", "the problem that Accepted told is gone".to_owned());
        assert_eq!(told, [gone, (true, "Invalid", "on edge: bad regex".to_owned())]);
    }

    #[test]
    fn events_are_within_what_the_api_server_takes() {
        let route = write(ApiResource::erase::<HttpRoute>(&()), "HTTPRoute", "shop", &"n".repeat(253));
        let loud = Write { flips: vec![flip("", Some(&"ä".repeat(2000)))], ..route.clone() };
        let note = notes(&loud).pop_first().unwrap();
        let sent = event(&route, note.clone(), "pod-1", 0, Timestamp::UNIX_EPOCH);
        assert!(sent.note.as_ref().unwrap().len() <= 1024);
        assert!(sent.metadata.name.as_ref().unwrap().len() <= 253);
        let regarding = sent.regarding.unwrap();
        assert_eq!(regarding.api_version.as_deref(), Some("gateway.networking.k8s.io/v1"));
        assert_eq!((sent.type_.as_deref(), regarding.namespace.as_deref()), (Some("Warning"), Some("shop")));
        let class = write(ApiResource::erase::<GatewayClass>(&()), "GatewayClass", "", "gatehouse");
        let sent = event(&class, note, "pod-1", 0, Timestamp::UNIX_EPOCH);
        assert_eq!(sent.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(sent.regarding.unwrap().namespace, None);
    }

    #[test]
    fn a_storm_is_bounded() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(begin);
        let mut admitted = |at| (0..2 * BURST).filter(|_| bucket.admits(at)).count();
        assert_eq!(admitted(begin), BURST as usize);
        assert_eq!(admitted(begin + 3 * PERIOD), 3);
        assert_eq!(admitted(begin + 1000 * PERIOD), BURST as usize);
        assert_eq!(admitted(begin + 1000 * PERIOD), 0);
    }
}
