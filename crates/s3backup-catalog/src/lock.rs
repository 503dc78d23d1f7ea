//! One process at a time works on a job.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};

use crate::catalog::make_private_dir;
use crate::error::Error;

/// The most that is read of another process's note.
const MAX_NOTE_BYTES: u64 = 1024;

/// The right to work on a job, until it is dropped or the process ends, however that ends.
///
/// The kernel holds the lock (`flock`), not the file: `lock` stays where it is, and what it says of an earlier holder
/// means nothing. A child process does not inherit the lock beyond its `exec`, and dropping releases it also where a child
/// has not come to that yet.
#[derive(Debug)]
pub struct JobLock {
    file: File,
}

impl JobLock {
    /// Takes the lock of the job whose directory is `dir`, which is made (mode 0700) if it is not there. Does not wait.
    ///
    /// `holder` says for a person what this process is, such as `backup run`.
    ///
    /// Errors with [`Error::Locked`] when another process has it, and says which, as far as its note tells.
    pub fn acquire(dir: &Path, holder: &str) -> Result<Self, Error> {
        make_private_dir(dir)?;
        let path = dir.join("lock");
        let failed = |action| {
            let path: PathBuf = path.clone();
            move |cause| Error::Io { action, path, cause }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { holder: read_note(&mut file), path });
            }
            Err(TryLockError::Error(cause)) => return Err(failed("lock")(cause)),
        }
        // One write of the whole note, so that nobody reads half of it.
        file.set_len(0).and_then(|()| file.write_all(note(holder).as_bytes())).map_err(failed("write"))?;
        Ok(Self { file })
    }
}

impl JobLock {
    /// Who has the lock of the job whose directory is `dir`, in words for a person; `None` where nobody has it.
    ///
    /// Looks into the kernel's list of locks (`/proc/locks`) instead of trying to take this one, so that a process that
    /// wants it at the same moment gets it. Where there is no such list, nobody seems to have it.
    pub fn holder(dir: &Path) -> Option<String> {
        let mut file = File::open(dir.join("lock")).ok()?;
        let inode = file.metadata().ok()?.ino();
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        is_listed(&locks, inode).then(|| read_note(&mut file))
    }
}

/// Whether a list of locks has one by `flock` on this inode. Its device is not compared: some file systems show another
/// there than a file has.
fn is_listed(locks: &str, inode: u64) -> bool {
    // 1: FLOCK  ADVISORY  WRITE 4711 08:01:131074 0 EOF
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = words.get(5).and_then(|place| place.rsplit(':').next()?.parse::<u64>().ok());
        words.get(1) == Some(&"FLOCK") && of == Some(inode)
    })
}

impl Drop for JobLock {
    fn drop(&mut self) {
        // Only so that the next holder's note never stands beside ours. If it fails, the note is stale and harmless.
        let _ = self.file.set_len(0);
        // To close the file is not enough: a child that this process has just forked, for anything, shares it until its
        // `exec`. If it fails, the lock goes when the last of them has closed it.
        let _ = self.file.unlock();
    }
}

/// Who holds the lock, in the words that another process shows.
fn note(holder: &str) -> String {
    let host = gethostname::gethostname();
    let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("{holder} (process {} on {}, since {since})\n", std::process::id(), host.to_string_lossy())
}

fn read_note(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is not known; the lock itself needs no note.
    let _ = file.take(MAX_NOTE_BYTES).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let shown: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.is_empty() { "another process, which left no note of itself".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::JobLock;

    #[test]
    fn a_child_that_is_being_started_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = JobLock::acquire(dir.path(), "backup run").unwrap();
        let of_the_child = lock.file.try_clone().unwrap();
        drop(lock);
        JobLock::acquire(dir.path(), "backup run").unwrap();
        drop(of_the_child);
    }
}
