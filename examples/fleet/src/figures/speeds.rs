//! How long which speed was driven.

use serde::{Deserialize, Serialize};

/// Driving time by speed, in bins of 0.1 m/s from 0 to 100 m/s; what is faster is in the last one.
///
/// A percentile that is read from it is wrong by less than the width of a bin, 0.1 m/s (0.36 km/h).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Speeds {
    /// Milliseconds in each bin. The last one is never 0, so that equal times are equal values.
    bins_ms: Vec<u64>,
}

impl Speeds {
    /// The width of a bin, in millimetres a second.
    pub const BIN_MMPS: u64 = 100;

    /// The most bins.
    const BINS: usize = 1000;

    /// Adds time at a speed.
    pub fn add(&mut self, speed_mmps: u64, time_ms: u64) {
        let bin = usize::try_from(speed_mmps / Self::BIN_MMPS).unwrap_or(usize::MAX).min(Self::BINS - 1);
        if time_ms == 0 {
            return;
        }
        if self.bins_ms.len() <= bin {
            self.bins_ms.resize(bin + 1, 0);
        }
        if let Some(sum) = self.bins_ms.get_mut(bin) {
            *sum = sum.saturating_add(time_ms);
        }
    }

    /// Adds the times of another.
    pub fn merge(&mut self, other: &Self) {
        if self.bins_ms.len() < other.bins_ms.len() {
            self.bins_ms.resize(other.bins_ms.len(), 0);
        }
        for (sum, time_ms) in self.bins_ms.iter_mut().zip(&other.bins_ms) {
            *sum = sum.saturating_add(*time_ms);
        }
    }

    /// The times of the bins, in milliseconds, from 0 m/s on; the bins after the last one are empty.
    pub fn bins_ms(&self) -> &[u64] {
        &self.bins_ms
    }

    /// The speed that is kept to for `share` (0 to 1) of the driving time, in metres a second; `None` without any.
    ///
    /// The 85th percentile is the one of traffic engineering, "the speed at or below which 85 percent of vehicles travel"
    /// (Federal Highway Administration, "Speed Concepts: Informational Guide", FHWA-SA-10-001, 2009, chapter 2). There it is of
    /// the vehicles that pass a place; here it is of the time driven.
    pub fn percentile_mps(&self, share: f64) -> Option<f64> {
        let total_ms = self.bins_ms.iter().fold(0_u64, |sum, time_ms| sum.saturating_add(*time_ms));
        let wanted_ms = total_ms as f64 * share.clamp(0.0, 1.0);
        let mut below_ms = 0.0;
        for (bin, time_ms) in self.bins_ms.iter().enumerate() {
            let time_ms = *time_ms as f64;
            if time_ms > 0.0 && below_ms + time_ms >= wanted_ms {
                let within = (wanted_ms - below_ms) / time_ms;
                return Some((bin as f64 + within) * Self::BIN_MMPS as f64 / 1000.0);
            }
            below_ms += time_ms;
        }
        None
    }
}

impl From<Speeds> for Vec<u64> {
    fn from(speeds: Speeds) -> Self {
        speeds.bins_ms
    }
}

impl TryFrom<Vec<u64>> for Speeds {
    type Error = &'static str;

    fn try_from(mut bins_ms: Vec<u64>) -> Result<Self, Self::Error> {
        if bins_ms.len() > Self::BINS {
            return Err("more bins of speed than there are");
        }
        while bins_ms.last() == Some(&0) {
            bins_ms.pop();
        }
        Ok(Self { bins_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_bin() {
        let mut speeds = Speeds::default();
        assert_eq!(speeds.percentile_mps(0.5), None);
        // As long at each speed from 0.05 to 19.95 m/s.
        for bin in 0..200 {
            speeds.add(bin * 100 + 50, 1000);
        }
        for (share, speed_mps) in [(0.0, 0.0), (0.5, 10.0), (0.85, 17.0), (0.95, 19.0), (1.0, 20.0)] {
            let found = speeds.percentile_mps(share).unwrap();
            assert!((found - speed_mps).abs() < 0.1, "{share}: {found}");
        }
    }

    #[test]
    fn any_speed_has_a_bin() {
        let mut speeds = Speeds::default();
        speeds.add(u64::MAX, u64::MAX);
        speeds.add(u64::MAX, 1);
        assert_eq!(speeds.bins_ms().len(), 1000);
        assert!(speeds.percentile_mps(0.5).unwrap() <= 100.0);
        assert!(Speeds::try_from(vec![1; 1001]).is_err());
        assert_eq!(Speeds::try_from(vec![1, 0, 0]).unwrap().bins_ms(), [1]);
    }
}
