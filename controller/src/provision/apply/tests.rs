//! Against an API server that keeps objects in memory: as much of server-side apply as matters here.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use gatehouse_crds::{Gateway, GatewayConfigSpec};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::{Applier, HANDOVER, MANAGER};
use crate::{
    provision::{Plan, PullPolicy, Settings, plan, withdrawal},
    resources::ObjectKey,
};

/// `deployments/edge-gatehouse` and the like.
type Place = String;

#[derive(Debug, Default)]
struct Server {
    objects: BTreeMap<Place, Value>,
    /// Method, place and query of each call.
    calls: Vec<(String, Place, String)>,
    /// Writes of these places are refused.
    refused: BTreeMap<Place, (u16, String)>,
}

#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<Server>>);

impl Fake {
    fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let fake = fake.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let place = head.uri.path().rsplit('/').take(2).collect::<Vec<_>>();
                let place = format!("{}/{}", place[1], place[0]);
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let query = head.uri.query().unwrap_or("").replace("%2F", "/");
                let (status, answer) = fake.answer(head.method.as_str(), place, &query, &body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(http::Response::builder().status(status).body(answer).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &str, place: Place, query: &str, body: &Value) -> (u16, Value) {
        let mut server = self.0.lock().unwrap();
        server.calls.push((method.to_owned(), place.clone(), query.to_owned()));
        if let Some((code, message)) = server.refused.get(&place).filter(|_| method != "GET") {
            return (*code, failure(*code, message));
        }
        let stored = server.objects.get(&place).cloned();
        match (method, stored) {
            ("GET", Some(object)) => (200, object),
            ("PATCH", stored) => {
                let object = applied(body, stored.as_ref(), query);
                server.objects.insert(place, object.clone());
                (200, object)
            }
            ("DELETE", Some(object)) => {
                assert_eq!(body["preconditions"]["uid"], object["metadata"]["uid"]);
                server.objects.remove(&place);
                (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            _ => (404, failure(404, "not found")),
        }
    }

    fn put(&self, place: &str, object: Value) {
        self.0.lock().unwrap().objects.insert(place.to_owned(), object);
    }

    fn get(&self, place: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(place).cloned()
    }

    fn calls(&self) -> Vec<(String, Place, String)> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn refuse(&self, place: &str, code: u16, message: &str) {
        self.0.lock().unwrap().refused.insert(place.to_owned(), (code, message.to_owned()));
    }
}

fn failure(code: u16, message: &str) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Forbidden" };
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

/// What a manager leaves out is gone, except the number of replicas that another one owns.
fn applied(body: &Value, stored: Option<&Value>, query: &str) -> Value {
    let by_handover = query.contains(HANDOVER);
    assert!(by_handover || query.contains(MANAGER), "{query}");
    assert_eq!(stored.is_some(), query.contains("force=true"), "{query}");
    let mut object = if by_handover { stored.cloned().unwrap() } else { body.clone() };
    object["metadata"]["uid"] = match stored {
        Some(stored) => {
            assert_eq!(body["metadata"]["uid"], stored["metadata"]["uid"]);
            stored["metadata"]["uid"].clone()
        }
        None => json!("new"),
    };
    if by_handover {
        object["spec"]["replicas"] = body["spec"]["replicas"].clone();
        object["metadata"]["managedFields"] = managed_by(HANDOVER);
    } else if !body["spec"]["replicas"].is_null() {
        object["metadata"]["managedFields"] = managed_by(MANAGER);
    } else if let Some(stored) = stored.filter(|stored| !stored["spec"]["replicas"].is_null()) {
        let owner = &stored["metadata"]["managedFields"];
        let is_left = *owner == managed_by(MANAGER);
        object["spec"]["replicas"] = if is_left { json!(1) } else { stored["spec"]["replicas"].clone() };
        object["metadata"]["managedFields"] = owner.clone();
    }
    object
}

fn managed_by(manager: &str) -> Value {
    json!([{"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}])
}

fn gateway(uid: &str) -> Gateway {
    serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": "shop", "uid": uid},
        "spec": {
            "gatewayClassName": "gatehouse",
            "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}],
        },
    }))
    .unwrap()
}

fn settings() -> Settings {
    Settings {
        image: "image".into(),
        pull_policy: PullPolicy::Never,
        controller_address: "https://controller.system.svc:18000".into(),
        ca_pem: "ca".into(),
    }
}

fn planned(uid: &str, config: Value) -> Plan {
    let config: GatewayConfigSpec = serde_json::from_value(config).unwrap();
    plan(&gateway(uid), Some(&config), &settings())
}

const AUTOSCALER: &str = "horizontalpodautoscalers/edge-gatehouse";
const BUDGET: &str = "poddisruptionbudgets/edge-gatehouse";
const DEPLOYMENT: &str = "deployments/edge-gatehouse";
const SERVICE: &str = "services/edge-gatehouse";

fn extras() -> Value {
    json!({"autoscaling": {"maxReplicas": 9}, "disruptionBudget": {"minAvailable": 1}})
}

#[tokio::test]
async fn what_was_applied_is_not_applied_again() {
    let fake = Fake::default();
    let mut applier = Applier::new(fake.client());
    let plan = planned("u", json!({}));
    applier.apply(&plan).await.unwrap();
    let kinds: Vec<Place> = fake.0.lock().unwrap().objects.keys().cloned().collect();
    assert_eq!(
        kinds,
        [
            "configmaps/edge-gatehouse",
            DEPLOYMENT,
            "serviceaccounts/edge-gatehouse",
            SERVICE,
            "services/edge-gatehouse-peers"
        ]
    );
    fake.calls();
    applier.apply(&plan).await.unwrap();
    assert_eq!(fake.calls(), []);

    // One object differs: one is read and written.
    applier.apply(&planned("u", json!({"service": {"type": "ClusterIP"}}))).await.unwrap();
    let calls = fake.calls();
    assert!(calls.len() == 2 && calls.iter().all(|(_, place, _)| place == SERVICE), "{calls:?}");
    assert_eq!(fake.get(SERVICE).unwrap()["spec"]["type"], "ClusterIP");

    applier.forget(plan.gateway());
    applier.apply(&plan).await.unwrap();
    assert_eq!(fake.calls().iter().filter(|(method, _, _)| method == "PATCH").count(), 5);
}

#[tokio::test]
async fn what_the_plan_no_longer_has_is_deleted() {
    let fake = Fake::default();
    Applier::new(fake.client()).apply(&planned("u", extras())).await.unwrap();
    assert!(fake.get(AUTOSCALER).is_some() && fake.get(BUDGET).is_some());
    // By another process, which remembers nothing.
    let mut successor = Applier::new(fake.client());
    successor.apply(&planned("u", json!({}))).await.unwrap();
    assert_eq!((fake.get(AUTOSCALER), fake.get(BUDGET)), (None, None));
    fake.calls();
    successor.apply(&planned("u", json!({}))).await.unwrap();
    assert_eq!(fake.calls(), []);
}

#[tokio::test]
async fn a_gateway_that_is_not_ours_any_more_keeps_nothing() {
    let fake = Fake::default();
    let plan = planned("u", extras());
    Applier::new(fake.client()).apply(&plan).await.unwrap();
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "uid": "x"}});
    fake.put("configmaps/other", other);
    let services = [(ObjectKey::new("shop", "edge-gatehouse-peers"), plan.peers.clone())].into();
    let nothing = BTreeMap::new();
    let withdrawn = |uid: &str, services| withdrawal(&gateway(uid), services, &settings());
    assert_eq!(withdrawn("u", &nothing), None, "nothing of ours stands there");
    assert_eq!(withdrawn("v", &services), None, "it is of another Gateway of that name");
    // By another process, which remembers nothing.
    fake.calls();
    Applier::new(fake.client()).apply(&withdrawn("u", &services).unwrap()).await.unwrap();
    let left: Vec<Place> = fake.0.lock().unwrap().objects.keys().cloned().collect();
    assert_eq!(left, ["configmaps/other"]);
    let last = fake.calls().pop().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str()), ("DELETE", "services/edge-gatehouse-peers"));
}

