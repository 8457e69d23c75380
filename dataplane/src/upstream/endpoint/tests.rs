use std::sync::Arc;

use gatehouse_proto::config::v1;

use super::{EndpointCell, Place};
use crate::upstream::outlier::Passive;

const BASE: u64 = 1_000;

fn cell(ports: &[u16]) -> EndpointCell {
    let cell = EndpointCell::default();
    replace(&cell, ports);
    cell
}

fn replace(cell: &EndpointCell, ports: &[u16]) {
    in_zones(cell, &ports.iter().map(|port| (*port, false)).collect::<Vec<_>>());
}

/// Ports, and whether they are in the own zone.
fn in_zones(cell: &EndpointCell, ports: &[(u16, bool)]) {
    let place =
        |(port, is_near): &(u16, bool)| Place { address: ([127, 0, 0, 1], *port).into(), is_near: *is_near };
    cell.replace(ports.iter().map(place).collect(), true);
}

fn passive(max_ejection_percent: u32) -> Passive {
    Passive::compile(&v1::PassiveCheck {
        consecutive_errors: 1,
        base_ejection_ms: BASE,
        max_ejection_percent,
        ..v1::PassiveCheck::default()
    })
}

/// The ports where requests go.
fn eligible(cell: &EndpointCell, now: u64) -> Vec<u16> {
    let (set, _) = cell.choice(|| now);
    set.eligible().iter().map(|endpoint| endpoint.address.port()).collect()
}

fn eject(cell: &EndpointCell, port: u16, passive: &Passive, now: u64) -> Option<u64> {
    let set = cell.load();
    let endpoint = set.all().iter().find(|endpoint| endpoint.address.port() == port).unwrap();
    cell.eject(endpoint, passive, now)
}

#[test]
fn who_stays_keeps_its_identity_and_who_returns_does_not() {
    let cell = cell(&[1, 2]);
    let before = cell.set.load_full();
    replace(&cell, &[2, 3]);
    assert!(Arc::ptr_eq(&before.all()[1], &cell.load().all()[0]));
    assert!(before.all()[0].is_gone() && !before.all()[1].is_gone());
    replace(&cell, &[1, 2]);
    assert_ne!(cell.load().all()[0].id, before.all()[0].id);
}

#[test]
fn who_is_ejected_returns_by_itself() {
    let (cell, passive) = (cell(&[1, 2, 3, 4]), passive(50));
    assert_eq!(eject(&cell, 2, &passive, 10), Some(BASE));
    assert_eq!(eject(&cell, 2, &passive, 20), None, "it is");
    assert_eq!(eject(&cell, 3, &passive, 500), Some(BASE));
    assert_eq!(eligible(&cell, 1009), [1, 4]);
    assert_eq!(eligible(&cell, 1010), [1, 2, 4]);
    assert_eq!(eligible(&cell, 1500), [1, 2, 3, 4]);
    assert_eq!(cell.standing("a".into(), 1500).ejections, 2);
}

/// However many fail, as a bad release makes them: the rest can't carry what all did.
#[test]
fn only_so_many_are_ejected_at_once() {
    for (ports, percent, wanted) in [
        (&[1, 2, 3, 4][..], 50, &[3, 4][..]),
        (&[1, 2, 3], 10, &[2, 3]),
        (&[1, 2], 99, &[2]),
        (&[1], 99, &[1]),
        // All: then each is asked.
        (&[1, 2], 100, &[1, 2]),
    ] {
        let (cell, passive) = (cell(ports), passive(percent));
        for port in ports {
            eject(&cell, *port, &passive, 10);
        }
        assert_eq!(eligible(&cell, 20), wanted, "{percent} % of {}", ports.len());
    }
}

