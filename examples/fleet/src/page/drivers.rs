//! The vehicles with the lowest and the highest scores.

use std::fmt::Write as _;

use s3backup_core::report::human;

use crate::digest::{Digest, VehicleScore};

use super::words;

/// The most vehicles that are listed at either end.
const LISTED: usize = 10;

/// Both ends; empty if no vehicle drove far enough for a score.
pub(super) fn section(digest: &Digest) -> String {
    let settings = &digest.settings.score;
    let scored = digest.scores.values().fold(0_u64, |sum, vehicles| sum.saturating_add(*vehicles));
    if scored == 0 {
        return String::new();
    }
    let mut out = format!(
        "<p>{} of {} drove the {} km or more that a score takes. It is 100 without any event, and halves with every {} weighted events per 100 km.</p>",
        human::count(scored),
        words::plural(digest.vehicles, "vehicle", "vehicles"),
        settings.min_distance_km,
        settings.half_per_100_km
    );
    // Of a small fleet, one list has all.
    if scored <= LISTED as u64 {
        list(&mut out, "All vehicles, from the lowest score", digest.lowest.iter());
    } else {
        list(&mut out, "Lowest scores", digest.lowest.iter());
        list(&mut out, "Highest scores", digest.highest.iter().map(|highest| &highest.0));
    }
    out
}

fn list<'a>(out: &mut String, title: &str, vehicles: impl Iterator<Item = &'a VehicleScore>) {
    let _ = write!(
        out,
        "<h3>{title}</h3><table class=\"list\"><thead><tr><th scope=\"col\">Vehicle</th><th scope=\"col\" class=\"num\">Score</th><th scope=\"col\" class=\"num\">Distance</th><th scope=\"col\" class=\"num\">Events</th><th scope=\"col\" class=\"num wide\">Above the limit</th><th scope=\"col\" class=\"num wide\">Top speed</th></tr></thead><tbody>"
    );
    for vehicle in vehicles.take(LISTED) {
        let score = vehicle.score_thousandths as f64 / 1000.0;
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"num\"><svg class=\"meter\" viewBox=\"0 0 100 8\" aria-hidden=\"true\"><rect class=\"idle\" width=\"100\" height=\"8\" rx=\"4\"/><rect class=\"bar drive\" width=\"{score:.1}\" height=\"8\" rx=\"4\"/></svg>{score:.1}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num wide\">{}</td><td class=\"num wide\">{}</td></tr>",
            words::name(&vehicle.vehicle),
            words::km(vehicle.distance_mm),
            human::count(vehicle.events.total()),
            words::hours(vehicle.over_limit_ms),
            words::kmh_of(vehicle.max_speed_mmps)
        );
    }
    out.push_str("</tbody></table>");
}
