use std::sync::Arc;

use gatehouse_proto::config::v1::{Ack, Batch, Held, Hello, Respond, Route, resource::Kind, route};
use prost::Message;

use super::{InFlight, PART_BYTES};
use crate::serve::{
    peer::{Delta, Peer},
    published::{Generation, Published},
};

/// One route a length of body, and so many removals of about 100 bytes.
fn delta(bodies: &[usize], removals: usize) -> Delta {
    let kind = |length: usize| {
        let respond = Respond { body: "x".repeat(length), ..Respond::default() };
        Kind::Route(Route { action: Some(route::Action::Respond(respond)), ..Route::default() })
    };
    let routes = bodies.iter().enumerate();
    let kinds = routes.map(|(index, length)| (format!("route/{index}").into(), kind(*length)));
    let gone = |index: usize| Held { name: format!("gone/{index:0>95}"), version: vec![0; 16] };
    let hello = Hello { holds: (0..removals).map(gone).collect(), ..Hello::default() };
    Peer::new(hello).delta(Arc::new(Published::after(None, kinds, Generation(1)).unwrap()))
}

fn parts(delta: Delta) -> Vec<Batch> {
    let mut batch = InFlight::new(7, delta);
    let mut parts = Vec::new();
    while !batch.sent() {
        parts.push(batch.next_part());
    }
    parts
}

#[test]
fn parts_stay_small_and_hold_everything_once() {
    // (bodies, removals, parts)
    let cases: [(&[usize], usize, usize); 6] = [
        (&[], 0, 1),
        (&[10, 20], 3, 1),
        (&[400_000; 5], 0, 3),
        (&[10, 3_000_000, 10], 0, 3),
        (&[PART_BYTES / 2; 2], 0, 2),
        (&[10], 20_000, 3),
    ];
    for (bodies, removals, count) in cases {
        let parts = parts(delta(bodies, removals));
        assert_eq!(parts.len(), count, "{} bodies, {removals} removals", bodies.len());
        assert!(parts.iter().all(|part| part.nonce == 7));
        assert!(parts.iter().all(|part| part.encoded_len() <= PART_BYTES || part.upserts.len() == 1));
        let (last, before) = parts.split_last().unwrap();
        assert!(!last.more && before.iter().all(|part| part.more));
        assert_eq!(parts.iter().map(|part| part.upserts.len()).sum::<usize>(), bodies.len());
        let names: std::collections::BTreeSet<_> = parts.iter().flat_map(|part| &part.removals).collect();
        assert_eq!(names.len(), removals);
    }
}

#[test]
fn an_ack_counts_only_after_the_last_part_and_for_its_nonce() {
    let ack = |nonce| Ack { nonce, rejected: vec![] };
    let mut batch = InFlight::new(2, delta(&[700_000; 2], 0));
    batch.next_part();
    assert!(batch.acknowledged_by(ack(2)).is_none());

    let whole = || {
        let mut batch = InFlight::new(2, delta(&[1], 0));
        batch.next_part();
        batch
    };
    assert!(whole().acknowledged_by(ack(1)).is_none());
    assert!(whole().acknowledged_by(ack(2)).is_some());
}
