//! Everything that translation reads: one immutable view of the objects, keyed so that iteration has one order.

mod installed;
mod key;

use std::collections::BTreeMap;

use gatehouse_crds::{
    AuthPolicy, BackendTlsPolicy, Consumer, GATEWAY_GROUP, GROUP, Gateway, GatewayClass, GatewayConfig,
    GatewayRoute, GrpcRoute, HttpRoute, ListenerSet, RateLimitPolicy, ReferenceGrant, TcpRoute, TlsRoute,
    TrafficPolicy, UdpRoute,
};
use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{ConfigMap, Namespace, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
};
use kube::{ResourceExt, core::PartialObjectMeta};
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

use crate::fetch::JwksState;

pub use installed::{Bundle, Installed};
pub use key::ObjectKey;

/// API group of Ingress.
pub(crate) const INGRESS_GROUP: &str = "networking.k8s.io";

/// The label that says which Service an EndpointSlice is of.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The Service that an EndpointSlice is of.
pub fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.labels().get(SERVICE_NAME)?;
    // As `ObjectKey::of`: what no API server has stored may lack a namespace.
    Some(ObjectKey::new(ObjectKey::of(slice).namespace, name))
}

type Objects<T> = BTreeMap<ObjectKey, T>;

#[derive(Debug, Clone, Default)]
pub struct Resources {
    pub gateway_classes: BTreeMap<String, GatewayClass>,
    pub gateways: Objects<Gateway>,
    pub listener_sets: Objects<ListenerSet>,
    pub http_routes: Objects<HttpRoute>,
    pub grpc_routes: Objects<GrpcRoute>,
    pub tls_routes: Objects<TlsRoute>,
    pub tcp_routes: Objects<TcpRoute>,
    pub udp_routes: Objects<UdpRoute>,
    pub gateway_routes: Objects<GatewayRoute>,
    pub reference_grants: Objects<ReferenceGrant>,
    pub backend_tls_policies: Objects<BackendTlsPolicy>,
    pub auth_policies: Objects<AuthPolicy>,
    pub rate_limit_policies: Objects<RateLimitPolicy>,
    pub traffic_policies: Objects<TrafficPolicy>,
    pub consumers: Objects<Consumer>,
    pub gateway_configs: Objects<GatewayConfig>,
    pub ingress_classes: BTreeMap<String, IngressClass>,
    pub ingresses: Objects<Ingress>,
    pub services: Objects<Service>,
    pub endpoint_slices: Objects<EndpointSlice>,
    pub secrets: Objects<Secret>,
    pub config_maps: Objects<ConfigMap>,
    pub namespaces: BTreeMap<String, Namespace>,
    /// Which CRDs of the Gateway API the API server has. Empty where there is none.
    pub installed: Installed,
    /// What is known of JWKS documents, by the ids of what is [`Wanted`](crate::fetch::Wanted): fetched by others, enters as
    /// a value.
    pub jwks: BTreeMap<String, JwksState>,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Taken,
    /// Its kind is of no interest.
    Ignored,
}

/// An object that does not have the shape of its kind.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongShape(#[from] serde_json::Error);

