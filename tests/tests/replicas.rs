//! What several dataplanes of one Gateway do together: the real binaries beside a pretended API server.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use gatehouse_tests::{
    backend::Backend,
    client::get,
    eventually,
    gateway::built,
    install_crypto,
    pretended::{self, Cluster, Dataplane, Endpoint, Pod},
    process::Process,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const ROUTES: &str = "gatehouse.dev/gatewayroutes";
/// One a dataplane.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 7, 1), Ipv4Addr::new(127, 0, 7, 2)];
/// Of each version, before a rollout goes on.
const NEEDED: u64 = 100;

/// Two dataplanes, and two versions of a backend. Ends when it is dropped.
struct Rig {
    cluster: Cluster,
    port: u16,
    _backends: [Backend; 2],
    _controller: Process,
    _dataplanes: Vec<Dataplane>,
    _logs: TempDir,
}

impl Rig {
    async fn start(rollout: &Value) -> Rig {
        install_crypto();
        let logs = tempfile::tempdir().unwrap();
        let binaries = built("gatehouse-controller", "gatehouse-controller");
        let cluster = Cluster::start(binaries.parent().unwrap(), logs.path()).await.unwrap();
        let (store, port) = (&cluster.store, pretended::free().unwrap());
        pretended::namespace(store, "shop");
        let backends = [Backend::echo("v1").await, Backend::echo("v2").await];
        for (name, backend) in ["v1", "v2"].into_iter().zip(&backends) {
            pretended::service(store, "shop", name);
            let SocketAddr::V4(address) = backend.address else { unreachable!("loopback") };
            let endpoint = Endpoint { pod: name.into(), address: *address.ip(), is_leaving: false };
            pretended::slice(store, "shop", name, address.port(), &[endpoint]);
        }
        store.put(
            "gateway.networking.k8s.io/gateways",
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": {"namespace": "shop", "name": "edge"},
                "spec": {"gatewayClassName": "gatehouse", "listeners": [{"name": "http", "protocol": "HTTP", "port": port}]}}),
        );
        store.put(
            ROUTES,
            json!({"apiVersion": "gatehouse.dev/v1alpha1", "kind": "GatewayRoute",
                "metadata": {"namespace": "shop", "name": "shop"},
                "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"name": "all",
                    "backendRefs": [{"name": "v1", "port": 80}], "rollout": rollout}]}}),
        );
        let controller = cluster.controller("controller").unwrap();
        let mut dataplanes = Vec::new();
        let mut pods = Vec::new();
        for (index, address) in ADDRESSES.into_iter().enumerate() {
            let name = format!("dataplane-{index}");
            let pod = Pod { name: &name, gateway: "shop/edge", address, channel: cluster.channel.port() };
            dataplanes.push(cluster.dataplane(&pod, &[]).unwrap());
            pods.push(Endpoint { pod: name, address, is_leaving: false });
        }
        pretended::slice(store, "shop", "edge-gatehouse", port, &pods);
        let rig = Rig {
            cluster,
            port,
            _backends: backends,
            _controller: controller,
            _dataplanes: dataplanes,
            _logs: logs,
        };
        for address in ADDRESSES {
            let address = SocketAddr::from((address, port));
            eventually(&format!("{address} is open"), async || {
                tokio::net::TcpStream::connect(address).await.ok()
            })
            .await;
        }
        rig
    }

    /// Which version a dataplane asks.
    async fn version(&self, dataplane: Ipv4Addr) -> String {
        let answer = get(SocketAddr::from((dataplane, self.port)), "/").send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["name"].as_str().unwrap().to_owned()
    }

    /// As it stands in the route's status.
    fn rollout(&self) -> Option<Value> {
        let route = self.cluster.store.get(ROUTES, "shop", "shop")?;
        route.pointer("/status/rollouts/0").cloned()
    }

    /// Requests that the analysis knows of.
    fn known(&self) -> u64 {
        let rollout = self.rollout().unwrap_or_default();
        ["canary", "stable"].iter().filter_map(|version| rollout[version]["requests"].as_u64()).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_judged_by_what_all_dataplanes_have_seen_together() {
    let rig = Rig::start(&json!({"canary": {
        "backendRef": {"name": "v2", "port": 80},
        "steps": [{"weight": 50, "hold": "1s"}],
        "analysis": {"interval": "1s", "minRequests": NEEDED},
    }}))
    .await;
    for dataplane in ADDRESSES {
        // A dataplane's first report is where its counts begin.
        let before = rig.known();
        eventually(&format!("what {dataplane} reports is known"), async || {
            rig.version(dataplane).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            (rig.known() > before).then_some(())
        })
        .await;
    }
    for dataplane in ADDRESSES {
        // Of one of the versions no more than this: too little, if nobody else had seen any.
        let mut seen = BTreeMap::from([("v1".to_owned(), 0), ("v2".to_owned(), 0)]);
        while seen.values().any(|count| *count < NEEDED * 6 / 10) {
            *seen.entry(rig.version(dataplane).await).or_default() += 1;
        }
    }
    let promoted = eventually(&format!("a promotion, and not {:?}", rig.rollout()), async || {
        rig.rollout().filter(|rollout| rollout["phase"] == "Promoted")
    })
    .await;
    for version in ["canary", "stable"] {
        let requests = promoted[version]["requests"].as_u64().unwrap();
        assert!(requests >= NEEDED, "{promoted}");
    }
    for dataplane in ADDRESSES {
        eventually(&format!("{dataplane} asks the new version alone"), async || {
            for _ in 0..10 {
                if rig.version(dataplane).await != "v2" {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}
