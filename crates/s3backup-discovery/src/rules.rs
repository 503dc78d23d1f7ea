//! What to take and what to leave: patterns, age, links, selection.

use std::path::Path;
use std::time::Duration;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::Select;

/// What to take below a source and what to leave. Cheap to clone.
///
/// # Patterns
///
/// A pattern is matched against the whole path below the source, byte by byte, so names that are not UTF-8 can be
/// matched too:
///
/// | pattern | stands for |
/// | --- | --- |
/// | `*` | any number of bytes within one name |
/// | `**` | any number of directories, none included; always alone between slashes: `**/x`, `x/**`, `a/**/b` |
/// | `?` | one byte within a name (a letter outside of ASCII has several) |
/// | `[a-z]`, `[!a-z]` | one byte among these, one (even a slash) that is not |
/// | `{a,b}` | either |
/// | `\*` | the character itself |
///
/// So `*.json` means files directly in the source, and `**/*.json` those at any depth. Names that begin with a dot
/// are like any other.
///
/// A file is taken if some `include` pattern matches it (or there are none) and no `exclude` pattern does. A
/// directory that an `exclude` pattern matches (`**/tmp`), or below which one matches everything (`**/tmp/**`), is
/// not even opened and counts as one skip. `include` never keeps a directory from being walked.
///
/// The default takes every file, and leaves symbolic links alone.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `None` takes everything.
    include: Option<GlobSet>,
    exclude: GlobSet,
    /// Matches directories below which `exclude` matches everything.
    prune: GlobSet,
    pub(crate) min_age: Duration,
    pub(crate) symlinks: Symlinks,
    pub(crate) select: Select,
}

/// What to do with symbolic links below a source. The source itself may always be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// Leave them out, and count them.
    #[default]
    Skip,
    /// Treat them as what they lead to, also outside of the source. Links that lead back to a directory above them
    /// and links to nothing are failures. A file to which two paths lead is two entries, so many directories that
    /// link to one another crosswise give very many.
    Follow,
}

/// Rules that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pattern is malformed, or could never match anything.
    #[error("the pattern {pattern:?} cannot be used: {why}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it, and what to write instead where that is clear.
        why: String,
    },
}

impl Rules {
    /// Starts from rules that take every file.
    pub fn builder() -> RulesBuilder {
        RulesBuilder::default()
    }

    /// The same rules for another day: patterns are compiled once for all runs of a job.
    #[must_use]
    pub fn with_select(mut self, select: Select) -> Self {
        self.select = select;
        self
    }

    /// Whether no `include` pattern lets the file at `relative` through.
    pub(crate) fn leaves_out(&self, relative: &Path) -> bool {
        self.include.as_ref().is_some_and(|include| !include.is_match(relative))
    }

    /// Whether an `exclude` pattern matches what is at `relative`, file or directory.
    pub(crate) fn excludes(&self, relative: &Path) -> bool {
        !self.exclude.is_empty() && self.exclude.is_match_candidate(&Candidate::new(relative))
    }

    /// Whether `exclude` matches everything that can be below the directory at `relative`.
    pub(crate) fn excludes_below(&self, relative: &Path) -> bool {
        !self.prune.is_empty() && self.prune.is_match_candidate(&Candidate::new(relative))
    }
}

/// Collects what [`Rules`] are made of.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RulesBuilder {
    include: Vec<String>,
    exclude: Vec<String>,
    min_age: Duration,
    symlinks: Symlinks,
    select: Select,
}

impl RulesBuilder {
    /// Adds patterns of files to take. Without any, all are taken.
    pub fn include(mut self, patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.include.extend(patterns.into_iter().map(|p| p.as_ref().to_owned()));
        self
    }

    /// Adds patterns of files and directories to leave out; they win over `include`. None by default.
    pub fn exclude(mut self, patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.exclude.extend(patterns.into_iter().map(|p| p.as_ref().to_owned()));
        self
    }

    /// Leaves out files that were modified less than this before the walk looks at them: they may still be written.
    /// Default: zero, which leaves out none.
    ///
    /// A file whose time is still to come when it is looked at is taken: a wrong clock must not hide it for ever.
    pub fn min_age(mut self, age: Duration) -> Self {
        self.min_age = age;
        self
    }

