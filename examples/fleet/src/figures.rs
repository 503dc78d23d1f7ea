//! Figures of a trip, a vehicle, a day, a fleet: sums that can be merged in any order.
//!
//! What is derived of them (means, percentiles, rates, the score) is a method, never stored, so that there is one truth.

mod score;
mod speeds;
mod vehicles;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::aside::{Aside, Rule};
use crate::geo;
use crate::overspeed::Overspeed;
use crate::point::Point;
use crate::rapid::{Rapid, RapidKind};

pub use score::ScoreSettings;
pub use speeds::Speeds;
pub use vehicles::{VehicleDay, VehicleDays};

/// When a vehicle stands, and how its driver is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FigureSettings {
    /// The longest pause between two points that still counts as driven, in seconds: 30. What is longer is a gap, of which
    /// nothing is known: neither its time nor its way is in the figures of driving.
    pub max_gap_s: f64,
    /// Below this speed a vehicle stands, in metres a second: 0.5, ten times the error of a common receiver's speed
    /// (0.05 m/s, data sheet of the u-blox NEO-M8).
    pub stand_speed_mps: f64,
    /// How far apart two points of one stop lie at most, in metres: 50, since the positions of a standing receiver wander.
    pub stand_radius_m: f64,
    /// The score of a driver.
    pub score: ScoreSettings,
}

impl Default for FigureSettings {
    fn default() -> Self {
        Self { max_gap_s: 30.0, stand_speed_mps: 0.5, stand_radius_m: 50.0, score: ScoreSettings::default() }
    }
}

/// What is known of the time between two points of a trip that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// The vehicle was on its way.
    Driving,
    /// It stood at both ends, and the ends are one place. A trip lasts from the engine's start to its stop, so the engine is
    /// taken to be on, however long it is: of a stop, cleaning keeps only the first and the last point.
    Idle,
    /// The pause is too long to say.
    Gap,
}

impl Motion {
    /// What lies between two points.
    pub fn between(from: &Point, to: &Point, settings: &FigureSettings) -> Self {
        let stands = |point: &Point| point.speed_mps < settings.stand_speed_mps;
        if stands(from) && stands(to) && geo::distance_m(from, to) <= settings.stand_radius_m {
            Self::Idle
        } else if between_ms(from, to) as f64 > settings.max_gap_s * 1000.0 {
            Self::Gap
        } else {
            Self::Driving
        }
    }
}

/// The time from one point to the next, in milliseconds.
pub fn between_ms(from: &Point, to: &Point) -> u64 {
    u64::try_from(to.time_ms.saturating_sub(from.time_ms)).unwrap_or(0)
}

/// What a driver may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Longer above a limit than is let pass.
    Overspeed,
    /// The speed rose too fast.
    HarshAcceleration,
    /// The speed fell too fast.
    HarshBraking,
    /// Too fast round a bend.
    SharpTurn,
}

impl EventKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] =
        [Self::Overspeed, Self::HarshAcceleration, Self::HarshBraking, Self::SharpTurn];

    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overspeed => "overspeed",
            Self::HarshAcceleration => RapidKind::HarshAcceleration.as_str(),
            Self::HarshBraking => RapidKind::HarshBraking.as_str(),
            Self::SharpTurn => RapidKind::SharpTurn.as_str(),
        }
    }
}

impl From<RapidKind> for EventKind {
    fn from(kind: RapidKind) -> Self {
        match kind {
            RapidKind::HarshAcceleration => Self::HarshAcceleration,
            RapidKind::HarshBraking => Self::HarshBraking,
            RapidKind::SharpTurn => Self::SharpTurn,
        }
    }
}

/// Events of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Intervals above a limit.
    pub overspeed: u64,
    /// Harsh accelerations.
    pub harsh_acceleration: u64,
    /// Harsh brakings.
    pub harsh_braking: u64,
    /// Sharp turns.
    pub sharp_turn: u64,
}

impl Events {
    /// How many there are of one kind.
    pub fn of(&self, kind: EventKind) -> u64 {
        match kind {
            EventKind::Overspeed => self.overspeed,
            EventKind::HarshAcceleration => self.harsh_acceleration,
            EventKind::HarshBraking => self.harsh_braking,
            EventKind::SharpTurn => self.sharp_turn,
        }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        EventKind::ALL.into_iter().fold(0, |sum, kind| sum.saturating_add(self.of(kind)))
    }

