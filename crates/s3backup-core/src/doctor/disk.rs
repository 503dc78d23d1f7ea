//! The disks of state and logs: written to, with room, and of a kind that a catalog can live on.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use super::Check;

/// Less than this is little.
const LITTLE_BYTES: u64 = 1 << 30;

/// Less than this share of the disk is little, too, unless there is [`PLENTY_BYTES`].
const LITTLE_PERCENT: u64 = 5;
const PLENTY_BYTES: u64 = 10 << 30;

/// What is written to see whether there is room for anything.
const TRIAL_BYTES: usize = 4 << 10;

pub(super) fn check(state: Option<&Path>, logs: Option<&Path>) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(dir) = state {
        checks.push(room("state disk", dir));
        checks.push(kind_of_state(dir));
    }
    checks.extend(logs.map(|dir| room("log disk", dir)));
    checks
}

/// Whether a directory can be written to, and how much room it has.
fn room(name: &'static str, dir: &Path) -> Check {
    let here = nearest(dir);
    if let Err(error) = write_something(&here) {
        return Check::fail(
            name,
            format!("cannot write into {}: {error}; runs cannot work without it", here.display()),
            format!(
                "make it, give it to the user that runs the backup, or make room: mkdir -p {}",
                dir.display()
            ),
        );
    }
    match rustix::fs::statvfs(&here) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            judge_room(name, dir, free, disk.f_blocks.saturating_mul(disk.f_frsize))
        }
        Err(error) => {
            let message =
                format!("{} can be written to; how much room it has is not known ({error})", dir.display());
            Check::ok(name, message)
        }
    }
}

fn judge_room(name: &'static str, dir: &Path, free: u64, size: u64) -> Check {
    let left = format!("{} free on the disk of {}", ByteSize::b(free), dir.display());
    let is_small_share = free.saturating_mul(100) < size.saturating_mul(LITTLE_PERCENT);
    if free < LITTLE_BYTES || (is_small_share && free < PLENTY_BYTES) {
        let message = format!("{left}: once it is full, nothing is recorded and runs fail");
        return Check::warn(name, message, "make room, or move `state_dir` and `[logging] dir`");
    }
    Check::ok(name, left)
}

/// The directory itself, or what is there of the way to it.
fn nearest(dir: &Path) -> PathBuf {
    dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Writes a file without a name, which is gone however this ends.
fn write_something(dir: &Path) -> std::io::Result<()> {
    let mut file = tempfile::tempfile_in(dir)?;
    file.write_all(&[0; TRIAL_BYTES])?;
    file.sync_data()
}

fn kind_of_state(dir: &Path) -> Check {
    const NAME: &str = "state_dir";
    match kind(&nearest(dir)) {
        Some(kind) => judge_kind(dir, kind),
        None => Check::ok(NAME, format!("{}, on a file system that does not tell its kind", dir.display())),
    }
}

/// The kind of the file system that holds a directory, as the kernel numbers it.
pub(super) fn kind(dir: &Path) -> Option<u64> {
    let kind = rustix::fs::statfs(dir).ok()?.f_type;
    // Some numbers fill 32 bits, and the field is signed in places.
    #[expect(clippy::cast_sign_loss, reason = "the bits are what counts")]
    Some(kind as u64 & 0xffff_ffff)
}

/// Whether a catalog and its lock can live there.
fn judge_kind(dir: &Path, kind: u64) -> Check {
    const NAME: &str = "state_dir";
    let (name, place) = Place::of(kind);
    let at = format!("{}, on {name}", dir.display());
    let mend =
        "set `state_dir` to a directory on a local disk that outlives a restart, such as /var/lib/s3backup";
    match place {
        Place::Local => Check::ok(NAME, at),
        Place::Network => Check::fail(
            NAME,
            format!(
                "{at}: neither locks nor the catalog's journal can be relied on over a network, and the catalog may be damaged"
            ),
            mend,
        ),
        Place::Unclear => Check::warn(
            NAME,
            format!("{at}: if a network lies behind it (sshfs, s3fs, rclone), the catalog may be damaged"),
            mend,
        ),
        Place::Memory => Check::warn(
            NAME,
            format!(
                "{at}, which is lost with a restart: each run after one reads the state back from the bucket first, and large uploads begin anew"
            ),
            mend,
        ),
    }
}

/// Where what is written ends up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Local,
    Network,
    /// A program decides.
    Unclear,
    Memory,
}

