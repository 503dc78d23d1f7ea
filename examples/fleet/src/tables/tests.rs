//! The files, read again.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;

use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Row;

use super::*;
use crate::aside::{Aside, Rule};
use crate::figures::Figures;
use crate::limits::LimitSource;
use crate::overspeed::Overspeed;
use crate::point::{Point, Road};
use crate::rapid::{Rapid, RapidKind};
use crate::trip::TripFile;

const DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();

fn point(second: u32) -> Point {
    Point {
        time_ms: 1_795_359_600_000 + i64::from(second) * 1000,
        latitude_deg: 37.5 + f64::from(second) * 1e-4,
        longitude_deg: 127.0,
        speed_mps: 11.1,
        heading_deg: second.is_multiple_of(2).then_some(0.5),
        road: second.is_multiple_of(3).then_some(Road::LivingStreet),
        line: u64::from(second) + 1,
    }
}

fn trip(vehicle: &str, points: u32) -> Trip {
    let points: Vec<Point> = (0..points).map(point).collect();
    let name = format!("{vehicle}/{DAY}/trip_000000.json");
    let file =
        TripFile { path: name.clone().into(), name, vehicle: vehicle.to_owned(), day: DAY, size_bytes: 9 };
    let aside = vec![
        Aside::file(Rule::Empty, "no bytes".to_owned()),
        Aside {
            line: 7,
            count: 40,
            rule: Rule::Syntax,
            detail: "no JSON".to_owned(),
            point: None,
            raw: Some(vec![0xff]),
        },
        Aside { line: 8, ..Aside::point(Rule::Teleport, point(2), "far".to_owned()) },
    ];
    let overspeed = vec![Overspeed {
        start_ms: 1_795_359_600_000,
        end_ms: 1_795_359_612_500,
        start_latitude_deg: 37.5,
        start_longitude_deg: 127.0,
        end_latitude_deg: 37.501,
        end_longitude_deg: 127.0,
        peak_speed_mps: 15.0,
        mean_speed_mps: 14.0,
        limit_mps: 13.5,
        limit_source: LimitSource::Zone("학교".into()),
        distance_m: 175.0,
    }];
    let rapid = vec![Rapid {
        kind: RapidKind::SharpTurn,
        start_ms: 1_795_359_600_000,
        end_ms: 1_795_359_602_000,
        latitude_deg: 37.5,
        longitude_deg: 127.0,
        peak_accel_mps2: 5.5,
        speed_mps: 12.0,
    }];
    let figures = Figures::of_trip(&points, &overspeed, &rapid, &aside, 0, &FigureSettings::default());
    Trip { file, points, aside, overspeed, rapid, figures }
}

fn write(results: &Path, part: Part, trips: &[Trip]) {
    let mut tables = Tables::create(results, DAY, part, &Table::ALL, &FigureSettings::default()).unwrap();
    for trip in trips {
        tables.add(trip).unwrap();
    }
    tables.finish().unwrap();
}

fn path(results: &Path, table: Table) -> PathBuf {
    super::path(results, table, DAY, Part::WHOLE)
}

