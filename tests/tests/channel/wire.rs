//! What the server does with clients that misbehave, and what it puts on the wire.

use std::{collections::BTreeMap, time::Duration};

use gatehouse_controller::serve::{ConfigServer, Options};
use gatehouse_proto::config::v1::{
    Ack, Heartbeat, client_message::Kind as FromClient, server_message::Kind as FromServer,
};
use prost::Message;
use tonic::Code;

use crate::rig::{GATEWAY, Network, Wire, hello, route, server, state, upserts, within};

/// For tests that wait for silence.
const BEAT: Duration = Duration::from_millis(50);

fn impatient() -> ConfigServer {
    ConfigServer::new(Options {
        heartbeat: BEAT,
        ack_deadline: Duration::from_millis(300),
        guarded: false,
        ..Options::default()
    })
}

#[tokio::test]
async fn one_edit_in_a_large_state_is_one_small_message() {
    let server = server();
    let network = Network::to(server.clone());
    let mut large: BTreeMap<_, _> =
        (0..5_000).map(|index| (format!("route/shop/{index}"), route(&format!("body {index}")))).collect();
    server.publish(GATEWAY, large.clone());
    let mut wire = Wire::hello(&network, "node-1", vec![]).await;
    let first = wire.batch().await;
    assert_eq!(first.upserts.len(), 5_000);
    wire.ack(first.nonce).await;

    large.insert("route/shop/77".into(), route("edited"));
    server.publish(GATEWAY, large);
    let second = wire.batch().await;
    assert_eq!(second.upserts.len(), 1);
    assert!(second.removals.is_empty() && !second.more);
    assert!(second.encoded_len() <= 2_000, "{} bytes", second.encoded_len());
    assert!(second.nonce > first.nonce);
    assert_eq!(upserts(second)[0].name, "route/shop/77");
}

#[tokio::test]
async fn parts_of_a_large_state_say_that_more_follow() {
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, (0..5).map(|index| (format!("route/{index}"), route(&"x".repeat(600_000)))));
    let mut wire = Wire::hello(&network, "node-1", vec![]).await;
    let mut parts = vec![wire.batch().await];
    while parts.last().unwrap().more {
        parts.push(wire.batch().await);
    }
    assert_eq!(parts.len(), 5);
    assert!(parts.iter().all(|part| part.nonce == parts[0].nonce && part.encoded_len() < 1 << 20));
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_publication() {
    let server = impatient();
    let network = Network::to(server.clone());
    let mut wire = Wire::hello(&network, "node-1", vec![]).await;
    let _alive = wire.beating(BEAT);
    for _ in 0..3 {
        assert_eq!(wire.message().await.unwrap(), FromServer::Heartbeat(Heartbeat {}));
    }
    server.publish(GATEWAY, state(&[("route/a", "1")]));
    assert_eq!(wire.batch().await.upserts.len(), 1);
}

