//! The catalog as its callers see it. What each method does in SQL is in [`crate::sql`].

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, TransactionBehavior};
use s3backup_model::manifest::Line;
use s3backup_model::{DueState, Key, RunId, RunSummary, Tally, Trouble as TroubleName};

use crate::error::Error;
use crate::rows::{
    BegunUpload, Deferred, DestinationId, DueRow, FileRow, FileState, Hints, Known, Listed, RunRow, SourceId,
    SourceRow, UploadRow, VersionRow,
};
use crate::sql::{self, Trouble};
use crate::telling::{AlertRow, AlertsWaiting, Settled, Telling, TroubleRow};

/// What a job remembers, in one `SQLite` file.
///
/// All methods block. Those that write return when what they wrote survives a loss of power, and write all of what they
/// were given or nothing. One process writes at a time, which [`JobLock`](crate::JobLock) is for; others may read meanwhile
/// with a catalog of their own on the same file. Only what has to do with alerts is also written without the lock: each
/// such call is one transaction, and two processes never get the same alert to deliver at once.
///
/// A file that turns out to be damaged is [`Error::Corrupt`] from whichever method meets it.
pub struct Catalog {
    connection: Connection,
    path: PathBuf,
    is_new: bool,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Opens the catalog, or makes it where no file is, with the directories above it (mode 0700).
    ///
    /// A file of an older version is brought up to date. Memory stays below some 12 MiB, whatever the number of files.
    ///
    /// Errors are [`Error::Newer`], [`Error::Corrupt`], [`Error::Io`] for the directories, and [`Error::Sqlite`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        if let Some(dir) = path.parent() {
            make_private_dir(dir)?;
        }
        let mut opened = sql::open(path).map_err(|trouble| trouble.at(path))?;
        let is_new = sql::migrate(&mut opened).map_err(|trouble| trouble.at(path))?;
        Self::ready(opened, path.to_owned(), is_new)
    }

    /// A catalog in an unnamed temporary file, which is gone when this is dropped. Nothing in it survives the process.
    ///
    /// The file is made where `SQLite` makes temporary ones: `SQLITE_TMPDIR`, `TMPDIR`, `/var/tmp`, `/tmp`.
    pub fn temporary() -> Result<Self, Error> {
        let path = PathBuf::from("(temporary)");
        let mut opened = sql::open_temporary().map_err(|trouble| trouble.at(&path))?;
        let is_new = sql::migrate(&mut opened).map_err(|trouble| trouble.at(&path))?;
        Self::ready(opened, path, is_new)
    }

    fn ready(connection: Connection, path: PathBuf, is_new: bool) -> Result<Self, Error> {
        let catalog = Self { connection, path, is_new };
        catalog.with(sql::notes::make_tables)?;
        catalog.with(sql::versions::make_table)?;
        Ok(catalog)
    }

    /// Reads the whole file and looks whether it is well formed: seconds for millions of files. What is wrong with it, if
    /// anything is.
    pub fn check(&self) -> Result<Option<String>, Error> {
        self.with(sql::check)
    }

    /// Whether this call to [`Catalog::open`] made it: there was no file, or an empty one.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// A small named value.
    pub fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        self.with(|connection| sql::places::setting(connection, name))
    }

    /// Sets a small named value.
    pub fn set_setting(&self, name: &str, value: &str) -> Result<(), Error> {
        self.with(|connection| sql::places::set_setting(connection, name, value))
    }

    /// The id of a destination, which is made when it is not known. `endpoint` is empty for AWS.
    pub fn destination(&self, endpoint: &str, bucket: &str, prefix: &str) -> Result<DestinationId, Error> {
        self.with(|connection| sql::places::destination(connection, endpoint, bucket, prefix))
    }

    /// The id of the source with this prefix template below the destination, which is made when it is not known.
    ///
    /// `root` is the directory where it is now, escaped as keys are. A source whose directory moved keeps its id.
    pub fn source(&self, destination: DestinationId, prefix: &str, root: &str) -> Result<SourceId, Error> {
        self.with(|connection| sql::places::source(connection, destination, prefix, root))
    }

    /// The sources of a destination, oldest first.
    pub fn sources(&self, destination: DestinationId) -> Result<Vec<SourceRow>, Error> {
        self.with(|connection| sql::places::sources(connection, destination))
    }

    /// What is known of the next files of a source behind `after` in walk order (`None`: from the start), at most `limit`,
    /// whatever their state. `out` is cleared first; on an error it holds a part.
    ///
    /// Walk order is that of a depth-first walk which sorts the names in each directory by their bytes, files and
    /// directories mixed.
    pub fn known(
        &self,
        source: SourceId,
        after: Option<&[u8]>,
        limit: usize,
        out: &mut Vec<Known>,
    ) -> Result<(), Error> {
        self.with(|connection| sql::files::known(connection, source, after, limit, out))
    }

    /// All that is known of a file.
    pub fn file(&self, source: SourceId, path: &[u8]) -> Result<Option<FileRow>, Error> {
        self.with(|connection| sql::files::file(connection, source, path))
    }

    /// The file whose bytes are under `key`. Where files that are gone had the key before, it is the one that has it now;
    /// a file that is gone only if none has.
    pub fn file_of_key(&self, destination: DestinationId, key: &Key) -> Result<Option<FileRow>, Error> {
        self.with(|connection| sql::files::file_of_key(connection, destination, key))
    }

    /// The next files of the state behind `after`, in byte order of their keys, at most `limit`. A key comes once.
    pub fn state_by_key(
        &self,
        destination: DestinationId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        self.with(|connection| sql::files::state_by_key(connection, destination, after, limit))
    }

    /// Stores files, in place of what was known of them. They become unlisted: not yet in a stored manifest.
    ///
    /// An object holds one file. A row of the state therefore takes the place of another file's that had the same key:
    /// what that one says of the object is no longer true, and a file that is still in its source must be found to be
    /// unknown rather than unchanged.
    ///
    /// Errors with [`Error::Refused`], and stores nothing, when a row breaks a rule of [`FileRow`] or its source is not
    /// known.
    pub fn put_files(&mut self, rows: &[FileRow]) -> Result<(), Error> {
        self.write(|connection| sql::files::put(connection, rows, false))
    }

    /// As [`Catalog::put_files`], for files that a run proved to be in the bucket, each with whether it sent them. One that it
    /// did not send keeps the run that is known to have put its object, if the ETag is still the same.
    ///
    /// Gives what was known of files whose key is another now.
    pub fn put_proved(&mut self, rows: &[(FileRow, bool)]) -> Result<Vec<FileRow>, Error> {
        self.write(|connection| sql::files::put_proved(connection, rows))
    }

    /// As [`Catalog::put_files`], for rows that come from the bucket: they are listed.
    pub fn import_files(&mut self, rows: &[FileRow]) -> Result<(), Error> {
        self.write(|connection| sql::files::put(connection, rows, true))
    }

    /// Sets the state of files. They become unlisted, but for [`FileState::Doubtful`], of which manifests say nothing. A
    /// file that is not known is passed over.
    ///
    /// Errors with [`Error::KeyTaken`], and changes nothing, when a file that was gone would come back to an object that
    /// holds another file by now.
    pub fn set_states(&mut self, files: &[(SourceId, Vec<u8>)], state: FileState) -> Result<(), Error> {
        self.write(|connection| sql::files::set_states(connection, files, state))
    }

    /// Notes what the file system says of files that are known otherwise. A file that is not known is passed over.
    pub fn set_hints(&mut self, source: SourceId, files: &[(Vec<u8>, Hints)]) -> Result<(), Error> {
        self.write(|connection| sql::files::set_hints(connection, source, files))
    }

    /// Notes that files are too young for this run. `true` for those that were so in every run for `patience`: they have
    /// waited long enough, and their waiting begins anew.
    pub fn wait_for_young(
        &mut self,
        source: SourceId,
        paths: &[Vec<u8>],
        run: &RunId,
        now: DateTime<Utc>,
        patience: TimeDelta,
    ) -> Result<Vec<bool>, Error> {
        self.write(|connection| sql::young::wait(connection, source, paths, run, now, patience))
    }

    /// Forgets the files of a destination that were not too young in this run.
    pub fn forget_young(&mut self, destination: DestinationId, run: &RunId) -> Result<(), Error> {
        self.write(|connection| sql::young::forget_others(connection, destination, run))
    }

    /// Forgets files.
    pub fn remove_files(&mut self, files: &[(SourceId, Vec<u8>)]) -> Result<(), Error> {
        self.write(|connection| sql::files::remove(connection, files))
    }

    /// The next unlisted files behind `after`, by source and then in walk order, at most `limit`. Where there are none because
    /// all were marked nothing is read, else every row up to the last that is given.
    pub fn unlisted(
        &self,
        destination: DestinationId,
        after: Option<(SourceId, &[u8])>,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        self.with(|connection| sql::files::unlisted(connection, destination, after, limit))
    }

    /// Makes all unlisted files of the destination listed. Takes the same time however many they are. What a crash leaves
    /// unlisted is listed twice, which does no harm.
    pub fn mark_listed(&mut self, destination: DestinationId) -> Result<(), Error> {
        self.write(|connection| sql::files::mark_listed(connection, destination))
    }

    /// Forgets all files and sources of a destination. The ids of the sources are of no use afterwards.
    pub fn forget_files(&mut self, destination: DestinationId) -> Result<(), Error> {
        self.write(|connection| sql::files::forget(connection, destination))
    }

    /// Files of the state. Reads every row.
    pub fn count(&self, destination: DestinationId) -> Result<Tally, Error> {
        self.with(|connection| sql::files::count(connection, destination))
    }

    /// Files that should be in the source: present and doubtful ones. Reads every row of the source.
    pub fn count_source(&self, source: SourceId) -> Result<Tally, Error> {
        self.with(|connection| sql::files::count_source(connection, source))
    }

    /// At most `n` files of the state, picked at random, each as likely as any other, in random order. The same `seed` on
    /// the same files picks the same. Reads every row.
    pub fn sample(&self, destination: DestinationId, n: usize, seed: u64) -> Result<Vec<FileRow>, Error> {
        self.with(|connection| sql::files::sample(connection, destination, n, seed))
    }

    /// Notes files as missing from their source, for [`Catalog::apply_gone`]. Notes live as long as this value.
    pub fn note_gone(&mut self, source: SourceId, paths: &[Vec<u8>]) -> Result<(), Error> {
        self.note(|connection| sql::notes::note_gone(connection, source, paths))
    }

    /// Makes the next noted files of the source gone, at most `limit`, and gives them as they are now. Noted files that
    /// are gone or pruned already, or not known, are passed over. Empty when all notes of the source are used up.
    pub fn apply_gone(&mut self, source: SourceId, limit: usize) -> Result<Vec<FileRow>, Error> {
        self.write(|connection| sql::notes::apply_gone(connection, source, limit))
    }

    /// Drops the notes of missing files of the source.
    pub fn drop_gone(&mut self, source: SourceId) -> Result<(), Error> {
        self.note(|connection| sql::notes::drop_gone(connection, source))
    }

    /// Notes files to be sent later in the run. Notes live as long as this value.
    pub fn defer(&mut self, files: &[Deferred]) -> Result<(), Error> {
        self.note(|connection| sql::notes::defer(connection, files))
    }

    /// The next files that were noted to be sent later, each with its number, in the order in which they were noted, at
    /// most `limit`. Numbers count from 1; `after` is the last one that was seen, 0 at first.
    pub fn deferred(&self, after: i64, limit: usize) -> Result<Vec<(i64, Deferred)>, Error> {
        self.with(|connection| sql::notes::deferred(connection, after, limit))
    }

    /// Drops the notes of files to be sent later. Numbers start at 1 again.
    pub fn clear_deferred(&mut self) -> Result<(), Error> {
        self.note(sql::notes::clear_deferred)
    }

    /// Notes objects of the bucket: key, size in bytes and ETag. A key that is noted again replaces the earlier note.
    /// Notes live as long as this value.
    pub fn note_listed(&mut self, objects: &[(Key, u64, String)]) -> Result<(), Error> {
        self.note(|connection| sql::notes::note_listed(connection, objects))
    }

    /// Drops the notes of objects of the bucket.
    pub fn clear_listed(&mut self) -> Result<(), Error> {
        self.note(sql::notes::clear_listed)
    }

    /// Size and ETag of an object, if it was noted.
    pub fn listed(&self, key: &Key) -> Result<Option<Listed>, Error> {
        self.with(|connection| sql::notes::listed(connection, key))
    }

    /// As [`Catalog::state_by_key`], each row with size and ETag of what was noted under its key.
    pub fn state_against_listing(
        &self,
        destination: DestinationId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(FileRow, Option<Listed>)>, Error> {
        self.with(|connection| sql::notes::state_against_listing(connection, destination, after, limit))
    }

    /// Noted objects that no file of the destination accounts for: how many, and the first keys, at most `limit`.
    ///
    /// The object of a file that is gone from its source is no stranger as long as the file is remembered.
    pub fn strangers(&self, destination: DestinationId, limit: usize) -> Result<(Tally, Vec<Key>), Error> {
        self.with(|connection| sql::notes::strangers(connection, destination, limit))
    }

    /// Notes what lines of the manifest or snapshot of `run` say of objects and their versions. Lines must come in the
    /// order of their runs. Notes live as long as this value.
    pub fn note_versions(&mut self, run: &RunId, lines: &[Line]) -> Result<(), Error> {
        self.note(|connection| sql::versions::note(connection, run, lines))
    }

    /// Drops the notes of versions.
    pub fn clear_versions(&mut self) -> Result<(), Error> {
        self.note(sql::versions::clear)
    }

    /// What was noted of a version of an object.
    pub fn version(&self, key: &Key, version_id: Option<&str>) -> Result<Option<VersionRow>, Error> {
        self.with(|connection| sql::versions::one(connection, key, version_id))
    }

    /// The noted versions that were neither replaced nor left by their file. Reads all notes.
    pub fn open_versions(&self) -> Result<Tally, Error> {
        self.with(sql::versions::open)
    }

    /// The next noted versions that ended, behind `after`: by key, of each key those without a version id last, at most
    /// `limit`. Each with whether the state may refer to it all the same.
    pub fn ended_versions(
        &self,
        destination: DestinationId,
        after: Option<(&Key, Option<&str>)>,
        limit: usize,
    ) -> Result<Vec<(VersionRow, bool)>, Error> {
        self.with(|connection| sql::versions::ended(connection, destination, after, limit))
    }

    /// Forgets files that are gone, by object and version. Files of the state that have the same objects stay.
    pub fn forget_gone(
        &mut self,
        destination: DestinationId,
        objects: &[(Key, Option<String>)],
    ) -> Result<(), Error> {
        self.write(|connection| sql::versions::forget_gone(connection, destination, objects))
    }

    /// Notes that a run begins, and what is to be told of it. One that is known stays as it is.
    pub fn begin_run(
        &mut self,
        destination: DestinationId,
        run: &RunId,
        started_at: DateTime<Utc>,
        telling: &Telling,
    ) -> Result<(), Error> {
        self.write(|connection| {
            sql::runs::begin(connection, destination, run, started_at)?;
            sql::alerts::tell(connection, telling, started_at)
        })
    }

    /// Stores how a run ended, also of one that was not known, and what is to be told of it. Forgets all but the newest 4,000
    /// of the destination.
    pub fn end_run(
        &mut self,
        destination: DestinationId,
        summary: &RunSummary,
        telling: &Telling,
    ) -> Result<(), Error> {
        self.write(|connection| {
            sql::runs::end(connection, destination, summary)?;
            sql::alerts::tell(connection, telling, summary.finished_at.to_utc())
        })
    }

    /// Stores what is to be told. Remembers the last 1,000 alerts and troubles that are done with; when more than 1,000
    /// alerts wait, the oldest are given up.
    pub fn tell(&mut self, telling: &Telling, now: DateTime<Utc>) -> Result<(), Error> {
        self.write(|connection| sql::alerts::tell(connection, telling, now))
    }

    /// The troubles that have not ended, oldest first, at most `limit`.
    pub fn open_troubles(&self, limit: usize) -> Result<Vec<TroubleRow>, Error> {
        self.with(|connection| sql::alerts::open_troubles(connection, limit))
    }

    /// A trouble, whether it has ended or not.
    pub fn trouble(&self, trouble: &TroubleName) -> Result<Option<TroubleRow>, Error> {
        self.with(|connection| sql::alerts::trouble(connection, trouble))
    }

    /// Takes the next alert that is due to deliver it: nobody else gets it within `lease`, unless
    /// [`Catalog::settle_alert`] says before what came of it.
    pub fn claim_alert(&mut self, now: DateTime<Utc>, lease: TimeDelta) -> Result<Option<AlertRow>, Error> {
        self.write(|connection| sql::alerts::claim(connection, now, lease))
    }

    /// Stores what came of an alert that was taken. When one was told, those that failed before are due at once.
    pub fn settle_alert(&mut self, id: i64, settled: &Settled, now: DateTime<Utc>) -> Result<(), Error> {
        self.write(|connection| sql::alerts::settle(connection, id, settled, now))
    }

    /// Forgets the message of a trouble, which is not there any more: the next one stands by itself.
    pub fn forget_message(&mut self, trouble: &TroubleName) -> Result<(), Error> {
        self.write(|connection| sql::alerts::forget_message(connection, trouble))
    }

    /// How the delivery of alerts stands.
    pub fn alerts_waiting(&self) -> Result<AlertsWaiting, Error> {
        self.with(sql::alerts::waiting)
    }

    /// Makes all alerts that wait due now; also those that are held back if `held_too`.
    pub fn hurry_alerts(&mut self, held_too: bool, now: DateTime<Utc>) -> Result<(), Error> {
        self.write(|connection| sql::alerts::hurry(connection, held_too, now))
    }

    /// The newest runs, newest first, at most `limit`.
    pub fn runs(&self, destination: DestinationId, limit: usize) -> Result<Vec<RunRow>, Error> {
        self.with(|connection| sql::runs::newest(connection, destination, limit))
    }

    /// The newest due time.
    pub fn last_due(&self) -> Result<Option<DueRow>, Error> {
        self.with(sql::due::last)
    }

    /// Adds due times. One that is known stays as it is, with the zone that it had.
    pub fn add_due(&mut self, rows: &[DueRow]) -> Result<(), Error> {
        self.write(|connection| sql::due::add(connection, rows))
    }

    /// Due times at or after `from` and before `to`, newest first, at most `limit`.
    pub fn due_in(&self, from: DateTime<Utc>, to: DateTime<Utc>, limit: usize) -> Result<Vec<DueRow>, Error> {
        self.with(|connection| sql::due::within(connection, from, to, limit))
    }

    /// The newest due times at or before `until` that no run has fully made up for (missed and partial ones), at most
    /// `limit`, given oldest first.
    pub fn open_due(&self, until: DateTime<Utc>, limit: usize) -> Result<Vec<DueRow>, Error> {
        self.with(|connection| sql::due::open(connection, until, limit))
    }

    /// Sets the state of due times, and the run that decided it. One that is not known is passed over.
    pub fn set_due(&mut self, at: &[DateTime<Utc>], state: DueState, run: &RunId) -> Result<(), Error> {
        self.write(|connection| sql::due::set(connection, at, state, run))
    }

    /// Notes that a multipart upload is about to be begun, in place of any earlier one of the key.
    ///
    /// What it wrote survives a loss of power when it returns. So with this before each `CreateMultipartUpload`, there is
    /// no upload in the bucket of which the catalog knows nothing.
    pub fn intend_upload(
        &mut self,
        destination: DestinationId,
        key: &Key,
        run: &RunId,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        self.write(|connection| sql::uploads::intend(connection, destination, key, run, at))
    }

    /// Notes that the server began the upload. Errors with [`Error::NoUpload`] when it was not intended.
    pub fn upload_began(
        &mut self,
        destination: DestinationId,
        key: &Key,
        upload: &BegunUpload,
    ) -> Result<(), Error> {
        self.write(|connection| sql::uploads::began(connection, destination, key, upload))
    }

    /// The upload that is noted for a key.
    pub fn open_upload(&self, destination: DestinationId, key: &Key) -> Result<Option<UploadRow>, Error> {
        self.with(|connection| sql::uploads::one(connection, destination, key))
    }

    /// Notes that this run goes on with the upload. Errors with [`Error::NoUpload`] when there is none.
    pub fn touch_upload(&mut self, destination: DestinationId, key: &Key, run: &RunId) -> Result<(), Error> {
        self.write(|connection| sql::uploads::touch(connection, destination, key, run))
    }

    /// The next noted uploads behind `after`, in byte order of their keys, at most `limit`.
    pub fn open_uploads(
        &self,
        destination: DestinationId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<UploadRow>, Error> {
        self.with(|connection| sql::uploads::page(connection, destination, after, limit))
    }

    /// Forgets the upload of a key: it was completed or aborted. No error when there is none.
    pub fn upload_ended(&mut self, destination: DestinationId, key: &Key) -> Result<(), Error> {
        self.write(|connection| sql::uploads::ended(connection, destination, key))
    }

    /// For what reads, and for single statements that write.
    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Error> {
        work(&self.connection).map_err(|trouble| trouble.at(&self.path))
    }

    /// All of it or nothing. Takes the lock for writing at once: a transaction that began by reading could not wait for
    /// another process to end its own.
    fn write<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Error> {
        self.transaction(TransactionBehavior::Immediate, work)
    }

    /// As `write`, for what touches temporary tables alone, which no lock is needed for.
    fn note<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Error> {
        self.transaction(TransactionBehavior::Deferred, work)
    }

    fn transaction<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, Error> {
        let path = &self.path;
        let whole = || {
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        (whole)().map_err(|trouble: Trouble| trouble.at(path))
    }
}

/// Makes a directory and those above it for this user alone. One that is there stays as it is.
pub(crate) fn make_private_dir(dir: &Path) -> Result<(), Error> {
    // The parent of a bare file name is the empty path, which means the current directory.
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|cause| Error::Io {
        action: "create",
        path: dir.to_owned(),
        cause,
    })
}
