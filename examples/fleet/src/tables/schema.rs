//! The columns of the tables: name, type, unit, meaning. What the documentation and the files say comes from here.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::schema::types::{Type, TypePtr};

use super::Table;
use super::rows::Cell;
use crate::figures::{FigureSettings, Figures};
use Kind::{Bytes, Float, Int, Text, Time};

/// The type of a column. All are among those that Amazon Athena knows: string, binary, timestamp, double, bigint
/// (<https://docs.aws.amazon.com/athena/latest/ug/data-types.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UTF-8.
    Text,
    /// Bytes as they are.
    Bytes,
    /// A moment, in milliseconds of UTC.
    Time,
    /// A double.
    Float,
    /// A whole number of 64 bits.
    Int,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether a row may be without.
    pub(crate) optional: bool,
    pub(crate) unit: &'static str,
    pub(crate) about: &'static str,
}

impl Column {
    const fn new(name: &'static str, kind: Kind, unit: &'static str, about: &'static str) -> Self {
        Self { name, kind, optional: false, unit, about }
    }

    const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    fn to_parquet(self) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self.kind {
            Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Bytes => (Physical::BYTE_ARRAY, None),
            Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            Float => (Physical::DOUBLE, None),
            Int => (Physical::INT64, None),
        };
        let repetition = if self.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let column = Type::primitive_type_builder(self.name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical);
        column.build().map(Arc::new)
    }
}

const VEHICLE: Column = Column::new("vehicle", Text, "", "the vehicle, the first folder of the file's path");
const TRIP: Column = Column::new("trip", Text, "", "the file, by its path below the folder of the data");
const START: Column = Column::new("start_utc", Time, "UTC", "when it began");
const END: Column = Column::new("end_utc", Time, "UTC", "when it was over");
const DURATION: Column = Column::new("duration_s", Float, "s", "how long it lasted");
const LINE: Column = Column::new("line", Int, "", "the line of the file, counted from 1");
const TIME: Column = Column::new("time_utc", Time, "UTC", "when");
const LATITUDE: Column = Column::new("latitude_deg", Float, "degrees", "north of the equator, WGS 84");
const LONGITUDE: Column = Column::new("longitude_deg", Float, "degrees", "east of Greenwich, WGS 84");
const SPEED: Column = Column::new("speed_mps", Float, "m/s", "speed over ground");
const HEADING: Column =
    Column::new("heading_deg", Float, "degrees", "direction of the movement, clockwise from north")
        .optional();
const ROAD: Column =
    Column::new("road", Text, "", "the class of the road, in the words of OpenStreetMap's highway")
        .optional();

/// A figure: its column, and how it comes from the sums.
pub(crate) type Figure = (Column, fn(&Figures, &FigureSettings) -> Cell);

/// The figures of a trip, a vehicle, a fleet.
pub(crate) const FIGURES: [Figure; 27] = [
    (Column::new("files", Int, "", "files that were looked at"), |f, _| f.files.into()),
    (Column::new("unusable_files", Int, "", "files without a single clean point"), |f, _| {
        f.unusable_files.into()
    }),
    (Column::new("trips", Int, "", "trips with at least one clean point"), |f, _| f.trips.into()),
    (Column::new("points", Int, "", "clean points"), |f, _| f.points.into()),
    (Column::new("aside", Int, "", "lines and files that were set aside"), |f, _| f.aside_total().into()),
    (
        Column::new(
            "late_lines",
            Int,
            "",
            "lines that were sorted in, as they came later than one of a later time",
        ),
        |f, _| f.late_lines.into(),
    ),
    (Column::new("distance_m", Float, "m", "the way driven, along geodesics"), |f, _| f.distance_m().into()),
    (Column::new("driving_s", Float, "s", "time on the way"), |f, _| seconds(f.driving_ms)),
    (Column::new("idle_s", Float, "s", "time standing within a trip"), |f, _| seconds(f.idle_ms)),
    (Column::new("gap_s", Float, "s", "time in pauses between points of which nothing is known"), |f, _| {
        seconds(f.gap_ms)
    }),
    (Column::new("mean_speed_mps", Float, "m/s", "distance by driving time").optional(), |f, _| {
        f.mean_speed_mps().into()
    }),
    (Column::new("max_speed_mps", Float, "m/s", "the highest speed of a clean point"), |f, _| {
        thousandths(f.max_speed_mmps)
    }),
    (
        Column::new("p50_speed_mps", Float, "m/s", "the speed that was kept to for half of the driving time")
            .optional(),
        |f, _| f.speeds.percentile_mps(0.50).into(),
    ),
    (Column::new("p85_speed_mps", Float, "m/s", "the same for 85 % of it").optional(), |f, _| {
        f.speeds.percentile_mps(0.85).into()
    }),
    (Column::new("p95_speed_mps", Float, "m/s", "the same for 95 % of it").optional(), |f, _| {
        f.speeds.percentile_mps(0.95).into()
    }),
    (Column::new("over_limit_s", Float, "s", "time in intervals above a limit"), |f, _| {
        seconds(f.over_limit_ms)
    }),
    (Column::new("over_limit_m", Float, "m", "the way driven in them"), |f, _| thousandths(f.over_limit_mm)),
    (Column::new("overspeed", Int, "", "intervals above a limit"), |f, _| f.events.overspeed.into()),
    (Column::new("harsh_acceleration", Int, "", "harsh accelerations"), |f, _| {
        f.events.harsh_acceleration.into()
    }),
    (Column::new("harsh_braking", Int, "", "harsh brakings"), |f, _| f.events.harsh_braking.into()),
    (Column::new("sharp_turn", Int, "", "sharp turns"), |f, _| f.events.sharp_turn.into()),
    (
        Column::new("events_per_100_km", Float, "1/100 km", "all events by the way driven").optional(),
        |f, _| f.per_100_km(f.events.total()).into(),
    ),
    (
        Column::new("overspeed_per_100_km", Float, "1/100 km", "intervals above a limit by the way driven")
            .optional(),
        |f, _| f.per_100_km(f.events.overspeed).into(),
    ),
    (
        Column::new(
            "harsh_acceleration_per_100_km",
            Float,
            "1/100 km",
            "harsh accelerations by the way driven",
        )
        .optional(),
        |f, _| f.per_100_km(f.events.harsh_acceleration).into(),
    ),
    (
        Column::new("harsh_braking_per_100_km", Float, "1/100 km", "harsh brakings by the way driven")
            .optional(),
        |f, _| f.per_100_km(f.events.harsh_braking).into(),
    ),
    (
        Column::new("sharp_turn_per_100_km", Float, "1/100 km", "sharp turns by the way driven").optional(),
        |f, _| f.per_100_km(f.events.sharp_turn).into(),
    ),
    (
        Column::new(
            "driver_score",
            Float,
            "0 to 100",
            "the score of the driver, none below the least distance",
        )
        .optional(),
        |f, s| f.driver_score(&s.score).into(),
    ),
];

