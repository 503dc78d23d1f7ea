//! What the tests share: rows, pages read to their end, and a child process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use chrono::{DateTime, Utc};
use s3backup_catalog::{Catalog, DestinationId, FileRow, FileState, Hints, Known, SourceId};
use s3backup_model::manifest::{ChecksumType, StoredChecksum};
use s3backup_model::{Key, RunId};

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_431_600 + seconds, 0).unwrap()
}

pub(crate) fn run(seconds: i64) -> RunId {
    RunId::new(at(seconds), 7)
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn row(source: SourceId, path: &[u8]) -> FileRow {
    FileRow {
        source,
        path: path.to_vec(),
        size: 10,
        mtime_ns: -1,
        mode: 0o100_644,
        hints: Some(Hints { ctime_ns: 5, inode: u64::MAX }),
        state: FileState::Present,
        key: Key::for_path("p", path).unwrap(),
        crc64nvme: "AAECAwQFBgc=".to_owned(),
        stored_size: 11,
        stored_checksum: Some(StoredChecksum {
            algorithm: "crc64nvme".to_owned(),
            value: "AAECAwQFBgc=".to_owned(),
            r#type: ChecksumType::FullObject,
        }),
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        version_id: Some("v1".to_owned()),
        encoding: "none".to_owned(),
        run: run(0),
    }
}

/// A catalog in a temporary file, with a destination and a source.
pub(crate) fn scratch() -> (Catalog, DestinationId, SourceId) {
    let catalog = Catalog::temporary().unwrap();
    let (destination, source) = places(&catalog);
    (catalog, destination, source)
}

pub(crate) fn places(catalog: &Catalog) -> (DestinationId, SourceId) {
    let destination = catalog.destination("", "bucket", "p").unwrap();
    (destination, catalog.source(destination, "", "/data").unwrap())
}

/// All that is known of a source, by pages of `limit`.
pub(crate) fn known(catalog: &Catalog, source: SourceId, limit: usize) -> Vec<Known> {
    let (mut all, mut page) = (Vec::<Known>::new(), Vec::new());
    loop {
        let after = all.last().map(|last| last.path.clone());
        catalog.known(source, after.as_deref(), limit, &mut page).unwrap();
        if page.is_empty() {
            return all;
        }
        assert!(page.len() <= limit);
        all.append(&mut page);
    }
}

pub(crate) fn known_paths(catalog: &Catalog, source: SourceId) -> Vec<Vec<u8>> {
    known(catalog, source, 7).into_iter().map(|known| known.path).collect()
}

/// The state, by pages of `limit`.
pub(crate) fn state(catalog: &Catalog, destination: DestinationId, limit: usize) -> Vec<FileRow> {
    let mut all = Vec::<FileRow>::new();
    loop {
        let after = all.last().map(|last| last.key.clone());
        let mut page = catalog.state_by_key(destination, after.as_ref(), limit).unwrap();
        if page.is_empty() {
            return all;
        }
        all.append(&mut page);
    }
}

pub(crate) fn unlisted(catalog: &Catalog, destination: DestinationId, limit: usize) -> Vec<FileRow> {
    let mut all = Vec::<FileRow>::new();
    loop {
        let after = all.last().map(|last| (last.source, last.path.clone()));
        let after = after.as_ref().map(|(source, path)| (*source, path.as_slice()));
        let mut page = catalog.unlisted(destination, after, limit).unwrap();
        if page.is_empty() {
            return all;
        }
        all.append(&mut page);
    }
}

/// Where a child of a test works; a test that finds it unset is not a child and does nothing.
pub(crate) const CHILD_DIR: &str = "S3BACKUP_CATALOG_TEST_DIR";

/// This test binary once more, with one test that plays the child, and the lines that it prints.
pub(crate) fn spawn(child: &str, dir: &Path) -> (Child, std::io::Lines<BufReader<ChildStdout>>) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    (process, lines)
}
