//! The resources that users write: Gatehouse's own kinds, and what is read of the Gateway API's.
//!
//! Types only, with the schema that the API server enforces: no behaviour. The shapes that GatewayRoute and HTTPRoute
//! have in common are one type, so that whoever translates them does it once.
//!
//! `crdgen` writes `generated/` (`cargo run -p gatehouse-crds --bin crdgen -- crds/generated`); a test fails when it is
//! stale.

#![allow(unreachable_pub, reason = "KubeSchema repeats each type in a scope of its own")]

mod aggregate;
mod auth_policy;
mod authorization;
mod cache;
mod consumer;
mod cors;
mod duration;
mod external_auth;
mod fault;
mod gateway_api;
mod gateway_config;
mod gateway_route;
mod identity;
mod mirror;
mod pattern;
mod rate_limit_policy;
mod reference;
mod retry;
mod rollout;
mod route;
mod schema;
mod session_affinity;
mod status;
mod traffic_policy;
mod yaml;

pub use aggregate::{Aggregate, AggregatePart, PartFailure};
pub use auth_policy::{
    Anonymous, ApiKeyMethod, AuthMethod, AuthPolicy, AuthPolicySpec, CredentialSource, Enforcement,
    HeaderSource, InlineKeys, JwksUrl, JwtMethod, KeyFormat, KeySecretRef, NamedSource,
};
pub use authorization::{AuthorizationRule, BasicMethod, ClaimRule, ClientCertificateMethod};
pub use cache::{Cache, CacheConfig};
pub use consumer::{
    ApiKeyCredential, BasicCredential, CertificateCredential, Consumer, ConsumerSpec, Credential,
    CredentialSecretRef, JwtCredential, PasswordSecretRef,
};
pub use cors::Cors;
pub use duration::{InvalidDuration, parse_duration};
pub use external_auth::{
    ExternalAuthFailure, ExternalAuthProtocol, ExternalAuthVerb, ExternalBackend, ExternalMethod,
};
pub use fault::{Fault, FaultAbort, FaultDelay};
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
    AccessLog, Autoscaling, DeploymentConfig, DisruptionBudget, Drain, ExternalNames, ExternalTrafficPolicy,
    GatewayConfig, GatewayConfigSpec, Limits, Quantities, Redis, RedisAuthority, RedisPasswordRef,
    RedisSecretRef, RedisSentinel, RedisTls, ResourcesConfig, ServiceConfig, ServiceType, Tracing,
};
pub use gateway_route::{
    Auth, BackendRef, Defaults, GatewayRoute, GatewayRouteRule, GatewayRouteSpec, Respond,
};
pub use identity::{ClaimHeader, Identity, IdentityToken, SigningAlgorithm, SigningSecretRef};
pub use mirror::{Fraction, Mirror, ServiceRef};
pub use rate_limit_policy::{
    Algorithm, ClientIpKey, ConcurrencyLimit, ConditionHeader, ConditionRanges, Empty, HeaderKey, Limit,
    LimitAccuracy, LimitCondition, LimitKey, LimitResponse, LimitScope, LimitStore, QueryKey,
    RateLimitPolicy, RateLimitPolicySpec, ResponseCost, StoreFailure, Tier,
};
pub use reference::{LocalRef, ParentRef, TargetRef, TypedRef};
pub use retry::Retry;
pub use rollout::{
    BlueGreen, Canary, ForceCookie, ForceHeader, GatewayRouteStatus, Rollout, RolloutAnalysis, RolloutErrors,
    RolloutForce, RolloutLatency, RolloutObserved, RolloutPhase, RolloutStatus, RolloutStep, Sticky,
};
pub use route::{
    Header, HeaderChanges, Method, PathMatch, PathMatchType, PathModifier, PathModifierType, Redirect,
    RegexReplacement, RouteMatch, Timeouts, UrlRewrite, ValueMatch, ValueMatchType,
};
pub use session_affinity::SessionAffinity;
pub use status::{ConditionsStatus, PolicyAncestorStatus, PolicyStatus, RouteParentStatus, RouteStatus};
pub use traffic_policy::{
    ActiveCheck, CircuitBreaker, Coding, Compression, ConnectionPool, ConsistentHash, CookieKey,
    FailurePercent, GrpcCheck, HealthCheck, HttpCheck, LoadBalancing, LoadBalancingType, PassiveCheck,
    RetryBudget, RetryConstraint, RetryRate, ServiceTarget, SlowStart, TrafficDistribution, TrafficPolicy,
    TrafficPolicySpec, WhenNoneHealthy,
};
pub use yaml::{ALL as CRDS, generated as generated_files, own as own_crds};

/// API group of Gatehouse's own kinds.
pub const GROUP: &str = "gatehouse.dev";
/// API group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
