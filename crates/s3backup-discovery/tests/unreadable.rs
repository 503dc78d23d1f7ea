//! Directories that the user may not read. Alone in its binary, because it starts itself again as another user when
//! it is root, for whom nothing is unreadable.
#![allow(clippy::unwrap_used, reason = "a test says what must hold in the shortest way")]

use std::env;
use std::fs::{self, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use s3backup_discovery::{Batch, Rules, RulesBuilder, Source, SourceEnd, Symlinks, walk};
use s3backup_model::{Failure, FailureKind};

/// Says to the test, started again, where the tree is.
const TREE: &str = "S3BACKUP_TEST_UNREADABLE_TREE";
const NOBODY: u32 = 65_534;

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_found() {
    if let Some(tree) = env::var_os(TREE) {
        return check(Path::new(&tree));
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = make(dir.path());
    if rustix::process::geteuid().is_root() {
        // Copied, because the other user may not reach the place where it was built.
        let again = dir.path().join("again");
        fs::copy(env::current_exe().unwrap(), &again).unwrap();
        set_mode(&again, 0o755);
        set_mode(dir.path(), 0o755);
        let output = Command::new(&again).env(TREE, &tree).uid(NOBODY).gid(NOBODY).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    } else {
        check(&tree);
    }
    // For whoever removes the tree without being root.
    for closed in ["closed", "no-search", "no-search/below"] {
        set_mode(&tree.join(closed), 0o700);
    }
}

fn make(dir: &Path) -> PathBuf {
    let tree = dir.join("tree");
    for file in ["open/file", "closed/hidden", "no-search/below/file", "no-search/file", "secret"] {
        fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
        fs::write(tree.join(file), "data").unwrap();
    }
    symlink("closed/hidden", tree.join("link")).unwrap();
    // A file that cannot be read is found: that it cannot be read is seen by whoever reads it.
    set_mode(&tree.join("secret"), 0o000);
    set_mode(&tree.join("no-search"), 0o444);
    set_mode(&tree.join("closed"), 0o000);
    set_mode(&tree, 0o755);
    set_mode(&tree.join("open"), 0o755);
    set_mode(&tree.join("open/file"), 0o644);
    tree
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn check(tree: &Path) {
    let (found, failures, shadows, end) = walked(tree, Rules::builder().symlinks(Symlinks::Follow));
    assert_eq!(found, ["open/file", "secret"]);
    // What was backed up from there before must not be taken for deleted.
    assert_eq!(shadows, ["closed", "link", "no-search/below", "no-search/file"]);
    assert_eq!(end, Some(SourceEnd::Walked));
    let paths: Vec<_> = failures.iter().map(|failure| Path::new(&failure.path).strip_prefix(tree)).collect();
    let expected = ["closed", "link", "no-search/below", "no-search/file"].map(|path| Ok(Path::new(path)));
    assert_eq!(paths, expected);
    for failure in &failures {
        assert_eq!(failure.kind, FailureKind::Unreadable);
        assert!(failure.message.contains("Permission denied"), "{}", failure.message);
        assert!(failure.message.ends_with(", or exclude it"), "{}", failure.message);
    }

    for exclude in [["closed", "no-search"], ["closed/**", "no-search/**"]] {
        let (found, failures, shadows, _) = walked(tree, Rules::builder().exclude(exclude));
        assert_eq!((found.len(), failures.len()), (2, 0), "{failures:?}");
        assert_eq!(shadows, ["closed", "link", "no-search"]);
    }

    let (_, _, _, end) = walked(&tree.join("closed"), Rules::builder());
    assert!(matches!(&end, Some(SourceEnd::Missing(why)) if why.contains("Permission denied")), "{end:?}");
}

type Walked = (Vec<String>, Vec<Failure>, Vec<String>, Option<SourceEnd>);

fn walked(path: &Path, rules: RulesBuilder) -> Walked {
    let source = Source { index: 0, path: path.to_owned(), rules: rules.build().unwrap(), settled: None };
    let mut all = Batch::default();
    walk(&source, &SystemTime::now, &mut |batch| {
        all.entries.extend(batch.entries);
        all.failures.extend(batch.failures);
        all.shadows.extend(batch.shadows);
        all.end = batch.end;
        ControlFlow::Continue(())
    });
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let found = all.entries.iter().map(|entry| text(&entry.relative)).collect();
    let shadows = all.shadows.iter().map(|path| text(path)).collect();
    (found, all.failures, shadows, all.end)
}
