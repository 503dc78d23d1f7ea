//! The figures of a day, or of several, in a few lines for a person: what commands print, and what the report and the message
//! about the upload say.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use chrono::NaiveDate;
use s3backup_core::report::human;

use crate::digest::Digest;
use crate::error::Error;
use crate::figures::{Events, FigureSettings, Figures};

/// The sums of some days.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    days: Option<(NaiveDate, NaiveDate)>,
    /// Each vehicle counts once for each day on which it has a file.
    vehicles: u64,
    total: Figures,
    settings: FigureSettings,
}

impl Facts {
    /// Adds a day.
    pub fn add(&mut self, digest: &Digest) {
        let (first, last) = self.days.unwrap_or((digest.day, digest.day));
        self.days = Some((first.min(digest.day), last.max(digest.day)));
        self.vehicles = self.vehicles.saturating_add(digest.vehicles);
        self.total.merge(&digest.total);
        self.settings.clone_from(&digest.settings);
    }

    /// Labels and values, in the order in which they are shown. Nothing without a day.
    pub fn lines(&self) -> Vec<(String, String)> {
        let Some((first, last)) = self.days else { return Vec::new() };
        let total = &self.total;
        let (vehicles, when) = if first == last {
            ("vehicles", format!("on {first}"))
        } else {
            ("vehicle days", format!("from {first} to {last}"))
        };
        let trips =
            format!("{} of {} {vehicles} {when}", human::count(total.trips), human::count(self.vehicles));
        let score = total.driver_score(&self.settings.score);
        let lines = [
            ("Distance", format!("{} km", human::count(total.distance_mm / 1_000_000))),
            ("Driving time", time(total.driving_ms)),
            ("Idle time", time(total.idle_ms)),
            ("Overspeed events", self.overspeed()),
            ("Rapid events", self.rapid()),
            ("Driver score", score.map_or_else(|| "-".to_owned(), |score| format!("{score:.0} of 100"))),
            ("Trips", trips),
            ("Lines with errors", self.errors()),
        ];
        lines.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
    }

    fn overspeed(&self) -> String {
        let count = self.total.events.overspeed;
        let above = if count > 0 {
            format!(", {} above the limit", time(self.total.over_limit_ms))
        } else {
            String::new()
        };
        format!("{}{above}", self.events(count))
    }

    fn rapid(&self) -> String {
        let Events { harsh_acceleration, harsh_braking, sharp_turn, .. } = self.total.events;
        let all = harsh_acceleration.saturating_add(harsh_braking).saturating_add(sharp_turn);
        if all == 0 {
            return self.events(all);
        }
        format!(
            "{}: {} harsh accelerations, {} harsh brakings, {} sharp turns",
            self.events(all),
            human::count(harsh_acceleration),
            human::count(harsh_braking),
            human::count(sharp_turn)
        )
    }

    /// `17 (0.14 per 100 km)`.
    fn events(&self, count: u64) -> String {
        match self.total.per_100_km(count).filter(|_| count > 0) {
            Some(rate) => format!("{} ({rate:.2} per 100 km)", human::count(count)),
            None => human::count(count),
        }
    }

    fn errors(&self) -> String {
        let total = &self.total;
        let lines = human::count(total.wrong_lines());
        std::iter::once(lines).chain(files(total)).collect::<Vec<_>>().join("; ")
    }
}

/// What is to be said of files without a single clean point, if there are any: of those that are lost, and of the empty ones,
/// which have nothing to lose.
pub fn files(total: &Figures) -> impl Iterator<Item = String> {
    let lost = Some(total.lost_files()).filter(|count| *count > 0);
    let empty = Some(total.empty_files()).filter(|count| *count > 0);
    let lost = lost.map(|count| format!("{} could not be used", human::files(count)));
    lost.into_iter().chain(empty.map(|count| format!("{} without content", human::files(count))))
}

/// Notes lines for whoever runs this as a step: `label: value`, at the end of the file that `$BACKUP_FACTS` names.
///
/// # Errors
/// [`Error::Io`] and [`Error::DiskFull`].
pub fn note(path: &Path, lines: &[(String, String)]) -> Result<(), Error> {
    let text = lines.iter().fold(String::new(), |text, (label, value)| text + label + ": " + value + "\n");
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::io("write", path))
}

fn time(time_ms: u64) -> String {
    human::duration(time_ms as f64 / 1000.0)
}
