//! Clients that take nothing amiss but what a client may not take: they never send a request twice.

mod http1;
mod http2;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use gatehouse_tests::client;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{
    balancer::Balancer,
    ledger::{Ledger, Outcome},
    request::Request,
    world::{NAME, Ports},
};

/// Of each kind.
const CLEAR: usize = 24;
const ENCRYPTED: usize = 8;
const HTTP2: usize = 4;
/// Requests at a time on each connection of HTTP/2.
const STREAMS: usize = 4;
/// Then a client opens another connection.
const CARRIED: u32 = 100;
/// A machine that is busy is slow; what takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How connections are opened.
#[derive(Clone)]
struct Door {
    balancer: Arc<Balancer>,
    port: u16,
    /// `None`: in clear text.
    tls: Option<Arc<ClientConfig>>,
}

/// What came back.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Door {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let address = self.balancer.pick().ok_or_else(|| io::Error::other("no dataplane is ready"))?;
        let address = SocketAddr::from((address, self.port));
        match &self.tls {
            None => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Some(tls) => {
                let stream =
                    client::connect(address, NAME, Arc::clone(tls)).await.map_err(io::Error::other)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// Asks until there were enough.
pub(crate) async fn run(
    ledger: &Arc<Ledger>,
    balancer: &Arc<Balancer>,
    ports: Ports,
    root: &CertificateDer<'static>,
) {
    let door = |port, protocol: Option<&str>| Door {
        balancer: Arc::clone(balancer),
        port,
        tls: protocol.map(|protocol| client::trusting(root, None, &[protocol])),
    };
    let mut clients = JoinSet::new();
    for (count, door) in [(CLEAR, door(ports.http, None)), (ENCRYPTED, door(ports.https, Some("http/1.1")))] {
        for _ in 0..count {
            let (mut client, ledger) = (http1::Client::new(door.clone()), Arc::clone(ledger));
            clients.spawn(async move {
                while let Some(request) = ledger.next().await {
                    ledger.ended(request, judge(request, client.ask(request)).await);
                }
            });
        }
    }
    for _ in 0..HTTP2 {
        let client = Arc::new(http2::Client::new(door(ports.https, Some("h2"))));
        for _ in 0..STREAMS {
            let (client, ledger) = (Arc::clone(&client), Arc::clone(ledger));
            clients.spawn(async move {
                while let Some(request) = ledger.next().await {
                    ledger.ended(request, judge(request, client.ask(request)).await);
                }
            });
        }
    }
    clients.join_all().await;
}

async fn judge(request: Request, asking: impl Future<Output = Result<Answer, String>>) -> Outcome {
    match timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => answer.outcome(request),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => Outcome::Failed(format!("no answer within {PATIENCE:?}")),
    }
}

impl Answer {
    fn outcome(&self, request: Request) -> Outcome {
        let text = String::from_utf8_lossy(&self.body);
        match self.status {
            200 if request.is_answer(&self.body) => Outcome::Answered,
            502 if text.contains("\"upstream_failed\"") => Outcome::Unanswered,
            status => Outcome::Failed(format!("{status} {text}")),
        }
    }
}
