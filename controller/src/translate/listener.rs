//! One listener, of a Gateway or of a ListenerSet: what it serves, and who may attach to it.

use gatehouse_crds::{FrontendTls, GATEWAY_GROUP, GROUP, LabelSelector, Listener, NamespacesFrom};
use gatehouse_proto::config::v1::{self, Certificate, Protocol};
use kube::ResourceExt;

use super::{
    certificate,
    conditions::{Condition, ConditionType, Problem, reason},
    frontend::{self, Clients},
    grant, names,
    settings::IdleTimeouts,
    status::ListenerStatus,
};
use crate::{
    provision,
    resources::{ObjectKey, Resources},
};

/// Group and kind.
type RouteKind = (&'static str, &'static str);

/// The kinds that can attach to a listener of a protocol.
const OF_HTTP: &[RouteKind] =
    &[(GATEWAY_GROUP, "HTTPRoute"), (GATEWAY_GROUP, "GRPCRoute"), (GROUP, "GatewayRoute")];
const OF_TLS: &[RouteKind] = &[(GATEWAY_GROUP, "TLSRoute")];
const OF_TCP: &[RouteKind] = &[(GATEWAY_GROUP, "TCPRoute")];
const OF_UDP: &[RouteKind] = &[(GATEWAY_GROUP, "UDPRoute")];

/// The API group of a kind that can attach.
pub(crate) fn route_group(kind: &str) -> Option<&'static str> {
    let mut all = [OF_HTTP, OF_TLS, OF_TCP, OF_UDP].into_iter().flatten();
    all.find(|(_, known)| *known == kind).map(|(group, _)| *group)
}

#[derive(Debug)]
pub(super) struct ListenerView {
    /// The ListenerSet that it is of; `None`: the Gateway's own.
    pub(super) set: Option<ObjectKey>,
    pub(super) spec: Listener,
    /// Lower case; empty: any.
    pub(super) hostname: String,
    protocol: Option<Protocol>,
    kinds: Vec<&'static str>,
    certificates: Vec<(ObjectKey, Certificate)>,
    /// Which clients are let in; `None`: all.
    clients: Option<v1::ClientValidation>,
    pub(super) attached_routes: i32,
    unaccepted: Option<Problem>,
    unresolved: Option<Problem>,
    pub(super) conflict: Option<Problem>,
}