fn rows(results: &Path, table: Table) -> Vec<Row> {
    let file = SerializedFileReader::new(File::open(path(results, table)).unwrap()).unwrap();
    file.get_row_iter(None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_table_reads_as_it_was_written() {
    let results = tempfile::tempdir().unwrap();
    write(results.path(), Part::WHOLE, &[trip("a", 3), trip("a", 0), trip("b", 2)]);
    let count = |table| rows(results.path(), table).len();
    let counts =
        [Table::Points, Table::Errors, Table::Overspeed, Table::Rapid, Table::Trips, Table::Vehicles]
            .map(count);
    assert_eq!(counts, [5, 9, 3, 3, 3, 2]);
    let shown = |table, row: usize| rows(results.path(), table)[row].to_string();
    assert_eq!(
        shown(Table::Points, 1),
        "{vehicle: \"a\", trip: \"a/2026-11-23/trip_000000.json\", line: 2, time_utc: 2026-11-22 15:00:01.000 +00:00, latitude_deg: 37.5001, longitude_deg: 127.0, speed_mps: 11.1, heading_deg: null, road: null}"
    );
    assert!(
        shown(Table::Errors, 1)
            .contains("line: 7, lines: 40, rule: \"syntax\", detail: \"no JSON\", time_utc: null")
    );
    assert!(shown(Table::Errors, 1).contains("raw: [255]"), "{}", shown(Table::Errors, 1));
    assert!(shown(Table::Errors, 2).contains("latitude_deg: 37.5002"));
    assert!(shown(Table::Overspeed, 0).contains("duration_s: 12.5"));
    assert!(shown(Table::Overspeed, 0).contains("limit_source: \"zone\", zone: \"학교\""));
    assert!(shown(Table::Rapid, 0).contains("kind: \"sharp_turn\""));
    assert!(shown(Table::Trips, 1).contains("start_utc: null"), "{}", shown(Table::Trips, 1));
    assert!(shown(Table::Vehicles, 0).contains("vehicle: \"a\", files: 2, unusable_files: 1, trips: 1"));
}

#[test]
fn files_say_what_their_columns_are() {
    let results = tempfile::tempdir().unwrap();
    write(results.path(), Part::WHOLE, &[trip("a", 1)]);
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Fleet) {
        let file = SerializedFileReader::new(File::open(path(results.path(), table)).unwrap()).unwrap();
        let said = file.metadata().file_metadata().key_value_metadata().unwrap();
        for column in file.metadata().file_metadata().schema_descr().columns() {
            let key = format!("column.{}", column.name());
            assert!(said.iter().any(|pair| pair.key == key && pair.value.is_some()), "{table:?} {key}");
        }
    }
}

#[test]
fn groups_of_rows_are_bounded_and_the_bytes_are_the_same_each_time() {
    let results = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    for _ in 0..2 {
        write(results.path(), Part::WHOLE, &[trip("a", 100_000), trip("b", 100_000)]);
        bytes.push(fs::read(path(results.path(), Table::Points)).unwrap());
    }
    assert!(bytes[0] == bytes[1]);
    let file = SerializedFileReader::new(File::open(path(results.path(), Table::Points)).unwrap()).unwrap();
    let groups: Vec<i64> = file.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(groups, [116_509, 83_491]);
}

#[test]
fn tables_from_before_stay_until_the_new_ones_are_whole() {
    let results = tempfile::tempdir().unwrap();
    write(results.path(), Part::WHOLE, &[trip("a", 1)]);
    let mut tables =
        Tables::create(results.path(), DAY, Part::WHOLE, &[Table::Points], &FigureSettings::default())
            .unwrap();
    tables.add(&trip("b", 9)).unwrap();
    drop(tables);
    assert_eq!(rows(results.path(), Table::Points).len(), 1);
    // In two parts it is another set of files.
    for part in Part::all(2) {
        write(results.path(), part, &[trip("b", 9)]);
    }
    let folder = path(results.path(), Table::Points).parent().unwrap().to_owned();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["part-1-of-2.parquet", "part-2-of-2.parquet"]);
}

/// What the columns of a table are, as Markdown.
fn documented(columns: &[schema::Column]) -> String {
    let mut out = "| column | type | unit | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for column in columns {
        let kind = match column.kind {
            schema::Kind::Text => "string",
            schema::Kind::Bytes => "binary",
            schema::Kind::Time => "timestamp",
            schema::Kind::Float => "double",
            schema::Kind::Int => "bigint",
        };
        let none = if column.optional { ", or null" } else { "" };
        let _ = writeln!(out, "| `{}` | {kind}{none} | {} | {} |", column.name, column.unit, column.about);
    }
    out
}

#[test]
fn the_documentation_has_every_column() {
    let readme = include_str!("../../README.md");
    let figures: Vec<_> = FIGURES.iter().map(|(column, _)| *column).collect();
    let mut parts = vec![documented(&figures)];
    for table in [Table::Points, Table::Errors, Table::Overspeed, Table::Rapid] {
        parts.push(documented(&schema::columns(table)));
    }
    for part in parts {
        assert!(readme.contains(&part), "README.md lacks this table:\n{part}");
    }
}
