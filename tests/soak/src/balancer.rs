//! What a Kubernetes Service does for the dataplanes: a new connection goes to one that is ready, and those that are open
//! stay where they are.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatehouse_tests::answer::Head;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Between two looks at a dataplane's readiness.
const PERIOD: Duration = Duration::from_millis(250);
/// For one of them.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Balancer {
    ready: Mutex<Vec<Ipv4Addr>>,
    turn: AtomicUsize,
}

impl Balancer {
    /// Where the next connection goes. `None`: nobody is ready.
    pub(crate) fn pick(&self) -> Option<Ipv4Addr> {
        let ready = self.ready.lock();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        ready.get(turn % ready.len().max(1)).copied()
    }

    pub(crate) fn ready(&self) -> Vec<Ipv4Addr> {
        self.ready.lock().clone()
    }

    /// Looks after one dataplane until it is no more.
    pub(crate) async fn follow(self: Arc<Self>, address: Ipv4Addr, admin: SocketAddr) {
        loop {
            let is_ready = timeout(PATIENCE, is_ready(admin)).await.unwrap_or(false);
            {
                let mut ready = self.ready.lock();
                ready.retain(|known| *known != address);
                if is_ready {
                    ready.push(address);
                }
            }
            sleep(PERIOD).await;
        }
    }

    pub(crate) fn forget(&self, address: Ipv4Addr) {
        self.ready.lock().retain(|known| *known != address);
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin).await else { return false };
    let mut answer = Vec::new();
    let request = b"GET /readyz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && Head::read(&answer).is_some_and(|head| head.status == 200)
}
