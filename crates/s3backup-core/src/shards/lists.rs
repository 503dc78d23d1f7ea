//! The lists of a shard: read, checked, and each line looked up on this machine.
//!
//! A list comes from a bucket in which others may write. Its lines name files, and no more than names is believed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::Bytes;
use s3backup_catalog::{FileRow, FileState};
use s3backup_discovery::Lookup;
use s3backup_model::{
    Entry, Failure, FailureKind, Fatal, Key, KnownObject, RunId, ShardLine, ShardList, key,
};
use s3backup_transfer::{Bucket, Known, Upload, crc64nvme_base64};
use tokio::sync::mpsc;

use super::earlier::Files;
use super::{Place, list_name};
use crate::backup::Job;
use crate::memory::on_blocking_thread;
use crate::planning::known_of;
use crate::start::fatal_of;
use crate::state::Lines;

/// Lines that are handed over at a time.
const BATCH: usize = 256;

/// Batches that wait for the worker.
pub(crate) const BATCHES_AHEAD: usize = 4;

/// What becomes of a line.
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large kind, and a batch is bounded")]
pub(crate) enum Listed {
    /// The file is to be sent, or read to see whether it must be.
    Upload(Upload),
    /// An earlier attempt proved it to be in the bucket as it is now.
    Done { bytes: u64 },
    /// It cannot be backed up.
    Fail { bytes: u64, failure: Failure },
}

/// Some lines, or why there are no more although the lists have not ended.
pub(crate) type Batch = Result<Vec<Listed>, Fatal>;

/// Reads the lists of one shard, one after the other.
pub(crate) struct Reader {
    pub(crate) bucket: Bucket,
    pub(crate) place: Place,
    pub(crate) run: RunId,
    pub(crate) shard: u32,
    pub(crate) lists: Vec<ShardList>,
}

impl Reader {
    /// Hands all lines over, until nobody takes them any more. Dropping the future ends it.
    pub(crate) async fn hand_over(self, job: Arc<Job>, files: Option<Files>, batches: mpsc::Sender<Batch>) {
        let looker = Looker { job, files, lookups: BTreeMap::new(), batches: batches.clone() };
        if let Err(fatal) = self.read(looker).await {
            // Nobody listens only when the worker is being dropped.
            let _ = batches.send(Err(fatal)).await;
        }
    }

    async fn read(self, mut looker: Looker) -> Result<(), Fatal> {
        for (number, list) in self.lists.iter().enumerate() {
            let name = list_name(&self.run, self.shard, number);
            let damaged = |why: &str| damaged(&name, why);
            let read = self.place.read(&self.bucket, &name).await.map_err(|error| fatal_of(&error))?;
            let bytes = read.ok_or_else(|| damaged("it is missing"))?;
            if crc64nvme_base64(&bytes) != list.crc64nvme {
                return Err(damaged("its bytes are not those that were stored"));
            }
            let (name, lines) = (name.clone(), list.lines);
            let looking = on_blocking_thread(move || {
                looker.look(&name, &bytes, lines).map(|is_wanted| (looker, is_wanted))
            });
            let (back, is_wanted) = looking.await.map_err(|error| fatal_of(&error))??;
            looker = back;
            if !is_wanted {
                return Ok(());
            }
        }
        on_blocking_thread(move || looker.close()).await.map_err(|error| fatal_of(&error))?
    }
}

fn damaged(name: &str, why: &str) -> Fatal {
    let message = format!("the list {name} of this shard cannot be used: {why}. Plan the run again");
    Fatal { kind: FailureKind::Other, message }
}

/// Looks the lines up. All of it blocks.
struct Looker {
    job: Arc<Job>,
    files: Option<Files>,
    /// The sources that lines were of so far.
    lookups: BTreeMap<usize, Lookup>,
    batches: mpsc::Sender<Batch>,
}

