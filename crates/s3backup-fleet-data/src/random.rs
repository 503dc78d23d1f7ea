//! The one source of chance: `SplitMix64`.
//!
//! A generator of our own, because the bytes of a set must never depend on the version of a random number crate,
//! and because a few lines are all it takes. It is not meant to be unpredictable.

use std::ops::Range;

/// `SplitMix64` as published by Steele, Lea and Flood ("Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator for one purpose: the same parts give the same numbers, other parts unrelated ones.
    pub(crate) fn keyed(seed: u64, parts: &[u64]) -> Self {
        parts.iter().fold(Self::new(seed), |mut random, part| Self::new(random.next() ^ part))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `limit - 1`; 0 if the limit is 0. The bias of the remainder is far below what matters.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// One of the indices of a range, or its start if it is empty.
    pub(crate) fn place_in(&mut self, range: Range<usize>) -> usize {
        range.start + usize::try_from(self.below(range.len() as u64)).unwrap_or(0)
    }

    /// A number from 0 up to, but without, 1. Exact in an `f64`, so the same on every machine.
    pub(crate) fn unit(&mut self) -> f64 {
        const TWO_TO_53: f64 = 9_007_199_254_740_992.0;
        (self.next() >> 11) as f64 / TWO_TO_53
    }

    /// A number from `low` up to `high`.
    pub(crate) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number around 0 with the standard deviation 1, as the sum of eight even ones: close to a normal distribution
    /// (kurtosis 2.85), and never further than 4.9.
    pub(crate) fn normal(&mut self) -> f64 {
        /// Twelve, the inverse variance of an even number from 0 to 1, divided by eight.
        const INVERSE_VARIANCE: f64 = 12.0 / 8.0;
        let sum: u64 = [self.next(), self.next()]
            .iter()
            .flat_map(|number| [number & 0xFFFF, number >> 16 & 0xFFFF, number >> 32 & 0xFFFF, number >> 48])
            .sum();
        ((sum + 4) as f64 / 65_536.0 - 4.0) * INVERSE_VARIANCE.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    /// The published reference values for the seed 1234567.
    #[test]
    fn is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn stays_within_its_limits() {
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            assert!((-3.0..3.0).contains(&random.range(-3.0, 3.0)));
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn normal_numbers_are_spread_as_they_should_be() {
        let mut random = Random::new(5);
        let numbers: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = numbers.iter().sum::<f64>() / 100_000.0;
        let variance = numbers.iter().map(|number| number * number).sum::<f64>() / 100_000.0;
        let within_one = numbers.iter().filter(|number| number.abs() < 1.0).count();
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!((67_000..69_500).contains(&within_one), "{within_one}");
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let first = |parts: &[u64]| Random::keyed(42, parts).next();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[1, 2]), first(&[1, 3]));
    }
}
