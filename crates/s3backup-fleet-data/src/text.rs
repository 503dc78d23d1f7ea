//! Writes a point as its line.

use chrono::{DateTime, FixedOffset};

use crate::motion::Sample;

/// How points are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A JSON object a line, in files that end in `.json`.
    #[default]
    Json,
    /// A header, then a row a point, in files that end in `.csv`.
    Csv,
}

impl Format {
    /// What the name of a file ends with, without a dot.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    /// About how long a line is, with its line feed: that of a vehicle in town.
    pub(crate) fn typical_line_bytes(self) -> u64 {
        match self {
            Self::Json => 125,
            Self::Csv => 71,
        }
    }

    /// The first line of a file that has any.
    pub(crate) fn header(self) -> Option<&'static str> {
        match self {
            Self::Json => None,
            Self::Csv => Some("t,lat,lon,speed_kmh,heading_deg,road"),
        }
    }

    /// What stands before each value of a line, and after the last.
    fn joints(self) -> [&'static str; 7] {
        match self {
            Self::Json => [
                r#"{"t":""#,
                r#"","lat":"#,
                r#","lon":"#,
                r#","speed_kmh":"#,
                r#","heading_deg":"#,
                r#","road":""#,
                r#""}"#,
            ],
            Self::Csv => ["", ",", ",", ",", ",", ",", ""],
        }
    }
}

/// What the lines of one trip have in common: a trip never leaves its day and keeps its offset.
#[derive(Debug, Clone)]
pub(crate) struct LineFormat {
    joints: [&'static str; 7],
    date: String,
    offset: String,
    start_ms_of_day: u64,
}

impl LineFormat {
    pub(crate) fn new(format: Format, start: DateTime<FixedOffset>, start_s_of_day: u64) -> Self {
        Self {
            joints: format.joints(),
            date: start.format("%Y-%m-%dT").to_string(),
            offset: start.format("%:z").to_string(),
            start_ms_of_day: start_s_of_day * 1_000,
        }
    }

    /// Appends the line of the point at `elapsed_ms` after the start of the trip, without a line feed.
    pub(crate) fn push(&self, line: &mut Vec<u8>, elapsed_ms: u64, sample: &Sample) {
        let [before_time, before_lat, before_lon, before_speed, before_heading, before_road, end] =
            self.joints;
        let ms = self.start_ms_of_day + elapsed_ms;
        push_text(line, before_time);
        push_text(line, &self.date);
        push_number(line, ms / 3_600_000, 2);
        line.push(b':');
        push_number(line, ms / 60_000 % 60, 2);
        line.push(b':');
        push_number(line, ms / 1_000 % 60, 2);
        line.push(b'.');
        push_number(line, ms % 1_000, 3);
        push_text(line, &self.offset);
        push_text(line, before_lat);
        push_fixed(line, rounded(sample.latitude_deg * 1e6), 6);
        push_text(line, before_lon);
        push_fixed(line, rounded(sample.longitude_deg * 1e6), 6);
        push_text(line, before_speed);
        push_fixed(line, rounded(sample.speed_mps * 36.0), 1);
        push_text(line, before_heading);
        push_fixed(line, rounded(sample.heading_rad.to_degrees() * 10.0) % 3_600, 1);
        push_text(line, before_road);
        push_text(line, sample.road.word());
        push_text(line, end);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "all values of a line are far below 2^63")]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

fn push_text(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

/// A number with so many decimals, given in units of its last one.
fn push_fixed(line: &mut Vec<u8>, value: i64, decimals: u8) {
    if value < 0 {
        line.push(b'-');
    }
    let unit = 10_u64.pow(u32::from(decimals));
    push_number(line, value.unsigned_abs() / unit, 1);
    line.push(b'.');
    push_number(line, value.unsigned_abs() % unit, decimals);
}

/// A number of at least so many digits.
fn push_number(line: &mut Vec<u8>, mut value: u64, min_digits: u8) {
    let start = line.len();
    for position in 0_u8.. {
        if value == 0 && position >= min_digits {
            break;
        }
        line.push(b'0' + u8::try_from(value % 10).unwrap_or(0));
        value /= 10;
    }
    if let Some(digits) = line.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        push(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn numbers_have_their_digits_and_decimals() {
        assert_eq!(text(|line| push_number(line, 0, 2)), "00");
        assert_eq!(text(|line| push_number(line, 1234, 2)), "1234");
        assert_eq!(text(|line| push_number(line, u64::MAX, 1)), u64::MAX.to_string());
        assert_eq!(text(|line| push_fixed(line, 37_000_001, 6)), "37.000001");
        assert_eq!(text(|line| push_fixed(line, -5, 1)), "-0.5");
        assert_eq!(text(|line| push_fixed(line, 0, 1)), "0.0");
    }
}
