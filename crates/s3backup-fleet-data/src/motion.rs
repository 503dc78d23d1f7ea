//! How a vehicle moves: a random walk that a vehicle could have driven.
//!
//! Everything is in integers. `sin` and `cos` of the floating point kind come from the platform's mathematics
//! library and may differ in the last digit from machine to machine, which would end the promise of the same bytes.

use crate::random::Random;

/// The box that vehicles stay in, around Seoul, in nanodegrees. It is wider than two of the longest steps
/// (10 minutes at 90 km/h are 15 km), so a step that would leave it can always be taken the other way.
const SOUTH: i64 = 37_300_000_000;
const NORTH: i64 = 37_800_000_000;
const WEST: i64 = 126_700_000_000;
const EAST: i64 = 127_250_000_000;

/// One degree along a meridian, in thousandths of a metre, on the sphere of 6,371 km that the haversine formula
/// is commonly used with: a reader who measures the way gets the distance of the truth.
const MILLIMETRES_PER_DEGREE: i64 = 111_194_927;

/// The sine of a right angle: sines are in millionths.
const ONE: i64 = 1_000_000;

const TOP_SPEED_MM_PER_S: i64 = 25_000;
/// About what a van does without spilling its load.
const ACCELERATION_MM_PER_S2: i64 = 1_800;
const TURN_MDEG_PER_S: i64 = 20_000;
const SWAY_MM_PER_S: i64 = 400;
const SWAY_MDEG: i64 = 2_000;
const MEAN_MS_TO_NEXT_SPEED: u64 = 15_000;
const MEAN_MS_TO_NEXT_TURN: u64 = 20_000;
const FULL_TURN_MDEG: i64 = 360_000;

/// Where a vehicle is and how it got there.
#[derive(Debug, Clone)]
pub(crate) struct Motion {
    random: Random,
    /// Nanodegrees.
    pub(crate) latitude: i64,
    /// Nanodegrees.
    pub(crate) longitude: i64,
    pub(crate) speed_mm_per_s: i64,
    /// Thousandths of a degree, clockwise from north, 0 to 359,999.
    pub(crate) heading_mdeg: i64,
    /// Driven since the start, in thousandths of a millimetre.
    pub(crate) distance_um: u64,
    wanted_speed_mm_per_s: i64,
    wanted_heading_mdeg: i64,
}

impl Motion {
    /// A vehicle that stands somewhere in the inner part of the box.
    pub(crate) fn new(mut random: Random) -> Self {
        let latitude = random.between(SOUTH + 100_000_000, NORTH - 100_000_000);
        let longitude = random.between(WEST + 100_000_000, EAST - 100_000_000);
        let heading_mdeg = random.between(0, FULL_TURN_MDEG - 1);
        let wanted_speed_mm_per_s = random.between(6_000, 16_000);
        Self {
            random,
            latitude,
            longitude,
            speed_mm_per_s: 0,
            heading_mdeg,
            distance_um: 0,
            wanted_speed_mm_per_s,
            wanted_heading_mdeg: heading_mdeg,
        }
    }

    /// Drives on for `interval_ms`.
    pub(crate) fn step(&mut self, interval_ms: i64) {
        self.decide(interval_ms);
        let change = (ACCELERATION_MM_PER_S2 * interval_ms / 1_000).max(1);
        let missing = self.steady_speed() - self.speed_mm_per_s;
        self.speed_mm_per_s += missing.clamp(-change, change);
        if self.speed_mm_per_s > 0 {
            let change = TURN_MDEG_PER_S * interval_ms / 1_000;
            let sway = self.random.between(-SWAY_MDEG, SWAY_MDEG);
            let missing = shortest_turn(self.heading_mdeg, self.wanted_heading_mdeg + sway);
            self.heading_mdeg =
                (self.heading_mdeg + missing.clamp(-change, change)).rem_euclid(FULL_TURN_MDEG);
        }
        self.advance(interval_ms);
    }

    /// What the driver wants from now on. The chance of a new wish grows with the length of the step.
    fn decide(&mut self, interval_ms: i64) {
        let interval_ms = interval_ms.unsigned_abs();
        if self.random.below(MEAN_MS_TO_NEXT_SPEED) < interval_ms {
            let stops = self.random.below(5) == 0;
            self.wanted_speed_mm_per_s =
                if stops { 0 } else { self.random.between(4_000, TOP_SPEED_MM_PER_S) };
        }
        if self.random.below(MEAN_MS_TO_NEXT_TURN) < interval_ms {
            let turn = match self.random.below(4) {
                0 => -90_000,
                1 => 90_000,
                _ => self.random.between(-30_000, 30_000),
            };
            self.wanted_heading_mdeg = (self.heading_mdeg + turn).rem_euclid(FULL_TURN_MDEG);
        }
    }

