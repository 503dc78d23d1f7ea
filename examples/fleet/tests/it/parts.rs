//! A day that is parted is the same day.

use std::fs;

use crate::world::{DAY, TABLES, World, files, rows};

#[test]
fn a_run_twice_gives_the_same_bytes() {
    let world = World::new(4);
    for results in ["first", "second"] {
        world.ends(0, &["run", "--no-upload", "--day", DAY, "--results", results]);
    }
    let (first, second) = (files(&world.path("first")), files(&world.path("second")));
    assert_eq!(first.len(), TABLES.len() + 4, "{:?}", first.keys());
    assert!(first == second);
    // And over what is there already.
    world.ends(0, &["run", "--no-upload", "--day", DAY, "--results", "first"]);
    assert!(files(&world.path("first")) == second);
}

#[test]
fn each_command_makes_its_table_of_a_run_alone() {
    let world = World::new(3);
    world.ends(0, &["run", "--no-upload", "--day", DAY, "--results", "whole"]);
    let whole = files(&world.path("whole"));
    for command in ["clean", "overspeed", "rapid", "statistics", "errors"] {
        world.ends(0, &[command, "--day", DAY, "--results", "alone"]);
    }
    assert!(files(&world.path("alone")) == whole);
}

#[test]
fn parts_put_together_are_the_whole() {
    let world = World::new(7);
    world.ends(0, &["run", "--no-upload", "--day", DAY, "--results", "whole"]);
    for part in ["3/3", "1/3", "2/3"] {
        world.ends(0, &["run", "--day", DAY, "--results", "parted", "--part", part]);
    }
    world.ends(0, &["run", "--no-upload", "--day", DAY, "--results", "parted", "--merge", "3"]);
    let (whole, parted) = (world.path("whole"), world.path("parted"));
    for table in TABLES {
        assert_eq!(rows(&whole, table), rows(&parted, table), "{table}");
        assert!(!rows(&whole, table).is_empty() || table == "rapid", "{table}");
    }
    let (whole, parted) = (files(&whole), files(&parted));
    let of_the_day = [
        "fleet/date=2026-11-23/fleet.parquet",
        "summary/date=2026-11-23/summary.csv",
        "pages/2026-11-23.html",
    ];
    for name in of_the_day {
        assert!(whole[name] == parted[name], "{name}");
    }
}

#[test]
fn another_number_of_parts_takes_the_place_of_the_one_before() {
    let world = World::new(5);
    world.ends(0, &["run", "--no-upload", "--day", DAY]);
    let whole = files(&world.path("results"));
    for part in ["1/2", "2/2"] {
        world.ends(0, &["run", "--day", DAY, "--part", part]);
    }
    world.ends(0, &["run", "--no-upload", "--day", DAY, "--merge", "2"]);
    assert!(!files(&world.path("results")).keys().any(|name| name.contains("of-1")));
    world.ends(0, &["run", "--no-upload", "--day", DAY]);
    assert!(files(&world.path("results")) == whole);
}

#[test]
fn a_missing_part_is_named_and_nothing_is_put_together() {
    let world = World::new(4);
    for part in ["1/3", "3/3"] {
        world.ends(0, &["run", "--day", DAY, "--part", part]);
    }
    let merge = ["run", "--no-upload", "--day", DAY, "--merge", "3"];
    let output = world.ends(1, &merge);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("part-2-of-3.parquet") && !said.contains("part-1-of-3"), "{said}");
    assert!(!world.path("results/pages").exists());
    // A digest that is there but not whole is no part either.
    world.ends(0, &["run", "--day", DAY, "--part", "2/3"]);
    let digest = world.path("results/digest/date=2026-11-23/part-2-of-3.json");
    let text = fs::read_to_string(&digest).unwrap();
    fs::write(&digest, &text[..text.len() / 2]).unwrap();
    let said = String::from_utf8(world.ends(1, &merge).stderr).unwrap();
    assert!(said.contains("part-2-of-3.json"), "{said}");
}

#[test]
fn a_part_that_cannot_be_is_explained() {
    let world = World::empty();
    for part in ["0/3", "4/3", "x"] {
        let said = String::from_utf8(world.ends(2, &["run", "--part", part]).stderr).unwrap();
        assert!(said.contains("2/8"), "{said}");
    }
    world.ends(2, &["run", "--part", "1/3", "--merge", "3"]);
}
