use std::time::Duration;

use gatehouse_proto::durations::bucket;

use super::{Analysis, Verdict, judge};
use crate::rollout::counts::Counts;

fn analysis() -> Analysis {
    Analysis {
        interval: Duration::from_secs(30),
        min_requests: 100,
        max_error_increase: 0.01,
        max_errors: None,
        quantile: 0.9,
        max_latency_ratio: 1.5,
    }
}

/// Splitmix: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Log-normal around 20 ms, as services' latencies often are: the 90th percentile is 1.9 times the median.
    fn micros(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.next()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.next()).cos();
        20_000.0 * (0.5 * normal).exp()
    }
}

/// How a version does.
#[derive(Clone, Copy)]
struct Version {
    errors: f64,
    /// Times the usual latency; 0: nobody measures.
    slowness: f64,
}

fn requests(count: u64, version: Version, random: &mut Random) -> Counts {
    let mut counts = Counts { requests: count, ..Counts::default() };
    if version.slowness > 0.0 {
        (0..count).for_each(|_| counts.durations[bucket((random.micros() * version.slowness) as u64)] += 1);
    } else {
        counts.durations[0] = count;
        counts.errors = (0..count).map(|_| u64::from(random.next() < version.errors)).sum();
    }
    counts
}

/// Looks at a step as a window does, and says at which look it is condemned. The canary gets `canary` requests an interval,
/// the stable version `times` as many.
fn condemned(
    looks: u32,
    (canary, times): (u64, u64),
    [new, old]: [Version; 2],
    random: &mut Random,
) -> Option<u32> {
    let (mut all_new, mut all_old) = (Counts::default(), Counts::default());
    (1..=looks).find(|_| {
        let (last_new, last_old) = (requests(canary, new, random), requests(canary * times, old, random));
        all_new.add(&last_new);
        all_old.add(&last_old);
        let is_worse =
            |new: &Counts, old: &Counts| matches!(judge(&analysis(), new, old), Verdict::Worse(..));
        is_worse(&all_new, &all_old) || is_worse(&last_new, &last_old)
    })
}

/// Of a thousand rollouts, each of three steps with ten looks.
fn rolled_back(traffic: (u64, u64), versions: [Version; 2], random: &mut Random) -> usize {
    let any = |random: &mut Random| (0..3).any(|_| condemned(10, traffic, versions, random).is_some());
    (0..1000).filter(|_| any(random)).count()
}

/// Of so many rollouts, those that are condemned at the first or second look.
fn found(rollouts: usize, traffic: (u64, u64), versions: [Version; 2], random: &mut Random) -> usize {
    (0..rollouts).filter(|_| condemned(2, traffic, versions, random).is_some()).count()
}

#[test]
fn chance_alone_hardly_ever_rolls_back() {
    let mut random = Random(1);
    for (errors, most) in [(0.001, 5), (0.01, 15), (0.1, 15)] {
        let version = Version { errors, slowness: 0.0 };
        let count = rolled_back((100, 3), [version, version], &mut random);
        println!("{errors}: {count} of 1000 healthy rollouts are rolled back");
        assert!(count <= most, "{count} of 1000 at {errors}");
    }
}

#[test]
fn failures_are_found_within_two_intervals() {
    let mut random = Random(2);
    let bad = Version { errors: 0.05, slowness: 0.0 };
    for (traffic, stable, least) in [
        // What the stable version does without failures is the canary's fault soon; where it fails as well, more must be seen.
        ((100, 19), 0.001, 960),
        ((200, 19), 0.001, 998),
        ((200, 3), 0.001, 990),
        ((300, 3), 0.01, 900),
        ((500, 1), 0.01, 900),
        ((1000, 1), 0.01, 998),
    ] {
        let stable = Version { errors: stable, slowness: 0.0 };
        let count = found(1000, traffic, [bad, stable], &mut random);
        println!("{traffic:?}, stable at {}: {count} of 1000", stable.errors);
        assert!(count >= least, "{count} of 1000 at {traffic:?}");
    }
}