impl ListenerView {
    pub(super) fn new(
        spec: &Listener,
        gateway: &ObjectKey,
        set: Option<&ObjectKey>,
        resources: &Resources,
    ) -> Self {
        let from = match set {
            None => grant::From { group: GATEWAY_GROUP, kind: "Gateway", namespace: &gateway.namespace },
            Some(set) => grant::From { group: GATEWAY_GROUP, kind: "ListenerSet", namespace: &set.namespace },
        };
        let mut view = ListenerView {
            set: set.cloned(),
            spec: spec.clone(),
            hostname: spec.hostname.as_deref().unwrap_or("").to_ascii_lowercase(),
            protocol: None,
            kinds: Vec::new(),
            certificates: Vec::new(),
            clients: None,
            attached_routes: 0,
            unaccepted: None,
            unresolved: None,
            conflict: None,
        };
        let passes_through = spec.tls.as_ref().and_then(|tls| tls.mode.as_deref()) == Some("Passthrough");
        let kinds = match spec.protocol.as_str() {
            "HTTP" => {
                view.protocol = Some(Protocol::Http);
                OF_HTTP
            }
            "HTTPS" => {
                view.terminate(Protocol::Https, "certificateRefs", from, resources);
                OF_HTTP
            }
            "TLS" if passes_through => {
                view.protocol = Some(Protocol::TlsPassthrough);
                OF_TLS
            }
            "TLS" => {
                view.terminate(Protocol::TlsTerminate, "certificateRefs", from, resources);
                OF_TLS
            }
            "TCP" => {
                view.protocol = Some(Protocol::Tcp);
                OF_TCP
            }
            "UDP" => {
                view.protocol = Some(Protocol::Udp);
                OF_UDP
            }
            other => {
                let message = format!("protocol {other} is not served: use HTTP, HTTPS, TLS, TCP or UDP");
                view.unaccepted = Some(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
                &[]
            }
        };
        if [provision::ADMIN_PORT, provision::PEERS_PORT].contains(&spec.port) {
            let message = format!("port {} is the dataplane's own: use another", spec.port);
            view.unaccepted = Some(Problem::new(reason::PORT_UNAVAILABLE, message));
        }
        view.restrict_kinds(kinds);
        view
    }

    /// Of a Gateway that Ingresses imply. It takes Ingresses alone, and acts for the namespace that its Secret is in: that
    /// of the Ingress that names the Secret.
    pub(super) fn implied(spec: &Listener, resources: &Resources) -> Self {
        let mut view = ListenerView {
            set: None,
            spec: spec.clone(),
            hostname: spec.hostname.clone().unwrap_or_default(),
            protocol: Some(Protocol::Http),
            kinds: vec!["Ingress"],
            certificates: Vec::new(),
            clients: None,
            attached_routes: 0,
            unaccepted: None,
            unresolved: None,
            conflict: None,
        };
        let mut secrets = spec.tls.iter().flat_map(|tls| &tls.certificate_refs);
        if let Some(namespace) = secrets.next().and_then(|secret| secret.namespace.as_deref()) {
            let from = grant::From { group: GATEWAY_GROUP, kind: "Gateway", namespace };
            view.terminate(Protocol::Https, "secretName", from, resources);
        }
        view
    }

    /// Asks clients for certificates, as the Gateway says for the port. Where none could be verified nobody is served.
    pub(super) fn validate_clients(
        &mut self,
        frontend: &FrontendTls,
        namespace: &str,
        resources: &Resources,
    ) {
        if !self.protocol.is_some_and(needs_certificate) {
            return;
        }
        let Some(validation) = frontend::of_port(frontend, self.spec.port) else { return };
        let Clients { validation, unaccepted, unresolved } =
            frontend::resolve(validation, namespace, resources);
        self.clients = Some(validation);
        self.unresolved = Problem::join(self.unresolved.take().into_iter().chain(unresolved));
        if unaccepted.is_some() {
            self.protocol = None;
            self.unaccepted = unaccepted;
        }
    }

    /// `field`: where its Secrets are named.
    fn terminate(&mut self, protocol: Protocol, field: &str, from: grant::From<'_>, resources: &Resources) {
        let tls = self.spec.tls.as_ref();
        if tls.and_then(|tls| tls.mode.as_deref()).is_some_and(|mode| mode != "Terminate") {
            let message =
                format!("tls.mode of a listener of protocol {} must be Terminate", self.spec.protocol);
            self.unaccepted = Some(Problem::new(reason::UNSUPPORTED_VALUE, message));
            return;
        }
        self.protocol = Some(protocol);
        let mut problems = Vec::new();
        for reference in tls.map_or(&[][..], |tls| &tls.certificate_refs) {
            match certificate::resolve(reference, from, resources) {
                Ok(certificate) => self.certificates.push(certificate),
                Err(problem) => {
                    let message = format!("{field}: {}", problem.message);
                    problems.push(Problem::new(problem.reason, message));
                }
            }
        }
        if problems.is_empty() && self.certificates.is_empty() {
            problems.push(Problem::new(reason::INVALID_CERTIFICATE_REF, "tls.certificateRefs is empty"));
        }
        self.unresolved = Problem::join(problems);
    }

    /// `served`: what its protocol takes.
    fn restrict_kinds(&mut self, served: &[RouteKind]) {
        let allowed = self.spec.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
        if allowed.is_empty() || served.is_empty() {
            self.kinds = served.iter().map(|(_, kind)| *kind).collect();
            return;
        }
        let mut kinds = Vec::new();
        for wanted in allowed {
            let group = wanted.group.as_deref().unwrap_or(GATEWAY_GROUP);
            match served.iter().find(|kind| **kind == (group, wanted.kind.as_str())) {
                Some((_, kind)) => kinds.push(*kind),
                None => {
                    let message = format!(
                        "allowedRoutes.kinds: {} can't attach to a listener of protocol {}",
                        wanted.kind, self.spec.protocol
                    );
                    let problem = Problem::new(reason::INVALID_ROUTE_KINDS, message);
                    self.unresolved = Problem::join(self.unresolved.take().into_iter().chain([problem]));
                }
            }
        }
        self.kinds = kinds;
    }

    /// It can serve something.
    pub(super) fn is_served(&self) -> bool {
        let certified = |protocol| !needs_certificate(protocol) || !self.certificates.is_empty();
        self.protocol.is_some_and(certified) && self.conflict.is_none()
    }

    /// Why requests could belong to this one and to the other.
    pub(super) fn conflict_with(&self, other: &ListenerView) -> Option<Problem> {
        let (name, port) = (self.told_of(other), other.spec.port);
        let is_udp = |listener: &ListenerView| listener.protocol == Some(Protocol::Udp);
        if self.spec.port != port || is_udp(self) != is_udp(other) {
            return None;
        }
        // HTTPS and TLS in both its modes may share a port: the server name tells which is meant (Gateway.spec.listeners).
        let group = |listener: &ListenerView| match listener.protocol {
            Some(Protocol::TlsPassthrough | Protocol::TlsTerminate) => Some(Protocol::Https),
            other => other,
        };
        if group(self) != group(other) {
            let message = format!("{name} has another protocol on port {port}");
            return Some(Problem::new(reason::PROTOCOL_CONFLICT, message));
        }
        (self.hostname == other.hostname).then(|| {
            let message = format!("{name} has the same hostname on port {port}");
            Problem::new(reason::HOSTNAME_CONFLICT, message)
        })
    }

    /// What the owner of this one is told of the other: names of other ListenerSets are none of theirs.
    fn told_of(&self, other: &ListenerView) -> String {
        let name = &other.spec.name;
        match &other.set {
            set if *set == self.set => format!("listener {name}"),
            None => format!("listener {name} of the Gateway"),
            Some(_) => "a listener of another ListenerSet".to_owned(),
        }
    }

    /// Whether a route of a kind and namespace may attach.
    pub(super) fn allows(
        &self,
        kind: &str,
        namespace: &str,
        gateway: &ObjectKey,
        resources: &Resources,
    ) -> bool {
        if !self.kinds.contains(&kind) {
            return false;
        }
        let namespaces = self.spec.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
        match namespaces.map(|namespaces| namespaces.from).unwrap_or_default() {
            NamespacesFrom::All => true,
            NamespacesFrom::Same => namespace == self.set.as_ref().unwrap_or(gateway).namespace,
            NamespacesFrom::Selector => namespaces
                .and_then(|namespaces| namespaces.selector.as_ref())
                .is_some_and(|selector| selects(selector, namespace, resources)),
        }
    }

    pub(super) fn resources(
        &self,
        gateway: &ObjectKey,
        idle_timeouts: IdleTimeouts,
    ) -> Vec<(String, v1::resource::Kind)> {
        let Some(protocol) = self.protocol.filter(|_| self.is_served()) else { return Vec::new() };
        let listener = v1::Listener {
            port: u32::try_from(self.spec.port).unwrap_or(0),
            protocol: protocol.into(),
            hostname: self.hostname.clone(),
            certificates: self.certificates.iter().map(|(secret, _)| names::certificate(secret)).collect(),
            stream_idle_timeout_ms: match protocol {
                Protocol::Tcp | Protocol::TlsPassthrough | Protocol::TlsTerminate => idle_timeouts.stream,
                Protocol::Udp => idle_timeouts.udp_session,
                Protocol::Http | Protocol::Https | Protocol::Unspecified => 0,
            },
            client_validation: self.clients.clone(),
        };
        let certificates = self.certificates.iter().map(|(secret, certificate)| {
            (names::certificate(secret), v1::resource::Kind::Certificate(certificate.clone()))
        });
        let own = (self.resource_name(gateway), v1::resource::Kind::Listener(listener));
        std::iter::once(own).chain(certificates).collect()
    }

    pub(super) fn resource_name(&self, gateway: &ObjectKey) -> String {
        names::listener(gateway, self.set.as_ref(), &self.spec.name)
    }

    /// What tells it from the other listeners of its Gateway.
    pub(super) fn place(&self) -> String {
        match &self.set {
            None => self.spec.name.clone(),
            Some(set) => format!("{set}/{}", self.spec.name),
        }
    }

    pub(super) fn status(&self) -> ListenerStatus {
        let accepted = self.conflict.as_ref().or(self.unaccepted.as_ref());
        ListenerStatus {
            name: self.spec.name.clone(),
            attached_routes: self.attached_routes,
            supported_kinds: self.kinds.clone(),
            conditions: vec![
                match accepted {
                    Some(problem) => Condition::not(ConditionType::Accepted, problem.clone()),
                    None => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
                },
                match &self.unresolved {
                    Some(problem) => Condition::not(ConditionType::ResolvedRefs, problem.clone()),
                    None => Condition::is(ConditionType::ResolvedRefs, reason::RESOLVED_REFS),
                },
                match &self.conflict {
                    Some(problem) => Condition {
                        kind: ConditionType::Conflicted,
                        status: true,
                        reason: problem.reason,
                        message: problem.message.clone(),
                    },
                    None => Condition {
                        status: false,
                        ..Condition::is(ConditionType::Conflicted, reason::NO_CONFLICTS)
                    },
                },
            ],
        }
    }

    /// What is wrong with the Secrets that it refers to.
    pub(super) fn unresolved(&self) -> Option<&Problem> {
        self.unresolved.as_ref()
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.is_valid() && self.conflict.is_none()
    }

    /// By itself: without regard to others.
    pub(super) fn is_valid(&self) -> bool {
        self.unaccepted.is_none()
    }
}

fn needs_certificate(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Https | Protocol::TlsTerminate)
}

/// Kubernetes' label selectors. A namespace that is not known has the one label that all have.
pub(super) fn selects(selector: &LabelSelector, namespace: &str, resources: &Resources) -> bool {
    let known = resources.namespaces.get(namespace);
    let label = |name: &str| match known.and_then(|known| known.labels().get(name)) {
        Some(value) => Some(value.as_str()),
        None => (name == "kubernetes.io/metadata.name").then_some(namespace),
    };
    selector.match_labels.iter().all(|(name, value)| label(name) == Some(value))
        && selector.match_expressions.iter().all(|wanted| {
            let value = label(&wanted.key);
            let listed = value.is_some_and(|value| wanted.values.iter().any(|one| one == value));
            match wanted.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
