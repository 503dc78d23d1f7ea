//! The file that remembers every change, one JSON record a line.
//!
//! A change is made when its line is complete: a crash before that leaves the old state, and a torn line is skipped
//! at the next start. Nothing is synced to the disk, so the last seconds may be lost when the power fails; what is
//! left is still consistent, since a record whose blob is gone is found out when the blob is read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::object::{Object, Part, Upload};

const FORMAT: u32 = 1;

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Record {
    Format { format: u32 },
    CreateBucket { bucket: String, created: u64 },
    DeleteBucket { bucket: String },
    PutObject { bucket: String, key: String, object: Arc<Object> },
    DeleteObject { bucket: String, key: String },
    StartUpload { bucket: String, upload: Box<Upload> },
    PutPart { bucket: String, upload_id: String, part: Part },
    AbortUpload { bucket: String, upload_id: String },
    CompleteUpload { bucket: String, upload_id: String, object: Arc<Object> },
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    length_bytes: u64,
    records: usize,
    /// Whether the file ends in the middle of a line.
    torn: bool,
}

impl Journal {
    /// Opens or makes the file, and hands each record in it to `apply`.
    pub(crate) fn open(path: PathBuf, mut apply: impl FnMut(Record)) -> Result<Self, Error> {
        let file =
            OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(Error::io(&path))?;
        let mut journal = Self { path, file, length_bytes: 0, records: 0, torn: false };
        journal.read(&mut apply)?;
        Ok(journal)
    }

    fn read(&mut self, apply: &mut impl FnMut(Record)) -> Result<(), Error> {
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(Error::io(&self.path))?;
            if length == 0 {
                break;
            }
            self.length_bytes += length as u64;
            self.records += 1;
            self.torn = !line.ends_with(b"\n");
            match serde_json::from_slice(&line) {
                Ok(Record::Format { format }) if format != FORMAT => {
                    let path = self.path.clone();
                    return Err(Error::Format { path, found: format, supported: FORMAT });
                }
                Ok(Record::Format { .. }) | Err(_) => {}
                Ok(record) => apply(record),
            }
        }
        if self.records == 0 {
            self.append(&Record::Format { format: FORMAT }).map_err(Error::io(&self.path))?;
        }
        Ok(())
    }

    /// How many records the file has, those that are out of date included.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Adds a record; once this returns the change is made.
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = encode(record)?;
        if self.torn {
            // So that this record does not become a part of the torn one.
            line.insert(0, b'\n');
        }
        if let Err(error) = self.file.write_all(&line) {
            // Half a line (a full disk) must not swallow the one that comes after it.
            self.torn = self.file.set_len(self.length_bytes).is_err() || self.torn;
            return Err(error);
        }
        self.torn = false;
        self.length_bytes += line.len() as u64;
        self.records += 1;
        Ok(())
    }

    /// Replaces the file by one that has only `records`. If that fails, the old one stays in use.
    pub(crate) fn rewrite(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let new = Self::write_new(path, records)?;
        fs::rename(&new.path, &self.path)?;
        let path = std::mem::take(&mut self.path);
        *self = Self { path, ..new };
        Ok(())
    }

    fn write_new(path: PathBuf, records: impl Iterator<Item = Record>) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = BufWriter::new(OpenOptions::new().append(true).create_new(true).open(&path)?);
        let (mut length_bytes, mut count) = (0, 0);
        for record in std::iter::once(Record::Format { format: FORMAT }).chain(records) {
            let line = encode(&record)?;
            file.write_all(&line)?;
            length_bytes += line.len() as u64;
            count += 1;
        }
        let file = file.into_inner()?;
        Ok(Self { path, file, length_bytes, records: count, torn: false })
    }
}

fn encode(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names = Vec::new();
        Journal::open(path.to_owned(), |record| {
            if let Record::CreateBucket { bucket, .. } = record {
                names.push(bucket);
            }
        })
        .unwrap();
        names
    }

    fn create(bucket: &str) -> Record {
        Record::CreateBucket { bucket: bucket.into(), created: 0 }
    }

    #[test]
    fn a_torn_line_loses_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(path.clone(), |_| {}).unwrap();
        journal.append(&create("first")).unwrap();
        journal.append(&create("torn")).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        journal.file.set_len(length - 5).unwrap();
        assert_eq!(names(&path), ["first"]);
        Journal::open(path.clone(), |_| {}).unwrap().append(&create("next")).unwrap();
        assert_eq!(names(&path), ["first", "next"]);
    }

    #[test]
    fn a_rewritten_journal_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(path.clone(), |_| {}).unwrap();
        for _ in 0..10 {
            journal.append(&create("again")).unwrap();
        }
        journal.rewrite(std::iter::once(create("once"))).unwrap();
        assert_eq!(journal.records(), 2);
        journal.append(&create("more")).unwrap();
        assert_eq!(names(&path), ["once", "more"]);
    }

    #[test]
    fn a_future_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        fs::write(&path, "{\"op\":\"format\",\"format\":99}\n").unwrap();
        let error = Journal::open(path, |_| {}).unwrap_err();
        assert!(matches!(error, Error::Format { found: 99, .. }), "{error}");
    }
}
