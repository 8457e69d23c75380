use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use gatehouse_crds::Gateway;
use kube::core::ApiResource;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{Planned, StatusApi, WriteError, WriterCounters, WriterOptions, write_statuses};
use crate::{
    resources::ObjectKey,
    status::{Flip, Write},
    translate::{ConditionType, ObjectId},
};

/// An API server whose answers take a while. Objects begin at version 1.
#[derive(Clone)]
struct Server {
    stored: Arc<Mutex<Stored>>,
    takes: Duration,
}

#[derive(Default)]
struct Stored {
    versions: BTreeMap<String, u64>,
    /// Every write that was done: when, of what, and what.
    writes: Vec<(Instant, String, Value)>,
    attempts: usize,
    under_way: usize,
    most_under_way: usize,
    failing: Option<WriteError>,
}

impl StatusApi for Server {
    async fn write(&self, write: &Write) -> Result<String, WriteError> {
        {
            let mut stored = self.stored.lock();
            stored.attempts += 1;
            stored.under_way += 1;
            stored.most_under_way = stored.most_under_way.max(stored.under_way);
        }
        sleep(self.takes).await;
        let mut stored = self.stored.lock();
        stored.under_way -= 1;
        if let Some(error) = &stored.failing {
            return Err(error.clone());
        }
        let name = write.id.key.name.clone();
        let version = stored.versions.entry(name.clone()).or_insert(1);
        if version.to_string() != write.resource_version {
            return Err(WriteError::Conflict);
        }
        *version += 1;
        let version = version.to_string();
        stored.writes.push((Instant::now(), name, write.status.clone()));
        Ok(version)
    }
}

struct Rig {
    server: Server,
    plans: mpsc::UnboundedSender<Planned>,
    last: Mutex<Vec<Write>>,
    leading: watch::Sender<bool>,
    written: mpsc::Receiver<Write>,
    counters: Arc<WriterCounters>,
}

impl Rig {
    fn new() -> Self {
        let server = Server { stored: Arc::default(), takes: Duration::from_millis(5) };
        let (plans, planned) = mpsc::unbounded_channel();
        let (leading, leads) = watch::channel(true);
        let (events, written) = mpsc::channel(8);
        let counters = Arc::<WriterCounters>::default();
        let task = write_statuses(
            server.clone(),
            planned,
            leads,
            events,
            counters.clone(),
            WriterOptions::default(),
        );
        tokio::spawn(task);
        Rig { server, plans, last: Mutex::default(), leading, written, counters }
    }

    fn plan(&self, writes: Vec<Write>) {
        self.last.lock().clone_from(&writes);
        self.plans.send(Planned::Everything(writes)).unwrap();
    }

    fn version(&self, name: &str) -> u64 {
        self.server.stored.lock().versions.get(name).copied().unwrap_or(1)
    }

    /// The statuses that were written of an object.
    fn writes(&self, name: &str) -> Vec<(Instant, Value)> {
        let stored = self.server.stored.lock();
        let writes = stored.writes.iter().filter(|(_, of, _)| of == name);
        writes.map(|(at, _, status)| (*at, status.clone())).collect()
    }
}

fn write(name: &str, version: u64, status: Value) -> Write {
    Write {
        id: ObjectId { kind: "Gateway", key: ObjectKey::new("ns", name) },
        resource: ApiResource::erase::<Gateway>(&()),
        uid: "uid".into(),
        resource_version: version.to_string(),
        status,
        flips: Vec::new(),
        news: Vec::new(),
    }
}

