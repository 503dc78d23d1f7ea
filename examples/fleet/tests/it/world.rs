//! A folder with data, settings and results, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::NaiveDate;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use s3backup_fleet_data::FleetData;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const DAY: &str = "2026-11-23";

/// The tables of parts.
pub(crate) const TABLES: [&str; 6] = ["points", "errors", "overspeed", "rapid", "trips", "vehicles"];

pub(crate) struct World {
    pub(crate) folder: TempDir,
}

impl World {
    /// A folder without data.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("fleet.toml"), "").unwrap();
        Self { folder }
    }

    /// With a fleet that drives on [`DAY`] and the day before.
    pub(crate) fn new(vehicles: u32) -> Self {
        let world = Self::empty();
        fleet(vehicles).write_to(world.path("data")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of `vehicle` on [`DAY`].
    pub(crate) fn file(&self, vehicle: &str, name: &str, bytes: &[u8]) -> PathBuf {
        let folder = self.path("data").join(vehicle).join(DAY);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
        folder.join(name)
    }

    /// The binary, in the folder, with nothing of the environment that could lead it elsewhere.
    pub(crate) fn fleet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        command.args(arguments).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["BACKUP_", "AWS_", "SLACK_", "XDG_"].iter().any(|start| name.starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.folder.path());
        command
    }

    /// Runs it to its end, which must be with this exit code.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, arguments: &[&str]) -> Output {
        let output = self.fleet(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "fleet {arguments:?}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// What it prints as JSON.
    #[track_caller]
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.ends(code, &[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Two days of driving of some vehicles, with the faults of real data but no empty files, which a test adds where it wants one.
pub(crate) fn fleet(vehicles: u32) -> FleetData {
    let day: NaiveDate = DAY.parse().unwrap();
    FleetData::new().vehicles(vehicles).days(2).end_day(day).trips_per_day(2).points_per_trip(400).seed(5)
}

/// All files below a folder by their names, with their bytes.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                all.insert(name, fs::read(path).unwrap());
            }
        }
    }
    all
}

/// The rows of all parts of a table on [`DAY`], sorted.
pub(crate) fn rows(results: &Path, table: &str) -> Vec<String> {
    let folder = results.join(table).join(format!("date={DAY}"));
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let reader = SerializedFileReader::new(fs::File::open(entry.unwrap().path()).unwrap()).unwrap();
        rows.extend(reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()));
    }
    rows.sort();
    rows
}
