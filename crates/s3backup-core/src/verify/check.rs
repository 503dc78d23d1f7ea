//! Looking at one object, until it is clear what is to be said of it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use s3backup_catalog::{FileRow, FileState};
use s3backup_model::FailureKind;
use s3backup_transfer::{
    Bucket, DownloadLimits, Downloaded, Error as TransferError, Expected, ObjectInfo, Pin, ServiceError,
};

use super::judge::{self, Horizon, Judgement, judge};
use super::{Content, Difference, Differs};
use crate::Error;
use crate::backup::Job;
use crate::memory::{Memory, on_blocking_thread};
use crate::state::path_of_row;

/// How often an object is looked at anew because a run changed what should be there.
const LOOKS: u32 = 3;

/// What all objects are looked at with.
pub(super) struct Checker {
    pub(super) job: Arc<Job>,
    pub(super) bucket: Bucket,
    pub(super) memory: Memory,
    pub(super) reading: Reading,
    pub(super) limits: DownloadLimits,
    /// Absent while no run of this job can be going on.
    pub(super) horizon: Option<Horizon>,
}

/// Whether bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Only where nothing else tells.
    Needed,
    /// Of every object.
    All,
    /// Of every object, into a file.
    Restore,
}

/// What is to be said of one object.
pub(super) enum Finding {
    /// It is as it should be; so many bytes of it were read.
    Same {
        read: Option<u64>,
    },
    /// A run put it after the state was read, or took it out of the state.
    Newer,
    Differs(Box<Differing>),
    /// It could not be looked at.
    Unchecked {
        why: String,
        is_network: bool,
    },
}

/// A difference, and the row that it is of.
pub(super) struct Differing {
    pub(super) difference: Difference,
    pub(super) row: FileRow,
}

impl Checker {
    /// Looks at an object of which the listing said nothing good. The job's own runs may work meanwhile.
    ///
    /// # Errors
    /// What every other object would fail for as well.
    pub(super) async fn check(&self, row: FileRow, is_as_listed: bool) -> Result<Finding, Error> {
        let (mut row, mut is_as_listed) = (row, is_as_listed);
        for _ in 0..LOOKS {
            let looked = self.look(&row, is_as_listed).await;
            let finding = match looked {
                Ok(finding) => finding,
                Err(error) if error.is_fatal() => return Err(Error::Transfer(error)),
                Err(error) => unchecked(&error),
            };
            let Finding::Differs(_) = finding else { return Ok(finding) };
            let (source, path) = (row.source, row.path.clone());
            match self.memory.with(move |catalog| catalog.file(source, &path)).await? {
                Some(now) if now == row => return Ok(finding),
                Some(now) if now.state != FileState::Gone => (row, is_as_listed) = (now, false),
                _ => return Ok(Finding::Newer),
            }
        }
        Ok(Finding::Unchecked { why: "it keeps changing".to_owned(), is_network: false })
    }

    async fn look(&self, row: &FileRow, is_as_listed: bool) -> Result<Finding, TransferError> {
        if !is_as_listed {
            let Some(info) = self.bucket.head(&row.key).await? else { return self.missing(row).await };
            match judge(row, &info) {
                Judgement::Same if row.state == FileState::Doubtful && self.reading == Reading::Needed => {
                    let note = "it was found to differ before, and no run has sent it again yet".to_owned();
                    return Ok(differs(self, row, Differs::Content, Some(judge::found(&info)), Some(note)));
                }
                Judgement::Same => {}
                Judgement::Different(what) => return self.other(row, what, &info, judge::found(&info)).await,
                // Our own version would say nothing of what somebody may have put over it.
                Judgement::Untold => return self.read(row, false).await,
            }
        }
        match self.reading {
            Reading::Needed => Ok(Finding::Same { read: None }),
            Reading::All | Reading::Restore => self.read(row, true).await,
        }
    }

    /// Reads the object's bytes: of the version that was put, or of whatever is there.
    async fn read(&self, row: &FileRow, is_pinned: bool) -> Result<Finding, TransferError> {
        let version_id = row.version_id.clone().filter(|_| is_pinned);
        let pin = Pin { version_id, etag: None };
        let mut read = self.fetch(row, &pin).await;
        if matches!(&read, Ok(read) if !is_proved(row, read)) {
            // What was damaged on the way comes whole the second time; what rotted does not.
            read = self.fetch(row, &pin).await;
        }
        let error = match read {
            Ok(read) if is_proved(row, &read) => return Ok(Finding::Same { read: Some(read.size) }),
            Ok(read) => return self.read_otherwise(row, read).await,
            Err(error) => error,
        };
        if !(is_gone(&error) || is_unreadable(&error)) {
            return Err(error);
        }
        let Some(info) = self.bucket.head(&row.key).await? else { return self.missing(row).await };
        match judge(row, &info) {
            Judgement::Different(what) => self.other(row, what, &info, judge::found(&info)).await,
            _ if is_gone(&error) && is_pinned && row.version_id.is_some() => {
                Ok(differs(self, row, Differs::VersionGone, Some(judge::found(&info)), None))
            }
            _ if is_gone(&error) => Err(error),
            _ => {
                let (found, note) = (judge::found(&info), error.to_line());
                Ok(differs(self, row, Differs::Unreadable, Some(found), Some(note)))
            }
        }
    }

