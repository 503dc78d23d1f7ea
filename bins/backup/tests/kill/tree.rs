//! A source tree that changes at random, and everything that it ever was.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

pub(crate) type Hash = [u8; 32];

pub(crate) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Names of files and the keys that they must have below the prefix. Those of the first few are of several parts.
const NAMES: [(&[u8], &str); 20] = [
    (b"large-1.bin", "large-1.bin"),
    (b"sub/large 2.bin", "sub/large 2.bin"),
    (b"sub/deep/large-3", "sub/deep/large-3"),
    (b"a", "a"),
    (b"a.json", "a.json"),
    (b"a!/b", "a!/b"),
    (b"b/c/d/e/f", "b/c/d/e/f"),
    (b"b/c.d", "b/c.d"),
    (b"b/c-d", "b/c-d"),
    (b".hidden", ".hidden"),
    (b"\xff\xfe", "%FF%FE"),
    (b"100%41", "100%2541"),
    (b"new\nline", "new%0Aline"),
    ("\u{ac00}/\u{e9} e\u{301}".as_bytes(), "\u{ac00}/\u{e9} e\u{301}"),
    (b"x/1", "x/1"),
    (b"x/2", "x/2"),
    (b"x/3", "x/3"),
    (b"x/+&=?#", "x/+&=?#"),
    (b"y/1", "y/1"),
    (b"y/2", "y/2"),
];
const LARGE: usize = 3;

/// Size of a stamp: no two blocks of any two versions are the same.
const BLOCK: usize = 4096;

pub(crate) struct Tree {
    root: PathBuf,
    random: fastrand::Rng,
    versions: u64,
    /// What is there now.
    pub(crate) now: BTreeMap<&'static str, Hash>,
    /// The contents that small files had before, by key; few of each.
    before: HashMap<&'static str, Vec<Vec<u8>>>,
    /// All that ever was, by key.
    pub(crate) ever: HashMap<&'static str, HashSet<Hash>>,
    /// Keys whose files were changed since this was last taken.
    pub(crate) touched: BTreeSet<&'static str>,
}

impl Tree {
    pub(crate) fn new(root: PathBuf, seed: u64) -> Self {
        std::fs::create_dir_all(&root).unwrap();
        Self {
            root,
            random: fastrand::Rng::with_seed(seed),
            versions: 0,
            now: BTreeMap::new(),
            before: HashMap::new(),
            ever: HashMap::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(crate) fn path(&self, name: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(name))
    }

    /// The file of a key.
    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        self.path(NAMES.iter().find(|(_, other)| *other == key).unwrap().0)
    }

    pub(crate) fn change_some(&mut self) {
        for _ in 0..self.random.u32(1..=6) {
            self.change();
        }
    }

    /// Changes one file, in a way that nobody can see half of. Gives its key.
    pub(crate) fn change(&mut self) -> &'static str {
        // Large files are half as likely as others, so that a round does not take long.
        let place = if self.random.u8(..12) == 0 {
            self.random.usize(..LARGE)
        } else {
            self.random.usize(LARGE..NAMES.len())
        };
        let (name, key) = NAMES[place];
        let path = self.path(name);
        let is_large = place < LARGE;
        if self.now.contains_key(key) {
            let size = std::fs::metadata(&path).unwrap().len();
            match self.random.u8(..11) {
                0 => std::fs::remove_file(&path).unwrap(),
                1 => self.rename(place),
                2 => self.rewrite(&path, size),
                3 => {
                    // As programs do that keep times; only the inode's own change time tells.
                    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
                    self.rewrite(&path, size);
                    File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
                }
                4 => {
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_len(self.random.u64(..=size)).unwrap();
                }
                5 => {
                    let more = self.bytes(if is_large { 300_000 } else { 5_000 });
                    File::options().append(true).open(&path).unwrap().write_all(&more).unwrap();
                }
                6 => {
                    let ago = Duration::from_millis(self.random.u64(..100_000_000));
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_modified(SystemTime::now().checked_sub(ago).unwrap()).unwrap();
                }
                7 | 8 => self.go_back(key, &path),
                _ => self.make(&path, is_large),
            }
        } else {
            self.make(&path, is_large);
        }
        self.note(key);
        key
    }

    fn make(&mut self, path: &Path, is_large: bool) {
        let size = match self.random.u8(..8) {
            _ if is_large => self.random.usize(12 << 20..=17 << 20),
            0 => 0,
            1 => self.random.usize(..1 << 20),
            _ => self.random.usize(..20_000),
        };
        let bytes = self.bytes(size);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        self.replace(path, &bytes);
    }

    /// As programs do that write beside it and rename. What is beside it is outside the source.
    fn replace(&self, path: &Path, bytes: &[u8]) {
        let beside = self.root.with_extension("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// A small file is again what it was: what the bucket has of it may be what it was in between.
    fn go_back(&mut self, key: &str, path: &Path) {
        if let Some(bytes) = self.before.get(key).and_then(|before| self.random.choice(before)) {
            self.replace(path, bytes);
        }
    }

    /// Other bytes in the same place: all of a small file, one block of a large one.
    fn rewrite(&mut self, path: &Path, size: u64) {
        let size = usize::try_from(size).unwrap();
        let len = size.min(1 << 20);
        let bytes = self.bytes(len);
        let mut file = File::options().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(self.random.u64(..=(size - len) as u64))).unwrap();
        file.write_all(&bytes).unwrap();
    }

    fn rename(&mut self, from: usize) {
        let places = if from < LARGE { 0..LARGE } else { LARGE..NAMES.len() };
        let free: Vec<usize> = places.filter(|place| !self.now.contains_key(NAMES[*place].1)).collect();
        let Some(to) = self.random.choice(free) else { return };
        let path = self.path(NAMES[to].0);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::rename(self.path(NAMES[from].0), path).unwrap();
        self.note(NAMES[to].1);
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.versions += 1;
        let mut bytes = vec![0x2e; len];
        for (number, block) in bytes.chunks_mut(BLOCK).enumerate() {
            let stamp = [self.versions.to_le_bytes(), (number as u64).to_le_bytes()].concat();
            let len = block.len().min(stamp.len());
            block[..len].copy_from_slice(&stamp[..len]);
        }
        bytes
    }

    fn note(&mut self, key: &'static str) {
        self.touched.insert(key);
        match std::fs::read(self.path_of(key)) {
            Ok(bytes) => {
                let hash = hash(&bytes);
                self.now.insert(key, hash);
                if self.ever.entry(key).or_default().insert(hash) && bytes.len() < BLOCK {
                    let before = self.before.entry(key).or_default();
                    before.push(bytes);
                    before.drain(..before.len().saturating_sub(3));
                }
            }
            Err(_) => {
                self.now.remove(key);
            }
        }
    }
}
