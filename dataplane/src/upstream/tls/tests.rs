//! Handshakes with backends over loopback.

use std::{rc::Rc, sync::Arc, time::Duration};

use gatehouse_proto::config::v1::{self, subject_name::Kind as NameKind};
use http::Request;
use http_body_util::BodyExt;
use rustls::{
    RootCertStore, ServerConfig,
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::{LocalSet, spawn_local},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{OwnCertificate, Tls};
use crate::{
    Reason,
    compile::certificate,
    test_authority::Authority,
    upstream::{EndpointCell, Failed, Lease, Pool, Protocol, RequestBody, Service, Tried, send},
};

const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "backend.example.com";

/// A backend that proves itself as a name, and answers each request with the number of its connection.
async fn backend(authority: &Authority, name: &str, clients: Option<&Authority>) -> Arc<EndpointCell> {
    let certified = certificate::compile(&authority.issue(name)).unwrap();
    let config = server(certified, clients);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cell = Arc::new(EndpointCell::default());
    cell.replace(vec![listener.local_addr().unwrap().into()], false);
    spawn_local(async move {
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            spawn_local(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    cell
}

fn server(certified: Arc<CertifiedKey>, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(authority.der.clone())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn trusting(authority: &Authority, names: &[NameKind]) -> v1::UpstreamTls {
    v1::UpstreamTls {
        server_name: NAME.into(),
        roots: vec![authority.der.clone()],
        public_roots: false,
        subject_names: names.iter().map(|name| v1::SubjectName { kind: Some(name.clone()) }).collect(),
    }
}

fn service(tls: &v1::UpstreamTls, own: &OwnCertificate, endpoints: Arc<EndpointCell>) -> Service {
    let tls = Tls::compile(tls, Protocol::Http1, own).unwrap();
    Service {
        label: "a".into(),
        protocol: Protocol::Http1,
        tls: Some(Arc::new(tls)),
        endpoints,
        traffic: None,
    }
}

async fn ask(pool: &Rc<Pool>, service: &Service) -> Result<String, Failed> {
    let mut request = Request::new(RequestBody::Empty);
    let lease = Lease::new(service.pick(|| 0, None, &Tried::default()).unwrap().begin(), Rc::clone(pool));
    let response = timeout(PATIENCE, send(&mut request, service, lease, None)).await.unwrap()?;
    let body = response.into_body().collect().await.unwrap();
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_backend_must_be_who_it_should_be() {
    LocalSet::new()
        .run_until(async {
            let (ours, theirs) = (Authority::default(), Authority::default());
            let other = || NameKind::Hostname("other.example.com".into());
            let uri = |path: &str| NameKind::Uri(format!("spiffe://cluster/{path}"));
            for (shows, trusted, names, is_served) in [
                (NAME, &ours, vec![], true),
                (NAME, &theirs, vec![], false),
                ("other.example.com", &ours, vec![], false),
                ("other.example.com", &ours, vec![other()], true),
                ("other.example.com", &theirs, vec![other()], false),
                // The server name counts no more.
                (NAME, &ours, vec![other()], false),
                ("*.example.com", &ours, vec![NameKind::Hostname("*.Example.com".into())], true),
                (NAME, &ours, vec![NameKind::Hostname("*.example.com".into())], false),
                ("spiffe://cluster/orders", &ours, vec![other(), uri("orders")], true),
                ("spiffe://cluster/orders", &ours, vec![uri("order")], false),
            ] {
                let cell = backend(&ours, shows, None).await;
                let service = service(&trusting(trusted, &names), &OwnCertificate::default(), cell);
                let pool = Rc::default();
                let wanted =
                    if is_served { Ok("1".to_owned()) } else { Err(Failed::Unsent(Reason::ConnectFailed)) };
                assert_eq!(ask(&pool, &service).await, wanted, "{shows} {names:?}");
                // On the same connection.
                assert_eq!(ask(&pool, &service).await, wanted, "{shows} {names:?}");
            }
        })
        .await;
}

#[tokio::test]
async fn a_backend_that_asks_is_shown_the_certificate_of_now() {
    LocalSet::new()
        .run_until(async {
            let (ours, theirs) = (Authority::default(), Authority::default());
            let own = OwnCertificate::default();
            let cell = backend(&ours, NAME, Some(&ours)).await;
            let service = service(&trusting(&ours, &[]), &own, cell);
            assert!(ask(&Rc::default(), &service).await.is_err(), "none to show");
            own.replace(Some(certificate::compile(&theirs.issue("gateway")).unwrap()));
            assert!(ask(&Rc::default(), &service).await.is_err(), "of another authority");
            own.replace(Some(certificate::compile(&ours.issue("gateway")).unwrap()));
            assert!(ask(&Rc::default(), &service).await.is_ok());
        })
        .await;
}

#[test]
fn what_can_not_be_verified_is_refused() {
    let authority = Authority::default();
    let good = trusting(&authority, &[]);
    for bad in [
        v1::UpstreamTls { roots: Vec::new(), ..good.clone() },
        v1::UpstreamTls { roots: vec![b"no certificate".to_vec()], ..good.clone() },
        v1::UpstreamTls { server_name: "no name".into(), ..good.clone() },
        v1::UpstreamTls { subject_names: vec![v1::SubjectName::default()], ..good.clone() },
    ] {
        Tls::compile(&bad, Protocol::Http1, &OwnCertificate::default()).unwrap_err();
    }
    let public = v1::UpstreamTls { roots: Vec::new(), public_roots: true, ..good };
    Tls::compile(&public, Protocol::H2c, &OwnCertificate::default()).unwrap();
}
