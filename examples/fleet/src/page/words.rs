//! Numbers, moments and names as the page shows them.

use chrono::DateTime;
use chrono_tz::Tz;
use s3backup_core::report::{Text, human};

use crate::digest::Event;
use crate::figures::EventKind;

/// The most characters of a name that are shown.
const NAME: usize = 60;

/// `1 trip`, `1,234 trips`.
pub(super) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", human::count(number), if number == 1 { one } else { many })
}

/// `850 m`, `12.3 km`, `48,120 km`.
pub(super) fn km(distance_mm: u64) -> String {
    match distance_mm / 1_000_000 {
        0 => format!("{} m", distance_mm / 1000),
        1..100 => format!("{:.1} km", distance_mm as f64 / 1e6),
        whole => format!("{} km", human::count(whole)),
    }
}

/// `0.4 s`, `3 min 20 s`, `1,190 h`.
pub(super) fn hours(time_ms: u64) -> String {
    match time_ms / 3_600_000 {
        _ if time_ms == 0 => "0 s".to_owned(),
        0..100 => human::duration(time_ms as f64 / 1000.0),
        whole => format!("{} h", human::count(whole)),
    }
}

/// `83 km/h`.
pub(super) fn kmh(speed_mps: f64) -> String {
    format!("{:.0} km/h", speed_mps * 3.6)
}

/// A speed in millimetres a second.
pub(super) fn kmh_of(speed_mmps: u64) -> String {
    kmh(speed_mmps as f64 / 1000.0)
}

/// `0.3 %`; of nothing it is `0 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    if share == 0.0 || share >= 10.0 { format!("{share:.0} %") } else { format!("{share:.2} %") }
}

/// `08:17:02`, local.
pub(super) fn clock(time_ms: i64, timezone: Tz) -> String {
    DateTime::from_timestamp_millis(time_ms)
        .map_or_else(String::new, |utc| utc.with_timezone(&timezone).format("%H:%M:%S").to_string())
}

/// A name of others, cut in its middle if it is long, and escaped.
pub(super) fn name(text: &str) -> String {
    let length = text.chars().count();
    if length <= NAME {
        return Text(text).to_string();
    }
    let head: String = text.chars().take(NAME / 2).collect();
    let tail: String = text.chars().skip(length - NAME / 2).collect();
    format!("{}…{}", Text(&head), Text(&tail))
}

/// A kind of events.
pub(super) fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Overspeed => "Overspeed",
        EventKind::HarshAcceleration => "Harsh acceleration",
        EventKind::HarshBraking => "Harsh braking",
        EventKind::SharpTurn => "Sharp turn",
    }
}

/// The class of a kind of events in the stylesheet.
pub(super) fn class(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Overspeed => "over",
        EventKind::HarshAcceleration => "accel",
        EventKind::HarshBraking => "brake",
        EventKind::SharpTurn => "turn",
    }
}

/// A sign of a kind of events around the origin, five units wide: told by its shape as well as by its colour.
pub(super) fn sign(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Overspeed => "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
        EventKind::HarshAcceleration => "M0-6L5.5 4h-11z",
        EventKind::HarshBraking => "M0 6L5.5-4h-11z",
        EventKind::SharpTurn => "M0-6L6 0L0 6L-6 0z",
    }
}

/// How bad an event was: `78 where 50 km/h is allowed`, `5.2 m/s² (0.53 g)`.
pub(super) fn strength(event: &Event) -> String {
    if let Some(limit) = &event.limit {
        return format!(
            "{:.0} where {} is allowed",
            event.peak_thousandths as f64 * 0.0036,
            kmh_of(limit.speed_mmps)
        );
    }
    let accel_mps2 = event.peak_thousandths as f64 / 1000.0;
    format!("{accel_mps2:.1} m/s² ({:.2} g)", accel_mps2 / 9.806_65)
}

/// The round number (1, 2 or 5 times a power of ten) that is nearest above.
pub(super) fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * 0.999);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 850_000, 12_345_000, 48_120_400_000].map(km),
            ["0 m", "850 m", "12.3 km", "48,120 km"]
        );
        assert_eq!(kmh(25.0), "90 km/h");
        assert_eq!(percent(1, 300), "0.33 %");
        assert_eq!(percent(1, 0), "0 %");
        assert_eq!(clock(1_763_853_422_310, chrono_tz::Asia::Seoul), "08:17:02");
        assert_eq!(clock(i64::MAX, chrono_tz::Asia::Seoul), "");
    }

    #[test]
    fn names_of_others_are_short_and_harmless() {
        assert_eq!(name("<b>"), "&lt;b&gt;");
        assert_eq!(name(&"é".repeat(200)).chars().count(), 61);
    }
}
