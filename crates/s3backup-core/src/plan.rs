//! What is to be done with an entry: a pure function of the entry and of what is known.

use std::os::unix::ffi::OsStrExt;

use chrono::DateTime;
use chrono_tz::Tz;
use s3backup_model::{Entry, Failure, FailureKind, Key, KeyError, Name, key};
use s3backup_transfer::crc64nvme_base64;

use crate::Error;

/// The folder of the control data, below the fixed part of the destination's prefix.
const CONTROL_FOLDER: &str = ".s3backup";

/// What the keys of control data need below the destination's prefix: two names of 64 bytes and the longest of theirs,
/// rounded up.
const RESERVE_BYTES: usize = 256;

/// Why an entry is sent, or read to see whether it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing is known of it. It is not sent when the server shows that it has the same bytes.
    New,
    /// Its size is another than that of what is in the bucket.
    Changed,
    /// Its times, mode or inode are others and its size is the same: it is read, and sent only when its bytes differ.
    Touched,
    /// It was asked that every file be read; it is sent only when its bytes differ.
    Reread,
    /// It was gone and is back; it is sent only when its bytes differ.
    Returned,
    /// What is in the bucket is missing or other than it should be.
    Repair,
}

impl Reason {
    /// The word that `plan` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Touched => "touched",
            Self::Reread => "reread",
            Self::Returned => "returned",
            Self::Repair => "repair",
        }
    }
}

/// Where keys come from: the prefixes of a job.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    destination: String,
    /// One for each source, in order, with `{date}` still in it.
    sources: Vec<String>,
    timezone: Tz,
    /// `PREFIX/.s3backup/`: no data goes there.
    reserved: String,
    /// `PREFIX/.s3backup/<job>/<host>/`.
    control: String,
}

impl Naming {
    pub(crate) fn new(
        destination: &str,
        sources: &[String],
        job: &Name,
        host: &Name,
        timezone: Tz,
    ) -> Result<Self, Error> {
        let fill = |what: &str, template: &str, date_allowed: bool| {
            let filled = template.replace("{job}", job.as_str()).replace("{host}", host.as_str());
            check_template(what, &filled, date_allowed)?;
            Ok::<_, Error>(tidy(&filled))
        };
        let longest = destination.len() + RESERVE_BYTES;
        if longest > key::MAX_KEY_BYTES {
            let why =
                format!("it has {} bytes, which leaves too few for the names below it", destination.len());
            return Err(Error::invalid("[destination] prefix", why));
        }
        let reserved = control_folder(destination);
        Ok(Self {
            destination: fill("[destination] prefix", destination, false)?,
            sources: sources
                .iter()
                .map(|prefix| fill("[[source]] prefix", prefix, true))
                .collect::<Result<_, _>>()?,
            timezone,
            control: format!("{reserved}{job}/{host}/"),
            reserved,
        })
    }

    /// The prefix of all data, placeholders filled in.
    pub(crate) fn destination(&self) -> &str {
        &self.destination
    }

    /// The key of a piece of control data of this job and host.
    pub(crate) fn control_key(&self, name: &str) -> Result<Key, KeyError> {
        Key::new(format!("{}{name}", self.control))
    }

    /// The key of something that is of no job alone.
    pub(crate) fn shared_key(&self, name: &str) -> Result<Key, KeyError> {
        Key::new(format!("{}{name}", self.reserved))
    }

    /// Whether a key is among the backup's own data.
    pub(crate) fn is_reserved(&self, key: &str) -> bool {
        key.starts_with(&self.reserved)
    }

    /// Whether two sources can have files of the same key.
    pub(crate) fn has_shared_prefix(&self, one: usize, other: usize) -> bool {
        self.sources.get(one) == self.sources.get(other)
    }

    /// A source's prefix with `{date}` still in it, which tells the source from the others of the destination.
    pub(crate) fn source_template(&self, place: usize) -> &str {
        self.sources.get(place).map_or("", String::as_str)
    }

