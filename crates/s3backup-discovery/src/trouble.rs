//! What went wrong with one path, in words for a person: what happened, why, what to do.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use s3backup_model::{Failure, FailureKind, key};

/// A path as failures, skips and messages write it.
pub(crate) fn shown(path: &Path) -> String {
    key::escape(path.as_os_str().as_bytes())
}

/// Whether an error says that what was looked for is not there (any more).
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether an error says that links lead in a circle.
pub(crate) fn is_circle(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}

pub(crate) fn directory_unreadable(path: &Path, error: &io::Error) -> Failure {
    failure(
        path,
        FailureKind::Unreadable,
        format!(
            "the directory cannot be read: {error}; what is in it may not be backed up; {}",
            mend(error, ON_DIRECTORY, OR_EXCLUDE)
        ),
    )
}

pub(crate) fn directory_unsorted(path: &Path, temp_dir: &Path, error: &io::Error) -> Failure {
    failure(
        path,
        FailureKind::Unreadable,
        format!(
            "the directory has {}; what is in it is not backed up; {}, or exclude it",
            too_many(temp_dir, error),
            free(temp_dir)
        ),
    )
}

pub(crate) fn file_unreadable(path: &Path, error: &io::Error) -> Failure {
    failure(
        path,
        FailureKind::Unreadable,
        format!(
            "it cannot be looked at: {error}; {}",
            mend(error, "search permission on the directories above it", OR_EXCLUDE)
        ),
    )
}

pub(crate) fn broken_link(path: &Path, target: &Path, error: &io::Error) -> Failure {
    let target = shown(target);
    let message = if is_gone(error) {
        format!(
            "it is a symbolic link to `{target}`, which does not exist; remove the link, bring its target back, or \
             exclude it"
        )
    } else {
        format!(
            "it is a symbolic link to `{target}`, which cannot be looked at: {error}; {}",
            mend(error, "search permission on the directories above its target", OR_EXCLUDE)
        )
    };
    failure(path, FailureKind::Unreadable, message)
}

pub(crate) fn circle(path: &Path, target: &Path) -> Failure {
    failure(
        path,
        FailureKind::SymlinkLoop,
        format!(
            "it is a symbolic link to `{}`, from where links lead round in a circle; remove the link or exclude it",
            shown(target)
        ),
    )
}

pub(crate) fn link_loop(path: &Path, above: &Path) -> Failure {
    failure(
        path,
        FailureKind::SymlinkLoop,
        format!(
            "it leads back to `{}`, a directory above it, so it was not walked again; remove the symbolic link or \
             exclude it",
            shown(above)
        ),
    )
}

pub(crate) fn not_found(path: &Path, error: &io::Error) -> Failure {
    if is_gone(error) {
        let message = "it was there when the files were listed, and is gone".to_owned();
        return failure(path, FailureKind::Vanished, message);
    }
    file_unreadable(path, error)
}

pub(crate) fn no_regular_file(path: &Path) -> Failure {
    failure(path, FailureKind::Unreadable, "it is no longer a regular file".to_owned())
}

pub(crate) fn behind_link(path: &Path, link: &Path) -> Failure {
    let message = format!(
        "`{}` is a symbolic link, and the links of this source are not followed; set `symlinks = \"follow\"`, or bring \
         back the directory that was there when the files were listed",
        shown(link)
    );
    failure(path, FailureKind::Unreadable, message)
}

pub(crate) fn left_out(path: &Path) -> Failure {
    let message = "it is listed, and `include` or `exclude` of its source leave it out; whoever works with a list needs the \
                   configuration with which it was made"
        .to_owned();
    failure(path, FailureKind::Other, message)
}

/// `path` is as it is shown: the name itself may lead anywhere.
pub(crate) fn no_name(path: &Path) -> Failure {
    let message =
        "no file below a source can have this name, so nothing was read; whoever wrote the list made it up"
            .to_owned();
    Failure { path: path.display().to_string(), kind: FailureKind::Other, message, attempts: 1 }
}

pub(crate) fn source_unusable(path: &Path, error: &io::Error) -> String {
    let path = shown(path);
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("the source `{path}` does not exist; create or mount it, or correct its path")
        }
        _ => format!("the source `{path}` cannot be read: {error}; {}", mend(error, ON_DIRECTORY, "")),
    }
}

pub(crate) fn source_no_directory(path: &Path) -> String {
    format!(
        "the source `{}` is not a directory; to back up a single file, give the directory that it is in, and its \
         name as an include pattern",
        shown(path)
    )
}

pub(crate) fn source_unsorted(path: &Path, temp_dir: &Path, error: &io::Error) -> String {
    format!("the source `{}` has {}; {}", shown(path), too_many(temp_dir, error), free(temp_dir))
}

pub(crate) fn names_lost(path: &Path, temp_dir: &Path, error: &io::Error) -> String {
    format!(
        "the search for files in `{}` broke: names that were put aside in a temporary file in `{}` could not be read \
         back: {error}, so files may not have been found; look at the kernel log (`dmesg`), or set TMPDIR to a \
         directory on another disk, and run again",
        shown(path),
        shown(temp_dir)
    )
}

pub(crate) fn source_replaced(path: &Path) -> String {
    format!(
        "the source `{}` was removed, moved, unmounted or replaced while it was walked, so files may not have been \
         found; see that it stays in place and run again",
        shown(path)
    )
}

fn too_many(temp_dir: &Path, error: &io::Error) -> String {
    format!(
        "more names than are sorted in memory, and they cannot be put aside in a temporary file in `{}`: {error}",
        shown(temp_dir)
    )
}

fn free(temp_dir: &Path) -> String {
    format!(
        "free space in `{}`, or set TMPDIR to a directory that can be written to and has space",
        shown(temp_dir)
    )
}

fn failure(path: &Path, kind: FailureKind, message: String) -> Failure {
    Failure { path: shown(path), kind, message, attempts: 1 }
}

/// What the backup needs on a directory.
const ON_DIRECTORY: &str = "read and search permission on it";

/// The way out for anything but a source itself.
const OR_EXCLUDE: &str = ", or exclude it";

fn mend(error: &io::Error, permission: &str, way_out: &str) -> String {
    match (error.kind(), Errno::from_io_error(error)) {
        (io::ErrorKind::PermissionDenied, _) => {
            format!("give the user that runs the backup {permission}{way_out}")
        }
        (_, Some(Errno::NAMETOOLONG)) => {
            format!("a path has at most 4,095 bytes on Linux; shorten the names above it{way_out}")
        }
        (_, Some(Errno::MFILE | Errno::NFILE)) => {
            "raise the limit on open files (`ulimit -n`, in systemd `LimitNOFILE`)".to_owned()
        }
        (_, Some(Errno::IO | Errno::STALE | Errno::NOTCONN | Errno::TIMEDOUT)) => {
            "the disk or the network file system has a fault; look at the kernel log (`dmesg`)".to_owned()
        }
        _ => format!("look at it with `ls -ld` and run again{way_out}"),
    }
}
