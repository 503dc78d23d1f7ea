//! Files: what is stored comes back, and belongs to whom it was stored for.

use std::os::unix::fs::PermissionsExt;
use std::thread;

use s3backup_catalog::{Catalog, Error, FileRow, FileState};
use s3backup_model::Tally;

use crate::common::{key, known_paths, places, row, run, scratch, state, unlisted};

#[test]
fn a_row_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state/job/catalog.db");
    let mut catalog = Catalog::open(&file).unwrap();
    assert!(catalog.is_new());
    for made in [dir.path().join("state"), dir.path().join("state/job")] {
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
    let (destination, source) = places(&catalog);
    let full = row(source, b"a/\xff\n%41.json");
    let mut bare = row(source, b"b");
    (bare.hints, bare.stored_checksum, bare.version_id, bare.crc64nvme) = (None, None, None, String::new());
    (bare.size, bare.stored_size) = (i64::MAX as u64, 0);
    catalog.put_files(&[full.clone(), bare.clone()]).unwrap();
    catalog.set_setting("catalog_id", "x").unwrap();
    catalog.set_setting("catalog_id", "y").unwrap();
    drop(catalog);

    let catalog = Catalog::open(&file).unwrap();
    assert!(!catalog.is_new());
    assert_eq!(catalog.setting("catalog_id").unwrap().as_deref(), Some("y"));
    assert_eq!(catalog.setting("other").unwrap(), None);
    assert_eq!(places(&catalog), (destination, source));
    assert_eq!(catalog.file(source, &full.path).unwrap().as_ref(), Some(&full));
    assert_eq!(catalog.file_of_key(destination, &bare.key).unwrap().as_ref(), Some(&bare));
    assert_eq!(state(&catalog, destination, 1), [full, bare]);
}

#[test]
fn another_bucket_knows_nothing_of_it() {
    let (mut catalog, destination, source) = scratch();
    catalog.put_files(&[row(source, b"a")]).unwrap();
    for (endpoint, bucket, prefix) in [("http://s", "bucket", "p"), ("", "other", "p"), ("", "bucket", "q")] {
        let other = catalog.destination(endpoint, bucket, prefix).unwrap();
        assert_ne!(other, destination);
        let its = catalog.source(other, "", "/data").unwrap();
        assert_eq!(known_paths(&catalog, its).len(), 0);
        assert_eq!(state(&catalog, other, 9).len(), 0);
        assert_eq!(unlisted(&catalog, other, 9).len(), 0);
        assert_eq!(catalog.file_of_key(other, &key("p/a")).unwrap(), None);
        catalog.forget_files(other).unwrap();
    }
    assert_eq!(catalog.count(destination).unwrap(), Tally { files: 1, bytes: 10 });
}

#[test]
fn a_source_that_moved_keeps_its_files() {
    let (mut catalog, destination, source) = scratch();
    catalog.put_files(&[row(source, b"a")]).unwrap();
    assert_eq!(catalog.source(destination, "", "/moved").unwrap(), source);
    let other = catalog.source(destination, "logs", "/logs").unwrap();
    let sources = catalog.sources(destination).unwrap();
    assert_eq!(
        sources.iter().map(|source| (source.id, &*source.prefix, &*source.root)).collect::<Vec<_>>(),
        [(source, "", "/moved"), (other, "logs", "/logs")]
    );
    assert_eq!(known_paths(&catalog, source), [b"a"]);
}

#[test]
fn one_bad_row_stores_nothing_of_its_batch() {
    let (mut catalog, destination, source) = scratch();
    let good = row(source, b"good");
    let mut bad: Vec<_> = (0..6).map(|_| row(source, b"bad")).collect();
    bad[0].size = i64::MAX as u64 + 1;
    bad[1].stored_size = u64::MAX;
    bad[2].path = Vec::new();
    bad[3].path = b"a\0b".to_vec();
    bad[4].crc64nvme = "AAEC".to_owned();
    bad[5].crc64nvme = "not base64!!".to_owned();
    for bad in bad {
        let error = catalog.put_files(&[good.clone(), bad.clone()]).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?} of {bad:?}");
        assert_eq!(catalog.count(destination).unwrap(), Tally::default());
    }
    catalog.forget_files(destination).unwrap();
    let again = catalog.source(destination, "", "/data").unwrap();
    assert_ne!(again, source, "the id of a source that was forgotten is not given again");
    assert!(matches!(catalog.put_files(&[good]), Err(Error::Refused { .. })));
}

