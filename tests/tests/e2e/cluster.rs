//! Commands that read the objects of a cluster in place of files.

use std::{fs, path::Path, process::Output};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_tests::{gateway::binary, pretended::Api};
use serde_json::{Value, json};
use tokio::process::Command;

/// What goes by each kind that the tests speak of.
const PLURALS: [(&str, &str); 12] = [
    ("Gateway", "gateway.networking.k8s.io/gateways"),
    ("HTTPRoute", "gateway.networking.k8s.io/httproutes"),
    ("GatewayRoute", "gatehouse.dev/gatewayroutes"),
    ("Consumer", "gatehouse.dev/consumers"),
    ("Service", "/services"),
    ("Secret", "/secrets"),
    ("ConfigMap", "/configmaps"),
    ("Ingress", "networking.k8s.io/ingresses"),
    ("IngressClass", "networking.k8s.io/ingressclasses"),
    ("KongPlugin", "configuration.konghq.com/kongplugins"),
    ("KongConsumer", "configuration.konghq.com/kongconsumers"),
    ("Namespace", "/namespaces"),
];

async fn cluster(objects: &[Value]) -> Api {
    let api = Api::start().await.unwrap();
    for object in objects {
        let mut object = object.clone();
        let (_, plural) = PLURALS.iter().find(|(kind, _)| object["kind"] == *kind).unwrap();
        // Lists leave them out.
        object.as_object_mut().unwrap().retain(|name, _| name != "kind" && name != "apiVersion");
        api.store.put(plural, object);
    }
    api
}

async fn gatehouse(api: &Api, args: &[&str], folder: &Path) -> Output {
    Command::new(binary())
        .args(args)
        .current_dir(folder)
        .env("KUBECONFIG", api.kubeconfig())
        .output()
        .await
        .unwrap()
}

fn object(kind: &str, namespace: &str, name: &str, mut rest: Value) -> Value {
    rest["kind"] = kind.into();
    let metadata = &mut rest["metadata"];
    metadata["name"] = name.into();
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    metadata["managedFields"] =
        json!([{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]);
    rest
}

fn shop() -> Vec<Value> {
    let route = |namespace: &str, name: &str, service: &str| {
        let rule = json!({"matches": [{"path": {"type": "PathPrefix", "value": format!("/{name}")}}],
            "backendRefs": [{"group": "", "kind": "Service", "name": service, "port": 80, "weight": 1}]});
        let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "infra"});
        object("HTTPRoute", namespace, name, json!({"spec": {"parentRefs": [parent], "rules": [rule]}}))
    };
    vec![
        object("Namespace", "", "infra", json!({})),
        object("Namespace", "", "shop", json!({})),
        object(
            "Gateway",
            "infra",
            "edge",
            json!({"spec": {"gatewayClassName": "gatehouse", "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "All"}}},
                {"name": "https", "protocol": "HTTPS", "port": 443,
                    "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": "gone"}]},
                    "allowedRoutes": {"namespaces": {"from": "Same"}}}]}}),
        ),
        object("Service", "shop", "orders", json!({"spec": {"ports": [{"port": 80}]}})),
        route("shop", "orders", "orders"),
        route("shop", "users", "missing"),
        route("other", "alone", "missing"),
        object(
            "Consumer",
            "shop",
            "ann",
            json!({"spec": {"username": "ann", "credentials": [{"name": "k", "apiKey": {"secretRef": {"name": "ann", "key": "k"}}}]}}),
        ),
        // Nobody but who asks for it may see it.
        object("Secret", "shop", "ann", json!({"data": {"k": STANDARD.encode("anns-key")}})),
        object("Secret", "shop", "unrelated", json!({"data": {"k": STANDARD.encode("of-others")}})),
    ]
}

