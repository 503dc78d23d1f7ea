//! The order of a walk, against a listing of the same tree by the standard library.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::support::{add, clean, order, rules, tree};

/// Bytes around those that matter in paths and patterns, few enough that names are often beginnings of others.
const BYTES: &[u8] = b"\x01\n -.0Aa*\\~\x7f\x80\xc3\xff";

fn name(random: &mut Rng) -> OsString {
    loop {
        let name: Vec<u8> = (0..random.usize(1..4)).map(|_| BYTES[random.usize(..BYTES.len())]).collect();
        if !matches!(&*name, b"." | b"..") {
            return OsString::from_vec(name);
        }
    }
}

/// Makes files, directories and links in `dir`, and directories below them down to `depth`.
fn grow(dir: &Path, depth: usize, random: &mut Rng) {
    fs::create_dir_all(dir).unwrap();
    for _ in 0..random.usize(..24) {
        let path = dir.join(name(random));
        match random.u8(..8) {
            _ if path.symlink_metadata().is_ok() => {}
            0 => symlink("anywhere", path).unwrap(),
            1..=3 if depth > 0 => grow(&path, depth - 1, random),
            _ => add(path),
        }
    }
}

/// Files and links below `dir`, relative to `root`.
fn list(root: &Path, dir: &Path, files: &mut Vec<PathBuf>, links: &mut Vec<PathBuf>) {
    for child in fs::read_dir(dir).unwrap() {
        let child = child.unwrap();
        let relative = child.path().strip_prefix(root).unwrap().to_owned();
        match child.file_type().unwrap() {
            kind if kind.is_dir() => list(root, &child.path(), files, links),
            kind if kind.is_symlink() => links.push(relative),
            _ => files.push(relative),
        }
    }
}

#[test]
fn everything_comes_in_the_order_of_whole_paths_with_a_zero_for_each_slash() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let mut most = 0;
    for _ in 0..8 {
        let dir = tree(&[]);
        grow(dir.path(), 4, &mut random);
        let (mut files, mut links) = (Vec::new(), Vec::new());
        list(dir.path(), dir.path(), &mut files, &mut links);
        files.sort_by_key(|path| order(path));
        links.sort_by_key(|path| order(path));
        let report = clean(dir.path(), rules());
        assert_eq!(report.entries.iter().map(|entry| entry.relative.clone()).collect::<Vec<_>>(), files);
        assert_eq!(report.shadows, links);
        most = most.max(files.len());
    }
    println!("up to {most} files");
}

#[test]
fn a_directory_is_entered_where_its_name_sorts() {
    let dir = tree(&["a/b", "a-b", "ab", "a", "a.d/x"].map(|path| if path == "a" { "A" } else { path }));
    assert_eq!(clean(dir.path(), rules()).found(), ["A", "a/b", "a-b", "a.d/x", "ab"]);
}

#[test]
fn the_order_holds_from_batch_to_batch_and_directory_to_directory() {
    let dir = tree(&[]);
    let mut expected = Vec::new();
    for directory in ["d", "d-", "d/e", "d0", "d0/d"] {
        for file in 0..300 {
            let path = format!("{directory}/{file}");
            add(dir.path().join(&path));
            expected.push(path);
        }
    }
    expected.sort_by_key(|path| order(Path::new(path)));
    assert_eq!(clean(dir.path(), rules()).found(), expected);
}
