//! The HTTP/2 connections that one worker keeps to one endpoint: one, and more while that one carries as many streams as
//! a server can be counted on to take. Who comes while one is being opened waits for it.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::{
    Endpoint, RequestBody, Service,
    age::Age,
    connect::{self, ConnectError},
};

/// What servers are asked to allow at least (RFC 9113, 6.5.2). With more, new streams could wait for old ones to end, and
/// those of gRPC may never.
const STREAMS: usize = 100;
/// With more connections than this, streams are put where the fewest are.
const CONNECTIONS: usize = 64;

pub(super) type Opening = Shared<LocalBoxFuture<'static, Result<Opened, Rc<ConnectError>>>>;

#[derive(Debug, Default)]
pub(super) struct Multiplexed {
    opened: Vec<Opened>,
    opening: Option<Opening>,
}

#[derive(Debug, Clone)]
pub(super) struct Opened {
    sender: SendRequest<RequestBody>,
    load: Rc<Load>,
    /// Sweeps that it has been idle for.
    idle: u64,
    /// Where its time is bounded.
    age: Option<Age>,
}

#[derive(Debug, Default)]
struct Load {
    streams: Cell<usize>,
    /// When the last one ended.
    free_since: Cell<Option<Instant>>,
    /// It has carried a stream.
    is_used: Cell<bool>,
}

/// A place for one stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) counted: Counted,
    /// Its connection has carried others before.
    pub(super) reused: bool,
}

/// Counts a stream while it lives.
#[derive(Debug)]
pub(super) struct Counted(Rc<Load>);

impl Multiplexed {
    /// A place on a connection that is there, or the connection to wait for. Call it again after that.
    pub(super) fn take(
        &mut self,
        endpoint: &Arc<Endpoint>,
        service: &Service,
        limit: Option<Duration>,
    ) -> Result<Stream, Opening> {
        self.opened.retain(|opened| !opened.is_closed() && opened.is_good());
        let free = self.opened.iter().position(|opened| opened.streams() < STREAMS);
        let place = free.or_else(|| {
            let all = (self.opened.len() >= CONNECTIONS).then_some(&self.opened)?;
            (0..all.len()).min_by_key(|index| all[*index].streams())
        });
        match place.and_then(|index| self.opened.get_mut(index)) {
            Some(opened) => Ok(opened.take()),
            None => {
                let open = || open(Arc::clone(endpoint), service, limit);
                Err(self.opening.get_or_insert_with(open).clone())
            }
        }
    }

    /// What was waited for has come, or will not come.
    pub(super) fn settle(&mut self, opened: Option<Opened>) {
        if self.opening.as_ref().is_some_and(|opening| opening.peek().is_some()) {
            self.opening = None;
        }
        if let Some(new) = opened
            && !self.opened.iter().any(|known| Rc::ptr_eq(&known.load, &new.load))
        {
            self.opened.push(new);
        }
    }

    /// Closes what is of no use, and what has been idle for so many sweeps. `false`: nothing is left.
    pub(super) fn sweep(&mut self, most: u64) -> bool {
        self.opened.retain_mut(|opened| {
            opened.idle = if opened.streams() == 0 && opened.age.is_none() { opened.idle + 1 } else { 0 };
            !opened.is_closed() && opened.is_good() && opened.idle < most
        });
        // Everybody who waited for it has gone.
        if self.opening.as_ref().is_some_and(|opening| opening.strong_count().is_none_or(|count| count < 2)) {
            self.opening = None;
        }
        !self.opened.is_empty() || self.opening.is_some()
    }
}

fn open(endpoint: Arc<Endpoint>, service: &Service, limit: Option<Duration>) -> Opening {
    let (tls, keep) = (service.tls.clone(), service.keep());
    let opening = async move {
        let sender = connect::http2(&endpoint, tls.as_deref(), limit).await.map_err(Rc::new)?;
        Ok(Opened { sender, load: Rc::default(), idle: 0, age: keep.map(Age::new) })
    };
    opening.boxed_local().shared()
}

impl Opened {
    fn streams(&self) -> usize {
        self.load.streams.get()
    }

    /// By either side: what is open on it goes on, and nothing new begins.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Its time is not over. What is open on one that is too old goes on.
    fn is_good(&self) -> bool {
        let Some(age) = &self.age else { return true };
        let now = Instant::now();
        match self.load.free_since.get() {
            Some(since) if self.streams() == 0 => now < age.good_until(since),
            _ => !age.is_old(now),
        }
    }

    pub(super) fn take(&mut self) -> Stream {
        self.idle = 0;
        self.load.streams.update(|streams| streams + 1);
        Stream {
            sender: self.sender.clone(),
            reused: self.load.is_used.replace(true),
            counted: Counted(Rc::clone(&self.load)),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.update(|streams| streams - 1);
        if self.0.streams.get() == 0 {
            self.0.free_since.set(Some(Instant::now()));
        }
    }
}