#[tokio::test]
async fn what_is_somebody_else_s_stays() {
    let labelled = json!({"app.kubernetes.io/managed-by": "gatehouse"});
    let gateway = |uid: &str| json!([{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": uid}]);
    let deployment =
        |metadata: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata});
    let name = "edge-gatehouse";
    for (standing, told) in [
        (
            deployment(json!({"name": name, "uid": "x", "labels": labelled})),
            "Deployment shop/edge-gatehouse: there is one that does not belong to this Gateway: delete it, or rename \
             the Gateway",
        ),
        (
            deployment(
                json!({"name": name, "uid": "x", "labels": labelled, "ownerReferences": gateway("before")}),
            ),
            "Deployment shop/edge-gatehouse: the one of a deleted Gateway of the same name is not gone yet",
        ),
        (
            deployment(json!({
                "name": name, "uid": "x", "labels": labelled, "ownerReferences": gateway("u"),
                "deletionTimestamp": "2026-01-01T00:00:00Z",
            })),
            "Deployment shop/edge-gatehouse: it is being deleted and will be made anew",
        ),
    ] {
        let fake = Fake::default();
        fake.put(DEPLOYMENT, standing.clone());
        let mut applier = Applier::new(fake.client());
        let plan = planned("u", json!({}));
        assert_eq!(applier.apply(&plan).await.unwrap_err(), [told]);
        assert_eq!(fake.get(DEPLOYMENT), Some(standing));
        // The others are there, and it is tried again.
        assert!(fake.get(SERVICE).is_some());
        fake.0.lock().unwrap().objects.remove(DEPLOYMENT);
        fake.calls();
        applier.apply(&plan).await.unwrap();
        assert!(fake.calls().iter().all(|(_, place, _)| place == DEPLOYMENT));
        assert!(fake.get(DEPLOYMENT).is_some());
    }
}

/// A budget that a user wrote under our name, and one that they only let the Gateway own.
#[tokio::test]
async fn nothing_is_deleted_that_is_not_ours() {
    let owners = json!([{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": "u"}]);
    for metadata in [
        json!({"name": "edge-gatehouse", "uid": "x", "labels": {"app.kubernetes.io/managed-by": "gatehouse"}}),
        json!({"name": "edge-gatehouse", "uid": "x", "ownerReferences": owners}),
    ] {
        let fake = Fake::default();
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata});
        fake.put(BUDGET, budget.clone());
        Applier::new(fake.client()).apply(&planned("u", json!({}))).await.unwrap();
        assert_eq!(fake.get(BUDGET), Some(budget));
    }
}

#[tokio::test]
async fn refusals_are_told_in_the_server_s_words() {
    let fake = Fake::default();
    let quota = "services \"edge-gatehouse\" is forbidden: exceeded quota: small";
    fake.refuse(SERVICE, 403, quota);
    let mut applier = Applier::new(fake.client());
    let plan = planned("u", json!({}));
    let told = format!("Service shop/edge-gatehouse: {quota}");
    assert_eq!(applier.apply(&plan).await.unwrap_err(), [told.as_str()]);
    assert_eq!(applier.apply(&plan).await.unwrap_err(), [told.as_str()]);
    assert!(fake.get(DEPLOYMENT).is_some());
    fake.0.lock().unwrap().refused.clear();
    applier.apply(&plan).await.unwrap();
    assert!(fake.get(SERVICE).is_some());
}

/// Between the Deployment that says 5 and the autoscaler's first word there are 5, not the API server's 1.
#[tokio::test]
async fn an_autoscaler_takes_over_the_pods_that_are_there() {
    let fake = Fake::default();
    let mut applier = Applier::new(fake.client());
    let replicas = || fake.get(DEPLOYMENT).unwrap()["spec"]["replicas"].clone();
    applier.apply(&planned("u", json!({"deployment": {"replicas": 5}}))).await.unwrap();
    assert_eq!(replicas(), 5);
    applier.apply(&planned("u", extras())).await.unwrap();
    assert_eq!(replicas(), 5);
    // Once is enough.
    fake.calls();
    applier
        .apply(&planned("u", json!({"autoscaling": {"maxReplicas": 9}, "drain": {"delay": "1s"}})))
        .await
        .unwrap();
    assert!(!fake.calls().iter().any(|(_, _, query)| query.contains(HANDOVER)));
    assert_eq!(replicas(), 5);
    // And back.
    applier.apply(&planned("u", json!({"deployment": {"replicas": 3}}))).await.unwrap();
    assert_eq!(replicas(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_holds_nobody_up() {
    let silent = tower::service_fn(|_: http::Request<Body>| {
        std::future::pending::<Result<http::Response<Body>, Infallible>>()
    });
    let mut applier = Applier::new(Client::new(silent, "default"));
    let failures = applier.apply(&planned("u", json!({}))).await.unwrap_err();
    assert_eq!(failures.len(), 7);
    assert!(failures[0].ends_with("the API server did not answer within 15 s"), "{failures:?}");
}
