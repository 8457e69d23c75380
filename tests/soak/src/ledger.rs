//! What was asked and what became of it: clients write on one side, backends on the other.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use crate::{plan::Plan, request::Request};

/// Failures that are told; the rest are counted.
const TOLD: usize = 20;
/// While changes are still to come, requests go on, to so many times what was planned.
const MOST: u64 = 4;
/// Between two looks at how far the requests are.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct Ledger {
    plan: Plan,
    began: OnceLock<Instant>,
    next: AtomicU64,
    ended: AtomicU64,
    changed: AtomicBool,
    /// How often backends took each request, as far as it is a POST.
    taken: Vec<AtomicU8>,
    errors: AtomicU64,
    unanswered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// The gateway says that the backend's connection broke with the request on it.
    Unanswered,
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) duplicated_posts: u64,
    pub(crate) unanswered_posts: u64,
    pub(crate) failures: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(plan: Plan) -> Ledger {
        let most = usize::try_from(plan.requests * MOST).unwrap();
        Ledger {
            plan,
            began: OnceLock::new(),
            next: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            changed: AtomicBool::new(false),
            taken: std::iter::repeat_with(AtomicU8::default).take(most).collect(),
            errors: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }

    /// With the first request.
    fn began(&self) -> Instant {
        *self.began.get_or_init(Instant::now)
    }

    /// Waits until the next request is due. `None`: there were enough.
    pub(crate) async fn next(&self) -> Option<Request> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let over = number >= self.plan.requests && self.changed.load(Ordering::Relaxed);
        if over || number >= self.taken.len() as u64 {
            return None;
        }
        let due = self.began() + Duration::from_secs_f64(number as f64 / self.plan.rate);
        sleep_until(due.into()).await;
        Some(Request(number))
    }

    /// Waits until it is the turn of one of so many changes.
    pub(crate) async fn turn(&self, change: u64, of: u64) {
        let wanted = self.plan.requests * (2 * change + 1) / (2 * of);
        while self.next.load(Ordering::Relaxed) < wanted {
            sleep(LOOK).await;
        }
    }

    /// No more changes come.
    pub(crate) fn changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// A backend has the whole of a request.
    pub(crate) fn took(&self, request: Request) {
        if let Some(taken) = usize::try_from(request.0).ok().and_then(|place| self.taken.get(place)) {
            taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn ended(&self, request: Request, outcome: Outcome) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Outcome::Answered if request.is_dropped() => self.failed(request, "an answer that nobody gave"),
            Outcome::Answered => {}
            Outcome::Unanswered if request.is_dropped() => {}
            Outcome::Unanswered if request.is_post() => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Unanswered => self.failed(request, "502"),
            Outcome::Failed(why) => self.failed(request, &why),
        }
    }

    fn failed(&self, request: Request, why: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock();
        if failures.len() < TOLD {
            let at = self.began().elapsed().as_secs_f32();
            failures.push(format!("{at:6.1} s: {} {}: {why}", request.method(), request.path()));
        }
    }

    /// When all have ended.
    pub(crate) fn totals(&self) -> Totals {
        let taken = |least: u8| {
            let asked = self.taken.iter().filter(|taken| taken.load(Ordering::Relaxed) >= least);
            asked.count() as u64
        };
        Totals {
            requests: self.ended.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            duplicated_posts: taken(2),
            unanswered_posts: self.unanswered.load(Ordering::Relaxed),
            failures: self.failures.lock().clone(),
        }
    }

    pub(crate) fn tell(&self, what: &str) {
        let at = self.began().elapsed().as_secs_f32();
        let (requests, errors) = (self.ended.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed));
        println!("{at:6.1} s  {requests:>8} requests  {errors:>4} errors  {what}");
    }
}
