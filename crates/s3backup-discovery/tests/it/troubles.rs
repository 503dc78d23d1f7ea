//! Sources and directories that cannot be walked.

use std::fs::File;
use std::os::unix::fs::symlink;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use s3backup_discovery::SourceEnd;
use s3backup_model::FailureKind;

use crate::support::{rules, source, tree, walked};

fn missing(path: impl Into<std::path::PathBuf>) -> String {
    let report = walked(&source(path, rules()));
    assert!(report.entries.is_empty() && report.failures.is_empty());
    let Some(SourceEnd::Missing(why)) = report.end else { panic!("{:?}", report.end) };
    why
}

#[test]
fn a_source_that_is_no_directory_says_what_to_do() {
    let dir = tree(&["file"]);
    symlink("gone", dir.path().join("broken")).unwrap();
    symlink("circle", dir.path().join("circle")).unwrap();
    let root = dir.path().to_str().unwrap();
    let nothing = missing(dir.path().join("nothing"));
    assert_eq!(
        nothing,
        format!("the source `{root}/nothing` does not exist; create or mount it, or correct its path")
    );
    assert!(missing(dir.path().join("broken")).contains("does not exist"));
    assert!(missing(dir.path().join("file")).contains("include"));
    assert!(missing(dir.path().join("circle")).contains("cannot be read"));
    assert!(missing(dir.path().join("file/below")).contains("cannot be read"));
}

#[test]
fn a_path_that_is_too_long_is_one_failure() {
    let dir = tree(&["first/file"]);
    let name = "n".repeat(200);
    let mut at = File::open(dir.path()).unwrap().into();
    // 30 names of 200 bytes: longer than a path may be, so that it can only be made step by step.
    for _ in 0..30 {
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = openat(&at, &name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        openat(&at, "file", OFlags::CREATE | OFlags::CLOEXEC | OFlags::WRONLY, Mode::RUSR).unwrap();
    }
    let report = walked(&source(dir.path(), rules()));
    assert_eq!(report.end, Some(SourceEnd::Walked));
    let failure = report.failures.last().unwrap();
    assert_eq!(failure.kind, FailureKind::Unreadable);
    assert!(failure.path.len() > 4095 && failure.message.contains("shorten"), "{}", failure.message);
    assert!(report.failures.len() <= 2, "the directory, and at most a file beside it");
    assert!(report.entries.len() > 15 && report.found().contains(&"first/file"));
}
