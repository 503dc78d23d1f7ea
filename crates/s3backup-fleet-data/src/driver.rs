//! Who drives: a chain of manoeuvres, each planned when the one before is over.
//!
//! Here are the elements that every manoeuvre is made of. [`calm`] has the manoeuvres of ordinary driving, which keep
//! to 80 % of every threshold, [`events`] the ones that are events or nearly so.

mod calm;
mod events;

pub(crate) use events::Driven;

use std::{collections::VecDeque, f64::consts::TAU};

use crate::{earth::Place, piece::Piece, random::Random, road::Road};

/// How long it takes to press a pedal, and to let it go.
const PEDAL_S: f64 = 0.4;
/// The share of the limit that ordinary driving keeps below.
const CALM_SHARE: f64 = 0.8;

/// What a driver is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// From 0 (careful) up to 1.
    haste: f64,
    /// On average, from one event or near miss to the next.
    way_between_events_m: f64,
}

impl Habits {
    /// Half of all drivers have 3 to 6 events or near misses on 100 km, one of ten has more than 17.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let haste = random.unit();
        Self { haste, way_between_events_m: 3_000.0 + 27_000.0 * (1.0 - haste) }
    }
}

/// Drives on, a piece at a time, and remembers what it did on purpose.
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    random: Random,
    habits: Habits,
    lorry: bool,
    /// Planned and not yet driven.
    pieces: VecDeque<Piece>,
    /// The state at the end of what is planned.
    road: Road,
    speed_mps: f64,
    heading_rad: f64,
    time_s: f64,
    way_m: f64,
    next_event_at_m: f64,
    /// In the order of time, apart from each other.
    pub(crate) driven: Vec<Driven>,
}

impl Driver {
    pub(crate) fn new(mut random: Random, habits: Habits, lorry: bool) -> Self {
        let road = match random.below(4) {
            0 => Road::Primary,
            1 => Road::Secondary,
            2 => Road::Tertiary,
            _ => Road::Residential,
        };
        let mut driver = Self {
            habits,
            lorry,
            pieces: VecDeque::new(),
            road,
            speed_mps: 0.0,
            heading_rad: random.range(0.0, TAU),
            time_s: 0.0,
            way_m: 0.0,
            next_event_at_m: random.range(0.0, 2.0 * habits.way_between_events_m),
            driven: Vec::new(),
            random,
        };
        let wait_s = driver.random.range(2.0, 8.0);
        driver.hold(wait_s);
        driver
    }

    /// The next piece, which begins at `place`: where the one before ended.
    pub(crate) fn next(&mut self, place: &Place) -> Piece {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return piece;
            }
            match place.turn_back_deg(self.heading_rad) {
                Some(angle_deg) => self.turn_off(angle_deg),
                None if self.way_m >= self.next_event_at_m && place.is_far_from_the_border() => self.event(),
                None => self.drive_calmly(),
            }
        }
    }

    fn limit_mps(&self) -> f64 {
        self.road.limit_mps(self.lorry)
    }

    /// Goes on as it is, or keeps standing.
    fn hold(&mut self, duration_s: f64) {
        self.piece(duration_s, [0.0; 2], [0.0; 2]);
    }

    /// Changes the speed with at most this acceleration (always positive), and less if the change is so small that
    /// the pedal is not pressed to that point.
    fn change_speed(&mut self, to_mps: f64, accel_mps2: f64) {
        let change = to_mps - self.speed_mps;
        let full_s = change.abs() / accel_mps2 - PEDAL_S;
        if full_s > 0.0 {
            self.phase(accel_mps2 * change.signum(), 0.0, full_s, PEDAL_S);
        } else {
            self.phase(change / PEDAL_S, 0.0, 0.0, PEDAL_S);
        }
        self.speed_mps = to_mps;
    }

    /// Turns by an angle, clockwise in radians, with at most this lateral acceleration.
    fn turn(&mut self, angle_rad: f64, lateral_mps2: f64, wheel_s: f64) {
        let yaw_rate = lateral_mps2 / self.speed_mps;
        let full_s = angle_rad.abs() / yaw_rate - wheel_s;
        if full_s > 0.0 {
            self.phase(0.0, yaw_rate * angle_rad.signum(), full_s, wheel_s);
        } else {
            self.phase(0.0, angle_rad / wheel_s, 0.0, wheel_s);
        }
    }

    /// Acceleration and yaw rate rise evenly to their peaks, stay there, and fall evenly to nothing.
    fn phase(&mut self, accel_mps2: f64, yaw_rate: f64, full_s: f64, change_s: f64) {
        let [jerk, yaw_accel] = [accel_mps2 / change_s, yaw_rate / change_s];
        self.piece(change_s, [0.0, jerk], [0.0, yaw_accel]);
        self.piece(full_s, [accel_mps2, 0.0], [yaw_rate, 0.0]);
        self.piece(change_s, [accel_mps2, -jerk], [yaw_rate, -yaw_accel]);
    }

    fn piece(&mut self, duration_s: f64, accel: [f64; 2], yaw: [f64; 2]) {
        let piece = Piece {
            duration_s,
            road: self.road,
            speed_mps: self.speed_mps,
            accel_mps2: accel[0],
            jerk_mps3: accel[1],
            heading_rad: self.heading_rad,
            yaw_rate_rad_s: yaw[0],
            yaw_accel_rad_s2: yaw[1],
        };
        self.speed_mps = piece.speed_at(duration_s);
        self.heading_rad = piece.heading_at(duration_s);
        self.time_s += duration_s;
        self.way_m += piece.way_at(duration_s);
        self.pieces.push_back(piece);
    }
}
