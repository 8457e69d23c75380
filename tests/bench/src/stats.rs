//! Medians of paired ratios, and how sure they are.
//!
//! A round runs every gateway once. The ratio of two in one round is free of what changed between rounds; the interval
//! is the bootstrap's, percentiles 2.5 and 97.5 of the medians of resampled rounds. The random numbers are the same in
//! every run: the same samples give the same interval.

const RESAMPLES: usize = 10_000;

/// A median and the interval that holds it with 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    /// `None` without samples.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let median = median(samples.to_vec())?;
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| {
                self::median((0..samples.len()).map(|_| samples[random.below(samples.len())]).collect())
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        let at = |share: f64| medians[((medians.len() - 1) as f64 * share).round() as usize];
        Some(Estimate { median, low: at(0.025), high: at(0.975) })
    }

    /// Of `ours[i] / theirs[i]`.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        Estimate::of(&ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }
}

/// A small generator (SplitMix64) for orders and arrivals that can be had again.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// Exponentially distributed with mean 1: the gaps of independent arrivals.
    pub fn gap(&mut self) -> f64 {
        let uniform = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
        -(1.0 - uniform).ln()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match samples.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(samples[middle]),
        _ => Some((samples[middle - 1] + samples[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{Estimate, Random};

    #[test]
    fn an_estimate_holds_its_median() {
        assert_eq!(Estimate::of(&[]), None);
        let of = |samples: &[f64]| Estimate::of(samples).unwrap();
        assert_eq!(of(&[2.0]), Estimate { median: 2.0, low: 2.0, high: 2.0 });
        let spread = of(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(spread.median, 2.5);
        assert!(spread.low < 2.5 && 2.5 < spread.high && 1.0 <= spread.low && spread.high <= 4.0);
        let ratios = Estimate::of_ratios(&[1.0, 30.0, 2.0], &[2.0, 60.0, 4.0]).unwrap();
        assert_eq!((ratios.low, ratios.median, ratios.high), (0.5, 0.5, 0.5));
    }

    #[test]
    fn gaps_have_mean_one() {
        let mut random = Random(7);
        let mean = (0..100_000).map(|_| random.gap()).sum::<f64>() / 100_000.0;
        assert!((0.98..1.02).contains(&mean), "{mean}");
    }
}
