//! How a vehicle moves: one drive, continuous in time, that can be looked at at any instant.
//!
//! Where a vehicle is follows from integrating its velocity, over steps that belong to the drive and not to whoever
//! looks: the same drive sampled more often is the same drive.

use crate::{
    driver::{Driven, Driver},
    earth::Place,
    piece::Piece,
    road::Road,
};

/// The longest step of the integration.
const STEP_S: f64 = 1.0;

/// A vehicle at an instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) latitude_deg: f64,
    pub(crate) longitude_deg: f64,
    pub(crate) speed_mps: f64,
    /// Clockwise from north, 0 up to a full turn.
    pub(crate) heading_rad: f64,
    pub(crate) road: Road,
}

/// A drive.
#[derive(Debug, Clone)]
pub(crate) struct Motion {
    driver: Driver,
    piece: Piece,
    /// When the piece began, and the way up to there.
    piece_start_s: f64,
    piece_start_m: f64,
    /// Where the last step ended, and when, counted from the start of the piece.
    place: Place,
    place_s: f64,
}

impl Motion {
    pub(crate) fn new(mut driver: Driver, start: Place) -> Self {
        let piece = driver.next(&start);
        Self { driver, piece, piece_start_s: 0.0, piece_start_m: 0.0, place: start, place_s: 0.0 }
    }

    /// The vehicle at so many seconds after the start, which are never fewer than they were before.
    pub(crate) fn at(&mut self, time_s: f64) -> Sample {
        while time_s - self.piece_start_s > self.piece.duration_s {
            self.finish_piece();
        }
        let within_s = time_s - self.piece_start_s;
        while self.place_s + STEP_S <= within_s {
            self.step_to(self.place_s + STEP_S);
        }
        let (north_m, east_m) = self.piece.displacement(self.place_s, within_s);
        let (latitude_deg, longitude_deg) = self.place.away_deg(north_m, east_m);
        Sample {
            latitude_deg,
            longitude_deg,
            speed_mps: self.piece.speed_at(within_s).max(0.0),
            heading_rad: self.piece.heading_at(within_s),
            road: self.piece.road,
        }
    }

    /// The way from the start to an instant, which is in the piece that was looked at last.
    pub(crate) fn way_m(&self, time_s: f64) -> f64 {
        self.piece_start_m + self.piece.way_at(time_s - self.piece_start_s)
    }

    /// The events and near misses that began so far, and perhaps some that are about to.
    pub(crate) fn driven(&self) -> &[Driven] {
        &self.driver.driven
    }

    /// Notes that a recording of this drive says nothing between two instants, the later one being that of the last
    /// sample.
    pub(crate) fn hide(&mut self, from_s: f64, to_s: f64) {
        for driven in self.driver.driven.iter_mut().rev().take_while(|driven| driven.end_s >= from_s) {
            driven.hidden |= driven.start_s <= to_s;
        }
    }

    fn finish_piece(&mut self) {
        let duration_s = self.piece.duration_s;
        while self.place_s < duration_s {
            self.step_to((self.place_s + STEP_S).min(duration_s));
        }
        self.piece_start_s += duration_s;
        self.piece_start_m += self.piece.way_at(duration_s);
        self.piece = self.driver.next(&self.place);
        self.place_s = 0.0;
    }

