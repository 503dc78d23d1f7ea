//! Files that are not as they should be harm nobody else.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

use crate::world::{DAY, World, rows};

const POINT: &str =
    r#"{"t":"2026-11-23T08:15:02.000+09:00","lat":37.5,"lon":127.0,"speed_kmh":42.1,"heading_deg":183.0}"#;

/// A trip of a minute at 72 km/h straight on: to the east on a parallel, or to the north.
fn trip(
    start_latitude: f64,
    start_longitude: f64,
    north_deg_s: f64,
    east_deg_s: f64,
    heading_deg: f64,
) -> String {
    let line = |second: i32| {
        let at = f64::from(second);
        let latitude = start_latitude + at * north_deg_s;
        let longitude = (start_longitude + at * east_deg_s + 180.0).rem_euclid(360.0) - 180.0;
        format!(
            "{{\"t\":\"2026-11-23T09:00:{second:02}.000+09:00\",\"lat\":{latitude:.7},\"lon\":{longitude:.7},\"speed_kmh\":72.0,\"heading_deg\":{heading_deg}}}\n"
        )
    };
    (0..60).map(line).collect()
}

#[test]
fn each_is_named_and_the_others_are_as_without_them() {
    let world = World::new(2);
    world.ends(0, &["run", "--no-upload", "--day", DAY, "--results", "good"]);

    world.file("odd-corrupt", "trip.json", b"\x00\xff\xfe{{{]]\nno json\n\n");
    world.file("odd-cut", "trip.json", &POINT.as_bytes()[..40]);
    world.file("odd-empty", "trip.json", b"");
    world.file("odd-encoding", "trip.json", &[0x87, 0x40, 0xfd, 0x92].repeat(500));
    world.file("odd-table", "trip.csv", b"a;b;c\n1;2;3\n");
    let utf16: Vec<u8> = format!("\u{feff}{POINT}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    world.file("odd-utf16", "trip.json", &utf16);
    File::options()
        .write(true)
        .open(world.file("odd-huge", "trip.json", b""))
        .unwrap()
        .set_len(2 << 30)
        .unwrap();
    let pipe = world.file("odd-pipe", "trip.json", b"");
    fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("/dev/zero", world.path("data/odd-pipe").join(DAY).join("link.json")).unwrap();

    let said = world.json(3, &["run", "--no-upload", "--day", DAY, "--results", "bad"]);
    let day = &said["days"][0];
    assert!(day["unusable_files"].as_u64().unwrap() >= 5, "{day}");
    assert_eq!(day["aside_by_rule"]["empty"], 1);
    assert_eq!(day["aside_by_rule"]["too_long"], 1);
    assert_eq!(day["aside_by_rule"]["unreadable"], 2);

    let errors = rows(&world.path("bad"), "errors").join("\n");
    for name in ["corrupt", "cut", "empty", "encoding", "table", "huge", "pipe"] {
        assert!(errors.contains(&format!("odd-{name}/")), "{name} is not among\n{errors}");
    }
    assert!(!errors.contains("odd-utf16"), "it can be read");
    for table in ["points", "overspeed", "rapid", "trips", "vehicles"] {
        let of_others = |results| {
            let mut rows = rows(&world.path(results), table);
            rows.retain(|row| !row.contains("odd-"));
            rows
        };
        assert_eq!(of_others("good"), of_others("bad"), "{table}");
    }
}

#[test]
fn what_is_no_failure_of_a_step_is_none() {
    let world = World::empty();
    world.file("good", "trip.json", POINT.as_bytes());
    world.file("huge", "trip.json", POINT.as_bytes());
    fs::write(world.path("fleet.toml"), "[read]\nmax_file_bytes = 10\n").unwrap();
    world.ends(3, &["errors", "--day", DAY]);
    let facts = world.path("facts");
    let mut step = world.fleet(&["statistics"]);
    let status = step.env("BACKUP_DAY", "2026-11-24").env("BACKUP_FACTS", &facts).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let facts = fs::read_to_string(facts).unwrap();
    assert!(facts.contains("Trips: 0 of 2 vehicles on 2026-11-23\n"), "{facts}");
    assert!(facts.contains("Lines with errors: 0; 2 files could not be used\n"), "{facts}");
}

#[test]
fn an_empty_file_has_nothing_to_lose() {
    let world = World::empty();
    world.file("good", "trip.json", POINT.as_bytes());
    world.file("empty", "trip.json", b"");
    let said = world.json(0, &["errors", "--day", DAY]);
    assert_eq!(said["days"][0]["first"][0]["file"], format!("empty/{DAY}/trip.json"));
    let shown = String::from_utf8(world.ends(0, &["errors", "--day", DAY]).stdout).unwrap();
    assert!(shown.contains(", 1 file without content\n") && !shown.contains("could not be used"), "{shown}");
}

#[test]
fn the_date_line_and_the_poles_are_places_like_any_other() {
    // A degree of latitude is 111.7 km near a pole; one of longitude 111.3 km at the equator.
    let north = 20.0 / 111_700.0;
    let east = 20.0 / 111_320.0;
    for (name, text) in [
        ("date-line", trip(0.0, 179.995, 0.0, east, 90.0)),
        ("pole", trip(89.98, 45.0, north, 0.0, 0.0)),
        ("south-pole", trip(-89.98, -170.0, -north, 0.0, 180.0)),
    ] {
        let world = World::empty();
        world.file(name, "trip.json", text.as_bytes());
        let said = world.json(0, &["statistics", "--day", DAY]);
        let day = &said["days"][0];
        assert_eq!((&day["points"], &day["aside"]), (&Value::from(60), &Value::from(0)), "{name}: {day}");
        let distance_m = day["distance_m"].as_f64().unwrap();
        assert!((distance_m - 59.0 * 20.0).abs() < 2.0, "{name}: {distance_m}");
    }
}

#[test]
fn who_drives_straight_over_the_pole_makes_no_turn() {
    let north = 20.0 / 111_700.0;
    let up = trip(90.0 - 29.5 * north, 10.0, north, 0.0, 0.0);
    let down = trip(90.0 + 29.5 * north, -170.0, -north, 0.0, 180.0);
    let (up, down) = (up.lines().take(30), down.lines().skip(30));
    let text: String = up.chain(down).flat_map(|line| [line, "\n"]).collect();
    let world = World::empty();
    world.file("v", "trip.json", text.as_bytes());
    let said = world.json(0, &["rapid", "--day", DAY]);
    let day = &said["days"][0];
    assert_eq!(
        (&day["points"], &day["aside"], &day["sharp_turn"]),
        (&60.into(), &0.into(), &0.into()),
        "{day}"
    );
}

#[test]
fn a_name_cannot_control_the_terminal() {
    let world = World::empty();
    world.file("v\u{1b}[2J", "a\nb.json", b"no json\n");
    let output = world.ends(3, &["errors", "--day", DAY]);
    assert!(!output.stdout.contains(&0x1b));
    assert!(String::from_utf8(output.stdout).unwrap().contains("a\\nb.json"));
}

#[test]
fn a_folder_that_is_not_there_says_how_to_name_another() {
    let world = World::empty();
    fs::remove_dir(world.path("data")).unwrap();
    let said = String::from_utf8(world.ends(1, &["errors", "--day", DAY]).stderr).unwrap();
    assert!(said.contains("data") && said.contains("--data"), "{said}");
}
