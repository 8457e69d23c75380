//! Random numbers for ids, weights and load balancing: they must differ between workers and processes, but nobody gains
//! by guessing them, so this is no source for secrets.
//!
//! xoshiro256++ 1.0 (Blackman and Vigna): its state is wide enough that the sequences of many workers never overlap.

use std::cell::Cell;

#[derive(Debug)]
pub(super) struct Random(Cell<[u64; 4]>);

impl Random {
    /// Spreads the seed over the state by SplitMix64, as the authors advise.
    pub(super) fn from_seed(seed: u64) -> Self {
        let mut state = seed;
        Random(Cell::new(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })))
    }

    pub(super) fn next(&self) -> u64 {
        let mut state = self.0.get();
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        self.0.set(state);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeSet};

    use super::Random;

    #[test]
    fn it_is_the_published_generator() {
        let random = Random(Cell::new([1, 2, 3, 4]));
        for expected in [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386] {
            assert_eq!(random.next(), expected);
        }
    }

    #[test]
    fn neighbouring_seeds_give_different_numbers() {
        let numbers: BTreeSet<u64> = (0..100)
            .flat_map(|seed| {
                let random = Random::from_seed(seed);
                (0..100).map(move |_| random.next())
            })
            .collect();
        assert_eq!(numbers.len(), 10_000);
    }
}
