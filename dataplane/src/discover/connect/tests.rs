//! Against a real server, over TLS.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use gatehouse_proto::config::v1::{
    ClientMessage, ServerMessage,
    config_service_client::ConfigServiceClient,
    config_service_server::{ConfigService, ConfigServiceServer},
};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Empty, empty};
use tonic::{Request, Response, Status, Streaming, codegen::Service};

use super::{Credentials, Target};
use crate::test_authority::Authority;

/// Refuses every stream, with the token that came.
#[derive(Clone)]
struct Mirror;

#[tonic::async_trait]
impl ConfigService for Mirror {
    type WatchStream = Empty<Result<ServerMessage, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let token = request.metadata().get("authorization").unwrap().to_str().unwrap();
        Err(Status::already_exists(token))
    }
}

struct Controller {
    address: SocketAddr,
    tls: Arc<ArcSwap<ServerConfig>>,
}

impl Controller {
    async fn start(tls: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        let current = Arc::clone(&tls);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = TlsAcceptor::from(current.load_full());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = ConfigServiceServer::new(Mirror);
                    let service = service_fn(move |request| service.clone().call(request));
                    let builder = http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Controller { address, tls }
    }

    fn target(&self) -> Target {
        Target::from_url(&format!("https://localhost:{}", self.address.port())).unwrap()
    }
}

fn credentials(folder: &TempDir, ca: &str, token: &str) -> Credentials {
    let path = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    Credentials { ca: path("ca.crt", ca), token: path("token", token) }
}

/// What the controller was shown.
async fn shown(credentials: &Credentials, target: &Target) -> Result<String, String> {
    let link = credentials.connect(target).await.map_err(|error| error.to_string())?;
    let request = link.request(empty::<ClientMessage>());
    let refused = ConfigServiceClient::new(link.channel()).watch(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::AlreadyExists, "{refused}");
    Ok(refused.message().to_owned())
}

#[tokio::test]
async fn the_token_is_shown_and_read_anew() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
    let controller = Controller::start(authority.server("localhost")).await;
    let credentials = credentials(&folder, &authority.pem, "first\n");
    assert_eq!(shown(&credentials, &controller.target()).await.unwrap(), "Bearer first");
    fs::write(&credentials.token, "second").unwrap();
    assert_eq!(shown(&credentials, &controller.target()).await.unwrap(), "Bearer second");
}

#[tokio::test]
async fn only_the_named_server_of_the_authority_is_believed() {
    let (folder, authority, stranger) =
        (tempfile::tempdir().unwrap(), Authority::default(), Authority::default());
    let credentials = credentials(&folder, &authority.pem, "t");
    for (tls, part) in [
        (stranger.server("localhost"), "invalid peer certificate"),
        (authority.server("other.example"), "not valid for name"),
    ] {
        let controller = Controller::start(tls).await;
        let error = credentials.connect_to(controller.address, &controller.target()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(credentials.connect(&controller.target()).await.is_err());
    }
}

#[tokio::test]
async fn a_rotated_authority_is_picked_up() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), Authority::default(), Authority::default());
    let controller = Controller::start(old.server("localhost")).await;
    let credentials = credentials(&folder, &old.pem, "t");
    shown(&credentials, &controller.target()).await.unwrap();

    controller.tls.store(Arc::new(new.server("localhost")));
    assert!(credentials.connect(&controller.target()).await.is_err(), "not known yet");
    fs::write(&credentials.ca, format!("{}{}", new.pem, old.pem)).unwrap();
    shown(&credentials, &controller.target()).await.unwrap();
}

#[tokio::test]
async fn files_that_say_nothing_are_named() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
    let controller = Controller::start(authority.server("localhost")).await;
    for (ca, token, part) in [
        ("", "t", "ca.crt: there is no certificate"),
        ("no PEM", "t", "ca.crt: there is no certificate"),
        (&*authority.pem, " \n", "token: there is no token"),
        (&*authority.pem, "two words", "token: there is no token"),
        (&*authority.pem, &*"x".repeat(9000), "token: there is no token"),
    ] {
        let error = credentials(&folder, ca, token).connect(&controller.target()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let credentials = credentials(&folder, &authority.pem, "t");
    fs::remove_file(&credentials.token).unwrap();
    let error = credentials.connect(&controller.target()).await.unwrap_err();
    assert!(error.to_string().contains("can't read"), "{error}");
}

#[test]
fn targets() {
    for (text, wanted) in [
        ("https://gatehouse-controller.gatehouse-system.svc:18000", true),
        ("https://a:1/", true),
        ("https://[::1]:1", true),
        ("https://a", false),
        ("http://a:1", false),
        ("https://user@a:1", false),
        ("https://a:1/path", false),
        ("a:1", false),
        ("", false),
    ] {
        assert_eq!(Target::from_url(text).is_ok(), wanted, "{text}");
    }
    for (text, wanted) in [
        ("edge-gatehouse-peers.shop.svc:18002", true),
        ("[::1]:1", true),
        ("https://a:1", false),
        ("a", false),
        ("/a:1", false),
        ("", false),
    ] {
        assert_eq!(Target::from_host_port(text).is_ok(), wanted, "{text}");
    }
}
