//! Opens and closes the sockets of configured ports. Every worker has a socket of its own on each port (SO_REUSEPORT):
//! the kernel spreads connections over them and no worker waits for another. Datagrams of one address stay with one socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
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

/// A port that listeners name: each transport has numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenPort {
    Tcp(u16),
    Udp(u16),
}

/// What is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    pub open: BTreeMap<ListenPort, SocketAddr>,
    /// Ports that could not be opened, and why.
    pub failed: BTreeMap<ListenPort, String>,
}

impl ListenPort {
    fn number(self) -> u16 {
        match self {
            ListenPort::Tcp(number) | ListenPort::Udp(number) => number,
        }
    }

    fn transport(self) -> (Type, Protocol) {
        match self {
            ListenPort::Tcp(_) => (Type::STREAM, Protocol::TCP),
            ListenPort::Udp(_) => (Type::DGRAM, Protocol::UDP),
        }
    }
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
    pub(crate) fn update(&self, snapshot: &Snapshot) -> BTreeMap<ListenPort, String> {
        let tcp = snapshot.ports.keys().map(|number| ListenPort::Tcp(*number));
        let udp = snapshot.datagrams.keys().map(|number| ListenPort::Udp(*number));
        let wanted: BTreeSet<ListenPort> = tcp.chain(udp).collect();
        let mut now = self.listening.borrow().clone();
        now.failed.clear();
        now.open.retain(|port, _| {
            let keep = wanted.contains(port);
            if !keep {
                self.tell(|_| Command::Close { port: *port });
            }
            keep
        });
        for port in wanted {
            if now.open.contains_key(&port) {
                continue;
            }
            match self.open(port) {
                Ok(address) => {
                    now.open.insert(port, address);
                }
                Err(error) => {
                    let wanted = SocketAddr::new(self.bind.address, port.number());
                    now.failed.insert(port, format!("can't listen on {wanted}: {error}"));
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

    fn open(&self, port: ListenPort) -> io::Result<SocketAddr> {
        let wanted = match self.bind.ports {
            Ports::AsWritten => port.number(),
            Ports::Free => 0,
        };
        // SO_REUSEPORT would share the port with another process of the same user instead of failing.
        let probe = socket(port, SocketAddr::new(self.bind.address, wanted), false)?;
        let address = probe.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        drop(probe);
        let sockets: Vec<Socket> =
            self.workers.iter().map(|_| socket(port, address, true)).collect::<Result<_, _>>()?;
        let mut sockets = sockets.into_iter();
        self.tell(|_| match (sockets.next(), port) {
            (Some(socket), ListenPort::Tcp(port)) => Command::Listen { port, socket: socket.into() },
            (Some(socket), ListenPort::Udp(port)) => Command::Receive { port, socket: socket.into() },
            (None, port) => Command::Close { port },
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

fn socket(port: ListenPort, address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let (kind, protocol) = port.transport();
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // With datagrams it would share the port with whoever asks for that.
    socket.set_reuse_address(kind == Type::STREAM)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}
