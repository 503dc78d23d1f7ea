//! Writes a point as its line of JSON, from integers alone.

use chrono::{DateTime, FixedOffset};

use crate::motion::Motion;

/// About how long a line is, with its line feed: from 105 bytes (standing, heading north) to 108.
pub(crate) const TYPICAL_LINE_BYTES: u64 = 107;

/// What the lines of one trip have in common: a trip never leaves its day and keeps its offset.
#[derive(Debug, Clone)]
pub(crate) struct LineFormat {
    before_the_time: String,
    after_the_time: String,
    start_ms_of_day: u64,
}

impl LineFormat {
    pub(crate) fn new(start: DateTime<FixedOffset>, start_s_of_day: u64) -> Self {
        Self {
            before_the_time: start.format("{\"t\":\"%Y-%m-%dT").to_string(),
            after_the_time: start.format("%:z\",\"lat\":").to_string(),
            start_ms_of_day: start_s_of_day * 1_000,
        }
    }

    /// Appends the line of the point at `elapsed_ms` after the start of the trip, without a line feed.
    pub(crate) fn push(&self, line: &mut Vec<u8>, elapsed_ms: u64, motion: &Motion) {
        let ms = self.start_ms_of_day + elapsed_ms;
        line.extend_from_slice(self.before_the_time.as_bytes());
        push_number(line, ms / 3_600_000, 2);
        line.push(b':');
        push_number(line, ms / 60_000 % 60, 2);
        line.push(b':');
        push_number(line, ms / 1_000 % 60, 2);
        line.push(b'.');
        push_number(line, ms % 1_000, 3);
        line.extend_from_slice(self.after_the_time.as_bytes());
        push_fixed(line, (motion.latitude + 500) / 1_000, 6);
        line.extend_from_slice(b",\"lon\":");
        push_fixed(line, (motion.longitude + 500) / 1_000, 6);
        line.extend_from_slice(b",\"speed_kmh\":");
        push_fixed(line, (motion.speed_mm_per_s * 36 + 500) / 1_000, 1);
        line.extend_from_slice(b",\"heading_deg\":");
        push_fixed(line, (motion.heading_mdeg + 50) / 100 % 3_600, 1);
        line.push(b'}');
    }
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
