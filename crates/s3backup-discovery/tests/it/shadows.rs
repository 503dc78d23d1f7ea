//! What is there and is not taken must not look as if it were gone.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use s3backup_discovery::{Select, Symlinks, walk};

use crate::support::{Report, add, clean, now, rules, source, touch, tree, walked};

#[test]
fn everything_that_is_left_out_on_purpose_is_a_shadow() {
    let dir = tree(&["a/file", "a/x.tmp", "b-dir/deep/file", "c/file", "c/other", "young", "z"]);
    symlink("a", dir.path().join("link")).unwrap();
    symlink("nowhere", dir.path().join("a/broken")).unwrap();
    let _listener = UnixListener::bind(dir.path().join("a-socket")).unwrap();
    touch(&dir.path().join("young"), now());
    let report =
        clean(dir.path(), rules().exclude(["**/*.tmp", "b-dir", "c/**"]).min_age(Duration::from_mins(2)));
    assert_eq!(report.found(), ["a/file", "z"]);
    assert_eq!(report.shadows(), ["a/broken", "a/x.tmp", "a-socket", "b-dir", "c", "link", "young"]);

    let report = clean(dir.path(), rules().include(["**/file"]));
    assert_eq!(report.found(), ["a/file", "b-dir/deep/file", "c/file"]);
    assert_eq!(report.shadows(), ["a/broken", "a/x.tmp", "a-socket", "c/other", "link", "young", "z"]);
}

#[test]
fn a_file_of_another_day_is_a_shadow() {
    let dir = tree(&["today", "yesterday"]);
    touch(&dir.path().join("today"), now());
    let today = Select::day("2026-11-23".parse().unwrap(), chrono_tz::Asia::Seoul);
    let report = clean(dir.path(), rules().select(today));
    assert_eq!((report.found(), report.shadows()), (vec!["today"], vec!["yesterday"]));
}

#[test]
fn a_link_that_leads_nowhere_or_round_is_a_shadow() {
    let dir = tree(&["a/file"]);
    symlink("..", dir.path().join("a/up")).unwrap();
    symlink("nowhere", dir.path().join("broken")).unwrap();
    symlink("self", dir.path().join("self")).unwrap();
    let report = walked(&source(dir.path(), rules().symlinks(Symlinks::Follow)));
    assert_eq!((report.found(), report.failures.len()), (vec!["a/file"], 3));
    assert_eq!(report.shadows(), ["a/up", "broken", "self"]);
}

#[test]
fn what_vanished_after_it_was_listed_is_no_shadow() {
    let dir = tree(&["b", "c/file", "d"]);
    for file in 0..300 {
        add(dir.path().join(format!("a/{file}")));
    }
    let mut report = Report::default();
    walk(&source(dir.path(), rules()), &now, &mut |batch| {
        if report.entries.is_empty() {
            fs::remove_file(dir.path().join("b")).unwrap();
            fs::remove_dir_all(dir.path().join("c")).unwrap();
        }
        report.add(batch);
        ControlFlow::Continue(())
    });
    assert_eq!(report.found()[300..], ["d"]);
    assert_eq!(report.shadows(), [""; 0]);
}
