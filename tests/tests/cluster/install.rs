//! Installing, upgrading and uninstalling.

use std::time::{Duration, Instant};

use crate::{
    kubectl::{SYSTEM, apply, helm, install, installed, kubectl, run, within},
    shop::{HOST, ROUTE, Shop, backend, gateway, namespace},
};

fn curl(address: &str) -> Result<String, String> {
    run("curl", &["-sS", "-m", "2", "-f", "-H", &format!("Host: {HOST}"), &format!("http://{address}/")], "")
}

/// The first of all by its name: what comes later finds it installed.
#[test]
fn a_first_request_is_served_within_seconds_of_the_installation() {
    let _ = run("helm", &["uninstall", "gatehouse", "-n", SYSTEM, "--wait"], "");
    // Its Lease and its authority, too: the first installation of a cluster.
    let _ = run("kubectl", &["delete", "namespace", SYSTEM, "--timeout=60s"], "");
    namespace("first");
    apply("first", &backend("web", 1));
    kubectl(&["-n", "first", "rollout", "status", "deployment/web", "--timeout=60s"]);
    let started = Instant::now();
    install(&[]);
    eprintln!("helm install: {:?}", started.elapsed());
    // The CRDs are there when helm returns, and served some moments later.
    within(10, "the manifests are taken", || {
        run("kubectl", &["-n", "first", "apply", "-f", "-"], &format!("{}---{ROUTE}", gateway(1))).ok()
    });
    let address = within(30, "an address", || {
        let args = [
            "-n",
            "first",
            "get",
            "service",
            "edge-gatehouse",
            "-o",
            "jsonpath={.status.loadBalancer.ingress[0].ip}",
        ];
        run("kubectl", &args, "").ok().filter(|address| !address.is_empty())
    });
    within(30, "a 200", || curl(&address).ok());
    let took = started.elapsed();
    eprintln!("helm install to the first 200: {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    kubectl(&["delete", "namespace", "first", "--wait=false"]);
    helm(&["test", "gatehouse", "-n", SYSTEM]);
}

#[test]
fn uninstalling_leaves_what_users_wrote() {
    installed();
    let shop = Shop::open("kept", 1, 1);
    helm(&["uninstall", "gatehouse", "-n", SYSTEM, "--wait"]);
    let crds = kubectl(&["get", "crd", "-o", "name"]);
    for crd in
        ["gatewayroutes.gatehouse.dev", "consumers.gatehouse.dev", "gateways.gateway.networking.k8s.io"]
    {
        assert!(crds.contains(crd), "{crd} is gone: {crds}");
    }
    shop.kubectl(&["get", "gateway/edge", "gatewayroute/shop", "gatewayconfig/edge"]);
    curl(&shop.address.to_string()).expect("the dataplanes serve on");
    install(&["--wait", "--timeout", "120s"]);
    curl(&shop.address.to_string()).expect("it serves them again");
    shop.kubectl(&["annotate", "gatewayroute/shop", "x=y", "--overwrite"]);
    shop.edit("again");
    within(15, "an edit after the reinstallation", || shop.serves_edit("again"));
}