#[test]
fn what_a_run_proves_keeps_the_run_that_put_it() {
    let (mut catalog, destination, source) = scratch();
    let old = row(source, b"a");
    assert_eq!(catalog.put_proved(&[(old.clone(), true)]).unwrap(), []);
    let now = FileRow { run: run(1), mtime_ns: 7, ..old.clone() };
    assert_eq!(catalog.put_proved(&[(now.clone(), false)]).unwrap(), []);
    assert_eq!(catalog.file(source, b"a").unwrap(), Some(FileRow { run: run(0), ..now.clone() }));
    let replaced = FileRow { etag: "other".to_owned(), ..now.clone() };
    for (found, is_sent) in [(&now, true), (&replaced, false)] {
        assert_eq!(catalog.put_proved(&[(found.clone(), is_sent)]).unwrap(), []);
        assert_eq!(catalog.file(source, b"a").unwrap().as_ref(), Some(found));
    }
    let moved = FileRow { key: key("p/elsewhere/a"), ..now };
    assert_eq!(catalog.put_proved(&[(moved.clone(), true)]).unwrap(), [replaced]);
    assert_eq!(state(&catalog, destination, 9), std::slice::from_ref(&moved));
    let usurper = FileRow { path: b"b".to_vec(), ..moved };
    assert_eq!(catalog.put_proved(&[(usurper.clone(), true)]).unwrap(), []);
    assert_eq!(state(&catalog, destination, 9), [usurper], "an object holds one file");
}

#[test]
fn what_is_not_in_a_manifest_is_remembered() {
    let (mut catalog, destination, source) = scratch();
    let other = catalog.source(destination, "logs", "/logs").unwrap();
    let paths = |catalog: &Catalog| {
        unlisted(catalog, destination, 1).into_iter().map(|row| (row.source, row.path)).collect::<Vec<_>>()
    };
    let mut log = row(other, b"a");
    log.key = key("p/logs/a");
    catalog.import_files(&[row(source, b"b"), row(source, b"a"), log]).unwrap();
    assert_eq!(paths(&catalog), []);
    let (a, b, c) = ((source, b"a".to_vec()), (source, b"b".to_vec()), (other, b"a".to_vec()));
    catalog.set_states(std::slice::from_ref(&a), FileState::Doubtful).unwrap();
    assert_eq!(paths(&catalog), [], "a manifest says nothing of doubt");
    catalog.set_states(&[c.clone(), b.clone()], FileState::LocallyPruned).unwrap();
    assert_eq!(paths(&catalog), [b.clone(), c.clone()]);
    catalog.set_states(std::slice::from_ref(&b), FileState::Doubtful).unwrap();
    assert_eq!(paths(&catalog), [b.clone(), c.clone()], "doubt does not make it listed");
    catalog.put_files(&[row(source, b"a")]).unwrap();
    assert_eq!(paths(&catalog), [a.clone(), b.clone(), c]);
    catalog.mark_listed(destination).unwrap();
    assert_eq!(paths(&catalog), []);

    let tally = |files| Tally { files, bytes: files * 10 };
    assert_eq!(catalog.count(destination).unwrap(), tally(3));
    assert_eq!(catalog.count_source(source).unwrap(), tally(2));
    assert_eq!(catalog.count_source(other).unwrap(), tally(0), "it was pruned locally");
    catalog.set_states(std::slice::from_ref(&a), FileState::Gone).unwrap();
    assert_eq!(catalog.count(destination).unwrap(), tally(2));
    catalog.remove_files(&[a, b]).unwrap();
    assert_eq!(catalog.count(destination).unwrap(), tally(1));
}

