//! The smallest part of a drive: a time of even jerk and even yaw acceleration.

use std::f64::consts::TAU;

use crate::{angle::sin_cos, road::Road};

/// A drive is a chain of these. Speed, heading and way are polynomials of the time since its start, so they are known
/// exactly at every instant, whenever it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) duration_s: f64,
    pub(crate) road: Road,
    /// At its start.
    pub(crate) speed_mps: f64,
    pub(crate) accel_mps2: f64,
    pub(crate) jerk_mps3: f64,
    /// At its start, clockwise from north.
    pub(crate) heading_rad: f64,
    pub(crate) yaw_rate_rad_s: f64,
    pub(crate) yaw_accel_rad_s2: f64,
}

/// The abscissae and weights of Gauss's quadrature with three points on the unit interval.
const GAUSS: [(f64, f64); 3] =
    [(0.112_701_665_379_258_3, 5.0 / 18.0), (0.5, 8.0 / 18.0), (0.887_298_334_620_741_7, 5.0 / 18.0)];

impl Piece {
    pub(crate) fn speed_at(&self, s: f64) -> f64 {
        self.speed_mps + s * (self.accel_mps2 + s * self.jerk_mps3 / 2.0)
    }

    /// From 0 up to a full turn.
    pub(crate) fn heading_at(&self, s: f64) -> f64 {
        self.unwound_heading_at(s).rem_euclid(TAU)
    }

    fn unwound_heading_at(&self, s: f64) -> f64 {
        self.heading_rad + s * (self.yaw_rate_rad_s + s * self.yaw_accel_rad_s2 / 2.0)
    }

    /// The way from its start.
    pub(crate) fn way_at(&self, s: f64) -> f64 {
        s * (self.speed_mps + s * (self.accel_mps2 / 2.0 + s * self.jerk_mps3 / 6.0))
    }

    /// How far north and east it leads from one instant to another, at most a second later.
    ///
    /// The error of the quadrature, in a turn as sharp as any that is driven, is below a hundredth of a millimetre.
    pub(crate) fn displacement(&self, from_s: f64, to_s: f64) -> (f64, f64) {
        if self.yaw_rate_rad_s == 0.0 && self.yaw_accel_rad_s2 == 0.0 {
            let way = self.way_at(to_s) - self.way_at(from_s);
            let (east, north) = sin_cos(self.heading_rad);
            return (way * north, way * east);
        }
        let length_s = to_s - from_s;
        GAUSS.iter().fold((0.0, 0.0), |(north_m, east_m), (abscissa, weight)| {
            let at = from_s + abscissa * length_s;
            let way = self.speed_at(at) * weight * length_s;
            let (east, north) = sin_cos(self.unwound_heading_at(at));
            (north_m + way * north, east_m + way * east)
        })
    }
}
