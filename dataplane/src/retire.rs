//! Drops old states where nobody waits for it.
//!
//! Whoever lets go of a state last pays for what only that one held: much, when a whole table was replaced. No worker
//! should be the one, so each old state is held here until no worker has it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// How long an old state may stay after its last request. Changes come faster; each is small then.
const EVERY: Duration = Duration::from_millis(200);

/// Runs until nobody can send any more.
pub(crate) async fn retire<S>(mut replaced: mpsc::UnboundedReceiver<Arc<S>>) {
    let mut held: Vec<Arc<S>> = Vec::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            old = replaced.recv() => match old {
                Some(old) => held.push(old),
                None => return,
            },
            _ = ticks.tick(), if !held.is_empty() => held.retain(|old| Arc::strong_count(old) > 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::{EVERY, retire};

    #[tokio::test(start_paused = true)]
    async fn the_last_to_let_go_is_never_a_reader() {
        let (sender, replaced) = mpsc::unbounded_channel();
        tokio::spawn(retire(replaced));
        let reader = Arc::new(());
        let weak = Arc::downgrade(&reader);
        sender.send(Arc::clone(&reader)).unwrap();
        tokio::time::sleep(3 * EVERY).await;
        drop(reader);
        assert_eq!(weak.strong_count(), 1, "it is held after the reader");
        tokio::time::sleep(2 * EVERY).await;
        assert_eq!(weak.strong_count(), 0);
    }
}
