//! Reading local files so that a change during the read is noticed.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use md5::{Digest, Md5};
use rustix::fs::OFlags;
use rustix::io::Errno;
use s3backup_model::FileStat;
use tokio_util::sync::CancellationToken;

use crate::buffer::Buffers;
use crate::checksum::{Hasher, Sums, hex};
use crate::{ChecksumKind, Error};

/// How often a file that changes while it is read is read before it counts as failed.
pub const MAX_READS: u32 = 3;

/// How much of a file is hashed at a time when it is not kept in memory.
const PIECE_BYTES: usize = 256 << 10;

/// The clock by which Linux stamps changes of files moves on in steps of up to 10 ms (`CONFIG_HZ`): of two writes
/// within one step the second leaves no trace in the times. A file that was written to just now is therefore looked
/// at a little later, so that every write behind that look has another time.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// What became of one try to read a file.
pub(crate) enum Read<T> {
    /// Read, and the file did not change meanwhile.
    Steady(T),
    /// The file changed; what was read is worth nothing.
    Torn,
}

/// What came of reading a file into memory.
pub(crate) enum WholeFile {
    Read(Bytes, Sums, FileStat),
    /// Another size than there was memory for, or disturbed while it was read.
    Again(u64),
}

/// A regular file, open.
#[derive(Clone)]
pub(crate) struct OpenFile {
    pub(crate) file: Arc<File>,
    pub(crate) path: Arc<PathBuf>,
    /// As it was when it was opened.
    pub(crate) stat: FileStat,
}

/// Opens a regular file and nothing else: never waits for a FIFO's other end, never opens a device, and follows a
/// symbolic link only when told to.
pub(crate) fn open(path: &Path, follow_symlinks: bool) -> Result<OpenFile, Error> {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if !follow_symlinks {
        flags |= OFlags::NOFOLLOW;
    }
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|cause| of_io("open", path, cause))?;
    let mut metadata = file.metadata().map_err(|cause| of_io("read", path, cause))?;
    if !metadata.is_file() {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    if is_fresh(&metadata) {
        std::thread::sleep(CLOCK_TICK);
        metadata = file.metadata().map_err(|cause| of_io("read", path, cause))?;
    }
    Ok(OpenFile { file: Arc::new(file), path: Arc::new(path.to_owned()), stat: FileStat::from(&metadata) })
}

/// Whether the file changed so lately that another change could get the same time.
fn is_fresh(metadata: &Metadata) -> bool {
    let changed = Duration::new(
        u64::try_from(metadata.ctime()).unwrap_or_default(),
        u32::try_from(metadata.ctime_nsec()).unwrap_or_default(),
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.abs_diff(changed) < CLOCK_TICK
}

impl OpenFile {
    /// The same for a file of which at most so many bytes are expected.
    pub(crate) fn read_up_to(
        &self,
        size: u64,
        kind: ChecksumKind,
        buffers: &Buffers,
    ) -> Result<WholeFile, Error> {
        if self.stat.size > size {
            return Ok(WholeFile::Again(self.stat.size));
        }
        Ok(match self.read_whole(kind, buffers)? {
            Read::Steady((bytes, sums)) => WholeFile::Read(bytes, sums, self.stat),
            Read::Torn => WholeFile::Again(self.stat.size),
        })
    }

    /// Reads the whole file into memory and hashes it.
    fn read_whole(&self, kind: ChecksumKind, buffers: &Buffers) -> Result<Read<(Bytes, Sums)>, Error> {
        let read = self.read_part(kind, 0, self.stat.size, buffers)?;
        Ok(if self.is_steady()? { read } else { Read::Torn })
    }

    /// Reads a range into memory and hashes it. Torn only when the file has become too short for it.
    pub(crate) fn read_part(
        &self,
        kind: ChecksumKind,
        offset: u64,
        len: u64,
        buffers: &Buffers,
    ) -> Result<Read<(Bytes, Sums)>, Error> {
        let length =
            usize::try_from(len).map_err(|_| Error::TooLarge { path: self.path.to_path_buf(), size: len })?;
        let mut buffer = buffers.take(length).map_err(|cause| of_io("read", &self.path, cause))?;
        let mut hasher = Hasher::new(kind);
        let mut at = offset;
        // Piece by piece, so that the processor still has near what is hashed.
        for piece in buffer.as_mut().chunks_mut(PIECE_BYTES) {
            match self.file.read_exact_at(piece, at) {
                Ok(()) => hasher.update(piece),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Read::Torn),
                Err(error) => return Err(of_io("read", &self.path, error)),
            }
            at += piece.len() as u64;
        }
        Ok(Read::Steady((buffer.freeze(), hasher.finish())))
    }

    /// Hashes the whole file in parts of one size, until `cancel` is set.
    pub(crate) fn hash_parts(
        &self,
        kind: ChecksumKind,
        part_size: u64,
        cancel: &CancellationToken,
    ) -> Result<Read<Vec<Sums>>, Error> {
        let mut parts = Vec::new();
        for index in 0..self.stat.size.div_ceil(part_size) {
            let offset = index * part_size;
            match self.hash_range(kind, offset, part_size.min(self.stat.size - offset), cancel)? {
                Read::Steady(sums) => parts.push(sums),
                Read::Torn => return Ok(Read::Torn),
            }
        }
        Ok(Read::Steady(parts))
    }

    /// Hashes a range without keeping it, until `cancel` is set: nobody waits for a thread that reads a huge file, but the
    /// process does not end before it.
    pub(crate) fn hash_range(
        &self,
        kind: ChecksumKind,
        offset: u64,
        len: u64,
        cancel: &CancellationToken,
    ) -> Result<Read<Sums>, Error> {
        let mut hasher = Hasher::new(kind);
        let read = self.read_range(offset, len, cancel, |piece| hasher.update(piece))?;
        Ok(if read { Read::Steady(hasher.finish()) } else { Read::Torn })
    }

    /// The same, together with the MD5, from one read.
    pub(crate) fn hash_range_with_md5(
        &self,
        kind: ChecksumKind,
        offset: u64,
        len: u64,
        cancel: &CancellationToken,
    ) -> Result<Read<(Sums, String)>, Error> {
        let (mut hasher, mut md5) = (Hasher::new(kind), Md5::new());
        let read = self.read_range(offset, len, cancel, |piece| {
            hasher.update(piece);
            md5.update(piece);
        })?;
        Ok(if read { Read::Steady((hasher.finish(), hex(&md5.finalize()))) } else { Read::Torn })
    }

    /// Hands a range over piece by piece; `false` when the file has become too short for it.
    fn read_range(
        &self,
        offset: u64,
        len: u64,
        cancel: &CancellationToken,
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, Error> {
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(len).unwrap_or(PIECE_BYTES))];
        let mut at = 0;
        while at < len {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let size = piece.len().min(usize::try_from(len - at).unwrap_or(piece.len()));
            match self.file.read_exact_at(&mut piece[..size], offset + at) {
                Ok(()) => take(&piece[..size]),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(of_io("read", &self.path, error)),
            }
            at += size as u64;
        }
        Ok(true)
    }

    /// Whether the file is as it was when it was opened, and still has its name.
    ///
    /// Its name shows both: a write, and that another file took its place.
    pub(crate) fn is_steady(&self) -> Result<bool, Error> {
        match std::fs::metadata(self.path.as_path()) {
            Ok(named) => Ok(FileStat::from(&named) == self.stat),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Vanished { path: self.path.to_path_buf() })
            }
            Err(error) => Err(of_io("read", &self.path, error)),
        }
    }

    /// Whether the open file is as it was when it was opened.
    pub(crate) fn is_unchanged(&self) -> Result<bool, Error> {
        let metadata = self.file.metadata().map_err(|cause| of_io("read", &self.path, cause))?;
        Ok(FileStat::from(&metadata) == self.stat)
    }
}

