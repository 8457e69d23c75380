//! Over real sockets: who gets the state, and a dataplane that starts by it.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use gatehouse_proto::config::v1::{
    Attachment, Listener, Protocol, Resource, Respond, Route, Siblings as Wire, resource::Kind, route,
};
use jiff::Timestamp;
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{Host, Identity, Siblings, fetch::FetchError, serve::Parts};
use crate::{
    Bind, Dataplane, Options, Peers, Ports,
    auth::tests::signer::{P256, RSA, Signer},
    compile::certificate,
    discover::{Credentials, Link, Source, Target},
    kept::{Kept, Noted},
    observe::metrics::Metrics,
    state_file::StateFile,
    test_authority::Authority,
};

const GATEWAY: &str = "shop/edge";
const ISSUER: &str = "https://kubernetes.default.svc";
const SUBJECT: &str = "system:serviceaccount:shop:edge-gatehouse";

fn wire(authority: &Authority, name: &str) -> Wire {
    Wire {
        certificate: Some(authority.issue(name)),
        jwks: json!({"keys": [RSA.jwk]}).to_string(),
        issuer: ISSUER.into(),
        audience: "gatehouse".into(),
        subject: SUBJECT.into(),
    }
}

fn resource(name: &str, kind: Kind) -> Resource {
    Resource { name: name.into(), version: vec![1; 16], kind: Some(kind) }
}

/// A listener, and a route that answers "from the state".
fn served() -> Vec<Resource> {
    let listener = Listener { port: 8080, protocol: Protocol::Http.into(), ..Listener::default() };
    let route = Route {
        object: "HTTPRoute/shop/r".into(),
        attachments: vec![Attachment { listener: "listener/shop/edge/http".into(), ..Attachment::default() }],
        action: Some(route::Action::Respond(Respond {
            status: 200,
            body: "from the state".into(),
            ..Respond::default()
        })),
        ..Route::default()
    };
    vec![
        resource("listener/shop/edge/http", Kind::Listener(listener)),
        resource("route/HTTPRoute/shop/r/0", Kind::Route(route)),
    ]
}

fn kept(resources: &[Resource]) -> Kept {
    let kept = Kept::default();
    kept.settle(Noted::whole(resources, &[]), &[]);
    kept
}

async fn host(kept: Kept, identity: Option<Wire>) -> SocketAddr {
    let identity = identity.map(|wire| {
        let certificate = certificate::compile(wire.certificate.as_ref().unwrap()).unwrap();
        Arc::new(Identity::compile(&wire, certificate).unwrap())
    });
    let identity = Arc::new(ArcSwapOption::new(identity));
    let host = Host { gateway: GATEWAY.into(), kept: Arc::new(kept), identity };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(host.serve(listener));
    address
}

fn claims(others: &Value) -> Value {
    let expires = Timestamp::now().as_second() + 600;
    let mut claims = json!({"iss": ISSUER, "sub": SUBJECT, "aud": ["gatehouse"], "exp": expires});
    claims.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    claims
}

fn asking(folder: &TempDir, authority: &Authority, token: &str, port: u16) -> Siblings {
    let (ca, file) = (folder.path().join("ca.crt"), folder.path().join("token"));
    fs::write(&ca, &authority.pem).unwrap();
    fs::write(&file, token).unwrap();
    Siblings {
        target: Target::from_host_port(&format!("localhost:{port}")).unwrap(),
        credentials: Credentials { ca, token: file },
        gateway: GATEWAY.into(),
    }
}

fn code(result: Result<Vec<Bytes>, FetchError>) -> Option<tonic::Code> {
    match result {
        Err(FetchError::Refused(status)) => Some(status.code()),
        _ => None,
    }
}

#[tokio::test]
async fn only_a_sibling_gets_the_state() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
    let address = host(kept(&served()), Some(wire(&authority, "localhost"))).await;
    let ask = async |token: String| asking(&folder, &authority, &token, address.port()).fetch().await;
    let given = ask(RSA.token(&claims(&json!({})))).await.unwrap();
    let given: Vec<_> = given.into_iter().map(|bytes| Resource::decode(bytes).unwrap()).collect();
    assert_eq!(given, served());

    let past = Timestamp::now().as_second() - 60;
    for (why, others) in [
        ("another account", json!({"sub": "system:serviceaccount:shop:edge-gatehouse2"})),
        ("the account of another namespace", json!({"sub": "system:serviceaccount:evil:edge-gatehouse"})),
        ("for the API server", json!({"aud": ["https://kubernetes.default.svc"]})),
        ("for nobody", json!({"aud": []})),
        ("another cluster", json!({"iss": "https://other"})),
        ("expired", json!({"exp": past})),
        ("not yet", json!({"nbf": past + 1000})),
    ] {
        assert_eq!(code(ask(RSA.token(&claims(&others))).await), Some(tonic::Code::Unauthenticated), "{why}");
    }
    let mut without_end = claims(&json!({}));
    without_end.as_object_mut().unwrap().remove("exp");
    let foreign = Signer::p256();
    for (why, token) in [
        ("it never ends", RSA.token(&without_end)),
        ("a key that is not in the set", P256.token(&claims(&json!({})))),
        ("another key", foreign.token(&claims(&json!({})))),
        ("a shared secret", Signer::hmac(&[7; 64]).token(&claims(&json!({})))),
        ("no token", "opaque".into()),
    ] {
        assert_eq!(code(ask(token).await), Some(tonic::Code::Unauthenticated), "{why}");
    }

    let mut other = asking(&folder, &authority, &RSA.token(&claims(&json!({}))), address.port());
    other.gateway = "shop/other".into();
    assert_eq!(code(other.fetch().await), Some(tonic::Code::PermissionDenied));
}

