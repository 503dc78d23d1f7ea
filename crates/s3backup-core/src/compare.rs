//! Comparing what was found with what is known, in one pass over both in the same order.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use s3backup_catalog::{Catalog, Error as CatalogError, FileState, Hints, Known, SourceId};
use s3backup_model::{Entry, FileStat};

use crate::plan::Reason;

/// Known files that are read from the catalog at a time.
const PAGE: usize = 1024;

/// What is to be done with a file that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is in the bucket as it is on disk.
    Unchanged,
    /// The same, but what the file system says beside its size and time was not known yet.
    Learn,
    /// It may have to be sent.
    Take(Reason),
}

/// Decides about a file that is known.
pub(crate) fn judge(known: &Known, stat: &FileStat, reads_all: bool) -> Verdict {
    match known.state {
        FileState::Doubtful => return Verdict::Take(Reason::Repair),
        _ if known.size != stat.size => return Verdict::Take(Reason::Changed),
        FileState::Gone | FileState::LocallyPruned => return Verdict::Take(Reason::Returned),
        FileState::Present if reads_all => return Verdict::Take(Reason::Reread),
        FileState::Present => {}
    }
    let hints = Hints { ctime_ns: stat.ctime_ns, inode: stat.inode };
    if known.mtime_ns != stat.mtime_ns || known.mode != stat.mode {
        return Verdict::Take(Reason::Touched);
    }
    match known.hints {
        None => Verdict::Learn,
        Some(known) if known == hints => Verdict::Unchanged,
        // A new inode has a new ctime. Where the number alone is another, the file system makes numbers up at each mount.
        Some(known) if known.ctime_ns == hints.ctime_ns => Verdict::Learn,
        Some(_) => Verdict::Take(Reason::Touched),
    }
}

/// The known files of one source, read in walk order as the walk goes on.
pub(crate) struct Cursor {
    source: SourceId,
    page: Vec<Known>,
    next: usize,
    /// The last path of the page.
    end: Option<Vec<u8>>,
    is_last_page: bool,
    /// Seen and not looked into: it and all below it may be there.
    shadow: Option<Vec<u8>>,
    /// In which nothing was found of them.
    gone: Vec<Vec<u8>>,
}

impl Cursor {
    pub(crate) fn new(source: SourceId) -> Self {
        Self {
            source,
            page: Vec::new(),
            next: 0,
            end: None,
            is_last_page: false,
            shadow: None,
            gone: Vec::new(),
        }
    }

    /// The known file of this path. Everything known before it that is not below something that was only seen is gone.
    ///
    /// Paths must come in walk order.
    pub(crate) fn meet(&mut self, catalog: &Catalog, path: &[u8]) -> Result<Option<Known>, CatalogError> {
        loop {
            self.fill(catalog)?;
            let Some(known) = self.page.get_mut(self.next) else { return Ok(None) };
            match walk_order(&known.path, path) {
                Ordering::Greater => return Ok(None),
                Ordering::Equal => {
                    self.next += 1;
                    // The caller has the path.
                    return Ok(Some(Known { path: std::mem::take(&mut known.path), ..*known }));
                }
                Ordering::Less => {
                    self.next += 1;
                    self.pass();
                }
            }
        }
    }

    /// Something was seen at this path that is no file to back up, or cannot be looked at.
    pub(crate) fn shadow(&mut self, catalog: &Catalog, path: &[u8]) -> Result<(), CatalogError> {
        loop {
            self.fill(catalog)?;
            match self.page.get(self.next) {
                Some(known) if walk_order(&known.path, path) == Ordering::Less => {
                    self.next += 1;
                    self.pass();
                }
                _ => break,
            }
        }
        self.shadow = Some(path.to_owned());
        Ok(())
    }

    /// The source was walked to its end: all that is left is gone. Ends after about a page; `true` when there is more.
    pub(crate) fn drain(&mut self, catalog: &Catalog) -> Result<bool, CatalogError> {
        self.fill(catalog)?;
        while self.next < self.page.len() {
            self.next += 1;
            self.pass();
        }
        Ok(!self.is_last_page)
    }

    /// What was found to be gone since this was asked.
    pub(crate) fn take_gone(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.gone)
    }

    pub(crate) fn source(&self) -> SourceId {
        self.source
    }

    /// Leaves the known file before the next behind.
    fn pass(&mut self) {
        let Some(known) = self.next.checked_sub(1).and_then(|at| self.page.get(at)) else { return };
        let is_in_state = matches!(known.state, FileState::Present | FileState::Doubtful);
        let is_shadowed = self.shadow.as_ref().is_some_and(|shadow| is_at_or_below(&known.path, shadow));
        if is_in_state && !is_shadowed {
            self.gone.push(known.path.clone());
        }
    }

    fn fill(&mut self, catalog: &Catalog) -> Result<(), CatalogError> {
        if self.next < self.page.len() || self.is_last_page {
            return Ok(());
        }
        catalog.known(self.source, self.end.as_deref(), PAGE, &mut self.page)?;
        self.is_last_page = self.page.len() < PAGE;
        self.end = self.page.last().map(|known| known.path.clone());
        self.next = 0;
        Ok(())
    }
}