fn of_io(action: &'static str, path: &Path, cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::NotFound => Error::Vanished { path: path.to_owned() },
        // What `O_NOFOLLOW` gives for a symbolic link that took the file's place.
        _ if cause.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Error::NotRegular { path: path.to_owned() }
        }
        _ => Error::File { action, path: path.to_owned(), cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_unchanged_file_is_steady_and_a_changed_one_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"before").unwrap();
        let file = open(&path, false).unwrap();
        assert!(
            matches!(file.read_whole(ChecksumKind::Crc64Nvme, &Buffers::default()), Ok(Read::Steady((bytes, _))) if bytes == "before")
        );

        // Same length, so only the times tell.
        std::fs::write(&path, b"behind").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(matches!(file.read_whole(ChecksumKind::Crc64Nvme, &Buffers::default()), Ok(Read::Torn)));
    }

    /// The second write often comes within the same step of the file system's clock as the first.
    #[test]
    fn a_write_right_behind_another_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for round in 0..20 {
            std::fs::write(&path, b"before").unwrap();
            let file = open(&path, false).unwrap();
            File::options().write(true).open(&path).unwrap().write_all_at(b"behind", 0).unwrap();
            assert!(!file.is_steady().unwrap(), "round {round}");
        }
    }

    #[test]
    fn a_file_that_was_cut_short_is_torn_and_one_that_was_replaced_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = open(&path, false).unwrap();
        std::fs::write(&path, b"01").unwrap();
        assert!(matches!(file.read_whole(ChecksumKind::Crc64Nvme, &Buffers::default()), Ok(Read::Torn)));
        assert!(matches!(
            file.hash_range(ChecksumKind::Crc64Nvme, 0, 10, &CancellationToken::new()),
            Ok(Read::Torn)
        ));

        let file = open(&path, false).unwrap();
        std::fs::write(folder.path().join("new"), b"01").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(!file.is_steady().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(file.is_steady(), Ok(false) | Err(Error::Vanished { .. })));
    }

    /// Else the process would not end for hours: the file is a hole of a tebibyte.
    #[test]
    fn hashing_ends_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let file = open(&path, false).unwrap();
        let cancel = CancellationToken::new();
        std::thread::scope(|scope| {
            let parts = scope.spawn(|| file.hash_parts(ChecksumKind::Crc64Nvme, 1 << 30, &cancel));
            let range = scope.spawn(|| file.hash_range(ChecksumKind::Crc64Nvme, 0, 1 << 40, &cancel));
            cancel.cancel();
            assert!(matches!(parts.join().unwrap(), Err(Error::Cancelled)));
            assert!(matches!(range.join().unwrap(), Err(Error::Cancelled)));
        });
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(matches!(open(&fifo, true), Err(Error::NotRegular { .. })));
        let link = folder.path().join("link");
        symlink("/dev/zero", &link).unwrap();
        assert!(matches!(open(&link, false), Err(Error::NotRegular { .. })));
        assert!(matches!(open(&link, true), Err(Error::NotRegular { .. })));
        assert!(matches!(open(&folder.path().join("none"), false), Err(Error::Vanished { .. })));
    }
}
