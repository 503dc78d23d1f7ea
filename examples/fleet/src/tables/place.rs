//! Where the results of a part are.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use crate::atomic;
use crate::error::Error;
use crate::part::Part;

/// `RESULTS/<table>/date=2026-11-23`.
pub(crate) fn folder(results: &Path, table: &str, day: NaiveDate) -> PathBuf {
    results.join(table).join(format!("date={day}"))
}

/// `part-2-of-8.parquet`.
pub(crate) fn file_name(part: Part, extension: &str) -> String {
    format!("part-{}-of-{}.{extension}", part.index(), part.of())
}

/// Removes what a run with another number of parts left beside `path`: read together with it, trips would count twice.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn remove_other_parts(path: &Path, part: Part) -> Result<(), Error> {
    let Some(folder) = path.parent() else { return Ok(()) };
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let of = entry.file_name().to_str().and_then(parts_of);
        if of.is_some_and(|of| of != part.of()) {
            atomic::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// 8 for `part-2-of-8.parquet`.
fn parts_of(name: &str) -> Option<u32> {
    let (index, of) = name.strip_prefix("part-")?.split_once('.')?.0.split_once("-of-")?;
    index.parse::<u32>().ok()?;
    of.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_another_number_of_parts_go() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "part-1-of-2.parquet",
            "part-2-of-2.parquet",
            "part-3-of-4.parquet",
            "part-of.parquet",
            "mine.txt",
        ];
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let part = Part::new(1, 2).unwrap();
        remove_other_parts(&folder.path().join(file_name(part, "parquet")), part).unwrap();
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [true, true, false, true, true]);
    }
}
