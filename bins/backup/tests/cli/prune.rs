//! `backup prune`.

use serde_json::Value;

use crate::world::{World, exists};

fn json_lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn without_a_rule_it_says_so_and_deletes_nothing() {
    let world = World::new();
    let file = world.file("a", b"a");
    world.run(&["run"]).expect(0);
    let ended = world.run(&["prune", "--force"]);
    ended.expect(2);
    assert!(ended.err.contains("[prune] is missing") && ended.err.contains("local_after"), "{}", ended.err);
    assert!(exists(&file) && exists(&world.path("s3")));
}

#[test]
fn a_dry_run_shows_what_would_leave_the_disk_and_then_it_leaves() {
    let world = World::new();
    let file = world.file("trip/a.json", b"{}");
    world.configure("[prune]\nlocal_after = \"30m\"\n");
    let before = world.run(&["prune", "--dry-run"]);
    before.expect(1);
    assert!(before.err.contains("backup run"), "{}", before.err);

    world.run(&["run"]).expect(0);
    let dry = world.run(&["prune", "--dry-run"]);
    dry.expect(0);
    let line = format!("would delete  local    {}", file.display());
    assert!(dry.out.starts_with(&line), "{}", dry.out);
    assert!(dry.out.contains("dry run, nothing was deleted"), "{}", dry.out);
    assert!(exists(&file));
    assert!(!world.log("info_log").contains("prune ended"), "a dry run leaves the log alone");

    let ended = world.run(&["--json", "prune"]);
    ended.expect(0);
    let lines = json_lines(&ended.out);
    assert_eq!(lines.len(), 2, "{}", ended.out);
    let item = &lines[0];
    assert_eq!(
        (&item["kind"], &item["state"], &item["key"]),
        (&"local".into(), &"removed".into(), &"trips/trip/a.json".into())
    );
    assert_eq!((item["path"].as_str(), item["bytes"].as_u64()), (file.to_str(), Some(2)));
    assert_eq!(lines[1]["summary"]["local"]["files"], 1);
    assert!(!exists(&file));
    assert!(world.log("info_log").contains("prune ended"));

    // The source is empty now, and that is as it should be.
    let report = world.run(&["--json", "run"]);
    report.expect(0);
    assert_eq!((&report.json()["outcome"], &report.json()["gone"]["files"]), (&"success".into(), &0.into()));
}

#[test]
fn a_large_share_needs_force() {
    let world = World::new();
    world.configure("[prune]\nkeep_daily = 1\n");
    world.file("stays", b"s");
    let gone = world.file("gone", b"g");
    world.run(&["run"]).expect(0);
    std::fs::remove_file(gone).unwrap();
    world.run(&["run"]).expect(0);
    let dry = world.run(&["prune", "--dry-run"]);
    dry.expect(1);
    assert!(dry.out.contains("would delete  object   trips/gone"), "{}", dry.out);
    assert!(dry.out.contains("refused: 1 of 2 objects"), "{}", dry.out);
    let refused = world.run(&["prune"]);
    refused.expect(1);
    assert!(
        refused.err.contains("nothing was deleted") && refused.err.contains("--force"),
        "{}",
        refused.err
    );
    let ended = world.run(&["prune", "--force"]);
    ended.expect(0);
    assert!(ended.out.contains("deleted  object   trips/gone"), "{}", ended.out);
    assert!(ended.out.contains("deleted: 1 object (") && ended.out.contains("keeps  "), "{}", ended.out);
    world.run(&["prune"]).expect(0);
}
