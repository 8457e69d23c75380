//! A worker's connection to Redis, or to one shelf of a cluster, and the breaker before it.
//!
//! ```text
//! Idle --first call--> Connecting --connected and probed--> Up --3 failures in a row--> Down
//!                          |  ^-------- connection lost ----+                            |
//!                          +-- failed or too slow --> Down --connected and probed--> Up <+
//! ```
//!
//! A call waits only while connecting or for its answer, and never longer than the time limit. In `Down` it fails at
//! once. Reconnecting is one task, however many calls fail: it tries, waits a little longer each time, and ends when it
//! succeeded or the link is gone.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::cluster::Shelf;
use super::redis::{Call, probe};
use super::server::Server;
use super::store::StoreError;

/// Failures in a row after which Redis counts as down.
const TOLERATED: u32 = 3;
/// How long connecting may take; nobody waits for it in `Down`.
const CONNECT: Duration = Duration::from_millis(500);
/// Pauses between attempts. With [`CONNECT`] they bound how late a Redis that came back is noticed: about 1.1 s.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

pub(super) struct Link {
    server: Arc<Server>,
    shelf: &'static Shelf,
    /// For one call, whatever it has to wait for.
    limit: Duration,
    state: Mutex<State>,
    /// Tells of every change of `state.line`.
    changed: Notify,
}

struct State {
    line: Line,
    /// The reconnecting task is there.
    mending: bool,
    /// Which connection it is, so that a late failure of an earlier one counts for nothing.
    generation: u64,
    /// In a row. A new connection does not forget them: after `Down` the first call to fail opens the breaker again.
    failures: u32,
    /// Before the next attempt; starts anew when a call succeeded, not already when a probe did.
    pause: Duration,
    /// What the log was last told; none: that it works, or nothing yet.
    told: Option<StoreError>,
}

enum Line {
    Idle,
    Connecting,
    Up(MultiplexedConnection),
    Down,
}

impl Link {
    pub(super) fn new(server: Arc<Server>, shelf: &'static Shelf, limit: Duration) -> Arc<Link> {
        let state = State {
            line: Line::Idle,
            mending: false,
            generation: 0,
            failures: 0,
            pause: FIRST_PAUSE,
            told: None,
        };
        Arc::new(Link { server, shelf, limit, state: Mutex::new(state), changed: Notify::new() })
    }

