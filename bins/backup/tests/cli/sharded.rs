//! A run that many workers share, from its steps to its end, as a script would do it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::world::World;

/// Three shards, each by a worker of its own at the same time; then the end. Gives the plan and the report.
fn share(world: &World) -> (Value, Value) {
    let plan = world.run(&["plan", "--shards", "3", "--trigger", "kubernetes", "--json"]).expect(0).json();
    let shards = plan["shards"].as_array().unwrap();
    let start = |shard: &Value| {
        let mut worker = world.command(&["run", "--shard", shard["uri"].as_str().unwrap(), "--json"]);
        worker.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let workers: Vec<_> = shards.iter().map(start).collect();
    for mut worker in workers {
        assert_eq!(worker.wait().unwrap().code(), Some(0));
    }
    let report = world.run(&["commit", plan["run_id"].as_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(report["run_id"], plan["run_id"]);
    (plan, report)
}

fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(
                tree(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    files
}

fn count(report: &Value, name: &str) -> u64 {
    report[name]["files"].as_u64().unwrap()
}

#[test]
fn days_of_shared_runs_are_one_backup() {
    let world = World::new();
    world.configure("[[step]]\nname = \"make\"\ncommand = [\"sh\", \"-c\", \"date >> data/made\"]\n");
    for number in 0..30 {
        world.file(&format!("v{}/{number}.json", number % 3), format!("trip {number}").as_bytes());
    }
    world.run(&["steps"]).expect(0);
    let (_, first) = share(&world);
    assert_eq!((&first["outcome"], &first["trigger"]), (&"success".into(), &"kubernetes".into()));
    assert_eq!((count(&first, "found"), count(&first, "uploaded")), (31, 31), "{first}");
    assert_eq!((&first["steps"][0]["name"], &first["steps"][0]["state"]), (&"make".into(), &"ok".into()));

    world.file("v0/0.json", b"another trip 0");
    world.file("v0/new.json", b"new");
    std::fs::remove_file(world.path("data/v1/1.json")).unwrap();
    let (plan, second) = share(&world);
    // What the step made is too young for a run without steps.
    assert_eq!(plan["unchanged"]["files"], 28, "{plan}");
    assert_eq!((count(&second, "uploaded"), count(&second, "unchanged"), count(&second, "gone")), (2, 28, 1));

    let third = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(
        (count(&third, "uploaded"), count(&third, "unchanged")),
        (1, 30),
        "its own step made one: {third}"
    );
    world.run(&["restore", "--to", "restored"]).expect(0);
    assert_eq!(tree(&world.path("restored")), tree(&world.path("data")));
    let verified = world.run(&["verify", "--deep", "--json"]);
    verified.expect(0);
    assert_eq!(world.slack.texts().len(), 3, "a message a run: {:?}", world.slack.texts());
    world.run(&["monitor"]).expect(0);
}

#[test]
fn the_uris_are_lines_that_other_programs_take() {
    let world = World::new();
    world.file("a", b"a");
    let planned = world.run(&["plan", "--shards", "2"]);
    let uris: Vec<&str> = planned.expect(0).out.lines().collect();
    assert_eq!(uris.len(), 2, "{}", planned.out);
    for (number, uri) in uris.iter().enumerate() {
        assert!(uri.starts_with("s3://fleet/trips/.s3backup/telemetry/gw-1/plans/"), "{uri}");
        assert!(uri.ends_with(&format!("/{number}")), "{uri}");
    }
    let leased = world.run(&["plan", "--shards", "2"]);
    assert!(leased.expect(11).err.contains("backup commit"), "{}", leased.err);
    for wrong in [
        &["plan", "--shards", "0"][..],
        &["plan", "--out", "x"],
        &["plan", "--shards", "2", "--expires", "x"],
    ] {
        world.run(wrong).expect(2);
    }
    assert_eq!(world.slack.texts().len(), 0, "{:?}", world.slack.texts());
}

#[test]
fn lists_in_a_directory_are_found_from_everywhere() {
    let world = World::new();
    world.file("a", b"a");
    let planned = world.run(&["plan", "--shards", "1", "--out", "lists"]);
    let uri = planned.expect(0).out.trim();
    assert!(uri.starts_with(world.path("lists").canonicalize().unwrap().to_str().unwrap()), "{uri}");
    let config = world.path("backup.toml");
    let mut elsewhere = world.command(&["--config", config.to_str().unwrap(), "run", "--shard", uri]);
    let worked = elsewhere.current_dir("/").output().unwrap();
    assert_eq!(worked.status.code(), Some(0), "{worked:?}");
    let run = uri.split('/').rev().nth(1).unwrap();
    world.run(&["commit", run]).expect(0);
    world.run(&["plan", "--shards", "1", "--out", ""]).expect(2);
}
