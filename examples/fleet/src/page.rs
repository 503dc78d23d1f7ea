//! The page of a day: one HTML file that needs nothing else and runs no script.
//!
//! It is made of the digest alone, so the parts of a day, merged, give the same page as one run. Names and texts of others are
//! escaped, and cut where they are long.

mod chart;
mod data;
mod drivers;
mod events;
mod map;
mod projection;
mod words;

use std::fmt::Write as _;

use s3backup_core::report::human;

use crate::digest::Digest;
use crate::facts;
use crate::zones::Zones;
use words::{hours, km, kmh};

const STYLE: &str = include_str!("page/style.css");

/// The policy of the page, in the page: nothing is loaded, nothing is run, and its one stylesheet is the one that belongs to it.
const CSP: &str = "default-src 'none'; style-src 'sha256-DzSjnzHxlKL3V1Jk/ciQWV19IvQl00d2TOFTqSQ6LU0='; base-uri 'none'; form-action 'none'";

/// One HTML document that shows the day: its figures, where the fleet drove, what happened when and where, who drove how, and what
/// was wrong with the data. Smaller than 500 KB, however large the fleet.
pub fn render(digest: &Digest, zones: &Zones) -> String {
    let day = digest.day.format("%A, %-d %B %Y");
    let mut out = String::with_capacity(256 << 10);
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" content=\"{CSP}\"><meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\"><title>Fleet on {}</title><style>{STYLE}</style></head><body>",
        digest.day
    );
    let _ = write!(
        out,
        "<header class=\"top\"><h1>Fleet</h1><p>{day} <small>({})</small></p></header><main><div class=\"lead\"><p><strong>{}</strong> {}</p></div>",
        digest.timezone,
        headline(digest),
        events::sentence(digest)
    );
    facts(&mut out, digest);
    let mut card = |title: &str, body: &str| {
        if !body.is_empty() {
            let _ = write!(out, "<section class=\"card\"><h2>{title}</h2>{body}</section>");
        }
    };
    card("Where the fleet drove", &map::figure(digest, zones));
    card("When and how fast", &charts(digest));
    card("Most severe events", &events::table(digest));
    card("Drivers", &drivers::section(digest));
    card("What was wrong with the data", &data::section(digest));
    let _ = write!(
        out,
        "</main><footer>Made by s3backup-fleet {} of {} clean points. Times are local to {}.</footer></body></html>",
        env!("CARGO_PKG_VERSION"),
        human::count(digest.total.points),
        digest.timezone
    );
    out
}

/// The day in one sentence.
fn headline(digest: &Digest) -> String {
    if digest.total.trips == 0 {
        return "No vehicle drove, or nothing of it could be read.".to_owned();
    }
    let vehicles = words::plural(digest.vehicles, "vehicle", "vehicles");
    format!(
        "{vehicles} drove {} in {}.",
        km(digest.total.distance_mm),
        words::plural(digest.total.trips, "trip", "trips")
    )
}

fn facts(out: &mut String, digest: &Digest) {
    let total = &digest.total;
    out.push_str("<dl class=\"facts\">");
    let mut fact = |name: &str, value: &str, more: &str| {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>");
    };
    let per_vehicle = total
        .distance_mm
        .checked_div(digest.vehicles)
        .map_or_else(String::new, |mm| format!("{} a vehicle", km(mm)));
    fact("Distance", &km(total.distance_mm), &per_vehicle);
    fact(
        "Driving",
        &hours(total.driving_ms),
        &format!("and {} standing with the engine on", hours(total.idle_ms)),
    );
    let p85 = total.speeds.percentile_mps(0.85).map_or_else(String::new, |speed| {
        format!(
            "{} or less for 85 % of the time, at most {}",
            kmh(speed),
            kmh(total.max_speed_mmps as f64 / 1000.0)
        )
    });
    fact("Mean speed", &total.mean_speed_mps().map_or("none".to_owned(), kmh), &p85);
    let rate =
        total.per_100_km(total.events.total()).map_or_else(|| "none".to_owned(), |rate| format!("{rate:.1}"));
    fact("Events per 100 km", &rate, &format!("{} in all", human::count(total.events.total())));
    let share = words::percent(total.over_limit_ms, total.driving_ms);
    fact("Above the limit", &hours(total.over_limit_ms), &format!("{share} of the driving time"));
    let score = total
        .driver_score(&digest.settings.score)
        .map_or_else(|| "none".to_owned(), |score| format!("{score:.0}"));
    fact("Driver score", &score, "of 100, of the fleet as a whole");
    let aside = words::percent(total.aside_total(), total.points.saturating_add(total.aside_total()));
    fact(
        "Clean points",
        &human::count(total.points),
        &format!("{} lines set aside ({aside})", human::count(total.aside_total())),
    );
    let unused: Vec<_> = facts::files(total).collect();
    let unused = if unused.is_empty() { "all could be used".to_owned() } else { unused.join(", ") };
    fact("Files", &human::count(total.files), &unused);
    out.push_str("</dl>");
}

fn charts(digest: &Digest) -> String {
    let charts = [chart::driving_by_hour, chart::events_by_hour, chart::speeds, chart::scores];
    let figures: String = charts.into_iter().map(|chart| chart(digest)).collect();
    if figures.is_empty() { figures } else { format!("<div class=\"charts\">{figures}</div>") }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_policy_names_the_stylesheet() {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
        assert!(CSP.contains(&format!("style-src 'sha256-{hash}'")), "the hash of style.css is {hash}");
        assert!(!STYLE.contains("</"), "it would end before its end");
    }
}
