//! What was found, held against the truth.
//!
//! The truth is a file of JSON lines, an event or a near miss each, in the order of the names of the trips. Both are gone through side
//! by side, so that memory holds the events of one trip, however many trips there are.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::overspeed::Overspeed;
use crate::rapid::{Rapid, RapidKind};
use crate::score::matching::{Interval, tally};
use crate::score::truth::{Kind, Lines};

mod matching;
mod truth;

/// Holds trips against the truth, one after the other.
#[derive(Debug)]
pub struct Scorer<R> {
    truth: Lines<R>,
    score: Score,
}

impl Scorer<BufReader<File>> {
    /// Opens the file of the truth.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn open(truth: &Path) -> Result<Self, Error> {
        let file = File::open(truth).map_err(Error::io("open", truth))?;
        Ok(Self::new(truth, BufReader::new(file)))
    }
}

impl<R: BufRead> Scorer<R> {
    /// Reads the truth from `lines`; `path` is what messages call it.
    pub fn new(path: &Path, lines: R) -> Self {
        Self { truth: Lines::new(path, lines), score: Score::default() }
    }

    /// Holds what was found in the trip of this name against the truth. Trips come in the order of their names.
    ///
    /// A detection and an event match if they are of the same kind and overlap in time, each with at most one of the other.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the truth cannot be read, [`Error::Truth`] if a line of it is no event or out of order.
    pub fn trip(&mut self, name: &str, overspeed: &[Overspeed], rapid: &[Rapid]) -> Result<(), Error> {
        let events = self.truth.of_trip(name)?;
        self.score.trips += 1;
        for kind in Kind::ALL {
            let found: Vec<Interval> = match kind.rapid() {
                None => overspeed.iter().map(|found| (found.start_ms, found.end_ms)).collect(),
                Some(kind) => rapid
                    .iter()
                    .filter(|found| found.kind == kind)
                    .map(|found| (found.start_ms, found.end_ms))
                    .collect(),
            };
            let of_kind: Vec<_> = events.iter().filter(|event| event.kind == kind).collect();
            self.score.tally_mut(kind).add(&tally(&found, &of_kind));
        }
        Ok(())
    }

    /// The score of all trips so far. Reads what is left of the truth.
    ///
    /// # Errors
    ///
    /// As those of [`trip`](Self::trip).
    pub fn finish(mut self) -> Result<Score, Error> {
        self.truth.pass_over_rest()?;
        Ok(Score { elsewhere: self.truth.passed_over(), ..self.score })
    }
}

/// How good the detections are: the sums over all trips. Printed, it is a table in Markdown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Trips that were held against the truth.
    pub trips: u64,
    /// Events and near misses of trips that were not: those of other days, or whose files are gone.
    pub elsewhere: u64,
    /// Overspeed.
    pub overspeed: Tally,
    /// Harsh acceleration.
    pub harsh_acceleration: Tally,
    /// Harsh braking.
    pub harsh_braking: Tally,
    /// Sharp turns.
    pub sharp_turn: Tally,
}

impl Score {
    /// Adds the score of other trips by the same truth. What is elsewhere for one may be among the trips of the other, so that is
    /// not added.
    pub fn merge(&mut self, other: &Self) {
        self.trips += other.trips;
        self.overspeed.add(&other.overspeed);
        self.harsh_acceleration.add(&other.harsh_acceleration);
        self.harsh_braking.add(&other.harsh_braking);
        self.sharp_turn.add(&other.sharp_turn);
    }

    fn tally_mut(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Overspeed => &mut self.overspeed,
            Kind::HarshAcceleration => &mut self.harsh_acceleration,
            Kind::HarshBraking => &mut self.harsh_braking,
            Kind::SharpTurn => &mut self.sharp_turn,
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| event | found | missed | false | near misses | of them found | precision | recall |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        let rows = [
            ("overspeed", &self.overspeed),
            (RapidKind::HarshAcceleration.as_str(), &self.harsh_acceleration),
            (RapidKind::HarshBraking.as_str(), &self.harsh_braking),
            (RapidKind::SharpTurn.as_str(), &self.sharp_turn),
        ];
        for (name, tally) in rows {
            let Tally { found, missed, false_alarms, near_misses, near_misses_found, .. } = tally;
            let (precision, recall) = (tally.precision(), tally.recall());
            writeln!(
                f,
                "| {name} | {found} | {missed} | {false_alarms} | {near_misses} | {near_misses_found} | {precision:.4} | {recall:.4} |"
            )?;
        }
        Ok(())
    }
}

/// The sums of one kind of event. What a fault of the data hides is in none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(into = "Row")]
pub struct Tally {
    /// Events that were found (true positives).
    pub found: u64,
    /// Events that were not found (false negatives).
    pub missed: u64,
    /// Detections that are no event (false positives).
    pub false_alarms: u64,
    /// Near misses, whether taken for events or not.
    pub near_misses: u64,
    /// Near misses that were taken for events; they are among the false alarms.
    pub near_misses_found: u64,
}

impl Tally {
    /// The share of the detections that are events; 1 if there are no detections.
    pub fn precision(&self) -> f64 {
        share(self.found, self.false_alarms)
    }

    /// The share of the events that were found; 1 if there are no events.
    pub fn recall(&self) -> f64 {
        share(self.found, self.missed)
    }

    fn add(&mut self, other: &Self) {
        self.found += other.found;
        self.missed += other.missed;
        self.false_alarms += other.false_alarms;
        self.near_misses += other.near_misses;
        self.near_misses_found += other.near_misses_found;
    }
}

fn share(part: u64, rest: u64) -> f64 {
    if part + rest == 0 { 1.0 } else { part as f64 / (part + rest) as f64 }
}

/// A tally in JSON.
#[derive(Serialize)]
struct Row {
    found: u64,
    missed: u64,
    false_alarms: u64,
    near_misses: u64,
    near_misses_found: u64,
    precision: f64,
    recall: f64,
}

impl From<Tally> for Row {
    fn from(tally: Tally) -> Self {
        let Tally { found, missed, false_alarms, near_misses, near_misses_found } = tally;
        let (precision, recall) = (tally.precision(), tally.recall());
        Self { found, missed, false_alarms, near_misses, near_misses_found, precision, recall }
    }
}
