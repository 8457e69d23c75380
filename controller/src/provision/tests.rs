use gatehouse_crds::{Gateway, GatewayConfigSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Service};
use serde_json::{Value, json};

use super::{Plan, PullPolicy, Settings, plan};

fn settings() -> Settings {
    Settings {
        image: "image".into(),
        pull_policy: PullPolicy::Always,
        controller_address: "https://controller.system.svc:18000".into(),
        ca_pem: "one".into(),
    }
}

fn gateway(spec: &Value) -> Gateway {
    serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": "shop", "uid": "u"},
        "spec": spec,
    }))
    .unwrap()
}

fn listening(ports: &[i32]) -> Gateway {
    let listeners: Vec<Value> = ports
        .iter()
        .map(|port| json!({"name": format!("l{port}"), "port": port, "protocol": "HTTP"}))
        .collect();
    gateway(&json!({"gatewayClassName": "gatehouse", "listeners": listeners}))
}

fn by(config: &Value) -> Plan {
    let config: GatewayConfigSpec = serde_json::from_value(config.clone()).unwrap();
    plan(&listening(&[80]), Some(&config), &settings())
}

fn template(plan: &Plan) -> &PodTemplateSpec {
    &plan.deployment.spec.as_ref().unwrap().template
}

fn pod(plan: &Plan) -> &PodSpec {
    template(plan).spec.as_ref().unwrap()
}

fn ports(service: &Service) -> Vec<i32> {
    let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
    ports.iter().map(|port| port.port).collect()
}

#[test]
fn pods_stay_when_listeners_the_ca_or_the_service_change() {
    let before = plan(&listening(&[80]), None, &settings());
    let ca = Settings { ca_pem: "two".into(), ..settings() };
    let service = by(&json!({
        "service": {"type": "ClusterIP", "annotations": {"a": "b"}},
        "disruptionBudget": {"minAvailable": 1},
        "requireAuth": true,
        "limits": {"maxConnections": 5},
    }));
    let scaled = by(&json!({"deployment": {"replicas": 7}}));
    for after in [plan(&listening(&[443, 8443]), None, &ca), service, scaled] {
        assert_ne!(after, before);
        assert_eq!(template(&after), template(&before));
    }
}

#[test]
fn pods_are_replaced_when_they_must_be() {
    let before = plan(&listening(&[80]), None, &settings());
    let image = Settings { image: "other".into(), ..settings() };
    let labels = gateway(&json!({
        "gatewayClassName": "gatehouse",
        "listeners": [],
        "infrastructure": {"labels": {"team": "shop"}},
    }));
    for after in [
        plan(&listening(&[80]), None, &image),
        plan(&labels, None, &settings()),
        by(&json!({"drain": {"delay": "1s", "timeout": "30s"}})),
        by(&json!({"deployment": {"resources": {"requests": {"cpu": 1}}}})),
    ] {
        assert_ne!(template(&after), template(&before));
    }
}

#[test]
fn everything_is_labelled_named_and_owned() {
    let plan = by(&json!({
        "autoscaling": {"maxReplicas": 3},
        "disruptionBudget": {"maxUnavailable": 1},
    }));
    let objects = plan.objects();
    let kinds: Vec<&str> = objects.iter().map(|object| object.resource.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "ServiceAccount",
            "ConfigMap",
            "Service",
            "Service",
            "Deployment",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget"
        ]
    );
    for object in objects {
        let content = object.content.unwrap();
        let metadata = &content["metadata"];
        assert_eq!(metadata["name"], object.name);
        assert_eq!(metadata["namespace"], "shop");
        for (label, value) in [
            ("app.kubernetes.io/name", "gatehouse-dataplane"),
            ("app.kubernetes.io/managed-by", "gatehouse"),
            ("gateway.networking.k8s.io/gateway-name", "edge"),
            ("gateway.networking.k8s.io/gateway-class-name", "gatehouse"),
        ] {
            assert_eq!(metadata["labels"][label], value, "{}", object.name);
        }
        assert_eq!(
            metadata["ownerReferences"],
            json!([{
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": "edge",
                "uid": "u",
                "controller": true,
            }])
        );
    }
}

