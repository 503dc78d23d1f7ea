//! Where the lists of shards lie: with the control data, elsewhere in the bucket, or in a directory that the workers share.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use s3backup_model::{Key, RunId};
use s3backup_transfer::Bucket;

use super::{MAX_BYTES, ShardUri};
use crate::Error;
use crate::backup::Job;
use crate::record::Shelf;
use crate::state::control_key;

/// A folder of plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Below this prefix of the destination's bucket, without a slash at its end.
    Bucket(String),
    /// In this directory.
    Directory(PathBuf),
}

impl Place {
    /// Where plans lie unless it is said otherwise: with the control data of the job.
    pub(crate) fn of_job(job: &Job) -> Result<Self, Error> {
        Ok(Self::Bucket(control_key(job, "plans")?.to_string()))
    }

    /// What a person named: `s3://bucket/prefix` in the job's own bucket, or a directory, which has the same name for workers that
    /// are started elsewhere.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another bucket, and for nothing.
    pub(crate) fn named(job: &Job, text: &str) -> Result<Self, Error> {
        let Some(rest) = text.strip_prefix("s3://") else {
            let dir = std::path::absolute(text.strip_prefix("file://").unwrap_or(text));
            let dir = dir.map_err(|error| Error::invalid("the place of the shards", error.to_string()))?;
            return Ok(Self::Directory(dir));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket != job.bucket {
            let why = format!("{text} is in another bucket than the destination, which is {}", job.bucket);
            return Err(Error::invalid("the place of the shards", why));
        }
        Ok(Self::Bucket(prefix.trim_matches('/').to_owned()))
    }

    /// Where the lists of the plan lie that a person named; a run id alone is one of the job's own place.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another bucket, job or host.
    pub(crate) fn of_plan(job: &Job, uri: &ShardUri) -> Result<Self, Error> {
        if let Some((name, host)) = uri.owner()
            && (name, host) != (&job.name, &job.host)
        {
            let why = format!("it is of {name} on {host}, and this is {} on {}", job.name, job.host);
            return Err(Error::invalid("the plan", why));
        }
        match uri.place() {
            "." => Self::of_job(job),
            place => Self::named(job, place),
        }
    }

    /// What names a plan in it.
    pub(crate) fn plan_uri(&self, job: &Job, run: &RunId) -> String {
        match self {
            Self::Bucket(prefix) if prefix.is_empty() => format!("s3://{}/{run}", job.bucket),
            Self::Bucket(prefix) => format!("s3://{}/{prefix}/{run}", job.bucket),
            Self::Directory(dir) => format!("{}/{run}", dir.display()),
        }
    }

    /// Stores a list. In a directory it is there whole or not at all.
    ///
    /// # Errors
    /// [`Error::NotStored`].
    pub(crate) async fn store(&self, control: &Shelf<'_>, name: &str, bytes: Bytes) -> Result<(), Error> {
        match self {
            Self::Bucket(prefix) => {
                let key = key(prefix, name)?;
                let writing = Box::pin(control.bucket.write(&key, bytes, control.checksum, control.sse));
                writing.await.map(|_| ()).map_err(|error| Error::NotStored(error.to_line()))
            }
            Self::Directory(dir) => {
                let path = dir.join(name);
                let writing = crate::memory::on_blocking_thread(move || write(&path, &bytes));
                writing.await?.map_err(|error| Error::NotStored(format!("{}: {error}", dir.display())))
            }
        }
    }

    /// Reads a list; `None` when it is not there.
    ///
    /// # Errors
    /// [`Error::Transfer`], or [`Error::NotRead`] of a directory.
    pub(crate) async fn read(&self, bucket: &Bucket, name: &str) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Bucket(prefix) => {
                let key = key(prefix, name)?;
                Box::pin(bucket.read(&key, MAX_BYTES)).await.map_err(Error::Transfer)
            }
            Self::Directory(dir) => {
                let path = dir.join(name);
                match crate::memory::on_blocking_thread(move || std::fs::read(path)).await? {
                    Ok(bytes) => Ok(Some(bytes.into())),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::NotRead(format!("{}: {error}", dir.display()))),
                }
            }
        }
    }
}

fn key(prefix: &str, name: &str) -> Result<Key, Error> {
    let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    Key::new(key).map_err(|error| Error::invalid("the place of the shards", error.to_string()))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}
