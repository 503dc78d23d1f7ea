//! Splitting a day into shards and merging them gives the same, whatever the fleet.

use std::fs;

use proptest::prelude::*;
use s3backup_core::CancellationToken;
use s3backup_fleet::day::{self, Pass};
use s3backup_fleet::digest;
use s3backup_fleet::part::Part;
use s3backup_fleet::settings::Settings;
use s3backup_fleet::tables::Table;

use crate::world::{DAY, TABLES, fleet, rows};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn shards_are_the_whole(vehicles in 1_u32..6, points in 20_u32..200, seed: u64, parts in 1_u32..5) {
        let folder = tempfile::tempdir().unwrap();
        fleet(vehicles).points_per_trip(points).seed(seed).write_to(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("fleet.toml"), "").unwrap();
        let (mut settings, limits) = Settings::read(&folder.path().join("fleet.toml")).unwrap();
        let cancel = CancellationToken::new();
        let day = DAY.parse().unwrap();
        let mut make = |results: &str, part: Part| {
            settings.results = folder.path().join(results);
            let pass = Pass { settings: &settings, limits: &limits, day, part, cancel: &cancel };
            let made = pass.write(&Table::ALL, |_| {}).unwrap();
            digest::write(&settings.results, &made, part).unwrap();
            made
        };
        let whole = make("whole", Part::WHOLE);
        for part in Part::all(parts) {
            make("parted", part);
        }
        settings.results = folder.path().join("parted");
        prop_assert_eq!(day::merge(&settings, day, parts).unwrap(), whole);
        for table in TABLES {
            prop_assert_eq!(rows(&folder.path().join("whole"), table), rows(&settings.results, table));
        }
    }
}
