//! A folder that is edited by people: what is half done, undone and done again.

use std::net::SocketAddr;

use gatehouse_tests::{
    backend::Backend,
    client::get,
    eventually,
    gateway::{EDGE, Gateway},
};

use crate::{route, to_echo};

async fn answers(address: SocketAddr, path: &str, status: u16) {
    eventually(&format!("{path} answers {status}"), async || {
        (get(address, path).send().await.status == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broken_edit_leaves_what_was_served() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    for (broken, said) in [
        ("kind: [", "routes.yaml:1: "),
        ("", "routes.yaml: is empty: remove it to remove what it held"),
        (
            &route("- backendRefs: [{name: echo, port: eighty}]"),
            "routes.yaml:8: GatewayRoute default/r: spec.rules[0].backendRefs[0].port: ",
        ),
    ] {
        gateway.write("routes.yaml", broken);
        gateway.said(said).await;
        // Whatever is read after it has been dealt with it too.
        gateway.write(
            "other.yaml",
            &route("- matches: [{path: {value: /other}}]\n  respond: {status: 204}")
                .replace("{name: r}", "{name: other}"),
        );
        answers(gateway.http(), "/other", 204).await;
        assert_eq!(get(gateway.http(), "/").send().await.status, 200, "{broken}");
        gateway.remove("other.yaml");
        answers(gateway.http(), "/other", 200).await;
    }
    gateway.write("routes.yaml", &route("- respond: {status: 204}"));
    answers(gateway.http(), "/", 204).await;
    gateway.remove("routes.yaml");
    answers(gateway.http(), "/", 404).await;
}

#[tokio::test]
async fn the_last_gateway_may_go_and_come_back() {
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", route("- respond: {status: 204}"))
        .start()
        .await;
    answers(gateway.http(), "/", 204).await;
    gateway.remove("edge.yaml");
    gateway.said("read again, serving 0 routes").await;
    eventually("its port is closed", async || tokio::net::TcpStream::connect(gateway.http()).await.err())
        .await;
    gateway.write("edge.yaml", EDGE);
    let again = eventually("it is served again", async || gateway.serving().get(1).cloned()).await;
    let address = again["listeners"]["http"].as_str().unwrap().parse().unwrap();
    answers(address, "/", 204).await;
}

#[tokio::test]
async fn a_policy_that_is_missing_closes_what_it_protects_until_it_is_there() {
    let limited = "- rateLimits: [{name: few}]\n  respond: {status: 204}";
    let policy = "apiVersion: gatehouse.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: few}\nspec:\n  limits:\n  \
                  - {name: all, requests: 1000, per: 1m}\n";
    let gateway =
        Gateway::builder().file("edge.yaml", EDGE).file("routes.yaml", route(limited)).start().await;
    answers(gateway.http(), "/", 503).await;
    gateway.write("policy.yaml", policy);
    answers(gateway.http(), "/", 204).await;
    gateway.remove("policy.yaml");
    answers(gateway.http(), "/", 503).await;
    assert!(gateway.errors().iter().all(|line| !line.contains("Rejected")), "{:?}", gateway.errors());
}

#[tokio::test]
async fn a_port_that_is_taken_later_is_told_and_the_others_go_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let edge = EDGE.replace("8080", &free.to_string());
    let gateway = Gateway::builder()
        .file("edge.yaml", edge.clone())
        .file("routes.yaml", route("- respond: {status: 204}"))
        .own_ports()
        .start()
        .await;
    let taken = taken.local_addr().unwrap();
    gateway
        .write("edge.yaml", &format!("{edge}  - {{name: more, protocol: HTTP, port: {}}}\n", taken.port()));
    let said = gateway.said(&format!("can't listen on {taken}")).await;
    assert!(said.contains("edge.yaml:2: Gateway default/edge: Programmed=False"), "{said}");
    answers(gateway.http(), "/", 204).await;
}
