//! The first of many, in a fixed order: the worst events, vehicles and files.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::aside::Rule;
use crate::figures::Events;

/// The most characters of a text of others that are kept.
const TEXT: usize = 200;

/// The `MOST` smallest of the values that were added. Which ones stay does not depend on the order in which they come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Top<T: Ord, const MOST: usize> {
    values: BTreeSet<T>,
}

impl<T: Ord, const MOST: usize> Default for Top<T, MOST> {
    fn default() -> Self {
        Self { values: BTreeSet::new() }
    }
}

impl<T: Ord, const MOST: usize> Top<T, MOST> {
    /// Adds a value.
    pub fn add(&mut self, value: T) {
        if self.values.len() < MOST || self.values.last().is_some_and(|last| value < *last) {
            self.values.insert(value);
        }
        if self.values.len() > MOST {
            self.values.pop_last();
        }
    }

    /// The values, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<T: Ord + Clone, const MOST: usize> Top<T, MOST> {
    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        for value in &other.values {
            self.add(value.clone());
        }
    }
}

impl<'de, T: Ord + Deserialize<'de>, const MOST: usize> Deserialize<'de> for Top<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeSet::deserialize(deserializer)?;
        if values.len() > MOST {
            return Err(de::Error::custom(format_args!("a list of {} has at most {MOST}", values.len())));
        }
        Ok(Self { values })
    }
}

/// An event. The most severe one is the smallest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// By how much: thousandths of m/s above the limit, or of m/s² in all.
    pub severity_thousandths: Reverse<u64>,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub start_ms: i64,
    /// When it was over.
    pub end_ms: i64,
    /// The name of the trip, cut if it is long.
    pub trip: String,
    /// The vehicle, cut if it is long.
    pub vehicle: String,
    /// Where it began (overspeed) or was strongest, in ten millionths of a degree north.
    pub latitude_e7: i32,
    /// The same east.
    pub longitude_e7: i32,
    /// The highest speed in mm/s, or the strongest acceleration in mm/s².
    pub peak_thousandths: u64,
    /// The way driven above the limit, in millimetres; 0 of a rapid event.
    pub distance_mm: u64,
    /// The limit, of an overspeed.
    pub limit: Option<Limit>,
}

/// The limit that was not kept to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How fast is allowed, in millimetres a second.
    pub speed_mmps: u64,
    /// Whose limit it is, in words.
    pub source: String,
}

/// The day of a vehicle that has a score. The one with the lowest score is the smallest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VehicleScore {
    /// The score in thousandths, 0 to 100,000.
    pub score_thousandths: u64,
    /// The vehicle, cut if it is long.
    pub vehicle: String,
    /// The way driven.
    pub distance_mm: u64,
    /// Time on the way.
    pub driving_ms: u64,
    /// Time above a limit.
    pub over_limit_ms: u64,
    /// The highest speed.
    pub max_speed_mmps: u64,
    /// Its events.
    pub events: Events,
}

impl VehicleScore {
    fn key(&self) -> (u64, Reverse<u64>, &str, u64, u64, u64, [u64; 4]) {
        let Events { overspeed, harsh_acceleration, harsh_braking, sharp_turn } = self.events;
        (
            self.score_thousandths,
            // Of the same score, the one who kept to it for longer is the surer case.
            Reverse(self.distance_mm),
            &self.vehicle,
            self.driving_ms,
            self.over_limit_ms,
            self.max_speed_mmps,
            [overspeed, harsh_acceleration, harsh_braking, sharp_turn],
        )
    }
}

impl PartialOrd for VehicleScore {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VehicleScore {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The same day, but the one with the highest score is the smallest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Highest(pub VehicleScore);

impl PartialOrd for Highest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Highest {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of the same score, who drove furthest is first here as well.
        other.0.score_thousandths.cmp(&self.0.score_thousandths).then_with(|| self.0.cmp(&other.0))
    }
}

/// What is wrong with a file. The one that could not be used, then the one with most lines set aside, is the smallest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFault {
    /// Whether anything of it could be used.
    pub usable: bool,
    /// How many lines (and the file itself) were set aside, without the wandering of a standing receiver.
    pub aside: Reverse<u64>,
    /// The name of the trip, cut if it is long.
    pub trip: String,
    /// The same by rule.
    pub rules: BTreeMap<Rule, u64>,
    /// What is wrong with the first of them, cut if it is long.
    pub detail: String,
}

/// A text of others as it is kept: its first characters.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl Event {
    pub(super) fn is_bounded(&self) -> bool {
        let source = self.limit.as_ref().map_or("", |limit| &limit.source);
        [self.trip.as_str(), &self.vehicle, source].into_iter().all(is_bounded)
            && self.latitude_e7.unsigned_abs() <= 900_000_000
            && self.longitude_e7.unsigned_abs() <= 1_800_000_000
    }
}

impl VehicleScore {
    pub(super) fn is_bounded(&self) -> bool {
        is_bounded(&self.vehicle)
    }
}

impl FileFault {
    pub(super) fn is_bounded(&self) -> bool {
        is_bounded(&self.trip) && is_bounded(&self.detail)
    }
}

fn is_bounded(text: &str) -> bool {
    text.chars().count() <= TEXT + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_stay() {
        let mut top = Top::<u32, 3>::default();
        for value in [5, 1, 4, 4, 2, 9, 3] {
            top.add(value);
        }
        assert_eq!(top.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(serde_json::to_string(&top).unwrap(), "[1,2,3]");
        assert!(serde_json::from_str::<Top<u32, 3>>("[1,2,3,4]").is_err());
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(shown("vehicle-1"), "vehicle-1");
        let long = shown(&"여".repeat(5000));
        assert_eq!(long.chars().count(), TEXT + 1);
        assert!(is_bounded(&long) && long.ends_with('…'));
    }
}
