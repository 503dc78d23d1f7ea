//! The rows of each table, cell by cell in the order of its columns.

use parquet::data_type::ByteArray;

use super::schema::FIGURES;
use super::write::TableFile;
use crate::digest::Digest;
use crate::error::Error;
use crate::figures::{FigureSettings, Figures, VehicleDay};
use crate::limits::LimitSource;
use crate::point::Road;
use crate::trip::Trip;

/// A value of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// There is none.
    Null,
    /// A text, or bytes.
    Bytes(ByteArray),
    /// A whole number, or a moment in milliseconds.
    Int(i64),
    /// Any other number.
    Float(f64),
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        value.as_bytes().into()
    }
}

impl From<&[u8]> for Cell {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec().into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// What each row of a trip begins with. Clones of a text share its bytes.
fn names(trip: &Trip) -> [Cell; 2] {
    [trip.file.vehicle.as_str().into(), trip.file.name.as_str().into()]
}

fn seconds_between(start_ms: i64, end_ms: i64) -> Cell {
    Cell::Float(end_ms.saturating_sub(start_ms) as f64 / 1000.0)
}

pub(super) fn points(file: &mut TableFile, trip: &Trip) -> Result<(), Error> {
    let [vehicle, name] = names(trip);
    // Points of one road follow each other.
    let (mut road, mut word) = (None, Cell::Null);
    for point in &trip.points {
        if point.road != road {
            road = point.road;
            word = road.map(Road::as_str).into();
        }
        file.push([
            vehicle.clone(),
            name.clone(),
            point.line.into(),
            point.time_ms.into(),
            point.latitude_deg.into(),
            point.longitude_deg.into(),
            point.speed_mps.into(),
            point.heading_deg.into(),
            word.clone(),
        ])?;
    }
    Ok(())
}

pub(super) fn errors(file: &mut TableFile, trip: &Trip) -> Result<(), Error> {
    let [vehicle, name] = names(trip);
    for aside in &trip.aside {
        let point = aside.point.as_ref();
        file.push([
            vehicle.clone(),
            name.clone(),
            aside.line.into(),
            aside.count.into(),
            aside.rule.as_str().into(),
            aside.detail.as_str().into(),
            point.map(|point| point.time_ms).into(),
            point.map(|point| point.latitude_deg).into(),
            point.map(|point| point.longitude_deg).into(),
            point.map(|point| point.speed_mps).into(),
            point.and_then(|point| point.heading_deg).into(),
            point.and_then(|point| point.road).map(Road::as_str).into(),
            aside.raw.as_deref().into(),
        ])?;
    }
    Ok(())
}

pub(super) fn overspeed(file: &mut TableFile, trip: &Trip) -> Result<(), Error> {
    let [vehicle, name] = names(trip);
    for event in &trip.overspeed {
        let (source, zone) = match &event.limit_source {
            LimitSource::Default => ("default", None),
            LimitSource::Vehicle => ("vehicle", None),
            LimitSource::Road => ("road", None),
            LimitSource::Zone(zone) => ("zone", Some(&**zone)),
        };
        file.push([
            vehicle.clone(),
            name.clone(),
            event.start_ms.into(),
            event.end_ms.into(),
            seconds_between(event.start_ms, event.end_ms),
            event.start_latitude_deg.into(),
            event.start_longitude_deg.into(),
            event.end_latitude_deg.into(),
            event.end_longitude_deg.into(),
            event.peak_speed_mps.into(),
            event.mean_speed_mps.into(),
            event.limit_mps.into(),
            source.into(),
            zone.into(),
            event.distance_m.into(),
        ])?;
    }
    Ok(())
}

pub(super) fn rapid(file: &mut TableFile, trip: &Trip) -> Result<(), Error> {
    let [vehicle, name] = names(trip);
    for event in &trip.rapid {
        file.push([
            vehicle.clone(),
            name.clone(),
            event.kind.as_str().into(),
            event.start_ms.into(),
            event.end_ms.into(),
            seconds_between(event.start_ms, event.end_ms),
            event.latitude_deg.into(),
            event.longitude_deg.into(),
            event.peak_accel_mps2.into(),
            event.speed_mps.into(),
        ])?;
    }
    Ok(())
}

pub(super) fn trip(file: &mut TableFile, trip: &Trip, settings: &FigureSettings) -> Result<(), Error> {
    let ends = [
        trip.file.size_bytes.into(),
        trip.points.first().map(|point| point.time_ms).into(),
        trip.points.last().map(|point| point.time_ms).into(),
    ];
    file.push(names(trip).into_iter().chain(ends).chain(figures(&trip.figures, settings)))
}

pub(super) fn vehicle(
    file: &mut TableFile,
    day: &VehicleDay,
    settings: &FigureSettings,
) -> Result<(), Error> {
    let vehicle = [day.vehicle.as_str().into()];
    file.push(vehicle.into_iter().chain(figures(&day.figures, settings)))
}

pub(super) fn fleet(file: &mut TableFile, digest: &Digest) -> Result<(), Error> {
    let vehicles = [digest.vehicles.into()];
    file.push(vehicles.into_iter().chain(figures(&digest.total, &digest.settings)))
}

fn figures(figures: &Figures, settings: &FigureSettings) -> impl Iterator<Item = Cell> {
    FIGURES.iter().map(move |(_, cell)| cell(figures, settings))
}
