//! Places on the ellipsoid of WGS 84, and the box around Seoul that vehicles stay in.

use crate::{angle::sin_cos, random::Random};

/// Half the length of the equator's axis, and how much shorter the other one is (NGA.STND.0036, WGS 84).
const EQUATOR_RADIUS_M: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;
const ECCENTRICITY_SQUARED: f64 = FLATTENING * (2.0 - FLATTENING);

const SOUTH_DEG: f64 = 37.30;
const NORTH_DEG: f64 = 37.80;
const WEST_DEG: f64 = 126.70;
const EAST_DEG: f64 = 127.25;
/// About 5 km: further than any manoeuvre leads, so that who turns round in this margin never leaves the box.
const MARGIN_NORTH_DEG: f64 = 0.045;
const MARGIN_EAST_DEG: f64 = 0.057;

/// A place, with the size of a degree there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) latitude_deg: f64,
    pub(crate) longitude_deg: f64,
    degrees_per_m_north: f64,
    degrees_per_m_east: f64,
}

impl Place {
    pub(crate) fn new(latitude_deg: f64, longitude_deg: f64) -> Self {
        let (sine, cosine) = sin_cos(latitude_deg.to_radians());
        let square = 1.0 - ECCENTRICITY_SQUARED * sine * sine;
        let root = square.sqrt();
        let meridian_radius_m = EQUATOR_RADIUS_M * (1.0 - ECCENTRICITY_SQUARED) / (square * root);
        let parallel_radius_m = EQUATOR_RADIUS_M / root * cosine;
        Self {
            latitude_deg,
            longitude_deg,
            degrees_per_m_north: (1.0 / meridian_radius_m).to_degrees(),
            degrees_per_m_east: (1.0 / parallel_radius_m).to_degrees(),
        }
    }

    /// Somewhere in the inner part of the box.
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self::new(
            random.range(SOUTH_DEG + 2.0 * MARGIN_NORTH_DEG, NORTH_DEG - 2.0 * MARGIN_NORTH_DEG),
            random.range(WEST_DEG + 2.0 * MARGIN_EAST_DEG, EAST_DEG - 2.0 * MARGIN_EAST_DEG),
        )
    }

    /// The latitude and longitude so far away. In steps of less than 100 m it is right to a hundred thousandth.
    pub(crate) fn away_deg(&self, north_m: f64, east_m: f64) -> (f64, f64) {
        (
            self.latitude_deg + north_m * self.degrees_per_m_north,
            self.longitude_deg + east_m * self.degrees_per_m_east,
        )
    }

    /// The place so far away.
    pub(crate) fn moved(&self, north_m: f64, east_m: f64) -> Self {
        let (latitude_deg, longitude_deg) = self.away_deg(north_m, east_m);
        Self::new(latitude_deg, longitude_deg)
    }

    /// Whether it is not in the margin.
    pub(crate) fn is_far_from_the_border(&self) -> bool {
        (SOUTH_DEG + MARGIN_NORTH_DEG..=NORTH_DEG - MARGIN_NORTH_DEG).contains(&self.latitude_deg)
            && (WEST_DEG + MARGIN_EAST_DEG..=EAST_DEG - MARGIN_EAST_DEG).contains(&self.longitude_deg)
    }

    /// How far to turn, clockwise in degrees, for who is in the margin and drives towards the border.
    ///
    /// The new heading is within 30 degrees of the one to the middle of the box, which leads away from every border.
    pub(crate) fn turn_back_deg(&self, heading_rad: f64) -> Option<f64> {
        let (east, north) = sin_cos(heading_rad);
        let outward = |value: f64, low: f64, high: f64, ahead: f64| {
            (value < low && ahead < 0.0) || (value > high && ahead > 0.0)
        };
        let leaves =
            outward(self.latitude_deg, SOUTH_DEG + MARGIN_NORTH_DEG, NORTH_DEG - MARGIN_NORTH_DEG, north)
                || outward(self.longitude_deg, WEST_DEG + MARGIN_EAST_DEG, EAST_DEG - MARGIN_EAST_DEG, east);
        if !leaves {
            return None;
        }
        let home_north = (f64::midpoint(SOUTH_DEG, NORTH_DEG) - self.latitude_deg) / self.degrees_per_m_north;
        let home_east = (f64::midpoint(WEST_DEG, EAST_DEG) - self.longitude_deg) / self.degrees_per_m_east;
        let distance = (home_north * home_north + home_east * home_east).sqrt();
        let ahead = (north * home_north + east * home_east) / distance;
        let to_the_right = north * home_east - east * home_north >= 0.0;
        // The cosines of 60 and 120 degrees tell in which third of a half turn the middle lies.
        let angle_deg = if ahead > 0.5 {
            30.0
        } else if ahead > -0.5 {
            90.0
        } else {
            150.0
        };
        Some(if to_the_right { angle_deg } else { -angle_deg })
    }
}

#[cfg(test)]
impl Place {
    pub(crate) fn is_in_the_box(&self) -> bool {
        (SOUTH_DEG..=NORTH_DEG).contains(&self.latitude_deg)
            && (WEST_DEG..=EAST_DEG).contains(&self.longitude_deg)
    }
}
