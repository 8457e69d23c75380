//! How long a rule waits for backends that do not take connections, or let a request lie.

use std::{pin::Pin, time::Duration};

use gatehouse_proto::config::v1;
use tokio::time::{Instant, timeout_at};

use super::{BodyState, Failed};
use crate::Reason;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For a connection, and as long for TLS on it.
    pub(crate) connect: Option<Duration>,
    /// While nothing of a request goes to the backend and nothing of its answer comes.
    pub(crate) idle: Option<Duration>,
}

impl Patience {
    /// `None`: nothing is said.
    pub(crate) fn compile(timeouts: &v1::Timeouts) -> Option<Box<Self>> {
        let time = |milliseconds| (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
        let (connect, idle) = (time(timeouts.connect_ms), time(timeouts.idle_ms));
        (connect.is_some() || idle.is_some()).then(|| Box::new(Patience { connect, idle }))
    }
}

/// Gives up at a time, and when nothing of the request has moved for a while although its client has sent more.
pub(crate) async fn bounded<T>(
    mut sending: Pin<&mut impl Future<Output = Result<T, Failed>>>,
    until: Option<Instant>,
    idle: Option<Duration>,
    state: &BodyState,
) -> Result<T, Failed> {
    let mut moved = Instant::now();
    if idle.is_some() {
        state.watch(moved);
    }
    loop {
        let silent = idle.map(|idle| moved + idle);
        let Some(next) = until.into_iter().chain(silent).min() else { return sending.await };
        if let Ok(outcome) = timeout_at(next, sending.as_mut()).await {
            return outcome;
        }
        moved = state.moved(next);
        if until.is_some_and(|until| until <= next) || idle.is_some_and(|idle| moved + idle <= next) {
            return Err(Failed::Sent(Reason::UpstreamTimeout));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn given_up_after(until: Option<u64>, idle: Option<u64>, moves: &[u64], starves: bool) -> Duration {
        let (state, began) = (BodyState::default(), Instant::now());
        let mut sending = pin!(async {
            for at in moves {
                tokio::time::sleep_until(began + *at as u32 * SECOND).await;
                state.note(false);
            }
            if starves {
                state.note(true);
                tokio::time::sleep(30 * SECOND).await;
                state.note(false);
            }
            pending::<Result<(), Failed>>().await
        });
        let until = until.map(|seconds| began + seconds as u32 * SECOND);
        let idle = idle.map(|seconds| seconds as u32 * SECOND);
        let outcome = bounded(sending.as_mut(), until, idle, &state).await;
        assert_eq!(outcome, Err(Failed::Sent(Reason::UpstreamTimeout)));
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_cut_off_and_progress_is_not() {
        for (until, idle, moves, starves, seconds) in [
            (None, Some(10), &[][..], false, 10),
            (Some(7), None, &[], false, 7),
            (Some(7), Some(10), &[], false, 7),
            (Some(25), Some(10), &[3, 9, 15], false, 25),
            (Some(20), Some(10), &[3, 9], false, 19),
            (None, Some(10), &[3, 9, 18], false, 28),
            // The client is the one who is slow: its own limit is another.
            (None, Some(10), &[5], true, 45),
        ] {
            let after = given_up_after(until, idle, moves, starves).await;
            assert_eq!(after.as_secs(), seconds, "{until:?} {idle:?} {moves:?} {after:?}");
        }
    }
}