/// A time that is stored in milliseconds.
fn seconds(time_ms: u64) -> Cell {
    thousandths(time_ms)
}

fn thousandths(value: u64) -> Cell {
    Cell::Float(value as f64 / 1000.0)
}

/// The columns of a table, in the order of the cells of its rows.
pub(crate) fn columns(table: Table) -> Vec<Column> {
    match table {
        Table::Points => vec![VEHICLE, TRIP, LINE, TIME, LATITUDE, LONGITUDE, SPEED, HEADING, ROAD],
        Table::Errors => vec![
            VEHICLE,
            TRIP,
            Column { about: "the line of the file, counted from 1; 0 for the file as a whole", ..LINE },
            Column::new(
                "lines",
                Int,
                "",
                "how many lines it stands for, where a file has so many that further ones are only counted",
            ),
            Column::new("rule", Text, "", "the rule that it breaks"),
            Column::new("detail", Text, "", "what exactly is wrong, with the values"),
            TIME.optional(),
            LATITUDE.optional(),
            LONGITUDE.optional(),
            SPEED.optional(),
            HEADING,
            ROAD,
            Column::new(
                "raw",
                Bytes,
                "",
                "the line as it is in the file, if it could not be read as a point",
            )
            .optional(),
        ],
        Table::Overspeed => vec![
            VEHICLE,
            TRIP,
            START,
            END,
            DURATION,
            Column::new("start_latitude_deg", Float, "degrees", "where it began, north of the equator"),
            Column::new("start_longitude_deg", Float, "degrees", "where it began, east of Greenwich"),
            Column::new("end_latitude_deg", Float, "degrees", "where it ended, north of the equator"),
            Column::new("end_longitude_deg", Float, "degrees", "where it ended, east of Greenwich"),
            Column::new("peak_speed_mps", Float, "m/s", "the highest speed"),
            Column::new("mean_speed_mps", Float, "m/s", "distance by time"),
            Column::new("limit_mps", Float, "m/s", "the limit; the lowest one, where it changed"),
            Column::new("limit_source", Text, "", "whose limit it is: default, vehicle, road or zone"),
            Column::new("zone", Text, "", "the name of the zone, if it is one's").optional(),
            Column::new("distance_m", Float, "m", "the way driven above the limit"),
        ],
        Table::Rapid => vec![
            VEHICLE,
            TRIP,
            Column::new("kind", Text, "", "harsh_acceleration, harsh_braking or sharp_turn"),
            START,
            END,
            DURATION,
            Column { about: "where it was strongest, north of the equator, WGS 84", ..LATITUDE },
            Column { about: "where it was strongest, east of Greenwich, WGS 84", ..LONGITUDE },
            Column::new("peak_accel_mps2", Float, "m/s2", "the strongest acceleration, never negative"),
            Column { about: "the speed at its start", ..SPEED },
        ],
        Table::Trips => with_figures(vec![
            VEHICLE,
            TRIP,
            Column::new("size_bytes", Int, "bytes", "the size of the file"),
            Column { about: "the first clean point", ..START }.optional(),
            Column { about: "the last clean point", ..END }.optional(),
        ]),
        Table::Vehicles => with_figures(vec![VEHICLE]),
        Table::Fleet => {
            with_figures(vec![Column::new("vehicles", Int, "", "vehicles with at least one file")])
        }
    }
}

fn with_figures(mut columns: Vec<Column>) -> Vec<Column> {
    columns.extend(FIGURES.map(|(column, _)| column));
    columns
}

/// The schema of a table in its file.
pub(crate) fn to_parquet(table: Table, columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|column| column.to_parquet()).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder(table.as_str()).with_fields(fields).build().map(Arc::new)
}

/// Unit and meaning of each column, as `column.NAME` = `m/s: the highest speed`.
pub(crate) fn descriptions(columns: &[Column]) -> Vec<KeyValue> {
    let describe = |column: &Column| {
        let unit = if column.unit.is_empty() { String::new() } else { format!("{}: ", column.unit) };
        KeyValue::new(format!("column.{}", column.name), format!("{unit}{}", column.about))
    };
    columns.iter().map(describe).collect()
}
