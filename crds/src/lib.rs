//! The resources that users write: Gatehouse's own kinds, and what is read of the Gateway API's.
//!
//! Types only, with the schema that the API server enforces: no behaviour. The shapes that GatewayRoute and HTTPRoute
//! have in common are one type, so that whoever translates them does it once.
//!
//! `crdgen` writes `generated/` (`cargo run -p gatehouse-crds --bin crdgen -- crds/generated`); a test fails when it is
//! stale.

#![allow(unreachable_pub, reason = "KubeSchema repeats each type in a scope of its own")]

mod auth_policy;
mod consumer;
mod cors;
mod duration;
mod gateway_api;
mod gateway_config;
mod gateway_route;
mod mirror;
mod pattern;
mod rate_limit_policy;
mod reference;
mod retry;
mod route;
mod schema;
mod status;
mod yaml;

pub use auth_policy::{
    Anonymous, ApiKeyMethod, AuthMethod, AuthPolicy, AuthPolicySpec, ClaimHeader, CredentialSource,
    Enforcement, HeaderSource, Identity, InlineKeys, JwksUrl, JwtMethod, KeyFormat, KeySecretRef,
    NamedSource,
};
pub use consumer::{
    ApiKeyCredential, Consumer, ConsumerSpec, Credential, CredentialSecretRef, JwtCredential,
};
pub use cors::Cors;
pub use duration::{InvalidDuration, parse_duration};
pub use gateway_api::{
    AllowedListeners, AllowedRoutes, BackendTarget, BackendTls, BackendTlsPolicy, BackendTlsPolicySpec,
    BackendTlsValidation, CertificateRef, FilterType, FrontendTls, FrontendTlsConfig, FrontendTlsPort,
    FrontendValidation, Gateway, GatewayAddress, GatewayClass, GatewayClassSpec, GatewayClassStatus,
    GatewayInfrastructure, GatewaySpec, GatewayStatus, GatewayTls, GatewayWideTls, GrantFrom, GrantTo,
    GrpcMethodMatch, GrpcRoute, GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec, HttpBackendRef, HttpFilter,
    HttpRoute, HttpRouteRule, HttpRouteSpec, LabelSelector, LabelSelectorRequirement, Listener,
    ListenerNamespaces, ListenerSet, ListenerSetSpec, ListenerSetStatus, ListenerStatus, ListenersFrom,
    NamespaceSelector, NamespacesFrom, ParametersRef, ParentGatewayRef, ReferenceGrant, ReferenceGrantSpec,
    RouteKind, SessionPersistence, StreamRouteRule, SubjectAltName, SupportedFeature, TcpRoute, TcpRouteSpec,
    TlsRoute, TlsRouteSpec, UdpRoute, UdpRouteSpec,
};
pub use gateway_config::{
    AccessLog, Autoscaling, DeploymentConfig, DisruptionBudget, Drain, ExternalTrafficPolicy, GatewayConfig,
    GatewayConfigSpec, Limits, Quantities, Redis, RedisSecretRef, ResourcesConfig, ServiceConfig,
    ServiceType, Tracing,
};
pub use gateway_route::{
    Auth, BackendRef, Defaults, GatewayRoute, GatewayRouteRule, GatewayRouteSpec, Respond,
};
pub use mirror::{Fraction, Mirror, MirrorTarget};
pub use rate_limit_policy::{
    Algorithm, ClientIpKey, Empty, HeaderKey, Limit, LimitKey, LimitScope, LimitStore, RateLimitPolicy,
    RateLimitPolicySpec, StoreFailure, Tier,
};
pub use reference::{LocalRef, ParentRef, TargetRef, TypedRef};
pub use retry::Retry;
pub use route::{
    Header, HeaderChanges, Method, PathMatch, PathMatchType, PathModifier, PathModifierType, Redirect,
    RouteMatch, Timeouts, UrlRewrite, ValueMatch, ValueMatchType,
};
pub use status::{ConditionsStatus, PolicyAncestorStatus, PolicyStatus, RouteParentStatus, RouteStatus};
pub use yaml::{ALL as CRDS, generated as generated_files, own as own_crds};

/// API group of Gatehouse's own kinds.
pub const GROUP: &str = "gatehouse.dev";
/// API group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
