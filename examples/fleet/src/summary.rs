//! The small CSV of a day: the figures of the fleet, one a line, for a person.

use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde_json::{Map, Value};

use crate::aside::Rule;
use crate::atomic::AtomicFile;
use crate::digest::Digest;
use crate::error::Error;
use crate::tables::{self, Cell, FIGURES};

/// Writes `summary/date=2026-11-23/summary.csv`: metric, value, unit and meaning of each figure of the fleet, and how much was
/// set aside by each rule. Names, units and values are those of the table `fleet`.
///
/// # Errors
/// [`Error::Io`] and [`Error::DiskFull`].
pub fn write(results: &Path, digest: &Digest) -> Result<(), Error> {
    let path = path(results, digest.day);
    let mut file = AtomicFile::create(&path)?;
    write_to(&mut file, digest).map_err(|error| Error::io("write", &path)(error.into()))?;
    file.commit()
}

/// Where it is.
pub fn path(results: &Path, day: NaiveDate) -> PathBuf {
    tables::folder(results, "summary", day).join("summary.csv")
}

/// The same for a program: the figures by their names, `null` where there is none.
pub fn json(digest: &Digest) -> Map<String, Value> {
    let mut figures = Map::new();
    figures.insert("day".to_owned(), digest.day.to_string().into());
    figures.insert("vehicles".to_owned(), digest.vehicles.into());
    for (column, cell) in &FIGURES {
        let value = match cell(&digest.total, &digest.settings) {
            Cell::Int(value) => value.into(),
            Cell::Float(value) => value.into(),
            Cell::Null | Cell::Bytes(_) => Value::Null,
        };
        figures.insert(column.name.to_owned(), value);
    }
    let aside =
        digest.total.aside.iter().map(|(rule, count)| (rule.as_str().to_owned(), Value::from(*count)));
    figures.insert("aside_by_rule".to_owned(), aside.collect());
    figures
}

fn write_to(out: impl Write, digest: &Digest) -> Result<(), csv::Error> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["metric", "value", "unit", "meaning"])?;
    csv.write_record(["day", &digest.day.to_string(), "", &format!("the local day, {}", digest.timezone)])?;
    csv.write_record(["vehicles", &digest.vehicles.to_string(), "", "vehicles with at least one file"])?;
    for (column, cell) in &FIGURES {
        let value = match cell(&digest.total, &digest.settings) {
            Cell::Int(value) => value.to_string(),
            Cell::Float(value) => format!("{value:.3}"),
            Cell::Null | Cell::Bytes(_) => String::new(),
        };
        csv.write_record([column.name, &value, column.unit, column.about])?;
    }
    for rule in Rule::ALL {
        let count = digest.total.aside.get(&rule).copied().unwrap_or(0);
        let metric = format!("aside_{}", rule.as_str());
        csv.write_record([&metric, &count.to_string(), "", "set aside by this rule"])?;
    }
    csv.flush()?;
    Ok(())
}