impl Place {
    /// By `f_type` of statfs(2).
    fn of(kind: u64) -> (String, Self) {
        let (name, place) = match kind {
            0xef53 => ("ext4", Self::Local),
            0x5846_5342 => ("XFS", Self::Local),
            0x9123_683e => ("Btrfs", Self::Local),
            0x2fc1_2fc1 => ("ZFS", Self::Local),
            0xf2f5_2010 => ("F2FS", Self::Local),
            0x794c_7630 => ("overlayfs", Self::Local),
            0x0102_1994 => ("tmpfs", Self::Memory),
            0x8584_58f6 => ("ramfs", Self::Memory),
            0x6969 => ("NFS", Self::Network),
            0x517b | 0xfe53_4d42 | 0xff53_4d42 => ("SMB", Self::Network),
            0x0102_1997 => ("9p", Self::Network),
            0x00c3_6400 => ("CephFS", Self::Network),
            0x0bd0_0bd0 => ("Lustre", Self::Network),
            0x5346_414f => ("AFS", Self::Network),
            0x7375_7245 => ("Coda", Self::Network),
            0x4750_4653 => ("GPFS", Self::Network),
            0x1983_0326 => ("BeeGFS", Self::Network),
            0x0116_1970 => ("GFS2", Self::Network),
            0x7461_636f => ("OCFS2", Self::Network),
            0x786f_4256 => ("a shared folder of VirtualBox", Self::Network),
            0x6573_5546 => ("FUSE", Self::Unclear),
            _ => return (format!("a file system of kind {kind:#x}"), Self::Local),
        };
        (name.to_owned(), place)
    }
}

/// The name of a kind of file system, for people.
pub(super) fn kind_name(kind: u64) -> String {
    Place::of(kind).0
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    #[test]
    fn a_catalog_lives_on_no_network() {
        let state = |kind| judge_kind(Path::new("/state"), kind).state;
        for kind in [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x00c3_6400, 0x0bd0_0bd0] {
            assert_eq!(state(kind), CheckState::Fail, "{kind:#x}");
        }
        for kind in [0x6573_5546, 0x0102_1994] {
            assert_eq!(state(kind), CheckState::Warn, "{kind:#x}");
        }
        for kind in [0xef53, 0x5846_5342, 0x9123_683e, 0x1234] {
            assert_eq!(state(kind), CheckState::Ok, "{kind:#x}");
        }
    }

    #[test]
    fn little_room_is_told() {
        const GIB: u64 = 1 << 30;
        let state = |free, size| judge_room("log disk", Path::new("/"), free, size).state;
        assert_eq!(state(GIB - 1, 10 * GIB), CheckState::Warn);
        assert_eq!(state(2 * GIB, 50 * GIB), CheckState::Warn);
        assert_eq!(state(3 * GIB, 50 * GIB), CheckState::Ok);
        assert_eq!(state(100 * GIB, 10_000 * GIB), CheckState::Ok, "a share of a large disk is plenty");
    }

    #[test]
    fn what_is_not_there_yet_is_judged_by_where_it_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("a/b");
        assert_eq!(nearest(&wanted), dir.path());
        assert!(room("state disk", &wanted).message.contains("a/b"));
        assert!(!wanted.exists(), "looking makes nothing");
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
        assert_ne!(room("state disk", Path::new("/proc/none")).state, CheckState::Ok);
    }
}
