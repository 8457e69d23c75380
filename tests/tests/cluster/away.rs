//! Without its controller, and without the API server.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    thread::sleep,
    time::Duration,
};

use crate::{
    kubectl::{SYSTEM, condition, get, installed, kubectl, run, within},
    shop::{HOST, ROUTE, Shop},
    traffic::Traffic,
};

#[test]
fn a_new_pod_serves_the_last_good_state_while_the_controller_is_away() {
    installed();
    let shop = Shop::open("alone", 2, 1);
    let before =
        kubectl(&["-n", SYSTEM, "get", "deployment/gatehouse-controller", "-o", "jsonpath={.spec.replicas}"]);
    kubectl(&["-n", SYSTEM, "scale", "deployment/gatehouse-controller", "--replicas=0"]);
    within(60, "no controller", || {
        let pods = get(SYSTEM, &["pods", "-l", "app.kubernetes.io/name=gatehouse-controller"])?;
        pods["items"].as_array()?.is_empty().then_some(())
    });
    let traffic = Traffic::start(shop.address, HOST, 50);
    let pods = shop.kubectl(&[
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/name=gatehouse-dataplane",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ]);
    shop.kubectl(&["delete", "pod", &pods]);
    // The new one is ready only with a whole state, and only a sibling can have given it.
    shop.kubectl(&["rollout", "status", "deployment/edge-gatehouse", "--timeout=60s"]);
    traffic.note("a dataplane pod was replaced");
    sleep(Duration::from_secs(60));
    traffic.note("a minute without a controller");
    shop.edit("later");
    kubectl(&["-n", SYSTEM, "scale", "deployment/gatehouse-controller", &format!("--replicas={before}")]);
    within(60, "what was edited meanwhile is served, and said to be", || {
        shop.serves_edit("later")?;
        let route = get(&shop.namespace, &["gatewayroute", "shop"])?;
        let programmed = condition(&route, "/status/parents/0/conditions", "gatehouse.dev/Programmed")?;
        (programmed["status"] == "True"
            && programmed["observedGeneration"] == route["metadata"]["generation"])
            .then_some(())
    });
    traffic.stop().none_failed();
}

/// A part of the cluster itself, beside which this runs.
fn part(verb: &str, name: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/part");
    run(&script.display().to_string(), &[verb, name], "").unwrap();
}

fn restarts(namespace: &str) -> String {
    kubectl(&[
        "-n",
        namespace,
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
    ])
}

/// Kubernetes itself comes back later than we do, and the next test needs it: its controllers, its scheduler, its node,
/// whoever gives addresses, and whoever leads them to pods.
fn recovered(shop: &Shop) {
    // These wait up to a minute before they try again.
    for name in ["kube-controller-manager", "kube-proxy"] {
        part("stop", name);
        part("start", name);
    }
    shop.kubectl(&["rollout", "restart", "deployment/web"]);
    shop.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let expose = ["expose", "deployment/web", "--name=canary", "--type=LoadBalancer"];
    shop.kubectl(&[&expose[..], &["--port=80", "--target-port=3000"]].concat());
    within(120, "a new load balancer leads to pods", || {
        let service = get(&shop.namespace, &["service", "canary"])?;
        let address = service.pointer("/status/loadBalancer/ingress/0/ip")?.as_str()?.parse().ok()?;
        TcpStream::connect_timeout(&SocketAddr::new(address, 80), Duration::from_secs(1)).ok()
    });
}

#[test]
fn traffic_goes_on_while_the_api_server_is_away() {
    installed();
    let shop = Shop::open("headless", 2, 1);
    let status = || get(&shop.namespace, &["gatewayroute", "shop"]).map(|route| route["status"].clone());
    let before = (status(), restarts(SYSTEM), restarts(&shop.namespace));
    let traffic = Traffic::start(shop.address, HOST, 50);
    part("stop", "kube-apiserver");
    sleep(Duration::from_secs(60));
    part("start", "kube-apiserver");
    within(60, "the API server is back", || run("kubectl", &["get", "--raw", "/readyz"], "").ok());
    traffic.note("a minute without the API server");
    shop.edit("back");
    within(60, "an edit is served", || shop.serves_edit("back"));
    shop.apply(ROUTE);
    traffic.stop().none_failed();
    assert_eq!(before.1, restarts(SYSTEM), "controllers were restarted");
    assert_eq!(before.2, restarts(&shop.namespace), "dataplanes were restarted");
    let conditions = |status: &Option<serde_json::Value>| {
        let parents = status.as_ref()?.pointer("/parents/0/conditions")?.as_array()?.clone();
        Some(parents.iter().map(|one| format!("{} {}", one["type"], one["status"])).collect::<Vec<_>>())
    };
    let expected = conditions(&before.0);
    assert!(expected.is_some());
    within(30, "the status is what it was", || (conditions(&status()) == expected).then_some(()));
    recovered(&shop);
}
