//! The policies of `docs/how-to/iam-policy.md`: each command works while all is refused that its policy does not allow.

use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::Value;

use crate::world::World;

/// What the names of all data files hold, and those of control data do not.
const MARK: &str = "file-";

/// The statements below a heading.
fn policy(heading: &str) -> Vec<Value> {
    let page = include_str!("../../../../docs/how-to/iam-policy.md");
    let section = page.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let json = section.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let policy: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{heading}: {error}"));
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

/// The right that an operation takes (AWS: "Required permissions for Amazon S3 API operations").
fn right(operation: Operation) -> &'static str {
    match operation {
        Operation::ListObjectsV2 | Operation::ListObjects | Operation::HeadBucket => "s3:ListBucket",
        Operation::GetObject | Operation::HeadObject => "s3:GetObject",
        Operation::PutObject
        | Operation::CreateMultipartUpload
        | Operation::UploadPart
        | Operation::CompleteMultipartUpload => "s3:PutObject",
        Operation::AbortMultipartUpload => "s3:AbortMultipartUpload",
        Operation::ListParts => "s3:ListMultipartUploadParts",
        Operation::ListMultipartUploads => "s3:ListBucketMultipartUploads",
        Operation::DeleteObject | Operation::DeleteObjects => "s3:DeleteObject",
        Operation::GetBucketVersioning => "s3:GetBucketVersioning",
        Operation::GetBucketLifecycleConfiguration => "s3:GetLifecycleConfiguration",
        _ => "something else",
    }
}

/// Refuses what these statements do not allow.
fn restrict(world: &World, statements: &[Value]) {
    world.server.faults().clear();
    let resources = |right: &str, effect: &str| -> Vec<&str> {
        let of_right = statements.iter().filter(|statement| {
            statement["Effect"] == effect && texts(&statement["Action"]).contains(&right)
        });
        of_right.flat_map(|statement| texts(&statement["Resource"])).collect()
    };
    for operation in Operation::ALL {
        let right = right(*operation);
        let allowed = resources(right, "Allow");
        let denied = Fault::new(FaultKind::AccessDenied).on(*operation);
        if allowed.is_empty() || !resources(right, "Deny").is_empty() {
            world.server.faults().add(denied);
        } else if allowed.iter().all(|resource| resource.contains("/.s3backup/")) {
            world.server.faults().add(denied.key_contains(MARK));
        }
    }
}

/// Files small and large, and two runs that had every right.
fn backed_up() -> World {
    let world = filled();
    world.run(&["run"]).expect(0);
    world.file("file-2", b"22");
    world.run(&["run"]).expect(0);
    world
}

fn filled() -> World {
    let world = World::new();
    world.file("file-1", b"1");
    world.file("file-large", &vec![b'x'; 9 << 20]);
    world
}

#[test]
fn every_policy_is_one() {
    for heading in [
        "run",
        "run, append-only",
        "restore",
        "verify",
        "prune",
        "monitor",
        "doctor",
        "adopt",
        "status --rebuild",
    ] {
        for statement in policy(heading) {
            assert!(
                statement["Sid"].as_str().unwrap().bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{heading}"
            );
            assert!(texts(&statement["Action"]).iter().all(|action| action.starts_with("s3:")), "{heading}");
            assert!(
                texts(&statement["Resource"]).iter().all(|of| of.starts_with("arn:aws:s3:::fleet-backup")),
                "{heading}"
            );
        }
    }
}

#[test]
fn a_run_needs_no_more() {
    let world = filled();
    restrict(&world, &policy("run"));
    let report = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(report["uploaded"]["files"], 2);
    assert!(!report["warnings"].to_string().contains("not allowed"), "{report}");
    world.file("file-1", b"changed");
    assert_eq!(world.run(&["run", "--json"]).expect(0).json()["uploaded"]["files"], 1);
    world.run(&["doctor"]).expect(0);
}

#[test]
fn an_append_only_run_reads_no_file() {
    let world = filled();
    restrict(&world, &policy("run, append-only"));
    assert_eq!(world.run(&["run", "--json"]).expect(0).json()["uploaded"]["files"], 2);
    world.file("file-2", b"22");
    assert_eq!(world.run(&["run", "--json"]).expect(0).json()["uploaded"]["files"], 1);
    world.run(&["doctor"]).expect(0);
}

#[test]
fn the_other_commands_need_no_more() {
    let world = backed_up();
    restrict(&world, &policy("restore"));
    world.run(&["restore", "--to", "restored"]).expect(0);
    assert_eq!(std::fs::read(world.path("restored/file-2")).unwrap(), b"22");
    world.run(&["ls"]).expect(0);

    restrict(&world, &policy("verify"));
    let verified = world.run(&["verify", "--deep"]);
    assert!(!verified.expect(0).err.contains("latest.json"), "{}", verified.err);

    restrict(&world, &policy("prune"));
    world.configure("[prune]\nkeep_daily = 1\n");
    world.run(&["prune", "--force"]).expect(0);

    restrict(&world, &policy("status --rebuild"));
    std::fs::remove_dir_all(world.path("state")).unwrap();
    world.run(&["status", "--rebuild"]).expect(0);

    let text = std::fs::read_to_string(world.path("backup.toml")).unwrap();
    world.configure_all(&text.replace("job = \"telemetry\"", "job = \"another\""));
    restrict(&world, &policy("adopt"));
    let adopted = world.run(&["adopt", "--json"]).expect(0).json();
    assert_eq!(adopted["adopted"]["files"], 3, "{adopted}");

    let both = [policy("run"), policy("doctor")].concat();
    restrict(&world, &both);
    let document = world.run(&["doctor", "--json"]).expect(0).json();
    let lifecycle =
        document["checks"].as_array().unwrap().iter().find(|check| check["name"] == "lifecycle").unwrap();
    assert!(lifecycle["message"].as_str().unwrap().contains("no rule"), "it may look: {lifecycle}");
}
