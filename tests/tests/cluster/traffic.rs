//! Requests at a fixed rate, whatever becomes of them, by clients that keep their connections.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Runtime,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsConnector;

type Connection = SendRequest<Empty<bytes::Bytes>>;

/// The longest that a request may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Goes on until it is stopped.
pub(crate) struct Traffic {
    runtime: Runtime,
    seen: Arc<Mutex<Report>>,
    started: Instant,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Report {
    pub(crate) sent: usize,
    pub(crate) failures: Vec<String>,
    pub(crate) slowest: Duration,
    pub(crate) answers: Vec<Answered>,
}

/// A request that was answered, by whatever status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) sent: Instant,
    pub(crate) at: Instant,
    pub(crate) status: u16,
}

impl Traffic {
    pub(crate) fn start(address: SocketAddr, host: &str, per_second: u32) -> Traffic {
        Traffic::over(address, host, "/", per_second, None)
    }

    pub(crate) fn to(address: SocketAddr, host: &str, path: &str, per_second: u32) -> Traffic {
        Traffic::over(address, host, path, per_second, None)
    }

    /// HTTPS, for those who trust `root`. Every tenth request comes over a connection of its own, so that handshakes go on.
    pub(crate) fn encrypted(
        address: SocketAddr,
        host: &str,
        per_second: u32,
        root: CertificateDer<'static>,
    ) -> Traffic {
        Traffic::over(address, host, "/", per_second, Some(root))
    }

    fn over(
        address: SocketAddr,
        host: &str,
        path: &str,
        per_second: u32,
        root: Option<CertificateDer<'static>>,
    ) -> Traffic {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::<Mutex<Report>>::default();
        let idle = Arc::<Mutex<Vec<Connection>>>::default();
        let (host, path) = (host.to_owned(), path.to_owned());
        let (report, started) = (Arc::clone(&seen), Instant::now());
        runtime.spawn(async move {
            let mut tick = interval(Duration::from_secs(1) / per_second);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut number = 0_u64;
            loop {
                tick.tick().await;
                let (host, path) = (host.clone(), path.clone());
                let (idle, report, root) = (Arc::clone(&idle), Arc::clone(&report), root.clone());
                number += 1;
                let fresh = root.is_some() && number.is_multiple_of(10);
                tokio::spawn(async move {
                    let sent = Instant::now();
                    let asking = request(address, (&host, &path), root.as_ref(), fresh, &idle);
                    let result = timeout(PATIENCE, asking).await;
                    let mut report = report.lock();
                    report.sent += 1;
                    report.slowest = report.slowest.max(sent.elapsed());
                    let failure = match result.unwrap_or_else(|_| Err("no answer in time".into())) {
                        Ok((status, body)) => {
                            let status = status.as_u16();
                            report.answers.push(Answered { sent, at: Instant::now(), status });
                            (!(200..300).contains(&status))
                                .then(|| format!("{status} {}", String::from_utf8_lossy(&body)))
                        }
                        Err(failure) => Some(failure),
                    };
                    if let Some(failure) = failure {
                        report.failures.push(format!("{:.1} s: {failure}", started.elapsed().as_secs_f32()));
                    }
                });
            }
        });
        Traffic { runtime, seen, started }
    }

    pub(crate) fn so_far(&self) -> Report {
        self.seen.lock().clone()
    }

    /// Says since when it runs, for messages.
    pub(crate) fn note(&self, what: &str) {
        let report = self.so_far();
        eprintln!(
            "{:6.1} s: {what}; {} requests, {} failed",
            self.started.elapsed().as_secs_f32(),
            report.sent,
            report.failures.len()
        );
    }

    pub(crate) fn stop(self) -> Report {
        self.runtime.shutdown_timeout(PATIENCE);
        Arc::try_unwrap(self.seen).map_or_else(|seen| seen.lock().clone(), Mutex::into_inner)
    }
}

impl Report {
    #[track_caller]
    pub(crate) fn none_failed(&self) {
        eprintln!("{} requests, {} failed, slowest {:?}", self.sent, self.failures.len(), self.slowest);
        let first = &self.failures[..self.failures.len().min(10)];
        assert!(self.failures.is_empty(), "{} of {} failed: {first:#?}", self.failures.len(), self.sent);
    }
}

async fn request(
    address: SocketAddr,
    (host, path): (&str, &str),
    root: Option<&CertificateDer<'static>>,
    fresh: bool,
    idle: &Mutex<Vec<Connection>>,
) -> Result<(StatusCode, bytes::Bytes), String> {
    loop {
        let kept = idle.lock().pop().filter(|_| !fresh);
        let is_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) if connection.is_closed() => continue,
            Some(connection) => connection,
            None => connect(address, host, root).await?,
        };
        let request =
            Request::get(path).header("host", host).body(Empty::new()).map_err(|error| error.to_string())?;
        match connection.send_request(request).await {
            Ok(response) => {
                let status = response.status();
                let closes = response.headers().get("connection").is_some_and(|value| value == "close");
                let body = response
                    .into_body()
                    .collect()
                    .await
                    .map_err(|error| format!("body: {error}"))?
                    .to_bytes();
                if !closes {
                    idle.lock().push(connection);
                }
                return Ok((status, body));
            }
            // It was closed before anything was sent on it: any client takes the next one.
            Err(error) if is_kept && error.is_canceled() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn connect(
    address: SocketAddr,
    host: &str,
    root: Option<&CertificateDer<'static>>,
) -> Result<Connection, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
    let _ = stream.set_nodelay(true);
    let Some(root) = root else { return shake(stream).await };
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).map_err(|error| error.to_string())?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    shake(stream.map_err(|error| format!("TLS: {error}"))?).await
}

async fn shake(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}
