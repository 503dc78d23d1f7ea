//! Whole files, and odd ones.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::point::Road;

const LINE: &str = r#"{"t":"2026-11-23T08:15:02.000+09:00","lat":37.566535,"lon":126.977969,"speed_kmh":36.0,"heading_deg":183.0,"road":"primary"}"#;

fn point(line: u64) -> Point {
    Point {
        time_ms: 1_795_389_302_000,
        latitude_deg: 37.566_535,
        longitude_deg: 126.977_969,
        speed_mps: 10.0,
        heading_deg: Some(183.0),
        road: Some(Road::Primary),
        line,
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> TripFile {
        TripFile {
            path: self.0.path().join(name),
            name: format!("vehicle-001/2026-11-23/{name}"),
            vehicle: "vehicle-001".to_owned(),
            day: "2026-11-23".parse().unwrap(),
            size_bytes: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn read_as(name: &str, bytes: impl AsRef<[u8]>, settings: &ReadSettings) -> Read {
    let folder = Folder::new();
    fs::write(folder.path(name), bytes).unwrap();
    read(&folder.file(name), settings)
}

fn read_bytes(name: &str, bytes: impl AsRef<[u8]>) -> Read {
    read_as(name, bytes, &ReadSettings::default())
}

/// What was set aside: line, rule, count.
fn asides(read: &Read) -> Vec<(u64, Rule, u64)> {
    read.aside.iter().map(|aside| (aside.line, aside.rule, aside.count)).collect()
}

/// The file as a whole is set aside for this reason.
#[track_caller]
fn is_no_use(read: &Read, rule: Rule, detail: &str) {
    assert_eq!((&*read.points, read.lines, &*asides(read)), (&[][..], 0, &[(0, rule, 1)][..]));
    assert!(read.aside[0].detail.contains(detail), "{}", read.aside[0].detail);
}

#[test]
fn lines_become_points_in_their_order() {
    let read = read_bytes("trip.json", format!("{LINE}\n\n  {LINE}\r\n{LINE}"));
    assert_eq!(read, Read { points: vec![point(1), point(3), point(4)], aside: Vec::new(), lines: 3 });
}

#[test]
fn json_may_be_written_in_many_ways() {
    for line in [
        r#"{"road":"primary","heading_deg":183,"speed_mps":10,"lon":126.977969,"lat":37.566535,"t":1795389302}"#,
        r#"{"t":1795389302000,"lat":37.566535,"lon":126.977969,"speed_mps":1e1,"heading_deg":183,"road":"primary"}"#,
        r#" { "t" : "2026-11-22T23:15:02Z", "lat":37.566535,"lon":126.977969, "speed_kmh":36.0,"speed_mps":null,
            "heading_deg":183.0,"road":"primary" } "#
            .replace('\n', " ")
            .as_str(),
        r#"{"t":"2026-11-22T23:15:02Z","lat":37.566535,"lon":126.977969,"speed_kmh":36.0,"heading_deg":183.0,"road":"pri\u006dary"}"#,
        r#"{"id":{"a":[1,2,{}]},"t":"2026-11-22T23:15:02Z","lat":37.566535,"lon":126.977969,"speed_kmh":36.0,"heading_deg":183.0,"road":"primary"}"#,
    ] {
        assert_eq!(read_bytes("trip.jsonl", line).points, [point(1)], "{line}");
    }
    let least =
        r#"{"t":"2026-11-22T23:15:02Z","lat":37.566535,"lon":126.977969,"speed_kmh":36.0,"road":"track"}"#;
    assert_eq!(read_bytes("trip.json", least).points, [Point { heading_deg: None, road: None, ..point(1) }]);
}

#[test]
fn a_broken_line_is_kept_beside_its_reason() {
    let garbled = LINE.replace("37.5", "37\x00005").into_bytes();
    let latin1: Vec<u8> =
        LINE.replace("primary", "stra?e").bytes().map(|b| if b == b'?' { 0xDF } else { b }).collect();
    let far = LINE.replace("37.566535", "137.5");
    let lines: [&[u8]; 9] = [
        LINE.as_bytes(),
        &LINE.as_bytes()[..70],
        &garbled,
        &latin1,
        far.as_bytes(),
        br#"{"t":"2026-11-23T08:15:02.000+09:00","lat":"37.5"}"#,
        br#"{"t":"yesterday","lat":37.5,"lon":127,"speed_kmh":1}"#,
        b"[1,2]",
        LINE.as_bytes(),
    ];
    let read = read_bytes("trip.json", lines.join(&b'\n'));
    assert_eq!(read.points, [point(1), point(9)]);
    assert_eq!(read.lines, 9);
    let rules = [
        (Rule::Syntax, "is no JSON object: EOF while parsing"),
        (Rule::Syntax, "in column 46"),
        (Rule::Encoding, "is 0xDF, which is not UTF-8"),
        (Rule::Value, "`lat` is 137.5, and not from -90 to 90"),
        (Rule::Value, "invalid type: string \"37.5\", expected f64"),
        (Rule::Value, "`t` is \"yesterday\", and no time such as"),
        (Rule::Syntax, "does not begin with `{`"),
    ];
    for ((aside, (rule, detail)), line) in read.aside.iter().zip(rules).zip(2..) {
        assert_eq!((aside.line, aside.rule), (line, rule), "{aside:?}");
        assert!(aside.detail.contains(detail), "{}", aside.detail);
        assert_eq!(aside.raw.as_deref(), lines.get(usize::try_from(line).unwrap() - 1).copied());
    }
    assert_eq!(read.aside.len(), 7);
}

#[test]
fn tables_may_have_their_columns_in_any_order() {
    let table = "id, LON ,lat,road,heading_deg,speed_kmh,t\n\
        a,126.977969,37.566535,primary,183,36,2026-11-23T08:15:02+09:00\r\n\
        \"b, \"\"c\"\"\",+126.977969,37.566535,\"primary\",183.,36,1795389302\n\
        c,126.977969,37.566535,,,36,2026-11-23T08:15:02+09:00\n";
    let read = read_bytes("trip.csv", table);
    assert_eq!(read.points, [point(2), point(3), Point { heading_deg: None, road: None, ..point(4) }]);
    assert_eq!((read.lines, read.aside), (3, Vec::new()));
}

#[test]
fn rows_that_are_none_are_set_aside() {
    let table = b"t,lat,lon,speed_mps\n\
        2026-11-23T08:15:02+09:00,37.5,127\n\
        2026-11-23T08:15:02+09:00,37.5,127,10,x\n\
        2026-11-23T08:15:02+09:00,37.5,127,\"10\n\
        2026-11-23T08:15:02+09:00,37.5,127,nan\n\
        2026-11-23T08:15:02+09:00,37.5,,10\n\
        2026-11-23T08:15:02+09:00,\xFF,127,10\n\
        t,lat,lon,speed_mps\n\
        2026-11-23T08:15:02+09:00,37.5\r,127,10\n\
        2026-11-23T08:15:02+09:00,37.5,127,10\n";
    let read = read_bytes("trip.CSV", table);
    let rules = [
        Rule::Syntax,
        Rule::Syntax,
        Rule::Syntax,
        Rule::Value,
        Rule::Value,
        Rule::Encoding,
        Rule::Value,
        Rule::Syntax,
    ];
    let expected: Vec<_> = (2..).zip(rules).map(|(line, rule)| (line, rule, 1)).collect();
    assert_eq!(asides(&read), expected, "{:#?}", read.aside);
    assert_eq!(read.points.len(), 1);
}

#[test]
fn a_table_without_the_columns_of_a_trip_is_no_use() {
    is_no_use(&read_bytes("trip.csv", "t,lat,speed_kmh\n1,2,3\n"), Rule::Syntax, "has no column `lon`");
    is_no_use(&read_bytes("trip.csv", "t;lat;lon;speed_kmh\n"), Rule::Syntax, "with commas between");
    is_no_use(&read_bytes("trip.csv", "t,lat,lon\n"), Rule::Syntax, "has no column of the speed");
    is_no_use(&read_bytes("trip.csv", "t,lat,lon,lat,speed_mps\n"), Rule::Syntax, "has a column twice");
    is_no_use(&read_bytes("trip.txt", "hello\nthere\n"), Rule::Syntax, "has no column `t`");
    assert_eq!(read_bytes("trip.txt", LINE).points, [point(1)]);
}

#[test]
fn a_file_without_lines_is_empty() {
    is_no_use(&read_bytes("trip.json", ""), Rule::Empty, "has no bytes");
    is_no_use(&read_bytes("trip.json", "\n \r\n"), Rule::Empty, "has blank lines alone");
    is_no_use(&read_bytes("trip.csv", "\u{FEFF}"), Rule::Empty, "has blank lines alone");
    is_no_use(&read_bytes("trip.csv", "t,lat,lon,speed_kmh\n"), Rule::Empty, "has a header and no row");
}

#[test]
fn every_unicode_encoding_with_a_mark_is_read_or_named() {
    let text = format!("{LINE}\r\n\r\n{LINE}\n");
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(to_bytes).collect()
    };
    for bytes in [format!("\u{FEFF}{text}").into_bytes(), utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
        let read = read_bytes("trip.json", bytes);
        assert_eq!(read, Read { points: vec![point(1), point(3)], aside: Vec::new(), lines: 2 });
    }
    let utf32: Vec<u8> =
        std::iter::once('\u{FEFF}').chain(text.chars()).flat_map(|c| u32::from(c).to_le_bytes()).collect();
    is_no_use(&read_bytes("trip.json", utf32), Rule::Encoding, "is UTF-32");
    is_no_use(&read_bytes("trip.json", b"\x1F\x8B\x08rest"), Rule::Encoding, "gunzip");
    // Half a pair, and half a character.
    let read = read_bytes("trip.json", b"\xFF\xFE\x00\xD8\n\0x");
    assert_eq!(asides(&read), [(1, Rule::Encoding, 1), (2, Rule::Encoding, 1)]);
    // Without a mark nobody knows.
    assert_eq!(read_bytes("trip.json", &utf16(u16::to_le_bytes)[2..]).points, []);
}

#[test]
fn a_line_may_be_long_but_not_too_long() {
    let settings = ReadSettings { max_line_bytes: LINE.len(), ..ReadSettings::default() };
    let long = "x".repeat(LINE.len() + 1);
    let read = read_as("trip.json", format!("{LINE}\n{long}\n{LINE}\n"), &settings);
    assert_eq!(read.points, [point(1), point(3)]);
    assert_eq!(asides(&read), [(2, Rule::LongLine, 1)]);
    assert_eq!(read.aside[0].raw.as_ref().unwrap().len(), LINE.len());
}

#[test]
fn lines_set_aside_are_bounded_and_counted() {
    let text = format!("x\n{LINE}\n").repeat(100);
    for settings in [
        ReadSettings { max_aside_lines: 10, ..ReadSettings::default() },
        ReadSettings { max_aside_bytes: 10, ..ReadSettings::default() },
    ] {
        let read = read_as("trip.json", &text, &settings);
        assert_eq!((read.points.len(), read.lines, read.aside.len()), (100, 200, 11));
        assert_eq!(asides(&read).last(), Some(&(21, Rule::Syntax, 90)));
    }
}

#[test]
fn a_trip_with_too_many_points_is_no_use() {
    let settings = ReadSettings { max_points: 3, ..ReadSettings::default() };
    let text = format!("{LINE}\n").repeat(3);
    assert_eq!(read_as("trip.json", &text, &settings).points.len(), 3);
    is_no_use(&read_as("trip.json", format!("{text}{LINE}"), &settings), Rule::TooLong, "raise `max_points`");
}

#[test]
fn a_file_of_two_gibibytes_is_not_read() {
    let folder = Folder::new();
    fs::File::create(folder.path("trip.json")).unwrap().set_len(2 * 1_024 * 1_024 * 1_024).unwrap();
    let read = read(&folder.file("trip.json"), &ReadSettings::default());
    is_no_use(&read, Rule::TooLong, "has 2147483648 bytes, more than 536870912");
}

#[test]
fn a_line_that_never_ends_takes_no_memory() {
    let folder = Folder::new();
    fs::File::create(folder.path("trip.json")).unwrap().set_len(8 * 1_024 * 1_024).unwrap();
    let read = read(&folder.file("trip.json"), &ReadSettings::default());
    assert_eq!(asides(&read), [(1, Rule::LongLine, 1)]);
    assert!(read.aside[0].detail.starts_with("has 8388608 bytes"), "{}", read.aside[0].detail);
}

#[test]
fn what_is_no_file_is_set_aside() {
    let folder = Folder::new();
    let read = |name: &str| read(&folder.file(name), &ReadSettings::default());
    is_no_use(&read("gone.json"), Rule::Unreadable, "it was there when the trips were listed");
    is_no_use(&read("."), Rule::Unreadable, "is a folder");
    assert!(std::process::Command::new("mkfifo").arg(folder.path("fifo.json")).status().unwrap().success());
    is_no_use(&read("fifo.json"), Rule::Unreadable, "is a FIFO");
    std::os::unix::fs::symlink("loop.json", folder.path("loop.json")).unwrap();
    is_no_use(&read("loop.json"), Rule::Unreadable, "cannot be opened");
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_to_its_limit() {
    let folder = Folder::new();
    fs::write(folder.path("trip.json"), format!("{LINE}\n{LINE}\n")).unwrap();
    let source = open::open(&folder.path("trip.json"), LINE.len() as u64 * 2 + 2).unwrap();
    assert_eq!(source.size_bytes, LINE.len() as u64 * 2 + 2);
    // A file of the kernel has no size, and bytes all the same.
    let version = TripFile { path: PathBuf::from("/proc/version"), ..folder.file("version.json") };
    is_no_use(&read(&version, &ReadSettings::default()), Rule::Empty, "has no bytes");
}

/// Values as a receiver may give them, with as many decimals as a number takes.
fn any_values() -> impl Strategy<Value = (i64, f64, f64, f64, Option<f64>, Option<Road>)> {
    (
        -62_000_000_000_000..253_000_000_000_000_i64,
        prop_oneof![-90.0..=90.0, -91.0..91.0, Just(90.0)],
        prop_oneof![-180.0..=180.0, -181.0..181.0, Just(-0.0)],
        prop_oneof![0.0..300.0, -1.0..1.0],
        proptest::option::of(prop_oneof![0.0..360.0, Just(360.0), 0.0..400.0]),
        proptest::option::of(proptest::sample::select(&Road::ALL[..])),
    )
}

/// Pieces of trips, and what breaks them.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"\xFF\xFE",
        b"\xFE\xFF",
        b"\xEF\xBB\xBF",
        b"\0",
        b"\n",
        b"\r\n",
        b"{",
        b"}",
        b"\"",
        b",",
        b":",
        b"t,lat,lon,speed_mps\n",
        b"\"t\":",
        b"\"lat\":",
        b"1e400",
        b"-",
        b"0.5",
        b"2026-11-23T08:15:02Z",
        b"\"road\":\"",
        b"\\u",
        b"null",
        b"\xC3\x28",
        LINE.as_bytes(),
    ];
    let piece = prop_oneof![
        5 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn json_and_csv_read_the_same(trip in proptest::collection::vec(any_values(), 1..20)) {
        let mut json = String::new();
        let mut table = "road,heading_deg,speed_kmh,lon,lat,t".to_owned();
        for (time_ms, lat, lon, speed, heading, road) in trip {
            use std::fmt::Write as _;
            let time = chrono::DateTime::from_timestamp_millis(time_ms).unwrap().to_rfc3339();
            write!(json, r#"{{"t":"{time}","lat":{lat},"lon":{lon},"speed_kmh":{speed}"#).unwrap();
            json.extend(heading.map(|heading| format!(r#","heading_deg":{heading}"#)));
            json.extend(road.map(|road| format!(r#","road":"{}""#, road.as_str())));
            json.push_str("}\n");
            let heading = heading.map(|heading| heading.to_string()).unwrap_or_default();
            let road = road.map(Road::as_str).unwrap_or_default();
            write!(table, "\n{road},{heading},{speed},{lon},{lat},{time}").unwrap();
        }
        let (json, table) = (read_bytes("trip.json", json), read_bytes("trip.csv", table));
        prop_assert_eq!(json.lines, table.lines);
        let lines_up: Vec<_> = table.points.iter().map(|point| Point { line: point.line - 1, ..*point }).collect();
        prop_assert_eq!(json.points, lines_up);
        let faults = |read: &Read| read.aside.iter().map(|aside| (aside.rule, aside.detail.clone())).collect::<Vec<_>>();
        prop_assert_eq!(faults(&Read { points: Vec::new(), ..table }), json.aside.iter().map(|aside| (aside.rule, aside.detail.clone())).collect::<Vec<_>>());
    }

    #[test]
    fn no_file_panics_and_no_line_is_lost(bytes in any_file(), name in proptest::sample::select(vec!["a.json", "a.csv", "a"])) {
        let settings = ReadSettings { max_line_bytes: 200, max_aside_lines: 5, ..ReadSettings::default() };
        let read = read_as(name, bytes, &settings);
        let aside: u64 = read.aside.iter().filter(|aside| aside.line > 0).map(|aside| aside.count).sum();
        prop_assert_eq!(read.points.len() as u64 + aside, read.lines);
    }
}
