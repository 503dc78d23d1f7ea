//! What is committed stays, and nothing else is there: with a process that is killed, and with a journal whose end never
//! reached the disk.

use std::fs;
use std::path::Path;

use s3backup_catalog::Catalog;

use crate::common::{CHILD_DIR, at, key, known_paths, places, row, run, spawn};

const ROWS: usize = 16;

fn path(batch: usize, file: usize) -> Vec<u8> {
    format!("{batch:05}/{file:02}").into_bytes()
}

/// How many batches the catalog holds, each of which must be whole, with none missing before it.
fn batches(catalog: &Catalog) -> usize {
    let (_, source) = places(catalog);
    let found = known_paths(catalog, source);
    assert_eq!(found.len() % ROWS, 0, "a part of a batch is there");
    let count = found.len() / ROWS;
    let expected: Vec<_> =
        (0..count).flat_map(|batch| (0..ROWS).map(move |file| path(batch, file))).collect();
    assert_eq!(found, expected);
    count
}

fn put(catalog: &mut Catalog, batch: usize) {
    let (_, source) = places(catalog);
    let rows: Vec<_> = (0..ROWS).map(|file| row(source, &path(batch, file))).collect();
    catalog.put_files(&rows).unwrap();
}

/// Writes batches, and says of each that it is stored, until it is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let mut catalog = Catalog::open(&Path::new(&dir).join("catalog.db")).unwrap();
    let first = batches(&catalog);
    for batch in first..first + 2000 {
        put(&mut catalog, batch);
        let (destination, _) = places(&catalog);
        catalog.intend_upload(destination, &key(&format!("{batch}")), &run(0), at(0)).unwrap();
        println!("\nstored {batch}");
    }
}

#[test]
fn a_process_that_is_killed_leaves_what_it_was_told_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let seed = 7;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut before = 0;
    for _ in 0..6 {
        let (mut child, lines) = spawn("crash::child", dir.path());
        let mut stored =
            lines.filter_map(|line| line.unwrap().strip_prefix("stored ")?.parse::<usize>().ok());
        let last = stored.nth(random.usize(1..30)).expect("the child ended early");
        // Another process reads while that one writes.
        let meanwhile = batches(&Catalog::open(&dir.path().join("catalog.db")).unwrap());
        assert!(meanwhile > last);
        child.kill().unwrap();
        child.wait().unwrap();
        let last = stored.last().unwrap_or(last);

        let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
        assert!(!catalog.is_new());
        let now = batches(&catalog);
        let (destination, _) = places(&catalog);
        assert_eq!(catalog.count(destination).unwrap().files, (now * ROWS) as u64);
        assert!(now > last && now >= meanwhile && last >= before, "{now} batches after {last} and {before}");
        assert!(catalog.open_upload(destination, &key(&format!("{last}"))).unwrap().is_some());
        before = now;
    }
}

/// A catalog of 12 batches that nobody closed, as the bytes of its file and its journal.
fn unclosed() -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    let mut catalog = Catalog::open(&file).unwrap();
    for batch in 0..12 {
        put(&mut catalog, batch);
    }
    (fs::read(&file).unwrap(), fs::read(dir.path().join("catalog.db-wal")).unwrap())
}

fn reopened(database: &[u8], journal: &[u8]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    fs::write(&file, database).unwrap();
    fs::write(dir.path().join("catalog.db-wal"), journal).unwrap();
    let mut catalog = Catalog::open(&file).unwrap();
    let held = batches(&catalog);
    // It goes on from there.
    put(&mut catalog, held);
    assert_eq!(batches(&catalog), held + 1);
    held
}

#[test]
fn a_journal_without_its_end_gives_the_first_batches() {
    let (database, journal) = unclosed();
    assert_eq!(reopened(&database, &journal), 12);
    assert_eq!(reopened(&database, b""), 0, "also a file whose tables were never made is one to go on with");
    let seed = 11;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cuts: Vec<_> = (0..60).map(|_| random.usize(..journal.len())).collect();
    cuts.sort_unstable();
    let mut held = 0;
    for cut in cuts {
        let now = reopened(&database, &journal[..cut]);
        assert!(now >= held, "a longer journal held less");
        held = now;
    }
    assert!(held > 6, "the cuts are not where the batches are");
}

#[test]
fn a_journal_with_a_torn_page_gives_the_batches_before_it() {
    let (database, journal) = unclosed();
    let seed = 13;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..30 {
        let mut torn = journal.clone();
        let start = random.usize(..torn.len());
        let end = torn.len().min(start + 512);
        torn[start..end].fill(0);
        reopened(&database, &torn);
    }
}
