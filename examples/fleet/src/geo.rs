//! Distances and directions on the ellipsoid.
//!
//! All of it is on WGS 84, in degrees and metres, and right across the date line and at the poles. Points are
//! taken as they are: latitudes and longitudes out of range are refused where the lines are read.

use geographiclib_rs::{Geodesic, InverseGeodesic};

use crate::point::Point;

/// The equatorial radius of WGS 84, in metres (NIMA TR8350.2, table 3.1).
const EQUATORIAL_RADIUS_M: f64 = 6_378_137.0;
/// The first eccentricity of WGS 84, squared (NIMA TR8350.2, table 3.3).
const ECCENTRICITY_SQUARED: f64 = 6.694_379_990_14e-3;

/// Up to which distance, in metres, the ellipsoid is taken as flat.
const LOCAL_M: f64 = 1000.0;
/// Up to which latitude, north and south, in degrees. The error of the local formula grows with the square of the tangent of the
/// latitude: for 1 km it is 0.0003 % here, and 100 % at the pole, where two points a step apart can be 180 degrees
/// of longitude apart.
const LOCAL_LATITUDE_DEG: f64 = 89.0;

/// The distance between two points, in metres.
///
/// Below 1 km it comes from the two radii of curvature at the latitude in the middle (the meridian's and the prime
/// vertical's: J. P. Snyder, "Map Projections: A Working Manual", USGS Professional Paper 1395, 1987, pages 24 and
/// 25), which is within 0.01 % of the geodesic and some thirty times faster. Above it, and less than one degree from a
/// pole, it is the geodesic (C. F. F. Karney, "Algorithms for geodesics", Journal of Geodesy 87, 2013, pages 43 to 55).
pub fn distance_m(from: &Point, to: &Point) -> f64 {
    let middle_deg = f64::midpoint(from.latitude_deg, to.latitude_deg);
    if middle_deg.abs() <= LOCAL_LATITUDE_DEG {
        let sine_squared = middle_deg.to_radians().sin().powi(2);
        let flattened = 1.0 - ECCENTRICITY_SQUARED * sine_squared;
        let prime_vertical_m = EQUATORIAL_RADIUS_M / flattened.sqrt();
        let meridian_m = prime_vertical_m * (1.0 - ECCENTRICITY_SQUARED) / flattened;
        let north_m = meridian_m * (to.latitude_deg - from.latitude_deg).to_radians();
        let parallel_m = prime_vertical_m * (1.0 - sine_squared).sqrt();
        let east_m = parallel_m * turn_deg(from.longitude_deg, to.longitude_deg).to_radians();
        let distance_m = (north_m * north_m + east_m * east_m).sqrt();
        if distance_m < LOCAL_M {
            return distance_m;
        }
    }
    Geodesic::wgs84().inverse(from.latitude_deg, from.longitude_deg, to.latitude_deg, to.longitude_deg)
}

/// How far it is from one direction (or longitude) to another the short way round, in degrees: above 0 clockwise (or
/// eastwards), from -180 up to, but without, 180.
pub fn turn_deg(from_deg: f64, to_deg: f64) -> f64 {
    let turn_deg = to_deg - from_deg;
    if (-180.0..180.0).contains(&turn_deg) { turn_deg } else { (turn_deg + 180.0).rem_euclid(360.0) - 180.0 }
}

/// How far a vehicle turned between two points, in degrees: above 0 to the right, from -180 up to, but without, 180; `None` unless
/// both have a heading.
///
/// A straight way crosses each meridian at another heading, which near a pole is most of the difference (the convergence
/// of the meridians: the longitude times the sine of the latitude; Snyder 1987, as above, page 19).
pub fn veered_deg(from: &Point, to: &Point) -> Option<f64> {
    /// A difference of longitude that says nothing: a vehicle comes so far between two points only near a pole.
    const NEAR_DEG: f64 = 0.05;
    let heading_deg = turn_deg(from.heading_deg?, to.heading_deg?);
    let longitude_deg = turn_deg(from.longitude_deg, to.longitude_deg);
    if longitude_deg.abs() < NEAR_DEG {
        return Some(heading_deg);
    }
    let latitude_deg = f64::midpoint(from.latitude_deg, to.latitude_deg);
    Some(turn_deg(0.0, heading_deg - longitude_deg * latitude_deg.to_radians().sin()))
}

/// The latitude and longitude, in degrees, at a share of the way between two points that are near each other: 0 is the
/// first, 1 the second. Close to a pole, where the way is no line of both, it is a place on the latitudes between.
pub fn between(from: &Point, to: &Point, share: f64) -> (f64, f64) {
    let latitude_deg = from.latitude_deg + share * (to.latitude_deg - from.latitude_deg);
    let longitude_deg = from.longitude_deg + share * turn_deg(from.longitude_deg, to.longitude_deg);
    (latitude_deg, turn_deg(0.0, longitude_deg))
}

/// Where a vehicle was at a moment, and how fast: on the straight line between the point before and the one after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    pub(crate) latitude_deg: f64,
    pub(crate) longitude_deg: f64,
    pub(crate) speed_mps: f64,
}

/// The moment within the time of some points, which are in the order of time; `None` if it is outside of it.
pub(crate) fn moment(points: &[Point], time_ms: f64) -> Option<Moment> {
    let after = points.partition_point(|point| (point.time_ms as f64) < time_ms);
    let to = points.get(after)?;
    let from = points.get(after.saturating_sub(1))?;
    let span_ms = (to.time_ms - from.time_ms) as f64;
    let share = if span_ms > 0.0 { (time_ms - from.time_ms as f64) / span_ms } else { 1.0 };
    let (latitude_deg, longitude_deg) = between(from, to, share);
    let speed_mps = from.speed_mps + share * (to.speed_mps - from.speed_mps);
    Some(Moment { latitude_deg, longitude_deg, speed_mps })
}

