//! What was admitted, against the limit: over every stretch of time; and what one exact count would have admitted of the
//! same requests.

use std::collections::VecDeque;

use crate::spec::{Algorithm, Limit};

/// By how many requests the fullest stretch of time is above the limit; 0: none is.
///
/// `at`: the admissions of one key in microseconds, in order. A bucket: every stretch, of length t, against
/// `requests` / `per` * t + `burst`. A window: every half-open stretch of length `per` against `requests`.
pub(crate) fn over(limit: &Limit, at: &[u64]) -> f64 {
    match limit.algorithm {
        Algorithm::TokenBucket => over_bucket(limit, at),
        Algorithm::SlidingWindow => over_window(limit, at),
    }
}

fn over_bucket(limit: &Limit, at: &[u64]) -> f64 {
    // In requests times microseconds of `per`, so that nothing is rounded.
    let per = i128::from(limit.per) * 1000;
    let (requests, burst) = (i128::from(limit.requests), i128::from(limit.burst));
    // Where the fullest stretch that ends here begins: the least, so far, of what came before less what may have.
    let mut lowest = i128::MAX;
    let mut worst = 0;
    for (n, at) in (0..).zip(at) {
        let here = n * per - i128::from(*at) * requests;
        lowest = lowest.min(here);
        worst = worst.max(here + per - lowest - burst * per);
    }
    worst as f64 / per as f64
}

fn over_window(limit: &Limit, at: &[u64]) -> f64 {
    let per = limit.per * 1000;
    let mut first = 0;
    let mut most = 0;
    for (n, last) in at.iter().enumerate() {
        while at[first] + per <= *last {
            first += 1;
        }
        most = most.max(n - first + 1);
    }
    (most as u64).saturating_sub(limit.requests) as f64
}

/// How many of the requests of one key, which came at these microseconds, in order, one exact count admits.
pub(crate) fn ideal(limit: &Limit, came: &[u64]) -> u64 {
    match limit.algorithm {
        Algorithm::TokenBucket => {
            let (requests, per) = (u128::from(limit.requests), u128::from(limit.per) * 1000);
            let depth = u128::from(limit.burst) * per;
            let (mut full_at, mut admitted) = (0, 0);
            for at in came {
                let now = u128::from(*at) * requests;
                let next = now.max(full_at) + per;
                if next <= now + depth {
                    full_at = next;
                    admitted += 1;
                }
            }
            admitted
        }
        Algorithm::SlidingWindow => {
            let mut window = VecDeque::<u64>::new();
            let mut admitted = 0;
            for at in came {
                while window.front().is_some_and(|first| *first + limit.per * 1000 <= *at) {
                    window.pop_front();
                }
                if (window.len() as u64) < limit.requests {
                    window.push_back(*at);
                    admitted += 1;
                }
            }
            admitted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Limit, ideal, over};

    const BUCKET: Limit = Limit { algorithm: Algorithm::TokenBucket, requests: 10, per: 1000, burst: 3 };
    const WINDOW: Limit = Limit { algorithm: Algorithm::SlidingWindow, requests: 3, per: 1000, burst: 0 };

    /// Tries every stretch that begins and ends with an admission: no other is fuller.
    fn literally(limit: &Limit, at: &[u64]) -> f64 {
        let mut worst: f64 = 0.0;
        for (first, from) in at.iter().enumerate() {
            for (last, to) in at.iter().enumerate().skip(first) {
                let count = (last - first + 1) as f64;
                let allowed = match limit.algorithm {
                    Algorithm::TokenBucket => (to - from) as f64 / 100_000.0 + limit.burst as f64,
                    Algorithm::SlidingWindow if to - from < limit.per * 1000 => limit.requests as f64,
                    Algorithm::SlidingWindow => f64::MAX,
                };
                worst = worst.max(count - allowed);
            }
        }
        worst
    }

    #[test]
    fn the_fullest_stretch_is_found() {
        let mut random = 1_u64;
        for round in 0..300 {
            let mut at = 5_000_000;
            let times: Vec<u64> = (0..40)
                .map(|_| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    at += (random >> 40) % (1 + round * 1500);
                    at
                })
                .collect();
            for limit in [BUCKET, WINDOW] {
                let (found, literal) = (over(&limit, &times), literally(&limit, &times));
                assert!((found - literal).abs() < 1e-6, "{limit:?} {times:?}: {found}, {literal}");
            }
        }
    }

    #[test]
    fn one_too_many_shows_and_one_at_the_edge_does_not() {
        assert_eq!(over(&WINDOW, &[0, 1, 2, 1_000_000]), 0.0);
        assert_eq!(over(&WINDOW, &[0, 1, 2, 999_999]), 1.0);
        assert_eq!(over(&BUCKET, &[0, 0, 0, 100_000]), 0.0);
        assert!(over(&BUCKET, &[0, 0, 0, 99_999]) > 0.0);
    }

    #[test]
    fn what_an_exact_count_admits_is_within_and_all_there_is() {
        let came: Vec<u64> = (0..1000).map(|n| 1_000_000 + n * 10_000).collect();
        // 9.99 s: 3 at once and ten a second; three a second.
        assert_eq!((ideal(&BUCKET, &came), ideal(&WINDOW, &came)), (102, 30));
        assert_eq!(ideal(&WINDOW, &[0, 1, 2, 3, 999_999, 1_000_000]), 4);
    }
}
