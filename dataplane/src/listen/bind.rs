//! Opens and closes the sockets of configured ports. Every worker has a socket of its own on each port (SO_REUSEPORT):
//! the kernel spreads connections over them and no worker waits for another.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};

use crate::{snapshot::Snapshot, worker::Command};

const BACKLOG: i32 = 4096;

/// Where a dataplane listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// On all ports.
    pub address: IpAddr,
    pub ports: Ports,
}

/// How ports of listeners become ports of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// As the listener says.
    AsWritten,
    /// Any free one, for tests.
    Free,
}

/// What is open, by the port that listeners name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    pub open: BTreeMap<u16, SocketAddr>,
    /// Ports that could not be opened, and why.
    pub failed: BTreeMap<u16, String>,
}

#[derive(Debug)]
pub(crate) struct Binder {
    bind: Bind,
    workers: Vec<mpsc::UnboundedSender<Command>>,
    listening: watch::Sender<Listening>,
}

impl Binder {
    pub(crate) fn new(bind: Bind, workers: Vec<mpsc::UnboundedSender<Command>>) -> Self {
        Binder { bind, workers, listening: watch::Sender::default() }
    }

    pub(crate) fn listening(&self) -> watch::Receiver<Listening> {
        self.listening.subscribe()
    }

    /// Opens what the state asks for and closes what it no longer does. What fails is tried again at the next call.
    pub(crate) fn update(&self, snapshot: &Snapshot) -> BTreeMap<u16, String> {
        let mut now = self.listening.borrow().clone();
        now.failed.clear();
        now.open.retain(|port, _| {
            let keep = snapshot.ports.contains_key(port);
            if !keep {
                self.tell(|_| Command::Close { port: *port });
            }
            keep
        });
        for port in snapshot.ports.keys() {
            if now.open.contains_key(port) {
                continue;
            }
            match self.open(*port) {
                Ok(address) => {
                    now.open.insert(*port, address);
                }
                Err(error) => {
                    let wanted = SocketAddr::new(self.bind.address, *port);
                    now.failed.insert(*port, format!("can't listen on {wanted}: {error}"));
                }
            }
        }
        let failed = now.failed.clone();
        self.listening.send_if_modified(|last| {
            let changed = *last != now;
            *last = now;
            changed
        });
        failed
    }

    fn open(&self, port: u16) -> io::Result<SocketAddr> {
        let wanted = match self.bind.ports {
            Ports::AsWritten => port,
            Ports::Free => 0,
        };
        // SO_REUSEPORT would share the port with another process of the same user instead of failing.
        let probe = socket(SocketAddr::new(self.bind.address, wanted), false)?;
        let address = probe.local_addr()?;
        drop(probe);
        let sockets: Vec<TcpListener> =
            self.workers.iter().map(|_| socket(address, true)).collect::<Result<_, _>>()?;
        let mut sockets = sockets.into_iter();
        self.tell(|_| match sockets.next() {
            Some(socket) => Command::Listen { port, socket },
            None => Command::Close { port },
        });
        Ok(address)
    }

    fn tell(&self, mut command: impl FnMut(usize) -> Command) {
        for (index, worker) in self.workers.iter().enumerate() {
            // A worker that is gone serves nothing any more.
            let _ = worker.send(command(index));
        }
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