#[cfg(test)]
mod tests {
    use geographiclib_rs::DirectGeodesic;
    use proptest::prelude::*;

    use super::*;

    fn at(latitude_deg: f64, longitude_deg: f64) -> Point {
        Point {
            time_ms: 0,
            latitude_deg,
            longitude_deg,
            speed_mps: 0.0,
            heading_deg: None,
            road: None,
            line: 1,
        }
    }

    /// Anywhere, with the places where formulas break more often than their share of the globe.
    fn anywhere() -> impl Strategy<Value = Point> {
        let latitude =
            prop_oneof![-90.0..=90.0, 88.9..=90.0, -90.0..=-88.9, Just(90.0), Just(-90.0), Just(0.0)];
        let longitude =
            prop_oneof![-180.0..=180.0, 179.99..=180.0, -180.0..=-179.99, Just(180.0), Just(-180.0)];
        (latitude, longitude).prop_map(|(latitude, longitude)| at(latitude, longitude))
    }

    /// How far ten to the power of the exponent brings one: from a millimetre to around the globe.
    fn metres() -> impl Strategy<Value = f64> {
        prop_oneof![-3.0..7.3, 2.9..3.1].prop_map(|exponent: f64| 10.0_f64.powf(exponent))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn is_within_a_ten_thousandth_of_the_geodesic(
            from in anywhere(), azimuth_deg in -180.0..180.0, way_m in metres()
        ) {
            let (latitude, longitude) =
                Geodesic::wgs84().direct(from.latitude_deg, from.longitude_deg, azimuth_deg, way_m);
            let to = at(latitude, longitude);
            let geodesic_m: f64 = Geodesic::wgs84().inverse(
                from.latitude_deg, from.longitude_deg, to.latitude_deg, to.longitude_deg);
            // Two degrees that are next to each other as numbers are some nanometres apart on the ground.
            let allowed_m = geodesic_m * 1e-4 + 1e-8;
            prop_assert!((distance_m(&from, &to) - geodesic_m).abs() <= allowed_m);
            prop_assert!((distance_m(&to, &from) - geodesic_m).abs() <= allowed_m);
        }

        #[test]
        fn a_turn_is_the_short_way_round(from in -360.0..720.0_f64, turn in -179.999..179.999_f64, rounds in -2..3) {
            let to = from + turn + 360.0 * f64::from(rounds);
            prop_assert!((turn_deg(from, to) - turn).abs() < 1e-9);
        }

        #[test]
        fn who_drives_straight_does_not_turn(from in anywhere(), azimuth_deg in -180.0..180.0, way_m in 0.0..100.0) {
            let (latitude, longitude, azimuth_there_deg): (f64, f64, f64) =
                Geodesic::wgs84().direct(from.latitude_deg, from.longitude_deg, azimuth_deg, way_m);
            let from = Point { heading_deg: Some(azimuth_deg.rem_euclid(360.0)), ..from };
            let to = Point { heading_deg: Some(azimuth_there_deg.rem_euclid(360.0)), ..at(latitude, longitude) };
            prop_assert!(veered_deg(&from, &to).is_some_and(|turn| turn.abs() < 0.06), "{:?}", veered_deg(&from, &to));
        }

        #[test]
        fn what_is_between_is_on_the_way(
            latitude_deg in -88.0..88.0, longitude_deg in -180.0..=180.0, azimuth_deg in -180.0..180.0, share in 0.0..1.0
        ) {
            let from = at(latitude_deg, longitude_deg);
            let (latitude, longitude) = Geodesic::wgs84().direct(latitude_deg, longitude_deg, azimuth_deg, 100.0);
            let (latitude, longitude) = between(&from, &at(latitude, longitude), share);
            prop_assert!((-180.0..180.0).contains(&longitude));
            prop_assert!((distance_m(&from, &at(latitude, longitude)) - 100.0 * share).abs() < 0.1);
        }
    }

    #[test]
    fn crosses_the_date_line() {
        let (west, east) = (at(-17.0, 179.999), at(-17.0, -179.999));
        assert!((distance_m(&west, &east) - 213.0).abs() < 0.1, "{}", distance_m(&west, &east));
        let (latitude, longitude) = between(&west, &east, 0.75);
        assert!((latitude + 17.0).abs() < 1e-9 && (longitude + 179.9995).abs() < 1e-9, "{longitude}");
        assert!((turn_deg(350.0, 10.0) - 20.0).abs() < 1e-12);
        assert!((turn_deg(10.0, 350.0) + 20.0).abs() < 1e-12);
    }

    #[test]
    fn crosses_the_pole() {
        let (here, there) = (at(89.9999, 0.0), at(89.9999, 180.0));
        assert!((distance_m(&here, &there) - 22.34).abs() < 0.01, "{}", distance_m(&here, &there));
        assert!(distance_m(&at(90.0, 0.0), &at(90.0, 123.0)) < 1e-6);
        let north = Point { heading_deg: Some(0.0), ..here };
        let south = Point { heading_deg: Some(180.0), ..there };
        assert!(
            veered_deg(&north, &south).is_some_and(|turn| turn.abs() < 0.001),
            "{:?}",
            veered_deg(&north, &south)
        );
    }
}
