//! The histogram of `VersionCounts.durations`, as both sides know it.

/// Buckets with a bound; what is beyond the last has one more.
pub const BUCKETS: usize = 72;

/// Upper bounds, in microseconds: from a quarter of a millisecond to 55 seconds, each 2^(1/4) times the one before.
pub const BOUNDS: [u64; BUCKETS] = bounds();

/// 2^(1/4), 2^(2/4) and 2^(3/4) in millionths.
const ROOTS: [u64; 4] = [1_000_000, 1_189_207, 1_414_214, 1_681_793];

const fn bounds() -> [u64; BUCKETS] {
    let mut bounds = [0; BUCKETS];
    let mut index = 0;
    while index < BUCKETS {
        bounds[index] = (250 << (index / 4)) * ROOTS[index % 4] / 1_000_000;
        index += 1;
    }
    bounds
}

/// The bucket of a duration.
pub fn bucket(micros: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < micros)
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, BUCKETS, bucket};

    #[test]
    fn bounds_grow_evenly() {
        assert_eq!((BOUNDS[0], BOUNDS[4], BOUNDS[8]), (250, 500, 1000));
        assert!((55_000_000..56_000_000).contains(&BOUNDS[BUCKETS - 1]), "{}", BOUNDS[BUCKETS - 1]);
        for pair in BOUNDS.windows(2) {
            let ratio = pair[1] as f64 / pair[0] as f64;
            assert!((1.18..1.20).contains(&ratio), "{pair:?}");
        }
        assert_eq!([bucket(0), bucket(250), bucket(251), bucket(u64::MAX)], [0, 0, 1, BUCKETS]);
    }
}
