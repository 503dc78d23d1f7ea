//! What is on the disk: the files of the set, their times, and nothing of somebody else's harmed.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may unwrap as the tests themselves do")]

use std::{
    collections::BTreeMap,
    error::Error as _,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Asia::Seoul;
use s3backup_fleet_data::{Error, FleetData};

fn small() -> FleetData {
    FleetData::new().vehicles(3).days(2)
}

/// All files below a folder, by their path relative to it.
fn files_below(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                files.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

#[test]
fn the_disk_has_what_the_iterator_yields() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("not/there/yet");
    let truth = small().write_to(&out).unwrap();
    let mut on_disk = files_below(&out);
    for trip in small().trips().unwrap() {
        let modified = fs::metadata(out.join(&trip.path)).unwrap().modified().unwrap();
        assert_eq!(modified, trip.modified, "{}", trip.path.display());
        assert_eq!(on_disk.remove(&trip.path), Some(trip.bytes), "{}", trip.path.display());
    }
    assert!(on_disk.is_empty(), "{:?}", on_disk.keys());
    assert_eq!(truth, small().truth().unwrap());
}

#[test]
fn a_trip_longer_than_a_chunk_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = FleetData::new().files(1).file_size(500_000);
    fleet.write_to(folder.path()).unwrap();
    let trip = fleet.trips().unwrap().next().unwrap();
    assert_eq!(files_below(folder.path()), BTreeMap::from([(trip.path, trip.bytes)]));
}

#[test]
fn a_selection_by_day_finds_the_files_of_that_day() {
    let folder = tempfile::tempdir().unwrap();
    let truth = small().write_to(folder.path()).unwrap();
    let mut by_day: BTreeMap<NaiveDate, u64> = BTreeMap::new();
    for path in files_below(folder.path()).into_keys() {
        let modified = fs::metadata(folder.path().join(&path)).unwrap().modified().unwrap();
        let day = DateTime::<Utc>::from(modified).with_timezone(&Seoul).date_naive();
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        assert_eq!(parts.len(), 3, "{parts:?}");
        assert!(["vehicle-001", "vehicle-002", "vehicle-003"].contains(&parts[0].as_str()), "{parts:?}");
        assert_eq!(parts[1], day.to_string());
        *by_day.entry(day).or_default() += 1;
    }
    assert_eq!(by_day, truth.by_day.iter().map(|(day, totals)| (*day, totals.files)).collect());
    assert_eq!(by_day.len(), 2);
}

#[test]
fn a_folder_that_is_not_empty_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let error = small().write_to(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::NotEmpty { path } if path == folder.path()), "{error}");
    assert_eq!(files_below(folder.path()).len(), 1);
}

#[test]
fn overwriting_replaces_the_set_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let fleet = small().overwrite(true);
    fleet.write_to(folder.path()).unwrap();
    let first = files_below(folder.path());
    fleet.write_to(folder.path()).unwrap();
    assert_eq!(files_below(folder.path()), first);
    assert_eq!(first[Path::new("mine.txt")], b"mine");
    assert_eq!(first.len() as u64, 1 + small().truth().unwrap().total.files);
}

#[cfg(unix)]
#[test]
fn overwriting_replaces_a_link_and_not_what_it_points_to() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, out) = (folder.path().join("mine.txt"), folder.path().join("out"));
    fs::write(&mine, "mine").unwrap();
    let trip = small().trips().unwrap().next().unwrap();
    let path = out.join(&trip.path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&mine, &path).unwrap();

    small().overwrite(true).write_to(&out).unwrap();
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    assert_eq!(fs::read(&path).unwrap(), trip.bytes);
    assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
}

#[test]
fn an_error_names_the_path_and_keeps_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = small().write_to(&file).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == file), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot create {}", file.display()));
    assert!(error.source().is_some());
}

#[test]
fn bad_options_touch_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert!(small().days(0).write_to(&out).is_err());
    assert!(!out.exists());
}

#[test]
fn progress_is_told_after_each_file_and_can_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let truth = small()
        .write_to_with(folder.path().join("all"), |progress| {
            assert_eq!(progress.files_total, 24);
            told.push((progress.files, progress.bytes, progress.trip.path.clone()));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(told.len(), 24);
    assert_eq!(told.last().map(|(files, bytes, _)| (*files, *bytes)), Some((24, truth.total.bytes)));

    let out = folder.path().join("some");
    let stop_at_5 = |progress: s3backup_fleet_data::Progress<'_>| match progress.files {
        5 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let error = small().write_to_with(&out, stop_at_5).unwrap_err();
    assert!(matches!(error, Error::Stopped { files: 5, .. }), "{error}");
    assert_eq!(files_below(&out).len(), 5);
}
