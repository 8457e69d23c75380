//! When requests come, and for which key: the same for the same seed.

use crate::spec::{Keys, Load};

const CYCLE_US: u64 = 200_000;
/// Of a cycle, one part in so many is busy.
const BUSY: u64 = 5;

pub(crate) struct Arrivals {
    load: Load,
    /// Sums of the weights, for [`Keys::Zipf`].
    sums: Vec<f64>,
    random: u64,
}

impl Arrivals {
    pub(crate) fn new(load: Load, seed: u64) -> Arrivals {
        let weights = match load.keys {
            Keys::Zipf(count) => count,
            Keys::Hot | Keys::Uniform(_) => 0,
        };
        let mut sum = 0.0;
        let sums = (1..=weights).map(|n| {
            sum += 1.0 / f64::from(n);
            sum
        });
        Arrivals { load, sums: sums.collect(), random: seed }
    }

    /// How many have come in the first `us` microseconds.
    pub(crate) fn due(&self, us: u64) -> u64 {
        let us =
            if self.load.bursts { us - us % CYCLE_US + (us % CYCLE_US * BUSY).min(CYCLE_US) } else { us };
        (us as f64 * self.load.rate / 1e6) as u64
    }

    pub(crate) fn key(&mut self) -> u32 {
        match self.load.keys {
            Keys::Hot => 0,
            Keys::Uniform(count) => u32::try_from(self.next() % u64::from(count)).unwrap(),
            Keys::Zipf(count) => {
                let at = self.fraction() * self.sums.last().copied().unwrap_or_default();
                u32::try_from(self.sums.partition_point(|sum| *sum <= at)).unwrap().min(count - 1)
            }
        }
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Keys, Load};

    #[test]
    fn bursts_bring_as_many_as_a_steady_stream() {
        let steady = Arrivals::new(Load { keys: Keys::Hot, rate: 1000.0, bursts: false }, 1);
        let bursts = Arrivals::new(Load { keys: Keys::Hot, rate: 1000.0, bursts: true }, 1);
        assert_eq!((steady.due(40_000), bursts.due(40_000)), (40, 200));
        assert_eq!((steady.due(1_000_000), bursts.due(1_000_000)), (1000, 1000));
    }

    #[test]
    fn the_first_keys_of_zipf_are_the_busiest() {
        let mut arrivals = Arrivals::new(Load { keys: Keys::Zipf(1000), rate: 1.0, bursts: false }, 7);
        let mut counts = vec![0; 1000];
        for _ in 0..100_000 {
            counts[arrivals.key() as usize] += 1;
        }
        assert!((12_000..15_000).contains(&counts[0]), "{}", counts[0]);
        assert!((1_100..1_600).contains(&counts[9]), "{}", counts[9]);
    }
}
