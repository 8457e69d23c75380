//! When requests are due, and who sends them.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::stats::Random;

/// Requests that are due, and the connections that wait for one: the longest idle takes the next.
#[derive(Default)]
pub struct Arrivals {
    due: RefCell<VecDeque<Instant>>,
    idle: RefCell<VecDeque<Waker>>,
    endless: Cell<bool>,
}

impl Arrivals {
    /// Waits for a request to be due, and gives when it was.
    pub async fn next(&self) -> Instant {
        poll_fn(|cx| {
            if self.endless.get() {
                return Poll::Ready(Instant::now());
            }
            match self.due.borrow_mut().pop_front() {
                Some(due) => Poll::Ready(due),
                None => {
                    self.idle.borrow_mut().push_back(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Something is always due: a closed loop.
    pub fn without_end(&self) {
        self.endless.set(true);
        self.idle.borrow_mut().drain(..).for_each(Waker::wake);
    }

    pub fn waiting(&self) -> usize {
        self.due.borrow().len()
    }

    fn add(&self, due: Instant) {
        self.due.borrow_mut().push_back(due);
        if let Some(waker) = self.idle.borrow_mut().pop_front() {
            waker.wake();
        }
    }
}

/// Independent arrivals at a mean `rate` a second (a Poisson process). Times are exact to microseconds: a runtime's own
/// timers have milliseconds.
pub(super) async fn pace(arrivals: Rc<Arrivals>, rate: f64, seed: u64) {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
        .expect("a timer");
    // What its replacement asks the caller to promise, an `OwnedFd` keeps: the descriptor stays the same and open.
    #[allow(deprecated)]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE).expect("a registered timer");
    let mut random = Random(seed);
    let mut due = Instant::now();
    loop {
        due += Duration::from_secs_f64(random.gap() / rate);
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            wait(&timer, left).await;
        }
        arrivals.add(due);
    }
}

async fn wait(timer: &AsyncFd<OwnedFd>, left: Duration) {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    let once = Itimerspec { it_interval: zero, it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once).expect("a timer that can be set");
    let mut count = [0; 8];
    loop {
        let mut ready = timer.readable().await.expect("a timer that fires");
        if ready.try_io(|timer| Ok(rustix::io::read(timer, &mut count)?)).is_ok() {
            return;
        }
    }
}
