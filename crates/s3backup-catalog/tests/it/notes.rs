//! What one run or command notes for itself.

use s3backup_catalog::{Catalog, Deferred, FileState};
use s3backup_model::{FileStat, Tally};

use crate::common::{key, places, row, scratch, unlisted};

fn deferred(source: s3backup_catalog::SourceId, n: u64) -> Deferred {
    let stat = FileStat {
        size: n,
        mtime_ns: -5,
        ctime_ns: 6,
        mode: 0o100_600,
        inode: u64::MAX - n,
        device: 1 << 63,
    };
    Deferred { source, path: format!("late/{n}").into_bytes(), stat }
}

#[test]
fn notes_vanish_and_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    let mut catalog = Catalog::open(&file).unwrap();
    let (_, source) = places(&catalog);
    catalog.put_files(&[row(source, b"a")]).unwrap();
    catalog.note_gone(source, &[b"a".to_vec()]).unwrap();
    catalog.defer(&[deferred(source, 1)]).unwrap();
    catalog.note_listed(&[(key("p/a"), 1, "e".to_owned())]).unwrap();
    let other = Catalog::open(&file).unwrap();
    assert_eq!(other.deferred(0, 9).unwrap(), [], "another connection has notes of its own");
    assert_eq!(other.listed(&key("p/a")).unwrap(), None);
    drop((catalog, other));

    let mut catalog = Catalog::open(&file).unwrap();
    assert_eq!(catalog.apply_gone(source, 9).unwrap(), []);
    assert_eq!(catalog.deferred(0, 9).unwrap(), []);
    assert_eq!(catalog.listed(&key("p/a")).unwrap(), None);
    assert!(catalog.file(source, b"a").unwrap().is_some());
}

#[test]
fn files_that_are_gone_are_told_of_once() {
    let (mut catalog, destination, source) = scratch();
    let other = catalog.source(destination, "logs", "/logs").unwrap();
    let mut rows: Vec<_> = (0..9).map(|n| row(source, format!("d/{n}").as_bytes())).collect();
    rows[1].state = FileState::Gone;
    rows[3].state = FileState::LocallyPruned;
    rows[4].state = FileState::Doubtful;
    catalog.import_files(&rows).unwrap();
    let mut log = row(other, b"d/0");
    log.key = key("p/logs/0");
    catalog.import_files(&[log]).unwrap();

    // The last one stays; one is noted that nobody knows.
    let mut noted: Vec<_> = rows[..8].iter().map(|row| row.path.clone()).collect();
    noted.push(b"d/unknown".to_vec());
    catalog.note_gone(source, &noted).unwrap();
    catalog.note_gone(source, &noted[..2]).unwrap();
    catalog.note_gone(other, &[b"d/0".to_vec()]).unwrap();
    let mut gone = Vec::new();
    loop {
        let page = catalog.apply_gone(source, 2).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2 && page.iter().all(|row| row.state == FileState::Gone));
        gone.extend(page);
    }
    let paths: Vec<_> = gone.iter().map(|row| String::from_utf8(row.path.clone()).unwrap()).collect();
    assert_eq!(paths, ["d/0", "d/2", "d/4", "d/5", "d/6", "d/7"]);
    assert_eq!(unlisted(&catalog, destination, 4), gone);
    assert_eq!(catalog.count_source(source).unwrap().files, 1);
    assert_eq!(catalog.apply_gone(source, 9).unwrap(), []);

    catalog.drop_gone(other).unwrap();
    assert_eq!(catalog.apply_gone(other, 9).unwrap(), []);
    assert_eq!(catalog.count_source(other).unwrap().files, 1);
}

#[test]
fn deferred_files_come_in_the_order_in_which_they_were_noted() {
    let (mut catalog, _, source) = scratch();
    let files: Vec<_> = [5, 3, 9, 3, 1].into_iter().map(|n| deferred(source, n)).collect();
    catalog.defer(&files[..2]).unwrap();
    catalog.defer(&files[2..]).unwrap();
    let first = catalog.deferred(0, 3).unwrap();
    let rest = catalog.deferred(first.last().unwrap().0, 9).unwrap();
    let (numbers, noted): (Vec<_>, Vec<_>) = first.into_iter().chain(rest).unzip();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(noted, files);
    catalog.clear_deferred().unwrap();
    assert_eq!(catalog.deferred(0, 9).unwrap(), []);
    catalog.defer(&files[..1]).unwrap();
    assert_eq!(catalog.deferred(0, 9).unwrap(), [(1, files[0].clone())]);
}

#[test]
fn the_state_is_held_against_what_the_bucket_lists() {
    let (mut catalog, destination, source) = scratch();
    let mut gone = row(source, b"gone");
    gone.state = FileState::Gone;
    catalog.put_files(&[row(source, b"b"), row(source, b"a"), row(source, b"c"), gone]).unwrap();
    let object = |name: &str, size| (key(name), size, format!("etag of {name}"));
    // In any order, one of them twice.
    let listing = [object("p/c", 1), object("q", 7), object("p/gone", 3), object("p/a", 9), object("p/z", 5)];
    catalog.note_listed(&listing).unwrap();
    catalog.note_listed(&[object("p/c", 2)]).unwrap();
    assert_eq!(catalog.listed(&key("p/c")).unwrap(), Some((2, "etag of p/c".to_owned())));
    assert_eq!(catalog.listed(&key("p/b")).unwrap(), None);

    let first = catalog.state_against_listing(destination, None, 2).unwrap();
    let rest = catalog.state_against_listing(destination, Some(&first[1].0.key), 2).unwrap();
    let joined: Vec<_> = first
        .into_iter()
        .chain(rest)
        .map(|(row, listed)| (row.key.as_str().to_owned(), listed.map(|(size, _)| size)))
        .collect();
    assert_eq!(joined, [("p/a".to_owned(), Some(9)), ("p/b".to_owned(), None), ("p/c".to_owned(), Some(2))]);

    let (tally, keys) = catalog.strangers(destination, 1).unwrap();
    assert_eq!((tally, keys), (Tally { files: 2, bytes: 12 }, vec![key("p/z")]));
    catalog.clear_listed().unwrap();
    assert_eq!(catalog.strangers(destination, 9).unwrap(), (Tally::default(), Vec::new()));
}
