//! No request is lost to a change.

use std::{net::SocketAddr, thread::sleep, time::Duration};

use gatehouse_tests::{certs::Authority, install_crypto};

use crate::{
    kubectl::{SYSTEM, get, install, installed, kubectl, run, within},
    shop::{HOST, Shop, address, gateway},
    traffic::Traffic,
};

fn pods(namespace: &str, label: &str) -> Vec<String> {
    let args = ["-n", namespace, "get", "pods", "-l", label, "-o", "jsonpath={.items[*].metadata.name}"];
    kubectl(&args).split_whitespace().map(str::to_owned).collect()
}

fn leader() -> Option<String> {
    let lease = get(SYSTEM, &["lease", "gatehouse-controller"])?;
    lease.pointer("/spec/holderIdentity")?.as_str().map(str::to_owned)
}

const ROUTES: usize = 50;

/// One of many beside the one that the traffic takes.
fn route(number: usize, body: &str) -> String {
    format!(
        "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {{name: r{number}}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [r{number}.example.com]
  rules: [{{respond: {{status: 200, body: {body}}}}}]
"
    )
}

/// What a route answers with.
fn said(shop: &Shop, number: usize) -> Option<String> {
    let host = format!("Host: r{number}.example.com");
    run("curl", &["-sSf", "-m", "2", "-H", &host, &format!("http://{}/", shop.address)], "").ok()
}

/// The certificate that is served.
fn served(address: SocketAddr) -> Option<String> {
    let args = ["s_client", "-connect", &address.to_string(), "-servername", HOST];
    let text = run("openssl", &args, "").ok()?;
    let begins = text.find("-----BEGIN CERTIFICATE-----")?;
    Some(text[begins..].split("-----END").next()?.to_owned())
}

#[test]
fn no_request_is_lost_to_any_change() {
    install_crypto();
    installed();
    let shop = Shop::open("changes", 3, 2);
    let rolled = |namespace: &str, name: &str| {
        let name = format!("deployment/{name}");
        kubectl(&["-n", namespace, "rollout", "status", &name, "--timeout=120s"]);
    };
    let authority = Authority::default();
    let certificate = || authority.issue(&[HOST]).secret("certificate");
    shop.apply(&certificate());
    let https = "{name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: certificate}]}}";
    shop.apply(&gateway(3).replace("listeners: [", &format!("listeners: [{https}, ")));
    let tls = address(&shop.namespace, "edge", 443);
    shop.apply(&(0..ROUTES).map(|number| route(number, "before")).collect::<Vec<_>>().join("---"));
    within(30, "the last route", || said(&shop, ROUTES - 1).filter(|body| body == "before"));
    let traffic = Traffic::start(shop.address, HOST, 200);
    let encrypted = Traffic::encrypted(tls, HOST, 20, authority.root.clone());
    sleep(Duration::from_secs(2));

    let first = leader().expect("somebody leads");
    // No grace: the process is killed.
    kubectl(&["-n", SYSTEM, "delete", "pod", &first, "--grace-period=0", "--force"]);
    within(40, "another leader", || leader().filter(|name| *name != first));
    rolled(SYSTEM, "gatehouse-controller");
    traffic.note("the leading controller was killed");

    let second = leader().expect("somebody leads");
    kubectl(&["-n", SYSTEM, "delete", "pod", &second, "--wait=false"]);
    within(40, "another leader", || leader().filter(|name| *name != second));
    rolled(SYSTEM, "gatehouse-controller");
    traffic.note("the leader changed");

    let dataplanes = pods(&shop.namespace, "app.kubernetes.io/name=gatehouse-dataplane");
    assert_eq!(dataplanes.len(), 3, "{dataplanes:?}");
    shop.kubectl(&["delete", "pod", &dataplanes[0]]);
    rolled(&shop.namespace, "edge-gatehouse");
    traffic.note("a dataplane pod was deleted");

    shop.kubectl(&["rollout", "restart", "deployment/edge-gatehouse"]);
    rolled(&shop.namespace, "edge-gatehouse");
    traffic.note("the dataplanes were rolled");

    install(&["--set", "log=gatehouse_controller=debug", "--wait", "--timeout", "120s"]);
    traffic.note("the chart was upgraded");

    let before = served(tls);
    shop.apply(&certificate());
    within(30, "the renewed certificate is served", || (served(tls)? != *before.as_ref()?).then_some(()));
    traffic.note("the certificate was renewed");

    for number in 0..50 {
        shop.edit(&number.to_string());
    }
    within(10, "the last edit is served", || shop.serves_edit("49"));
    traffic.note("a route was edited 50 times");

    for number in 0..ROUTES {
        shop.apply(&route(number, "after"));
    }
    for number in 0..ROUTES {
        within(10, &format!("edit of route {number}"), || said(&shop, number).filter(|body| body == "after"));
    }
    traffic.note("50 routes were edited");

    shop.kubectl(&["rollout", "restart", "deployment/web"]);
    rolled(&shop.namespace, "web");
    sleep(Duration::from_secs(6));
    traffic.note("the backends were rolled");
    encrypted.stop().none_failed();
    traffic.stop().none_failed();
}