#[tokio::test]
async fn a_stream_opens_with_a_proper_hello() {
    let network = Network::to(server());
    let long = "x".repeat(600);
    let cases = [
        ("no hello", FromClient::Heartbeat(Heartbeat {})),
        ("an ack", FromClient::Ack(Ack::default())),
        ("no node", FromClient::Hello(hello("", GATEWAY, vec![]))),
        ("a long node", FromClient::Hello(hello(&long, GATEWAY, vec![]))),
        ("no gateway", FromClient::Hello(hello("node-1", "", vec![]))),
        ("no namespace", FromClient::Hello(hello("node-1", "edge", vec![]))),
        ("an empty name", FromClient::Hello(hello("node-1", "shop/", vec![]))),
        ("three parts", FromClient::Hello(hello("node-1", "shop/edge/more", vec![]))),
    ];
    for (what, first) in cases {
        let refused = Wire::open(&network, first).await.err().unwrap_or_else(|| panic!("{what} was let in"));
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_the_order_is_dropped() {
    let server = server();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, state(&[("route/a", "1")]));
    let cases = [
        ("a second hello", FromClient::Hello(hello("node-1", GATEWAY, vec![]))),
        ("an ack of another nonce", FromClient::Ack(Ack { nonce: 99, rejected: vec![] })),
    ];
    for (what, message) in cases {
        let mut wire = Wire::hello(&network, "node-1", vec![]).await;
        wire.batch().await;
        wire.say(message).await;
        assert_eq!(wire.end().await.code(), Code::InvalidArgument, "{what}");
    }
    let mut wire = Wire::hello(&network, "node-1", vec![]).await;
    let nonce = wire.batch().await.nonce;
    wire.ack(nonce).await;
    wire.ack(nonce).await;
    assert_eq!(wire.end().await.code(), Code::InvalidArgument, "an ack twice");
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_forgotten() {
    let server = impatient();
    let network = Network::to(server.clone());
    let mut acks = server.acks(GATEWAY);
    let mut wire = Wire::hello(&network, "node-1", vec![]).await;
    assert!(acks.borrow_and_update().dataplanes.contains_key("node-1"));
    assert_eq!(wire.end().await.code(), Code::DeadlineExceeded);
    within("it to be forgotten", acks.wait_for(|acks| acks.dataplanes.is_empty())).await.unwrap();
}

#[tokio::test]
async fn a_client_that_never_acknowledges_is_dropped() {
    let server = impatient();
    let network = Network::to(server.clone());
    server.publish(GATEWAY, state(&[("route/a", "1")]));
    let mut wire = Wire::hello(&network, "node-1", vec![]).await;
    let _alive = wire.beating(BEAT);
    let end = wire.end().await;
    assert_eq!(end.code(), Code::DeadlineExceeded);
    assert!(end.message().contains("acknowledged"), "{end}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let server = impatient();
    let network = Network::to(server.clone());
    let mut acks = server.acks(GATEWAY);
    let large = (0..30).map(|index| (format!("route/{index}"), route(&"x".repeat(900_000))));
    server.publish(GATEWAY, large);
    let wire = Wire::hello(&network, "node-1", vec![]).await;
    let _alive = wire.beating(BEAT);
    within("it to come", acks.wait_for(|acks| !acks.dataplanes.is_empty())).await.unwrap();
    within("it to be dropped", acks.wait_for(|acks| acks.dataplanes.is_empty())).await.unwrap();
}

#[tokio::test]
async fn a_connected_dataplane_counts_before_it_acknowledges_anything() {
    let server = server();
    let network = Network::to(server.clone());
    let generation = server.publish(GATEWAY, state(&[("route/a", "1")]));
    let mut acks = server.acks(GATEWAY);
    assert!(!acks.borrow().acknowledged(generation), "nobody is there");
    let mut one = Wire::hello(&network, "node-1", vec![]).await;
    let mut two = Wire::hello(&network, "node-2", vec![]).await;
    let nonce = one.batch().await.nonce;
    one.ack(nonce).await;
    within("one ack", acks.wait_for(|acks| acks.dataplanes["node-1"].generation == Some(generation)))
        .await
        .unwrap();
    assert!(!acks.borrow().acknowledged(generation));
    let nonce = two.batch().await.nonce;
    two.ack(nonce).await;
    within("both acks", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap();
}

#[tokio::test]
async fn a_former_stream_does_not_speak_for_a_dataplane_that_came_back() {
    let server = server();
    let network = Network::to(server.clone());
    let generation = server.publish(GATEWAY, state(&[("route/a", "1")]));
    let mut acks = server.acks(GATEWAY);
    let mut former = Wire::hello(&network, "node-1", vec![]).await;
    let nonce = former.batch().await.nonce;
    let mut present = Wire::hello(&network, "node-1", vec![]).await;
    let present_nonce = present.batch().await.nonce;
    former.ack(nonce).await;
    // It is answered, so the ack was read.
    server.publish(GATEWAY, state(&[("route/a", "2")]));
    assert_eq!(former.batch().await.upserts.len(), 1);
    assert_eq!(acks.borrow().dataplanes["node-1"].generation, None);
    drop(former);
    present.ack(present_nonce).await;
    within("its own ack", acks.wait_for(|acks| acks.acknowledged(generation))).await.unwrap();
}

#[tokio::test]
async fn a_gateway_takes_so_many_streams() {
    let server = ConfigServer::new(Options { max_streams: 2, guarded: false, ..Options::default() });
    let network = Network::to(server.clone());
    let one = Wire::hello(&network, "node-1", vec![]).await;
    let _two = Wire::hello(&network, "node-2", vec![]).await;
    let third = || Wire::open(&network, FromClient::Hello(hello("node-3", GATEWAY, vec![])));
    assert_eq!(third().await.err().unwrap().code(), Code::ResourceExhausted);

    let mut acks = server.acks(GATEWAY);
    drop(one);
    within("a seat", acks.wait_for(|acks| acks.dataplanes.len() == 1)).await.unwrap();
    within("admission", async { while third().await.is_err() {} }).await;
}