    /// The part of a key below the destination's prefix.
    pub(crate) fn below_destination<'k>(&self, key: &'k Key) -> Option<&'k str> {
        let below = key.as_str().strip_prefix(&self.destination)?;
        if self.destination.is_empty() { Some(below) } else { below.strip_prefix('/') }
    }

    /// The files below sources that have this key: the place of the source, and the path below it. More than one where
    /// prefixes lie within each other.
    pub(crate) fn files_of(&self, key: &Key) -> Vec<(usize, Vec<u8>)> {
        let Some(below) = self.below_destination(key) else { return Vec::new() };
        let found = self.sources.iter().enumerate().filter_map(|(place, template)| {
            let name = below_template(below, template)?;
            Some((place, key::unescape(name)))
        });
        found.collect()
    }

    /// The key of an entry, or why it has none.
    pub(crate) fn key_of(&self, entry: &Entry) -> Result<Key, Failure> {
        let fail = |kind, message: String| {
            let path = key::escape(entry.path().as_os_str().as_bytes());
            Err(Failure { path, kind, message, attempts: 1 })
        };
        let source_prefix = self.sources.get(entry.source).map_or("", String::as_str);
        let prefix = join(&self.destination, &self.dated(source_prefix, entry.stat.mtime_ns));
        match Key::for_path(&prefix, entry.relative.as_os_str().as_bytes()) {
            Ok(key) if self.is_reserved(key.as_str()) => fail(
                FailureKind::ReservedKey,
                format!(
                    "its key {key} would be among the backup's own data below {}: rename it, or give the source a prefix",
                    self.reserved
                ),
            ),
            Ok(key) => Ok(key),
            Err(error) => fail(FailureKind::KeyTooLong, error.to_string()),
        }
    }

    /// Tells a file from all others of the job, in every run and wherever its source is mounted: the checksum of its
    /// source's prefix and its path below the source.
    ///
    /// Keys alone do not: the file `b/c` of a source with prefix `a` meets the file `c` of one with prefix `a/b`.
    pub(crate) fn file_id(&self, entry: &Entry) -> String {
        let prefix = self.sources.get(entry.source).map_or("", String::as_str);
        let path = entry.relative.as_os_str().as_bytes();
        crc64nvme_base64(&[prefix.as_bytes(), b"\0", path].concat())
    }

    fn dated(&self, prefix: &str, mtime_ns: i64) -> String {
        if !prefix.contains("{date}") {
            return prefix.to_owned();
        }
        let date = DateTime::from_timestamp_nanos(mtime_ns).with_timezone(&self.timezone).date_naive();
        prefix.replace("{date}", &date.to_string())
    }
}

/// Where the control data of all jobs and hosts below a prefix lies: `PREFIX/.s3backup/`, PREFIX ending before its first
/// segment with a placeholder.
pub(crate) fn control_folder(destination: &str) -> String {
    join(&tidy(fixed_part(destination)), &format!("{CONTROL_FOLDER}/"))
}

/// Whole segments before the first placeholder.
fn fixed_part(prefix: &str) -> &str {
    match prefix.find('{') {
        Some(at) => prefix[..at].rfind('/').map_or("", |slash| &prefix[..slash]),
        None => prefix,
    }
}

/// What is behind a source's prefix, `{date}` standing for a date.
fn below_template<'k>(key: &'k str, template: &str) -> Option<&'k str> {
    const PLACEHOLDER: &str = "{date}";
    let mut rest = key;
    let mut pieces = template.split(PLACEHOLDER);
    rest = rest.strip_prefix(pieces.next()?)?;
    for piece in pieces {
        let date = rest.get(.."2026-11-23".len())?;
        date.parse::<chrono::NaiveDate>().ok()?;
        rest = rest[date.len()..].strip_prefix(piece)?;
    }
    if template.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn check_template(what: &str, filled: &str, date_allowed: bool) -> Result<(), Error> {
    let rest = if date_allowed { filled.replace("{date}", "") } else { filled.to_owned() };
    if rest.contains(['{', '}']) {
        let known = if date_allowed { "{job}, {host} and {date}" } else { "{job} and {host}" };
        return Err(Error::invalid(
            what,
            format!("`{filled}` has an unknown placeholder; known are {known}"),
        ));
    }
    if filled.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Error::invalid(
            what,
            format!("`{filled}` has a segment `.` or `..`, which S3 tools take for a folder"),
        ));
    }
    if filled.chars().any(char::is_control) {
        return Err(Error::invalid(what, "a control character is in it"));
    }
    Ok(())
}

/// Without slashes at the ends and without empty segments.
fn tidy(prefix: &str) -> String {
    prefix.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/")
}

