//! Which files of a backup are meant: paths, directories and globs.

use globset::{GlobBuilder, GlobMatcher};

use crate::Error;

/// What a person asked for. Everything, when that is nothing.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    /// Whether it is matched against the local path; else against the key below the destination's prefix.
    is_local: bool,
    glob: Option<GlobMatcher>,
    has_matched: bool,
}

impl Selection {
    /// Each is a file, a directory (and all below it) or a glob. One that begins with a slash is a local path.
    pub(crate) fn new(paths: &[String]) -> Result<Self, Error> {
        let patterns = paths.iter().map(|path| Pattern::new(path)).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether the file with this key below the prefix and this local path, both escaped, is meant.
    pub(crate) fn takes(&mut self, key: &str, path: &str) -> bool {
        let mut takes = self.patterns.is_empty();
        // Every pattern is asked, so that each is known to match something.
        for pattern in &mut self.patterns {
            let matches = pattern.matches(if pattern.is_local { path } else { key });
            pattern.has_matched |= matches;
            takes |= matches;
        }
        takes
    }

    /// What matched nothing, when all files were asked about.
    pub(crate) fn unmatched(&self) -> Vec<String> {
        self.patterns
            .iter()
            .filter(|pattern| !pattern.has_matched)
            .map(|pattern| pattern.text.clone())
            .collect()
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Error> {
        let glob = if text.contains(['*', '?', '[', '{']) {
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            let glob = glob.map_err(|error| Error::invalid(format!("`{text}`"), error.to_string()))?;
            Some(glob.compile_matcher())
        } else {
            None
        };
        let is_local = text.starts_with('/');
        Ok(Self { text: text.to_owned(), is_local, glob, has_matched: false })
    }

    fn matches(&self, name: &str) -> bool {
        let wanted = self.text.trim_end_matches('/');
        let below = name.strip_prefix(wanted);
        let is_it = below.is_some_and(|rest| wanted.is_empty() || rest.is_empty() || rest.starts_with('/'));
        // A name may have the characters of a glob in it.
        is_it || self.glob.as_ref().is_some_and(|glob| glob.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, key: &str) -> bool {
        Selection::new(&[pattern.to_owned()]).unwrap().takes(key, &format!("/data/{key}"))
    }

    #[test]
    fn files_directories_and_globs_are_meant() {
        for (pattern, key) in [
            ("v1/a.json", "v1/a.json"),
            ("v1", "v1/a.json"),
            ("v1/", "v1/2026/a.json"),
            ("**/*.json", "v1/2026/a.json"),
            ("v?/*.json", "v1/a.json"),
            ("/data/v1", "v1/a.json"),
            ("/data/**/*.json", "v1/a.json"),
            ("/", "v1/a.json"),
            ("odd[1].txt", "odd[1].txt"),
        ] {
            assert!(takes(pattern, key), "{pattern} {key}");
        }
        for (pattern, key) in [
            ("v1", "v10/a"),
            ("v1/a", "v1/ab"),
            ("*.json", "v1/a.json"),
            ("/data/v", "v1/a"),
            ("a.json", "v1/a.json"),
        ] {
            assert!(!takes(pattern, key), "{pattern} {key}");
        }
        assert!(Selection::default().takes("x", "/y"));
    }

    #[test]
    fn what_matches_nothing_is_known() {
        let mut selection = Selection::new(&["a".to_owned(), "b".to_owned()]).unwrap();
        selection.takes("a/x", "/a/x");
        assert_eq!(selection.unmatched(), ["b"]);
        assert!(Selection::new(&["a[".to_owned()]).is_err());
    }
}
