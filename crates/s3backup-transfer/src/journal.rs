//! What the caller remembers of multipart uploads, so that a later run can go on with them.

use std::fmt;

use s3backup_model::{FileStat, Key};

use crate::engine::{FileTransfer, Update, on_blocking_thread};
use crate::{ChecksumKind, Error};

/// Why a journal could not be read or written.
pub type JournalError = Box<dyn std::error::Error + Send + Sync>;

/// A multipart upload that is neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// The server's name for it.
    pub upload_id: String,
    /// Size of its parts in bytes, but for the last.
    pub part_size: u64,
    /// The file as it was when the upload was begun.
    pub stat: FileStat,
    /// Which checksum its parts were sent with.
    pub checksum: ChecksumKind,
}

/// Remembers multipart uploads over the end of a run, one for each key.
///
/// Each method is called on a thread that may block. What it says is durable when it returns: a process that is killed
/// then still leaves it behind. A failure of any but [`ended`](Self::ended) fails the file with [`Error::Journal`].
pub trait UploadJournal: Send + Sync + fmt::Debug {
    /// A multipart upload of this key is about to be begun. When nothing follows, one may be open whose id is not
    /// known.
    fn intend(&self, key: &Key) -> Result<(), JournalError>;

    /// It was begun. Takes the place of what was remembered of the key.
    fn begun(&self, key: &Key, upload: &OpenUpload) -> Result<(), JournalError>;

    /// What an earlier run left open for this key. Finding it makes it this run's.
    ///
    /// An object has the metadata, storage class, encryption and tags of when its upload was begun, and nothing shows
    /// them before it is complete: what was begun with other [`ObjectSettings`](crate::ObjectSettings) than the
    /// engine's should be aborted and not be found.
    fn find(&self, key: &Key) -> Result<Option<OpenUpload>, JournalError>;

    /// Nothing is open for this key any more: completed, aborted, or known to be gone.
    fn ended(&self, key: &Key) -> Result<(), JournalError>;
}

impl FileTransfer {
    /// Asks the journal on a blocking thread; `None` when there is none.
    async fn ask_journal<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn UploadJournal, &Key) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let Some(journal) = self.shared.journal.clone() else { return Ok(None) };
        let key = self.key.clone();
        let asked = move || ask(&*journal, &key).map_err(|cause| Error::Journal { key, cause });
        on_blocking_thread(asked).await.map(Some)
    }

    pub(crate) async fn note_intended(&self) -> Result<(), Error> {
        self.ask_journal(|journal, key| journal.intend(key)).await.map(drop)
    }

    pub(crate) async fn note_begun(&self, upload: OpenUpload) -> Result<(), Error> {
        self.ask_journal(move |journal, key| journal.begun(key, &upload)).await.map(drop)
    }

    pub(crate) async fn find_in_journal(&self) -> Result<Option<OpenUpload>, Error> {
        Ok(self.ask_journal(|journal, key| journal.find(key)).await?.flatten())
    }

    /// A failure is a warning: the object is not affected, and what is remembered in vain costs the next run one look.
    pub(crate) async fn note_ended(&self) {
        if let Err(error) = self.ask_journal(|journal, key| journal.ended(key)).await {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_line(), ToString::to_string);
            let message = format!(
                "the end of the upload of {} was not recorded, so the next run looks for it in vain: {cause}",
                self.key
            );
            self.say(Update::Warning { message }).await;
        }
    }
}
