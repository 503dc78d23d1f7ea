//! The lock of a job: one holder, which ends with its process.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use s3backup_catalog::{Error, JobLock};

use crate::common::{CHILD_DIR, spawn};

#[test]
fn the_second_learns_who_is_first() {
    let dir = tempfile::tempdir().unwrap();
    let job = dir.path().join("state/job");
    let first = JobLock::acquire(&job, "backup run").unwrap();
    assert_eq!(job.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let error = JobLock::acquire(&job, "backup prune").unwrap_err();
    assert!(error.is_locked());
    let said = error.to_string();
    assert!(
        said.contains("backup run (process ") && said.contains(&std::process::id().to_string()),
        "{said}"
    );
    assert!(!said.contains("prune"), "{said}");
    let holder = JobLock::holder(&job).unwrap();
    assert!(holder.starts_with("backup run (process "), "{holder}");
    drop(first);
    assert_eq!(JobLock::holder(&job), None);
    assert_eq!(JobLock::holder(&dir.path().join("other")), None);
    JobLock::acquire(&job, "backup prune").unwrap();
}

#[test]
fn what_an_earlier_holder_left_in_the_file_means_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for stale in
        [&b"backup run (process 1 on elsewhere, since 1970)\n"[..], b"\xff\x00\x1b[31m", &vec![b'x'; 100_000]]
    {
        fs::write(dir.path().join("lock"), stale).unwrap();
        let _held = JobLock::acquire(dir.path(), "backup run").unwrap();
        let Err(Error::Locked { holder, .. }) = JobLock::acquire(dir.path(), "x") else {
            panic!("not locked")
        };
        assert!(holder.starts_with("backup run (process ") && !holder.contains("elsewhere"), "{holder}");
    }
}

#[test]
fn a_holder_without_a_note_is_still_a_holder() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("lock")).unwrap();
    file.lock().unwrap();
    for (note, shown) in [(&b""[..], "another process"), (b"\x1b[31mred", " [31mred")] {
        fs::write(dir.path().join("lock"), note).unwrap();
        let Err(Error::Locked { holder, .. }) = JobLock::acquire(dir.path(), "x") else {
            panic!("not locked")
        };
        assert!(holder.contains(shown.trim()) && !holder.contains('\x1b'), "{holder:?}");
    }
}

/// Holds the lock until it is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let _held = JobLock::acquire(Path::new(&dir), "the child").unwrap();
    println!("\nheld");
    // Until the parent kills it, or is gone itself.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_lock_ends_with_a_process_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut lines) = spawn("lock::child", dir.path());
    assert!(lines.any(|line| line.unwrap() == "held"), "the child ended early");
    let Err(Error::Locked { holder, .. }) = JobLock::acquire(dir.path(), "x") else { panic!("not locked") };
    assert!(holder.contains(&format!("the child (process {} on ", child.id())), "{holder}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        fs::read_to_string(dir.path().join("lock")).unwrap().contains("the child"),
        "its note is stale now"
    );
    JobLock::acquire(dir.path(), "x").unwrap();
}
