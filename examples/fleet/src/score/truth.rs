//! The file of the truth, trip by trip.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset};
use serde::Deserialize;

use crate::error::Error;
use crate::rapid::RapidKind;

/// The longest line that is read, in bytes: far more than any event takes.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Overspeed,
    HarshAcceleration,
    HarshBraking,
    SharpTurn,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::Overspeed, Self::HarshAcceleration, Self::HarshBraking, Self::SharpTurn];

    /// The kind of the detections that it is compared with; `None` for overspeed.
    pub(super) fn rapid(self) -> Option<RapidKind> {
        match self {
            Self::Overspeed => None,
            Self::HarshAcceleration => Some(RapidKind::HarshAcceleration),
            Self::HarshBraking => Some(RapidKind::HarshBraking),
            Self::SharpTurn => Some(RapidKind::SharpTurn),
        }
    }
}

/// A line of the truth, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TrueEvent {
    /// The name of the trip.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) start: DateTime<FixedOffset>,
    pub(super) end: DateTime<FixedOffset>,
    /// It is no event, but nearly one.
    pub(super) near_miss: bool,
    /// A fault of the data lies in it: whether it was found says nothing.
    pub(super) hidden: bool,
}

/// The lines in the order of the file, of which one at a time is read ahead.
#[derive(Debug)]
pub(super) struct Lines<R> {
    path: PathBuf,
    source: R,
    number: u64,
    ahead: Option<TrueEvent>,
    passed_over: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(path: &Path, source: R) -> Self {
        Self { path: path.to_owned(), source, number: 0, ahead: None, passed_over: 0 }
    }

    /// The events of a trip. Those of trips before it that nobody asked for are passed over.
    pub(super) fn of_trip(&mut self, name: &str) -> Result<Vec<TrueEvent>, Error> {
        let mut events = Vec::new();
        while let Some(event) = self.next_if(|event| event.path.as_str() <= name)? {
            if event.path == name {
                events.push(event);
            } else {
                self.passed_over += 1;
            }
        }
        Ok(events)
    }

    pub(super) fn pass_over_rest(&mut self) -> Result<(), Error> {
        while self.next_if(|_| true)?.is_some() {
            self.passed_over += 1;
        }
        Ok(())
    }

    /// How many events are of trips that nobody asked for.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn next_if(&mut self, wanted: impl FnOnce(&TrueEvent) -> bool) -> Result<Option<TrueEvent>, Error> {
        let event = match self.ahead.take() {
            Some(event) => event,
            None => match self.read()? {
                Some(event) => event,
                None => return Ok(None),
            },
        };
        if wanted(&event) {
            // The one after it must not be of a trip before it, for which it would be too late.
            self.ahead = self.read()?;
            if let Some(next) = self.ahead.as_ref().filter(|next| next.path < event.path) {
                return Err(self.problem(&format!(
                    "is of {:?}, which comes before that of the line above ({:?}); keep the order in which the truth was generated",
                    next.path, event.path
                )));
            }
            return Ok(Some(event));
        }
        self.ahead = Some(event);
        Ok(None)
    }

    fn read(&mut self) -> Result<Option<TrueEvent>, Error> {
        let mut line = Vec::new();
        let limited = self.source.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if limited.map_err(Error::io("read", &self.path))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| self.problem(&format!("is no event ({error}); generate the truth again")))
    }

    fn problem(&self, problem: &str) -> Error {
        Error::Truth { path: self.path.clone(), problem: format!("line {} {problem}", self.number) }
    }
}
