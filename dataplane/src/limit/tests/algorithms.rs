//! Both algorithms against a log of everything that was admitted, and Lua against Rust.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::super::bucket::Bucket;
use super::super::key::{Encoded, Field};
use super::super::rule::{Raw, Rule, State, Taken};
use super::super::window::{SLOTS, Window};
use super::harness::Redis;

/// Steps of time in microseconds: bursts, small gaps, long ones.
fn steps(longest: u64) -> impl Strategy<Value = Vec<u64>> {
    vec(prop_oneof![4 => 0..3u64, 4 => 0..longest.div_ceil(20), 1 => 0..longest * 2], 1..400)
}

fn run(rule: Rule, steps: &[u64]) -> Vec<(u64, Taken)> {
    let (mut state, mut now): (Option<State>, u64) = (None, 1_000_000);
    steps
        .iter()
        .map(|step| {
            now += step;
            let looked = rule.look(state.as_mut(), now);
            let raw = rule.take(&mut state, now);
            assert_eq!(looked.admitted, raw.admitted);
            (now, rule.read(raw))
        })
        .collect()
}

/// An ideal bucket in units in which a token and a microsecond's gain are whole.
struct Ideal {
    level: u128,
    at: u64,
}

proptest! {
    #[test]
    fn a_bucket_is_an_ideal_bucket(
        requests in 1..2000u64, per in 1..50_000u64, burst in 1..60u64, steps in steps(50_000),
    ) {
        let rule = Rule::Bucket(Bucket::new(requests, per, burst));
        let (r, p, depth) = (u128::from(requests), u128::from(per), u128::from(burst) * u128::from(per));
        let mut ideal = Ideal { level: depth, at: 1_000_000 };
        let mut log: Vec<u64> = Vec::new();
        for (now, taken) in run(rule, &steps) {
            ideal.level = (ideal.level + u128::from(now - ideal.at) * r).min(depth);
            ideal.at = now;
            prop_assert_eq!(taken.admitted, ideal.level >= p);
            if taken.admitted {
                ideal.level -= p;
                log.push(now);
            }
            prop_assert_eq!(u128::from(taken.remaining), ideal.level / p);
            prop_assert_eq!(u128::from(taken.reset_in), (depth - ideal.level).div_ceil(r));
            prop_assert_eq!(u128::from(taken.free_in), p.saturating_sub(ideal.level).div_ceil(r));
        }
        // The promise itself, over every window that begins and ends with an admitted request.
        for (i, first) in log.iter().enumerate() {
            for (j, last) in log.iter().enumerate().skip(i) {
                prop_assert!((j - i + 1) as u128 * p <= u128::from(last - first) * r + depth);
            }
        }
    }

    #[test]
    fn no_window_admits_more_than_it_says(
        requests in prop_oneof![1..20u64, SLOTS - 2..SLOTS + 60], per in 1..50_000u64, steps in steps(50_000),
    ) {
        let window = Window::new(requests, per);
        let mut log: Vec<u64> = Vec::new();
        for (now, taken) in run(Rule::Window(window), &steps) {
            // A slot counts for at most its own length too long.
            let slack = window.slot - 1;
            let within = |length: u64| log.iter().filter(|at| **at + length > now).count() as u64;
            if taken.admitted {
                prop_assert!(within(per) < requests);
                log.push(now);
            } else {
                prop_assert!(within(per + slack) >= requests, "refused with room to spare");
                prop_assert!(taken.free_in > 0 && taken.free_in <= per + slack);
            }
            prop_assert!(taken.remaining <= requests);
        }
        for (first, last) in log.iter().zip(log.iter().skip(usize::try_from(requests).unwrap())) {
            prop_assert!(last - first >= per);
        }
    }

    #[test]
    fn a_wait_that_was_told_is_enough_and_not_too_long(
        bucket in proptest::bool::ANY, requests in 1..150u64, per in 1..50_000u64, steps in steps(50_000),
    ) {
        let rule = match bucket {
            true => Rule::Bucket(Bucket::new(requests, per, requests)),
            false => Rule::Window(Window::new(requests, per)),
        };
        let (mut state, mut now): (Option<State>, u64) = (None, 1_000_000);
        for step in steps {
            now += step;
            let taken = rule.read(rule.take(&mut state, now));
            if !taken.admitted {
                let then = now + taken.free_in;
                prop_assert!(rule.look(state.clone().as_mut(), then).admitted);
                prop_assert!(!rule.look(state.clone().as_mut(), then - 1).admitted);
            }
        }
    }
}

