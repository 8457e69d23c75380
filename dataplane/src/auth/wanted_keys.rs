//! Asks the controller for keys that tokens name and nobody knows here: an issuer may have begun to use new ones.
//!
//! Whoever sends tokens can name what it likes, so one question in a while is asked for each source of keys, however many
//! tokens there are. Who comes while the answer may still come waits for it; who comes later is refused at once.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// So long a request waits for keys: a fetch, its translation and its way here, in most cases.
const WAIT: Duration = Duration::from_secs(2);
/// From one question to the next. The controller has a gap of its own.
const GAP: Duration = Duration::from_secs(10);
/// Questions that wait for the channel; more are dropped, for they will be asked again.
const QUESTIONS: usize = 16;

/// Shared by all workers.
#[derive(Debug)]
pub(crate) struct WantedKeys {
    questions: mpsc::Sender<String>,
    /// By source, when it was last asked for. There are as many as policies name.
    asked: Mutex<HashMap<Box<str>, Instant>>,
}

impl WantedKeys {
    /// The receiver belongs to the channel.
    pub(crate) fn new() -> (Self, mpsc::Receiver<String>) {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        (WantedKeys { questions, asked: Mutex::default() }, asked)
    }

    /// Until when keys may come. `None`: they were asked for, and did not.
    pub(crate) fn ask(&self, jwks: &str, now: Instant) -> Option<Instant> {
        let mut all = self.asked.lock();
        if let Some(asked) = all.get(jwks).copied().filter(|asked| now < *asked + GAP) {
            return Some(asked + WAIT).filter(|until| now < *until);
        }
        self.questions.try_send(jwks.to_owned()).ok()?;
        // Sources that are gone are forgotten, at a pace that nobody sets.
        all.retain(|_, asked| now < *asked + GAP);
        all.insert(jwks.into(), now);
        Some(now + WAIT)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{GAP, WAIT, WantedKeys};

    #[test]
    fn one_question_in_a_while_and_who_comes_meanwhile_waits_for_it() {
        let (keys, mut questions) = WantedKeys::new();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(keys.ask("a", start), Some(start + WAIT));
        for _ in 0..1000 {
            assert_eq!(keys.ask("a", start + second), Some(start + WAIT));
        }
        assert_eq!(keys.ask("b", start + second), Some(start + second + WAIT), "each by itself");
        assert_eq!(keys.ask("a", start + WAIT), None);
        assert_eq!(keys.ask("a", start + GAP - second), None);
        assert_eq!(keys.ask("a", start + GAP), Some(start + GAP + WAIT));
        for wanted in ["a", "b", "a"] {
            assert_eq!(questions.try_recv().as_deref(), Ok(wanted));
        }
        assert!(questions.try_recv().is_err());
    }

    #[test]
    fn what_can_not_be_asked_is_not_waited_for() {
        let (keys, questions) = WantedKeys::new();
        drop(questions);
        assert_eq!(keys.ask("a", Instant::now()), None);
    }
}
