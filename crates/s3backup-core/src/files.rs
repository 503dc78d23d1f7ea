//! What is backed up: the files of a state, one after the other.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use s3backup_catalog::{FileRow, FileState};
use s3backup_model::{Key, RunId, key};
use serde::Serialize;

use crate::Error;
use crate::backup::{Backup, Job};
use crate::selection::Selection;
use crate::state::path_of_row;
use crate::view::{At, View};

/// Rows that are read at a time.
const PAGE: usize = 1024;

/// One file of a backup.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BackedUp {
    /// Its key.
    pub key: Key,
    /// The part of the key below the destination's prefix: the name that `restore` takes.
    pub name: String,
    /// The local path from which it was backed up, escaped as keys are.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Modification time, in the job's time zone.
    pub mtime: DateTime<FixedOffset>,
    /// `st_mode`.
    pub mode: u32,
    /// CRC64NVME of its bytes, base64; empty where it is not known.
    pub crc64nvme: String,
    /// The object's ETag, without quotes.
    pub etag: String,
    /// The object's version, where the bucket has versioning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The run that put the object.
    pub run: RunId,
    /// `present`, `doubtful` (the next run sends it again) or `pruned` (removed from its source by prune, kept here).
    pub state: &'static str,
}

/// The files of a state, in the order of their keys.
pub struct Files {
    pub(crate) job: Arc<Job>,
    pub(crate) view: View,
    pub(crate) selection: Selection,
    after: Option<Key>,
    is_over: bool,
}

impl Backup {
    /// The files that are backed up, now or as it was. `paths` says which: files, directories and globs, matched against
    /// [`BackedUp::name`], or against [`BackedUp::path`] where one begins with a slash; none for all.
    ///
    /// Reads the catalog where it is up to date, and else the bucket alone. Changes nothing and takes no lock.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a malformed glob, [`Error::Transfer`] and [`Error::Manifest`] when the bucket cannot be read,
    /// [`Error::NoState`] when there is no backup.
    pub async fn files(&self, at: &At, paths: &[String]) -> Result<Files, Error> {
        let selection = Selection::new(paths)?;
        let view = View::open(&self.job, at).await?;
        Ok(Files { job: Arc::clone(&self.job), view, selection, after: None, is_over: false })
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("selection", &self.selection).finish_non_exhaustive()
    }
}

impl Files {
    /// The next of them, some hundreds at a time; `None` at the end. A page may be empty.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<BackedUp>>, Error> {
        let rows = self.next_rows().await?;
        Ok(rows.map(|rows| rows.iter().map(|(row, name, path)| shown(&self.job, row, name, path)).collect()))
    }

    /// What was asked for and matched nothing, once all were taken.
    pub fn unmatched(&self) -> Vec<String> {
        self.selection.unmatched()
    }

    /// The next rows, each with its name and its path.
    pub(crate) async fn next_rows(&mut self) -> Result<Option<Vec<(FileRow, String, String)>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let (destination, after) = (self.view.memory.destination, self.after.clone());
        let rows =
            self.view.memory.with(move |catalog| catalog.state_by_key(destination, after.as_ref(), PAGE));
        let rows = rows.await?;
        self.is_over = rows.len() < PAGE;
        self.after = rows.last().map(|row| row.key.clone());
        let named = rows.into_iter().filter_map(|row| {
            // A key outside of the prefix can only come from a manifest that was tampered with; restore says so.
            let name = self.job.naming.below_destination(&row.key).unwrap_or(row.key.as_str()).to_owned();
            let place = self.view.memory.place_of(row.source).and_then(|place| self.job.sources.get(place));
            let path = path_of_row(&row, place.map(|source| source.path.as_path()));
            self.selection.takes(&name, &path).then_some((row, name, path))
        });
        Ok(Some(named.collect()))
    }
}

fn shown(job: &Job, row: &FileRow, name: &str, path: &str) -> BackedUp {
    let mtime = DateTime::from_timestamp_nanos(row.mtime_ns);
    BackedUp {
        key: row.key.clone(),
        name: name.to_owned(),
        path: path.to_owned(),
        size: row.size,
        mtime: mtime.with_timezone(&job.timezone).fixed_offset(),
        mode: row.mode,
        crc64nvme: row.crc64nvme.clone(),
        etag: row.etag.clone(),
        version_id: row.version_id.clone(),
        run: row.run.clone(),
        state: match row.state {
            FileState::Present | FileState::Gone => "present",
            FileState::Doubtful => "doubtful",
            FileState::LocallyPruned => "pruned",
        },
    }
}

/// The bytes of each part of a name, if they are those of a file below a directory and of nothing else.
pub(crate) fn components(name: &str) -> Option<Vec<Vec<u8>>> {
    let parts: Vec<Vec<u8>> = name.split('/').map(key::unescape).collect();
    let is_plain = |part: &Vec<u8>| {
        !part.is_empty() && part != b"." && part != b".." && !part.contains(&0) && !part.contains(&b'/')
    };
    parts.iter().all(is_plain).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_elsewhere() {
        assert_eq!(components("a/b%FF"), Some(vec![b"a".to_vec(), b"b\xff".to_vec()]));
        for name in
            ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "%2E%2E/a", "a%2Fb", "..%2Fa", "a%00"]
        {
            assert_eq!(components(name), None, "{name}");
        }
    }
}
