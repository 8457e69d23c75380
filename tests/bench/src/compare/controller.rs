//! A controller in this process for our dataplane under measurement: it sends one state, and then only shows that it lives.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path};

use gatehouse_controller::serve::{self, ConfigServer};
use gatehouse_proto::config::v1::{
    AccessLog, Aggregate, AggregatePart, Algorithm, Attachment, AuthConfig, AuthMethod, Backend, Certificate,
    Empty, Endpoint, Endpoints, Forward, Jwt, JwtKey, Limit, LimitKey, LimitScope, LimitStore, Listener,
    Match, PartFailure, PathKind, PathMatch, PrivateKeyKind, Protocol, RateLimit, Redis, Route, Service,
    Settings, TemplatePiece, auth_method, jwt_key, limit_key, resource::Kind, route, template_piece,
};
use gatehouse_tests::{certs::Authority, channel, tokens};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    cell::{Scenario, Store},
    peers::Setup,
};

const GATEWAY: &str = "bench/edge";
const LISTENER: &str = "listener/bench/edge/http";
const SERVICE: &str = "service/bench/backend/80";
/// A second, so many that none is refused.
const REQUESTS: u64 = 1_000_000;

/// Ends when it is dropped.
pub struct Controller {
    serving: JoinHandle<()>,
    address: SocketAddr,
    _server: ConfigServer,
}

