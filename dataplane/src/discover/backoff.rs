//! How long to wait before the next attempt to connect: twice as long each time, and never all dataplanes at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { next: FIRST.min(longest), longest }
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// Between half and all of the present step; `random` is from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.longest);
        step.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn it_doubles_to_the_longest_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(350));
        let steps = [1.0; 4].map(|random| backoff.next(random).as_millis());
        assert_eq!(steps, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(50));
        assert_eq!(backoff.next(0.5), Duration::from_millis(150));
    }
}
