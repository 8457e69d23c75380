//! Work on many values at once, on all cores that may be used.

use std::{num::NonZero, panic::resume_unwind, thread};

/// With fewer values for each, a thread costs more than it saves.
const FEWEST: usize = 256;

/// What `make` gives for each, in their order.
pub fn in_parallel<T: Sync, R: Send>(values: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = values.len().div_ceil(cores).max(FEWEST);
    let make = &make;
    thread::scope(|scope| {
        let mut shares = values.chunks(share);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> =
            shares.map(|share| scope.spawn(move || share.iter().map(make).collect::<Vec<R>>())).collect();
        let mut made: Vec<R> = own.iter().map(make).collect();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        made
    })
}

#[cfg(test)]
mod tests {
    use super::in_parallel;

    #[test]
    fn results_are_in_order_however_many_there_are() {
        for count in [0, 1, 255, 256, 257, 10_000] {
            let values: Vec<usize> = (0..count).collect();
            let made = in_parallel(&values, |value| value * 2);
            assert!(made.into_iter().eq((0..count).map(|value| value * 2)), "{count}");
        }
    }
}
