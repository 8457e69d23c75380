//! The store, and those who wait for one fetch.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tokio::time::Instant;

use super::{
    Cache, End, Epoch, Key, KeyWriter, Seat, State, Stored,
    policy::{Selection, Terms},
};

fn key(text: &str) -> Key {
    let mut key = KeyWriter::default();
    key.piece(text.as_bytes());
    key.finish()
}

fn request(language: &str) -> HeaderMap {
    HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, HeaderValue::from_str(language).unwrap())])
}

/// An answer of so many bytes, which varies by language.
fn stored(epoch: Epoch, language: &str, bytes: usize) -> Arc<Stored> {
    let headers = HeaderMap::from_iter([(http::header::VARY, HeaderValue::from_static("accept-language"))]);
    Arc::new(Stored {
        status: StatusCode::OK,
        selection: Selection::of(&headers, &request(language)).unwrap(),
        headers,
        body: Bytes::from(vec![7; bytes]),
        terms: Terms {
            age: Duration::ZERO,
            fresh_for: Duration::from_secs(60),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        },
        arrived: Instant::now(),
        epoch,
        service: 0,
        refreshing: AtomicBool::new(false),
    })
}

#[test]
fn pieces_of_a_key_can_not_run_into_each_other() {
    let of = |pieces: &[Option<&str>]| {
        let mut key = KeyWriter::default();
        pieces.iter().for_each(|piece| key.optional(piece.map(str::as_bytes)));
        key.finish()
    };
    let all = [
        of(&[Some("ab"), Some("c")]),
        of(&[Some("a"), Some("bc")]),
        of(&[Some("abc")]),
        of(&[Some("abc"), None]),
        of(&[Some("abc"), Some("")]),
        of(&[None, Some("abc")]),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| other != one), "{index}");
    }
}

#[test]
fn a_key_holds_what_is_selected_apart_and_no_more_than_a_few() {
    let cache = Cache::new(1 << 20);
    let (key, epoch) = (key("a"), cache.epoch("h", "/", None));
    let find = |language: &str| cache.get(&key)?.select(&request(language), epoch).map(|one| one.body.len());
    cache.keep(&key, stored(epoch, "de", 10));
    cache.keep(&key, stored(epoch, "en", 20));
    cache.keep(&key, stored(epoch, "de", 30));
    assert_eq!([find("de"), find("en"), find("fr")], [Some(30), Some(20), None]);
    for number in 0..8 {
        cache.keep(&key, stored(epoch, &number.to_string(), 1));
    }
    assert_eq!([find("de"), find("0"), find("7")], [None, Some(1), Some(1)]);

    let now = Instant::now();
    cache.pass(&key, &request("7"), now);
    assert_eq!([find("7"), find("6")], [None, Some(1)]);
    let entry = cache.get(&key).unwrap();
    assert!(entry.passes(now) && !entry.passes(now + Duration::from_secs(10)));
    cache.keep(&key, stored(epoch, "7", 1));
    assert!(!cache.get(&key).unwrap().passes(now), "it is kept after all");
}

#[test]
fn what_was_asked_for_before_a_write_is_gone() {
    let cache = Cache::new(1 << 20);
    let (key, before) = (key("a"), cache.epoch("h", "/a", Some("q")));
    cache.keep(&key, stored(before, "de", 10));
    cache.write(before);
    let after = cache.epoch("h", "/a", Some("q"));
    assert!(cache.get(&key).is_some_and(|entry| entry.select(&request("de"), after).is_none()));
    // It comes back only now.
    assert!(!cache.keep(&key, stored(before, "de", 20)));
    assert!(cache.get(&key).is_some_and(|entry| entry.select(&request("de"), after).is_none()));
    cache.keep(&key, stored(after, "de", 30));
    let entry = cache.get(&key).unwrap();
    assert_eq!(entry.select(&request("de"), after).map(|one| one.body.len()), Some(30));
    assert_ne!(cache.epoch("h", "/b", Some("q")).place, after.place, "another target, most likely");
}