#[test]
fn a_lowered_limit_and_a_clock_set_back_recover_within_one_limit() {
    let (hour, now) = (3_600_000_000, 100 * 3_600_000_000);
    for (big, small, wait) in [
        (Bucket::new(10, hour, 1000), Bucket::new(10, 1_000_000, 10), 100_000),
        (Bucket::new(7, hour, 7), Bucket::new(3, hour, 1), hour / 3 + 1),
    ] {
        let mut state = None;
        while Rule::Bucket(big).take(&mut state, now).admitted {}
        let small = Rule::Bucket(small);
        assert!(!small.look(state.as_mut(), now).admitted);
        assert!(small.look(state.as_mut(), now + wait).admitted);
    }
    for requests in [5, 500] {
        let rule = Rule::Window(Window::new(requests, 1_000_000));
        let mut state = None;
        while rule.take(&mut state, now).admitted {}
        let back = now - 10 * hour;
        assert!(!rule.look(state.as_mut(), back).admitted);
        assert!(rule.look(state.as_mut(), back + 1_100_000).admitted);
    }
}

/// The script with a clock that the test sets, in place of Redis's own.
fn with_clock(now: u64) -> String {
    let source = include_str!("../lease.lua");
    let clock = format!("local time = {{ '{}', '{}' }}", now / 1_000_000, now % 1_000_000);
    let replaced = source.replace("local time = redis.call('TIME')", &clock);
    assert_ne!(source, replaced);
    replaced
}

#[test]
fn lua_and_rust_decide_alike() {
    let redis = Redis::start();
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let rules = [
        Rule::Bucket(Bucket::new(7, 1_000_000, 3)),
        Rule::Bucket(Bucket::new(300_000, 1_000_000, 2)),
        Rule::Bucket(Bucket::new(999_983, 86_400_000_000, 5)),
        Rule::Window(Window::new(3, 1_000_000)),
        Rule::Window(Window { slot: 15_625, ..Window::new(65, 1_000_000) }),
        Rule::Window(Window::new(64, 300_007)),
    ];
    // From now on, so that what is written does not expire at once.
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let start = u64::try_from((start + Duration::from_secs(3600)).as_micros()).unwrap();
    let mut seed = 1u64;
    for (n, rule) in rules.into_iter().enumerate() {
        let (mut state, mut now) = (None, start);
        let key = format!("gatehouse:{{test}}:{n}:{}", Encoded::default().with(Field::Limit, b"x").key());
        let (algorithm, numbers) = rule.arguments();
        let (mut yes, mut no) = (0, 0);
        for round in 0..600 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now += match seed >> 57 {
                0 => (seed >> 20) % 1_500_000,
                1..=30 => (seed >> 20) % 20_000,
                _ => (seed >> 20) % 3,
            };
            let answer: Vec<i64> = redis::cmd("EVAL")
                .arg(with_clock(now))
                .arg(2)
                .arg("gatehouse:epoch")
                .arg(&key)
                // What was granted is over at once, and so is in the count before the next ask.
                .arg(&["a", "0", "1", "0"])
                .arg(algorithm)
                .arg(&numbers)
                .arg(&[0, 0, 0, 1, 0, 0, 0, 0, 0])
                .query(&mut connection)
                .unwrap();
            let Raw { admitted, numbers: expected } = rule.take(&mut state, now);
            let expected = [u64::from(admitted), expected[0], expected[1], expected[2]];
            let answer: Vec<u64> = answer.into_iter().map(|value| u64::try_from(value).unwrap()).collect();
            assert_eq!(answer[1], answer[2], "{rule:?}, round {round}");
            assert_eq!([answer[1], answer[6], answer[7], answer[8]], expected, "{rule:?}, round {round}");
            if admitted {
                yes += 1;
            } else {
                no += 1;
            }
            let ttl: i64 = redis::cmd("PTTL").arg(&key).query(&mut connection).unwrap();
            assert!(ttl == -2 || ttl > 0, "{rule:?}: {ttl}");
        }
        assert!(yes > 10 && no > 10, "{rule:?}: {yes} admitted, {no} refused");
    }
}
