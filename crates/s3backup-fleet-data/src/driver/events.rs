//! The manoeuvres that are events, and the near misses: as often the one as the other.
//!
//! An event is from 5 % above its threshold to twice that high, the milder the more often; a near miss 5 % below.
//! What is harsh stays so for 3 s or longer, as a turn by a right angle takes, or braking from the speed of a trunk
//! road. Before and after, all is calm for some seconds.

use crate::event::EventKind;

use super::{CALM_SHARE, Driver, PEDAL_S};

/// An overspeed below this time is none.
const LEAST_S: f64 = 10.0;
const ABOVE: f64 = 1.05;
const BELOW: f64 = 0.95;
/// Who drives harshly is at most this share of the limit fast, so that it is no near miss of another kind.
const TOP_SHARE: f64 = 0.9;
/// How far a sharp turn turns at most, in radians: somewhat more than a right angle.
const FULLEST_TURN: f64 = 2.0;

/// An event or a near miss, in seconds since the start of the drive.
#[derive(Debug, Clone)]
pub(crate) struct Driven {
    pub(crate) kind: EventKind,
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
    pub(crate) peak: f64,
    pub(crate) threshold: f64,
    pub(crate) near_miss: bool,
    pub(crate) hidden: bool,
}

impl Driver {
    /// One event or near miss of a kind that this road has room for.
    pub(super) fn event(&mut self) {
        let near_miss = self.random.below(2) == 0;
        let kind = match self.random.below(4) {
            0 => EventKind::Overspeed,
            1 => EventKind::HarshAcceleration,
            2 => EventKind::HarshBraking,
            _ => EventKind::SharpTurn,
        };
        match self.strength(kind, near_miss) {
            Some(strength_mps2) => self.harsh(kind, strength_mps2, near_miss),
            None if near_miss && self.random.below(2) == 0 => self.short_overspeed(),
            None if near_miss => self.almost_overspeed(),
            None => self.overspeed(),
        }
        self.next_event_at_m = self.way_m + self.random.range(0.1, 1.9) * self.habits.way_between_events_m;
    }

    fn note(
        &mut self,
        kind: EventKind,
        [start_s, end_s]: [f64; 2],
        peak: f64,
        threshold: f64,
        near_miss: bool,
    ) {
        self.driven.push(Driven { kind, start_s, end_s, peak, threshold, near_miss, hidden: false });
    }

    /// Above the limit by 5 % to 40 %, for 5 % to 300 % more than the least time.
    fn overspeed(&mut self) {
        let excess = self.random.unit();
        let peak = self.limit_mps() * (ABOVE + 0.35 * excess * excess);
        let above_s = self.random.range(LEAST_S * ABOVE, 4.0 * LEAST_S);
        self.exceed(peak, above_s, false);
    }

    /// Above the limit for 5 % less than the least time.
    fn short_overspeed(&mut self) {
        let peak = self.limit_mps() * self.random.range(ABOVE, 1.15);
        self.exceed(peak, LEAST_S * BELOW, true);
    }

    /// For `above_s` above the limit, or longer where it takes that long to reach the peak and come down again.
    fn exceed(&mut self, peak: f64, above_s: f64, near_miss: bool) {
        let limit = self.limit_mps();
        let [up, down] = [self.random.range(1.2, 1.6), self.random.range(1.2, 1.6)];
        // From the limit on the speed rises evenly, until the pedal is let go; it falls likewise.
        let [rise_s, fall_s] = [up, down].map(|accel| (peak - limit) / accel + PEDAL_S / 2.0);
        let hold_s = (above_s - rise_s - fall_s).max(1.0);
        self.cruise();
        self.change_speed(peak, up);
        let start_s = self.time_s - rise_s;
        self.hold(hold_s);
        let end_s = self.time_s + fall_s;
        self.change_speed(CALM_SHARE * limit, down);
        self.note(EventKind::Overspeed, [start_s, end_s], peak, limit, near_miss);
        self.cruise();
    }

    /// For some time 5 % below the limit.
    fn almost_overspeed(&mut self) {
        let limit = self.limit_mps();
        let peak = limit * BELOW;
        self.cruise();
        self.reach(peak);
        let start_s = self.time_s;
        let hold_s = self.random.range(LEAST_S, 4.0 * LEAST_S);
        self.hold(hold_s);
        self.note(EventKind::Overspeed, [start_s, self.time_s], peak, limit, true);
        self.cruise();
    }

    /// How harsh it is to be; nothing if this road is too slow for it, or if the kind knows no harshness.
    fn strength(&mut self, kind: EventKind, near_miss: bool) -> Option<f64> {
        let threshold = kind.threshold_mps2()?;
        let least = ABOVE * threshold;
        let most = (self.room(kind) / (3.0 + PEDAL_S)).min(2.0 * threshold);
        let excess = self.random.unit();
        let strength = if near_miss { BELOW * threshold } else { least + (most - least) * excess * excess };
        (least <= most).then_some(strength)
    }

    /// By how much a harsh manoeuvre may change the velocity: the speed, or lengthwise of its arc in a turn.
    fn room(&self, kind: EventKind) -> f64 {
        let top_mps = TOP_SHARE * self.limit_mps();
        if kind == EventKind::SharpTurn { top_mps * FULLEST_TURN } else { top_mps }
    }

    fn harsh(&mut self, kind: EventKind, strength_mps2: f64, near_miss: bool) {
        let top_mps = TOP_SHARE * self.limit_mps();
        let longest_s = (self.room(kind) / strength_mps2 - PEDAL_S).min(4.5);
        let full_s = self.random.range(3.0, longest_s);
        let change_mps = strength_mps2 * (full_s + PEDAL_S);
        let [mut accel, mut yaw_rate] = [0.0; 2];
        match kind {
            EventKind::SharpTurn => {
                let speed = self.random.range(change_mps / FULLEST_TURN, top_mps);
                self.reach(speed);
                yaw_rate = strength_mps2 / speed;
                if self.random.below(2) == 0 {
                    yaw_rate = -yaw_rate;
                }
            }
            EventKind::HarshBraking => {
                let speed = self.random.range(change_mps, top_mps);
                self.reach(speed);
                accel = -strength_mps2;
            }
            _ => {
                let speed = self.random.range(0.0, top_mps - change_mps);
                self.reach(if speed < 1.0 { 0.0 } else { speed });
                accel = strength_mps2;
            }
        }
        let before_s = self.random.range(3.0, 8.0);
        self.hold(before_s);
        // The threshold is passed while the pedal is still being pressed; a near miss is at its peak after that.
        let threshold = kind.threshold_mps2().unwrap_or(f64::INFINITY);
        let rise_s = PEDAL_S * (threshold / strength_mps2).min(1.0);
        let start_s = self.time_s + rise_s;
        self.phase(accel, yaw_rate, full_s, PEDAL_S);
        let end_s = self.time_s - rise_s;
        self.note(kind, [start_s, end_s], strength_mps2, threshold, near_miss);
        let after_s = self.random.range(3.0, 6.0);
        self.hold(after_s);
    }
}
