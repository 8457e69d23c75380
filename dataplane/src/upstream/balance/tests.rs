use std::{collections::BTreeMap, sync::Arc};

use http::HeaderMap;

use super::{Asker, Avoid, Balance, Draw, Tried, hash::of_bytes, key::Key, least};
use crate::upstream::{Active, Endpoint};

fn endpoints(ports: impl IntoIterator<Item = u16>) -> Vec<Arc<Endpoint>> {
    ports.into_iter().map(|port| Endpoint::new(([10, 0, 0, 1], port).into())).collect()
}

fn hashing(max_load: Option<u32>) -> Balance {
    Balance::ConsistentHash { key: Key::Consumer, max_load }
}

fn draw(turn: u64, key: Option<u64>, avoid: Avoid<'_>) -> Draw<'_, impl FnMut() -> u64> {
    let mut state = turn;
    let random = move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state >> 20
    };
    Draw { random, turn, key, avoid }
}

fn port(balance: &Balance, among: &[Arc<Endpoint>], turn: u64, key: Option<u64>) -> u16 {
    balance.pick(among, draw(turn, key, Avoid::Nothing)).unwrap().address.port()
}

fn key(name: usize) -> Option<u64> {
    Some(of_bytes(format!("key-{name}").as_bytes()))
}

/// Where keys belong, by key.
fn places(among: &[Arc<Endpoint>], keys: usize) -> BTreeMap<usize, u16> {
    (0..keys).map(|name| (name, port(&hashing(None), among, 0, key(name)))).collect()
}

#[test]
fn the_less_busy_of_two_is_taken() {
    let all = endpoints([1, 2]);
    let _busy = all[0].begin();
    let mut draws = [0, 1].into_iter();
    assert_eq!(least(&all, || draws.next().unwrap(), Avoid::Nothing).unwrap().address.port(), 2);
}

#[test]
fn all_that_failed_are_avoided_while_there_is_another() {
    let all = endpoints([1, 2, 3]);
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random, hashing(None)] {
        for turn in 0..20 {
            let is_hash = matches!(balance, Balance::ConsistentHash { .. });
            let name = key(usize::try_from(turn).unwrap()).filter(|_| is_hash);
            let mut tried = Tried::default();
            for _ in &all {
                let next = balance.pick(&all, draw(turn, name, Avoid::All(&tried))).unwrap();
                assert!(!tried.has(next.id), "{balance:?}");
                tried.add(next);
            }
            assert!(balance.pick(&all, draw(turn, name, Avoid::All(&tried))).is_none(), "{balance:?}");
            // Then another than the last will do, and at last any.
            let [_, but_last, any] = tried.avoided();
            for avoid in [but_last, any] {
                assert!(!avoid.has(balance.pick(&all, draw(turn, name, avoid)).unwrap().id), "{balance:?}");
            }
        }
        assert!(balance.pick(&[], draw(0, key(0), Avoid::Nothing)).is_none());
    }
}

#[test]
fn one_after_the_other() {
    let all = endpoints([1, 2, 3]);
    let ports: Vec<u16> = (0..6).map(|turn| port(&Balance::RoundRobin, &all, turn, None)).collect();
    assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
}

/// Any build must give these: dataplanes of two versions serve side by side.
#[test]
fn every_process_agrees_on_where_keys_belong() {
    assert_eq!(of_bytes(b"alice"), 0xc5d1_556d_6677_4a5c);
    let all = endpoints(1..=5);
    let ports: Vec<u16> = (0..10).map(|name| port(&hashing(None), &all, 0, key(name))).collect();
    assert_eq!(ports, [5, 1, 5, 2, 3, 3, 4, 4, 1, 1]);
}

