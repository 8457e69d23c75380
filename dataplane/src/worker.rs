//! One thread that serves requests. It has its own sockets, connections to backends and buffers; what it shares with
//! other workers is read through one pointer.

use std::{
    cell::{Cell, RefCell, RefMut},
    ops::Deref,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use slab::Slab;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::spawn_local,
    time::interval,
};

use crate::{
    auth::{AnswerCache, TokenCache, WantedKeys},
    cache::Cache,
    http::aggregate::Room,
    limit,
    listen::{self, ListenPort, TlsPorts},
    observe::{self, Observer},
    snapshot::Snapshot,
    stream,
    upstream::{Pool, SWEEP},
};

/// How long a log line waits at most, and an idle connection to an endpoint that is gone.
const TICK: Duration = Duration::from_millis(100);
/// Copies of requests that are under way at once; what comes on top is not copied.
const MIRRORS: usize = 256;
/// Answers that are compressed at once, each with up to some hundred KiB to remember; others go out as they come.
const COMPRESSIONS: usize = 256;
/// Answers that are fetched anew at once while the ones that are kept are still given; what comes on top waits for a request.
const REFRESHES: usize = 64;

/// Requests that wait for keys at once; what comes on top is refused.
const WAITING: usize = 64;

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) tls: TlsPorts,
    pub(crate) observer: Arc<Observer>,
    pub(crate) counters: Arc<limit::Counters>,
    pub(crate) wanted_keys: WantedKeys,
    /// Client connections of all workers.
    pub(crate) connections: AtomicUsize,
    /// Empty until a rule wants to keep an answer.
    pub(crate) cache: OnceLock<Arc<Cache>>,
}

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on a socket for a configured port.
    Listen {
        port: u16,
        socket: std::net::TcpListener,
    },
    /// The same for datagrams.
    Receive {
        port: u16,
        socket: std::net::UdpSocket,
    },
    Close {
        port: ListenPort,
    },
    /// Go on, but let clients open their next connection elsewhere.
    Leave,
    /// Accept no more and let what runs come to its end.
    Drain,
    /// End now.
    Stop,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Leaving,
    Draining,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sink: observe::Sink,
    phase: Cell<Phase>,
    /// Who waits for the drain.
    waiting: RefCell<Slab<Waker>>,
    current: RefCell<Current>,
    stores: RefCell<Rc<limit::Stores>>,
    tokens: RefCell<TokenCache>,
    answers: RefCell<AnswerCache>,
    pool: Rc<Pool>,
    /// For the parts of aggregates.
    room: Rc<Room>,
    /// One for each copy of a request that may be under way.
    mirrors: Arc<Semaphore>,
    /// One for each answer that may be compressed.
    compressions: Arc<Semaphore>,
    /// One for each request that may wait for keys.
    waits: Arc<Semaphore>,
    /// One for each answer that may be fetched anew for nobody in particular.
    refreshes: Arc<Semaphore>,
}

/// The state that a request is served by, from its beginning to its end.
#[derive(Debug, Clone)]
#[allow(clippy::redundant_allocation)] // Counting in `Rc` keeps workers off each other's cache lines.
pub(crate) struct Current(Rc<Arc<Snapshot>>);

/// Runs hyper's tasks on the worker that started them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

/// Ready when no more connections are accepted. Every connection has one that waits, so it is small.
#[derive(Debug)]
pub(crate) struct Draining {
    worker: Rc<Worker>,
    place: Option<usize>,
}

/// Counts a client's connection while it lives.
#[derive(Debug)]
pub(crate) struct Counted(Arc<Shared>);

impl Worker {
    fn new(seed: u64, shared: Arc<Shared>) -> Self {
        let current = Current(Rc::new(shared.snapshot.load_full()));
        let stores = limit::Stores::new(Arc::clone(&shared.counters), current.settings.redis.as_ref());
        Worker {
            sink: shared.observer.worker(seed),
            phase: Cell::new(Phase::Serving),
            waiting: RefCell::default(),
            current: RefCell::new(current),
            stores: RefCell::new(Rc::new(stores)),
            tokens: RefCell::default(),
            answers: RefCell::default(),
            pool: Rc::default(),
            room: Rc::default(),
            mirrors: Arc::new(Semaphore::new(MIRRORS)),
            compressions: Arc::new(Semaphore::new(COMPRESSIONS)),
            waits: Arc::new(Semaphore::new(WAITING)),
            refreshes: Arc::new(Semaphore::new(REFRESHES)),
            shared,
        }
    }

    /// The newest state. Costs a comparison while nothing has changed.
    pub(crate) fn snapshot(&self) -> Current {
        let newest = self.shared.snapshot.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(&newest, &current.0) {
            if newest.settings.redis != current.settings.redis {
                let stores =
                    limit::Stores::new(Arc::clone(&self.shared.counters), newest.settings.redis.as_ref());
                *self.stores.borrow_mut() = Rc::new(stores);
            }
            *current = Current(Rc::new(Arc::clone(&newest)));
        }
        current.clone()
    }