impl Resources {
    /// Takes an object as the API server would hand it out: valid by its schema, with defaults filled in. A namespaced
    /// object without namespace is in `default`.
    pub fn apply(&mut self, object: Value) -> Result<Applied, WrongShape> {
        let text = |name: &str| object[name].as_str().unwrap_or("").to_owned();
        let version = text("apiVersion");
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match (group, text("kind").as_str()) {
            (GATEWAY_GROUP, "GatewayClass") => cluster_wide(&mut self.gateway_classes, object),
            (GATEWAY_GROUP, "Gateway") => namespaced(&mut self.gateways, object),
            (GATEWAY_GROUP, "ListenerSet") => namespaced(&mut self.listener_sets, object),
            (GATEWAY_GROUP, "HTTPRoute") => namespaced(&mut self.http_routes, object),
            (GATEWAY_GROUP, "GRPCRoute") => namespaced(&mut self.grpc_routes, object),
            (GATEWAY_GROUP, "TLSRoute") => namespaced(&mut self.tls_routes, object),
            (GATEWAY_GROUP, "TCPRoute") => namespaced(&mut self.tcp_routes, object),
            (GATEWAY_GROUP, "UDPRoute") => namespaced(&mut self.udp_routes, object),
            (GATEWAY_GROUP, "BackendTLSPolicy") => namespaced(&mut self.backend_tls_policies, object),
            (GATEWAY_GROUP, "ReferenceGrant") => namespaced(&mut self.reference_grants, object),
            (GROUP, "GatewayRoute") => namespaced(&mut self.gateway_routes, object),
            (GROUP, "AuthPolicy") => namespaced(&mut self.auth_policies, object),
            (GROUP, "RateLimitPolicy") => namespaced(&mut self.rate_limit_policies, object),
            (GROUP, "TrafficPolicy") => namespaced(&mut self.traffic_policies, object),
            (GROUP, "Consumer") => namespaced(&mut self.consumers, object),
            (GROUP, "GatewayConfig") => namespaced(&mut self.gateway_configs, object),
            (INGRESS_GROUP, "IngressClass") => cluster_wide(&mut self.ingress_classes, object),
            (INGRESS_GROUP, "Ingress") => namespaced(&mut self.ingresses, object),
            ("", "Service") => namespaced(&mut self.services, object),
            ("discovery.k8s.io", "EndpointSlice") => namespaced(&mut self.endpoint_slices, object),
            ("", "ConfigMap") => namespaced(&mut self.config_maps, object),
            ("", "Namespace") => cluster_wide(&mut self.namespaces, object),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                let crd: PartialObjectMeta = serde_json::from_value(object)?;
                self.installed.insert(&crd.name_any(), crd.annotations());
                Ok(Applied::Taken)
            }
            ("", "Secret") => {
                let mut secret: Secret = named(object)?;
                // The API server does this when it stores one.
                let plain = secret.string_data.take().unwrap_or_default();
                let data = secret.data.get_or_insert_default();
                data.extend(plain.into_iter().map(|(name, text)| (name, ByteString(text.into_bytes()))));
                self.secrets.insert(ObjectKey::of(&secret), secret);
                Ok(Applied::Taken)
            }
            _ => Ok(Applied::Ignored),
        }
    }

    /// The EndpointSlices of a Service.
    pub(crate) fn slices_of(&self, service: &ObjectKey) -> impl Iterator<Item = &EndpointSlice> {
        let first = ObjectKey::new(&*service.namespace, "");
        self.endpoint_slices
            .range(first..)
            .take_while(|(key, _)| key.namespace == service.namespace)
            .map(|(_, slice)| slice)
            .filter(|slice| slice.labels().get(SERVICE_NAME) == Some(&service.name))
    }

    /// The bytes of an entry of a Secret.
    pub(crate) fn secret_entry(&self, namespace: &str, name: &str, entry: &str) -> Option<&[u8]> {
        let secret = self.secrets.get(&ObjectKey::new(namespace, name))?;
        secret.data.as_ref()?.get(entry).map(|bytes| bytes.0.as_slice())
    }
}

fn namespaced<T>(objects: &mut Objects<T>, object: Value) -> Result<Applied, WrongShape>
where
    T: DeserializeOwned + ResourceExt,
{
    let object: T = named(object)?;
    objects.insert(ObjectKey::of(&object), object);
    Ok(Applied::Taken)
}

fn cluster_wide<T>(objects: &mut BTreeMap<String, T>, object: Value) -> Result<Applied, WrongShape>
where
    T: DeserializeOwned + ResourceExt,
{
    let object: T = named(object)?;
    objects.insert(object.name_any(), object);
    Ok(Applied::Taken)
}

fn named<T: DeserializeOwned + ResourceExt>(object: Value) -> Result<T, WrongShape> {
    let object: T = serde_json::from_value(object)?;
    if object.name_any().is_empty() {
        return Err(serde_json::Error::custom("metadata.name is missing").into());
    }
    Ok(object)
}
