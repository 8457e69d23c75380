//! What belongs to one client address of a UDP port.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::Notify,
    task::{spawn_local, yield_now},
    time::{Instant, sleep},
};

use super::{
    choose,
    observed::Observed,
    udp::{Port, receive},
};
use crate::{
    Reason,
    snapshot::Listener,
    upstream::{Active, Endpoint, Tried},
    worker::{Counted, Worker},
};

#[derive(Debug)]
pub(super) struct Session {
    peer: SocketAddr,
    /// Of its own, so that what comes back is the client's. Connected: the kernel takes nothing from others.
    upstream: UdpSocket,
    endpoint: Arc<Endpoint>,
    idle_timeout: Duration,
    last: Cell<Instant>,
    over: Cell<bool>,
    ended: Notify,
    observed: Observed,
    _active: Active,
    _counted: Counted,
}

impl Session {
    /// Leads to an endpoint, for as long as that is there. `None`: it is refused, and that has been told.
    pub(super) fn open(port: &Rc<Port>, peer: SocketAddr) -> Option<Rc<Self>> {
        let worker = &port.worker;
        let snapshot = worker.snapshot();
        // At most half of the connections, so that nobody who hides its address takes the place of those who don't.
        let Some(counted) = worker.count_connection(snapshot.settings.limits.connections / 2) else {
            worker.sink.metrics().connections_refused.add(1);
            return None;
        };
        worker.sink.metrics().connections.add(1);
        let mut observed = Observed::begin(worker, peer, "UDP", "");
        let found = find(worker, snapshot.datagrams.get(&port.number), &mut observed);
        let (idle_timeout, endpoint, upstream) =
            found.inspect_err(|reason| observed.end(Some(*reason))).ok()?;
        let session = Rc::new(Session {
            peer,
            upstream,
            idle_timeout,
            last: Cell::new(Instant::now()),
            over: Cell::new(false),
            ended: Notify::new(),
            observed,
            _active: endpoint.begin(),
            endpoint,
            _counted: counted,
        });
        spawn_local(Rc::clone(&session).run(Rc::clone(port)));
        Some(session)
    }

    /// What comes must find another.
    pub(super) fn is_over(&self) -> bool {
        if self.endpoint.is_gone() {
            self.end(None);
        }
        self.over.get()
    }

    pub(super) fn end(&self, reason: Option<Reason>) {
        if !self.over.replace(true) {
            self.observed.end(reason);
            self.ended.notify_one();
        }
    }

    /// To the endpoint.
    pub(super) fn forward(&self, datagram: &[u8]) {
        // Of a fresh socket, the runtime does not know yet that it takes something.
        match SockRef::from(&self.upstream).send(datagram) {
            Ok(_) => self.moved(&self.observed.moved().received, datagram),
            Err(error) if is_end(&error) => self.end(Some(Reason::ConnectFailed)),
            Err(_) => {}
        }
    }

    /// Brings answers back until it ends.
    async fn run(self: Rc<Self>, port: Rc<Port>) {
        let mut alarm = pin!(sleep(self.idle_timeout));
        while !self.over.get() {
            tokio::select! {
                biased;
                () = self.ended.notified() => {}
                () = alarm.as_mut() => {
                    let due = self.last.get() + self.idle_timeout;
                    if due <= Instant::now() {
                        // Its regular end: there is no other.
                        self.end(None);
                    }
                    alarm.as_mut().reset(due);
                }
                ready = self.upstream.ready(Interest::READABLE | Interest::ERROR) => {
                    if ready.is_ok_and(|ready| ready.is_error()) {
                        self.look_at_error();
                        continue;
                    }
                    let more = receive(
                        |buffer| Ok((self.upstream.try_recv(buffer)?, ())),
                        |datagram, ()| {
                            // What the client can't be sent now is lost; that it can't be sent anything is its own matter.
                            if SockRef::from(&port.socket).send_to(datagram, &self.peer.into()).is_ok() {
                                self.moved(&self.observed.moved().sent, datagram);
                            }
                            Ok(())
                        },
                    );
                    match more {
                        Ok(true) => yield_now().await,
                        Ok(false) => {}
                        Err(error) if is_end(&error) => self.end(Some(Reason::ConnectFailed)),
                        Err(_) => yield_now().await,
                    }
                }
            }
        }
        port.forget(self.peer, &self);
    }

    /// What came back for what was sent (ICMP) makes a socket ready, and nothing to read.
    fn look_at_error(&self) {
        let looked: io::Result<()> =
            self.upstream.try_io(Interest::ERROR, || match self.upstream.take_error()? {
                Some(error) => Err(error),
                None => Err(io::ErrorKind::WouldBlock.into()),
            });
        if looked.is_err_and(|error| is_end(&error)) {
            self.end(Some(Reason::ConnectFailed));
        }
    }

    fn moved(&self, count: &Cell<u64>, datagram: &[u8]) {
        count.set(count.get() + datagram.len() as u64);
        self.last.set(Instant::now());
    }
}

/// How long it may be silent, and where it leads.
fn find(
    worker: &Worker,
    listener: Option<&Arc<Listener>>,
    observed: &mut Observed,
) -> Result<(Duration, Arc<Endpoint>, UdpSocket), Reason> {
    let listener = listener.ok_or(Reason::NoRoute)?;
    let service = choose(worker, listener, "", observed)?;
    let endpoint = service
        .pick(|| worker.random(), service.key(&observed.asker()), &Tried::default())
        .ok_or(Reason::NoEndpoints)?;
    observed.attempt(endpoint.address);
    let upstream = connect(endpoint.address).map_err(|_| Reason::ConnectFailed)?;
    Ok((listener.stream_idle_timeout, endpoint, upstream))
}

fn connect(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any = match endpoint {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(endpoint)?;
    UdpSocket::from_std(socket)
}

/// Nobody is there (ICMP). Else the datagram alone is lost.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}
