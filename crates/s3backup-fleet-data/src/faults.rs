//! The faults of real data: how often they are asked for, how often they occurred, and how a line is broken.

use std::{f64::consts::TAU, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{angle::sin_cos, earth::Place, error::Error, motion::Sample, random::Random};

/// How often each fault occurs, each from 0 (never) to 1.
///
/// The rates of points are the chance that a point is hit. The point after a hit is always sound and so are the first
/// and the last ones of a trip, so the share of points that are hit is somewhat lower than the rate and never above a
/// half. A trip of four points or fewer has no faults.
///
/// ```
/// use s3backup_fleet_data::FaultRates;
///
/// let only_gaps = FaultRates { gap: 0.01, ..FaultRates::NONE };
/// # let _ = only_gaps;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultRates {
    /// Points are missing after this one: 5 to 60 of them, during which the vehicle drives on. Default 0.002. The
    /// gaps of a trip together never have more missing points than the trip has points.
    pub gap: f64,
    /// The point's line is written twice, one after the other. Default 0.005.
    pub duplicate: f64,
    /// The point is written one to three lines too late. Default 0.003.
    pub out_of_order: f64,
    /// The point's line does not parse: half of these are cut off, in half some bytes are `0x00` or `0xFF`, so that
    /// they are not UTF-8 either. Default 0.001.
    pub broken: f64,
    /// The point is somewhere else: 1 to 50 km further away than any vehicle could have come from the point before.
    /// Default 0.0005.
    pub teleport: f64,
    /// The speed is one that no vehicle has: 400 to 1,000 km/h. Default 0.0005.
    pub impossible_speed: f64,
    /// The trip's file has no bytes; its modification time is that of the trip's start. Default 0.02. The first trip
    /// of a day of `vehicle-001` is never empty, so that no set is without a point.
    pub empty_file: f64,
}

impl FaultRates {
    /// No faults at all.
    pub const NONE: Self = Self {
        gap: 0.0,
        duplicate: 0.0,
        out_of_order: 0.0,
        broken: 0.0,
        teleport: 0.0,
        impossible_speed: 0.0,
        empty_file: 0.0,
    };

    /// Each rate, and the sum of those that a point can be hit by, must be a chance.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let of_a_point =
            [self.gap, self.duplicate, self.out_of_order, self.broken, self.teleport, self.impossible_speed];
        let all_are_chances =
            of_a_point.iter().chain([&self.empty_file]).all(|rate| (0.0..=1.0).contains(rate));
        if all_are_chances && of_a_point.iter().sum::<f64>() <= 1.0 {
            Ok(())
        } else {
            Err(Error::invalid(
                "fault_rates",
                "each rate, and the sum of those of points, must be from 0 to 1",
            ))
        }
    }

    /// Which fault hits a point, if any. Takes one number from `random` if none does.
    pub(crate) fn draw(&self, random: &mut Random) -> Option<Fault> {
        let chance = random.unit();
        let mut limit = self.gap;
        if chance < limit {
            let missing_points = MIN_GAP_POINTS + random.below(MAX_GAP_POINTS - MIN_GAP_POINTS + 1);
            return Some(Fault::Gap { missing_points });
        }
        limit += self.duplicate;
        if chance < limit {
            return Some(Fault::Duplicate);
        }
        limit += self.out_of_order;
        if chance < limit {
            return Some(Fault::OutOfOrder { delay_lines: 1 + random.below(MAX_DELAY_LINES) });
        }
        limit += self.broken;
        if chance < limit {
            return Some(if random.below(2) == 0 { Fault::Truncated } else { Fault::Garbled });
        }
        limit += self.teleport;
        if chance < limit {
            return Some(Fault::Teleport);
        }
        limit += self.impossible_speed;
        if chance < limit {
            return Some(Fault::ImpossibleSpeed);
        }
        None
    }
}

impl Default for FaultRates {
    fn default() -> Self {
        Self {
            gap: 0.002,
            duplicate: 0.005,
            out_of_order: 0.003,
            broken: 0.001,
            teleport: 0.000_5,
            impossible_speed: 0.000_5,
            empty_file: 0.02,
        }
    }
}

/// Longer than what single broken lines leave missing, so that a reader can tell the two apart.
const MIN_GAP_POINTS: u64 = 5;
const MAX_GAP_POINTS: u64 = 60;
/// By how many lines a point may be late, and therefore how many sound points must follow it.
pub(crate) const MAX_DELAY_LINES: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Gap { missing_points: u64 },
    Duplicate,
    OutOfOrder { delay_lines: u64 },
    Truncated,
    Garbled,
    Teleport,
    ImpossibleSpeed,
}

