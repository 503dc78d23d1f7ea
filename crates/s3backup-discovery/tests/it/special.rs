//! What is neither file, directory nor link.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use s3backup_discovery::Symlinks;

use crate::support::{clean, rules, tree};

#[test]
fn fifos_sockets_and_devices_are_counted_and_never_opened() {
    let dir = tree(&["file"]);
    // Whoever opens it for reading waits for ever, so that this test ends is the proof.
    mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    symlink("/dev/null", dir.path().join("device")).unwrap();
    symlink("fifo", dir.path().join("to-fifo")).unwrap();
    let report = clean(dir.path(), rules().symlinks(Symlinks::Follow));
    assert_eq!(report.found(), ["file"]);
    assert_eq!(
        report.left_out(dir.path()),
        [("device", "special"), ("fifo", "special"), ("socket", "special"), ("to-fifo", "special")]
    );
    assert_eq!((report.skipped.by_reason.special, report.seen), (4, 1));

    let report = clean(dir.path(), rules().include(["fifo", "file"]));
    let left_out = report.left_out(dir.path());
    assert!(
        left_out.contains(&("fifo", "special")) && left_out.contains(&("socket", "excluded")),
        "{left_out:?}"
    );
}