    /// The speed wanted, as well as a foot on a pedal keeps it: a vehicle that stands is all that is steady.
    fn steady_speed(&mut self) -> i64 {
        if self.wanted_speed_mm_per_s == 0 {
            return 0;
        }
        let sway = self.random.between(-SWAY_MM_PER_S, SWAY_MM_PER_S);
        (self.wanted_speed_mm_per_s + sway).min(TOP_SPEED_MM_PER_S)
    }

    fn advance(&mut self, interval_ms: i64) {
        // Millimetres a second times milliseconds are thousandths of a millimetre.
        let distance_um = self.speed_mm_per_s * interval_ms;
        let (north, east) = self.displacement(distance_um);
        if !(SOUTH..=NORTH).contains(&(self.latitude + north)) {
            self.face((180_000 - self.heading_mdeg).rem_euclid(FULL_TURN_MDEG));
        }
        if !(WEST..=EAST).contains(&(self.longitude + east)) {
            self.face((-self.heading_mdeg).rem_euclid(FULL_TURN_MDEG));
        }
        let (north, east) = self.displacement(distance_um);
        self.latitude += north;
        self.longitude += east;
        self.distance_um += distance_um.unsigned_abs();
    }

    fn face(&mut self, heading_mdeg: i64) {
        self.heading_mdeg = heading_mdeg;
        self.wanted_heading_mdeg = heading_mdeg;
    }

    /// How far north and east a way in the present heading leads, in nanodegrees.
    fn displacement(&self, distance_um: i64) -> (i64, i64) {
        let north_um = distance_um * sine(self.heading_mdeg + 90_000) / ONE;
        let east_um = distance_um * sine(self.heading_mdeg) / ONE;
        let east_um_at_the_equator = east_um * ONE / sine(self.latitude / 1_000_000 + 90_000).max(1);
        (nanodegrees(north_um), nanodegrees(east_um_at_the_equator))
    }
}

fn nanodegrees(distance_um: i64) -> i64 {
    distance_um * 1_000_000 / MILLIMETRES_PER_DEGREE
}

/// From one heading to another by the shorter way round, -180,000 to 179,999.
fn shortest_turn(from_mdeg: i64, to_mdeg: i64) -> i64 {
    (to_mdeg - from_mdeg + FULL_TURN_MDEG / 2).rem_euclid(FULL_TURN_MDEG) - FULL_TURN_MDEG / 2
}

/// The sine of an angle in millionths, by Bhaskara's approximation, which is off by at most 0.0017: a tenth of a
/// degree of heading, less than the rounding of the written position makes.
fn sine(angle_mdeg: i64) -> i64 {
    let angle = angle_mdeg.rem_euclid(FULL_TURN_MDEG);
    let (sign, angle) = if angle < 180_000 { (1, angle) } else { (-1, angle - 180_000) };
    let product = angle * (180_000 - angle);
    sign * 4 * product * ONE / (40_500_000_000 - product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_is_close_to_the_real_one() {
        for angle_mdeg in (-400_000..400_000).step_by(777) {
            let real = (angle_mdeg as f64 / 1_000.0).to_radians().sin();
            assert!((sine(angle_mdeg) as f64 / 1e6 - real).abs() < 0.0017, "{angle_mdeg}");
        }
    }

    #[test]
    fn the_shorter_way_round_is_taken() {
        assert_eq!(shortest_turn(350_000, 10_000), 20_000);
        assert_eq!(shortest_turn(10_000, 350_000), -20_000);
        assert_eq!(shortest_turn(0, 90_000), 90_000);
    }

    #[test]
    fn no_vehicle_leaves_the_box_or_speeds_however_long_the_step() {
        for interval_ms in [1, 1_000, 600_000] {
            for seed in 0..20 {
                let mut motion = Motion::new(Random::new(seed));
                for _ in 0..2_000 {
                    motion.step(interval_ms);
                    assert!((SOUTH..=NORTH).contains(&motion.latitude));
                    assert!((WEST..=EAST).contains(&motion.longitude));
                    assert!((0..=TOP_SPEED_MM_PER_S).contains(&motion.speed_mm_per_s));
                    assert!((0..FULL_TURN_MDEG).contains(&motion.heading_mdeg));
                }
                assert!(motion.distance_um > 0, "interval {interval_ms}, seed {seed}: never moved");
            }
        }
    }
}
