//! Many routes, few writes.

use std::{
    fmt::Write,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    kubectl::{apply, get, installed, kubectl, run, within},
    shop::Shop,
};

const ROUTES: usize = 1000;

/// Statuses that the controllers have written since they began.
fn writes() -> u64 {
    let pods =
        get("gatehouse-system", &["pods", "-l", "app.kubernetes.io/name=gatehouse-controller"]).unwrap();
    let addresses = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|pod| pod.pointer("/status/podIP")?.as_str().map(str::to_owned));
    let metrics = addresses.filter_map(|address| {
        run("curl", &["-sS", "-m", "5", &format!("http://{address}:18080/metrics")], "").ok()
    });
    metrics
        .filter_map(|text| {
            let line =
                text.lines().find(|line| line.starts_with("gatehouse_controller_status_writes_total "))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

#[test]
fn a_thousand_routes_are_counted_with_few_writes() {
    installed();
    let shop = Shop::open("many", 1, 1);
    let attached = || {
        let gateway = get(&shop.namespace, &["gateway", "edge"])?;
        gateway.pointer("/status/listeners/0/attachedRoutes")?.as_u64()
    };
    let resource_version = || {
        get(&shop.namespace, &["gateway", "edge"])
            .map(|gateway| gateway["metadata"]["resourceVersion"].clone())
    };
    let mut text = String::new();
    for number in 0..ROUTES {
        write!(
            text,
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{number}}}\nspec: {{parentRefs: [{{name: edge}}], hostnames: [h{number}.example.com], rules: [{{backendRefs: [{{name: web, port: 3000}}]}}]}}\n"
        )
        .unwrap();
    }
    // Every version of the Gateway is one write of its status: nobody else changes it.
    let watched = std::process::Command::new("kubectl")
        .args([
            "-n",
            &shop.namespace,
            "get",
            "gateway",
            "edge",
            "-w",
            "-o",
            "jsonpath={.metadata.resourceVersion}{\"\\n\"}",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let began = resource_version();
    let started = Instant::now();
    run("kubectl", &["-n", &shop.namespace, "create", "-f", "-"], &text).unwrap();
    let created = Instant::now();
    let expected = u64::try_from(ROUTES).unwrap() + 1;
    within(20, "all are counted", || (attached() == Some(expected)).then_some(()));
    let late = created.elapsed();
    eprintln!("{ROUTES} routes created in {:?}, counted {late:?} after the last", created - started);
    assert!(late < Duration::from_secs(1), "{late:?}");
    // What other tests left is on its way out, and acknowledgements come in; then nothing changes any more.
    within(120, "no namespace is being deleted", || {
        let namespaces = run("kubectl", &["get", "namespaces"], "").ok()?;
        (!namespaces.contains("Terminating")).then_some(())
    });
    let settled = within(60, "writes have ended", || {
        let before = writes();
        sleep(Duration::from_secs(5));
        (writes() == before).then_some(before)
    });
    let versions = versions(watched, &began.unwrap());
    eprintln!("{versions} writes of the Gateway's status");
    assert!(versions <= 30, "{versions} writes of the Gateway's status");
    sleep(Duration::from_secs(60));
    assert_eq!(writes(), settled, "statuses were written though nothing changed");
    let _ = kubectl(&["-n", &shop.namespace, "delete", "httproutes", "--all", "--wait=false"]);
    apply(&shop.namespace, crate::shop::ROUTE);
}

fn versions(mut watch: std::process::Child, first: &serde_json::Value) -> usize {
    use std::io::Read;
    let _ = watch.kill();
    let mut text = String::new();
    watch.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let _ = watch.wait();
    text.lines().filter(|line| Some(*line) != first.as_str()).count()
}