    fn step_to(&mut self, to_s: f64) {
        let (north_m, east_m) = self.piece.displacement(self.place_s, to_s);
        self.place = self.place.moved(north_m, east_m);
        self.place_s = to_s;
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::{driver::Habits, event::EventKind, random::Random};

    const KINDS: [EventKind; 4] =
        [EventKind::Overspeed, EventKind::HarshAcceleration, EventKind::HarshBraking, EventKind::SharpTurn];

    fn drive(seed: u64, lorry: bool) -> Motion {
        let mut random = Random::new(seed);
        let habits = Habits::draw(&mut random);
        let start = Place::draw(&mut random);
        Motion::new(Driver::new(random, habits, lorry), start)
    }

    /// What a drive is at an instant, as shares of the four thresholds in the order of [`KINDS`].
    fn shares(before: &Sample, after: &Sample, step_s: f64, lorry: bool) -> [f64; 4] {
        let accel = (after.speed_mps - before.speed_mps) / step_s;
        let turned = (after.heading_rad - before.heading_rad + TAU / 2.0).rem_euclid(TAU) - TAU / 2.0;
        let lateral = (turned / step_s).abs() * f64::midpoint(before.speed_mps, after.speed_mps);
        [after.speed_mps / after.road.limit_mps(lorry), accel / 3.43, -accel / 4.41, lateral / 4.90]
    }

    /// Calls with each instant and its shares.
    fn watch(motion: &mut Motion, lorry: bool, mut seen: impl FnMut(f64, [f64; 4])) {
        const STEP_S: f64 = 0.04;
        let mut before = motion.at(0.0);
        for step in 1..200_000_u32 {
            let time_s = f64::from(step) * STEP_S;
            let after = motion.at(time_s);
            seen(time_s, shares(&before, &after, STEP_S, lorry));
            before = after;
        }
    }

    #[test]
    fn what_is_above_a_threshold_is_an_event_and_nothing_else_is() {
        let mut events = 0;
        for seed in 0..24 {
            let lorry = seed % 4 == 0;
            let mut motion = drive(seed, lorry);
            let mut above: [Vec<(f64, f64)>; 4] = Default::default();
            watch(&mut motion, lorry, |time_s, shares| {
                for (intervals, share) in above.iter_mut().zip(shares) {
                    match intervals.last_mut() {
                        _ if share <= 1.0 => {}
                        Some((_, end_s)) if time_s - *end_s < 0.06 => *end_s = time_s,
                        _ => intervals.push((time_s, time_s)),
                    }
                }
            });
            for (kind, intervals) in KINDS.into_iter().zip(above) {
                let of_the_kind = motion.driven().iter().filter(|driven| driven.kind == kind);
                let exceeding: Vec<_> = of_the_kind.filter(|driven| driven.peak > driven.threshold).collect();
                for ((start_s, end_s), driven) in intervals.iter().zip(&exceeding) {
                    assert!((start_s - driven.start_s).abs() < 0.1, "{seed}: {start_s} {driven:?}");
                    assert!((end_s - driven.end_s).abs() < 0.1, "{seed}: {end_s} {driven:?}");
                    assert!(driven.near_miss || driven.peak >= 1.049 * driven.threshold, "{driven:?}");
                    let lasts_s = end_s - start_s;
                    match (kind, driven.near_miss) {
                        (EventKind::Overspeed, true) => assert!((lasts_s - 9.5).abs() < 0.1, "{driven:?}"),
                        (EventKind::Overspeed, false) => assert!(lasts_s > 10.4, "{driven:?}"),
                        (_, near_miss) => assert!(!near_miss && lasts_s > 2.9, "{driven:?}"),
                    }
                }
                // The last one may be planned and not yet driven.
                assert!((exceeding.len() - intervals.len()) <= 1, "{seed}: {kind:?}");
                events += intervals.len();
            }
        }
        assert!(events > 50, "{events}");
    }

    #[test]
    fn a_near_miss_is_5_percent_below_and_the_rest_is_calm() {
        let mut near_misses = 0;
        for seed in 20..32 {
            let mut motion = drive(seed, false);
            let mut seen = Vec::new();
            watch(&mut motion, false, |time_s, shares| seen.push((time_s, shares)));
            let driven = motion.driven();
            for near in driven.iter().filter(|driven| driven.near_miss && driven.peak < driven.threshold) {
                let kind = KINDS.iter().position(|kind| *kind == near.kind).unwrap();
                let within =
                    seen.iter().filter(|(time_s, _)| (near.start_s + 0.1..near.end_s).contains(time_s));
                for (_, shares) in within {
                    assert!((0.949..0.951).contains(&shares[kind]), "{near:?}: {shares:?}");
                    near_misses += 1;
                }
            }
            // Around an event the speed is still on its way, or already.
            let mut calm = seen.clone();
            calm.retain(|(time_s, _)| {
                driven.iter().all(|driven| *time_s < driven.start_s - 25.0 || *time_s > driven.end_s + 25.0)
            });
            for (time_s, shares) in &calm {
                assert!(shares.iter().all(|share| *share < 0.801), "{seed}: {time_s} {shares:?}");
            }
            for (time_s, shares) in &seen {
                let is_of = |kind, margin_s: f64| {
                    driven.iter().any(|driven| {
                        driven.kind == kind
                            && (driven.start_s - margin_s..driven.end_s + margin_s).contains(time_s)
                    })
                };
                for (kind, share) in KINDS.into_iter().zip(shares).skip(1) {
                    assert!(*share < 0.801 || is_of(kind, 0.5), "{seed}: {time_s} {kind:?} {share}");
                }
                assert!(
                    shares[0] < 0.901 || is_of(EventKind::Overspeed, 12.0),
                    "{seed}: {time_s} {shares:?}"
                );
            }
        }
        assert!(near_misses > 1_000, "{near_misses}");
    }

    #[test]
    fn no_vehicle_leaves_the_box() {
        for seed in 0..30 {
            let mut motion = drive(seed, false);
            for second in 0..64_800_u32 {
                let sample = motion.at(f64::from(second));
                let place = Place::new(sample.latitude_deg, sample.longitude_deg);
                assert!(place.is_in_the_box(), "{seed}: {sample:?} after {second} s");
            }
            assert!(motion.way_m(64_799.0) > 300_000.0, "{seed}");
        }
    }

    #[test]
    fn who_looks_more_often_sees_the_same_drive() {
        let (mut often, mut seldom) = (drive(7, false), drive(7, false));
        for minute in 1..300_u32 {
            let time_s = f64::from(minute) * 60.0;
            let mut last = often.at(time_s - 59.999);
            for tenth in 1..=590_u32 {
                last = often.at(time_s - 59.0 + f64::from(tenth) / 10.0);
            }
            let sample = seldom.at(time_s);
            assert_eq!(last.latitude_deg.to_bits(), sample.latitude_deg.to_bits(), "{minute}");
            assert_eq!(last.longitude_deg.to_bits(), sample.longitude_deg.to_bits(), "{minute}");
            assert_eq!(last.speed_mps.to_bits(), sample.speed_mps.to_bits(), "{minute}");
        }
    }
}
