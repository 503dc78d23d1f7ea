//! Whatever is done to the files, the catalog says the same as a map of rows.

use std::collections::BTreeMap;

use proptest::prelude::*;
use s3backup_catalog::{FileRow, FileState, SourceId};

use crate::common::{key, known, row, scratch, state, unlisted};

#[derive(Clone, Debug)]
enum Change {
    Put { rows: Vec<(usize, Vec<u8>, u8, FileState)>, listed: bool },
    Set { files: Vec<(usize, Vec<u8>)>, to: FileState },
    Remove { files: Vec<(usize, Vec<u8>)> },
    Gone { source: usize, paths: Vec<Vec<u8>> },
    List,
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[b"a", b"b", b"a-", b"a\x01", b"\xff", b"-"];
    proptest::collection::vec(proptest::sample::select(pieces), 1..3).prop_map(|names| names.join(&b'/'))
}

fn any_state() -> impl Strategy<Value = FileState> {
    use FileState::{Doubtful, Gone, LocallyPruned, Present};
    proptest::sample::select(&[Present, Doubtful, Gone, LocallyPruned][..])
}

fn change() -> impl Strategy<Value = Change> {
    let files = || proptest::collection::vec((0..2_usize, path()), 0..4);
    prop_oneof![
        4 => (proptest::collection::vec((0..2_usize, path(), 0..30_u8, any_state()), 0..6), any::<bool>())
            .prop_map(|(rows, listed)| Change::Put { rows, listed }),
        2 => (files(), any_state()).prop_map(|(files, to)| Change::Set { files, to }),
        1 => files().prop_map(|files| Change::Remove { files }),
        1 => (0..2_usize, proptest::collection::vec(path(), 0..6))
            .prop_map(|(source, paths)| Change::Gone { source, paths }),
        1 => Just(Change::List),
    ]
}

/// Rows by source and path with zero bytes for slashes, each with whether it is listed.
type Rows = BTreeMap<(SourceId, Vec<u8>), (FileRow, bool)>;

fn place(source: SourceId, path: &[u8]) -> (SourceId, Vec<u8>) {
    (source, path.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect())
}

fn put(model: &mut Rows, row: &FileRow, listed: bool) {
    if row.state != FileState::Gone {
        model.retain(|_, (other, _)| other.state == FileState::Gone || other.key != row.key);
    }
    model.insert(place(row.source, &row.path), (row.clone(), listed));
}

/// Whether it can be done: a file that is gone cannot come back to an object of another one.
fn set(model: &mut Rows, files: &[(SourceId, Vec<u8>)], to: FileState) -> bool {
    let before = model.clone();
    for (source, path) in files {
        let at = place(*source, path);
        let Some((row, _)) = model.get(&at).cloned() else { continue };
        let revived = row.state == FileState::Gone && to != FileState::Gone;
        let taken = |(other, _): &(FileRow, bool)| other.key == row.key && other.state != FileState::Gone;
        if revived && model.values().any(taken) {
            *model = before;
            return false;
        }
        let (row, listed) = model.get_mut(&at).unwrap();
        row.state = to;
        *listed &= to == FileState::Doubtful;
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]
    #[test]
    fn the_catalog_is_a_map(changes in proptest::collection::vec(change(), 1..12), limit in 1..5_usize) {
        let (mut catalog, destination, first) = scratch();
        let sources = [first, catalog.source(destination, "second", "/second").unwrap()];
        let mut model = Rows::new();
        for change in changes {
            match change {
                Change::Put { rows, listed } => {
                    let rows: Vec<_> = rows.into_iter().map(|(source, path, number, state)| {
                        let key = key(&format!("p/{}", number % 10));
                        FileRow { key, state, size: u64::from(number), ..row(sources[source], &path) }
                    }).collect();
                    if listed { catalog.import_files(&rows).unwrap() } else { catalog.put_files(&rows).unwrap() }
                    for row in &rows {
                        put(&mut model, row, listed);
                    }
                }
                Change::Set { files, to } => {
                    let files: Vec<_> = files.into_iter().map(|(source, path)| (sources[source], path)).collect();
                    let done = catalog.set_states(&files, to);
                    prop_assert_eq!(done.is_ok(), set(&mut model, &files, to));
                }
                Change::Remove { files } => {
                    let files: Vec<_> = files.into_iter().map(|(source, path)| (sources[source], path)).collect();
                    catalog.remove_files(&files).unwrap();
                    for (source, path) in &files {
                        model.remove(&place(*source, path));
                    }
                }
                Change::Gone { source, paths } => {
                    catalog.note_gone(sources[source], &paths).unwrap();
                    while !catalog.apply_gone(sources[source], limit).unwrap().is_empty() {}
                    for path in paths {
                        let Some((row, listed)) = model.get_mut(&place(sources[source], &path)) else { continue };
                        if matches!(row.state, FileState::Present | FileState::Doubtful) {
                            (row.state, *listed) = (FileState::Gone, false);
                        }
                    }
                }
                Change::List => {
                    catalog.mark_listed(destination).unwrap();
                    for (_, listed) in model.values_mut() {
                        *listed = true;
                    }
                }
            }
        }
        for source in sources {
            let expected: Vec<_> = model.values().map(|(row, _)| row).filter(|row| row.source == source).collect();
            let found = known(&catalog, source, limit);
            prop_assert_eq!(found.len(), expected.len());
            for (found, row) in found.iter().zip(&expected) {
                prop_assert_eq!((&found.path, found.size, found.state, found.hints), (&row.path, row.size, row.state, row.hints));
                prop_assert_eq!(catalog.file(source, &row.path).unwrap(), Some((*row).clone()));
            }
            let in_source = |row: &&&FileRow| matches!(row.state, FileState::Present | FileState::Doubtful);
            let tally = catalog.count_source(source).unwrap();
            prop_assert_eq!(tally.files, expected.iter().filter(in_source).count() as u64);
            prop_assert_eq!(tally.bytes, expected.iter().filter(in_source).map(|row| row.size).sum::<u64>());
        }
        let mut in_state: Vec<_> =
            model.values().map(|(row, _)| row.clone()).filter(|row| row.state.is_in_state()).collect();
        in_state.sort_by(|a, b| a.key.cmp(&b.key));
        prop_assert_eq!(catalog.count(destination).unwrap().files, in_state.len() as u64);
        for row in &in_state {
            prop_assert_eq!(catalog.file_of_key(destination, &row.key).unwrap(), Some(row.clone()));
        }
        prop_assert_eq!(state(&catalog, destination, limit), in_state);
        let expected: Vec<_> = model.values().filter(|(_, listed)| !listed).map(|(row, _)| row.clone()).collect();
        prop_assert_eq!(unlisted(&catalog, destination, limit), expected);
    }
}
