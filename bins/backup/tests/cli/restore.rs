//! `restore` and `ls`, as a person and a script use them.

use serde_json::Value;

use crate::world::{World, exists};

fn ran(files: &[(&str, &[u8])]) -> World {
    let world = World::new();
    for (name, bytes) in files {
        world.file(name, bytes);
    }
    world.run(&["run"]).expect(0);
    world
}

#[test]
fn all_of_it_or_one_file_comes_back_and_the_counts_say_so() {
    let world = ran(&[("v1/a.json", b"12345"), ("v2/b.json", b"6")]);
    let all = world.run(&["restore", "--to", "out"]);
    assert!(all.expect(0).out.starts_with("2 files (6 B) restored to out in "), "{}", all.out);
    assert_eq!(std::fs::read(world.path("out/v1/a.json")).unwrap(), b"12345");

    std::fs::write(world.path("out/v1/a.json"), b"other").unwrap();
    std::fs::remove_file(world.path("out/v2/b.json")).unwrap();
    let again = world.run(&["restore", "--to", "out"]);
    assert!(again.expect(3).err.contains("v1/a.json is there and differs"), "{}", again.err);
    assert!(again.out.contains("1 file kept"), "{}", again.out);
    let report = world.run(&["restore", "--to", "out", "--overwrite", "--json", "v1"]).expect(0).json();
    assert_eq!((&report["restored"]["files"], &report["failed_total"]), (&1.into(), &0.into()));
    assert_eq!(std::fs::read(world.path("out/v1/a.json")).unwrap(), b"12345");

    let dry = world.run(&["restore", "--to", "dry", "--dry-run", "v2"]);
    assert!(
        dry.expect(0).out.contains("v2/b.json") && dry.out.contains("nothing was written"),
        "{}",
        dry.out
    );
    assert!(!exists(&world.path("dry")));
}

#[test]
fn what_is_not_in_the_backup_is_named_with_one() {
    let world = ran(&[("a", b"1")]);
    let typo = world.run(&["restore", "--to", "out", "b"]);
    assert!(typo.expect(1).out.contains("not in the backup: b"), "{}", typo.out);
    let part = world.run(&["restore", "--to", "out", "a", "b"]);
    assert!(part.expect(3).out.contains("1 file (1 B) restored"), "{}", part.out);
    assert!(world.run(&["ls", "b"]).expect(1).err.contains("not in the backup: b"));
}

#[test]
fn a_failure_is_named_once_and_ends_with_three_even_if_nothing_else_was_asked_for() {
    let world = ran(&[("a", b"first")]);
    let history = world.run(&["history", "--json"]).expect(0).json();
    let first = history[0]["run_id"].as_str().unwrap().to_owned();
    world.file("a", b"second");
    world.run(&["run"]).expect(0);
    let ended = world.run(&["restore", "--to", "out", "--run", &first]);
    assert_eq!(ended.expect(3).err.matches("[version_gone]").count(), 1, "{}", ended.err);
    assert_eq!(ended.out.matches("version_gone").count(), 0, "{}", ended.out);
    assert!(ended.out.contains("1 file could not be restored, as named above"), "{}", ended.out);
    let report = world.run(&["restore", "--to", "out", "--run", &first, "--json"]).expect(3).json();
    assert_eq!(
        (&report["failed"][0]["kind"], &report["failed"][0]["path"]),
        (&"version_gone".into(), &"a".into())
    );

    for (arguments, word) in
        [(["--run", "yesterday"], "backup history"), (["--at", "yesterday"], "2026-11-23")]
    {
        let ended = world.run(&[&["restore", "--to", "out"], &arguments[..]].concat());
        assert!(ended.expect(2).err.contains(word), "{}", ended.err);
    }
}

#[test]
fn the_list_is_for_eyes_and_for_scripts() {
    let world = ran(&[("v1/a.json", b"12345"), ("v1/new\nline", b"6"), ("v2/c", b"")]);
    let listed = world.run(&["ls"]);
    assert_eq!(listed.expect(0).out.lines().count(), 3, "a name broke a line: {}", listed.out);
    assert!(listed.out.lines().next().unwrap().trim_start().starts_with("5  "), "{}", listed.out);
    assert!(listed.out.contains("v1/new%0Aline"), "{}", listed.out);
    let lines: Vec<Value> = world
        .run(&["ls", "--json", "v1/*.json"])
        .expect(0)
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["key"], &lines[0]["size"]), (&"trips/v1/a.json".into(), &5.into()));
}
