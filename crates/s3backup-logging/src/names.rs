//! The names of the log files: `<kind>_log_<job>_<YYYYMMDD>.log`, and `.1`, `.2` … for what was
//! rotated away.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

/// A job's name may be longer than a file's; 255 bytes is the limit of the usual file systems.
const MAX_JOB_BYTES: usize = 160;

/// The names of one kind of log file of one job.
#[derive(Debug, Clone)]
pub(crate) struct FileNames {
    dir: PathBuf,
    prefix: String,
}

impl FileNames {
    /// `kind` is `info` or `error`.
    pub(crate) fn new(dir: PathBuf, kind: &str, job: &str) -> Self {
        Self { dir, prefix: format!("{kind}_log_{}_", file_name_part(job)) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that lines of this date go to.
    pub(crate) fn current(&self, date: NaiveDate) -> PathBuf {
        self.dir.join(format!("{}{}.log", self.prefix, date.format("%Y%m%d")))
    }

    /// The date of a file of this kind and job, rotated or not; `None` for any other name.
    pub(crate) fn date_of(&self, name: &str) -> Option<NaiveDate> {
        let (date, rest) = name.strip_prefix(&self.prefix)?.split_at_checked(8)?;
        let number = rest.strip_prefix(".log")?;
        let is_ours = match number.strip_prefix('.') {
            None => number.is_empty(),
            Some(digits) => {
                !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
            }
        };
        let is_date = date.bytes().all(|b| b.is_ascii_digit());
        (is_ours && is_date).then(|| NaiveDate::parse_from_str(date, "%Y%m%d").ok()).flatten()
    }
}

/// The file that was rotated away `number` rotations ago.
pub(crate) fn rotated(current: &Path, number: u32) -> PathBuf {
    let mut name = current.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Makes any job name part of a file name: letters and digits of all scripts, `.`, `-` and `_` stay,
/// everything else becomes `%XX`. Two jobs never share a name; only beyond 160 bytes the rest is
/// replaced by its hash.
fn file_name_part(job: &str) -> String {
    let mut part = String::new();
    for c in job.chars() {
        if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') {
            part.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string does not fail.
                let _ = write!(part, "%{byte:02X}");
            }
        }
    }
    if part.len() > MAX_JOB_BYTES {
        let hash = fnv1a(part.as_bytes());
        part.truncate(part.floor_char_boundary(MAX_JOB_BYTES - 17));
        let _ = write!(part, "~{hash:016x}");
    }
    part
}

/// FNV-1a, because the name of a file must be the same after every upgrade of the compiler.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(job: &str) -> FileNames {
        FileNames::new(PathBuf::from("Logs"), "info", job)
    }

    fn date(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn job_names_become_one_path_component() {
        let current = |job: &str| names(job).current(date(2025, 11, 24));
        assert_eq!(current("telemetry"), Path::new("Logs/info_log_telemetry_20251124.log"));
        assert_eq!(current("../a b\n%"), Path::new("Logs/info_log_..%2Fa%20b%0A%25_20251124.log"));
        assert_eq!(current("차량-1"), Path::new("Logs/info_log_차량-1_20251124.log"));
        assert_eq!(current(""), Path::new("Logs/info_log__20251124.log"));
    }

    #[test]
    fn long_job_names_are_cut_and_stay_distinct() {
        let long = "차".repeat(200);
        let one = file_name_part(&format!("{long}1"));
        let two = file_name_part(&format!("{long}2"));
        assert_ne!(one, two);
        assert!(one.len() <= MAX_JOB_BYTES, "{} bytes", one.len());
    }

    #[test]
    fn only_own_names_have_a_date() {
        let names = names("a");
        let mine = |name| names.date_of(name);
        assert_eq!(mine("info_log_a_20251124.log"), Some(date(2025, 11, 24)));
        assert_eq!(mine("info_log_a_20251124.log.12"), Some(date(2025, 11, 24)));
        for stranger in [
            "error_log_a_20251124.log",
            "info_log_b_20251124.log",
            "info_log_a_b_20251124.log",
            "info_log_a_20240101_20251124.log",
            "info_log_a_20251399.log",
            "info_log_a_2025112.log",
            "info_log_a_+2025112.log",
            "info_log_a_20251124.log.gz",
            "info_log_a_20251124.log.",
            "info_log_a_20251124.log.01",
            "info_log_a_20251124.log1",
            "info_log_a_20251124.txt",
            "info_log_a_차차차.log",
        ] {
            assert_eq!(mine(stranger), None, "{stranger}");
        }
    }
}
