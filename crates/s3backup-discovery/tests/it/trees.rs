//! What is taken, what is left out, and at what cost.

use std::ffi::OsStr;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::Duration;

use s3backup_discovery::{Select, SourceEnd, walk};
use s3backup_model::SkipReason;

use crate::support::{Report, add, clean, now, rules, source, touch, tree, walked};

#[test]
fn every_file_is_found_with_what_the_file_system_says_of_it() {
    let dir = tree(&["a.json", "x/b.json", "x/y/.hidden"]);
    fs::create_dir(dir.path().join("empty")).unwrap();
    let report = clean(dir.path(), rules());
    assert_eq!(report.found(), ["a.json", "x/b.json", "x/y/.hidden"]);
    assert_eq!((report.seen, report.skipped.files), (3, 0));
    for entry in &report.entries {
        let meta = fs::metadata(entry.path()).unwrap();
        assert_eq!((entry.source, &*entry.root), (7, dir.path()));
        assert_eq!((entry.stat.size, entry.stat.mode), (4, meta.mode()));
        assert_eq!((entry.stat.inode, entry.stat.device), (meta.ino(), meta.dev()));
        assert_eq!(entry.stat.mtime_ns, meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
        assert_eq!(entry.stat.ctime_ns, meta.ctime() * 1_000_000_000 + meta.ctime_nsec());
    }
}

#[test]
fn an_empty_source_is_walked() {
    let dir = tree(&[]);
    let report = clean(dir.path(), rules());
    assert_eq!((report.entries.len(), report.seen, report.skipped.files), (0, 0, 0));
}

#[test]
fn the_source_may_be_a_link_and_end_in_a_slash() {
    let dir = tree(&["data/a", "data/x/b"]);
    symlink("data", dir.path().join("link")).unwrap();
    assert_eq!(clean(&dir.path().join("link"), rules()).found(), ["a", "x/b"]);
    assert_eq!(clean(&dir.path().join("link/"), rules()).found(), ["a", "x/b"]);
    assert_eq!(clean(&dir.path().join("data/x/.."), rules()).found(), ["a", "x/b"]);
}

#[test]
fn names_may_be_any_bytes() {
    let dir = tree(&[]);
    let long = [b'n'; 255];
    for name in [&b"caf\xe9.json"[..], b"two\nlines.json", b"%41.json", b" ", b"-rf", b"\x7f\x01", &long] {
        add(dir.path().join(OsStr::from_bytes(name)));
    }
    add(dir.path().join(OsStr::from_bytes(b"\xff\xfe/\n.json")));
    let all = clean(dir.path(), rules());
    assert_eq!(all.entries.len(), 8);
    assert!(all.entries.iter().all(|entry| entry.path().is_file()));

    let json = clean(dir.path(), rules().include(["**/*.json"]));
    assert_eq!(json.entries.len(), 4);
    let left_out = json.left_out(dir.path());
    assert_eq!(left_out.len(), 4);
    assert!(left_out.contains(&("%7F%01", "excluded")), "{left_out:?}");
}

#[test]
fn an_excluded_directory_is_one_skip_and_include_prunes_nothing() {
    let dir =
        tree(&["tmp/a.json", "tmp/deep/b.json", "x/tmp/c.json", "x/d.json", "x/e.txt", "keep/tmp.json"]);
    for exclude in ["**/tmp", "**/tmp/**", "**/tmp/**/*"] {
        let report = clean(dir.path(), rules().include(["**/*.json"]).exclude([exclude]));
        assert_eq!(report.found(), ["keep/tmp.json", "x/d.json"], "{exclude}");
        assert_eq!(
            report.left_out(dir.path()),
            [("tmp", "excluded"), ("x/e.txt", "excluded"), ("x/tmp", "excluded")],
            "{exclude}"
        );
        assert_eq!((report.seen, report.skipped.by_reason.excluded), (2, 3));
    }
    // Below this pattern not everything is excluded.
    let report = clean(dir.path(), rules().exclude(["tmp/**/*.txt"]));
    assert_eq!(report.entries.len(), 6);
    // A pattern for what is below a directory does not mean a file of that name.
    let report = clean(dir.path(), rules().exclude(["keep/tmp.json/**"]));
    assert_eq!(report.entries.len(), 6);
}

#[test]
fn young_files_are_left_out_and_handed_over() {
    let dir = tree(&["old", "edge", "young", "future"]);
    let min_age = Duration::from_mins(2);
    touch(&dir.path().join("edge"), now() - min_age);
    touch(&dir.path().join("young"), now() - min_age + Duration::from_micros(1));
    touch(&dir.path().join("future"), now() + Duration::from_secs(1));
    let report = clean(dir.path(), rules().min_age(min_age));
    assert_eq!(report.found(), ["edge", "future", "old"]);
    assert_eq!((report.seen, report.skipped.by_reason.too_young, report.skipped.bytes), (4, 1, 4));
    let skip = &report.skips[0];
    assert_eq!(skip.reason, SkipReason::TooYoung);
    assert_eq!(skip.entry.as_ref().unwrap().relative, Path::new("young"));
}

#[test]
fn age_is_that_of_the_moment_in_which_a_file_is_looked_at() {
    let dir = tree(&["later", "future"]);
    touch(&dir.path().join("later"), now() + Duration::from_secs(10));
    touch(&dir.path().join("future"), now() + Duration::from_secs(21));
    let mut report = Report::default();
    walk(
        &source(dir.path(), rules().min_age(Duration::from_mins(2))),
        &|| now() + Duration::from_secs(20),
        &mut |batch| {
            report.add(batch);
            ControlFlow::Continue(())
        },
    );
    assert_eq!(report.found(), ["future"]);
    assert_eq!(report.left_out(dir.path()), [("later", "too_young")]);
}

#[test]
fn what_was_modified_in_the_settled_time_is_not_too_young() {
    let dir = tree(&["before", "start", "end", "after"]);
    let (start, end) = (now() - Duration::from_secs(20), now() - Duration::from_secs(10));
    let instant = Duration::from_micros(1);
    touch(&dir.path().join("before"), start - instant);
    touch(&dir.path().join("start"), start);
    touch(&dir.path().join("end"), end);
    touch(&dir.path().join("after"), end + instant);
    let mut source = source(dir.path(), rules().min_age(Duration::from_mins(2)));
    source.settled = Some(start..=end);
    let report = walked(&source);
    assert_eq!(report.found(), ["end", "start"]);
    assert_eq!(report.left_out(dir.path()), [("after", "too_young"), ("before", "too_young")]);
}

#[test]
fn a_day_is_selected_by_the_calendar_of_its_zone() {
    let dir = tree(&["eve", "first", "last", "next"]);
    // In Seoul 23 November 2026 is from 15:00 to 15:00 UTC.
    let (midnight, day) = (now() - Duration::from_hours(20), Duration::from_hours(24));
    let instant = Duration::from_micros(1);
    touch(&dir.path().join("eve"), midnight - instant);
    touch(&dir.path().join("first"), midnight);
    touch(&dir.path().join("last"), midnight + day - instant);
    touch(&dir.path().join("next"), midnight + day);
    let select = Select::day("2026-11-23".parse().unwrap(), chrono_tz::Asia::Seoul);
    let report = clean(dir.path(), rules().select(select));
    assert_eq!(report.found(), ["first", "last"]);
    assert_eq!(report.left_out(dir.path()), [("eve", "not_selected"), ("next", "not_selected")]);
    assert_eq!(report.seen, 4);
}

#[test]
fn several_days_are_selected_in_one_walk() {
    let dir = tree(&["monday", "tuesday", "wednesday", "sunday"]);
    let day = Duration::from_hours(24);
    for (file, days_ago) in [("monday", 0), ("sunday", 1), ("wednesday", 5), ("tuesday", 6)] {
        touch(&dir.path().join(file), now() - day * days_ago);
    }
    let days = ["2026-11-23", "2026-11-17", "2026-11-22"].map(|day| day.parse().unwrap());
    let select = Select::days(days, chrono_tz::Asia::Seoul);
    let report = clean(dir.path(), rules().select(select));
    assert_eq!(report.found(), ["monday", "sunday", "tuesday"]);
}

#[test]
fn a_file_that_is_young_and_not_selected_is_not_handed_over_as_young() {
    let dir = tree(&["new"]);
    touch(&dir.path().join("new"), now());
    let yesterday = Select::day("2026-11-22".parse().unwrap(), chrono_tz::Asia::Seoul);
    let report = clean(dir.path(), rules().min_age(Duration::from_mins(2)).select(yesterday));
    assert_eq!(report.left_out(dir.path()), [("new", "not_selected")]);
}

#[test]
fn a_large_directory_comes_in_small_batches() {
    const FILES: usize = 50_000;
    let dir = tree(&[]);
    for file in 0..FILES {
        fs::File::create(dir.path().join(format!("{file}.json"))).unwrap();
    }
    // `Report::add` holds every batch to its limit.
    let (mut report, mut batches) = (Report::default(), 0);
    walk(&source(dir.path(), rules().exclude(["*9.json"])), &now, &mut |batch| {
        batches += 1;
        report.add(batch);
        ControlFlow::Continue(())
    });
    assert_eq!((report.entries.len(), report.skips.len()), (FILES / 10 * 9, FILES / 10));
    assert!(batches > FILES / 256);
}

#[test]
fn a_walk_that_is_stopped_says_nothing_more() {
    let names: Vec<_> = (0..600).map(|n| n.to_string()).collect();
    let dir = tree(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut batches = 0;
    walk(&source(dir.path(), rules()), &now, &mut |batch| {
        assert_eq!(batch.end, None);
        batches += 1;
        ControlFlow::Break(())
    });
    assert_eq!(batches, 1);
}

#[test]
fn deep_trees_do_not_use_up_open_files() {
    let dir = tree(&[]);
    let mut deep = dir.path().to_owned();
    for level in 0..150 {
        deep.push("d");
        add(deep.join(format!("before-{level}")));
        add(deep.join(format!("later-{level}")));
    }
    for file in 0..300 {
        add(deep.join(file.to_string()));
    }
    let (mut report, mut most_open) = (Report::default(), 0);
    walk(&source(dir.path(), rules()), &now, &mut |batch| {
        most_open = most_open.max(open_below(dir.path()));
        report.add(batch);
        ControlFlow::Continue(())
    });
    assert_eq!((report.entries.len(), report.end), (600, Some(SourceEnd::Walked)));
    assert!((2..=64).contains(&most_open), "{most_open} directories are open");
}

#[test]
fn a_directory_that_is_replaced_while_the_walk_is_far_below_is_not_taken_for_the_one_that_was_listed() {
    let outer = tree(&[]);
    let (path, elsewhere) = (outer.path().join("data"), outer.path().join("elsewhere"));
    let mut deep = path.join("top");
    add(deep.join("later"));
    for _ in 0..100 {
        deep.push("d");
        add(deep.join("later"));
    }
    for file in 0..300 {
        add(deep.join(format!("a-{file}")));
    }
    let mut report = Report::default();
    walk(&source(&path, rules()), &now, &mut |batch| {
        if report.entries.is_empty() {
            fs::rename(path.join("top"), &elsewhere).unwrap();
            add(path.join("top/later"));
        }
        report.add(batch);
        ControlFlow::Continue(())
    });
    // What is below it is not there any more, but in itself there is now something else.
    assert_eq!(report.shadows(), ["top/later"]);
    assert!(report.failure().message.contains("was replaced during the walk"), "{:?}", report.failures);
    assert_eq!(report.end, Some(SourceEnd::Walked));
}

#[test]
fn a_directory_that_becomes_a_link_during_the_walk_is_not_followed() {
    let dir = tree(&["b/file", "c/file", "d"]);
    let outside = tree(&["secret"]);
    for file in 0..300 {
        add(dir.path().join(format!("a/{file}")));
    }
    let mut report = Report::default();
    walk(&source(dir.path(), rules()), &now, &mut |batch| {
        if report.entries.is_empty() {
            fs::remove_dir_all(dir.path().join("b")).unwrap();
            symlink(outside.path(), dir.path().join("b")).unwrap();
            fs::remove_dir_all(dir.path().join("c")).unwrap();
            add(dir.path().join("c"));
        }
        report.add(batch);
        ControlFlow::Continue(())
    });
    assert_eq!(report.found()[300..], ["c", "d"]);
    assert_eq!(report.left_out(dir.path()), [("b", "symlink")]);
    assert_eq!(report.shadows(), ["b"]);
    assert_eq!((report.failures, report.end), (vec![], Some(SourceEnd::Walked)));
}

/// How many open files of this process are below a directory.
fn open_below(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|fd| fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|file| file.starts_with(dir)))
        .count()
}