#[test]
fn no_more_is_held_than_there_is_room_for() {
    let cache = Cache::new(1 << 20);
    let epoch = cache.epoch("h", "/", None);
    for number in 0..2000 {
        cache.keep(&key(&number.to_string()), stored(epoch, "de", 4000));
        assert!(cache.held() <= 1 << 20, "{} bytes", cache.held());
    }
    assert!(cache.held() > 700_000 && cache.evictions() > 1000, "{cache:?}, {}", cache.evictions());
    cache.resize(1 << 18);
    assert!(cache.held() <= 1 << 18);
    // Larger than all.
    assert!(!cache.keep(&key("large"), stored(epoch, "de", 1 << 20)));
    assert!(cache.get(&key("large")).is_none() && cache.held() <= 1 << 18);

    assert!(cache.take_room(1 << 16) && !cache.take_room(1));
    cache.give_room(1 << 16);
    assert!(cache.take_room(1));
}

#[test]
fn one_fetches_and_the_others_are_told() {
    let cache = Cache::new(1 << 20);
    let first = |name: &str| match cache.join(key(name)) {
        Seat::First(flight) => flight,
        other => panic!("{other:?}"),
    };
    for (end, told) in [(Some(End::Kept), End::Kept), (Some(End::Alone), End::Alone), (None, End::Gone)] {
        let flight = first("a");
        let Seat::Waits(state) = cache.join(key("a")) else { panic!("it is under way") };
        assert_eq!(*state.borrow(), State::Asking);
        flight.answering();
        assert_eq!(*state.borrow(), State::Answering);
        drop(first("b"));
        match end {
            Some(end) => flight.end(end),
            None => drop(flight),
        }
        assert_eq!(*state.borrow(), State::Ended(told));
    }
    // Whoever ends late takes nobody's place away.
    let late = first("a");
    cache.land(&key("a"));
    let flight = first("a");
    late.end(End::Kept);
    drop(flight);
}

/// What may befall a key.
#[derive(Debug, Clone)]
enum Step {
    Ask,
    /// Of those that are under way, by place.
    Arrive(usize),
    Write,
    Pass,
}

proptest! {
    /// However fetches and writes fall together: what is found was asked for after the last write.
    #[test]
    fn nothing_older_than_the_last_write_is_found(
        steps in prop::collection::vec(
            prop_oneof![
                proptest::strategy::Just(Step::Ask),
                any::<usize>().prop_map(Step::Arrive),
                proptest::strategy::Just(Step::Write),
                proptest::strategy::Just(Step::Pass),
            ],
            1..60,
        )
    ) {
        let cache = Cache::new(1 << 20);
        let key = key("a");
        let epoch = || cache.epoch("h", "/", None);
        let (mut under_way, mut asked, mut written) = (Vec::new(), 0, 0);
        for step in steps {
            match step {
                Step::Ask => {
                    asked += 1;
                    under_way.push((asked, epoch()));
                }
                Step::Arrive(_) if under_way.is_empty() => {}
                Step::Arrive(place) => {
                    let (number, epoch) = under_way.swap_remove(place % under_way.len());
                    cache.keep(&key, stored(epoch, "de", number));
                }
                Step::Write => {
                    cache.write(epoch());
                    written = asked;
                }
                Step::Pass => cache.pass(&key, &request("de"), Instant::now()),
            }
            let entry = cache.get(&key);
            let found = entry.as_ref().and_then(|entry| entry.select(&request("de"), epoch()));
            prop_assert!(found.is_none_or(|found| found.body.len() > written));
        }
        cache.keep(&key, stored(epoch(), "de", 1000));
        let entry = cache.get(&key).unwrap();
        prop_assert_eq!(entry.select(&request("de"), epoch()).map(|one| one.body.len()), Some(1000));
    }
}