async fn milliseconds(time: u64) {
    sleep(Duration::from_millis(time)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_changes_gives_few_writes_and_the_last_one_soon() {
    let rig = Rig::new();
    let begin = Instant::now();
    for count in 1..=1000_u64 {
        // Every route is created in 20 ms, and the watch lags by what a plan takes.
        let gateway = write("edge", rig.version("edge"), json!({"attachedRoutes": count}));
        rig.plan(vec![gateway, write(&format!("route-{count}"), 1, json!({"parents": []}))]);
        milliseconds(20).await;
    }
    let last = Instant::now();
    while rig.writes("edge").last().is_none_or(|(_, status)| status["attachedRoutes"] != 1000) {
        assert!(last.elapsed() < Duration::from_secs(1), "{:?}", rig.writes("edge").last());
        let plan = rig.last.lock().clone();
        rig.plan(vec![Write { resource_version: rig.version("edge").to_string(), ..plan[0].clone() }]);
        milliseconds(10).await;
    }
    let writes = rig.writes("edge");
    assert!(writes[0].0 - begin < Duration::from_millis(50), "the first is at once");
    assert!((20..=30).contains(&writes.len()), "{} writes", writes.len());
    for pair in writes.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_millis(800));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_not_written_again_before_the_watch_has_brought_it() {
    let rig = Rig::new();
    let status =
        |time: u32, reason: &str| json!({"conditions": [{"lastTransitionTime": time, "reason": reason}]});
    rig.plan(vec![write("edge", 1, status(1, "A"))]);
    milliseconds(100).await;
    for time in 2..100 {
        rig.plan(vec![write("edge", 1, status(time, "A"))]);
        milliseconds(50).await;
    }
    assert_eq!(rig.server.stored.lock().attempts, 1);
    // Something else waits as well: it would meet a conflict.
    rig.plan(vec![write("edge", 1, status(200, "B"))]);
    milliseconds(2000).await;
    assert_eq!(rig.server.stored.lock().attempts, 1);
    rig.plan(vec![write("edge", 2, status(200, "B"))]);
    milliseconds(2000).await;
    assert_eq!(rig.writes("edge").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_waits_for_the_next_plan() {
    let rig = Rig::new();
    rig.server.stored.lock().versions.insert("edge".into(), 7);
    for _ in 0..50 {
        rig.plan(vec![write("edge", 6, json!({}))]);
        milliseconds(100).await;
    }
    assert_eq!(rig.server.stored.lock().attempts, 1);
    assert_eq!(rig.counters.conflicts.load(Ordering::Relaxed), 1);
    rig.plan(vec![write("edge", 7, json!({}))]);
    milliseconds(100).await;
    assert_eq!(rig.writes("edge").len(), 1);
    rig.server.stored.lock().failing = Some(WriteError::NotFound);
    rig.plan(vec![write("gone", 1, json!({}))]);
    milliseconds(60_000).await;
    assert_eq!(rig.server.stored.lock().attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_ever_later_and_with_the_latest() {
    let rig = Rig::new();
    rig.server.stored.lock().failing = Some(WriteError::Failed("503".into()));
    rig.plan(vec![write("edge", 1, json!({"a": 1}))]);
    milliseconds(60_000).await;
    let attempts = rig.server.stored.lock().attempts;
    assert!((6..=9).contains(&attempts), "{attempts} in a minute");
    assert_eq!(rig.counters.errors.load(Ordering::Relaxed), attempts as u64);
    rig.plan(vec![write("edge", 1, json!({"a": 2}))]);
    rig.server.stored.lock().failing = None;
    milliseconds(31_000).await;
    assert_eq!(
        rig.writes("edge").into_iter().map(|(_, status)| status).collect::<Vec<_>>(),
        [json!({"a": 2})]
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_leader_writes() {
    let rig = Rig::new();
    rig.leading.send_replace(false);
    milliseconds(1).await;
    rig.plan(vec![write("edge", 1, json!({}))]);
    milliseconds(5_000).await;
    assert_eq!(rig.server.stored.lock().attempts, 0);
    rig.leading.send_replace(true);
    // Who begins to lead plans everything.
    rig.plan(vec![write("edge", 1, json!({}))]);
    milliseconds(100).await;
    assert_eq!(rig.server.stored.lock().attempts, 1);
    rig.plan((0..100).map(|index| write(&format!("route-{index}"), 1, json!({}))).collect());
    milliseconds(32).await;
    rig.leading.send_replace(false);
    milliseconds(5_000).await;
    let attempts = rig.server.stored.lock().attempts;
    assert!(attempts <= 17, "{attempts}: what was under way ends, nothing else begins");
    // Nor is what fails meanwhile tried again.
    rig.leading.send_replace(true);
    rig.server.stored.lock().failing = Some(WriteError::Failed("503".into()));
    rig.plan(vec![write("late", 1, json!({}))]);
    milliseconds(33).await;
    rig.leading.send_replace(false);
    milliseconds(60_000).await;
    assert_eq!(rig.server.stored.lock().attempts, attempts + 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_plan_wants_any_more_is_not_written() {
    let rig = Rig::new();
    rig.plan(vec![write("edge", 1, json!({"programmed": false}))]);
    milliseconds(10).await;
    rig.plan(Vec::new());
    milliseconds(5_000).await;
    assert_eq!(rig.server.stored.lock().attempts, 0, "the dataplanes answered at once");
}

#[tokio::test(start_paused = true)]
async fn many_go_side_by_side_but_not_all() {
    let mut rig = Rig::new();
    let mut writes: Vec<Write> =
        (0..200).map(|index| write(&format!("route-{index}"), 1, json!({}))).collect();
    writes[3].flips = vec![Flip { place: String::new(), kind: ConditionType::Accepted, problem: None }];
    rig.plan(writes);
    milliseconds(200).await;
    let stored = rig.server.stored.lock();
    assert_eq!((stored.writes.len(), stored.most_under_way), (200, 16));
    assert_eq!(rig.counters.writes.load(Ordering::Relaxed), 200);
    assert_eq!(rig.written.try_recv().unwrap().id.key.name, "route-3");
    assert!(rig.written.try_recv().is_err(), "the others have nothing to tell");
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_ends() {
    let rig = {
        let mut rig = Rig::new();
        rig.server.takes = Duration::from_secs(3600);
        let (plans, planned) = mpsc::unbounded_channel();
        let (events, written) = mpsc::channel(8);
        let leads = rig.leading.subscribe();
        let task = write_statuses(
            rig.server.clone(),
            planned,
            leads,
            events,
            rig.counters.clone(),
            WriterOptions::default(),
        );
        tokio::spawn(task);
        Rig { plans, written, ..rig }
    };
    rig.plan(vec![write("edge", 1, json!({}))]);
    milliseconds(11_000).await;
    assert_eq!(rig.counters.errors.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn plans_of_some_objects_leave_the_others_as_they_were() {
    let rig = Rig::new();
    let objects = |writes: Vec<(&str, Option<Write>)>| {
        let id = |name: &str| ObjectId { kind: "Gateway", key: ObjectKey::new("ns", name) };
        let objects = writes.into_iter().map(|(name, write)| (id(name), write)).collect();
        rig.plans.send(Planned::Objects(objects)).unwrap();
    };
    rig.plan(vec![write("a", 1, json!({"x": 1})), write("b", 1, json!({"x": 1}))]);
    milliseconds(10).await;
    objects(vec![("b", None), ("c", Some(write("c", 1, json!({"x": 1}))))]);
    milliseconds(100).await;
    let written = |name: &str| rig.writes(name).len();
    assert_eq!((written("a"), written("b"), written("c")), (1, 0, 1));
    // The watch brings it; then it changes again, and not sooner than it may.
    objects(vec![("a", None)]);
    objects(vec![("a", Some(write("a", 2, json!({"x": 2}))))]);
    milliseconds(100).await;
    assert_eq!(written("a"), 1);
    milliseconds(1_000).await;
    assert_eq!(written("a"), 2);
}