/// The order in which a walk meets paths: byte by byte, `/` before all else.
pub(crate) fn walk_order(one: &[u8], other: &[u8]) -> Ordering {
    if one == other {
        return Ordering::Equal;
    }
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    match one.iter().zip(other).find(|(a, b)| a != b) {
        Some((a, b)) => rank(*a).cmp(&rank(*b)),
        None => one.len().cmp(&other.len()),
    }
}

fn is_at_or_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// Entries and shadows of a batch, as one series in walk order.
pub(crate) enum Seen {
    Entry(Entry),
    Shadow(PathBuf),
}

pub(crate) fn in_walk_order(entries: Vec<Entry>, shadows: Vec<PathBuf>) -> impl Iterator<Item = Seen> {
    let (mut entries, mut shadows) = (entries.into_iter().peekable(), shadows.into_iter().peekable());
    std::iter::from_fn(move || {
        let is_entry_next = match (entries.peek(), shadows.peek()) {
            (Some(entry), Some(shadow)) => {
                walk_order(entry.relative.as_os_str().as_bytes(), shadow.as_os_str().as_bytes()).is_lt()
            }
            (entry, _) => entry.is_some(),
        };
        if is_entry_next { entries.next().map(Seen::Entry) } else { shadows.next().map(Seen::Shadow) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_where_its_name_does() {
        let sorted = ["a", "a/b", "a/b/c", "a\u{1}", "a-b", "ab", "b"];
        for pair in sorted.windows(2) {
            assert_eq!(walk_order(pair[0].as_bytes(), pair[1].as_bytes()), Ordering::Less, "{pair:?}");
            assert_eq!(walk_order(pair[1].as_bytes(), pair[0].as_bytes()), Ordering::Greater, "{pair:?}");
        }
    }

    fn known(state: FileState) -> Known {
        let hints = Some(Hints { ctime_ns: 5, inode: 7 });
        Known { path: b"f".to_vec(), size: 1, mtime_ns: 5, mode: 0o100_644, hints, state }
    }

    const STAT: FileStat =
        FileStat { size: 1, mtime_ns: 5, ctime_ns: 5, mode: 0o100_644, inode: 7, device: 1 };

    #[test]
    fn only_a_file_of_which_nothing_changed_is_left_alone() {
        let present = known(FileState::Present);
        assert_eq!(judge(&present, &STAT, false), Verdict::Unchanged);
        assert_eq!(judge(&present, &FileStat { device: 2, ..STAT }, false), Verdict::Unchanged);
        assert_eq!(judge(&present, &STAT, true), Verdict::Take(Reason::Reread));
        assert_eq!(judge(&present, &FileStat { size: 2, ..STAT }, false), Verdict::Take(Reason::Changed));
        for touched in [
            FileStat { mtime_ns: 6, ..STAT },
            FileStat { mtime_ns: 4, ..STAT },
            FileStat { ctime_ns: 6, inode: 8, ..STAT },
            FileStat { ctime_ns: 6, ..STAT },
            FileStat { mode: 0o100_600, ..STAT },
        ] {
            assert_eq!(judge(&present, &touched, false), Verdict::Take(Reason::Touched), "{touched:?}");
        }
        assert_eq!(judge(&present, &FileStat { inode: 8, ..STAT }, false), Verdict::Learn);
        assert_eq!(judge(&Known { hints: None, ..present }, &STAT, false), Verdict::Learn);
    }

    #[test]
    fn what_was_lost_comes_back() {
        assert_eq!(judge(&known(FileState::Doubtful), &STAT, false), Verdict::Take(Reason::Repair));
        for state in [FileState::Gone, FileState::LocallyPruned] {
            assert_eq!(judge(&known(state), &STAT, false), Verdict::Take(Reason::Returned));
        }
    }

    #[test]
    fn all_below_a_shadow_is_spared() {
        assert!(is_at_or_below(b"a", b"a") && is_at_or_below(b"a/b", b"a"));
        assert!(!is_at_or_below(b"ab", b"a") && !is_at_or_below(b"a-b", b"a") && !is_at_or_below(b"", b"a"));
    }
}
