//! The most severe events of a day, for a person and for a program.

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use s3backup_core::report::human;
use s3backup_fleet::digest::{Digest, Event};
use s3backup_fleet::figures::EventKind;
use serde_json::{Value, json};

/// The most severe events of some kinds, at most so many, the worst first within each kind.
pub(super) fn worst<'a>(
    digest: &'a Digest,
    kinds: &'a [EventKind],
    limit: usize,
) -> impl Iterator<Item = (EventKind, &'a Event)> {
    kinds.iter().flat_map(move |kind| {
        digest
            .events
            .get(kind)
            .into_iter()
            .flat_map(s3backup_fleet::digest::Top::iter)
            .take(limit)
            .map(|event| (*kind, event))
    })
}

/// A line on the ones that are not shown.
pub(super) fn rest(digest: &Digest, kinds: &[EventKind], shown: usize) -> String {
    let all: u64 = kinds.iter().map(|kind| digest.total.events.of(*kind)).sum();
    let more = all.saturating_sub(shown as u64);
    if all == 0 {
        "  none\n".to_owned()
    } else if more > 0 {
        format!("  … and {} more, in the table\n", human::count(more))
    } else {
        String::new()
    }
}

/// The local time of day: `08:17:02`.
pub(super) fn time_of_day(time_ms: i64, timezone: Tz) -> String {
    let utc = DateTime::from_timestamp_millis(time_ms);
    utc.map_or_else(String::new, |utc| utc.with_timezone(&timezone).format("%H:%M:%S").to_string())
}

/// `12.3`: thousandths of a unit times a factor, with one digit.
pub(super) fn tenths(thousandths: u64, factor: f64) -> String {
    format!("{:.1}", thousandths as f64 / 1000.0 * factor)
}

/// An event as a program reads it, in SI units.
pub(super) fn json(kind: EventKind, event: &Event, timezone: Tz) -> Value {
    let moment = |time_ms| {
        DateTime::from_timestamp_millis(time_ms)
            .map(|utc| utc.with_timezone(&timezone).to_rfc3339_opts(SecondsFormat::Millis, false))
    };
    let thousandths = |value: u64| value as f64 / 1000.0;
    let degrees = |value: i32| f64::from(value) / 1e7;
    let mut value = json!({
        "kind": kind.as_str(),
        "file": event.trip,
        "vehicle": event.vehicle,
        "start": moment(event.start_ms),
        "end": moment(event.end_ms),
        "latitude_deg": degrees(event.latitude_e7),
        "longitude_deg": degrees(event.longitude_e7),
    });
    match &event.limit {
        Some(limit) => {
            value["peak_speed_mps"] = json!(thousandths(event.peak_thousandths));
            value["limit_mps"] = json!(thousandths(limit.speed_mmps));
            value["limit_source"] = json!(limit.source);
            value["distance_m"] = json!(thousandths(event.distance_mm));
        }
        None => value["peak_accel_mps2"] = json!(thousandths(event.peak_thousandths)),
    }
    value
}
