//! What the system lets this process have: open files, and memory.

use std::fs;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use rustix::process::{Resource, getrlimit};
use s3backup_transfer::TransferSettings;

use super::Check;

/// Requests in flight that `concurrency = "auto"` seldom goes beyond.
const USUAL_REQUESTS: u64 = 256;

/// Files that are open beside sockets: the files that are read, the catalog, logs, directories of the walk.
const OTHER_FILES: u64 = 192;

/// What the program takes beside `[transfer] memory`.
const PROGRAM_BYTES: u64 = 64 << 20;

pub(super) fn check(root: &Path, transfer: Option<&TransferSettings>) -> Vec<Check> {
    let requests = transfer.and_then(|transfer| transfer.concurrency);
    let requests = requests.and_then(|count| u64::try_from(count).ok()).unwrap_or(USUAL_REQUESTS);
    let mut checks = vec![judge_files(getrlimit(Resource::Nofile).current, requests)];
    let memory = transfer.map_or(TransferSettings::default().memory_bytes, |transfer| transfer.memory_bytes);
    checks.push(judge_memory(memory_limit(root), memory));
    checks
}

fn judge_files(limit: Option<u64>, requests: u64) -> Check {
    const NAME: &str = "open files";
    let need = requests + OTHER_FILES;
    match limit {
        Some(limit) if limit < need => Check::warn(
            NAME,
            format!(
                "at most {limit} at once, and {requests} requests may need {need}: files then fail with `Too many open files`"
            ),
            "raise it (`ulimit -n 4096`; `LimitNOFILE=4096` in a unit), or lower `[transfer] concurrency`",
        ),
        Some(limit) => Check::ok(NAME, format!("at most {limit} at once")),
        None => Check::ok(NAME, "no limit"),
    }
}

fn judge_memory(limit: Option<u64>, memory: u64) -> Check {
    const NAME: &str = "memory";
    let Some(limit) = limit else { return Check::ok(NAME, "no limit of a control group") };
    let is = format!(
        "the control group allows {}, and `[transfer] memory` is {}",
        ByteSize::b(limit),
        ByteSize::b(memory)
    );
    let mend = "raise the limit (`MemoryMax=` of the unit, `resources.limits.memory` of the container), or lower `[transfer] memory`";
    if limit <= memory {
        Check::fail(NAME, format!("{is}: the kernel kills runs"), mend)
    } else if limit < memory + PROGRAM_BYTES {
        let message = format!(
            "{is}: the program takes some {} beside, so the kernel may kill runs",
            ByteSize::b(PROGRAM_BYTES)
        );
        Check::warn(NAME, message, mend)
    } else {
        Check::ok(NAME, is)
    }
}

/// The least limit of this process's control group and of those around it; `None` where there is none.
fn memory_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    // 0::/system.slice/s3backup.service, or of the first version 9:memory:/docker/…
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let (mount, file) = match (id, controllers) {
            ("0", "") => ("sys/fs/cgroup", "memory.max"),
            (_, "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        let mount = root.join(mount);
        let group = mount.join(path.trim_start_matches('/'));
        let around = group.ancestors().take_while(|dir| dir.starts_with(&mount)).map(PathBuf::from);
        around.filter_map(|dir| read_limit(&dir.join(file))).min()
    });
    limits.min()
}

fn read_limit(file: &Path) -> Option<u64> {
    // The first version writes a number near 2^63 where there is no limit.
    const NO_LIMIT: u64 = 1 << 60;
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn limits_are_held_against_what_runs_need() {
        assert_eq!(judge_files(Some(1024), USUAL_REQUESTS).state, CheckState::Ok);
        assert_eq!(judge_files(Some(256), USUAL_REQUESTS).state, CheckState::Warn);
        assert_eq!(judge_files(None, 1024).state, CheckState::Ok);
        let memory = |limit: Option<u64>| judge_memory(limit.map(|limit| limit * MIB), 64 * MIB).state;
        assert_eq!(memory(None), CheckState::Ok);
        assert_eq!(memory(Some(64)), CheckState::Fail);
        assert_eq!(memory(Some(100)), CheckState::Warn);
        assert_eq!(memory(Some(128)), CheckState::Ok);
    }

    #[test]
    fn the_tightest_group_around_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(memory_limit(root.path()), None);
        write("proc/self/cgroup", "0::/system.slice/s3backup.service\n");
        write("sys/fs/cgroup/system.slice/s3backup.service/memory.max", "max\n");
        assert_eq!(memory_limit(root.path()), None);
        write("sys/fs/cgroup/system.slice/memory.max", "134217728\n");
        assert_eq!(memory_limit(root.path()), Some(128 * MIB));
        write("proc/self/cgroup", "9:memory:/docker/1\n1:name=systemd:/\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_limit(root.path()), None);
        write("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "67108864\n");
        assert_eq!(memory_limit(root.path()), Some(64 * MIB));
    }
}
