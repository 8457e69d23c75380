//! What happens on sockets: a relay that counts, and a client that asks again and again.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use gatehouse_tests::answer::Head;

/// Between two probes.
const PROBES: Duration = Duration::from_micros(500);

/// Passes connections on, counts the bytes that come back, and knows when the first of them came.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    down: Arc<Down>,
}

#[derive(Debug, Default)]
struct Down {
    bytes: AtomicU64,
    /// Of the first bytes since [`Relay::arm`].
    first: Mutex<Option<Instant>>,
}

impl Relay {
    pub(super) async fn start(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let relay = Relay { address: listener.local_addr()?, down: Arc::default() };
        let down = Arc::clone(&relay.down);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let down = Arc::clone(&down);
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else { return };
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    let up = Down::default();
                    tokio::join!(pass(near_in, far_out, &up), pass(far_in, near_out, &down));
                });
            }
        });
        Ok(relay)
    }

    /// Bytes from the far end to the near one.
    pub(super) fn down(&self) -> u64 {
        self.down.bytes.load(Ordering::Relaxed)
    }

    /// From now on the next bytes are the first.
    pub(super) fn arm(&self) {
        *self.down.first() = None;
    }

    /// When the first bytes came to the near end since it was armed.
    pub(super) fn first(&self) -> Option<Instant> {
        *self.down.first()
    }
}

impl Down {
    fn first(&self) -> MutexGuard<'_, Option<Instant>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    down: &Down,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        down.first().get_or_insert_with(Instant::now);
        down.bytes.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// A keep-alive connection to a dataplane.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Client { address, stream: None, buffer: vec![0; 16 << 10] }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The status of an answer.
    pub(super) async fn get(&mut self, host: &str, path: &str) -> io::Result<u16> {
        let result = self.exchange(host, path).await;
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    async fn exchange(&mut self, host: &str, path: &str) -> io::Result<u16> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await?;
        let mut filled = 0;
        loop {
            let read = stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            let Some(head) = Head::read(&self.buffer[..filled]) else { continue };
            if filled >= head.end + head.length.unwrap_or(0) {
                return Ok(head.status);
            }
        }
    }

    /// Asks until the answer is 200; gives when it was.
    pub(super) async fn until_served(
        &mut self,
        host: &str,
        path: &str,
        patience: Duration,
    ) -> io::Result<Instant> {
        let begun = Instant::now();
        loop {
            let answer = self.get(host, path).await;
            if matches!(answer, Ok(200)) {
                return Ok(Instant::now());
            }
            if begun.elapsed() > patience {
                let message =
                    format!("{host}{path} at {} is not served after {patience:?}: {answer:?}", self.address);
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            sleep(PROBES).await;
        }
    }
}
