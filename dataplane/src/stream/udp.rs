//! Datagrams (UDPRoute). Those of one client address belong together: a [`Session`] leads them to one endpoint, and what
//! comes back to the client. It ends when nothing has moved for a while.
//!
//! Who sends a datagram has not shown that the address is its own. So sessions are bounded in number and time; and what
//! can't be sent on at once is lost, as on any network.

use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    net::SocketAddr,
    rc::Rc,
};

use hashbrown::HashMap;
use tokio::{net::UdpSocket, sync::watch, task::yield_now};

use super::session::Session;
use crate::worker::Worker;

/// No datagram is larger.
const DATAGRAM_BYTES: usize = 64 << 10;
/// So many are read before others have their turn.
const TURN: usize = 32;
/// Of one port, on one worker.
const SESSIONS: usize = 16 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_BYTES].into());
}

/// A port, as one worker has it.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) worker: Rc<Worker>,
    pub(super) socket: UdpSocket,
    /// By the client's address.
    sessions: RefCell<HashMap<SocketAddr, Rc<Session>>>,
}

/// Runs until the sender of `closed` is dropped. In a drain it goes on, for the sessions that are there.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    number: u16,
    socket: UdpSocket,
    mut closed: watch::Receiver<()>,
) {
    let port = Rc::new(Port { number, worker, socket, sessions: RefCell::default() });
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            _ = closed.changed(), if !draining => {
                draining = port.worker.is_draining();
                if !draining {
                    break;
                }
            }
            _ = port.socket.readable() => {
                let more = receive(
                    |buffer| port.socket.try_recv_from(buffer),
                    |datagram, peer| {
                        port.take(datagram, peer, draining);
                        Ok(())
                    },
                );
                if more.is_ok_and(|more| more) {
                    yield_now().await;
                }
            }
        }
    }
    // Who opens the port next must not share its datagrams.
    for session in port.sessions.take().into_values() {
        session.end(None);
    }
}

/// Reads what is there, for one turn: `true` if there may be more. Stops at the first error, of either side.
pub(super) fn receive<P>(
    mut read: impl FnMut(&mut [u8]) -> io::Result<(usize, P)>,
    mut take: impl FnMut(&[u8], P) -> io::Result<()>,
) -> io::Result<bool> {
    BUFFER.with_borrow_mut(|buffer| {
        for _ in 0..TURN {
            match read(buffer) {
                Ok((length, peer)) => take(&buffer[..length], peer)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    })
}

impl Port {
    fn take(self: &Rc<Self>, datagram: &[u8], peer: SocketAddr, draining: bool) {
        let known = self.sessions.borrow().get(&peer).filter(|session| !session.is_over()).cloned();
        let session = known.or_else(|| if draining { None } else { self.open(peer) });
        if let Some(session) = session {
            session.forward(datagram);
        }
    }

    /// `None`: there are too many, or there is nowhere to go.
    fn open(self: &Rc<Self>, peer: SocketAddr) -> Option<Rc<Session>> {
        let session = if self.sessions.borrow().len() < SESSIONS { Session::open(self, peer) } else { None };
        if let Some(session) = &session {
            self.sessions.borrow_mut().insert(peer, Rc::clone(session));
        }
        session
    }

    /// It has ended; another may have its place.
    pub(super) fn forget(&self, peer: SocketAddr, session: &Rc<Session>) {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.get(&peer).is_some_and(|known| Rc::ptr_eq(known, session)) {
            sessions.remove(&peer);
            // A wave that is over gives its memory back.
            if sessions.len() < sessions.capacity() / 4 {
                sessions.shrink_to_fit();
            }
        }
    }
}
