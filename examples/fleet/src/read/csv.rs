//! A table with a header, read line by line.
//!
//! A row is one line, so that a quote that is never closed costs its line and not the rest of the file. A line feed within quotes, which
//! no value of a trip has, is therefore not read.

use csv_core::{ReadRecordResult, Reader};

use super::encoding::utf8;
use super::json::no_time;
use super::number;
use super::record::{Fault, Record};
use super::time;
use crate::point::Road;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Time,
    Latitude,
    Longitude,
    SpeedKmh,
    SpeedMps,
    Heading,
    Road,
    Unknown,
}

impl Column {
    fn of(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "t" => Self::Time,
            "lat" => Self::Latitude,
            "lon" => Self::Longitude,
            "speed_kmh" => Self::SpeedKmh,
            "speed_mps" => Self::SpeedMps,
            "heading_deg" => Self::Heading,
            "road" => Self::Road,
            _ => Self::Unknown,
        }
    }
}

/// The columns of a table, and memory for one row.
pub(super) struct Table {
    columns: Vec<Column>,
    fields: Fields,
}

impl Table {
    /// Fails if a column is missing or there twice, which makes the whole file unusable.
    pub(super) fn new(header: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields::new();
        fields.split(header)?;
        let columns: Vec<_> = fields.iter().map(Column::of).collect();
        let count = |wanted: Column| columns.iter().filter(|column| **column == wanted).count();
        let problem = |what: &str| {
            let header = String::from_utf8_lossy(header);
            let header: String = header.chars().take(200).collect();
            Err(Fault::syntax(format!(
                "{what} in its header {header:?}: a trip has t, lat, lon, and speed_kmh or speed_mps, with commas between"
            )))
        };
        for (name, column) in [("t", Column::Time), ("lat", Column::Latitude), ("lon", Column::Longitude)] {
            if count(column) == 0 {
                return problem(&format!("has no column `{name}`"));
            }
        }
        if count(Column::SpeedKmh) + count(Column::SpeedMps) == 0 {
            return problem("has no column of the speed");
        }
        if columns.iter().any(|column| *column != Column::Unknown && count(*column) > 1) {
            return problem("has a column twice");
        }
        Ok(Self { columns, fields })
    }

    /// What a row says. A field that is empty is missing.
    pub(super) fn parse(&mut self, line: &[u8]) -> Result<Record, Fault> {
        self.fields.split(line)?;
        let (found, expected) = (self.fields.ends.len(), self.columns.len());
        if found != expected {
            return Err(Fault::syntax(format!("has {found} fields, and the header {expected}")));
        }
        let mut record = Record::default();
        for (column, field) in self.columns.iter().zip(self.fields.iter()) {
            let text = field.trim();
            if text.is_empty() {
                continue;
            }
            match column {
                Column::Time => {
                    record.time_ms = Some(time::of_text(text.as_bytes()).ok_or_else(|| no_time(text))?);
                }
                Column::Latitude => record.latitude_deg = Some(number("lat", text)?),
                Column::Longitude => record.longitude_deg = Some(number("lon", text)?),
                Column::SpeedKmh => record.speed_kmh = Some(number("speed_kmh", text)?),
                Column::SpeedMps => record.speed_mps = Some(number("speed_mps", text)?),
                Column::Heading => record.heading_deg = Some(number("heading_deg", text)?),
                Column::Road => record.road = Road::of(text),
                Column::Unknown => {}
            }
        }
        Ok(record)
    }
}

fn number(name: &str, text: &str) -> Result<f64, Fault> {
    match number::leading(text.as_bytes()) {
        Some((number, b"")) => Ok(number),
        // Tables also have `+1`, `.5` and `5.`.
        _ => text.parse().map_err(|_| Fault::value(format!("`{name}` is {text:?}, and no number"))),
    }
}

/// The fields of one line.
struct Fields {
    reader: Reader,
    line: Vec<u8>,
    text: String,
    ends: Vec<usize>,
}

impl Fields {
    fn new() -> Self {
        // The default of the type is a reader that knows no rules.
        Self { reader: Reader::new(), line: Vec::new(), text: String::new(), ends: Vec::new() }
    }

    fn split(&mut self, line: &[u8]) -> Result<(), Fault> {
        utf8(line)?;
        self.line.clear();
        self.line.extend_from_slice(line);
        self.line.push(b'\n');
        // Neither can be more: a field takes no more bytes than its line, and each has a separator or the end.
        let mut text = std::mem::take(&mut self.text).into_bytes();
        text.resize(self.line.len(), 0);
        self.ends.resize(self.line.len(), 0);
        self.reader.reset();
        let (result, read, written, ends) = self.reader.read_record(&self.line, &mut text, &mut self.ends);
        self.ends.truncate(ends);
        text.truncate(written);
        self.text = String::from_utf8(text).map_err(|_| Fault::syntax("is no row of a table".to_owned()))?;
        match result {
            ReadRecordResult::Record if read == self.line.len() => Ok(()),
            ReadRecordResult::Record => Err(Fault::syntax("has a carriage return in its middle".to_owned())),
            _ => Err(Fault::syntax("has a quote that is not closed".to_owned())),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let field = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            field
        })
    }
}