    /// One more.
    pub fn count(&mut self, kind: EventKind) {
        add(
            match kind {
                EventKind::Overspeed => &mut self.overspeed,
                EventKind::HarshAcceleration => &mut self.harsh_acceleration,
                EventKind::HarshBraking => &mut self.harsh_braking,
                EventKind::SharpTurn => &mut self.sharp_turn,
            },
            1,
        );
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.overspeed, other.overspeed);
        add(&mut self.harsh_acceleration, other.harsh_acceleration);
        add(&mut self.harsh_braking, other.harsh_braking);
        add(&mut self.sharp_turn, other.sharp_turn);
    }
}

/// Sums over clean points and events. Whole numbers, so that merging is exact and its order does not matter.
///
/// A sum that would not fit stays at the largest number, which no real fleet comes near.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Files that were looked at.
    pub files: u64,
    /// Files without a single clean point.
    pub unusable_files: u64,
    /// Trips with at least one clean point.
    pub trips: u64,
    /// Clean points.
    pub points: u64,
    /// Lines that came later in their file than a line of a later time. They are sorted in, not set aside.
    pub late_lines: u64,
    /// What was set aside: lines, and files as a whole, by rule.
    pub aside: BTreeMap<Rule, u64>,
    /// The way driven, along the geodesics between the points, in millimetres.
    pub distance_mm: u64,
    /// Time on the way.
    pub driving_ms: u64,
    /// Time standing within a trip.
    pub idle_ms: u64,
    /// Time in pauses of which nothing is known.
    pub gap_ms: u64,
    /// The highest speed of a clean point, in millimetres a second.
    pub max_speed_mmps: u64,
    /// Time in intervals above a limit.
    pub over_limit_ms: u64,
    /// The way driven in them.
    pub over_limit_mm: u64,
    /// Events of each kind.
    pub events: Events,
    /// How long which speed was driven.
    pub speeds: Speeds,
}

impl Figures {
    /// The figures of one trip. `points` are the clean ones, by time; `late` is the count of lines that cleaning sorted in.
    pub fn of_trip(
        points: &[Point],
        overspeed: &[Overspeed],
        rapid: &[Rapid],
        aside: &[Aside],
        late: u64,
        settings: &FigureSettings,
    ) -> Self {
        let mut figures = Self {
            files: 1,
            unusable_files: u64::from(points.is_empty()),
            trips: u64::from(!points.is_empty()),
            points: points.len() as u64,
            late_lines: late,
            ..Self::default()
        };
        for aside in aside {
            add(figures.aside.entry(aside.rule).or_default(), aside.count);
        }
        for point in points {
            figures.max_speed_mmps = figures.max_speed_mmps.max(thousandths(point.speed_mps));
        }
        for pair in points.windows(2) {
            if let [from, to] = pair {
                figures.move_on(from, to, settings);
            }
        }
        for event in overspeed {
            figures.events.count(EventKind::Overspeed);
            add(&mut figures.over_limit_ms, u64::try_from(event.end_ms - event.start_ms).unwrap_or(0));
            add(&mut figures.over_limit_mm, thousandths(event.distance_m));
        }
        for event in rapid {
            figures.events.count(event.kind.into());
        }
        figures
    }

    /// Files in which nothing is.
    pub fn empty_files(&self) -> u64 {
        self.aside.get(&Rule::Empty).copied().unwrap_or(0)
    }

    /// Files in which something is, and nothing that could be used.
    pub fn lost_files(&self) -> u64 {
        self.unusable_files.saturating_sub(self.empty_files())
    }

    /// Adds what lies between two points.
    fn move_on(&mut self, from: &Point, to: &Point, settings: &FigureSettings) {
        let time_ms = between_ms(from, to);
        match Motion::between(from, to, settings) {
            Motion::Gap => add(&mut self.gap_ms, time_ms),
            // The way between the positions of a standing receiver is none.
            Motion::Idle => add(&mut self.idle_ms, time_ms),
            Motion::Driving => {
                add(&mut self.driving_ms, time_ms);
                add(&mut self.distance_mm, thousandths(geo::distance_m(from, to)));
                self.speeds.add(thousandths(from.speed_mps.midpoint(to.speed_mps)), time_ms);
            }
        }
    }