fn join(prefix: &str, rest: &str) -> String {
    match (prefix.is_empty(), rest.is_empty()) {
        (true, _) => rest.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3backup_model::FileStat;
    use std::path::{Path, PathBuf};

    fn naming(destination: &str, source: &str) -> Result<Naming, Error> {
        let name = |text| Name::new(text).unwrap();
        Naming::new(
            destination,
            &[source.to_owned()],
            &name("telemetry"),
            &name("gw-1"),
            chrono_tz::Asia::Seoul,
        )
    }

    fn entry(relative: &str) -> Entry {
        // 2026-11-22T15:30Z is 00:30 of the 23rd in Seoul.
        let mtime_ns = 1_795_361_400_000_000_000;
        let stat = FileStat { size: 1, mtime_ns, ctime_ns: 0, mode: 0o100_644, inode: 1, device: 1 };
        Entry { source: 0, root: Path::new("/data").into(), relative: PathBuf::from(relative), stat }
    }

    fn key_of(destination: &str, source: &str, relative: &str) -> String {
        match naming(destination, source).unwrap().key_of(&entry(relative)) {
            Ok(key) => key.to_string(),
            Err(failure) => format!("{}: {}", failure.kind.as_str(), failure.message),
        }
    }

    #[test]
    fn a_key_leads_back_to_its_file() {
        for (destination, source) in
            [("", ""), ("trips", ""), ("trips", "{date}"), ("t/{host}", "by-{date}/x/{date}"), ("", "a/b")]
        {
            let naming = naming(destination, source).unwrap();
            let key = naming.key_of(&entry("v1/a%41 .json")).unwrap();
            assert_eq!(naming.files_of(&key), [(0, b"v1/a%41 .json".to_vec())], "{key}");
        }
        let naming = naming("trips", "by/{date}").unwrap();
        for stranger in ["other/by/2026-11-23/a", "trips/by/2026-13-23/a", "trips/by/2026-11-23", "trips/a"] {
            assert_eq!(naming.files_of(&Key::new(stranger).unwrap()), [], "{stranger}");
        }
    }

    #[test]
    fn a_key_depends_on_the_file_and_never_on_the_run() {
        assert_eq!(key_of("trips", "", "v1/a.json"), "trips/v1/a.json");
        assert_eq!(key_of("", "", "a"), "a");
        assert_eq!(key_of("/a//b/", "{host}/{job}", "c"), "a/b/gw-1/telemetry/c");
        assert_eq!(key_of("t", "by-day/{date}", "a"), "t/by-day/2026-11-23/a");
    }

    #[test]
    fn control_data_lies_before_the_first_placeholder() {
        let control = |prefix| naming(prefix, "").unwrap().control_key("latest.json").unwrap().to_string();
        assert_eq!(control("trips"), "trips/.s3backup/telemetry/gw-1/latest.json");
        assert_eq!(control("a/{host}/b"), "a/.s3backup/telemetry/gw-1/latest.json");
        assert_eq!(control("a/x-{host}/b"), "a/.s3backup/telemetry/gw-1/latest.json");
        assert_eq!(control("{host}"), ".s3backup/telemetry/gw-1/latest.json");
    }

    #[test]
    fn a_file_never_takes_the_place_of_control_data() {
        assert!(key_of("trips", "", ".s3backup/telemetry/gw-1/latest.json").starts_with("reserved_key"));
        assert!(key_of("trips", ".s3backup", "x").starts_with("reserved_key"));
        assert_eq!(key_of("trips", "sub", ".s3backup/x"), "trips/sub/.s3backup/x");
        assert_eq!(key_of("trips", "", ".s3backupx"), "trips/.s3backupx");
    }

    #[test]
    fn a_key_that_is_too_long_is_a_named_failure() {
        assert!(
            key_of("trips", "", &"x".repeat(1100)).starts_with("key_too_long: the key would have 1106 bytes")
        );
    }

    #[test]
    fn prefixes_that_cannot_be_are_refused() {
        for (destination, source) in
            [("{date}", ""), ("a/{user}", ""), ("", "{Date}"), ("a/../b", ""), ("", "./x"), ("a\n", "")]
        {
            assert!(naming(destination, source).is_err(), "{destination:?} {source:?}");
        }
    }
}