/// What finds the pods must match them, or nobody does.
#[test]
fn selectors_match_the_pods() {
    let plan = by(&json!({"disruptionBudget": {"maxUnavailable": 1}}));
    let labels = template(&plan).metadata.as_ref().unwrap().labels.as_ref().unwrap();
    let spec = plan.deployment.spec.as_ref().unwrap();
    let of_service = |service: &Service| service.spec.as_ref().unwrap().selector.clone().unwrap();
    let spread = pod(&plan).topology_spread_constraints.as_ref().unwrap();
    let budget = plan.disruption_budget.as_ref().unwrap().spec.as_ref().unwrap();
    let mut selectors = vec![
        spec.selector.match_labels.clone().unwrap(),
        of_service(plan.service.as_ref().unwrap()),
        of_service(&plan.peers),
        budget.selector.as_ref().unwrap().match_labels.clone().unwrap(),
    ];
    selectors.extend(
        spread
            .iter()
            .map(|constraint| constraint.label_selector.as_ref().unwrap().match_labels.clone().unwrap()),
    );
    assert_eq!(selectors.len(), 6);
    for selector in selectors {
        assert!(selector.len() == 2 && selector.iter().all(|(name, value)| labels.get(name) == Some(value)));
    }
}

#[test]
fn the_dataplane_s_own_ports_are_never_open_to_the_world() {
    let plan = super::plan(&listening(&[18081, 443, 80, 18002, 443, 0, 70000]), None, &settings());
    assert_eq!(ports(plan.service.as_ref().unwrap()), [80, 443]);
    let none = super::plan(&listening(&[18081]), None, &settings());
    assert_eq!(none.service, None);
    assert_eq!(ports(&none.peers), [18002]);
}

#[test]
fn a_number_of_udp_and_one_of_tcp_are_two_ports() {
    let listeners = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "odd", "port": 54, "protocol": "ODD"},
    ]);
    let gateway = gateway(&json!({"gatewayClassName": "gatehouse", "listeners": listeners}));
    let service = plan(&gateway, None, &settings()).service.unwrap();
    let ports = service.spec.unwrap().ports.unwrap();
    let ports: Vec<_> =
        ports.iter().map(|port| (port.name.as_deref(), port.protocol.as_deref(), port.port)).collect();
    assert_eq!(ports, [(Some("tcp-53"), Some("TCP"), 53), (Some("udp-53"), Some("UDP"), 53)]);
}

#[test]
fn an_autoscaler_owns_the_number_of_pods() {
    let replicas = |plan: &Plan| plan.deployment.spec.as_ref().unwrap().replicas;
    assert_eq!(replicas(&by(&json!({}))), Some(super::DEFAULT_REPLICAS));
    assert_eq!(replicas(&by(&json!({"deployment": {"replicas": 0}}))), Some(0));
    let both = by(&json!({"autoscaling": {"maxReplicas": 3}, "deployment": {"replicas": 7}}));
    assert_eq!(replicas(&both), None);
}

#[test]
fn a_pod_has_the_time_for_its_drain() {
    for (drain, arguments, grace) in [
        (json!({}), ["5", "30"], 45),
        (json!({"delay": "0s", "timeout": "1h"}), ["0", "3600"], 3610),
        (json!({"delay": "1500ms", "timeout": "1m1ms"}), ["2", "61"], 73),
        (json!({"delay": "never", "timeout": "2s"}), ["5", "2"], 17),
    ] {
        let plan = by(&json!({"drain": drain}));
        let args = pod(&plan).containers[0].args.as_ref().unwrap();
        for wanted in [
            format!("--drain-delay-seconds={}", arguments[0]),
            format!("--drain-timeout-seconds={}", arguments[1]),
        ] {
            assert!(args.contains(&wanted), "{drain}: {args:?}");
        }
        assert_eq!(pod(&plan).termination_grace_period_seconds, Some(grace), "{drain}");
    }
}

/// Pod Security Standards, "Restricted", by the fields that it names.
#[test]
fn pods_keep_to_the_restricted_standard() {
    let pod = serde_json::to_value(pod(&by(&json!({})))).unwrap();
    let container = &pod["containers"][0];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    for name in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
        assert!(pod[name].is_null(), "{name}");
    }
    assert!(container["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
    for volume in pod["volumes"].as_array().unwrap() {
        let kinds: Vec<&String> = volume.as_object().unwrap().keys().filter(|name| *name != "name").collect();
        assert!(["configMap", "projected", "emptyDir"].contains(&kinds[0].as_str()), "{volume}");
    }
}

#[test]
fn pull_policies_are_read() {
    for name in ["Always", "IfNotPresent", "Never"] {
        assert_eq!(name.parse::<PullPolicy>().unwrap().as_str(), name);
    }
    let error = "always".parse::<PullPolicy>().unwrap_err();
    assert_eq!(error.to_string(), "\"always\" is no pull policy: use Always, IfNotPresent or Never");
}
