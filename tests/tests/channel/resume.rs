//! What a broken channel costs: nothing, whichever side comes back.

use std::{collections::BTreeMap, future::ready, time::Duration};

use gatehouse_dataplane::discover::{Recovered, Source};
use gatehouse_proto::config::v1::Resource;
use prost::Message;

use crate::rig::{Dataplane, GATEWAY, Network, Wire, route, server, state, upserts, within};

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

fn recovered(resources: Vec<Resource>, exact: bool) -> Recovered {
    let resources = resources.into_iter().map(|resource| resource.encode_to_vec().into()).collect();
    Recovered { source: Source::Disk, resources, exact, age: Duration::from_secs(60) }
}

fn resource(name: &str, version: &[u8], body: &str) -> Resource {
    Resource { name: name.into(), version: version.to_vec(), kind: Some(route(body)) }
}

/// The versions that a server gives its resources.
async fn versions(network: &Network) -> BTreeMap<String, Vec<u8>> {
    let mut wire = Wire::hello(network, "probe", vec![]).await;
    upserts(wire.batch().await).into_iter().map(|upsert| (upsert.name, upsert.version)).collect()
}

#[tokio::test]
async fn what_was_loaded_from_disk_is_not_sent() {
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "1")]));
    let versions = versions(&network).await;
    let disk = || {
        vec![
            resource("route/a", &versions["route/a"], "1"),
            resource("route/b", b"from another release", "0"),
            resource("route/old", &[0; 16], "0"),
        ]
    };
    for exact in [true, false] {
        // Nothing is published to this one, until it matters.
        let silent = crate::rig::server();
        let network = Network::to(silent.clone());
        let mut dataplane = Dataplane::start_with(&network, BEAT, ready(recovered(disk(), exact)));
        assert_eq!(dataplane.next().await.0.len(), 3, "a whole state comes from disk");
        let status =
            within("the state", dataplane.status.wait_for(|status| status.synced)).await.unwrap().clone();
        assert_eq!(status.source, Some(Source::Disk));
        assert!(status.confirmed.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)));

        silent.publish(GATEWAY, state(&[("route/a", "1"), ("route/b", "1")]));
        let mut upserts = vec![("route/b".to_owned(), "1".to_owned())];
        if !exact {
            upserts.insert(0, ("route/a".to_owned(), "1".to_owned()));
        }
        assert_eq!(dataplane.next().await, (upserts, vec!["route/old".into()]), "exact: {exact}");
    }
}

#[tokio::test]
async fn a_state_from_elsewhere_gives_way_to_the_controllers() {
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, state(&[("route/a", "1")]));
    let (give, given) = tokio::sync::oneshot::channel();
    let recovery = async move { given.await.unwrap_or_else(|_| recovered(vec![], true)) };
    let mut dataplane = Dataplane::start_with(&network, BEAT, recovery);
    assert_eq!(dataplane.next().await.0.len(), 1);
    let status =
        within("the state", dataplane.status.wait_for(|status| status.synced)).await.unwrap().clone();
    assert_eq!(status.source, Some(Source::Controller));

    let _ = give.send(recovered(vec![resource("route/old", &[0; 16], "0")], true));
    server.publish(GATEWAY, state(&[("route/a", "2")]));
    loop {
        let (upserts, removals) = dataplane.next().await;
        assert!(removals.is_empty() && upserts.iter().all(|(name, _)| name == "route/a"), "{upserts:?}");
        if !upserts.is_empty() {
            break;
        }
    }
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
