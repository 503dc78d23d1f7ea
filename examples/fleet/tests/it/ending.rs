//! However it ends, results are the old or the new ones.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::world::{DAY, World, files, fleet};

/// A day that takes a while: one trip under many names.
fn long_day(trips: u32) -> World {
    let world = World::empty();
    let data = fleet(1).days(1).trips_per_day(1).points_per_trip(3_000);
    data.write_to(world.path("one")).unwrap();
    let one = files(&world.path("one")).into_values().next().unwrap();
    let first = world.file("v", "trip-0.json", &one);
    for number in 1..trips {
        fs::hard_link(&first, first.with_file_name(format!("trip-{number}.json"))).unwrap();
    }
    world
}

/// Whether a table is being written.
fn is_writing(results: &Path) -> bool {
    // What is there may be gone a moment later.
    let Ok(entries) = fs::read_dir(results) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        path.to_str().is_some_and(is_temporary) || is_writing(&path)
    })
}

fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp").is_some()
}

/// Waits until the child has come as far as `reached` says, or is over.
fn wait_for(child: &mut Child, reached: impl Fn() -> bool) {
    while !reached() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_signal_ends_it_and_nothing_half_written_is_left() {
    let world = long_day(2_000);
    let results = world.path("results");
    for name in ["TERM", "INT"] {
        let mut command = world.fleet(&["run", "--no-upload", "--day", DAY]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        wait_for(&mut child, || is_writing(&results));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("interrupted"), "{said}");
        assert_eq!(files(&results).into_keys().collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn killed_it_leaves_each_result_old_or_new() {
    let world = long_day(40);
    let run = ["run", "--no-upload", "--day", DAY];
    world.ends(0, &run);
    let results = world.path("results");
    let old = files(&results);
    fs::hard_link(
        world.path("data/v").join(DAY).join("trip-0.json"),
        world.path("data/v").join(DAY).join("trip-x.json"),
    )
    .unwrap();
    world.ends(0, &[&run[..], &["--results", "new"]].concat());
    let new = files(&world.path("new"));

    for renamed in 0..new.len() {
        let mut child = world.fleet(&run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At the beginning, and after one, two, … results have got their names.
        wait_for(&mut child, || {
            is_writing(&results)
                && new
                    .iter()
                    .filter(|(name, bytes)| fs::read(results.join(name)).is_ok_and(|now| now == **bytes))
                    .count()
                    >= renamed
        });
        // It may be over already.
        let _ = child.kill();
        child.wait().unwrap();
        for (name, bytes) in files(&results) {
            let is_whole = old.get(&name) == Some(&bytes) || new.get(&name) == Some(&bytes);
            assert!(is_whole || is_temporary(&name), "{name}");
        }
    }
    world.ends(0, &run);
    assert!(files(&results) == new, "what a killed run left is gone with the next one");
}
