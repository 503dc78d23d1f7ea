//! Raw data and results in the bucket.

use std::collections::BTreeMap;
use std::fs;

use s3backup_local_s3::LocalS3;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::world::{DAY, World, files};

const BUCKET: &str = "fleet";

struct Bucket {
    server: LocalS3,
    _runtime: Runtime,
}

impl Bucket {
    fn of(world: &World) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = LocalS3::builder().dir(world.path("s3")).bucket(BUCKET).start();
        let server = runtime.block_on(server).unwrap();
        let text = format!(
            "job = \"fleet\"\nhost = \"gateway-1\"\ntimezone = \"Asia/Seoul\"\nstate_dir = \"state\"\n\n\
             [[step]]\nname = \"itself\"\ncommand = [\"false\"]\n\n\
             [[source]]\npath = \"data\"\nprefix = \"raw\"\nmin_age = \"0s\"\n\n\
             [[source]]\npath = \"results\"\nprefix = \"results\"\n\n\
             [destination]\nbucket = \"{BUCKET}\"\nregion = \"us-east-1\"\nendpoint = \"{}\"\n",
            server.endpoint()
        );
        fs::write(world.path("backup.toml"), text).unwrap();
        Self { server, _runtime: runtime }
    }

    fn run(&self, world: &World, code: i32, arguments: &[&str]) -> Value {
        let mut command = world.fleet(&[&["run", "--day", DAY, "--json"], arguments].concat());
        command.env("AWS_ACCESS_KEY_ID", self.server.access_key());
        command.env("AWS_SECRET_ACCESS_KEY", self.server.secret_key());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::String(said))
    }

    /// Names and sizes of the data objects.
    fn objects(&self) -> BTreeMap<String, u64> {
        self.server.objects(BUCKET).into_iter().filter(|(key, _)| !key.starts_with(".s3backup/")).collect()
    }
}

#[test]
fn data_and_results_are_in_the_bucket_and_the_report_has_the_figures() {
    let world = World::new(3);
    let bucket = Bucket::of(&world);
    let said = bucket.run(&world, 0, &[]);
    let report = &said["upload"];
    assert_eq!(
        (&report["outcome"], &report["steps"]),
        (&Value::from("success"), &Value::from(Vec::<Value>::new()))
    );
    let facts: Vec<_> =
        report["facts"].as_array().unwrap().iter().map(|fact| fact["label"].as_str().unwrap()).collect();
    let expected = [
        "Distance",
        "Driving time",
        "Idle time",
        "Overspeed events",
        "Rapid events",
        "Driver score",
        "Trips",
        "Lines with errors",
    ];
    assert_eq!(facts, expected);
    let sizes = |folder: &str, prefix: &str| {
        let sizes = files(&world.path(folder)).into_iter();
        sizes
            .map(|(name, bytes)| (format!("{prefix}/{name}"), bytes.len() as u64))
            .collect::<BTreeMap<_, _>>()
    };
    let mut expected = sizes("data", "raw");
    expected.extend(sizes("results", "results"));
    assert_eq!(bucket.objects(), expected);

    // Results that did not change are not sent again.
    let again = bucket.run(&world, 0, &[]);
    assert_eq!(again["upload"]["uploaded"]["files"], 0);
    assert_eq!(again["upload"]["unchanged"]["files"].as_u64(), Some(expected.len() as u64));
}

#[test]
fn a_part_uploads_nothing_and_the_merge_all() {
    let world = World::new(3);
    let bucket = Bucket::of(&world);
    for part in ["1/2", "2/2"] {
        let said = bucket.run(&world, 0, &["--part", part]);
        assert_eq!(said.get("upload"), None);
    }
    assert_eq!(bucket.objects(), BTreeMap::new());
    let said = bucket.run(&world, 0, &["--merge", "2"]);
    assert_eq!(said["upload"]["outcome"], "success");
    assert!(bucket.objects().contains_key("results/points/date=2026-11-23/part-2-of-2.parquet"));
}

#[test]
fn settings_that_leave_the_results_out_are_found_before_the_work() {
    let world = World::new(1);
    let bucket = Bucket::of(&world);
    let said = bucket.run(&world, 2, &["--results", "elsewhere"]);
    let said = said.as_str().unwrap();
    assert!(said.contains("elsewhere") && said.contains("[[source]]"), "{said}");
    assert!(!world.path("elsewhere").exists());
    fs::remove_file(world.path("backup.toml")).unwrap();
    let said = bucket.run(&world, 2, &[]);
    assert!(said.as_str().unwrap().contains("--backup-config"), "{said}");
    assert!(!world.path("results").exists());
}

#[test]
fn people_are_told_of_a_day_that_cannot_be_analysed() {
    let world = World::new(1);
    let bucket = Bucket::of(&world);
    let settings = world.path("backup.toml");
    let alert = "\n[alert]\ncommand = [\"sh\", \"-c\", \"cat > alert.json\"]\n";
    fs::write(&settings, fs::read_to_string(&settings).unwrap() + alert).unwrap();
    fs::remove_dir_all(world.path("data")).unwrap();
    bucket.run(&world, 1, &[]);
    let told = fs::read_to_string(world.path("alert.json")).unwrap();
    assert!(told.contains("the trips in data cannot be found"), "{told}");
}

#[test]
fn the_demo_shows_all_of_it() {
    let world = World::empty();
    let output =
        world.ends(0, &["demo", "--vehicles", "2", "--days", "2", "--points", "400", "--dir", "demo"]);
    let said = String::from_utf8(output.stdout).unwrap();
    for part in [
        "6,400 points",
        "success to s3://fleet",
        "0 not as they should be",
        "| sharp_turn |",
        "/demo/results/pages/",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let pages = files(&world.path("demo/results/pages"));
    assert_eq!(pages.len(), 2);
    let again = world.ends(2, &["demo", "--dir", "demo"]);
    assert!(String::from_utf8(again.stderr).unwrap().contains("--dir"));
}
