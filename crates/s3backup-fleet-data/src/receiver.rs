//! What a GPS receiver makes of a vehicle: the errors of position, speed and heading.
//!
//! As in the data sheet of a common one, u-blox NEO-M8 (UBX-15031086, table 1): position within 2.5 m in half of all
//! cases (CEP), speed within 0.05 m/s and heading within 0.3 degrees in half of all cases at 30 m/s. The error of the
//! position wanders, as those of the satellites and of the air do; speed and heading come from the Doppler effect, and
//! err anew each time. The error of the heading is one of the velocity across, so it grows as the speed falls. A vehicle
//! that stands seems to creep about.

use std::f64::consts::{PI, TAU};

use crate::{earth::Place, motion::Sample, random::Random};

/// Half of a normal distribution lies within 0.6745 standard deviations, half of one in a plane within 1.1774.
const POSITION_M: f64 = 2.5 / 1.1774;
const SPEED_MPS: f64 = 0.05 / 0.6745;
const ACROSS_MPS: f64 = 0.3 / 0.6745 * PI / 180.0 * 30.0;
/// After about this time the error of the position is another one.
const WANDERING_S: f64 = 60.0;
/// Below it a heading means nothing.
const CREEPING_MPS: f64 = 0.1;

/// A receiver, and its error at present.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    random: Random,
    time_s: f64,
    /// In standard deviations.
    north: f64,
    east: f64,
}

impl Receiver {
    pub(crate) fn new(mut random: Random) -> Self {
        let [north, east] = [random.normal(), random.normal()];
        Self { random, time_s: 0.0, north, east }
    }

    /// What is recorded of a vehicle at an instant, which is never before the last one.
    pub(crate) fn record(&mut self, time_s: f64, truth: Sample) -> Sample {
        // A first-order Gauss-Markov process; the exponential function is the platform's, this fraction is not.
        let kept = 1.0 / (1.0 + (time_s - self.time_s) / WANDERING_S);
        let fresh = (1.0 - kept * kept).sqrt();
        self.time_s = time_s;
        self.north = kept * self.north + fresh * self.random.normal();
        self.east = kept * self.east + fresh * self.random.normal();
        let place = Place::new(truth.latitude_deg, truth.longitude_deg);
        let (latitude_deg, longitude_deg) = place.away_deg(self.north * POSITION_M, self.east * POSITION_M);

        let speed_mps = (truth.speed_mps + self.random.normal() * SPEED_MPS).abs();
        let across_mps = self.random.normal() * ACROSS_MPS;
        let turned_rad = (across_mps / truth.speed_mps.max(CREEPING_MPS)).clamp(-PI, PI);
        let heading_rad = (truth.heading_rad + turned_rad).rem_euclid(TAU);
        Sample { latitude_deg, longitude_deg, speed_mps, heading_rad, ..truth }
    }
}
