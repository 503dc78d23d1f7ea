//! Which points are possible.
//!
//! Cleaning sorts points by time and sets aside those that break a rule. It changes no point and makes none up: the clean
//! points and those set aside are together exactly the points that were read. Each rule can be switched off.
//!
//! What is clean does not depend on the order of the lines, and is clean for good: cleaning it again sets nothing aside.

mod day;
mod same_time;
mod standstill;
mod teleport;

use std::cmp::Ordering;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize};

use crate::aside::{Aside, Rule};
use crate::point::Point;

/// What counts as possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CleanSettings {
    /// Rules that are not applied, of `other_day`, `duplicate`, `same_time`, `speed_range`, `teleport` and `standstill_noise`. Default none.
    #[serde(deserialize_with = "optional_rules")]
    pub off: Vec<Rule>,
    /// How long after the end of its day a trip may go on, in seconds. Default 43,200 (12 h): nobody may drive longer than
    /// 10 h in a day, with 45 min of break after each 4.5 h (Regulation (EC) No 561/2006, articles 6 and 7).
    pub past_midnight_s: u32,
    /// The highest speed of a vehicle, in km/h. Default 250, to which most makers limit their fastest cars. A point that says more is
    /// set aside, and one that no vehicle could have come to at this speed.
    pub max_speed_kmh: f64,
    /// How far a position may be from where the vehicle was, in metres. Default 25, ten times the 2.5 m that half of the positions of a common
    /// receiver keep to under an open sky (u-blox NEO-M8 data sheet, UBX-15031086, table 1), as walls reflect the signals.
    pub position_error_m: f64,
    /// Up to which recorded speed a vehicle stands, in km/h. Default 2, which is ten times the error of a recorded speed (0.05 m/s
    /// in the same table) and slower than a walk.
    pub standstill_speed_kmh: f64,
}

impl Default for CleanSettings {
    fn default() -> Self {
        Self {
            off: Vec::new(),
            past_midnight_s: 43_200,
            max_speed_kmh: 250.0,
            position_error_m: 25.0,
            standstill_speed_kmh: 2.0,
        }
    }
}

/// Rules that can be switched off; others are an error that says why.
fn optional_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let rules = Vec::<Rule>::deserialize(deserializer)?;
    match rules.iter().find(|rule| !rule.can_be_off()) {
        None => Ok(rules),
        Some(rule) => Err(serde::de::Error::custom(format!(
            "`{}` cannot be switched off, because what breaks it is no point",
            rule.as_str()
        ))),
    }
}

/// What cleaning made of a trip.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// The clean points, by time.
    pub points: Vec<Point>,
    /// The others, each with the rule that it breaks, in the order of the lines.
    pub aside: Vec<Aside>,
    /// Points of the right day whose time is before that of one above in the file. They are sorted in, and not set aside for it.
    pub late: u64,
}

/// Cleans the points of a trip, given in the order of their lines. `day` is the local day of the trip in `timezone`.
///
/// The rules are applied in the order of [`Rule::ALL`], so that a point breaks one of them.
pub fn clean(mut points: Vec<Point>, day: NaiveDate, timezone: Tz, settings: &CleanSettings) -> Cleaned {
    let is_on = |rule| !settings.off.contains(&rule);
    let mut aside = Vec::new();
    if is_on(Rule::OtherDay) {
        day::sift(&mut points, &mut aside, day, timezone, settings.past_midnight_s);
    }
    let late = late(&points);
    if is_on(Rule::SpeedRange) {
        sift_speeds(&mut points, &mut aside, settings.max_speed_kmh);
    }
    points.sort_by(in_order);
    if is_on(Rule::Duplicate) {
        same_time::sift_duplicates(&mut points, &mut aside);
    }
    if is_on(Rule::SameTime) {
        same_time::sift(&mut points, &mut aside);
    }
    if is_on(Rule::Teleport) {
        teleport::sift(&mut points, &mut aside, settings);
    }
    if is_on(Rule::StandstillNoise) {
        standstill::sift(&mut points, &mut aside, settings);
    }
    aside.sort_by_key(|aside: &Aside| aside.line);
    Cleaned { points, aside, late }
}

/// By time, and then by all that a point says: never by its line, so that the order of the lines makes no difference.
fn in_order(a: &Point, b: &Point) -> Ordering {
    let values = |point: &Point| [point.latitude_deg, point.longitude_deg, point.speed_mps];
    let compare = |(a, b): (f64, f64)| a.total_cmp(&b);
    a.time_ms.cmp(&b.time_ms).then_with(|| {
        let values = values(a).into_iter().zip(values(b)).map(compare).find(|order| order.is_ne());
        values
            .unwrap_or(Ordering::Equal)
            .then_with(|| {
                // A heading is 0 or more.
                compare((a.heading_deg.unwrap_or(-1.0), b.heading_deg.unwrap_or(-1.0)))
            })
            .then_with(|| a.road.cmp(&b.road))
    })
}

fn late(points: &[Point]) -> u64 {
    let mut latest_ms = i64::MIN;
    let mut late = 0;
    for point in points {
        late += u64::from(point.time_ms < latest_ms);
        latest_ms = latest_ms.max(point.time_ms);
    }
    late
}

fn sift_speeds(points: &mut Vec<Point>, aside: &mut Vec<Aside>, max_speed_kmh: f64) {
    sift(points, aside, Rule::SpeedRange, |point| {
        let speed_kmh = point.speed_mps * 3.6;
        (speed_kmh > max_speed_kmh)
            .then(|| format!("{speed_kmh:.1} km/h, and no vehicle has more than {max_speed_kmh}"))
    });
}

/// Sets those points aside of which `broken` says in which way they break the rule. It is asked for each, in their order.
fn sift(
    points: &mut Vec<Point>,
    aside: &mut Vec<Aside>,
    rule: Rule,
    mut broken: impl FnMut(&Point) -> Option<String>,
) {
    points.retain(|point| match broken(point) {
        None => true,
        Some(detail) => {
            aside.push(Aside::point(rule, *point, detail));
            false
        }
    });
}

#[cfg(test)]
mod tests;