    async fn fetch(&self, row: &FileRow, pin: &Pin) -> Result<Downloaded, TransferError> {
        if self.reading != Reading::Restore {
            return self.bucket.hash_object(&row.key, pin, &self.limits).await;
        }
        let of_io = |cause| TransferError::NotWritten { key: row.key.clone(), cause };
        let made = on_blocking_thread(tempfile::tempfile).await;
        let file = made.map_err(|error| TransferError::Defect(error.to_string()))?.map_err(of_io)?;
        let file = Arc::new(file);
        // What the bytes are is for the caller to compare.
        let expected = Expected { size: row.stored_size, crc64nvme: None };
        let into = Arc::clone(&file);
        let downloaded = self.bucket.download_into(&row.key, pin, &expected, into, &self.limits).await?;
        let size = file.metadata().map_err(of_io)?.len();
        Ok(Downloaded { size, ..downloaded })
    }

    /// The bytes were read twice and are not those that should be there.
    async fn read_otherwise(&self, row: &FileRow, read: Downloaded) -> Result<Finding, TransferError> {
        if judge::crc64nvme(row).is_none() && row.state != FileState::Doubtful && read.size == row.stored_size
        {
            let why = "its bytes were read, and nothing is known to compare them with".to_owned();
            return Ok(Finding::Unchecked { why, is_network: false });
        }
        let Some(info) = self.bucket.head(&row.key).await? else { return self.missing(row).await };
        let what = if read.size == row.stored_size { Differs::Content } else { Differs::Size };
        let found = Content { size: read.size, crc64nvme: Some(read.crc64nvme), ..judge::found(&info) };
        if judge(row, &info) != Judgement::Same {
            return self.other(row, what, &info, found).await;
        }
        let note = "the server still shows the checksum or ETag of the right bytes".to_owned();
        Ok(differs(self, row, what, Some(found), Some(note)))
    }

    /// Something else is under the key.
    async fn other(
        &self,
        row: &FileRow,
        what: Differs,
        info: &ObjectInfo,
        found: Content,
    ) -> Result<Finding, TransferError> {
        if self.is_newer(info) {
            return Ok(Finding::Newer);
        }
        let (what, note) = match &row.version_id {
            Some(version)
                if row.state != FileState::Doubtful && Some(version) != info.version_id.as_ref() =>
            {
                match self.bucket.head_version(&row.key, Some(version)).await {
                    Ok(None) => (Differs::VersionGone, None),
                    Ok(Some(_)) => {
                        let note = format!("overwritten by somebody; our version {version} is still there");
                        (what, Some(note))
                    }
                    Err(error) if refuses_versions(&error) => (what, None),
                    Err(error) => return Err(error),
                }
            }
            _ => (what, None),
        };
        Ok(differs(self, row, what, Some(found), note))
    }

    async fn missing(&self, row: &FileRow) -> Result<Finding, TransferError> {
        let note = match &row.version_id {
            Some(version) if row.state != FileState::Doubtful => {
                match self.bucket.head_version(&row.key, Some(version)).await {
                    Ok(there) => {
                        there.map(|_| format!("deleted by somebody; our version {version} is still there"))
                    }
                    Err(error) if refuses_versions(&error) => None,
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        Ok(differs(self, row, Differs::Missing, None, note))
    }

    fn is_newer(&self, info: &ObjectInfo) -> bool {
        self.horizon.as_ref().is_some_and(|horizon| horizon.is_beyond(info))
    }

    /// The file of a row, where its source is configured.
    pub(super) fn local_path(&self, row: &FileRow) -> Option<PathBuf> {
        let root = self.root(row)?;
        Some(root.join(std::ffi::OsStr::from_bytes(&row.path)))
    }

    /// The file of a row as people are shown it.
    pub(super) fn shown_path(&self, row: &FileRow) -> String {
        path_of_row(row, self.root(row))
    }

    fn root(&self, row: &FileRow) -> Option<&std::path::Path> {
        let place = self.memory.place_of(row.source)?;
        Some(self.job.sources.get(place)?.path.as_path())
    }
}

fn differs(
    checker: &Checker,
    row: &FileRow,
    what: Differs,
    found: Option<Content>,
    note: Option<String>,
) -> Finding {
    let difference = Difference {
        key: row.key.clone(),
        path: checker.shown_path(row),
        what,
        expected: judge::expected(row),
        found,
        note,
        repair: None,
    };
    Finding::Differs(Box::new(Differing { difference, row: row.clone() }))
}

fn is_proved(row: &FileRow, read: &Downloaded) -> bool {
    read.size == row.stored_size && judge::crc64nvme(row) == Some(&read.crc64nvme)
}

/// The object was taken away, or overwritten, while it was read.
fn is_gone(error: &TransferError) -> bool {
    matches!(error, TransferError::VersionGone { .. })
        || error.service().is_some_and(ServiceError::is_not_found)
}

/// The server does not give the bytes. Where it answers otherwise, they cannot be read.
fn is_unreadable(error: &TransferError) -> bool {
    matches!(error.kind(), FailureKind::Server | FailureKind::Network | FailureKind::Checksum)
}

/// A server without versions need not know how to be asked for one.
fn refuses_versions(error: &TransferError) -> bool {
    error.service().is_some_and(|refusal| refusal.is_denied() || matches!(refusal.status, 400 | 501))
}

fn unchecked(error: &TransferError) -> Finding {
    Finding::Unchecked { why: error.to_line(), is_network: error.kind() == FailureKind::Network }
}
