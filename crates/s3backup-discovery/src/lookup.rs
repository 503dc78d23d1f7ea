//! Single files of a source, looked up by their names under the rules of a walk.
//!
//! For whoever has names from elsewhere. A name is not trusted: none leads out of the source, and what a walk would leave out
//! is not taken.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;
use s3backup_model::{Entry, Failure, FileStat};

use crate::Source;
use crate::directory::{Id, Opened};
use crate::rules::Symlinks;
use crate::trouble;
use crate::walk::MAX_PATH;

/// A source in which files are looked up.
///
/// ```
/// use s3backup_discovery::{Lookup, Rules, Source};
///
/// # let dir = tempfile::tempdir()?;
/// # std::fs::write(dir.path().join("trip.json"), "{}")?;
/// # let path = dir.path().to_owned();
/// let mut lookup = Lookup::open(Source { index: 0, path, rules: Rules::default(), settled: None })?;
/// assert_eq!(lookup.find(b"trip.json").map(|entry| entry.stat.size), Ok(2));
/// assert!(lookup.find(b"../secret").is_err());
/// lookup.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lookup {
    source: Source,
    root: Arc<Path>,
    id: Id,
    /// The directory of the last file, below the source: it needs no second look for the next one.
    folder: Option<PathBuf>,
}

impl Lookup {
    /// Opens the source. The error says what is wrong with it and what to do, as
    /// [`SourceEnd::Missing`](crate::SourceEnd::Missing) does.
    pub fn open(source: Source) -> Result<Self, String> {
        let path = &source.path;
        let unusable = |error: io::Error| trouble::source_unusable(path, &error);
        if !fs::metadata(path).map_err(unusable)?.is_dir() {
            return Err(trouble::source_no_directory(path));
        }
        let id = Opened::at(path).map_err(unusable)?.id;
        Ok(Self { root: Arc::from(path.as_path()), id, folder: None, source })
    }

    /// The file of this name below the source, as it is now. Blocks.
    ///
    /// Age and [`Select`](crate::Select) are not looked at: whoever made the list of names has.
    ///
    /// # Errors
    /// What is not there, is no regular file, cannot be looked at, is left out by `include` or `exclude`, lies behind a symbolic
    /// link that a walk would not follow, or has a name that no file below a source can have.
    pub fn find(&mut self, relative: &[u8]) -> Result<Entry, Failure> {
        let name = Path::new(OsStr::from_bytes(relative));
        let shown =
            || Path::new(&trouble::shown(&self.root)).join(trouble::shown(name).trim_start_matches('/'));
        if !is_below(relative) || self.root.as_os_str().len() + 1 + relative.len() > MAX_PATH {
            return Err(trouble::no_name(&shown()));
        }
        let path = self.root.join(name);
        self.enter(name.parent().unwrap_or(Path::new("")), &path)?;
        let rules = &self.source.rules;
        if rules.excludes(name) || rules.leaves_out(name) {
            return Err(trouble::left_out(&path));
        }
        let stat = self.stat(&path).map_err(|error| trouble::not_found(&path, &error))?;
        if FileType::from_raw_mode(stat.mode) != FileType::RegularFile {
            return Err(trouble::no_regular_file(&path));
        }
        Ok(Entry { source: self.source.index, root: Arc::clone(&self.root), relative: name.to_owned(), stat })
    }

    /// Looks at each directory between the source and a file.
    fn enter(&mut self, folder: &Path, file: &Path) -> Result<(), Failure> {
        if self.folder.as_deref() == Some(folder) {
            return Ok(());
        }
        self.folder = None;
        let (rules, bytes) = (&self.source.rules, folder.as_os_str().as_bytes());
        let ends = (1..=bytes.len()).filter(|&end| bytes.get(end).is_none_or(|byte| *byte == b'/'));
        for above in ends.filter_map(|end| bytes.get(..end)).map(|above| Path::new(OsStr::from_bytes(above)))
        {
            if rules.excludes(above) || rules.excludes_below(above) {
                return Err(trouble::left_out(file));
            }
            let path = self.root.join(above);
            let stat = self.stat(&path).map_err(|error| trouble::not_found(file, &error))?;
            match FileType::from_raw_mode(stat.mode) {
                FileType::Directory => {}
                FileType::Symlink => return Err(trouble::behind_link(file, &path)),
                _ => return Err(trouble::not_found(file, &io::ErrorKind::NotADirectory.into())),
            }
        }
        self.folder = Some(folder.to_owned());
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        let metadata = match self.source.rules.symlinks {
            Symlinks::Skip => fs::symlink_metadata(path),
            Symlinks::Follow => fs::metadata(path),
        };
        metadata.map(|metadata| FileStat::from(&metadata))
    }