/// How often each fault occurred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Gaps in the times of a trip.
    pub gaps: u64,
    /// Points that are missing in these gaps.
    pub missing_points: u64,
    /// Lines that repeat the one before.
    pub duplicates: u64,
    /// Points with an earlier time than one on a line above.
    pub out_of_order: u64,
    /// Lines that were cut off.
    pub truncated: u64,
    /// Lines with bytes that do not belong there.
    pub garbled: u64,
    /// Points that are not where the vehicle was.
    pub teleports: u64,
    /// Points with a speed that no vehicle has.
    pub impossible_speeds: u64,
    /// Files without a byte.
    pub empty_files: u64,
}

impl FaultCounts {
    /// Lines that do not parse.
    pub fn broken(&self) -> u64 {
        self.truncated + self.garbled
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.gaps += other.gaps;
        self.missing_points += other.missing_points;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.truncated += other.truncated;
        self.garbled += other.garbled;
        self.teleports += other.teleports;
        self.impossible_speeds += other.impossible_speeds;
        self.empty_files += other.empty_files;
    }
}

/// Faster than any vehicle of the fleet, and than any road vehicle that a reader may have to think of.
const TELEPORT_MPS: f64 = 140.0;

/// Throws a point away from its place, `interval_s` after the point before.
pub(crate) fn teleport(sample: &mut Sample, interval_s: f64, random: &mut Random) {
    let distance_m = random.range(1_000.0, 50_000.0) + TELEPORT_MPS * interval_s;
    let (east, north) = sin_cos(random.range(0.0, TAU));
    let place = Place::new(sample.latitude_deg, sample.longitude_deg);
    (sample.latitude_deg, sample.longitude_deg) = place.away_deg(distance_m * north, distance_m * east);
}

pub(crate) fn impossible_speed(sample: &mut Sample, random: &mut Random) {
    sample.speed_mps = random.range(400.0, 1_000.0) / 3.6;
}

/// The part of a line (without its line feed) in which damage makes it unreadable. The beginning of a JSON object is
/// never one itself, and in a row of CSV time and latitude must be whole.
fn vital(line: &[u8]) -> Range<usize> {
    let half = line.len() / 2;
    if line.first() == Some(&b'{') { half..line.len() } else { half / 2..half }
}

/// Cuts a line off.
pub(crate) fn truncate(line: &mut Vec<u8>, random: &mut Random) {
    let cut = random.place_in(vital(line));
    line.truncate(cut);
}

/// Overwrites one to eight bytes of a line with such as no text may contain.
pub(crate) fn garble(line: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(8) {
        let at = random.place_in(vital(line));
        let garbage = if random.below(2) == 0 { 0x00 } else { 0xFF };
        if let Some(byte) = line.get_mut(at) {
            *byte = garbage;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_never_parses() {
        let whole = br#"{"t":"2026-11-23T08:15:02.000+09:00","lat":37.566535}"#;
        let mut random = Random::new(3);
        for _ in 0..1_000 {
            let mut line = whole.to_vec();
            truncate(&mut line, &mut random);
            assert!(line.len() >= whole.len() / 2 && line.len() < whole.len());
            assert!(serde_json::from_slice::<serde_json::Value>(&line).is_err());

            let mut line = whole.to_vec();
            garble(&mut line, &mut random);
            assert!(!line.contains(&b'\n'));
            assert!(serde_json::from_slice::<serde_json::Value>(&line).is_err());
        }
    }

    #[test]
    fn rates_that_are_no_chances_are_refused() {
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(FaultRates { gap: rate, ..FaultRates::NONE }.check().is_err());
            assert!(FaultRates { empty_file: rate, ..FaultRates::NONE }.check().is_err());
        }
        assert!(FaultRates { gap: 0.6, broken: 0.6, ..FaultRates::NONE }.check().is_err());
        assert!(FaultRates::default().check().is_ok());
    }

    #[test]
    fn faults_come_as_often_as_asked() {
        let rates = FaultRates { duplicate: 0.25, ..FaultRates::NONE };
        let mut random = Random::new(9);
        let hits = (0..100_000).filter(|_| rates.draw(&mut random).is_some()).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
    }
}
