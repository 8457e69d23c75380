//! Load on one gateway: requests at a given rate whether or not it keeps up (open loop), or as many as it takes (closed).
//!
//! Latency counts from when a request was due, so that a gateway that stalls does not slow its own load down.

mod arrivals;
mod handshakes;
mod http1;
mod http2;
mod stream;

use std::{cell::RefCell, mem, net::SocketAddr, rc::Rc, time::Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

pub use arrivals::Arrivals;
pub use stream::Trust;

/// What each request is like.
#[derive(Clone)]
pub struct Shape {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub host: String,
    pub path: String,
    /// More header lines, each with its line end.
    pub headers: String,
    /// Bytes of each answer's body.
    pub size: usize,
    /// `None`: without TLS.
    pub trust: Option<Trust>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Keep-alive connections, one request at a time on each.
    Http1 {
        connections: usize,
    },
    Http2 {
        connections: usize,
        streams: usize,
    },
    /// A connection, a TLS handshake and one request, each time anew.
    Handshakes {
        at_once: usize,
        resumed: bool,
    },
}

/// What came of it.
pub struct Tally {
    pub completed: u64,
    pub errors: u64,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
}

/// Shared by the tasks of one load.
#[derive(Clone, Default)]
pub struct Counts(Rc<RefCell<Tally>>);

/// Runs until it is dropped.
pub struct Load {
    _tasks: JoinSet<()>,
    counts: Counts,
    arrivals: Rc<Arrivals>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("bounds that fit");
        Tally { completed: 0, errors: 0, latency }
    }
}

impl Counts {
    fn completed(&self, due: Instant) {
        let nanoseconds = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut tally = self.0.borrow_mut();
        tally.completed += 1;
        tally.latency.saturating_record(nanoseconds);
    }

    fn failed(&self) {
        self.0.borrow_mut().errors += 1;
    }
}

impl Load {
    /// `rate`: requests a second; `None`: closed loop.
    pub fn start(shape: &Shape, rate: Option<f64>, seed: u64) -> Self {
        let counts = Counts::default();
        let arrivals = Rc::new(Arrivals::default());
        let mut tasks = JoinSet::new();
        match shape.protocol {
            Protocol::Http1 { connections } => {
                for _ in 0..connections {
                    tasks.spawn_local(http1::run(shape.clone(), Rc::clone(&arrivals), counts.clone()));
                }
            }
            Protocol::Http2 { connections, streams } => {
                for _ in 0..connections {
                    let (shape, arrivals) = (shape.clone(), Rc::clone(&arrivals));
                    tasks.spawn_local(http2::run(shape, streams, arrivals, counts.clone()));
                }
            }
            Protocol::Handshakes { at_once, resumed } => {
                for _ in 0..at_once {
                    let (shape, arrivals) = (shape.clone(), Rc::clone(&arrivals));
                    tasks.spawn_local(handshakes::run(shape, resumed, arrivals, counts.clone()));
                }
            }
        }
        match rate {
            Some(rate) => {
                tasks.spawn_local(arrivals::pace(Rc::clone(&arrivals), rate, seed));
            }
            None => arrivals.without_end(),
        }
        Load { _tasks: tasks, counts, arrivals }
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Tally {
        mem::take(&mut *self.counts.0.borrow_mut())
    }

    /// Requests that were due and are not sent yet.
    pub fn behind(&self) -> usize {
        self.arrivals.waiting()
    }
}

/// Whether one request gets the backend's answer.
pub async fn answers(shape: &Shape) -> bool {
    match shape.protocol {
        Protocol::Http2 { .. } => http2::answers(shape).await,
        Protocol::Http1 { .. } | Protocol::Handshakes { .. } => http1::open_once(shape).await.is_ok(),
    }
}

/// Holds `count` connections open, each of which has carried one request. Gives those that stand.
pub async fn hold(shape: &Shape, count: usize) -> Vec<Box<dyn Send>> {
    let mut held: Vec<Box<dyn Send>> = Vec::with_capacity(count);
    for _ in 0..count {
        if let Ok(stream) = http1::open_once(shape).await {
            held.push(Box::new(stream));
        }
    }
    held
}
