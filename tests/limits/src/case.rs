//! The cases: limits, loads and what goes wrong.

use std::time::Duration;

use crate::spec::{Algorithm, Keys, Limit, Load};

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) limit: Limit,
    pub(crate) processes: u32,
    /// Of all processes together.
    pub(crate) load: Load,
    /// Each process gets half of what the one before gets.
    pub(crate) skewed: bool,
    pub(crate) fault: Fault,
    pub(crate) time: Duration,
    /// Compare the time of decisions with those of a policy without limits.
    pub(crate) measure: bool,
    pub(crate) least_utilisation: Option<f64>,
    pub(crate) most_commands: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A dataplane is killed, and another begins in its place.
    Kill,
    /// A dataplane stands still for twice the time of a lease.
    Stop,
    /// Redis is killed and comes back empty.
    Redis,
    /// Each byte to and from Redis takes so much longer.
    Delay(Duration),
}

impl Case {
    pub(crate) fn title(&self) -> String {
        format!("{}/{:?}", self.name, self.limit.algorithm)
    }
}

/// `quick`: with three processes, and the less telling left out.
pub(crate) fn all(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for processes in if quick { vec![3] } else { vec![3, 8] } {
        for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
            cases.extend(of(algorithm, processes, quick));
        }
    }
    cases
}

fn of(algorithm: Algorithm, processes: u32, quick: bool) -> Vec<Case> {
    let limit = |requests, per| Limit { algorithm, requests, per, burst: requests };
    let load = |keys, rate| Load { keys, rate, bursts: false };
    // A busy key with three times what it may have.
    let hot = Case {
        name: "hot",
        limit: limit(2000, 1000),
        processes,
        load: load(Keys::Hot, 6000.0),
        skewed: false,
        fault: Fault::None,
        time: Duration::from_millis(if quick { 2500 } else { 6000 }),
        measure: false,
        least_utilisation: None,
        most_commands: None,
    };
    // What is leased at the end counts as unused: over a longer time it weighs less.
    let long = if quick { hot.time } else { Duration::from_secs(12) };
    let saturated = Case { least_utilisation: Some(0.99), time: long, ..hot };
    let zipf =
        Case { name: "zipf-10k", limit: limit(20, 1000), load: load(Keys::Zipf(10_000), 4000.0), ..hot };
    let faults = [
        Case { name: "kill", fault: Fault::Kill, ..hot.clone() },
        Case { name: "stop", fault: Fault::Stop, ..hot.clone() },
        Case { name: "redis-restart", fault: Fault::Redis, ..hot.clone() },
        Case { name: "delay-5ms", fault: Fault::Delay(Duration::from_millis(5)), ..hot },
    ];
    // Half of what it may have.
    let busy = Case {
        name: "busy-10k-per-second",
        limit: limit(20_000, 1000),
        load: load(Keys::Hot, 10_000.0),
        measure: true,
        most_commands: Some(0.01),
        ..hot
    };
    let mut cases = vec![saturated, zipf.clone(), busy];
    cases.extend(faults);
    if quick {
        return cases;
    }
    cases.extend([
        Case {
            name: "uniform-10k",
            limit: limit(2, 4000),
            load: load(Keys::Uniform(10_000), 4000.0),
            ..hot.clone()
        },
        Case { name: "bursts", load: Load { bursts: true, ..hot.load }, ..hot.clone() },
        Case { name: "few", limit: limit(20, 200), ..hot.clone() },
        Case { name: "zipf-kill", fault: Fault::Kill, ..zipf.clone() },
        Case { name: "zipf-stop", fault: Fault::Stop, ..zipf.clone() },
        Case { name: "zipf-redis-restart", fault: Fault::Redis, ..zipf },
        // All at once, and hardly anything comes back.
        Case {
            name: "drained",
            limit: limit(100, 60_000),
            load: load(Keys::Hot, 500.0),
            time: Duration::from_secs(1),
            least_utilisation: Some(0.99),
            ..hot.clone()
        },
        Case { name: "skewed", skewed: true, least_utilisation: Some(0.97), time: long, ..hot },
    ]);
    cases
}
