//! `backup verify` and `backup adopt` as a person and a monitor use them.

use crate::world::{BUCKET, World, exists};
use serde_json::Value;

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Four files in the bucket, two of which the disk of the server lets rot.
fn rotten() -> World {
    let world = World::new();
    for name in ["a", "b", "sub/c", "sub/d"] {
        world.file(name, format!("the bytes of {name}").as_bytes());
    }
    world.run(&["run"]).expect(0);
    for key in ["trips/b", "trips/sub/d"] {
        world.server.corrupt(BUCKET, key, 2).unwrap();
    }
    world
}

#[test]
fn a_difference_is_named_and_ends_with_four() {
    let world = rotten();
    let shallow = world.run(&["verify", "--json"]);
    let summary = lines(&shallow.expect(0).out).pop().unwrap();
    assert_eq!((&summary["objects"]["files"], &summary["differ"]), (&4.into(), &0.into()));

    let ended = world.run(&["verify", "--deep", "--json"]);
    let lines = lines(&ended.expect(4).out);
    assert_eq!(lines.len(), 3);
    let mut keys: Vec<&str> = lines[..2].iter().map(|line| line["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["trips/b", "trips/sub/d"]);
    assert!(lines[..2].iter().all(|line| line["what"] == "content" && line["found"]["size"].is_u64()));
    assert_eq!(lines[2]["differ"], 2);

    let text = world.run(&["verify", "--deep"]);
    for said in ["trips/b", "trips/sub/d", "2 differ"] {
        assert!(text.expect(4).out.contains(said), "{}", text.out);
    }
}

#[test]
fn a_repair_says_what_the_next_run_does_and_the_run_does_it() {
    let world = rotten();
    let marked = world.run(&["verify", "--deep", "--repair"]);
    assert!(marked.expect(4).out.contains("sends 2 files again"), "{}", marked.out);
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(report["uploaded"]["files"], 2);
    world.run(&["verify", "--deep"]).expect(0);
}

#[test]
fn only_the_machine_that_backs_up_repairs() {
    let world = rotten();
    let elsewhere = world.path("elsewhere");
    let away = |arguments: &[&str]| {
        crate::world::Ended::of(&world.command(arguments).env("XDG_STATE_HOME", &elsewhere).output().unwrap())
    };
    away(&["verify"]).expect(0);
    away(&["verify", "--deep"]).expect(4);
    let refused = away(&["verify", "--repair"]);
    assert!(refused.expect(1).err.contains("on the machine that makes the backup"), "{}", refused.err);
    assert!(!exists(&elsewhere.join("s3backup/telemetry/catalog.db")));
}

#[test]
fn what_cannot_be_checked_is_no_success() {
    let world = World::new();
    let ended = world.run(&["verify"]);
    assert!(ended.expect(1).err.contains("backup run"), "{}", ended.err);
    world.run(&["verify", "--run", "yesterday"]).expect(2);
    world.run(&["verify", "--since", "soon"]).expect(2);
    world.run(&["verify", "--run", "x", "--sample", "1"]).expect(2);
}

#[test]
fn a_day_is_meant_from_its_beginning() {
    let world = World::new();
    world.file("a", b"1");
    // The job's days are those of UTC.
    let today = chrono::Utc::now().date_naive().to_string();
    world.run(&["run"]).expect(0);
    let ended = world.run(&["verify", "--since", &today, "--json"]);
    assert_eq!(lines(&ended.expect(0).out)[0]["objects"]["files"], 1);
    let none = world.run(&["verify", "--since", "2099-01-01"]);
    assert!(none.expect(0).out.contains("nothing to verify"), "{}", none.out);
}

#[test]
fn a_sample_prints_its_seed() {
    let world = rotten();
    let ended = world.run(&["verify", "--sample", "4", "--json"]);
    let summary = lines(&ended.expect(4).out).pop().unwrap();
    assert_eq!((&summary["differ"], &summary["downloaded"]["files"]), (&2.into(), &2.into()));
    let seed = summary["seed"].as_u64().unwrap().to_string();
    let again = world.run(&["verify", "--sample", "4", "--seed", &seed]);
    assert!(again.expect(4).out.contains(&seed), "{}", again.out);
}

#[test]
fn a_bucket_that_another_tool_filled_is_adopted() {
    let world = World::new();
    world.file("same", b"same");
    world.file("other", b"here");
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&text.replace("job = \"telemetry\"", "job = \"another-tool\""));
    world.run(&["run"]).expect(0);
    world.configure_all(&text);
    world.file("other", b"else");

    let dry = world.run(&["adopt", "--dry-run", "--json"]).expect(3).json();
    assert_eq!((&dry["adopted"]["files"], &dry["different"]["files"]), (&1.into(), &1.into()));
    let adopted = world.run(&["adopt"]);
    assert!(adopted.expect(3).out.contains("trips/other"), "{}", adopted.out);
    let report = world.run(&["run", "--json"]).expect(3).json();
    assert_eq!(
        (&report["unchanged"]["files"], &report["failed"][0]["kind"]),
        (&1.into(), &"conflict".into())
    );

    world.run(&["adopt", "--replace-different"]).expect(3);
    assert_eq!(world.run(&["run", "--json"]).expect(0).json()["uploaded"]["files"], 1);
    world.run(&["verify", "--deep"]).expect(0);
    world.run(&["adopt"]).expect(0);
}
