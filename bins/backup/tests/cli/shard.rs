//! `backup run --shard` where there is nothing to do, or not by this machine.

use crate::world::World;

const RUN: &str = "20261128T110000.000Z-00000001";

fn uri(job: &str, host: &str) -> String {
    format!("s3://fleet/trips/.s3backup/{job}/{host}/plans/{RUN}/0")
}

#[test]
fn a_shard_of_no_plan_fails_and_nobody_is_told() {
    let world = World::new();
    let ended = world.run(&["run", "--shard", &uri("telemetry", "gw-1"), "--json"]);
    let report = ended.expect(1).json();
    assert_eq!(report["outcome"], "failed");
    let message = report["fatal"]["message"].as_str().unwrap();
    assert!(message.starts_with(&uri("telemetry", "gw-1")) && message.contains("no such plan"), "{message}");
    assert_eq!(world.slack.texts(), [""; 0]);
    assert!(!world.path("state").exists(), "a worker keeps nothing");
}

#[test]
fn job_and_host_are_those_of_the_plan() {
    let world = World::new();
    let other_host = world.run(&["run", "--shard", &uri("telemetry", "gw-2")]);
    assert!(other_host.expect(2).err.contains("host = gw-1 (file"), "{}", other_host.err);
    let other_job = world.run(&["run", "--job", "telemetry", "--shard", &uri("other", "gw-1")]);
    assert!(
        other_job.expect(2).err.contains("--job telemetry: the run is one of other"),
        "{}",
        other_job.err
    );
    let no_such_job = world.run(&["run", "--shard", &uri("other", "gw-1")]);
    assert!(no_such_job.expect(2).err.contains("there is no job \"other\""), "{}", no_such_job.err);
    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&text.replace("host = \"gw-1\"\n", ""));
    let its_host = world.run(&["run", "--shard", &uri("telemetry", "gw-2")]);
    assert!(its_host.expect(1).err.contains("no such plan of telemetry on gw-2"), "{}", its_host.err);
}

#[test]
fn what_names_no_shard_is_refused() {
    let world = World::new();
    let nonsense = world.run(&["run", "--shard", "s3://fleet/trips"]);
    assert!(nonsense.expect(2).err.contains("ends neither with a run id"), "{}", nonsense.err);
    let plan = world.run(&["run", "--shard", uri("telemetry", "gw-1").trim_end_matches("/0")]);
    assert!(plan.expect(2).err.contains("add /N"), "{}", plan.err);
    world.run(&["run", "--force", "--shard", &uri("telemetry", "gw-1")]).expect(2);
    assert_eq!(world.slack.texts(), [""; 0]);
}