#[test]
fn other_addresses_come_and_go_without_touching_who_is_ejected() {
    // Replacing looks at the process' own clock, which has begun just now.
    let (cell, passive) = (cell(&[1, 2, 3]), passive(50));
    let now = crate::upstream::clock::now();
    let long = Passive::compile(&v1::PassiveCheck {
        consecutive_errors: 1,
        base_ejection_ms: 3_600_000,
        max_ejection_percent: 50,
        ..v1::PassiveCheck::default()
    });
    assert!(eject(&cell, 1, &long, now).is_some());
    replace(&cell, &[1, 2, 4]);
    assert_eq!(eligible(&cell, now), [2, 4]);
    assert_eq!(eject(&cell, 2, &passive, now), None);
    // Who is left alone is asked, ejected or not.
    replace(&cell, &[1]);
    assert_eq!(eligible(&cell, now), [1]);
    replace(&cell, &[]);
    assert!(eligible(&cell, now).is_empty());
}

#[test]
fn no_more_are_under_way_than_may_be() {
    let cell = Arc::new(cell(&[1]));
    let one = Arc::clone(&cell.load().all()[0]);
    let first = one.begin_within(2).unwrap().with(cell.begin_within(1));
    let _second = one.begin_within(2).unwrap();
    assert!(one.begin_within(2).is_none() && cell.begin_within(1).is_none());
    assert!(one.begin_within(0).is_some(), "there is no bound");
    drop(first);
    assert!(
        one.begin_within(2).is_some() && cell.begin_within(1).is_some(),
        "what was refused does not count"
    );
}

/// The ports where a hundred requests go, and how many to the own zone.
fn nearest(cell: &EndpointCell, now: u64) -> (Vec<u16>, usize) {
    let (set, _) = cell.choice(|| now);
    let near = set.nearest(|| 0);
    let count = (0..100).filter(|point| std::ptr::eq(set.nearest(|| *point), near)).count();
    (near.iter().map(|endpoint| endpoint.address.port()).collect(), count)
}

#[test]
fn the_own_zone_takes_all_while_enough_of_it_is_fit() {
    let (cell, passive) = (EndpointCell::default(), passive(100));
    in_zones(
        &cell,
        &[(1, true), (2, true), (3, true), (4, true), (5, true), (6, true), (7, true), (8, false)],
    );
    assert_eq!(nearest(&cell, 0), ([1, 2, 3, 4, 5, 6, 7].into(), 100));
    for (port, rest, share) in [
        (1, &[2, 3, 4, 5, 6, 7][..], 100),
        (2, &[3, 4, 5, 6, 7], 100),
        (3, &[4, 5, 6, 7], 80),
        (4, &[5, 6, 7], 60),
        (5, &[6, 7], 40),
        (6, &[7], 20),
    ] {
        eject(&cell, port, &passive, 10);
        assert_eq!(nearest(&cell, 20), (rest.to_vec(), share));
    }
    // The last: all go elsewhere, and come back when one is back.
    eject(&cell, 7, &passive, 10);
    assert_eq!(nearest(&cell, 20), ([8].into(), 100));
    assert_eq!(nearest(&cell, 10 + BASE), ([1, 2, 3, 4, 5, 6, 7].into(), 100));
}

#[test]
fn zones_don_t_count_where_they_would_leave_nobody() {
    for ports in [&[(1, false), (2, false)][..], &[(1, true), (2, true)]] {
        let cell = EndpointCell::default();
        in_zones(&cell, ports);
        assert_eq!(nearest(&cell, 0), ([1, 2].into(), 100), "{ports:?}");
    }
    // An endpoint that stays where it is may be meant for another zone than before.
    let cell = EndpointCell::default();
    in_zones(&cell, &[(1, true), (2, false)]);
    let before = cell.load_full();
    in_zones(&cell, &[(1, false), (2, true), (2, false)]);
    assert_eq!(nearest(&cell, 0), ([2].into(), 100));
    assert!(Arc::ptr_eq(&before.all()[1], &cell.load().all()[1]));
    assert_eq!(nearest(&cell.renewed(), 0), ([2].into(), 100));
}
