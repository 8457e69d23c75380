//! The pod template of a Gateway's Deployment.
//!
//! Whatever is in it replaces every pod when it changes. So neither listeners nor the text of the CA are.
//! The pod keeps to the restricted Pod Security Standard and never talks to the API server.

use gatehouse_crds::{
    DeploymentConfig, Drain, GatewayConfigSpec, Quantities, ResourcesConfig, parse_duration,
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, LocalObjectReference,
        ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
        SeccompProfile, SecurityContext, Sysctl, TopologySpreadConstraint,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{ADMIN_PORT, PEERS_PORT, Settings, identity::Identity, names};

mod volumes;

/// The user of the image.
const USER: i64 = 65532;
/// Seconds that a pod has after its drain, to write logs and spans that are left and to exit.
const EXIT_SECONDS: u64 = 10;

pub(super) fn template(
    identity: &Identity,
    config: &GatewayConfigSpec,
    settings: &Settings,
) -> PodTemplateSpec {
    let defaults = DeploymentConfig::default();
    let deployment = config.deployment.as_ref().unwrap_or(&defaults);
    let drain = DrainSeconds::of(&config.drain.clone().unwrap_or_default());
    let secrets = deployment.image_pull_secrets.iter();
    let spec = PodSpec {
        service_account_name: Some(identity.name().to_owned()),
        automount_service_account_token: Some(false),
        // Services of the namespace are no business of the dataplane's environment.
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        containers: vec![container(identity, deployment, &drain, settings)],
        volumes: Some(volumes::volumes(identity)),
        termination_grace_period_seconds: i64::try_from(drain.delay + drain.timeout + EXIT_SECONDS).ok(),
        topology_spread_constraints: Some(
            ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| spread(identity, key)).into(),
        ),
        node_selector: Some(deployment.node_selector.clone()).filter(|labels| !labels.is_empty()),
        tolerations: Some(deployment.tolerations.clone()).filter(|tolerations| !tolerations.is_empty()),
        affinity: deployment.affinity.clone(),
        priority_class_name: deployment.priority_class_name.clone(),
        image_pull_secrets: Some(
            secrets.map(|secret| LocalObjectReference { name: secret.name.clone() }).collect(),
        )
        .filter(|secrets: &Vec<_>| !secrets.is_empty()),
        ..PodSpec::default()
    };
    PodTemplateSpec { metadata: Some(identity.pod_metadata()), spec: Some(spec) }
}

fn container(
    identity: &Identity,
    config: &DeploymentConfig,
    drain: &DrainSeconds,
    settings: &Settings,
) -> Container {
    let (namespace, gateway) = (&identity.gateway.namespace, &identity.gateway.name);
    let port = |name: &str, number| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        name: "dataplane".to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.pull_policy.as_str().to_owned()),
        args: Some(vec![
            format!("--gateway={namespace}/{gateway}"),
            format!("--controller={}", settings.controller_address),
            format!("--ca={}/ca.crt", volumes::CA),
            format!("--token={}/token", volumes::TOKEN),
            format!("--state-dir={}", volumes::STATE),
            format!("--siblings={}:{PEERS_PORT}", names::peers_host(&identity.gateway)),
            format!("--drain-delay-seconds={}", drain.delay),
            format!("--drain-timeout-seconds={}", drain.timeout),
        ]),
        env: Some(vec![
            of_pod("GATEHOUSE_NODE", "metadata.name"),
            // That of its node, which Kubernetes writes on every pod since 1.35 (KEP-4742). Empty where nobody does.
            of_pod("GATEHOUSE_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
        ]),
        ports: Some(vec![port("admin", ADMIN_PORT), port("peers", PEERS_PORT)]),
        // A new pod is in use a second after it is ready. One slow answer takes no pod away: a drain needs no probe,
        // because a pod that is being deleted is taken out at once.
        readiness_probe: Some(probe("/readyz", 1, 3)),
        // Only a process that answered nothing for a minute is started anew.
        liveness_probe: Some(probe("/livez", 10, 6)),
        resources: Some(resources(config.resources.as_ref())),
        security_context: Some(container_security()),
        volume_mounts: Some(volumes::mounts()),
        ..Container::default()
    }
}

fn of_pod(name: &str, field_path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: field_path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5.min(period * 2)),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        // Listeners on 80 and 443 without a capability. It is one of Kubernetes' safe sysctls.
        sysctls: Some(vec![Sysctl {
            name: "net.ipv4.ip_unprivileged_port_start".to_owned(),
            value: "0".to_owned(),
        }]),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

fn spread(identity: &Identity, topology_key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(identity.label_selector()),
        // Pods of the revision that a rollout takes away don't count.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}

fn resources(config: Option<&ResourcesConfig>) -> ResourceRequirements {
    let Some(config) = config else {
        let requests = [("cpu", "100m"), ("memory", "256Mi")];
        let requests = requests.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
        return ResourceRequirements { requests: Some(requests.into()), ..ResourceRequirements::default() };
    };
    let amounts = |amounts: &Quantities| {
        let quantities = amounts.iter().map(|(name, amount)| (name.clone(), quantity(amount)));
        (!amounts.is_empty()).then(|| quantities.collect())
    };
    ResourceRequirements {
        requests: amounts(&config.requests),
        limits: amounts(&config.limits),
        ..ResourceRequirements::default()
    }
}

fn quantity(amount: &IntOrString) -> Quantity {
    Quantity(match amount {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    })
}

/// Whole seconds, rounded up: nobody gets less time than was promised.
#[derive(Debug)]
struct DrainSeconds {
    delay: u64,
    timeout: u64,
}

impl DrainSeconds {
    fn of(drain: &Drain) -> Self {
        let defaults = Drain::default();
        // The schema lets only durations pass.
        let seconds = |text: &str, default: &str| {
            let duration = parse_duration(text).or_else(|_| parse_duration(default)).unwrap_or_default();
            duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
        };
        DrainSeconds {
            delay: seconds(&drain.delay, &defaults.delay),
            timeout: seconds(&drain.timeout, &defaults.timeout),
        }
    }
}
