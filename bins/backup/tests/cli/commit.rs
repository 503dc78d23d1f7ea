//! `backup commit`: the end of a run that many workers share.

use serde_json::Value;

use crate::world::World;

/// Begins a run; gives its document.
fn plan(world: &World) -> Value {
    world.file("a.json", b"{}");
    world.run(&["plan", "--shards", "2", "--json"]).expect(0).json()
}

#[test]
fn what_is_not_complete_is_refused_and_each_shard_is_named() {
    let world = World::new();
    let plan = plan(&world);
    let uri = plan["plan"].as_str().unwrap();
    let refused = world.run(&["commit", uri, "--json"]);
    let document = refused.expect(1).json();
    assert_eq!((&document["outcome"], &document["fatal"]["kind"]), (&"failed".into(), &"incomplete".into()));
    let missing = document["missing"].as_array().unwrap();
    for (missing, shard) in missing.iter().zip(plan["shards"].as_array().unwrap()) {
        assert_eq!(missing["uri"], shard["uri"]);
        assert!(missing["why"].as_str().unwrap().contains("no result"), "{missing}");
        assert!(refused.err.contains(missing["uri"].as_str().unwrap()), "{}", refused.err);
    }
    assert_eq!(missing.len(), 2);
    world.run(&["commit", plan["run_id"].as_str().unwrap()]).expect(1);
    assert_eq!(world.slack.texts().len(), 1, "{:?}", world.slack.texts());
    let leased = world.run(&["run", "--json"]);
    assert_eq!(leased.expect(11).json()["outcome"], "failed");
    assert!(leased.err.contains("--abandon"), "{}", leased.err);
}

#[test]
fn a_run_that_is_given_up_lets_others_begin() {
    let world = World::new();
    let plan = plan(&world);
    let run = plan["run_id"].as_str().unwrap();
    let report = world.run(&["commit", run, "--abandon", "--json"]).expect(1).json();
    assert_eq!((&report["run_id"], &report["outcome"]), (&plan["run_id"], &"failed".into()));
    let again = world.run(&["commit", run]);
    assert!(again.expect(1).out.contains("given up"), "{}", again.out);
    assert_eq!(world.slack.texts().len(), 1, "{:?}", world.slack.texts());
    world.run(&["run"]).expect(0);
}

#[test]
fn job_and_host_are_those_of_the_run() {
    let world = World::new();
    let plan = plan(&world);
    let uri = plan["plan"].as_str().unwrap();
    let wrong = |arguments: &[&str], why: &str| {
        let ended = world.run(arguments);
        assert!(ended.expect(2).err.contains(why), "{}", ended.err);
    };
    wrong(&["commit", "s3://fleet/trips"], "ends neither with a run id");
    wrong(&["commit", &format!("{uri}/1")], "it names shard 1");
    wrong(&["commit", "--job", "other", uri], "--job other: the run is one of telemetry");
    wrong(&["commit", &uri.replace("gw-1", "gw-2")], "the run is one of gw-2");
    let never = world.run(&["commit", "20261128T110000.000Z-00000001"]);
    assert!(never.expect(1).err.contains("neither a plan nor a report"), "{}", never.err);
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&text.replace("host = \"gw-1\"\n", ""));
    let elsewhere = world.run(&["commit", uri, "--json"]);
    assert_eq!(elsewhere.expect(1).json()["fatal"]["kind"], "incomplete", "on a machine of another name");
}
