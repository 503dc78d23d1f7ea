//! Names of jobs, hosts and runs.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The name of a job or a host: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, not starting with a dot or a dash.
///
/// Such a name is safe as a file name, in a key, in an HTTP header and in a log line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text that cannot be a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: use 1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter, a digit or _")]
pub struct InvalidName(pub String);

impl Name {
    /// Checks a text and takes it as a name.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('.')
            && !text.starts_with('-');
        if fits { Ok(Self(text)) } else { Err(InvalidName(text)) }
    }

    /// A name made from any text: what is not allowed becomes `-`, an empty one `unnamed`.
    ///
    /// For names that a person did not choose, such as the machine's host name.
    pub fn lossy(text: &str) -> Self {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let mapped: String = text.chars().take(64).map(|c| if allowed(c) { c } else { '-' }).collect();
        let trimmed = mapped.trim_start_matches(['.', '-']);
        Self(if trimmed.is_empty() { "unnamed".to_owned() } else { trimmed.to_owned() })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

/// Names one run. Ids sort by the time at which their runs started, to the millisecond.
///
/// Looks like `20261123T110000.123Z-7f3a91c2`: UTC time and 32 random bits, so that two machines that start in the
/// same millisecond do not share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The id of a run that starts at `at`; `random` tells runs of the same millisecond apart.
    pub fn new(at: DateTime<Utc>, random: u32) -> Self {
        Self(format!("{}-{random:08x}", at.format("%Y%m%dT%H%M%S%.3fZ")))
    }

    /// The same for a run that comes behind `last`, also where the clock was set back meanwhile: the order of the ids is what
    /// tells which of two runs knew more.
    pub fn behind(last: Option<&Self>, at: DateTime<Utc>, random: u32) -> Self {
        let id = Self::new(at, random);
        match last {
            Some(last) if id <= *last => {
                Self::new(last.time().unwrap_or(at) + TimeDelta::milliseconds(1), random)
            }
            _ => id,
        }
    }

    /// When the run started, as far as the id is one.
    pub fn time(&self) -> Option<DateTime<Utc>> {
        let (time, _) = self.0.split_once('-')?;
        let time = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S%.fZ").ok()?;
        Some(time.and_utc())
    }

    /// Reads an id; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        const SHAPE: &str = "00000000T000000.000Z-xxxxxxxx";
        let fits = |(byte, shape): (u8, u8)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            other => byte == other,
        };
        let is_id = text.len() == SHAPE.len() && text.bytes().zip(SHAPE.bytes()).all(fits);
        is_id.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time() {
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap();
        let early = RunId::new(at(1_795_431_600_123), u32::MAX);
        let late = RunId::new(at(1_795_431_600_124), 0);
        assert_eq!(early.as_str(), "20261123T110000.123Z-ffffffff");
        assert!(early < late);
        assert_eq!(RunId::parse(early.as_str()), Some(early.clone()));
        assert_eq!(RunId::behind(None, at(1_795_431_600_123), u32::MAX), early);
        assert_eq!(RunId::behind(Some(&early), at(1_795_431_600_124), 0), late);
        assert_eq!(RunId::behind(Some(&early), at(1_795_431_600_123), 0), late, "in the same millisecond");
        assert_eq!(RunId::behind(Some(&early), at(0), 0), late, "the clock was set back");
        for bad in [
            "",
            "20261123T110000.123Z-fffffff",
            "20261123T110000.123Z-FFFFFFFF",
            "20261123T110000.123Z-ffffffff/",
        ] {
            assert_eq!(RunId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_safe_in_keys_and_file_names() {
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
            assert!(Name::new(Name::lossy(bad).as_str()).is_ok(), "{bad:?}");
        }
        assert_eq!(Name::lossy("gw 1.example").as_str(), "gw-1.example");
    }
}
