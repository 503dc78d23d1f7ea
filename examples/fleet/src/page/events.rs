//! The most severe events as a table.

use std::fmt::Write as _;

use s3backup_core::report::human;

use crate::digest::{Digest, Event};
use crate::figures::EventKind;

use super::words;

/// The most events of each kind that are listed; the tables of the day have all.
const LISTED: usize = 8;

/// What happened, in one sentence.
pub(super) fn sentence(digest: &Digest) -> String {
    let events = &digest.total.events;
    let counts = EventKind::ALL.map(|kind| (events.of(kind), words::kind(kind).to_lowercase()));
    let words: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{} of {name}", human::count(count)))
        .collect();
    match words.as_slice() {
        [] => "Nothing happened that counts as an event.".to_owned(),
        [all @ .., last] if !all.is_empty() => {
            format!("There were {} events: {} and {last}.", human::count(events.total()), all.join(", "))
        }
        [only, ..] => format!("There were {only}."),
    }
}

/// The first of each kind; empty without any.
pub(super) fn table(digest: &Digest) -> String {
    if digest.events.values().all(crate::digest::Top::is_empty) {
        return String::new();
    }
    let mut out = "<table class=\"list events\"><thead><tr><th scope=\"col\">What</th><th scope=\"col\">How bad</th><th scope=\"col\">Vehicle</th><th scope=\"col\">When</th><th scope=\"col\" class=\"num\">How long</th><th scope=\"col\" class=\"wide\">Where</th></tr></thead>".to_owned();
    for kind in EventKind::ALL {
        out.push_str("<tbody>");
        for event in digest.events.get(&kind).into_iter().flat_map(|events| events.iter().take(LISTED)) {
            row(&mut out, digest, kind, event);
        }
        out.push_str("</tbody>");
    }
    out.push_str("</table>");
    out
}

fn row(out: &mut String, digest: &Digest, kind: EventKind, event: &Event) {
    let limit = event.limit.as_ref().map_or_else(String::new, |limit| match limit.source.as_str() {
        "default" => String::new(),
        "vehicle" => " <small>(its own limit)</small>".to_owned(),
        "road" => " <small>(limit of the road)</small>".to_owned(),
        zone => format!(" <small>({})</small>", words::name(zone)),
    });
    let lasted_ms = u64::try_from(event.end_ms.saturating_sub(event.start_ms)).unwrap_or(0);
    let (latitude, longitude) = (f64::from(event.latitude_e7) / 1e7, f64::from(event.longitude_e7) / 1e7);
    let _ = write!(
        out,
        "<tr><th scope=\"row\"><svg class=\"sign\" viewBox=\"-8 -8 16 16\" aria-hidden=\"true\"><path class=\"mark {}\" d=\"{}\"/></svg>{}</th><td>{}{limit}</td><td title=\"{}\">{}</td><td>{}</td><td class=\"num\">{}</td><td class=\"wide\"><a href=\"geo:{latitude:.5},{longitude:.5}\">{latitude:.5}, {longitude:.5}</a></td></tr>",
        words::class(kind),
        words::sign(kind),
        words::kind(kind),
        words::strength(event),
        words::name(&event.trip),
        words::name(&event.vehicle),
        words::clock(event.start_ms, digest.timezone),
        human::duration(lasted_ms as f64 / 1000.0)
    );
}