#[test]
fn keys_are_spread_evenly_and_only_those_of_who_goes_move() {
    let all = endpoints(1..=10);
    let before = places(&all, 10_000);
    let mut counts = BTreeMap::<u16, u32>::new();
    for port in before.values() {
        *counts.entry(*port).or_default() += 1;
    }
    // 1,000 each, and a standard deviation of 30.
    assert!(counts.values().all(|count| (800..1200).contains(count)), "{counts:?}");
    let fewer: Vec<_> = all.iter().filter(|one| one.address.port() != 7).cloned().collect();
    let mut heirs = BTreeMap::<u16, u32>::new();
    for (name, port) in places(&fewer, 10_000) {
        if before[&name] == 7 {
            *heirs.entry(port).or_default() += 1;
        } else {
            assert_eq!(before[&name], port);
        }
    }
    assert_eq!(heirs.len(), 9, "{heirs:?}");
}

#[test]
fn a_hot_key_overflows_to_its_next_endpoints() {
    let all = endpoints(1..=4);
    let held = |max_load, count| {
        let mut held: Vec<Active> = Vec::new();
        for _ in 0..count {
            held.push(hashing(max_load).pick(&all, draw(0, key(1), Avoid::Nothing)).unwrap().begin());
        }
        let mut loads: Vec<u32> = all.iter().map(|endpoint| endpoint.load()).collect();
        loads.sort_unstable();
        loads
    };
    assert_eq!(held(None, 100), [0, 0, 0, 100]);
    let loads = held(Some(125), 100);
    // Of 100 an average of 25, and so at most 32.
    assert_eq!(loads.iter().sum::<u32>(), 100);
    assert!(loads.iter().all(|load| *load <= 32), "{loads:?}");
}

#[test]
fn keys_are_taken_from_where_they_stand() {
    let mut headers = HeaderMap::new();
    headers.append("x-tenant", "a".parse().unwrap());
    headers.append("cookie", "other=1; session=a".parse().unwrap());
    let asker = |client: &str| Asker {
        client: client.parse().unwrap(),
        consumer: Some("a"),
        headers: Some(&headers),
        is_secure: false,
    };
    let one = asker("10.1.2.3");
    for key in [
        Key::Header("x-tenant".parse().unwrap()),
        Key::Cookie { name: "session".into(), made: None },
        Key::Consumer,
    ] {
        assert_eq!(key.of(&one), Some(of_bytes(b"a")), "{key:?}");
        let stream = Asker { client: one.client, consumer: None, headers: None, is_secure: false };
        assert_eq!(key.of(&stream), None);
    }
    assert_eq!(Key::Header("x-other".parse().unwrap()).of(&one), None);
    assert_eq!(Key::Cookie { name: "sessio".into(), made: None }.of(&one), None);
    let network = Key::Client { v4: 24, v6: 64 };
    assert_eq!(network.of(&one), network.of(&asker("::ffff:10.1.2.77")));
    assert_ne!(network.of(&one), network.of(&asker("10.1.3.3")));
    assert_eq!(network.of(&asker("2001:db8::1")), network.of(&asker("2001:db8::2")));
    assert_ne!(network.of(&asker("2001:db8::1")), network.of(&asker("2001:db8:0:1::1")));
}

#[test]
fn who_has_no_key_goes_where_there_is_least_to_do() {
    let all = endpoints([1, 2]);
    let _busy = all[0].begin();
    let picked = (0..50).map(|turn| port(&hashing(None), &all, turn, None)).filter(|port| *port == 2).count();
    assert!(picked > 25, "{picked}");
}

#[test]
fn a_client_without_the_cookie_gets_one_that_leads_back() {
    let made = Key::Cookie { name: "cart".into(), made: Some("Path=/".into()) };
    let mut headers = HeaderMap::new();
    let asker = |headers: &HeaderMap, is_secure| {
        made.affinity(
            &Asker { client: [10, 0, 0, 1].into(), consumer: None, headers: Some(headers), is_secure },
            || 0xab,
        )
    };
    let first = asker(&headers, true);
    let cookie = first.set_cookie.unwrap();
    assert_eq!(cookie, "cart=00000000000000ab00000000000000ab; Path=/; Secure");
    assert!(!asker(&headers, false).set_cookie.unwrap().to_str().unwrap().contains("Secure"));
    let pair = cookie.to_str().unwrap().split(';').next().unwrap().parse().unwrap();
    headers.append("cookie", pair);
    let next = asker(&headers, true);
    assert!(next.key == first.key && next.set_cookie.is_none());
}
