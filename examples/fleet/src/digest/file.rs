//! The digest of a part as a file.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use super::{Digest, VERSION};
use crate::atomic::AtomicFile;
use crate::error::Error;
use crate::part::Part;

/// The most bytes of a digest that are read. All lists full of the longest texts are a quarter of it.
const MOST_BYTES: u64 = 8 << 20;

/// Where the digest of a part is: `digest/date=2026-11-23/part-1-of-1.json`.
pub fn path(results: &Path, day: NaiveDate, part: Part) -> PathBuf {
    crate::tables::folder(results, "digest", day).join(crate::tables::file_name(part, "json"))
}

/// Writes the digest of a part, and removes those of the same day that belong to another number of parts.
///
/// It appears under its name only when it is whole and on the disk.
///
/// # Errors
/// [`Error::Io`] and [`Error::DiskFull`].
pub fn write(results: &Path, digest: &Digest, part: Part) -> Result<(), Error> {
    let path = path(results, digest.day, part);
    let mut file = AtomicFile::create(&path)?;
    serde_json::to_writer(&mut file, digest).map_err(|error| Error::io("write", &path)(error.into()))?;
    file.write_all(b"\n").map_err(Error::io("write", &path))?;
    file.commit()?;
    crate::tables::remove_other_parts(&path, part)
}

/// Reads the digest of a part.
///
/// # Errors
/// [`Error::Io`], and [`Error::Digest`] if it is of another version, another day or not as this program writes them.
pub fn read(results: &Path, day: NaiveDate, part: Part) -> Result<Digest, Error> {
    let path = path(results, day, part);
    let problem = |problem: String| Error::Digest { path: path.clone(), problem };
    let mut text = String::new();
    let file = File::open(&path).map_err(Error::io("read", &path))?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(Error::io("read", &path))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(problem(format!("it is longer than {MOST_BYTES} bytes, which no digest is")));
    }
    let digest = parse(&text).map_err(problem)?;
    if digest.day != day {
        return Err(problem(format!("it is of {}", digest.day)));
    }
    Ok(digest)
}

fn parse(text: &str) -> Result<Digest, String> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("it is of version {version}, and this program knows {VERSION}"));
    }
    let digest: Digest = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let is_bounded = digest.hours.keys().all(|hour| *hour < 24)
        && digest.scores.keys().all(|tenth| *tenth < 10)
        && digest.events.values().flat_map(super::Top::iter).all(super::Event::is_bounded)
        && digest.lowest.iter().all(super::VehicleScore::is_bounded)
        && digest.highest.iter().all(|highest| highest.0.is_bounded())
        && digest.faults.iter().all(super::FileFault::is_bounded);
    if is_bounded { Ok(digest) } else { Err("a value in it is outside of its range".to_owned()) }
}