    pub(crate) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    pub(crate) fn room(&self) -> &Rc<Room> {
        &self.room
    }

    /// `None` when as many copies of requests are under way as may be.
    pub(crate) fn mirror(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.mirrors).try_acquire_owned().ok()
    }

    /// `None` when as many answers are compressed as may be.
    pub(crate) fn compress(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.compressions).try_acquire_owned().ok()
    }

    /// What all workers keep, with room for so many bytes.
    pub(crate) fn cache(&self, bytes: u64) -> &Arc<Cache> {
        let cache = self.shared.cache.get_or_init(|| Cache::new(bytes));
        cache.resize(bytes);
        cache
    }

    /// `None` when as many answers are fetched anew as may be.
    pub(crate) fn refresh(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refreshes).try_acquire_owned().ok()
    }

    /// `None` when as many requests wait for keys as may.
    pub(crate) fn wait_for_keys(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waits).try_acquire_owned().ok()
    }

    /// Not to be held across an await.
    pub(crate) fn tokens(&self) -> RefMut<'_, TokenCache> {
        self.tokens.borrow_mut()
    }

    /// Not to be held across an await.
    pub(crate) fn answers(&self) -> RefMut<'_, AnswerCache> {
        self.answers.borrow_mut()
    }

    pub(crate) fn stores(&self) -> Rc<limit::Stores> {
        Rc::clone(&self.stores.borrow())
    }

    /// For weights and load balancing.
    pub(crate) fn random(&self) -> u64 {
        self.sink.random()
    }

    /// The end is near: a connection had better be opened anew elsewhere.
    pub(crate) fn leaving(&self) -> bool {
        self.phase.get() >= Phase::Leaving
    }

    /// No more connections are accepted.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase.get() == Phase::Draining
    }

    /// Waits until no more connections are accepted.
    pub(crate) fn draining(self: &Rc<Self>) -> Draining {
        Draining { worker: Rc::clone(self), place: None }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(self.phase.get().max(phase));
        if self.is_draining() {
            for waker in self.waiting.take().drain() {
                waker.wake();
            }
        }
    }

    /// `None` when there are as many connections as allowed.
    pub(crate) fn count_connection(&self, most: usize) -> Option<Counted> {
        let counted = Counted(Arc::clone(&self.shared));
        (self.shared.connections.fetch_add(1, Ordering::Relaxed) < most).then_some(counted)
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Draining { worker, place } = &mut *self;
        if worker.is_draining() {
            return Poll::Ready(());
        }
        let mut waiting = worker.waiting.borrow_mut();
        match *place {
            Some(place) => waiting[place].clone_from(cx.waker()),
            None => *place = Some(waiting.insert(cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // With the drain all places were given up.
            let waker = self.worker.waiting.borrow_mut().try_remove(place);
            drop(waker);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Current {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

/// The body of a worker's thread: ends after `Stop`, or when nobody can command it any more.
pub(crate) fn run(
    seed: u64,
    shared: Arc<Shared>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(seed, shared));
        spawn_local(sweep(Rc::clone(&worker)));
        spawn_local(tick(Rc::clone(&worker)));
        // Dropping its sender closes a port.
        let mut open: HashMap<ListenPort, watch::Sender<()>> = HashMap::new();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen { port, socket } => match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let (close, closed) = watch::channel(());
                        open.insert(ListenPort::Tcp(port), close);
                        spawn_local(listen::accept(Rc::clone(&worker), port, socket, closed));
                    }
                    Err(error) => tracing::error!(port, %error, "can't accept"),
                },
                Command::Receive { port, socket } => match tokio::net::UdpSocket::from_std(socket) {
                    Ok(socket) => {
                        let (close, closed) = watch::channel(());
                        open.insert(ListenPort::Udp(port), close);
                        spawn_local(stream::serve_udp(Rc::clone(&worker), port, socket, closed));
                    }
                    Err(error) => tracing::error!(port, %error, "can't receive"),
                },
                Command::Close { port } => {
                    open.remove(&port);
                }
                Command::Leave => worker.enter(Phase::Leaving),
                Command::Drain => {
                    open.clear();
                    worker.enter(Phase::Draining);
                }
                Command::Stop => break,
            }
        }
    });
    // Connections that are left do not get to hold the process up.
    runtime.shutdown_background();
    Ok(())
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        worker.pool().sweep();
        // An idle worker must not keep an old state alive.
        worker.snapshot();
    }
}

async fn tick(worker: Rc<Worker>) {
    let mut ticks = interval(TICK);
    loop {
        ticks.tick().await;
        worker.sink.tick();
        worker.pool().part();
    }
}