fn findings(output: &Output) -> Vec<String> {
    let all: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let text =
        |one: &Value| format!("{}: {}", one["code"].as_str().unwrap(), one["message"].as_str().unwrap());
    all.as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn a_cluster_is_checked_as_a_folder_is() {
    let (api, folder) = (cluster(&shop()).await, tempfile::tempdir().unwrap());
    let output = gatehouse(&api, &["check", "--cluster", "--output", "json"], folder.path()).await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = findings(&output);
    let has = |said: &[String], text: &str| said.iter().any(|one| one.contains(text));
    for wanted in [
        "no-auth: HTTPRoute shop/orders: no AuthPolicy covers rule 0",
        "HTTPRoute shop/users (on edge): ResolvedRefs=False BackendNotFound",
        "HTTPRoute other/alone (on edge): ResolvedRefs=False BackendNotFound",
        "Gateway infra/edge (listener https): ResolvedRefs=False InvalidCertificateRef",
    ] {
        assert!(has(&said, wanted), "{wanted}: {said:#?}");
    }
    // The key of the consumer is there, so nobody complains of it.
    assert!(!has(&said, "Consumer shop/ann"), "{said:#?}");
    let text = gatehouse(&api, &["check", "--cluster", "--context", "x"], folder.path()).await;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.lines().any(|line| line.starts_with("note: HTTPRoute shop/orders: ")), "{text}");

    let args = ["check", "--cluster", "-n", "shop", "-n", "infra", "--output", "json"];
    let said = findings(&gatehouse(&api, &args, folder.path()).await);
    assert!(has(&said, "HTTPRoute shop/users") && !has(&said, "HTTPRoute other/alone"), "{said:#?}");

    let args = ["explain", "GET", "http://h/orders/7", "--cluster"];
    let told = gatehouse(&api, &args, folder.path()).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("HTTPRoute shop/orders rule 0 takes it") && !told.contains(":0:"), "{told}");
}

#[tokio::test]
async fn a_folder_is_compared_with_what_the_cluster_has() {
    let (api, folder) = (cluster(&shop()).await, tempfile::tempdir().unwrap());
    for (index, mut object) in shop().into_iter().enumerate() {
        object["apiVersion"] = match object["kind"].as_str().unwrap() {
            "Gateway" | "HTTPRoute" => "gateway.networking.k8s.io/v1",
            "Consumer" => "gatehouse.dev/v1alpha1",
            _ => "v1",
        }
        .into();
        if object["metadata"]["name"] != "alone" {
            fs::write(folder.path().join(format!("{index}.yaml")), object.to_string()).unwrap();
        }
    }
    let args = ["check", "--cluster", "--diff", ".", "--output", "json"];
    let output = gatehouse(&api, &args, folder.path()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let requests: Vec<_> = told["different"].as_array().unwrap().iter().map(|one| &one["request"]).collect();
    assert!(!requests.is_empty(), "{told:#}");
    assert!(requests.iter().all(|one| one.as_str().unwrap().contains("/alone")), "{told:#}");
}

#[tokio::test]
async fn what_cannot_be_read_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let api = cluster(&[]).await;
    for (args, said) in [
        (&["check", "--cluster", "--context", "none"][..], "the cluster: "),
        (
            &["convert", "ingress-nginx", "--cluster", "-o", "out"],
            "the cluster has no Ingress of class nginx",
        ),
        (&["check"], "required"),
        (&["check", ".", "--cluster"], "cannot be used with"),
        (&["check", ".", "-n", "shop"], "cannot be used with"),
        (&["convert", "kong", "a.yml", "-o", "out", "--context", "x"], "cannot be used with"),
    ] {
        let output = gatehouse(&api, args, folder.path()).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{args:?}: {output:?}");
    }
    let unreachable = json!({"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]});
    fs::write(api.kubeconfig(), unreachable.to_string()).unwrap();
    let output = gatehouse(&api, &["check", "--cluster"], folder.path()).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("namespaces can't be read: ") && said.contains("refused"), "{said}");
}

/// Every file of a folder, in one.
fn written(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        text += &if entry.path().is_dir() {
            written(&entry.path())
        } else {
            fs::read_to_string(entry.path()).unwrap()
        };
    }
    text
}

