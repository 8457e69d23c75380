//! What a broken channel costs: nothing, whichever side comes back.

use std::{collections::BTreeMap, time::Duration};

use crate::rig::{Dataplane, GATEWAY, Network, Wire, server, state, within};

const BEAT: Duration = Duration::from_secs(5);
const NOTHING: (Vec<(String, String)>, Vec<String>) = (vec![], vec![]);

#[tokio::test]
async fn a_reconnect_transfers_nothing() {
    let server = server();
    let network = Network::to(server.clone());
    let generation = server.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "1")]));
    let mut dataplane = Dataplane::start(&network, BEAT);
    assert_eq!(dataplane.next().await.0.len(), 2);
    let mut acks = server.acks(GATEWAY);
    within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap();

    network.cut();
    assert_eq!(dataplane.next().await, NOTHING);
    within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap();
    assert!(dataplane.status.borrow().synced, "what was applied stays in force");
}

#[tokio::test]
async fn only_what_changed_meanwhile_is_sent() {
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "1"), ("route/c", "1")]));
    let mut dataplane = Dataplane::start(&network, BEAT);
    assert_eq!(dataplane.next().await.0.len(), 3);

    let restarted = crate::rig::server();
    restarted.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "2")]));
    network.move_to(restarted);
    let upserts = vec![("route/b".to_owned(), "2".to_owned())];
    assert_eq!(dataplane.next().await, (upserts, vec!["route/c".into()]));
}

#[tokio::test]
async fn a_restarted_server_transfers_nothing_and_learns_of_rejections() {
    let content = || state(&[("route/bad", "1"), ("route/good", "1")]);
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, content());
    let mut dataplane = Dataplane::start(&network, BEAT);
    dataplane.verdict.lock().unwrap().refuse = vec!["route/bad"];
    assert_eq!(dataplane.next().await.0.len(), 2);

    let restarted = crate::rig::server();
    let mut acks = restarted.acks(GATEWAY);
    network.move_to(restarted.clone());
    // The dataplane is there before the first state is, and loses nothing by it.
    within("a dataplane", acks.wait_for(|acks| !acks.dataplanes.is_empty())).await.unwrap();
    let generation = restarted.publish(GATEWAY, content());
    assert!(!acks.borrow().acknowledged(generation));
    assert_eq!(dataplane.next().await, NOTHING);
    let seen = within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap().clone();
    assert_eq!(seen.rejection("route/bad"), Some("route/bad is bad"));
}

#[tokio::test]
async fn what_was_loaded_from_disk_is_not_sent() {
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "1")]));
    let mut wire = Wire::hello(&network, "probe", vec![]).await;
    let versions: BTreeMap<_, _> =
        wire.batch().await.upserts.into_iter().map(|upsert| (upsert.name, upsert.version)).collect();

    let holds = BTreeMap::from([
        ("route/a".to_owned(), versions["route/a"].clone()),
        ("route/b".to_owned(), b"from another release".to_vec()),
        ("route/old".to_owned(), vec![0; 16]),
    ]);
    let mut dataplane = Dataplane::start_with(&network, BEAT, holds);
    let upserts = vec![("route/b".to_owned(), "1".to_owned())];
    assert_eq!(dataplane.next().await, (upserts, vec!["route/old".into()]));
}

#[tokio::test]
async fn a_removed_gateway_leaves_its_dataplanes_as_they_are() {
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, state(&[("route/a", "1")]));
    let mut dataplane = Dataplane::start(&network, BEAT);
    assert_eq!(dataplane.next().await.0.len(), 1);

    server.remove(GATEWAY);
    network.cut();
    let mut acks = server.acks(GATEWAY);
    within("the dataplane again", acks.wait_for(|acks| !acks.dataplanes.is_empty())).await.unwrap();
    let generation = server.publish(GATEWAY, state(&[("route/a", "1")]));
    assert_eq!(dataplane.next().await, NOTHING);
    within("an ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap();
}
