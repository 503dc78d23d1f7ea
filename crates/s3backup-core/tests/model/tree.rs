//! The directory that is backed up, beside the model of what is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::bench::until;

/// Files, and directories that are in the way of files.
pub(crate) const NAMES: [&str; 9] = ["a", "b", "d/a", "d/b", "d/e", "d/e/c", "f", "f/new\nline", "\u{d55c}"];
pub(crate) const DIRECTORIES: [&str; 4] = ["d", "d/e", "f", "g"];
pub(crate) const MODES: [u32; 3] = [0o600, 0o644, 0o755];

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mtime_ns: i64,
    pub(crate) mode: u32,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(8)]);
        write!(f, "{} bytes {start:?} of {} with {:o}", self.bytes.len(), self.mtime_ns, self.mode)
    }
}

/// By their names below the directory.
pub(crate) type Files = BTreeMap<String, File>;

/// What is in a directory.
pub(crate) fn files_in(root: &Path) -> Files {
    let mut found = Files::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            let stat = std::fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mtime_ns = stat.mtime() * 1_000_000_000 + stat.mtime_nsec();
            let mode = stat.mode() & 0o777;
            found.insert(name, File { bytes: std::fs::read(&path).unwrap(), mtime_ns, mode });
        }
    }
    found
}

/// A name as its key has it.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('\n', "%0A")
}

pub(crate) struct Tree {
    root: PathBuf,
    pub(crate) now: Files,
    /// All that each file ever was.
    pub(crate) ever: BTreeMap<String, Vec<File>>,
    versions: u64,
}

impl Tree {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, now: Files::new(), ever: BTreeMap::new(), versions: 0 }
    }

    pub(crate) fn write(&mut self, name: &str, len: usize) {
        self.make_room(name);
        let bytes = self.bytes(len);
        self.put(name, bytes);
    }

    pub(crate) fn change(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut bytes) = self.now.get(name).map(|file| file.bytes.clone()) {
            change(&mut bytes);
            self.put(name, bytes);
        }
    }

    pub(crate) fn rewrite(&mut self, name: &str) {
        if let Some(len) = self.now.get(name).map(|file| file.bytes.len()) {
            let bytes = self.bytes(len);
            self.put(name, bytes);
        }
    }

    /// Other bytes of the same length under the same modification time: only the change time tells.
    pub(crate) async fn rewrite_in_secret(&mut self, name: &str) {
        let Some(file) = self.now.get(name).filter(|file| !file.bytes.is_empty()).cloned() else { return };
        let file = File { bytes: self.bytes(file.bytes.len()), ..file };
        let path = self.root.join(name);
        let before = std::fs::metadata(&path).unwrap();
        // File systems stamp with a clock that ticks a few hundred times a second.
        until(|| {
            std::fs::write(&path, &file.bytes).unwrap();
            set_mtime(&path, file.mtime_ns);
            let after = std::fs::metadata(&path).unwrap();
            (after.ctime(), after.ctime_nsec()) != (before.ctime(), before.ctime_nsec())
        })
        .await;
        self.know(name, file);
    }

    /// Gives a new modification time to each file that could be taken for what it was earlier, where nobody knows its change
    /// time.
    pub(crate) fn reveal(&mut self) {
        let is_hidden = |(name, file): &(&String, &File)| {
            let looks_the_same = |other: &File| {
                (other.bytes.len(), other.mtime_ns, other.mode)
                    == (file.bytes.len(), file.mtime_ns, file.mode)
            };
            self.ever[*name].iter().any(|other| looks_the_same(other) && other.bytes != file.bytes)
        };
        let hidden: Vec<String> = self.now.iter().filter(is_hidden).map(|(name, _)| name.clone()).collect();
        for name in hidden {
            self.change(&name, |_| ());
        }
    }

    pub(crate) fn change_mode(&mut self, name: &str, mode: u32) {
        if let Some(file) = self.now.get(name).cloned() {
            std::fs::set_permissions(self.root.join(name), PermissionsExt::from_mode(mode)).unwrap();
            self.know(name, File { mode, ..file });
        }
    }

    pub(crate) fn delete(&mut self, name: &str) {
        if self.now.remove(name).is_some() {
            std::fs::remove_file(self.root.join(name)).unwrap();
        }
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        if let Some(file) = self.now.get(from).cloned().filter(|_| from != to) {
            let held = self.root.with_extension("held");
            std::fs::rename(self.root.join(from), &held).unwrap();
            self.now.remove(from);
            self.make_room(to);
            std::fs::rename(held, self.root.join(to)).unwrap();
            self.know(to, file);
        }
    }

    pub(crate) fn rename_directory(&mut self, from: &str, to: &str) {
        let (source, target) = (self.root.join(from), self.root.join(to));
        if !source.is_dir() || to.starts_with(from) || from.starts_with(to) {
            return;
        }
        self.make_room(to);
        self.delete(to);
        std::fs::rename(source, target).unwrap();
        let below = format!("{from}/");
        let names: Vec<String> = self.now.keys().filter(|name| name.starts_with(&below)).cloned().collect();
        for name in names {
            let file = self.now.remove(&name).unwrap();
            self.know(&format!("{to}/{}", &name[below.len()..]), file);
        }
    }

    pub(crate) fn bring_back(&mut self, name: &str, which: usize) {
        let Some(ever) = self.ever.get(name).filter(|ever| !ever.is_empty()) else { return };
        let file = ever[which % ever.len()].clone();
        self.make_room(name);
        // As a new file beside, which takes the name: another inode, and another change time.
        let held = self.root.with_extension("held");
        std::fs::write(&held, &file.bytes).unwrap();
        set_mtime(&held, file.mtime_ns);
        std::fs::set_permissions(&held, PermissionsExt::from_mode(file.mode)).unwrap();
        std::fs::rename(held, self.root.join(name)).unwrap();
        self.know(name, file);
    }

    /// Bytes that no file had before.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.versions += 1;
        let stamp = format!("{:08x}", self.versions);
        stamp.bytes().cycle().take(len).collect()
    }

    /// Writes a file, as of a time that no file had before.
    fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.versions += 1;
        let path = self.root.join(name);
        std::fs::write(&path, &bytes).unwrap();
        let seconds = 1_700_000_000 + i64::try_from(self.versions).unwrap();
        let mtime_ns = seconds * 1_000_000_000 + 123_456_789;
        set_mtime(&path, mtime_ns);
        let mode = self.now.get(name).map_or(0o644, |file| file.mode);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        self.know(name, File { bytes, mtime_ns, mode });
    }

    fn know(&mut self, name: &str, file: File) {
        let ever = self.ever.entry(name.to_owned()).or_default();
        if !ever.contains(&file) {
            ever.push(file.clone());
        }
        self.now.insert(name.to_owned(), file);
    }

    /// Makes the directories of a file and removes what is in its way: a directory of its name, or files of the names of its
    /// directories.
    fn make_room(&mut self, name: &str) {
        let path = self.root.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        for above in Path::new(name).ancestors().skip(1).filter(|above| self.root.join(above).is_file()) {
            std::fs::remove_file(self.root.join(above)).unwrap();
        }
        let below = format!("{name}/");
        self.now.retain(|other, _| !other.starts_with(&below) && !name.starts_with(&format!("{other}/")));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
}

fn set_mtime(path: &Path, mtime_ns: i64) {
    let since = Duration::from_nanos(u64::try_from(mtime_ns).unwrap());
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + since).unwrap();
}