    /// What to do with symbolic links. Default: [`Symlinks::Skip`].
    pub fn symlinks(mut self, symlinks: Symlinks) -> Self {
        self.symlinks = symlinks;
        self
    }

    /// Which of the files to take, by modification time. Default: [`Select::All`].
    pub fn select(mut self, select: Select) -> Self {
        self.select = select;
        self
    }

    /// Compiles the rules. Errors on a pattern that is malformed, and on one that could never match, such as one
    /// that starts with a slash: it would leave out files, or take them, without a word.
    pub fn build(self) -> Result<Rules, Error> {
        let below: Vec<&str> = self.exclude.iter().filter_map(|p| everything_below(p)).collect();
        Ok(Rules {
            include: if self.include.is_empty() { None } else { Some(compile(&self.include)?) },
            exclude: compile(&self.exclude)?,
            prune: compile(&below)?,
            min_age: self.min_age,
            symlinks: self.symlinks,
            select: self.select,
        })
    }
}

/// The pattern of directories below which `pattern` matches everything.
fn everything_below(pattern: &str) -> Option<&str> {
    let directory = pattern.strip_suffix("/**").or_else(|| pattern.strip_suffix("/**/*"))?;
    (!directory.is_empty()).then_some(directory)
}

fn compile(patterns: &[impl AsRef<str>]) -> Result<GlobSet, Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns.iter().map(AsRef::as_ref) {
        let bad = |why: String| Error::BadPattern { pattern: pattern.to_owned(), why };
        if let Some(why) = never_matches(pattern) {
            return Err(bad(why.to_owned()));
        }
        let glob = GlobBuilder::new(pattern).literal_separator(true).empty_alternates(true).build();
        set.add(glob.map_err(|error| bad(error.kind().to_string()))?);
    }
    set.build().map_err(|error| Error::BadPattern {
        pattern: error.glob().unwrap_or_default().to_owned(),
        why: error.kind().to_string(),
    })
}

/// Why a pattern would not do what whoever wrote it meant.
fn never_matches(pattern: &str) -> Option<&'static str> {
    if pattern.is_empty() {
        Some("it is empty; leave it out")
    } else if pattern.starts_with('/') {
        Some("it starts with a slash, and paths are relative to the source; leave the slash out")
    } else if pattern.ends_with('/') {
        Some("it ends with a slash; to mean a directory and all below it, leave the slash out")
    } else if pattern.split('/').any(|name| matches!(name, "" | "." | "..")) {
        Some("no path below the source has an empty name, `.` or `..` in it; leave these out")
    } else if has_joined_double_star(pattern) {
        Some("`**` must stand alone between slashes; `**/*.json` means the files at any depth")
    } else {
        None
    }
}

