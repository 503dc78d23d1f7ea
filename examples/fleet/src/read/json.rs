//! A line of newline-JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::error::Category;

use super::encoding::utf8;
use super::number;
use super::record::{Fault, Record};
use super::time;
use crate::point::Road;

/// What a line says. The common form of a line is read by hand, because that takes a quarter of the time; what is not in that
/// form is left to `serde_json`, which also says what is wrong.
pub(super) fn parse(line: &[u8]) -> Result<Record, Fault> {
    usual(line).map_or_else(|| general(line), Ok)
}

/// An object of the known keys alone, each at most once and in any order, without white space, escapes or nulls.
fn usual(line: &[u8]) -> Option<Record> {
    let mut record = Record::default();
    let mut has_road = false;
    let mut rest = line.strip_prefix(b"{")?;
    loop {
        let (key, value) = string(rest)?;
        let value = value.strip_prefix(b":")?;
        rest = match key {
            b"t" if value.starts_with(b"\"") => {
                let (text, rest) = string(value)?;
                fill(&mut record.time_ms, time::of_text(text)?)?;
                rest
            }
            b"t" => {
                let (number, rest) = number::leading(value)?;
                fill(&mut record.time_ms, time::of_number(number)?)?;
                rest
            }
            b"lat" => fill_number(&mut record.latitude_deg, value)?,
            b"lon" => fill_number(&mut record.longitude_deg, value)?,
            b"speed_kmh" => fill_number(&mut record.speed_kmh, value)?,
            b"speed_mps" => fill_number(&mut record.speed_mps, value)?,
            b"heading_deg" => fill_number(&mut record.heading_deg, value)?,
            b"road" if !has_road => {
                let (word, rest) = string(value)?;
                record.road = Road::of(str::from_utf8(word).ok()?);
                has_road = true;
                rest
            }
            _ => return None,
        };
        if rest == b"}" {
            return Some(record);
        }
        rest = rest.strip_prefix(b",")?;
    }
}

/// A string that is the same in JSON and outside of it, and what follows it.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' ' | 0x7F..))?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((string, rest.strip_prefix(b"\"")?))
}

fn fill_number<'a>(place: &mut Option<f64>, text: &'a [u8]) -> Option<&'a [u8]> {
    let (number, rest) = number::leading(text)?;
    fill(place, number)?;
    Some(rest)
}

/// None if the place was filled before.
fn fill<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    t: Option<Time<'a>>,
    lat: Option<f64>,
    lon: Option<f64>,
    speed_kmh: Option<f64>,
    speed_mps: Option<f64>,
    heading_deg: Option<f64>,
    #[serde(borrow)]
    road: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`t` is neither a text nor a number")]
enum Time<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Number(f64),
}

/// Any JSON object.
fn general(line: &[u8]) -> Result<Record, Fault> {
    let text = utf8(line)?;
    // An array would be taken for the values alone.
    if !text.trim_start().starts_with('{') {
        return Err(Fault::syntax("is no JSON object: it does not begin with `{`".to_owned()));
    }
    let object: Object = serde_json::from_str(text).map_err(|error| {
        // Each line is a text of its own, in which the line is always 1.
        let detail = error.to_string().replace(" at line 1 column ", " in column ");
        match error.classify() {
            Category::Data => Fault::value(detail),
            _ => Fault::syntax(format!("is no JSON object: {detail}")),
        }
    })?;
    let time_ms = match &object.t {
        None => None,
        Some(Time::Number(number)) => {
            Some(time::of_number(*number).ok_or_else(|| no_time(&number.to_string()))?)
        }
        Some(Time::Text(text)) => Some(time::of_text(text.as_bytes()).ok_or_else(|| no_time(text))?),
    };
    Ok(Record {
        time_ms,
        latitude_deg: object.lat,
        longitude_deg: object.lon,
        speed_mps: object.speed_mps,
        speed_kmh: object.speed_kmh,
        heading_deg: object.heading_deg,
        road: object.road.as_deref().and_then(Road::of),
    })
}

/// What to say of a `t` that is no time.
pub(super) fn no_time(text: &str) -> Fault {
    Fault::value(format!("`t` is {text:?}, and no time such as 2026-11-23T08:15:02.000+09:00"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A value of each key, and some that are none.
    fn member() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => "\"(lat|lon|speed_kmh|speed_mps|heading_deg)\":-?[0-9]{1,3}(\\.[0-9]{1,9})?",
            2 => "\"t\":\"2026-11-[0-3][0-9]T[0-2][0-9]:15:02(\\.[0-9]{1,4})?(Z|\\+09:00)\"",
            1 => "\"t\":[0-9]{1,13}(\\.[0-9])?",
            2 => "\"road\":\"(trunk|service|track|a\\\\u0062)\"",
            1 => "\"(other|lat|t)\":(null|true|\\[1\\]|1e3|\"x\")",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn by_hand_is_read_what_serde_json_reads(members in proptest::collection::vec(member(), 0..7), end in "[}]?.?") {
            let line = format!("{{{}{end}", members.join(","));
            if let Some(record) = usual(line.as_bytes()) {
                prop_assert_eq!(general(line.as_bytes()), Ok(record), "{}", line);
            }
        }
    }

    #[test]
    fn the_usual_line_is_read_by_hand() {
        let line = br#"{"t":"2026-11-23T08:15:02.000+09:00","lat":37.566535,"lon":126.977969,"speed_kmh":42.1,"heading_deg":183.0,"road":"primary"}"#;
        assert_eq!(usual(line), general(line).ok());
        assert!(usual(line).is_some());
    }
}