#[test]
fn what_vanishes_during_the_walk_is_not_there() {
    let dir = tree(&[]);
    for file in 0..300 {
        add(dir.path().join(format!("x/{file}")));
        add(dir.path().join(format!("y/{file}")));
    }
    let mut report = Report::default();
    walk(&source(dir.path(), rules()), &now, &mut |batch| {
        if report.entries.is_empty() {
            fs::remove_dir_all(dir.path().join("x")).unwrap();
            fs::remove_dir_all(dir.path().join("y")).unwrap();
        }
        report.add(batch);
        ControlFlow::Continue(())
    });
    assert_eq!(report.failures, []);
    assert_eq!(report.end, Some(SourceEnd::Walked));
    assert!(report.entries.len() < 600);
    assert_eq!((report.skipped.files, report.seen), (0, report.entries.len() as u64));
    assert_eq!(report.shadows(), [""; 0]);
}

#[test]
fn a_source_that_is_moved_away_during_the_walk_is_not_taken_for_an_empty_one() {
    let outer = tree(&[]);
    let (path, elsewhere) = (outer.path().join("data"), outer.path().join("elsewhere"));
    for file in 0..300 {
        add(path.join(file.to_string()));
    }
    let mut report = Report::default();
    walk(&source(&path, rules()), &now, &mut |batch| {
        if report.entries.is_empty() {
            fs::rename(&path, &elsewhere).unwrap();
            fs::create_dir(&path).unwrap();
        }
        report.add(batch);
        ControlFlow::Continue(())
    });
    assert!(
        matches!(&report.end, Some(SourceEnd::Missing(why)) if why.contains("replaced")),
        "{:?}",
        report.end
    );
    assert!(walked(&source(&path, rules())).entries.is_empty());
}
