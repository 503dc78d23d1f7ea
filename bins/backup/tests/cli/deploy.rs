//! The files in `docs/deploy`, as far as they can be tried without a cluster and a container engine.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Yaml};
use serde_json::Value;

use crate::world::{Ended, World};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join("docs/deploy").join(path)).unwrap()
}

/// The documents of a YAML file.
fn documents(path: &str) -> Vec<Value> {
    let text = read(path);
    let parse =
        |text| Figment::from(Yaml::string(text)).extract().unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split("\n---\n").map(parse).collect()
}

/// The template of the pods, wherever the kind of thing has it.
fn pod(document: &Value) -> &Value {
    let of_cron = &document["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    if of_cron.is_object() { of_cron } else { &document["spec"]["template"]["spec"] }
}

#[test]
fn pods_have_no_rights_that_they_do_not_need() {
    for name in ["cronjob", "deployment", "monitor", "shards-plan", "shards-workers", "shards-commit"] {
        let path = &format!("kubernetes/{name}.yaml");
        let document = documents(path).remove(0);
        let pod = pod(&document);
        let container = &pod["containers"][0];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{path}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{path}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{path}");
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{path}");
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL", "{path}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{path}");
        // What is mounted is there.
        let volumes: Vec<&Value> =
            pod["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert!(volumes.contains(&&mount["name"]), "{path}: {mount}");
        }
    }
}

#[test]
fn the_cron_job_runs_once_a_day_and_never_twice() {
    let document = documents("kubernetes/cronjob.yaml").remove(0);
    let spec = &document["spec"];
    assert_eq!((&document["apiVersion"], &document["kind"]), (&"batch/v1".into(), &"CronJob".into()));
    assert_eq!((&spec["timeZone"], &spec["concurrencyPolicy"]), (&"Asia/Seoul".into(), &"Forbid".into()));
    assert!(
        spec["startingDeadlineSeconds"].is_u64()
            && spec["jobTemplate"]["spec"]["activeDeadlineSeconds"].is_u64()
    );
    assert_eq!(pod(&document)["restartPolicy"], "Never");
    let deployment = documents("kubernetes/deployment.yaml").remove(0);
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]["type"]),
        (&1.into(), &"Recreate".into())
    );
}

/// What Kubernetes makes of an argument with the variables of a container in it.
fn filled_in(argument: &str) -> String {
    let plan = "s3://fleet-backup/trips/.s3backup/telemetry/fleet/plans/20261129T110000.000Z-7f3a91c2";
    argument.replace("$(PLAN)", plan).replace("$(JOB_COMPLETION_INDEX)", "7")
}

#[test]
fn the_three_jobs_of_a_run_in_shards_belong_together() {
    let job = |name: &str| documents(&format!("kubernetes/shards-{name}.yaml")).remove(0);
    let words = |container: &Value| -> Vec<String> {
        container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let (plan, workers, commit) = (job("plan"), job("workers"), job("commit"));
    let asked = words(&pod(&plan)["containers"][0]);
    let shards = &asked[asked.iter().position(|word| word == "--shards").unwrap() + 1];
    assert_eq!(workers["spec"]["completionMode"], "Indexed");
    assert_eq!(&workers["spec"]["completions"].to_string(), shards, "a pod for each shard");
    let expires = asked.iter().position(|word| word == "--expires").map(|at| asked[at + 1].as_str());
    assert_eq!((expires, &workers["spec"]["activeDeadlineSeconds"]), (Some("10h"), &36_000.into()));
    // Each command is one that the program knows, as far as its arguments go.
    let world = World::new();
    let containers = [
        &pod(&plan)["initContainers"][0],
        &pod(&plan)["containers"][0],
        &pod(&workers)["containers"][0],
        &pod(&commit)["containers"][0],
    ];
    for container in containers {
        let words = words(container);
        assert_eq!(words[..3], ["--config", "/etc/s3backup/backup.toml", "--quiet"]);
        let command: Vec<String> = words[3..].iter().map(|word| filled_in(word)).collect();
        let command: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        Ended::of(&world.command(&command).output().unwrap()).expect(0);
    }
}

#[test]
fn the_configuration_of_the_cluster_can_be_used() {
    let documents = documents("kubernetes/config.yaml");
    let text = documents[0]["data"]["backup.toml"].as_str().unwrap();
    let world = World::new();
    world.configure_all(text);
    let shown =
        Ended::of(&world.command(&["config", "--json"]).env("SLACK_BOT_TOKEN", "xoxb-1").output().unwrap());
    let shown = shown.expect(0).json();
    let value = |key: &str| {
        let row = shown["values"].as_array().unwrap().iter().find(|value| value["key"] == key).unwrap();
        row["value"].as_str().unwrap().to_owned()
    };
    let cron_job = self::documents("kubernetes/cronjob.yaml").remove(0);
    assert_eq!(value("schedule.cron"), cron_job["spec"]["schedule"].as_str().unwrap());
    assert_eq!(value("timezone"), cron_job["spec"]["timeZone"].as_str().unwrap());
    let monitor = self::documents("kubernetes/monitor.yaml").remove(0);
    let expected = format!("{}@{}", value("job"), value("host"));
    let arguments = pod(&monitor)["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.contains(&expected.into()), "{arguments:?}");
    assert_eq!(documents[1]["kind"], "PersistentVolumeClaim");
}

/// The words behind an instruction, line by line; continued lines are joined.
fn instructions(dockerfile: &str) -> Vec<(String, Vec<String>)> {
    let joined = dockerfile.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(ToOwned::to_owned);
            (words.next().unwrap_or_default(), words.collect())
        })
        .collect()
}

