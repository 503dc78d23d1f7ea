//! Files that are no catalog, or no longer one: an error that says so, and neither a panic nor wrong rows.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use s3backup_catalog::{Catalog, Error};
use tempfile::TempDir;

use crate::common::{known, places, row, state};

const FILES: usize = 3000;

fn filled() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    let mut catalog = Catalog::open(&file).unwrap();
    let (_, source) = places(&catalog);
    let rows: Vec<_> = (0..FILES).map(|n| row(source, format!("trips/{n:06}.json").as_bytes())).collect();
    catalog.put_files(&rows).unwrap();
    drop(catalog);
    assert!(!dir.path().join("catalog.db-wal").exists(), "a catalog that is closed is one file");
    (dir, file)
}

/// Everything that there is to read.
fn read_all(file: &Path) -> Result<usize, Error> {
    let catalog = Catalog::open(file)?;
    let destination = catalog.destination("", "bucket", "p")?;
    let source = catalog.source(destination, "", "/data")?;
    let mut page = Vec::new();
    catalog.known(source, None, FILES, &mut page)?;
    let unlisted = catalog.unlisted(destination, None, FILES)?.len();
    let state = catalog.state_by_key(destination, None, FILES)?.len();
    catalog.count(destination)?;
    assert_eq!((page.len(), unlisted), (state, state));
    Ok(state)
}

fn sql(file: &Path, statement: &str) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.execute_batch(statement).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_corrupt_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    let text = "not a database, but longer than its header would be\n".repeat(100);
    fs::write(&file, &text).unwrap();
    let error = Catalog::open(&file).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    assert!(error.to_string().contains("catalog.db") && error.to_string().contains("status --rebuild"));
    assert!(error.source().is_some());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_database_of_another_program_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    sql(&file, "CREATE TABLE theirs (a)");
    let before = fs::read(&file).unwrap();
    assert!(Catalog::open(&file).unwrap_err().is_corrupt());
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    fs::write(&file, b"").unwrap();
    assert!(Catalog::open(&file).unwrap().is_new());
    assert!(!Catalog::open(&file).unwrap().is_new());
}

#[test]
fn a_newer_catalog_is_not_touched() {
    let (_dir, file) = filled();
    sql(&file, "PRAGMA user_version = 99");
    let before = fs::read(&file).unwrap();
    let error = Catalog::open(&file).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }) && error.is_newer(), "{error:?}");
    assert!(error.to_string().contains("newer version of s3backup"));
    assert_eq!(fs::read(&file).unwrap(), before);
}

/// Pages that are overwritten in the middle are met when they are read.
#[test]
fn damage_that_is_met_later_is_corrupt() {
    let (_dir, file) = filled();
    let whole = fs::read(&file).unwrap();
    let seed = 3;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut met = 0;
    for _ in 0..40 {
        let mut damaged = whole.clone();
        let page = random.usize(..whole.len() / 4096) * 4096;
        damaged[page..page + 4096].fill(0xa5);
        fs::write(&file, &damaged).unwrap();
        match read_all(&file) {
            // The page was one of a table that was not read.
            Ok(rows) => assert_eq!(rows, FILES),
            Err(error) => {
                assert!(error.is_corrupt(), "{error:?}");
                met += 1;
            }
        }
    }
    assert!(met > 30, "only {met} of 40");
}

#[test]
fn a_file_that_was_cut_short_is_corrupt() {
    let (_dir, file) = filled();
    let whole = fs::read(&file).unwrap();
    for kept in [100, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&file, &whole[..kept]).unwrap();
        let error = read_all(&file).unwrap_err();
        assert!(error.is_corrupt(), "{kept}: {error:?}");
    }
}

/// Values that this code never writes, in a file that is a sound database.
#[test]
fn odd_values_are_corrupt() {
    for change in [
        "state = 9",
        "size = -1",
        "mode = -1",
        "mode = 4294967296",
        "inode = NULL",
        "key = ''",
        "path = CAST('a/b' AS BLOB)",
        "path = x''",
        "crc64nvme = x'00'",
        "checksum = NULL",
        "checksum_type = 7",
        "stored_size = -1",
        "etag = CAST(x'ff' AS TEXT)",
    ] {
        let (_dir, file) = filled();
        sql(&file, &format!("UPDATE file SET {change} WHERE key = 'p/trips/000007.json'"));
        let catalog = Catalog::open(&file).unwrap();
        let (destination, source) = places(&catalog);
        let mut page = Vec::new();
        let errors = [
            catalog.known(source, None, FILES, &mut page).err(),
            catalog.unlisted(destination, None, FILES).err(),
        ];
        assert!(errors.iter().flatten().all(Error::is_corrupt), "{change}: {errors:?}");
        // An empty path stands before all pages; the others are met.
        assert!(errors.iter().flatten().count() > 0 || change == "path = x''", "{change}");
    }
}

#[test]
fn a_whole_catalog_gives_every_row() {
    let (_dir, file) = filled();
    assert_eq!(read_all(&file).unwrap(), FILES);
    let catalog = Catalog::open(&file).unwrap();
    let (destination, source) = places(&catalog);
    assert_eq!(known(&catalog, source, 1024).len(), FILES);
    assert_eq!(state(&catalog, destination, 1000).len(), FILES);
}

#[test]
fn a_check_finds_what_no_reading_has_met() {
    let (_dir, file) = filled();
    assert_eq!(Catalog::open(&file).unwrap().check().unwrap(), None);
    // A page far behind what opening reads.
    let mut bytes = fs::read(&file).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let found = Catalog::open(&file).and_then(|catalog| catalog.check());
    assert!(found.as_ref().map_or_else(Error::is_corrupt, Option::is_some), "{found:?}");
}