impl Controller {
    /// # Panics
    /// If its port can't be had.
    pub async fn start(setup: &Setup<'_>, authority: &Authority) -> Self {
        let server = ConfigServer::new(serve::Options { guarded: false, ..serve::Options::default() });
        server.publish(GATEWAY, state(setup));
        fs::write(setup.file("token"), "token").unwrap();
        fs::write(setup.file("ca.crt"), authority.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Controller { serving: channel::serve(&server, listener, authority), address, _server: server }
    }

    /// What a dataplane of it is started with.
    pub fn arguments(&self, folder: &Path) -> Vec<String> {
        let file = |name: &str| folder.join(name).display().to_string();
        vec![
            format!("--gateway={GATEWAY}"),
            "--node=bench".into(),
            format!("--controller=https://localhost:{}", self.address.port()),
            format!("--ca={}", file("ca.crt")),
            format!("--token={}", file("token")),
            "--admin-address=127.0.0.1:0".into(),
            "--bind=127.0.0.1".into(),
            "--workers=1".into(),
            "--drain-delay-seconds=0".into(),
            "--drain-timeout-seconds=0".into(),
        ]
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn state(setup: &Setup<'_>) -> BTreeMap<String, Kind> {
    let mut state = BTreeMap::new();
    let mut listener =
        Listener { port: setup.port.into(), protocol: Protocol::Http.into(), ..Listener::default() };
    if setup.scenario == Scenario::Tls {
        listener.protocol = Protocol::Https.into();
        listener.certificates = vec!["certificate/bench/tls".into()];
        state.insert("certificate/bench/tls".into(), Kind::Certificate(certificate(setup)));
    }
    let redis = Redis { url: setup.redis.into(), timeout_ms: 100, ..Redis::default() };
    let settings = Settings {
        access_log: Some(AccessLog { enabled: true, sampling_ppm: Some(0) }),
        redis: Some(redis),
        ..Settings::default()
    };
    state.insert("settings".into(), Kind::Settings(settings));
    state.insert(LISTENER.into(), Kind::Listener(listener));
    state.insert(SERVICE.into(), Kind::Service(Service::default()));
    let (address, port) = (setup.backend.ip().to_string(), setup.backend.port().into());
    let endpoint = Endpoint { address, port, ..Endpoint::default() };
    state.insert(
        SERVICE.replace("service", "endpoints"),
        Kind::Endpoints(Endpoints {
            service: SERVICE.into(),
            endpoints: vec![endpoint],
            ..Endpoints::default()
        }),
    );
    match setup.scenario {
        Scenario::Plain | Scenario::Tls | Scenario::Http2 => add_route(&mut state, "all", None, None, false),
        Scenario::Aggregate(count) => {
            add_route(&mut state, "all", None, None, false);
            for kind in state.values_mut() {
                if let Kind::Route(route) = kind {
                    route.action = Some(route::Action::Aggregate(aggregate(count)));
                }
            }
        }
        Scenario::Paths(count) => {
            for index in 0..count {
                add_route(&mut state, &format!("p{index}"), None, Some(format!("/p{index}")), false);
            }
        }
        Scenario::Policy { hosts: count, store } => {
            state.insert("auth/bench/jwt".into(), Kind::Auth(auth(setup)));
            state.insert("ratelimit/bench/limit".into(), Kind::RateLimit(limit(store)));
            for index in 0..count {
                let host = format!("h{index}.bench.test");
                add_route(&mut state, &format!("h{index}"), Some(host), None, index + 1 == count);
            }
        }
    }
    state
}

fn add_route(
    state: &mut BTreeMap<String, Kind>,
    name: &str,
    host: Option<String>,
    prefix: Option<String>,
    guarded: bool,
) {
    let path = prefix.map(|value| PathMatch { kind: PathKind::Prefix.into(), value });
    let backend = Backend { service: SERVICE.into(), weight: 1, ..Backend::default() };
    let route = Route {
        object: format!("HTTPRoute/bench/{name}"),
        attachments: vec![Attachment {
            listener: LISTENER.into(),
            hostnames: host.into_iter().collect(),
            ..Attachment::default()
        }],
        matches: vec![Match { path, ..Match::default() }],
        auth: if guarded { vec!["auth/bench/jwt".into()] } else { Vec::new() },
        rate_limits: if guarded { vec!["ratelimit/bench/limit".into()] } else { Vec::new() },
        action: Some(route::Action::Forward(Forward { backends: vec![backend], ..Forward::default() })),
        ..Route::default()
    };
    state.insert(format!("route/HTTPRoute/bench/{name}/0"), Kind::Route(route));
}

/// Each part as the plain route would ask for it.
fn aggregate(count: usize) -> Aggregate {
    let slash = TemplatePiece { kind: Some(template_piece::Kind::Literal("/".into())) };
    let part = |index| AggregatePart {
        name: format!("p{index}"),
        service: SERVICE.into(),
        path: vec![slash.clone()],
        on_failure: PartFailure::Fail.into(),
        ..AggregatePart::default()
    };
    Aggregate {
        parts: (0..count).map(part).collect(),
        timeout_ms: 5_000,
        max_part_bytes: 1 << 20,
        ..Aggregate::default()
    }
}

fn certificate(setup: &Setup<'_>) -> Certificate {
    let chain = CertificateDer::from_pem_slice(setup.pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(setup.pair.key.as_bytes()).unwrap();
    Certificate {
        chain: vec![chain.to_vec()],
        private_key: key.secret_der().to_vec(),
        private_key_kind: PrivateKeyKind::Pkcs8.into(),
    }
}

fn auth(setup: &Setup<'_>) -> AuthConfig {
    let key = JwtKey { kind: Some(jwt_key::Kind::Jwk(setup.jwk.to_string())), key_id: String::new() };
    let jwt = Jwt {
        issuer: tokens::ISSUER.into(),
        algorithms: vec!["RS256".into()],
        keys: vec![key],
        ..Jwt::default()
    };
    AuthConfig {
        namespace: "bench".into(),
        any_of: vec![AuthMethod { kind: Some(auth_method::Kind::Jwt(jwt)) }],
        ..AuthConfig::default()
    }
}

fn limit(store: Store) -> RateLimit {
    let key = LimitKey { kind: Some(limit_key::Kind::Consumer(Empty {})) };
    let limit = Limit {
        name: "all".into(),
        key: vec![key],
        requests: REQUESTS,
        per_ms: 1_000,
        algorithm: Algorithm::TokenBucket.into(),
        ..Limit::default()
    };
    RateLimit {
        limits: vec![limit],
        scope: LimitScope::Policy.into(),
        store: match store {
            Store::Local => LimitStore::Local.into(),
            Store::Redis => LimitStore::Redis.into(),
        },
        replicas: 1,
        ..RateLimit::default()
    }
}
