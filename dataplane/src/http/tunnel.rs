//! A WebSocket between client and backend: bytes both ways until both are done, nothing moves or the gateway drains.

use std::{
    cell::Cell,
    future::pending,
    io::{self, Cursor},
    pin::pin,
    time::Duration,
};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::{Instant, sleep, sleep_until},
};

use super::{
    exchange::Exchange,
    websocket::{Frames, GOING_AWAY},
};
use crate::upstream::Switched;

/// Both sides have been silent for this long, where no rule says otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// A client that was told to go gets so long to answer.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(super) upstream: Switched,
    /// As its rule says.
    pub(super) idle: Option<Duration>,
}

impl Tunnel {
    /// Ends the exchange when the tunnel ends. What the client sent ahead comes `early`.
    pub(crate) async fn run<S>(self, mut exchange: Box<Exchange>, client: S, early: BytesMut)
    where
        S: AsyncRead + AsyncWrite,
    {
        let Switched { stream, first, lease: _lease } = self.upstream;
        let (client_read, client_write) = split(client);
        let client_read = Cursor::new(early).chain(client_read);
        let (backend_read, backend_write) = split(stream);
        let backend_read = Cursor::new(first).chain(backend_read);
        let last = Cell::new(Instant::now());
        let (received, sent) = (Cell::new(0), Cell::new(0));
        let draining = exchange.worker().draining();
        tokio::select! {
            _ = futures_util::future::try_join(
                copy(client_read, backend_write, &last, &received, pending()),
                copy(backend_read, client_write, &last, &sent, draining),
            ) => {}
            () = silence(&last, self.idle.unwrap_or(IDLE_TIMEOUT)) => {}
        }
        exchange.tunnelled(received.get(), sent.get());
        exchange.complete();
    }
}

/// Passes the end of one side on to the other. Says goodbye in its place when it is time to leave.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    last: &Cell<Instant>,
    count: &Cell<u64>,
    leave: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut frames = Frames::default();
    let mut leave = pin!(leave.fuse());
    let mut leaving = false;
    loop {
        let read = tokio::select! {
            biased;
            read = from.read(&mut buffer), if !(leaving && frames.between()) => read?,
            () = &mut leave, if !leaving => {
                leaving = true;
                continue;
            }
            else => {
                to.write_all(&GOING_AWAY).await?;
                to.shutdown().await?;
                sleep(FAREWELL).await;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        };
        last.set(Instant::now());
        if read == 0 {
            return to.shutdown().await;
        }
        frames.follow(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        count.set(count.get() + read as u64);
    }
}

async fn silence(last: &Cell<Instant>, limit: Duration) {
    while last.get().elapsed() < limit {
        sleep_until(last.get() + limit).await;
    }
}