#[test]
fn twice_as_slow_is_found_within_two_intervals_and_as_slow_is_not() {
    let mut random = Random(3);
    let usual = Version { errors: 0.0, slowness: 1.0 };
    for (traffic, slowness, range) in [
        ((100, 19), 2.0, 275..=300),
        ((100, 3), 2.0, 255..=300),
        ((300, 1), 2.0, 290..=300),
        ((100, 3), 1.0, 0..=0),
        ((300, 1), 1.2, 0..=1),
    ] {
        let new = Version { slowness, ..usual };
        let count = found(300, traffic, [new, usual], &mut random);
        println!("{traffic:?}, {slowness} times as slow: {count} of 300");
        assert!(range.contains(&count), "{count} of 300 at {traffic:?}, {slowness}");
    }
}

fn counts(requests: u64, errors: u64, micros: u64) -> Counts {
    let mut counts = Counts { requests, errors, ..Counts::default() };
    counts.durations[bucket(micros)] = requests;
    counts
}

#[test]
fn nothing_is_said_of_few_requests() {
    let judged = judge(&analysis(), &counts(99, 99, 1), &counts(10_000, 0, 1));
    assert_eq!(
        judged,
        Verdict::TooLittle("canary: 99, stable: 10000 requests, and 100 of each are needed".into())
    );
    assert!(matches!(judge(&analysis(), &counts(1000, 0, 1), &counts(99, 0, 1)), Verdict::TooLittle(_)));
}

/// What fails everywhere is not the new version's fault.
#[test]
fn the_stable_version_is_the_measure() {
    for failing in [0, 10, 300, 1000] {
        assert_eq!(
            judge(&analysis(), &counts(1000, failing, 900), &counts(1000, failing, 900)),
            Verdict::Healthy
        );
    }
    let both = [counts(1000, 300, 900), counts(1000, 290, 900)];
    let ceiling = Analysis { max_errors: Some(0.1), ..analysis() };
    let judged = judge(&ceiling, &both[0], &both[1]);
    let said = "canary: 300 of 1000 requests failed (30.00 %), and 10.00 % is the most";
    assert_eq!(judged, Verdict::Worse("ErrorRatio", said.into()), "unless somebody says so");
    assert_eq!(judge(&ceiling, &counts(1000, 100, 900), &counts(1000, 99, 900)), Verdict::Healthy);
}

#[test]
fn what_does_not_matter_is_no_reason() {
    // Certain, and one in a thousand.
    let (new, old) = (counts(1_000_000, 1_500, 900), counts(1_000_000, 500, 900));
    assert_eq!(judge(&analysis(), &new, &old), Verdict::Healthy);
    let strict = Analysis { max_error_increase: 0.0, ..analysis() };
    let said =
        "canary: 1500 of 1000000 requests failed (0.15 %); stable: 500 of 1000000 requests failed (0.05 %)";
    assert_eq!(judge(&strict, &new, &old), Verdict::Worse("ErrorRatio", said.into()));
    // Much, and not certain.
    assert_eq!(judge(&analysis(), &counts(100, 3, 900), &counts(100, 0, 900)), Verdict::Healthy);
}

#[test]
fn latency_is_compared_by_buckets() {
    let old = counts(1000, 0, 10_000);
    assert_eq!(judge(&analysis(), &counts(1000, 0, 15_000), &old), Verdict::Healthy);
    let said =
        "canary: 90 % of the requests took up to 22.2 ms; stable: 90 % of the requests took up to 11.1 ms";
    assert_eq!(judge(&analysis(), &counts(1000, 0, 20_000), &old), Verdict::Worse("Latency", said.into()));
    assert!(matches!(judge(&analysis(), &counts(1000, 0, u64::MAX), &old), Verdict::Worse("Latency", _)));
    let endless = counts(1000, 0, u64::MAX);
    assert_eq!(judge(&analysis(), &endless, &endless), Verdict::Healthy, "nobody can tell");
}