    /// Says so if the source is not the directory any more that was opened: then files that were not found may be there.
    pub fn close(self) -> Result<(), String> {
        let path = &self.source.path;
        if Id::at(path).is_ok_and(|now| now == self.id) {
            Ok(())
        } else {
            Err(trouble::source_replaced(path))
        }
    }
}

/// Whether a name leads to something below the directory from which it counts, links left aside.
fn is_below(relative: &[u8]) -> bool {
    !relative.contains(&0)
        && relative.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use s3backup_model::FailureKind;

    use super::*;
    use crate::Rules;

    fn lookup(dir: &Path, rules: Rules) -> Lookup {
        Lookup::open(Source { index: 3, path: dir.to_owned(), rules, settled: None }).unwrap()
    }

    fn kind(lookup: &mut Lookup, relative: &[u8]) -> Result<(), FailureKind> {
        lookup.find(relative).map(|_| ()).map_err(|failure| failure.kind)
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["data/a/b/f", "data/a/skip/f", "data/tmp/f", "secret/f"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        symlink(dir.path().join("secret"), dir.path().join("data/link")).unwrap();
        symlink(dir.path().join("secret/f"), dir.path().join("data/a/link")).unwrap();
        dir
    }

    #[test]
    fn a_file_is_found_as_a_walk_would_find_it() {
        let dir = tree();
        let mut lookup = lookup(&dir.path().join("data"), Rules::default());
        for _ in 0..2 {
            let entry = lookup.find(b"a/b/f").unwrap();
            assert_eq!((entry.source, entry.relative.as_path(), entry.stat.size), (3, Path::new("a/b/f"), 1));
        }
        assert_eq!(kind(&mut lookup, b"a/b/none"), Err(FailureKind::Vanished));
        assert_eq!(kind(&mut lookup, b"a/none/f"), Err(FailureKind::Vanished));
        assert_eq!(kind(&mut lookup, b"a/b/f/below"), Err(FailureKind::Vanished));
        assert_eq!(kind(&mut lookup, b"a/b"), Err(FailureKind::Unreadable), "a directory");
        assert_eq!(lookup.close(), Ok(()));
    }

    #[test]
    fn no_name_leads_out_of_the_source() {
        let dir = tree();
        let mut lookup = lookup(&dir.path().join("data"), Rules::default());
        let long = vec![b'x'; MAX_PATH];
        for name in [
            &b""[..],
            b"/etc/passwd",
            b"../secret/f",
            b"a/../../secret/f",
            b"a//b/f",
            b"./a/b/f",
            b"a/b/f/",
            b"..",
            b"a/b/f\0",
            &long,
        ] {
            let failure = lookup.find(name).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Other, "{failure:?}");
            let data = dir.path().join("data");
            assert!(failure.path.starts_with(data.to_str().unwrap()), "{failure:?}");
        }
        assert_eq!(kind(&mut lookup, b"link/f"), Err(FailureKind::Unreadable), "a directory that is a link");
        assert_eq!(kind(&mut lookup, b"a/link"), Err(FailureKind::Unreadable));
    }

    #[test]
    fn links_are_followed_where_a_walk_follows_them() {
        let dir = tree();
        let rules = Rules::builder().symlinks(Symlinks::Follow).build().unwrap();
        let mut lookup = lookup(&dir.path().join("data"), rules);
        assert_eq!(kind(&mut lookup, b"link/f"), Ok(()));
        assert_eq!(kind(&mut lookup, b"a/link"), Ok(()));
        assert_eq!(kind(&mut lookup, b"a/../link/f"), Err(FailureKind::Other));
    }

    #[test]
    fn what_a_walk_leaves_out_is_not_taken() {
        let dir = tree();
        let rules = Rules::builder().include(["**/f"]).exclude(["**/skip", "tmp/**"]).build().unwrap();
        let mut lookup = lookup(&dir.path().join("data"), rules);
        assert_eq!(kind(&mut lookup, b"a/b/f"), Ok(()));
        for left_out in [&b"a/skip/f"[..], b"tmp/f", b"a/link"] {
            let failure = lookup.find(left_out).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Other);
            assert!(failure.message.contains("`exclude`"), "{failure:?}");
        }
    }

    #[test]
    fn a_source_that_is_missing_or_replaced_is_told() {
        let dir = tree();
        let data = dir.path().join("data");
        let open =
            |path: PathBuf| Lookup::open(Source { index: 0, path, rules: Rules::default(), settled: None });
        assert!(open(dir.path().join("none")).unwrap_err().contains("does not exist"));
        assert!(open(dir.path().join("secret/f")).unwrap_err().contains("is not a directory"));
        let lookup = open(data.clone()).unwrap();
        fs::rename(&data, dir.path().join("moved")).unwrap();
        fs::create_dir(&data).unwrap();
        assert!(lookup.close().unwrap_err().contains("replaced"));
    }
}
