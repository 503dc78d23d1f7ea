//! The trip files of a day (`GetFiles` of the original).

use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::NaiveDate;
use s3backup_core::SkipReason;
use s3backup_core::key::unescape;
use s3backup_discovery::{Batch, Rules, Source, SourceEnd, walk};

use crate::error::Error;
use crate::trip::TripFile;

/// Something below the folder of the data that belongs to the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file, or the folder that cannot be looked into.
    pub file: TripFile,
    /// Why it cannot be read, if that is known already.
    pub unreadable: Option<String>,
}

/// Finds the trips of a day below `data`: `VEHICLE/2026-11-23/**/*.json`, `.jsonl`, `.ndjson` and `.csv`. The name of the folder says the day, not the time at
/// which a file was written. Each goes to `each` in the order of the names, until it says to stop.
///
/// Memory does not grow with the number of files. Folders of other days are not opened. What cannot be looked at, and
/// what is no file where one should be (a pipe, a symbolic link, which is not followed), is handed over with the reason and stops nothing.
///
/// # Errors
/// [`Error::Data`] when the folder itself is not there or cannot be searched, and [`Error::Interrupted`] when `each` stopped it.
pub fn find(
    data: &Path,
    day: NaiveDate,
    each: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<(), Error> {
    let problem = |problem: String| Error::Data { path: data.to_owned(), problem };
    let rules = rules(day).map_err(|error| problem(error.to_string()))?;
    let source = Source { index: 0, path: data.to_owned(), rules, settled: None };
    let mut ended = None;
    walk(&source, &SystemTime::now, &mut |batch| {
        let end = batch.end.clone();
        in_order(data, day, batch).into_iter().try_for_each(&mut *each)?;
        ended = end;
        ControlFlow::Continue(())
    });
    match ended {
        Some(SourceEnd::Walked) => Ok(()),
        Some(SourceEnd::Missing(why) | SourceEnd::Failed(why)) => Err(problem(why)),
        _ => Err(Error::Interrupted),
    }
}

fn rules(day: NaiveDate) -> Result<Rules, s3backup_discovery::Error> {
    let include = ["json", "jsonl", "ndjson", "csv"].map(|extension| format!("*/{day}/**/*.{extension}"));
    // What a repair of the file system left is nobody's trip, and only root may look into it.
    Rules::builder().include(include).exclude(["lost+found"]).exclude(not_of(&day.to_string())).build()
}

/// Patterns that match all names in the folder of a vehicle but one, so that folders of other days are not opened: names that differ
/// from it at the first, the second, … byte, that end too early, and that go on behind it.
fn not_of(day: &str) -> Vec<String> {
    let mut patterns = vec![format!("*/{day}?*")];
    for (at, byte) in day.char_indices() {
        let before = &day[..at];
        patterns.push(format!("*/{before}[!{byte}]*"));
        if !before.is_empty() {
            patterns.push(format!("*/{before}"));
        }
    }
    patterns
}

/// All that a batch says of the day, in the order of the walk: of the bytes of the paths, with a zero for each slash.
fn in_order(data: &Path, day: NaiveDate, batch: Batch) -> Vec<Found> {
    let files = batch.entries.into_iter().map(|entry| (entry.relative, entry.stat.size, None));
    let skips = batch.skips.into_iter().filter_map(|skip| {
        let why = match skip.reason {
            SkipReason::Special => "it is no file but a pipe, a socket or a device",
            SkipReason::Symlink => {
                "it is a symbolic link, and these are not followed; put what it leads to in its place"
            }
            _ => return None,
        };
        Some((below(data, &skip.path)?, 0, Some(why.to_owned())))
    });
    let failures = batch
        .failures
        .into_iter()
        .filter_map(|failure| Some((below(data, &failure.path)?, 0, Some(failure.message))));
    let mut found: Vec<_> = files.chain(skips).chain(failures).collect();
    found.sort_by_cached_key(|(relative, ..)| {
        let bytes = relative.as_os_str().as_bytes().iter();
        bytes.map(|byte| if *byte == b'/' { 0 } else { *byte }).collect::<Vec<_>>()
    });
    let named = found.into_iter().map(|(relative, size_bytes, unreadable)| {
        let mut names = relative.iter().map(|name| name.to_string_lossy());
        let vehicle = names.next().unwrap_or_default().into_owned();
        let name = names.fold(vehicle.clone(), |name, next| name + "/" + &next);
        Found { file: TripFile { path: data.join(&relative), name, vehicle, day, size_bytes }, unreadable }
    });
    named.collect()
}

/// The path below the data of something that the walk names in whole and escaped.
fn below(data: &Path, escaped: &str) -> Option<PathBuf> {
    let whole = PathBuf::from(std::ffi::OsString::from_vec(unescape(escaped)));
    whole.strip_prefix(data).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, names: &[&[u8]]) {
        for name in names {
            let path = root.join(OsStr::from_bytes(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
    }

    fn found(root: &Path) -> Vec<Found> {
        let mut all = Vec::new();
        find(root, "2026-11-23".parse().unwrap(), &mut |found| {
            all.push(found);
            ControlFlow::Continue(())
        })
        .unwrap();
        all
    }

    fn names(root: &Path) -> Vec<String> {
        found(root).into_iter().map(|found| found.file.name).collect()
    }

    #[test]
    fn the_folder_says_the_day() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                b"vehicle-002/2026-11-23/trip_1.csv",
                b"vehicle-001/2026-11-23/trip_2.json",
                b"vehicle-001/2026-11-23/deep/er/trip_1.json",
                b"vehicle-001/2026-11-23/notes.txt",
                b"vehicle-001/2026-11-23/trip_3.json.tmp",
                b"vehicle-001/2026-11-22/trip.json",
                b"vehicle-001/2026-11-234/trip.json",
                b"vehicle-001/2026-11-2/trip.json",
                b"vehicle-001/2/2026-11-23/trip.json",
                b"vehicle-001/x2026-11-23/trip.json",
                b"vehicle-001/trip.json",
                b"2026-11-23/trip.json",
                b"trip.json",
            ],
        );
        let expected = [
            "vehicle-001/2026-11-23/deep/er/trip_1.json",
            "vehicle-001/2026-11-23/trip_2.json",
            "vehicle-002/2026-11-23/trip_1.csv",
        ];
        assert_eq!(names(root.path()), expected);
        let first = &found(root.path())[0].file;
        assert_eq!((first.vehicle.as_str(), first.size_bytes), ("vehicle-001", 1));
        assert_eq!(first.path, root.path().join(expected[0]));
    }

    #[test]
    fn the_folder_of_another_day_is_not_opened() {
        let day = "2026-11-23";
        let source = rules(day.parse().unwrap()).unwrap();
        let root = tempfile::tempdir().unwrap();
        for other in ["2026-11-22", "2025-11-23", "2026-11-2", "2026-11-23x", "logs", "1"] {
            // A trip of the right name inside would be found if it were.
            write(root.path(), &[format!("v/{other}/2026-11-23/trip.json").as_bytes()]);
        }
        write(root.path(), &[b"v/2026-11-23/trip.json"]);
        let mut skipped = 0;
        let source = Source { index: 0, path: root.path().to_owned(), rules: source, settled: None };
        walk(&source, &SystemTime::now, &mut |batch| {
            skipped += batch.skips.len();
            ControlFlow::Continue(())
        });
        assert_eq!(skipped, 6, "each of them as a whole");
        assert_eq!(names(root.path()), ["v/2026-11-23/trip.json"]);
    }

    #[test]
    fn what_is_no_file_is_named_and_stops_nothing() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[b"v/2026-11-23/b.json", b"w/2026-11-23/z.json"]);
        symlink("/etc/passwd", root.path().join("v/2026-11-23/a.json")).unwrap();
        symlink(root.path().join("w"), root.path().join("linked")).unwrap();
        make_pipe(&root.path().join("v/2026-11-23/c.json"));
        let found = found(root.path());
        let shown: Vec<_> =
            found.iter().map(|found| (found.file.name.as_str(), found.unreadable.is_some())).collect();
        let expected = [
            ("linked", true),
            ("v/2026-11-23/a.json", true),
            ("v/2026-11-23/b.json", false),
            ("v/2026-11-23/c.json", true),
            ("w/2026-11-23/z.json", false),
        ];
        assert_eq!(shown, expected);
    }

    fn make_pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }

    #[test]
    fn names_may_be_any_bytes() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[b"caf\xe9/2026-11-23/two\nlines %41.json", "트럭/2026-11-23/☃.csv".as_bytes()]);
        symlink("nowhere", root.path().join(OsStr::from_bytes(b"caf\xe9/2026-11-23/\x01%41.json"))).unwrap();
        let expected = [
            "caf\u{fffd}/2026-11-23/\u{1}%41.json",
            "caf\u{fffd}/2026-11-23/two\nlines %41.json",
            "트럭/2026-11-23/☃.csv",
        ];
        assert_eq!(names(root.path()), expected);
    }

    #[test]
    fn a_folder_that_is_not_there_is_said() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("trips");
        let error = find(&missing, "2026-11-23".parse().unwrap(), &mut |_| ControlFlow::Continue(()));
        let Err(Error::Data { path, problem }) = error else { panic!("{error:?}") };
        assert_eq!(path, missing);
        assert!(!problem.is_empty());
    }

    #[test]
    fn whoever_has_enough_stops_it() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[b"v/2026-11-23/a.json", b"v/2026-11-23/b.json"]);
        let mut count = 0;
        let ended = find(root.path(), "2026-11-23".parse().unwrap(), &mut |_| {
            count += 1;
            ControlFlow::Break(())
        });
        assert!(matches!(ended, Err(Error::Interrupted)));
        assert_eq!(count, 1);
    }
}
