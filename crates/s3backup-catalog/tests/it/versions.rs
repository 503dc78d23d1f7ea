//! The history of objects, as manifests tell it.

use s3backup_catalog::{Catalog, FileRow, FileState, VersionRow};
use s3backup_model::Tally;
use s3backup_model::manifest::{Line, Op};

use crate::common::{key, row, run, scratch};

fn line(op: Op, name: &str, version: Option<&str>, etag: &str) -> Line {
    Line {
        op,
        path: format!("/data/{name}"),
        key: key(&format!("p/{name}")),
        size: 1,
        mtime_ns: 0,
        mode: 0o100_644,
        crc64nvme: String::new(),
        stored_size: 7,
        stored_checksum: None,
        etag: etag.to_owned(),
        version_id: version.map(ToOwned::to_owned),
        encoding: "none".to_owned(),
        run: None,
    }
}

fn put_and_end(version: Option<VersionRow>) -> Option<(i64, Option<i64>)> {
    let second = |id: &s3backup_model::RunId| (-9..100).find(|second| run(*second) == *id).unwrap();
    version.map(|row| (second(&row.put_run), row.ended_run.as_ref().map(second)))
}

#[test]
fn a_new_version_ends_the_one_before_it() {
    let (mut catalog, destination, _) = scratch();
    for (second, version) in [(1, "v1"), (3, "v2"), (5, "v3")] {
        catalog.note_versions(&run(second), &[line(Op::Put, "a", Some(version), version)]).unwrap();
    }
    catalog.note_versions(&run(6), &[line(Op::Meta, "a", Some("v3"), "v3")]).unwrap();
    catalog.note_versions(&run(7), &[line(Op::RemovedByPrune, "a", Some("v3"), "v3")]).unwrap();
    let of = |catalog: &Catalog, id| put_and_end(catalog.version(&key("p/a"), Some(id)).unwrap());
    assert_eq!(of(&catalog, "v1"), Some((1, Some(3))));
    assert_eq!(of(&catalog, "v2"), Some((3, Some(5))));
    assert_eq!(of(&catalog, "v3"), Some((5, None)));
    assert_eq!(catalog.open_versions().unwrap(), Tally { files: 1, bytes: 7 });
    catalog.note_versions(&run(9), &[line(Op::Gone, "a", Some("v3"), "v3")]).unwrap();
    assert_eq!(of(&catalog, "v3"), Some((5, Some(9))));

    let first = catalog.ended_versions(destination, None, 2).unwrap();
    let last = &first[1].0;
    let rest = catalog.ended_versions(destination, Some((&last.key, last.version_id.as_deref())), 2).unwrap();
    let ids: Vec<_> = first.into_iter().chain(rest).filter_map(|(row, _)| row.version_id).collect();
    assert_eq!(ids, ["v3", "v2", "v1"]);
    catalog.clear_versions().unwrap();
    assert_eq!(of(&catalog, "v1"), None);
}

#[test]
fn without_versions_what_was_overwritten_is_not_there_to_be_told_of() {
    let (mut catalog, ..) = scratch();
    let of = |catalog: &Catalog| put_and_end(catalog.version(&key("p/a"), None).unwrap());
    catalog.note_versions(&run(1), &[line(Op::Put, "a", None, "e1")]).unwrap();
    catalog.note_versions(&run(4), &[line(Op::Put, "a", None, "e2")]).unwrap();
    assert_eq!(of(&catalog), Some((4, None)));
    // It is gone, and back: the same object.
    catalog.note_versions(&run(6), &[line(Op::Gone, "a", None, "e2")]).unwrap();
    assert_eq!(of(&catalog), Some((4, Some(6))));
    catalog.note_versions(&run(8), &[line(Op::Meta, "a", None, "e2")]).unwrap();
    assert_eq!(of(&catalog), Some((4, None)));
    // A file of other bytes was there under this key.
    catalog.note_versions(&run(9), &[line(Op::Gone, "a", None, "e1")]).unwrap();
    assert_eq!(of(&catalog), Some((4, None)));
}

#[test]
fn a_file_that_takes_over_the_object_of_another_keeps_it() {
    let (mut catalog, ..) = scratch();
    catalog.note_versions(&run(1), &[line(Op::Put, "a", None, "e")]).unwrap();
    // The one found that the bytes are there, the other moved away, in one run.
    let lines = [line(Op::Put, "a", None, "e"), line(Op::Gone, "a", None, "e")];
    catalog.note_versions(&run(2), &lines).unwrap();
    assert_eq!(put_and_end(catalog.version(&key("p/a"), None).unwrap()), Some((1, None)));
}

#[test]
fn what_a_killed_run_had_put_is_known_from_that_run_on() {
    let (mut catalog, ..) = scratch();
    catalog.note_versions(&run(1), &[line(Op::Put, "a", Some("v1"), "e1")]).unwrap();
    let late = Line { run: Some(run(2)), ..line(Op::Put, "a", Some("v2"), "e2") };
    catalog.note_versions(&run(5), &[late, line(Op::Gone, "a", Some("v2"), "e2")]).unwrap();
    let of = |id| put_and_end(catalog.version(&key("p/a"), Some(id)).unwrap());
    // The state after run 2 still shows the first, in whichever way it is read.
    assert_eq!(of("v1"), Some((1, Some(5))));
    assert_eq!(of("v2"), Some((2, Some(5))));
}

#[test]
fn the_state_may_refer_to_what_has_ended() {
    let (mut catalog, destination, source) = scratch();
    let file = |name: &str, version: Option<&str>, state| FileRow {
        version_id: version.map(ToOwned::to_owned),
        state,
        ..row(source, name.as_bytes())
    };
    let rows = [
        file("same", Some("v1"), FileState::Present),
        file("other", Some("v2"), FileState::LocallyPruned),
        file("gone", Some("v1"), FileState::Gone),
        file("doubtful", Some("v2"), FileState::Doubtful),
        file("unknown", None, FileState::Present),
    ];
    catalog.import_files(&rows).unwrap();
    for name in ["same", "other", "gone", "doubtful", "unknown", "stranger"] {
        catalog.note_versions(&run(1), &[line(Op::Put, name, Some("v1"), "e")]).unwrap();
        catalog.note_versions(&run(2), &[line(Op::Gone, name, Some("v1"), "e")]).unwrap();
    }
    let ended = catalog.ended_versions(destination, None, 9).unwrap();
    let kept: Vec<_> = ended.iter().filter(|(_, is)| *is).map(|(row, _)| row.key.as_str()).collect();
    assert_eq!((ended.len(), kept), (6, vec!["p/doubtful", "p/same", "p/unknown"]));

    let object = |name: &str| (key(&format!("p/{name}")), Some("v1".to_owned()));
    catalog.forget_gone(destination, &[object("gone"), object("same"), object("stranger")]).unwrap();
    assert_eq!(catalog.file(source, b"gone").unwrap(), None);
    assert!(catalog.file(source, b"same").unwrap().is_some());
}
