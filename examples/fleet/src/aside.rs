//! Lines that were set aside: what is wrong with which line of which file.

use serde::{Deserialize, Serialize};

use crate::point::Point;

/// A line that is not among the clean points, or a whole file that could not be used.
///
/// Together with the clean points these are all lines of a file: nothing is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Aside {
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: u64,
    /// How many lines it stands for: 1, but more where a file has so many broken ones that the rest is only counted. 1 for a
    /// file as a whole.
    pub count: u64,
    /// The rule that it breaks.
    pub rule: Rule,
    /// What exactly is wrong, with the values.
    pub detail: String,
    /// The point, if the line could be read as one.
    pub point: Option<Point>,
    /// The line as it is in the file, without its line feed, if it could not be read as a point. The beginning of one that is too long.
    pub raw: Option<Vec<u8>>,
}

impl Aside {
    /// A file as a whole.
    pub(crate) fn file(rule: Rule, detail: String) -> Self {
        Self { line: 0, count: 1, rule, detail, point: None, raw: None }
    }

    /// A line that was read as a point.
    pub(crate) fn point(rule: Rule, point: Point, detail: String) -> Self {
        Self { line: point.line, count: 1, rule, detail, point: Some(point), raw: None }
    }
}

/// Why a line or a file is set aside. Each rule has a name, is counted, and can be switched off where a point can do without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// The file could not be opened or read.
    Unreadable,
    /// The file has no line: no bytes, blank lines alone, or a CSV header without a row.
    Empty,
    /// The file is larger, or has more points, than one trip may be.
    TooLong,
    /// The program broke on the file: a fault of the program, not of the file.
    Defect,
    /// The file, or the line, is in no encoding that is known: neither UTF-8 nor UTF-16.
    Encoding,
    /// The line is longer than a line may be.
    LongLine,
    /// The line is no JSON object, or no row of the table; or the file is a table without the columns of a trip.
    Syntax,
    /// A value is missing, of another type, or out of its range by definition (a latitude of 91 degrees).
    Value,
    /// The time is not of the day of the trip.
    OtherDay,
    /// A recorded speed that no vehicle has.
    SpeedRange,
    /// The same point once more.
    Duplicate,
    /// Another point of the same time.
    SameTime,
    /// Further from the points around it than any vehicle comes in the time.
    Teleport,
    /// The position wanders while the vehicle stands.
    StandstillNoise,
}

impl Rule {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Unreadable,
        Self::Empty,
        Self::TooLong,
        Self::Defect,
        Self::Encoding,
        Self::LongLine,
        Self::Syntax,
        Self::Value,
        Self::OtherDay,
        Self::SpeedRange,
        Self::Duplicate,
        Self::SameTime,
        Self::Teleport,
        Self::StandstillNoise,
    ];

    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Defect => "defect",
            Self::Encoding => "encoding",
            Self::LongLine => "long_line",
            Self::Syntax => "syntax",
            Self::Value => "value",
            Self::OtherDay => "other_day",
            Self::SpeedRange => "speed_range",
            Self::Duplicate => "duplicate",
            Self::SameTime => "same_time",
            Self::Teleport => "teleport",
            Self::StandstillNoise => "standstill_noise",
        }
    }

    /// Whether it is always of a file as a whole.
    pub fn is_of_file(self) -> bool {
        self < Self::Encoding
    }

    /// Whether it judges points, so that cleaning can do without it. The others say what is no point at all.
    pub fn can_be_off(self) -> bool {
        self >= Self::OtherDay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_one_word_everywhere() {
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{}\"", rule.as_str()));
        }
        assert!(Rule::ALL.is_sorted());
    }
}
