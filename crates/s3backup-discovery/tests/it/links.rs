//! Symbolic links.

use std::fs;
use std::os::unix::fs::symlink;

use s3backup_discovery::Symlinks;
use s3backup_model::FailureKind;

use crate::support::{clean, rules, source, tree, walked};

#[test]
fn links_are_counted_and_left_alone_by_default() {
    let dir = tree(&["real/a"]);
    symlink("real", dir.path().join("to-directory")).unwrap();
    symlink("real/a", dir.path().join("to-file")).unwrap();
    symlink("nowhere", dir.path().join("broken")).unwrap();
    symlink(".", dir.path().join("loop")).unwrap();
    symlink("real", dir.path().join("excluded")).unwrap();
    let report = clean(dir.path(), rules().include(["**/a"]).exclude(["excluded"]));
    assert_eq!(report.found(), ["real/a"]);
    assert_eq!(report.skipped.by_reason.symlink, 4);
    assert_eq!(
        report.left_out(dir.path()),
        [
            ("broken", "symlink"),
            ("excluded", "excluded"),
            ("loop", "symlink"),
            ("to-directory", "symlink"),
            ("to-file", "symlink")
        ]
    );
}

#[test]
fn followed_links_are_what_they_lead_to() {
    let outside = tree(&["b", "deep/c"]);
    let dir = tree(&["real/a"]);
    symlink("real", dir.path().join("inside")).unwrap();
    symlink(outside.path(), dir.path().join("outside")).unwrap();
    symlink("real/a", dir.path().join("file")).unwrap();
    symlink("file", dir.path().join("link-to-link")).unwrap();
    let report = clean(dir.path(), rules().symlinks(Symlinks::Follow));
    assert_eq!(report.found(), ["file", "inside/a", "link-to-link", "outside/b", "outside/deep/c", "real/a"]);
    for entry in &report.entries {
        assert!(fs::metadata(entry.path()).unwrap().is_file());
        assert_eq!(entry.stat.size, 4);
        assert_eq!(entry.stat.mode & 0o170_000, 0o100_000, "the target's mode, not the link's");
    }

    let report =
        clean(dir.path(), rules().symlinks(Symlinks::Follow).include(["**/a"]).exclude(["inside/**"]));
    assert_eq!(report.found(), ["real/a"]);
    assert!(report.left_out(dir.path()).contains(&("inside", "excluded")));
    assert!(report.left_out(dir.path()).contains(&("file", "excluded")));
}

#[test]
fn a_loop_is_told_once_with_where_it_leads() {
    let dir = tree(&["a/b/file"]);
    symlink("..", dir.path().join("a/b/up")).unwrap();
    let report = walked(&source(dir.path(), rules().symlinks(Symlinks::Follow)));
    assert_eq!(report.found(), ["a/b/file"]);
    let failure = report.failure();
    assert_eq!(failure.kind, FailureKind::SymlinkLoop);
    assert_eq!(failure.path, dir.path().join("a/b/up").to_str().unwrap());
    let above = dir.path().join("a");
    assert!(failure.message.contains(&format!("`{}`", above.to_str().unwrap())), "{}", failure.message);
}

#[test]
fn a_loop_to_the_source_itself_is_found_though_the_source_is_a_link() {
    let dir = tree(&["data/file"]);
    let link = dir.path().join("link");
    symlink("data", &link).unwrap();
    symlink(dir.path().join("data"), dir.path().join("data/self")).unwrap();
    let report = walked(&source(&link, rules().symlinks(Symlinks::Follow)));
    assert_eq!(report.found(), ["file"]);
    assert!(report.failure().message.contains(&format!("`{}`", link.to_str().unwrap())));
}

#[test]
fn a_loop_through_the_outside_is_found() {
    let outer = tree(&["data/file", "other"]);
    symlink("..", outer.path().join("data/out")).unwrap();
    let report = walked(&source(outer.path().join("data"), rules().symlinks(Symlinks::Follow)));
    assert_eq!(report.found(), ["file", "out/other"]);
    let failure = report.failure();
    assert_eq!(failure.kind, FailureKind::SymlinkLoop);
    assert!(failure.path.ends_with("data/out/data"), "{}", failure.path);
}

#[test]
fn links_that_lead_only_to_each_other_are_loops() {
    let dir = tree(&["file"]);
    symlink("b", dir.path().join("a")).unwrap();
    symlink("a", dir.path().join("b")).unwrap();
    let report = walked(&source(dir.path(), rules().symlinks(Symlinks::Follow)));
    assert_eq!(report.found(), ["file"]);
    assert_eq!(report.failures.len(), 2);
    assert!(report.failures.iter().all(|failure| failure.kind == FailureKind::SymlinkLoop));
}

#[test]
fn a_broken_link_is_a_failure_that_names_its_target() {
    let dir = tree(&["file"]);
    symlink("no\nwhere", dir.path().join("broken")).unwrap();
    let report = walked(&source(dir.path(), rules().symlinks(Symlinks::Follow)));
    assert_eq!(report.found(), ["file"]);
    let failure = report.failure();
    assert_eq!(failure.kind, FailureKind::Unreadable);
    assert!(failure.message.contains("`no%0Awhere`, which does not exist"), "{}", failure.message);

    for exclude in ["broken", "broken/**"] {
        let report = clean(dir.path(), rules().symlinks(Symlinks::Follow).exclude([exclude]));
        assert_eq!(report.skipped.by_reason.excluded, 1, "{exclude}");
    }
}

#[test]
fn a_link_through_a_file_leads_nowhere() {
    let dir = tree(&["file"]);
    symlink("file/below", dir.path().join("link")).unwrap();
    let report = walked(&source(dir.path(), rules().symlinks(Symlinks::Follow)));
    assert!(report.failure().message.contains("does not exist"), "{}", report.failure().message);
}

#[test]
fn an_excluded_loop_is_no_trouble() {
    let dir = tree(&["a/file"]);
    symlink("..", dir.path().join("a/up")).unwrap();
    let report = clean(dir.path(), rules().symlinks(Symlinks::Follow).exclude(["**/up"]));
    assert_eq!(report.found(), ["a/file"]);
    assert_eq!(report.left_out(dir.path()), [("a/up", "excluded")]);
}