/// Of two files whose keys meet, the one that was sent last has the object. If the other were still held to be there, it
/// would be skipped as unchanged although nothing in the bucket has its bytes.
#[test]
fn an_object_belongs_to_the_file_that_was_put_last() {
    let (mut catalog, destination, source) = scratch();
    let mut second = row(source, b"second");
    second.key = key("p/first");
    second.run = run(1);
    catalog.put_files(&[row(source, b"first")]).unwrap();
    catalog.put_files(std::slice::from_ref(&second)).unwrap();
    assert_eq!(catalog.file(source, b"first").unwrap(), None);
    assert_eq!(state(&catalog, destination, 9), [second.clone()]);

    // A file that is gone is remembered beside the one that has its key now, and cannot come back to it.
    let gone = (source, b"second".to_vec());
    catalog.set_states(std::slice::from_ref(&gone), FileState::Gone).unwrap();
    assert_eq!(catalog.file_of_key(destination, &second.key).unwrap().unwrap().path, b"second");
    catalog.put_files(&[row(source, b"first")]).unwrap();
    assert_eq!(catalog.file_of_key(destination, &second.key).unwrap().unwrap().path, b"first");
    assert_eq!(known_paths(&catalog, source), [&b"first"[..], b"second"]);
    let error = catalog.set_states(std::slice::from_ref(&gone), FileState::Present).unwrap_err();
    assert!(matches!(error, Error::KeyTaken { .. }), "{error:?}");
    catalog.remove_files(&[(source, b"first".to_vec())]).unwrap();
    catalog.set_states(&[gone], FileState::Present).unwrap();
    assert_eq!(state(&catalog, destination, 9), [second]);
}

#[test]
fn a_sample_is_of_the_state_and_the_same_for_the_same_seed() {
    let (mut catalog, destination, source) = scratch();
    let mut rows: Vec<_> = (0..200).map(|n| row(source, format!("{n:03}").as_bytes())).collect();
    for row in rows.iter_mut().step_by(2) {
        row.state = FileState::Gone;
    }
    catalog.put_files(&rows).unwrap();
    let sample = catalog.sample(destination, 10, 7).unwrap();
    assert_eq!(sample.len(), 10);
    assert!(sample.iter().all(|row| row.state == FileState::Present));
    assert_eq!(catalog.sample(destination, 10, 7).unwrap(), sample);
    assert_ne!(catalog.sample(destination, 10, 8).unwrap(), sample);
    let mut all: Vec<_> =
        catalog.sample(destination, 1000, 7).unwrap().into_iter().map(|row| row.path).collect();
    all.sort();
    assert_eq!(all, (1..200).step_by(2).map(|n| format!("{n:03}").into_bytes()).collect::<Vec<_>>());
    assert_eq!(catalog.sample(destination, 0, 7).unwrap(), []);
    // Every file can be picked: none of 100 is missed by 100 samples of 10, but for a chance of 1 in 300.
    let mut picked: Vec<_> = (0..100)
        .flat_map(|seed| catalog.sample(destination, 10, seed).unwrap())
        .map(|row| row.path)
        .collect();
    picked.sort();
    picked.dedup();
    assert!(picked.len() >= 99, "{}", picked.len());
}

/// Whoever looks meanwhile sees whole batches, and neither waits nor makes the writer wait.
#[test]
fn others_read_while_a_run_writes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.db");
    let mut writer = Catalog::open(&file).unwrap();
    let (destination, source) = places(&writer);
    let reader = Catalog::open(&file).unwrap();
    let writing = thread::spawn(move || {
        for batch in 0..60 {
            let rows: Vec<_> =
                (0..50).map(|n| row(source, format!("{batch:02}/{n:02}").as_bytes())).collect();
            writer.put_files(&rows).unwrap();
        }
    });
    let mut seen = 0;
    while seen < 60 * 50 {
        let ended = writing.is_finished();
        let now = reader.count(destination).unwrap().files;
        assert!(now >= seen && now.is_multiple_of(50), "{now} after {seen}");
        assert!(!ended || now == 60 * 50, "the writer ended before its rows were there");
        seen = now;
    }
    writing.join().unwrap();
}
