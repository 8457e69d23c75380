use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::Schedule;
use crate::fetch::Options;

const GAP: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(6);

fn options() -> Options {
    Options { shortest_gap: GAP, longest_backoff: LONGEST, ..Options::default() }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wanted(urls: &[(&str, u64)]) -> BTreeMap<String, Duration> {
    urls.iter().map(|(url, interval)| ((*url).to_owned(), seconds(*interval))).collect()
}

/// A schedule that wants `a` every 100 seconds, and when it began.
fn one() -> (Schedule, Instant) {
    let (mut schedule, start) = (Schedule::new(&options()), Instant::now());
    schedule.want(&wanted(&[("a", 100)]), start);
    (schedule, start)
}

#[test]
fn a_new_url_is_due_at_once_and_then_at_its_interval() {
    let (mut schedule, start) = one();
    assert_eq!(schedule.take_due(start).as_deref(), Some("a"));
    assert_eq!(schedule.take_due(start + LONGEST * 10), None, "it runs already");
    assert_eq!(schedule.next_due(), None);
    assert!(schedule.done("a", true, start + seconds(1), 0.0));
    assert_eq!(schedule.next_due(), Some(start + seconds(101)));
    schedule.take_due(start + seconds(101));
    schedule.done("a", true, start + seconds(101), 1.0);
    assert_eq!(schedule.next_due(), Some(start + seconds(191)), "up to a tenth earlier");
}

#[test]
fn failures_wait_longer_each_time() {
    let (mut schedule, start) = one();
    let pauses = [(0.0, 1000), (0.0, 2000), (1.0, 2000), (0.0, 6000), (1.0, 3000)];
    for (random, expected) in pauses {
        schedule.done("a", false, start, random);
        assert_eq!(schedule.next_due(), Some(start + Duration::from_millis(expected)));
    }
    for _ in 0..100 {
        schedule.done("a", false, start, 0.0);
    }
    assert_eq!(schedule.next_due(), Some(start + LONGEST));
    schedule.done("a", true, start, 0.0);
    schedule.done("a", false, start, 0.0);
    assert_eq!(schedule.next_due(), Some(start + seconds(1)), "a success starts anew");
}

#[test]
fn no_way_leads_around_the_gap() {
    let (mut schedule, start) = one();
    schedule.take_due(start);
    schedule.done("a", true, start, 0.0);
    let soon = start + seconds(1);
    schedule.refresh("a", soon);
    assert_eq!(schedule.next_due(), Some(start + GAP));
    schedule.want(&wanted(&[("a", 1)]), soon);
    assert_eq!(schedule.next_due(), Some(start + GAP), "a short interval");
    schedule.want(&wanted(&[]), soon);
    assert_eq!(schedule.next_due(), None);
    schedule.want(&wanted(&[("a", 100)]), soon);
    assert_eq!(schedule.take_due(soon), None, "taken away and given back");
    assert!(schedule.next_due().unwrap() >= start + GAP);
}

#[test]
fn a_refresh_is_at_once_when_the_last_fetch_is_old() {
    let (mut schedule, start) = one();
    schedule.take_due(start);
    schedule.done("a", true, start, 0.0);
    schedule.refresh("a", start + seconds(30));
    assert_eq!(schedule.take_due(start + seconds(30)).as_deref(), Some("a"));
    schedule.refresh("never wanted", start);
    assert_eq!(schedule.next_due(), None);
}

#[test]
fn what_is_unwanted_is_dropped_and_its_result_too() {
    let (mut schedule, start) = one();
    schedule.take_due(start);
    schedule.want(&wanted(&[("b", 100)]), start);
    assert!(!schedule.done("a", true, start, 0.0));
    schedule.want(&wanted(&[("b", 100)]), start + GAP);
    assert!(!schedule.urls.contains_key("a"));
    assert_eq!(schedule.take_due(start).as_deref(), Some("b"));
}

#[test]
fn the_longest_due_goes_first() {
    let (mut schedule, start) = one();
    schedule.take_due(start);
    schedule.done("a", true, start, 0.0);
    schedule.want(&wanted(&[("a", 100), ("b", 100)]), start + seconds(200));
    assert_eq!(schedule.take_due(start + seconds(300)).as_deref(), Some("a"));
    assert_eq!(schedule.take_due(start + seconds(300)).as_deref(), Some("b"));
}
