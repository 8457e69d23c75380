//! The addresses of a backend.
//!
//! A set is replaced as a whole by one store; an address that stays keeps its [`Endpoint`], and with it its connections
//! and its count of requests.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::Tls;

/// A backend as routes refer to it.
#[derive(Debug)]
pub(crate) struct Service {
    /// `namespace/name:port`, for logs.
    pub(crate) label: Arc<str>,
    pub(crate) protocol: Protocol,
    /// `None`: in clear text.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) endpoints: Arc<EndpointCell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 by prior knowledge, or as TLS agrees on.
    H2c,
}

/// One address. Its identity ends when it leaves its set: should the address come back, it belongs to somebody else.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    gone: AtomicBool,
    /// Requests under way, of all workers.
    active: AtomicU32,
}

/// The current set.
#[derive(Debug, Default)]
pub(crate) struct EndpointCell(ArcSwap<Vec<Arc<Endpoint>>>);

/// Counts a request towards its endpoint while it lives.
#[derive(Debug)]
pub(crate) struct Active(Arc<Endpoint>);

impl Endpoint {
    fn new(address: SocketAddr) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Endpoint {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            gone: AtomicBool::new(false),
            active: AtomicU32::new(0),
        })
    }

    /// It has left its set: no new request goes there and idle connections are closed.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    fn load(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EndpointCell {
    pub(crate) fn replace(&self, mut addresses: Vec<SocketAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        let old = self.0.load_full();
        let mut new = Vec::with_capacity(addresses.len());
        for address in &addresses {
            let kept = old.iter().find(|endpoint| endpoint.address == *address);
            new.push(kept.map_or_else(|| Endpoint::new(*address), Arc::clone));
        }
        self.0.store(Arc::new(new));
        for endpoint in old.iter().filter(|endpoint| addresses.binary_search(&endpoint.address).is_err()) {
            endpoint.gone.store(true, Ordering::Relaxed);
        }
    }

    /// The same addresses, none of which is what it was: connections of before are not used again.
    pub(crate) fn renewed(&self) -> Self {
        let old = self.0.load_full();
        for endpoint in old.iter() {
            endpoint.gone.store(true, Ordering::Relaxed);
        }
        EndpointCell(ArcSwap::from_pointee(
            old.iter().map(|endpoint| Endpoint::new(endpoint.address)).collect(),
        ))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// Of two drawn by `random`, the one with fewer requests under way; not `avoid`, unless it is the only one.
    pub(crate) fn pick(&self, mut random: impl FnMut() -> u64, avoid: Option<u64>) -> Option<Arc<Endpoint>> {
        let all = self.0.load();
        let mut draw = |but: Option<u64>| -> Option<&Arc<Endpoint>> {
            let length = u64::try_from(all.len()).ok().filter(|length| *length > 0)?;
            let start = usize::try_from(random() % length).ok()?;
            let mut from_start = all[start..].iter().chain(&all[..start]);
            from_start.find(|endpoint| Some(endpoint.id) != but)
        };
        let Some(first) = draw(avoid) else { return draw(None).cloned() };
        let second = draw(avoid).unwrap_or(first);
        Some(Arc::clone(if second.load() < first.load() { second } else { first }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::EndpointCell;

    fn cell(ports: &[u16]) -> EndpointCell {
        let cell = EndpointCell::default();
        replace(&cell, ports);
        cell
    }

    fn replace(cell: &EndpointCell, ports: &[u16]) {
        cell.replace(ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect());
    }

    #[test]
    fn who_stays_keeps_its_identity_and_who_returns_does_not() {
        let cell = cell(&[1, 2]);
        let before = cell.0.load_full();
        replace(&cell, &[2, 3]);
        assert!(Arc::ptr_eq(&before[1], &cell.0.load()[0]));
        assert!(before[0].is_gone() && !before[1].is_gone());
        replace(&cell, &[1, 2]);
        assert_ne!(cell.0.load()[0].id, before[0].id);
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let cell = cell(&[1, 2]);
        let _busy = cell.0.load()[0].begin();
        let mut draws = [0, 1].into_iter();
        let picked = cell.pick(|| draws.next().unwrap(), None).unwrap();
        assert_eq!(picked.address.port(), 2);
    }

    #[test]
    fn what_failed_is_avoided_while_there_is_another() {
        let cell = cell(&[1, 2]);
        let failed = cell.0.load()[0].id;
        for random in 0..4 {
            assert_eq!(cell.pick(|| random, Some(failed)).unwrap().address.port(), 2);
        }
        replace(&cell, &[1]);
        assert!(cell.pick(|| 0, Some(failed)).is_some());
        replace(&cell, &[]);
        assert!(cell.pick(|| 0, None).is_none());
    }
}