/// Whether `**` stands anywhere but alone between slashes. The matcher would take it for `*`, which would make
/// `**.json` mean the files directly in the source, without a word.
fn has_joined_double_star(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'[' => at = end_of_class(bytes, at),
            b'*' if bytes.get(at + 1) == Some(&b'*') => {
                let around = (at.checked_sub(1).map(|before| bytes[before]), bytes.get(at + 2));
                let fits = matches!(
                    around,
                    (None | Some(b'/'), None | Some(b'/'))
                        | (Some(b'{' | b','), Some(b'/'))
                        | (Some(b'/'), Some(b'}' | b','))
                );
                if !fits {
                    return true;
                }
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Where the class that opens at `open` closes. Its first character is never the closing bracket.
fn end_of_class(pattern: &[u8], open: usize) -> usize {
    let negated = matches!(pattern.get(open + 1), Some(b'!' | b'^'));
    let first = open + 1 + usize::from(negated);
    let rest = pattern.get(first + 1..).unwrap_or_default();
    first + 1 + rest.iter().position(|&byte| byte == b']').unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn rules(include: &[&str], exclude: &[&str]) -> Rules {
        Rules::builder().include(include).exclude(exclude).build().unwrap()
    }

    fn takes(rules: &Rules, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        !rules.excludes(path) && !rules.leaves_out(path)
    }

    #[test]
    fn include_and_exclude_as_a_table() {
        type Case = (&'static [&'static str], &'static [&'static str], &'static [u8], bool);
        let cases: &[Case] = &[
            (&[], &[], b"a/b.json", true),
            (&[], &[], b".hidden", true),
            (&["*.json"], &[], b"b.json", true),
            (&["*.json"], &[], b"a/b.json", false),
            (&["**/*.json"], &[], b"b.json", true),
            (&["**/*.json"], &[], b"a/b/c.json", true),
            (&["**/*.json"], &[], b".json", true),
            (&["**/*.json"], &[], b"a/b.JSON", false),
            (&["**/*.json"], &[], b"a/b.json.tmp", false),
            (&["a/*/c"], &[], b"a/b/c", true),
            (&["a/*/c"], &[], b"a/b/b/c", false),
            (&["a/**/c"], &[], b"a/c", true),
            (&["a/**/c"], &[], b"a/b/b/c", true),
            (&["a/**"], &[], b"a/b/c", true),
            (&["a/**"], &[], b"ab/c", false),
            (&["**"], &[], b"a/b", true),
            (&["trip-?.{json,csv}"], &[], b"trip-1.csv", true),
            (&["trip-?.{json,csv}"], &[], b"trip-10.csv", false),
            (&["trip{,-old}"], &[], b"trip", true),
            (&["trip-[0-9]"], &[], b"trip-7", true),
            (&["trip-[!0-9]"], &[], b"trip-7", false),
            (&["a\\*"], &[], b"a*", true),
            (&["a\\*"], &[], b"ab", false),
            (&["a", "b"], &[], b"b", true),
            (&["**/*.json"], &["**/*.json"], b"a.json", false),
            (&[], &["**/*.tmp"], b"x/a.tmp", false),
            (&[], &["*.tmp"], b"x/a.tmp", true),
            (&["**/*"], &["x/**"], b"x/a", false),
            // Bytes that are not UTF-8, line ends, and letters of several bytes.
            (&["**/*.json"], &[], b"caf\xe9/\xff.json", true),
            (&["a/**"], &[], b"a/b\nc/d", true),
            (&["*.json"], &[], b"two\nlines.json", true),
            (&["caf?"], &[], b"caf\xe9", true),
            (&["\u{65e5}*"], &[], "\u{65e5}\u{672c}".as_bytes(), true),
        ];
        for &(include, exclude, path, expected) in cases {
            let taken = takes(&rules(include, exclude), path);
            assert_eq!(taken, expected, "{include:?} but {exclude:?} on {:?}", OsStr::from_bytes(path));
        }
    }

    #[test]
    fn a_directory_is_pruned_if_nothing_below_it_can_be_taken() {
        for (exclude, directory, expected) in [
            ("a/**", "a", true),
            ("a/**/*", "a", true),
            ("**/tmp/**", "x/tmp", true),
            ("a/**", "ab", false),
            ("a/**/*.tmp", "a", false),
            ("a/*", "a", false),
        ] {
            assert_eq!(
                rules(&[], &[exclude]).excludes_below(Path::new(directory)),
                expected,
                "{exclude} on {directory}"
            );
        }
        let all = rules(&[], &["**"]);
        assert!(all.excludes(Path::new("a")));
    }

    #[test]
    fn patterns_that_would_not_do_what_they_seem_to_are_refused() {
        for bad in [
            "", "/a", "a/", "./a", "a//b", "../a", "a/./b", "**.json", "a**", "a/**b", "***", "a/{**,b}",
            "[a", "a]**", "{a,b", "[z-a]", "a\\",
        ] {
            let Error::BadPattern { pattern, why } = Rules::builder().exclude([bad]).build().unwrap_err();
            assert_eq!(pattern, bad);
            assert!(!why.is_empty());
        }
        for good in
            ["{**/a,b/**}", "a/{b/**,c}", "[]*]", "[!]**]", "[**]", "\\**", "a/**/b", "**/a", "a.b", "..."]
        {
            assert!(Rules::builder().include([good]).build().is_ok(), "{good}");
        }
        let error = Rules::builder().include(["**.json"]).build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the pattern \"**.json\" cannot be used: `**` must stand alone between slashes; `**/*.json` means the \
             files at any depth"
        );
    }
}
