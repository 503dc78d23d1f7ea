//! Files of bytes that never change once written.
//!
//! A blob has a random name, so no key of an object ever becomes part of a path. It is temporary until it is
//! kept, and temporary again once doomed; a temporary one removes its file when the last user lets go of it. A
//! reader that holds an object therefore reads it to the end, even if it was replaced meanwhile, and a write that
//! fails at any point leaves nothing behind. After a crash, files that nothing refers to are removed at the next
//! start.
//!
//! A null store keeps no file of most blobs, only how to make bytes that stand for them.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::checksum::{Algorithm, Digests, Hashers};
use crate::made::Made;
use crate::random;

/// One file of bytes, or what stands for it.
#[derive(Debug)]
pub(crate) struct Blob {
    id: u128,
    /// `None` for a file.
    made: Option<Made>,
    /// The folder to remove the file from when this is dropped; `None` for one that is kept, and without a file.
    temporary_in: Mutex<Option<Arc<Path>>>,
}

impl Blob {
    fn temporary(root: &Arc<Path>) -> Self {
        Self { id: random::id(), made: None, temporary_in: Mutex::new(Some(Arc::clone(root))) }
    }

    pub(crate) fn id(&self) -> u128 {
        self.id
    }

    /// Reads from `offset` on. `size` is that of the blob; both in bytes.
    pub(crate) fn open(
        &self,
        root: &Path,
        size: u64,
        offset: u64,
    ) -> io::Result<Box<dyn Read + Send + Sync>> {
        if let Some(made) = self.made {
            return Ok(Box::new(made.reader(size, offset)));
        }
        let mut file = File::open(path(root, self.id))?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Box::new(file))
    }

    /// For the one who wants to see what becomes of bytes that change all the same.
    pub(crate) fn open_to_damage(&self, root: &Path) -> io::Result<File> {
        File::options().read(true).write(true).open(path(root, self.id))
    }

    /// From now on the file outlives the last user: something durable names it.
    pub(crate) fn keep(&self) {
        *self.temporary_in.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Nothing durable names the file any more: it goes with its last user.
    pub(crate) fn doom(&self, root: &Arc<Path>) {
        if self.made.is_none() {
            *self.temporary_in.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(root));
        }
    }

    /// Another name for the same bytes, temporary until kept.
    pub(crate) fn duplicate(&self, root: &Arc<Path>) -> io::Result<Self> {
        if self.made.is_some() {
            return Ok(Self { id: random::id(), made: self.made, temporary_in: Mutex::new(None) });
        }
        let copy = Self::temporary(root);
        let (from, to) = (path(root, self.id), path(root, copy.id));
        make_parent(&to)?;
        // Blobs never change, so two names for one file are as good as two files. Some file systems have no hard
        // links.
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
        Ok(copy)
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let root = self.temporary_in.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(root) = root {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(path(&root, self.id));
        }
    }
}

/// A blob as the journal names it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Named {
    File(String),
    Made(String, Made),
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = format!("{:032x}", self.id);
        match self.made {
            None => Named::File(id),
            Some(made) => Named::Made(id, made),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, made) = match Named::deserialize(deserializer)? {
            Named::File(text) => (text, None),
            Named::Made(text, made) => (text, Some(made)),
        };
        let id = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self { id, made, temporary_in: Mutex::new(None) })
    }
}

/// Blobs lie in 256 folders, since many file systems slow down with very many files in one.
fn path(root: &Path, id: u128) -> PathBuf {
    let name = format!("{id:032x}");
    root.join(&name[..2]).join(&name)
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.is_dir() => fs::create_dir_all(parent),
        _ => Ok(()),
    }
}

/// Removes the files below `root` whose blob `is_used` does not know. A missing folder is an empty one.
pub(crate) fn remove_unused(root: &Path, is_used: impl Fn(u128) -> bool) -> io::Result<()> {
    let folders = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for folder in folders {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder)? {
            let file = file?;
            let id = file.file_name().to_str().and_then(|name| u128::from_str_radix(name, 16).ok());
            // A file whose name is no id is not ours to remove.
            if id.is_some_and(|id| !is_used(id)) {
                fs::remove_file(file.path())?;
            }
        }
    }
    Ok(())
}

/// Writes a new blob and computes its digests.
pub(crate) struct BlobWriter {
    target: Target,
    hashers: Hashers,
    size: u64,
}

enum Target {
    File(Blob, File),
    /// The bytes are thrown away; those of this key are made up in their place.
    Nowhere(String),
}

/// A complete blob, still temporary.
pub(crate) struct NewBlob {
    pub(crate) blob: Arc<Blob>,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) digests: Digests,
}

impl BlobWriter {
    pub(crate) fn create(root: &Arc<Path>, hashers: Hashers) -> io::Result<Self> {
        let blob = Blob::temporary(root);
        let path = path(root, blob.id);
        make_parent(&path)?;
        let file = File::create_new(path)?;
        Ok(Self { target: Target::File(blob, file), hashers, size: 0 })
    }

    /// One that writes nothing. Among what is computed must be a CRC64NVME.
    pub(crate) fn to_nowhere(key: &str, hashers: Hashers) -> Self {
        Self { target: Target::Nowhere(key.to_owned()), hashers, size: 0 }
    }

    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        for chunk in chunks {
            self.hashers.update(chunk);
            if let Target::File(_, file) = &mut self.target {
                file.write_all(chunk)?;
            }
            self.size += chunk.len() as u64;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> NewBlob {
        let digests = self.hashers.finish();
        let blob = match self.target {
            Target::File(blob, _) => blob,
            Target::Nowhere(key) => {
                let made = Made::new(&key, self.size, digests.crc(Algorithm::Crc64Nvme).unwrap_or_default());
                Blob { id: random::id(), made: Some(made), temporary_in: Mutex::new(None) }
            }
        };
        NewBlob { blob: Arc::new(blob), size: self.size, digests }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(root: &Path) -> usize {
        let folders = fs::read_dir(root).unwrap();
        folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }

    fn write(root: &Arc<Path>, data: &'static [u8]) -> NewBlob {
        let mut writer = BlobWriter::create(root, Hashers::new(&[])).unwrap();
        writer.write(&[Bytes::from_static(data)]).unwrap();
        writer.finish()
    }

    #[test]
    fn a_write_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::from(dir.path());
        drop(write(&root, b"x"));
        assert_eq!(files(&root), 0);
        let kept = write(&root, b"x");
        kept.blob.keep();
        drop(kept);
        assert_eq!(files(&root), 1);
    }

    #[test]
    fn a_doomed_blob_lives_as_long_as_its_readers() {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::from(dir.path());
        let blob = write(&root, b"x").blob;
        blob.keep();
        let reader = Arc::clone(&blob);
        blob.doom(&root);
        drop(blob);
        assert!(reader.open(&root, 1, 0).is_ok());
        drop(reader);
        assert_eq!(files(&root), 0);
    }

    #[test]
    fn only_unused_blobs_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::from(dir.path());
        let (used, unused) = (write(&root, b"x").blob, write(&root, b"y").blob);
        used.keep();
        unused.keep();
        fs::write(path(&root, used.id).with_file_name("notes"), "not ours").unwrap();
        remove_unused(&root, |id| id == used.id).unwrap();
        assert!(used.open(&root, 1, 0).is_ok());
        assert!(unused.open(&root, 1, 0).is_err());
        assert_eq!(files(&root), 2);
    }
}
