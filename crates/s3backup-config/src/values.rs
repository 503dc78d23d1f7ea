//! How the texts of values are read.

use std::num::NonZeroU64;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;
use figment::value::Value;
use s3backup_core::options::{Bandwidth, Rate, Select};
use serde::{Deserialize, Deserializer, de::Error as _};

/// No duration here is meant to be longer, and no date that one is added to leaves the calendar.
const MAX_DURATION: Duration = Duration::from_hours(100 * 366 * 24);

pub(crate) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok().filter(|duration| *duration <= MAX_DURATION)
}

pub(crate) fn size(text: &str) -> Option<u64> {
    text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// `changed`, `all`, `day:yesterday`, `day:today` or `day:2026-11-23`.
pub(crate) fn select(text: &str) -> Option<Select> {
    match text {
        "changed" => Some(Select::Changed),
        "all" => Some(Select::All),
        "day:yesterday" => Some(Select::Yesterday),
        "day:today" => Some(Select::Today),
        _ => {
            let date = text.strip_prefix("day:")?;
            NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().map(Select::Day)
        }
    }
}

/// `1%` to `100%`; `off` is 100, as no share is above that.
pub(crate) fn percent(text: &str) -> Option<u8> {
    let text = text.trim();
    if text == "off" {
        return Some(100);
    }
    let number = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (1..=100).contains(&number).then_some(number)
}

/// `unlimited`, or a size and `/s`. One that ends in `b` is said in bits and not meant as one of bytes.
pub(crate) fn rate(text: &str) -> Option<Rate> {
    let text = text.trim();
    if text == "unlimited" {
        return Some(Rate::Unlimited);
    }
    let bytes = text.strip_suffix("/s").filter(|bytes| !bytes.trim_end().ends_with('b'))?;
    size(bytes).and_then(NonZeroU64::new).map(Rate::BytesPerSecond)
}

/// `08:00`, and nothing that is read alike, so that no time has two names.
pub(crate) fn time(text: &str) -> Option<NaiveTime> {
    let time = NaiveTime::parse_from_str(text, "%H:%M").ok()?;
    (time.format("%H:%M").to_string() == text).then_some(time)
}

/// A rate, or rates by the time of day in a zone.
pub(crate) fn bandwidth(value: &Value, timezone: Tz) -> Option<Bandwidth> {
    let Some(rates) = value.as_dict() else { return value.as_str().and_then(rate).map(Bandwidth::Always) };
    let rates = rates.iter().map(|(at, value)| Some((time(at)?, rate(value.as_str()?)?)));
    Some(Bandwidth::Daily { timezone, rates: rates.collect::<Option<_>>()? })
}

pub(crate) fn zone(text: &str) -> Option<Tz> {
    text.parse().ok()
}

/// A number that is whole and not negative.
pub(crate) fn whole(value: &Value) -> Option<u64> {
    let unsigned = value.to_u128().and_then(|number| u64::try_from(number).ok());
    unsigned.or_else(|| value.to_i128().and_then(|number| u64::try_from(number).ok()))
}

/// Bytes, from a number or a text.
pub(crate) fn bytes(value: &Value) -> Option<u64> {
    whole(value).or_else(|| value.as_str().and_then(size))
}

pub(crate) fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text).ok_or_else(|| D::Error::custom("not a duration"))
}

/// `None` if the key is absent, too; serde then needs `default`.
pub(crate) fn read_maybe_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    read_duration(deserializer).map(Some)
}

pub(crate) fn read_percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let text = String::deserialize(deserializer)?;
    percent(&text).ok_or_else(|| D::Error::custom("not a percentage"))
}

pub(crate) fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = <Value as Deserialize>::deserialize(deserializer)?;
    bytes(&value).ok_or_else(|| D::Error::custom("not a size"))
}

/// `None` for `auto`.
pub(crate) fn read_auto<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = <Value as Deserialize>::deserialize(deserializer)?;
    if value.as_str() == Some("auto") {
        return Ok(None);
    }
    bytes(&value).map(Some).ok_or_else(|| D::Error::custom("neither auto nor a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_people_write_them() {
        assert_eq!(duration("2m"), Some(Duration::from_mins(2)));
        assert_eq!(duration("1h 30m"), Some(Duration::from_mins(90)));
        assert_eq!(duration("30d"), Some(Duration::from_hours(30 * 24)));
        assert_eq!(["120", "1000 years", "99999999999999999999s"].map(duration), [None; 3]);
        assert_eq!(["1%", "50 %", "100%", "off"].map(percent), [Some(1), Some(50), Some(100), Some(100)]);
        assert_eq!(["0%", "101%", "-1%", "50", "+5 %%", "0.5%"].map(percent), [None; 6]);
        assert_eq!(size("64 MiB"), Some(64 << 20));
        assert_eq!(size("20MB"), Some(20_000_000));
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("-1 B"), None);
        assert_eq!(select("day:2026-11-23"), NaiveDate::from_ymd_opt(2026, 11, 23).map(Select::Day));
        assert_eq!(select("day:2026-02-30"), None);
        assert_eq!(select("changed"), Some(Select::Changed));
        assert_eq!(select("yesterday"), None);
        let bytes = |bytes| NonZeroU64::new(bytes).map(Rate::BytesPerSecond);
        assert_eq!(rate("unlimited"), Some(Rate::Unlimited));
        assert_eq!(
            ["20 MiB/s", " 20MB/s ", "512 KiB /s"].map(rate),
            [20 << 20, 20_000_000, 512 << 10].map(bytes)
        );
        assert_eq!(
            ["", "20 MiB", "20 Mb/s", "20 mb /s", "20 Mbit/s", "0 B/s", "-1 B/s", "/s"].map(rate),
            [None; 8]
        );
        assert_eq!(time("08:05"), NaiveTime::from_hms_opt(8, 5, 0));
        assert_eq!(["8:05", "24:00", "08:60", "08", "08:05:00", " 8:05", "noon"].map(time), [None; 7]);
        assert_eq!(zone("Asia/Seoul"), Some(Tz::Asia__Seoul));
        assert_eq!(zone("KST"), None);
    }
}