impl Looker {
    /// Goes through a list; `false` when nobody takes the lines any more.
    fn look(&mut self, name: &str, bytes: &Bytes, lines: u64) -> Result<bool, Fatal> {
        let damaged = |why: String| damaged(name, &why);
        let mut open = Lines::open(bytes).map_err(damaged)?;
        if open.header.min_reader > s3backup_model::ShardPlan::SCHEMA {
            return Err(damaged("it was written by a newer version: update s3backup".to_owned()));
        }
        let mut count = 0;
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(line) = open.next::<ShardLine>().map_err(damaged)? {
            count += 1;
            if count > lines {
                break;
            }
            batch.push(self.line(line)?);
            if batch.len() == BATCH {
                let batch = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                if self.batches.blocking_send(Ok(batch)).is_err() {
                    return Ok(false);
                }
            }
        }
        if count != lines {
            return Err(damaged(format!("it has not the {lines} lines that the plan says")));
        }
        Ok(self.batches.blocking_send(Ok(batch)).is_ok())
    }

    fn line(&mut self, line: ShardLine) -> Result<Listed, Fatal> {
        let lookup = match self.lookups.entry(line.source) {
            Slot::Occupied(opened) => opened.into_mut(),
            Slot::Vacant(place) => place.insert(open(&self.job, line.source)?),
        };
        let found = lookup.find(&key::unescape(&line.path));
        let keyed = found.and_then(|entry| Ok((self.job.naming.key_of(&entry)?, entry)));
        match keyed {
            Ok((key, entry)) => self.file(entry, key, line),
            Err(failure) => Ok(Listed::Fail { bytes: line.size, failure }),
        }
    }

    fn file(&self, entry: Entry, key: Key, line: ShardLine) -> Result<Listed, Fatal> {
        let path = entry.relative.as_os_str().as_bytes();
        let row = match &self.files {
            Some(files) => files.get(entry.source, path).map_err(|error| fatal_of(&error.into()))?,
            None => None,
        };
        let row = row.filter(|row| row.key == key && row.state == FileState::Present);
        let stat = entry.stat;
        let is_same =
            |row: &FileRow| (row.size, row.mtime_ns, row.mode) == (stat.size, stat.mtime_ns, stat.mode);
        if row.as_ref().is_some_and(is_same) {
            return Ok(Listed::Done { bytes: stat.size });
        }
        let planned = || line.known.filter(|_| line.key == key).map(known_object);
        let known = row.map(|row| known_of(&row)).or_else(planned);
        // An attempt of which nothing was heard may have replaced it.
        let known = known.map(|known| Known { is_unsettled: true, ..known });
        let follow_symlinks = self.job.follows_symlinks(entry.source);
        let file_id = self.job.naming.file_id(&entry);
        Ok(Listed::Upload(Upload { entry, key, file_id, follow_symlinks, known, hold: false }))
    }

    /// A source that went away meanwhile has taken its files with it: they are not what is wrong.
    fn close(self) -> Result<(), Fatal> {
        self.lookups.into_values().try_for_each(Lookup::close).map_err(source_missing)
    }
}

fn open(job: &Job, source: usize) -> Result<Lookup, Fatal> {
    let found = job.discovery_sources(&[], None).into_iter().nth(source).ok_or_else(|| {
        format!("the plan has files of source {source}, counted from 0, and there are fewer here: workers need the backup.toml of the plan")
    });
    found.and_then(open_mounted).map_err(source_missing)
}

/// The plan has files in it: where nothing is in it now, a worker must not call each of them gone.
fn open_mounted(source: s3backup_discovery::Source) -> Result<Lookup, String> {
    let path = source.path.clone();
    let lookup = Lookup::open(source)?;
    let is_empty = std::fs::read_dir(&path).is_ok_and(|mut names| names.next().is_none());
    if is_empty {
        let path = key::escape(path.as_os_str().as_bytes());
        return Err(format!(
            "the source `{path}` is empty here, and the plan has files in it: is its disk mounted on this machine?"
        ));
    }
    Ok(lookup)
}

fn source_missing(message: String) -> Fatal {
    Fatal { kind: FailureKind::SourceMissing, message }
}

fn known_object(known: KnownObject) -> Known {
    Known {
        size: known.size,
        crc64nvme: known.crc64nvme,
        checksum: known.stored_checksum,
        etag: known.etag,
        version_id: known.version_id,
        is_doubtful: known.is_doubtful,
        is_unsettled: false,
    }
}