#[test]
fn the_image_is_made_of_what_is_there_and_runs_as_nobody() {
    let dockerfile = read("docker/Dockerfile");
    let instructions = instructions(&dockerfile);
    let ignored = read("docker/Dockerfile.dockerignore");
    let stages: Vec<&Vec<String>> =
        instructions.iter().filter(|(name, _)| name == "FROM").map(|(_, words)| words).collect();
    assert_eq!(stages.len(), 2, "one stage builds, the other is shipped");
    assert!(
        stages.iter().all(|words| words[0].contains(':') && !words[0].ends_with(":latest")),
        "{stages:?}"
    );
    let rust = format!("rust:{}", env!("CARGO_PKG_RUST_VERSION"));
    assert!(stages[0][0].starts_with(&rust), "the compiler is that of the workspace: {stages:?}");
    for (_, words) in
        instructions.iter().filter(|(name, words)| name == "COPY" && !words[0].starts_with("--from"))
    {
        for source in words.split_last().unwrap().1 {
            assert!(root().join(source).exists(), "COPY {source}");
            assert!(
                ignored.lines().any(|line| line.strip_prefix('!') == Some(source)),
                "{source} is ignored"
            );
        }
    }
    let user = instructions.iter().rev().find(|(name, _)| name == "USER").unwrap();
    assert!(!user.1[0].starts_with('0') && user.1[0] != "root", "{user:?}");
    let entry = instructions.iter().find(|(name, _)| name == "ENTRYPOINT").unwrap();
    assert!(entry.1[0].starts_with('['), "without a shell, so that signals arrive: {entry:?}");
}

#[test]
fn every_file_that_the_build_reads_is_copied_into_the_image() {
    // What is embedded from outside of `crates` and `bins`.
    let text = std::fs::read_to_string(root().join("bins/backup/src/commands/install/units.rs")).unwrap();
    let embedded = text.lines().filter(|line| line.contains("include_str!"));
    assert!(
        embedded.clone().count() == 5 && embedded.clone().all(|line| line.contains("docs/deploy/systemd"))
    );
}

#[test]
fn the_cron_line_is_one_of_a_system_crontab() {
    let text = read("cron/s3backup");
    let line = text.lines().find(|line| line.contains("backup --config")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((&words[..5], words[5]), (&["0", "20", "*", "*", "*"][..], "s3backup"));
    assert!(text.ends_with('\n'), "cron leaves out a last line without an end");
    assert!(!line.contains('%'), "cron makes a line end of it");
    let world = World::new();
    world.file("a", b"1");
    let arguments: Vec<&str> =
        words[7..].iter().map(|word| if word.starts_with("/etc/") { "backup.toml" } else { word }).collect();
    world.run(&[&arguments[..], &["--json"]].concat()).expect(0);
}