fn ingress(name: &str, class: Option<&str>, annotations: &Value) -> Value {
    let backend = json!({"service": {"name": "shop", "port": {"name": "web"}}});
    let mut spec = json!({"rules": [{"host": format!("{name}.example.com"),
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]});
    if let Some(class) = class {
        spec["ingressClassName"] = class.into();
    }
    object("Ingress", "shop", name, json!({"metadata": {"annotations": annotations}, "spec": spec}))
}

fn class(name: &str, controller: &str) -> Value {
    object("IngressClass", "", name, json!({"spec": {"controller": controller}}))
}

#[tokio::test]
async fn ingresses_of_a_cluster_are_converted_without_their_passwords() {
    let users = "ann:$apr1$hash-of-ann\nbob:{PLAIN}bobs-long-password\n";
    let prefix = "nginx.ingress.kubernetes.io";
    let guarded = json!({format!("{prefix}/auth-type"): "basic", format!("{prefix}/auth-secret"): "users",
        format!("{prefix}/custom-headers"): "shop/fields",
        "kubectl.kubernetes.io/last-applied-configuration": "all-of-it-once-more"});
    let api = cluster(&[
        class("public", "k8s.io/ingress-nginx"),
        class("gatehouse", "gatehouse.dev/ingress-controller"),
        ingress("guarded", Some("public"), &guarded),
        ingress("before", None, &json!({"kubernetes.io/ingress.class": "nginx"})),
        ingress("ours", Some("gatehouse"), &json!({})),
        ingress("nobodys", None, &json!({})),
        object("Service", "shop", "shop", json!({"spec": {"ports": [{"name": "web", "port": 8080}]}})),
        object("Secret", "shop", "users", json!({"data": {"auth": STANDARD.encode(users)}})),
        object("ConfigMap", "shop", "fields", json!({"data": {"X-Frame-Options": "DENY"}})),
        object("ConfigMap", "infra", "ingress-nginx-controller", json!({"data": {"proxy-body-size": "7m"}})),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let args = ["convert", "ingress-nginx", "--cluster", "-o", "out", "--allow-refused"];
    let output = gatehouse(&api, &args, folder.path()).await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let all = written(&folder.path().join("out"));
    for absent in
        ["hash-of-ann", "bobs-long-password", "all-of-it-once-more", "managedFields", "ours.example.com"]
    {
        assert!(!all.contains(absent), "{absent}: {all}");
    }
    assert!(!all.contains("nobodys.example.com"), "{all}");
    let routes = fs::read_to_string(folder.path().join("out/manifests/routes.yaml")).unwrap();
    for wanted in [
        "guarded.example.com",
        "before.example.com",
        "X-Frame-Options",
        "maxRequestBodyBytes: 7340032",
        "8080",
    ] {
        assert!(routes.contains(wanted), "{wanted}: {routes}");
    }
    let report = fs::read_to_string(folder.path().join("out/REPORT.md")).unwrap();
    assert!(
        report.contains("Read: the cluster.") && report.contains("| cluster | Ingress shop/guarded |"),
        "{report}"
    );
    for user in ["ann", "bob"] {
        let todo = format!("put a new password into entry password of the Secret {user}-password");
        assert!(report.contains(&todo), "{report}");
    }
    assert!(!folder.path().join("out/manifests/secrets.yaml").exists());
}

#[tokio::test]
async fn consumers_of_a_cluster_are_converted_without_their_keys() {
    let label = |kind: &str| json!({"labels": {"konghq.com/credential": kind}});
    let api = cluster(&[
        class("kong", "ingress-controllers.konghq.com/kong"),
        ingress("api", Some("kong"), &json!({"konghq.com/plugins": "keys"})),
        object("Service", "shop", "shop", json!({"spec": {"ports": [{"name": "web", "port": 8080}]}})),
        object("KongPlugin", "shop", "keys", json!({"plugin": "key-auth"})),
        object("KongConsumer", "shop", "ann", json!({"username": "ann", "credentials": ["ann-key"]})),
        object(
            "Secret",
            "shop",
            "ann-key",
            json!({"metadata": label("key-auth"), "data": {"key": STANDARD.encode("anns-key")}}),
        ),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let args = ["convert", "kong", "--cluster", "-o", "out", "--allow-refused"];
    let output = gatehouse(&api, &args, folder.path()).await;
    assert!(folder.path().join("out/manifests").is_dir(), "{output:?}");
    let all = written(&folder.path().join("out"));
    assert!(!all.contains("anns-key") && !all.contains(&STANDARD.encode("anns-key")), "{all}");
    let report = fs::read_to_string(folder.path().join("out/REPORT.md")).unwrap();
    assert!(report.contains("put it into entry key-1 of the Secret consumer-ann"), "{report}");
    assert!(!folder.path().join("out/manifests/secrets.yaml").exists());
    let checked = gatehouse(&api, &["check", "out/manifests"], folder.path()).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("Consumer default/ann"), "the key is missing: {said}");
}