    /// Adds the figures of others.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.files, other.files);
        add(&mut self.unusable_files, other.unusable_files);
        add(&mut self.trips, other.trips);
        add(&mut self.points, other.points);
        add(&mut self.late_lines, other.late_lines);
        for (rule, count) in &other.aside {
            add(self.aside.entry(*rule).or_default(), *count);
        }
        add(&mut self.distance_mm, other.distance_mm);
        add(&mut self.driving_ms, other.driving_ms);
        add(&mut self.idle_ms, other.idle_ms);
        add(&mut self.gap_ms, other.gap_ms);
        self.max_speed_mmps = self.max_speed_mmps.max(other.max_speed_mmps);
        add(&mut self.over_limit_ms, other.over_limit_ms);
        add(&mut self.over_limit_mm, other.over_limit_mm);
        self.events.merge(&other.events);
        self.speeds.merge(&other.speeds);
    }

    /// All that was set aside: lines, and files as a whole.
    pub fn aside_total(&self) -> u64 {
        self.aside.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Lines that are wrong. That a receiver's position wanders while it stands is not.
    pub fn wrong_lines(&self) -> u64 {
        let of_lines =
            self.aside.iter().filter(|(rule, _)| !rule.is_of_file() && **rule != Rule::StandstillNoise);
        of_lines.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The way driven, in metres.
    pub fn distance_m(&self) -> f64 {
        self.distance_mm as f64 / 1000.0
    }

    /// Distance by driving time, in metres a second; `None` if nothing was driven.
    pub fn mean_speed_mps(&self) -> Option<f64> {
        (self.driving_ms > 0).then(|| self.distance_mm as f64 / self.driving_ms as f64)
    }

    /// How many of `events` there are per 100 km; `None` if nothing was driven.
    pub fn per_100_km(&self, events: u64) -> Option<f64> {
        (self.distance_mm > 0).then(|| events as f64 * 1e8 / self.distance_mm as f64)
    }
}

/// A value in thousandths of its unit: millimetres of metres. What is no number, or negative, is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` keeps to the range")]
pub(crate) fn thousandths(value: f64) -> u64 {
    (value * 1000.0).round() as u64
}

/// Adds, and stays at the largest number.
fn add(sum: &mut u64, value: u64) {
    *sum = sum.saturating_add(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, speed_mps: f64, latitude_deg: f64) -> Point {
        Point {
            time_ms: second * 1000,
            latitude_deg,
            longitude_deg: 127.0,
            speed_mps,
            heading_deg: None,
            road: None,
            line: 1,
        }
    }

    fn figures(points: &[Point]) -> Figures {
        Figures::of_trip(points, &[], &[], &[], 0, &FigureSettings::default())
    }

    #[test]
    fn time_is_driven_stood_or_unknown() {
        let figures = figures(&[
            point(0, 0.0, 37.0),
            // Stands for an hour, of which cleaning left two points.
            point(3600, 0.0, 37.0001),
            point(3610, 10.0, 37.0005),
            point(3620, 10.0, 37.0014),
            // Nothing is known of these ten minutes.
            point(4220, 10.0, 37.05),
            point(4230, 0.0, 37.0509),
            // Stands at both ends, but not at one place.
            point(4260, 0.0, 37.06),
            point(4360, 0.0, 37.07),
        ]);
        assert_eq!([figures.idle_ms, figures.driving_ms, figures.gap_ms], [3_600_000, 60_000, 700_000]);
        assert_eq!(figures.max_speed_mmps, 10_000);
        let driven_m = 44.4 + 99.9 + 99.9 + 1010.0;
        assert!((figures.distance_m() - driven_m).abs() < 2.0, "{}", figures.distance_m());
        assert!((figures.mean_speed_mps().unwrap() - driven_m / 60.0).abs() < 0.1);
    }

    #[test]
    fn a_trip_of_a_point_or_none_has_no_rates() {
        for points in [vec![], vec![point(0, 10.0, 37.0)]] {
            let figures = figures(&points);
            assert_eq!(figures.trips, points.len() as u64);
            assert_eq!(figures.mean_speed_mps(), None);
            assert_eq!(figures.per_100_km(1), None);
        }
    }

    #[test]
    fn sums_stay_at_the_largest_number() {
        let most = Figures { distance_mm: u64::MAX, points: 7, ..Figures::default() };
        let mut sum = most.clone();
        sum.merge(&most);
        assert_eq!((sum.distance_mm, sum.points), (u64::MAX, 14));
        assert_eq!([f64::NAN, -1.0, 1e300, 1.0004].map(thousandths), [0, 0, u64::MAX, 1000]);
    }
}