    /// What it leads to.
    pub(super) fn shelf(&self) -> &'static Shelf {
        self.shelf
    }

    /// The longest that a call may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// A call would fail at once.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state.lock().line, Line::Down)
    }

    /// Makes a call within the time limit. A connection that is lost, or leads to a node that no longer has the shelf, is
    /// replaced and the call made again, once, if the time allows; the first may have been counted, which is safe.
    pub(super) async fn run(self: &Arc<Link>, call: &Call<'_>) -> Result<Vec<i64>, StoreError> {
        let mut generation = None;
        let attempts = async {
            for last in [false, true] {
                let (mut connection, current) = self.connection().await?;
                generation = Some(current);
                match call.send(&mut connection).await {
                    Err(error) if error.needs_another() && !last => self.failed(generation, error),
                    answer => return answer,
                }
            }
            Err(StoreError::Lost)
        };
        match timeout(self.limit, attempts).await {
            Ok(Ok(answer)) => {
                self.succeeded();
                Ok(answer)
            }
            Ok(Err(error)) => {
                self.failed(generation, error);
                Err(error)
            }
            Err(_) => {
                self.failed(generation, StoreError::TimedOut);
                Err(StoreError::TimedOut)
            }
        }
    }

    async fn connection(self: &Arc<Link>) -> Result<(MultiplexedConnection, u64), StoreError> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock();
                match &state.line {
                    Line::Up(connection) => return Ok((connection.clone(), state.generation)),
                    Line::Down => return Err(StoreError::Down),
                    Line::Idle => {
                        state.line = Line::Connecting;
                        self.mend(&mut state, Duration::ZERO);
                    }
                    Line::Connecting => {}
                }
            }
            changed.await;
        }
    }

    fn succeeded(&self) {
        let mut state = self.state.lock();
        state.failures = 0;
        state.pause = FIRST_PAUSE;
    }

    /// `generation`: of the connection that failed; none when there was none yet.
    fn failed(self: &Arc<Link>, generation: Option<u64>, error: StoreError) {
        let mut state = self.state.lock();
        match &state.line {
            Line::Up(_) if generation == Some(state.generation) => {
                state.failures += 1;
                if state.failures >= TOLERATED {
                    state.line = Line::Down;
                    let pause = state.pause;
                    self.mend(&mut state, pause);
                } else if error.needs_another() {
                    // Idle connections are closed by servers and middleboxes: the first answer to that is a new one.
                    state.line = Line::Connecting;
                    self.mend(&mut state, Duration::ZERO);
                }
            }
            // Somebody waited for the whole time limit: nobody else shall.
            Line::Connecting if error == StoreError::TimedOut => state.line = Line::Down,
            Line::Up(_) | Line::Connecting | Line::Idle | Line::Down => return,
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn mend(self: &Arc<Link>, state: &mut State, first: Duration) {
        if !state.mending {
            state.mending = true;
            tokio::spawn(mend(Arc::downgrade(self), first));
        }
    }

    /// Connects and proves that decisions can be made, as fast as they have to be.
    async fn connect(
        server: &Server,
        shelf: &Shelf,
        limit: Duration,
    ) -> Result<MultiplexedConnection, StoreError> {
        let connect = timeout(CONNECT, server.connect(shelf));
        let mut connection = connect.await.map_err(|_| StoreError::TimedOut)??;
        timeout(limit, probe(&mut connection, shelf)).await.map_err(|_| StoreError::TimedOut)??;
        Ok(connection)
    }
}

impl State {
    /// Tells the log why there is no connection, or that there is one again: once, however often it is tried.
    fn tell(&mut self, outcome: Result<(), StoreError>, slot: Option<u16>) {
        match outcome {
            Ok(()) if self.told.is_some() => tracing::info!(slot, "limits count in Redis again"),
            Err(error) if self.told != Some(error) => {
                tracing::warn!(slot, %error, "limits can't count in Redis: onStoreFailure of each policy decides");
            }
            Ok(()) | Err(_) => {}
        }
        self.told = outcome.err();
    }
}

/// Tries until a connection stands.
async fn mend(link: Weak<Link>, first: Duration) {
    let mut pause = first;
    loop {
        tokio::time::sleep(jittered(pause)).await;
        let Some((server, shelf, limit)) =
            link.upgrade().map(|link| (Arc::clone(&link.server), link.shelf, link.limit))
        else {
            return;
        };
        let connected = Link::connect(&server, shelf, limit).await;
        let Some(link) = link.upgrade() else { return };
        let mut state = link.state.lock();
        let done = connected.is_ok();
        state.tell(connected.as_ref().map(|_| ()).map_err(|error| *error), shelf.slot);
        match connected {
            Ok(connection) => {
                state.line = Line::Up(connection);
                state.generation += 1;
                state.mending = false;
            }
            Err(_) => {
                server.failed();
                state.line = Line::Down;
                pause = state.pause;
                state.pause = (state.pause * 2).min(LONGEST_PAUSE);
            }
        }
        drop(state);
        link.changed.notify_waiters();
        if done {
            return;
        }
    }
}

/// Up to a quarter longer, so that workers do not try all at once.
fn jittered(pause: Duration) -> Duration {
    let random = ahash::RandomState::new().hash_one(pause) % 256;
    pause + pause * u32::try_from(random).unwrap_or(0) / 1024
}

/// Tells nothing of the target: its URL may hold a password.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self.state.lock().line {
            Line::Idle => "idle",
            Line::Connecting => "connecting",
            Line::Up(_) => "up",
            Line::Down => "down",
        };
        f.debug_struct("Link").field("line", &line).field("limit", &self.limit).finish_non_exhaustive()
    }
}
