//! State reaches a dataplane, and what it says comes back.

use std::{collections::BTreeMap, time::Duration};

use gatehouse_controller::serve;

use crate::rig::{Dataplane, GATEWAY, Network, route, server, state, within};

const BEAT: Duration = Duration::from_secs(5);

fn pair(name: &str, body: &str) -> (String, String) {
    (name.into(), body.into())
}

#[tokio::test]
async fn the_first_state_is_applied_whole_though_it_comes_in_parts() {
    let server = server();
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    let mut large: BTreeMap<_, _> =
        (0..8).map(|index| (format!("route/{index}"), route(&"x".repeat(600_000)))).collect();
    large.insert("route/last".into(), route("small"));
    let generation = server.publish(GATEWAY, large);

    let (upserts, removals) = dataplane.next().await;
    assert_eq!((upserts.len(), removals.len()), (9, 0));
    within("synced", dataplane.status.wait_for(|status| status.synced && status.connected)).await.unwrap();
    let mut acks = server.acks(GATEWAY);
    let acks = within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap().clone();
    assert_eq!(acks.dataplanes["node-1"].rejected, BTreeMap::new());
    assert!(!acks.dataplanes["node-1"].build.is_empty());
    assert!(dataplane.applied.try_recv().is_err(), "it was one batch");
    assert!(dataplane.status.borrow().last_message.is_some());
}

#[tokio::test]
async fn an_empty_state_is_a_state() {
    let server = server();
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    let generation = server.publish(GATEWAY, state(&[]));
    assert_eq!(dataplane.next().await, (vec![], vec![]));
    within("synced", dataplane.status.wait_for(|status| status.synced)).await.unwrap();
    within("an ack", server.acks(GATEWAY).wait_for(|acks| acks.acknowledged(generation))).await.unwrap();
}

#[tokio::test]
async fn changes_and_removals_come_alone() {
    let server = server();
    server.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "1"), ("route/c", "1")]));
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    assert_eq!(dataplane.next().await.0.len(), 3);
    server.publish(GATEWAY, state(&[("route/a", "2"), ("route/b", "1")]));
    assert_eq!(dataplane.next().await, (vec![pair("route/a", "2")], vec!["route/c".into()]));
}

#[tokio::test]
async fn publishing_the_same_again_is_no_change() {
    let server = server();
    let first = server.publish(GATEWAY, state(&[("route/a", "1")]));
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    dataplane.next().await;
    assert_eq!(server.publish(GATEWAY, state(&[("route/a", "1")])), first);
    let second = server.publish(GATEWAY, state(&[("route/a", "2")]));
    assert!(second > first);
    assert_eq!(dataplane.next().await.0, [pair("route/a", "2")]);
}

#[tokio::test]
async fn what_changes_while_a_batch_is_applied_is_one_next_batch() {
    let server = server();
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    let gate = dataplane.gate.clone();
    let held = gate.lock().await;
    server.publish(GATEWAY, state(&[("route/a", "1")]));
    assert_eq!(dataplane.next().await.0, [pair("route/a", "1")]);

    let mut newest = None;
    for body in ["2", "3", "4"] {
        newest = Some(server.publish(GATEWAY, state(&[("route/a", body), ("route/b", body)])));
        tokio::task::yield_now().await;
    }
    assert!(!server.acks(GATEWAY).borrow().acknowledged(newest.unwrap()));
    drop(held);
    assert_eq!(dataplane.next().await.0, [pair("route/a", "4"), pair("route/b", "4")]);
    within("an ack", server.acks(GATEWAY).wait_for(|acks| acks.acknowledged(newest.unwrap()))).await.unwrap();
    assert!(dataplane.applied.try_recv().is_err());
}

#[tokio::test]
async fn a_rejection_is_reported_and_heals_with_new_content() {
    let server = server();
    let mut acks = server.acks(GATEWAY);
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    dataplane.verdict.lock().unwrap().refuse = vec!["route/bad"];
    let generation = server.publish(GATEWAY, state(&[("route/bad", "1"), ("route/good", "1")]));
    let seen = within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap().clone();
    assert_eq!(seen.rejection("route/bad"), Some("route/bad is bad"));
    assert_eq!(seen.rejection("route/good"), None);
    dataplane.next().await;

    let generation = server.publish(GATEWAY, state(&[("route/bad", "1"), ("route/good", "2")]));
    assert_eq!(dataplane.next().await.0, [pair("route/good", "2")], "the same content is not sent again");
    let seen = within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap().clone();
    assert_eq!(seen.rejection("route/bad"), Some("route/bad is bad"));

    dataplane.verdict.lock().unwrap().refuse.clear();
    let generation = server.publish(GATEWAY, state(&[("route/bad", "2"), ("route/good", "2")]));
    assert_eq!(dataplane.next().await.0, [pair("route/bad", "2")]);
    let seen = within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap().clone();
    assert_eq!(seen.rejection("route/bad"), None);
}

#[tokio::test]
async fn what_is_unfit_heals_when_something_else_changes() {
    let server = server();
    let mut acks = server.acks(GATEWAY);
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    dataplane.verdict.lock().unwrap().unfit = vec!["route/b"];
    let generation = server.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "1")]));
    dataplane.next().await;
    let seen = within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap().clone();
    assert_eq!(seen.rejection("route/b"), Some("route/b is bad"));

    dataplane.verdict.lock().unwrap().unfit.clear();
    let generation = server.publish(GATEWAY, state(&[("route/b", "1")]));
    assert_eq!(dataplane.next().await, (vec![], vec!["route/a".into()]));
    let seen = within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap().clone();
    assert_eq!(seen.rejection("route/b"), None);
}

#[tokio::test]
async fn a_resource_too_large_for_the_channel_is_reported_and_the_rest_arrives() {
    let server = server();
    let mut dataplane = Dataplane::start(&Network::to(server.clone()), BEAT);
    server.publish(GATEWAY, state(&[("route/a", &"x".repeat(9 << 20)), ("route/b", "1")]));
    assert_eq!(dataplane.next().await.0, [pair("route/b", "1")]);
    let acks = server.acks(GATEWAY);
    assert!(acks.borrow().rejection("route/a").unwrap().contains("split the object"));
}

#[tokio::test]
async fn beats_go_on_while_a_batch_takes_its_time() {
    let beat = Duration::from_millis(50);
    let server = serve::ConfigServer::new(serve::Options {
        heartbeat: beat,
        guarded: false,
        ..serve::Options::default()
    });
    let network = Network::to(server.clone());
    let mut dataplane = Dataplane::start(&network, beat);
    let gate = dataplane.gate.clone();
    let held = gate.lock().await;
    let generation = server.publish(GATEWAY, state(&[("route/a", "1")]));
    dataplane.next().await;
    // Far longer than silence may last.
    tokio::time::sleep(10 * beat).await;
    drop(held);
    within("an ack", server.acks(GATEWAY).wait_for(|acks| acks.acknowledged(generation))).await.unwrap();
    assert_eq!(network.opened(), 1, "the channel held");
}