#[tokio::test]
async fn a_sibling_must_prove_itself_too() {
    let (folder, authority, stranger) =
        (tempfile::tempdir().unwrap(), Authority::default(), Authority::default());
    let token = RSA.token(&claims(&json!({})));
    for (identity, part) in [
        (Some(wire(&authority, "edge-gatehouse-peers.other.svc")), "not valid for name"),
        (Some(wire(&stranger, "localhost")), "invalid peer certificate"),
        (None, ""),
    ] {
        let address = host(kept(&served()), identity).await;
        let mut ask = asking(&folder, &authority, &token, address.port());
        ask.target = Target::from_host_port(&format!("localhost:{}", address.port())).unwrap();
        let error = ask.credentials.connect_to(address, &ask.target).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(ask.fetch().await.is_err());
    }
    let address = host(Kept::default(), Some(wire(&authority, "localhost"))).await;
    let asked = asking(&folder, &authority, &token, address.port()).fetch().await;
    assert_eq!(code(asked), Some(tonic::Code::Unavailable), "what is not whole is not given");
}

#[test]
fn identities_that_admit_nobody_or_all_are_refused() {
    let authority = Authority::default();
    let good = wire(&authority, "localhost");
    let compile = |wire: &Wire| {
        Identity::compile(wire, certificate::compile(wire.certificate.as_ref().unwrap()).unwrap())
    };
    assert!(compile(&good).is_ok());
    let secret = json!({"keys": [Signer::hmac(&[7; 64]).jwk]}).to_string();
    for bad in [
        Wire { audience: String::new(), ..good.clone() },
        Wire { subject: String::new(), ..good.clone() },
        Wire { issuer: String::new(), ..good.clone() },
        Wire { jwks: String::new(), ..good.clone() },
        Wire { jwks: "{}".into(), ..good.clone() },
        Wire { jwks: r#"{"keys":[]}"#.into(), ..good.clone() },
        Wire { jwks: secret, ..good },
    ] {
        assert!(compile(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_state_is_cut_into_parts_and_loses_nothing() {
    let body = |size: usize| {
        let respond = Respond { body: "x".repeat(size), ..Respond::default() };
        Kind::Route(Route { action: Some(route::Action::Respond(respond)), ..Route::default() })
    };
    for (sizes, parts) in [(vec![], 1), (vec![1; 100], 1), (vec![700 << 10; 3], 3), (vec![3 << 20, 1, 1], 2)]
    {
        let resources: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(at, size)| resource(&format!("route/{at}"), body(*size)))
            .collect();
        let cut: Vec<_> = Parts::of(kept(&resources).whole().unwrap()).map(Result::unwrap).collect();
        assert_eq!(cut.len(), parts, "{sizes:?}");
        let more: Vec<_> = cut.iter().map(|part| part.more).collect();
        assert_eq!(more.iter().filter(|more| !**more).count(), 1);
        assert!(!more[parts - 1]);
        let count: usize = cut.iter().map(|part| part.upserts.len()).sum();
        assert_eq!(count, resources.len());
    }
}

struct Pod {
    dataplane: Dataplane,
    peers: u16,
}

/// With a controller that nobody reaches.
fn pod(state: &Path, ask: Siblings) -> Pod {
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = listen();
    let peers = listener.local_addr().unwrap().port();
    let options = Options {
        node: "pod".into(),
        gateway: GATEWAY.into(),
        zone: None,
        workers: 1,
        bind: Bind { address: [127, 0, 0, 1].into(), ports: Ports::Free },
        admin: listen(),
        heartbeat: Duration::from_secs(5),
        state_directory: Some(state.to_owned()),
        peers: Some(Peers { siblings: ask, listener }),
    };
    let dataplane = Dataplane::start(options, || async { Err::<Link, _>("no controller") }).unwrap();
    Pod { dataplane, peers }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_dataplane_starts_from_disk_and_a_fresh_one_from_it() {
    let (folder, empty, authority) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Authority::default());
    let mut resources = served();
    resources.push(resource("siblings", Kind::Siblings(wire(&authority, "localhost"))));
    let metrics = Arc::new(Metrics::default());
    let file = StateFile::new(folder.path().to_owned(), GATEWAY.into(), metrics);
    file.write(&kept(&resources)).unwrap();

    let token = RSA.token(&claims(&json!({})));
    let old = pod(folder.path(), asking(&folder, &authority, &token, 1));
    let ready = timeout(Duration::from_secs(20), old.dataplane.ready()).await.unwrap();
    assert!(get(ready.open[&crate::ListenPort::Tcp(8080)], "/").await.ends_with("from the state"));
    assert_eq!(old.dataplane.status().borrow().source, Some(Source::Disk));

    let fresh = pod(empty.path(), asking(&empty, &authority, &token, old.peers));
    let pages = fresh.dataplane.admin();
    assert!(get(pages, "/readyz").await.starts_with("HTTP/1.1 503"), "not before the state is whole");
    let ready = timeout(Duration::from_secs(20), fresh.dataplane.ready()).await.unwrap();
    assert!(get(ready.open[&crate::ListenPort::Tcp(8080)], "/").await.ends_with("from the state"));
    assert!(get(pages, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = get(pages, "/metrics").await;
    assert!(metrics.contains("gatehouse_state_source{source=\"sibling\"} 1\n"), "{metrics}");
    assert!(metrics.contains("gatehouse_state_source{source=\"disk\"} 0\n"), "{metrics}");

    // It can give on what it was given, and has it on its own disk.
    let next = asking(&empty, &authority, &token, fresh.peers).fetch().await.unwrap();
    assert_eq!(next.len(), 3);
    timeout(Duration::from_secs(20), async {
        while !empty.path().join("state").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}
