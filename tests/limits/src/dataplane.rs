//! A process that decides as a dataplane does: the product's limiter, with a connection to Redis a thread.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use gatehouse_dataplane::limiter::{Decision, Limiter, Worker};
use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderValue};
use tokio::task::LocalSet;

use crate::{
    arrivals::Arrivals,
    clock::{Clock, now_us},
    log::{Log, Outcome, Record},
    report::{Spent, median},
    spec::{KEY, Limit, Spec},
};

/// What names the counts in Redis.
const POLICY: &str = "ratelimit/proof/limits";
/// Requests of a thread that wait at once; more are not made.
const WAITING: usize = 512;
/// Requests that begin in one turn; what a process that stood still has missed is not made up for.
const TURN: u64 = 128;
/// Longer than the limiter's longest default wait: this is about counting, on a machine that may be busy.
const TIMEOUT_MS: u32 = 50;

/// One thread.
struct Thread {
    limited: Worker,
    /// Without limits, for comparison.
    free: Option<Worker>,
    requests: Vec<HeaderMap>,
    clock: Clock,
    log: RefCell<Log>,
    waiting: Cell<usize>,
    spent: RefCell<[Vec<u32>; 2]>,
}

/// Returns when the time is over.
pub(crate) fn run(spec: &Spec) {
    let redis = v1::Redis { url: spec.redis.clone(), timeout_ms: TIMEOUT_MS, ..v1::Redis::default() };
    let limiter = Limiter::new(POLICY, &Limit::policy(Some(&spec.limit)), Some(&redis)).unwrap();
    let free = Limiter::new(POLICY, &Limit::policy(None), Some(&redis)).unwrap();
    let clock = Clock::new();
    let spent = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..spec.workers)
            .map(|n| {
                let (limited, free) = (limiter.worker(), spec.measure.then(|| free.worker()));
                scope.spawn(move || {
                    let thread = Thread {
                        limited,
                        free,
                        requests: (0..spec.load.keys.count()).map(request).collect(),
                        clock,
                        log: RefCell::new(Log::open(&spec.log).unwrap()),
                        waiting: Cell::new(0),
                        spent: RefCell::default(),
                    };
                    thread.run(spec, n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    if spec.measure {
        let [limited, free] =
            [0, 1].map(|n| median(spent.iter().flat_map(|spent| &spent[n]).copied().collect()));
        let spent = Spent { limited_ns: limited, free_ns: free };
        println!("{}", serde_json::to_string(&spent).unwrap());
    }
}

fn request(key: u32) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(KEY), HeaderValue::from(key))])
}

impl Thread {
    fn run(self, spec: &Spec, n: u32) -> [Vec<u32>; 2] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let share = crate::spec::Load { rate: spec.load.rate / f64::from(spec.workers), ..spec.load };
        let mut arrivals = Arrivals::new(share, spec.seed * 64 + u64::from(n));
        let thread = Rc::new(self);
        LocalSet::new().block_on(&runtime, async {
            let mut begun = arrivals.due(now_us().saturating_sub(spec.start));
            loop {
                let now = now_us();
                if now >= spec.end {
                    break;
                }
                let due = arrivals.due(now.saturating_sub(spec.start));
                for _ in 0..(due - begun).min(TURN) {
                    let key = arrivals.key();
                    if thread.waiting.get() < WAITING {
                        thread.waiting.set(thread.waiting.get() + 1);
                        tokio::task::spawn_local(Rc::clone(&thread).decide(key));
                    }
                }
                begun = due;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Nobody waits longer than this.
            while thread.waiting.get() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        thread.spent.take()
    }

    async fn decide(self: Rc<Thread>, key: u32) {
        let request = &self.requests[key as usize];
        let mut response = HeaderMap::new();
        let came = Instant::now();
        let decision = self.limited.decide(request, &mut response).await;
        let decided = Instant::now();
        let (at, outcome) = match decision {
            // The time is cut to a microsecond, so it may lie that much before.
            Decision::Admitted { leased_at: Some(at) }
                if at + Duration::from_micros(1) > came && at <= decided =>
            {
                (at, Outcome::Admitted)
            }
            Decision::Admitted { .. } => (came, Outcome::Unfounded),
            Decision::Refused => (came, Outcome::Refused),
            Decision::Unavailable => (came, Outcome::Unavailable),
        };
        self.log.borrow_mut().write(Record { at: self.clock.us(at), key, outcome }).unwrap();
        if let Some(free) = &self.free {
            let mut response = HeaderMap::new();
            let began = Instant::now();
            free.decide(request, &mut response).await;
            let free = began.elapsed();
            let mut spent = self.spent.borrow_mut();
            for (spent, time) in spent.iter_mut().zip([decided - came, free]) {
                spent.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
            }
        }
        self.waiting.set(self.waiting.get() - 1);
    }
}
