//! Which class an Ingress is of, and how a class is configured.

use std::collections::BTreeSet;

use gatehouse_crds::ParametersRef;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::ResourceExt;

use crate::{
    resources::Resources,
    translate::{
        INGRESS_CONTROLLER_NAME,
        conditions::{Problem, reason},
        gateway::{self, Parameters},
        input::created,
    },
};

/// What stood for `spec.ingressClassName` before Kubernetes had it.
const CLASS: &str = "kubernetes.io/ingress.class";
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// Our classes.
#[derive(Debug)]
pub(super) struct Classes<'a> {
    names: BTreeSet<&'a str>,
    /// Of Ingresses that name none.
    default: Option<&'a str>,
}

impl<'a> Classes<'a> {
    pub(super) fn new(resources: &'a Resources) -> Self {
        let is_ours = |class: &IngressClass| {
            let spec = class.spec.as_ref();
            spec.and_then(|spec| spec.controller.as_deref()) == Some(INGRESS_CONTROLLER_NAME)
        };
        let is_default =
            |class: &IngressClass| class.annotations().get(IS_DEFAULT).is_some_and(|is| is == "true");
        let ours = || resources.ingress_classes.iter().filter(|(_, class)| is_ours(class));
        let defaults = ours().filter(|(_, class)| is_default(class));
        Classes {
            names: ours().map(|(name, _)| name.as_str()).collect(),
            default: defaults
                .map(|(name, class)| (created(class), name.as_str()))
                .min()
                .map(|(_, name)| name),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.names.iter().copied()
    }

    /// `None` if the Ingress is for another controller.
    pub(super) fn of(&self, ingress: &Ingress) -> Option<&'a str> {
        let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        let annotation = ingress.annotations().get(CLASS).map(String::as_str);
        // As the API server has it, both at once are no Ingress; the field is what is validated.
        match field.or(annotation).filter(|name| !name.is_empty()) {
            Some(name) => self.names.get(name).copied(),
            None => self.default,
        }
    }
}

/// The GatewayConfig of a class (IngressClassSpec.parameters).
pub(in crate::translate) fn parameters<'a>(class: &str, resources: &'a Resources) -> Parameters<'a> {
    let spec = resources.ingress_classes.get(class).and_then(|class| class.spec.as_ref());
    let Some(parameters) = spec.and_then(|spec| spec.parameters.as_ref()) else { return Ok(None) };
    let is_namespaced = parameters.scope.as_deref() == Some("Namespace");
    let Some(namespace) = parameters.namespace.as_deref().filter(|_| is_namespaced) else {
        let message = "parameters: a GatewayConfig has a namespace: set scope to Namespace, and namespace";
        return Err(Problem::new(reason::INVALID_PARAMETERS, message));
    };
    let reference = ParametersRef {
        group: parameters.api_group.clone().unwrap_or_default(),
        kind: parameters.kind.clone(),
        name: parameters.name.clone(),
        namespace: None,
    };
    gateway::configuration("parameters", Some(&reference), namespace, resources)
}
