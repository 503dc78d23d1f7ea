//! The order of `known` is that of a walk which sorts names by their bytes, so that the two can be merged.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::common::{known_paths, row, scratch};

/// Names around what separates them: some sort before a slash, some behind it, some are no text.
const FILES: &[&[u8]] = &[
    b"a/b",
    b"a/b-",
    b"a/\x01",
    b"a-b",
    b"a-",
    b"a\x01",
    b"a\x01b/c",
    b"a0",
    b"a.d/e",
    b"a b",
    b"\x01",
    b"\xff",
    b"\xff\xfe/\xff",
    b"\xc3\xa9/x",
    b"ab/c/d",
    b"ab/c-/d",
    b"ab/c.d",
    b"-",
    b"~",
    b"A",
];

fn walk(dir: &Path, below: &[u8], out: &mut Vec<Vec<u8>>) {
    let mut names: Vec<OsString> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for name in names {
        let path = dir.join(&name);
        let relative =
            if below.is_empty() { name.into_vec() } else { [below, b"/", name.as_bytes()].concat() };
        if path.is_dir() { walk(&path, &relative, out) } else { out.push(relative) }
    }
}

#[test]
fn known_files_come_in_the_order_of_a_walk() {
    let dir = tempfile::tempdir().unwrap();
    let (mut catalog, _, source) = scratch();
    for file in FILES {
        let path = dir.path().join(OsStr::from_bytes(file));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
        catalog.put_files(&[row(source, file)]).unwrap();
    }
    let mut walked = Vec::new();
    walk(dir.path(), b"", &mut walked);
    assert_eq!(walked.len(), FILES.len());
    assert_eq!(known_paths(&catalog, source), walked);

    // From any file on, the rest comes.
    for (at, path) in walked.iter().enumerate() {
        let mut page = Vec::new();
        catalog.known(source, Some(path), 100, &mut page).unwrap();
        assert!(page.iter().map(|known| &known.path).eq(&walked[at + 1..]));
    }
}
