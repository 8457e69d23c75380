//! Exact tests of proportions: how likely it is that chance alone makes as many failures, or more. Pure.
//!
//! Sums of probabilities, by logarithms of factorials; no table and no approximation by a normal distribution, which is
//! wrong just where it matters: few failures.

/// Below this, a logarithm of a factorial is summed up.
const SMALL: u64 = 64;
/// What adds less than this part to a sum adds nothing.
const NEGLIGIBLE: f64 = 1e-12;

/// Fisher's exact test, one-sided: of `canary` + `stable` requests `failures` + `others` have failed. If chance alone had
/// decided which, the probability that `failures` or more of them are the canary's.
pub(super) fn fisher(failures: u64, canary: u64, others: u64, stable: u64) -> f64 {
    let (failed, all) = (failures + others, canary + stable);
    if failures == 0 || all == 0 {
        return 1.0;
    }
    // Not more than is to be expected.
    if (failures as f64) * (all as f64) <= (failed as f64) * (canary as f64) {
        return 1.0;
    }
    let first =
        ln_choose(failed, failures) + ln_choose(all - failed, canary - failures) - ln_choose(all, canary);
    tail(first, failures, failed.min(canary), |count| {
        let count = count as f64;
        let missed = all as f64 - failed as f64 - canary as f64 + count + 1.0;
        (failed as f64 - count) * (canary as f64 - count) / ((count + 1.0) * missed)
    })
}

/// The probability that of `all`, each with probability `share`, `count` or more come about.
pub(super) fn binomial(count: u64, all: u64, share: f64) -> f64 {
    if count == 0 || count as f64 <= share * all as f64 {
        return 1.0;
    }
    if share <= 0.0 {
        return 0.0;
    }
    let first = ln_choose(all, count) + count as f64 * share.ln() + (all - count) as f64 * (-share).ln_1p();
    let odds = share / (1.0 - share);
    tail(first, count, all, |count| odds * (all - count) as f64 / (count + 1) as f64)
}

/// Sums probabilities from `count` to `last`. `ratio`: of the next to that of a count. They fall, for the first is beyond
/// the most likely.
fn tail(ln_first: f64, count: u64, last: u64, ratio: impl Fn(u64) -> f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for count in count..last {
        term *= ratio(count);
        sum += term;
        if term < sum * NEGLIGIBLE {
            break;
        }
    }
    (ln_first + f64::ln(sum)).exp().min(1.0)
}

fn ln_choose(all: u64, some: u64) -> f64 {
    ln_factorial(all) - ln_factorial(some) - ln_factorial(all.saturating_sub(some))
}

/// Stirling's series.
fn ln_factorial(number: u64) -> f64 {
    if number < SMALL {
        return (2..=number).map(|factor| (factor as f64).ln()).sum();
    }
    let x = number as f64;
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3))
}

#[cfg(test)]
mod tests {
    use super::{SMALL, binomial, fisher, ln_factorial};

    fn near(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= wanted * 1e-6
    }

    #[test]
    fn factorials_meet() {
        let sum: f64 = (2..=SMALL).map(|factor| (factor as f64).ln()).sum();
        assert!(near(ln_factorial(SMALL), sum), "{} {sum}", ln_factorial(SMALL));
    }

    #[test]
    fn small_cases_by_hand() {
        // 3 of 3 failures in the half: 1/2 * 4/9 * 3/8.
        assert!(near(fisher(3, 5, 0, 5), 1.0 / 12.0));
        // The lady and her tea: 3 of 4 right, or all.
        assert!(near(fisher(3, 4, 1, 4), 17.0 / 70.0));
        assert!(near(binomial(2, 2, 0.5), 0.25));
        assert!(near(binomial(3, 4, 0.5), 5.0 / 16.0));
        assert!(near(binomial(3, 100, 0.01), 1.0 - (0.366_032_341 + 0.369_729_638 + 0.184_864_819)));
    }

    #[test]
    fn what_is_to_be_expected_is_no_evidence() {
        for (failures, canary, others, stable) in
            [(0, 0, 0, 0), (0, 100, 5, 100), (5, 100, 5, 100), (100, 100, 100, 100), (1, 100, 19, 1900)]
        {
            assert_eq!(fisher(failures, canary, others, stable), 1.0);
        }
        assert_eq!(binomial(0, 10, 0.0), 1.0);
        assert_eq!(binomial(5, 50, 0.1), 1.0);
        assert_eq!(binomial(1, 50, 0.0), 0.0);
    }

    #[test]
    fn large_numbers_end_soon_and_stay_probabilities() {
        let large = 1_000_000_000_u64;
        let p = fisher(large / 2 + 100_000, large, large / 2, large);
        assert!((0.0..1e-3).contains(&p), "{p}");
        let p = fisher(large / 2 + 100, large, large / 2, large);
        assert!((0.3..0.6).contains(&p), "{p}");
        assert!((0.0..1e-3).contains(&binomial(large / 10 + 50_000, large, 0.1)));
        assert!(fisher(100, 100, 0, large) < 1e-100);
    }
}
