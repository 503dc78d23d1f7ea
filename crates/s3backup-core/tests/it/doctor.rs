//! The check-up: each trouble is found, says how it is mended, and hides no other.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use s3backup_core::doctor::{Check, CheckState, Diagnosis, DoctorOptions};
use s3backup_core::options::{ChecksumKind, SlackOptions, SlackWay, Step, TransferSettings};
use s3backup_core::{Backup, BackupBuilder, Source, Trigger};
use s3backup_local_s3::{Fault, FaultKind, Operation};
use serde_json::json;

use CheckState::{Fail, Ok as Well, Warn};

use crate::bench::{Bench, CONTROL};
use crate::fake_slack::{ClosedPort, FakeSlack, Reply};

/// Looks at nothing of the machine that runs the tests.
fn options(bench: &Bench) -> DoctorOptions {
    let mut options = DoctorOptions::default();
    options.root = bench.dir("machine");
    options.log_dir = Some(bench.dir("Logs"));
    options
}

async fn examine(bench: &Bench, builder: BackupBuilder) -> Diagnosis {
    let backup = builder.build().unwrap();
    Box::pin(backup.examine(&options(bench))).await
}

async fn with_fault(fault: Fault) -> Diagnosis {
    let bench = Bench::new().await;
    bench.file("a", "1");
    bench.server.faults().add(fault);
    examine(&bench, bench.builder()).await
}

async fn denied(operation: Operation) -> Diagnosis {
    with_fault(Fault::new(FaultKind::AccessDenied).on(operation)).await
}

#[track_caller]
fn of<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a Check {
    let found = diagnosis.checks.iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("no check {name} in {diagnosis:#?}"))
}

#[track_caller]
fn assert_is(diagnosis: &Diagnosis, name: &str, state: CheckState, said: &str) {
    let check = of(diagnosis, name);
    let all = format!("{} mend: {}", check.message, check.mend.as_deref().unwrap_or_default());
    assert!(check.state == state && all.contains(said), "expected {state:?} with {said:?}: {check:#?}");
}

#[tokio::test]
async fn what_is_well_is_said_to_be_and_nothing_is_left_behind() {
    let bench = Bench::new().await;
    bench.file("a", "1");
    let step = Step::new("make", ["sh", "-c", "true"]);
    let diagnosis = examine(&bench, bench.builder().step(step)).await;
    for name in
        ["credentials", "region", "clock", "list", "write", "checksum", "read", "conditions", "multipart"]
    {
        assert_eq!(of(&diagnosis, name).state, Well, "{diagnosis:#?}");
    }
    for name in
        ["uploads", "source", "step", "state disk", "log disk", "catalog", "lock", "timezone", "memory"]
    {
        assert_eq!(of(&diagnosis, name).state, Well, "{diagnosis:#?}");
    }
    // The embedded server has neither versions nor rules, this job no schedule, no Slack, and nothing that starts it.
    for name in ["versioning", "lifecycle", "schedule", "trigger", "slack"] {
        assert_eq!(of(&diagnosis, name).state, Warn, "{diagnosis:#?}");
    }
    assert_eq!(diagnosis.count(Fail), 0);
    assert!(bench.objects().await.is_empty() && bench.open_uploads().await == 0);
    assert!(!bench.dir("state").join("telemetry").exists(), "looking makes no state");
    let shown = serde_json::to_value(&diagnosis).unwrap();
    assert_eq!((&shown["schema"], &shown["checks"][0]["state"]), (&json!(1), &json!("ok")));
    assert!(shown["checks"].as_array().unwrap().iter().all(|check| check.as_object().unwrap().len() == 4));
    let all = shown.to_string();
    assert!(!all.contains(bench.server.secret_key()) && !all.contains(bench.server.access_key()), "{all}");
}

#[tokio::test]
async fn each_right_that_is_missing_is_named() {
    for (operation, name, state, said) in [
        (Operation::ListObjectsV2, "list", Warn, "s3:ListBucket on arn:aws:s3:::fleet-backup"),
        (Operation::GetObject, "read", Warn, "s3:GetObject on arn:aws:s3:::fleet-backup/trips/*"),
        (Operation::PutObject, "write", Fail, "s3:PutObject on"),
        (Operation::CreateMultipartUpload, "multipart", Fail, "more than one part cannot be sent"),
        (Operation::UploadPart, "multipart", Fail, "more than one part cannot be sent"),
        (Operation::ListParts, "multipart", Warn, "s3:ListMultipartUploadParts"),
        (Operation::ListMultipartUploads, "uploads", Warn, "s3:ListBucketMultipartUploads"),
        (Operation::GetBucketVersioning, "versioning", Warn, "s3:GetBucketVersioning"),
        (Operation::GetBucketLifecycleConfiguration, "lifecycle", Warn, "s3:GetLifecycleConfiguration"),
    ] {
        let diagnosis = denied(operation).await;
        assert_is(&diagnosis, name, state, said);
        let fails = usize::from(state == Fail);
        assert_eq!(diagnosis.count(Fail), fails, "one trouble is one line: {operation} {diagnosis:#?}");
        assert!(
            diagnosis.checks.iter().any(|check| check.name == "lifecycle"),
            "the rest is checked: {operation}"
        );
    }
}

#[tokio::test]
async fn no_right_to_delete_or_to_abort_is_needed() {
    let bench = Bench::new().await;
    bench.file("a", "1");
    for operation in [Operation::DeleteObject, Operation::AbortMultipartUpload] {
        bench.server.faults().add(Fault::new(FaultKind::AccessDenied).on(operation));
    }
    let diagnosis = examine(&bench, bench.builder()).await;
    assert_eq!(diagnosis.count(Fail), 0, "{diagnosis:#?}");
    assert_is(&diagnosis, "write", Well, "trips/.s3backup/telemetry/gw-1/doctor stays there");
    assert_is(&diagnosis, "multipart", Warn, "s3:AbortMultipartUpload");
    assert_eq!(bench.server.stats().of(Operation::CreateMultipartUpload), 0, "none is begun that would stay");
    examine(&bench, bench.builder()).await;
    let keys: Vec<String> = bench.objects().await.into_keys().collect();
    assert_eq!(keys, [format!("{CONTROL}doctor")], "always the same object");

    // A run is not disturbed by it.
    let report = bench.backup().run().await.unwrap();
    assert_eq!(report.uploaded.files, 1);
}

#[tokio::test]
async fn tags_need_a_right_of_their_own() {
    let bench = Bench::new().await;
    let mut destination = bench.destination();
    destination.tags.insert("team".to_owned(), "fleet".to_owned());
    destination.storage_class = Some("STANDARD_IA".to_owned());
    let builder = || bench.builder().destination(destination.clone());
    let well = examine(&bench, builder()).await;
    assert_is(&well, "write", Well, "with STANDARD_IA, tags");
    // Denied with tags, allowed without.
    bench.server.faults().add(Fault::new(FaultKind::AccessDenied).on(Operation::PutObject).first(1));
    assert_is(&examine(&bench, builder()).await, "write", Fail, "s3:PutObjectTagging");
}

#[tokio::test]
async fn what_the_server_lacks_is_told() {
    let diagnosis = with_fault(Fault::new(FaultKind::NoChecksums)).await;
    assert_is(&diagnosis, "checksum", Fail, "[transfer] checksum");
    let diagnosis = with_fault(Fault::new(FaultKind::NoConditionalWrites)).await;
    assert_is(&diagnosis, "conditions", Warn, "knows no conditional writes");
    let diagnosis = with_fault(Fault::new(FaultKind::ConditionsIgnored)).await;
    assert_is(&diagnosis, "conditions", Warn, "does not keep them");
    let diagnosis = with_fault(Fault::new(FaultKind::CorruptReply).on(Operation::GetObject)).await;
    assert_is(&diagnosis, "read", Fail, "other bytes");

    let bench = Bench::new().await;
    let transfer = TransferSettings { checksum: ChecksumKind::None, ..TransferSettings::default() };
    assert_is(&examine(&bench, bench.builder().transfer(transfer)).await, "checksum", Warn, "MD5");
}

#[tokio::test]
async fn a_bucket_that_cannot_be_reached_hides_nothing_else() {
    let bench = Bench::new().await;
    let missing =
        || bench.job().source(Source::new("/nowhere/at/all")).step(Step::new("make", ["no-such-program"]));

    let nobody = bench.destination().credentials("LOCALNOBODY", "wrong");
    let diagnosis = examine(&bench, missing().destination(nobody)).await;
    assert_is(&diagnosis, "list", Fail, "refuses the AWS credentials");
    assert_is(&diagnosis, "clock", Well, "from the server's");
    assert_is(&diagnosis, "source", Fail, "/nowhere/at/all");
    assert_is(&diagnosis, "step", Fail, "no-such-program");
    assert!(!diagnosis.checks.iter().any(|check| check.name == "write"), "one line for one trouble");

    let mut other = bench.destination();
    other.bucket = "no-such-bucket".to_owned();
    let diagnosis = examine(&bench, missing().destination(other)).await;
    assert_is(&diagnosis, "list", Fail, "no such bucket");

    let closed = ClosedPort::new();
    let gone = bench.destination().endpoint(format!("http://{}", closed.address()));
    let diagnosis = examine(&bench, missing().destination(gone)).await;
    assert_is(&diagnosis, "list", Fail, "connection refused");
    assert_is(&diagnosis, "clock", Warn, "told no time");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_before_requests_are_refused() {
    let bench = Bench::new().await;
    for (minutes, state) in [(-2, Warn), (20, Fail)] {
        let clock = Arc::new(move || Utc::now() + TimeDelta::minutes(minutes));
        assert_is(&examine(&bench, bench.builder().clock(clock)).await, "clock", state, "timedatectl");
    }
}

fn bot(server: &FakeSlack, channel: &str) -> SlackOptions {
    let (token, api_url) = ("xoxb-1-hush".into(), server.api_url());
    SlackOptions::new(SlackWay::Bot { token, channel: channel.to_owned(), api_url })
}

fn account(scopes: &str) -> Reply {
    let body = json!({"ok": true, "team": "Fleet", "user": "backup"}).to_string();
    Reply::new(200, body).header("x-oauth-scopes", scopes)
}

#[tokio::test]
async fn slack_is_asked_and_nothing_is_posted() {
    let bench = Bench::new().await;
    let info = |is_member: bool, is_archived: bool| {
        let channel = json!({"is_member": is_member, "is_archived": is_archived});
        Reply::new(200, json!({"ok": true, "channel": channel}).to_string())
    };
    for (replies, state, said) in [
        (vec![account("chat:write")], Well, "slack --test"),
        (vec![account("chat:write,channels:read"), info(true, false)], Well, "may post to the channel"),
        (vec![account("chat:write,channels:read"), info(false, false)], Fail, "/invite"),
        (vec![account("chat:write,chat:write.public,channels:read"), info(false, false)], Well, "may post"),
        (vec![account("chat:write,channels:read"), info(true, true)], Fail, "archived"),
        (vec![account("channels:read"), info(true, false)], Fail, "scope chat:write"),
        (vec![Reply::refusal("token_revoked")], Fail, "OAuth & Permissions"),
        (vec![Reply::HangUp], Fail, "no alert would arrive"),
    ] {
        let server = FakeSlack::start(replies).await;
        let slack = bot(&server, "C0123456789");
        assert_is(&examine(&bench, bench.builder().slack(slack)).await, "slack", state, said);
        assert!(server.seen().iter().all(|seen| !seen.path.contains("postMessage")));
    }

    let server = FakeSlack::start([]).await;
    let webhook = SlackOptions::new(SlackWay::webhook(server.webhook_url()));
    assert_is(&examine(&bench, bench.builder().slack(webhook)).await, "slack", Well, "slack --test");
    assert!(server.seen().is_empty(), "a webhook can only be tried by posting");
}

#[tokio::test]
async fn the_state_is_looked_at() {
    let bench = Bench::new().await;
    bench.file("a", "1");
    assert_is(
        &examine(&bench, bench.forgetful_job().source(Source::new(bench.data()))).await,
        "catalog",
        Warn,
        "state_dir",
    );

    bench.backup().run().await.unwrap();
    assert_is(&examine(&bench, bench.builder()).await, "catalog", Well, "well formed");
    let dir = bench.dir("state").join("telemetry");
    let held = std::fs::File::options().write(true).open(dir.join("lock")).unwrap();
    held.lock().unwrap();
    assert_is(&examine(&bench, bench.builder()).await, "lock", Well, "held by");
    drop(held);
    assert_is(&examine(&bench, bench.builder()).await, "lock", Well, "nobody");

    std::fs::write(dir.join("catalog.db"), "not a database, but longer than its header\n".repeat(99))
        .unwrap();
    assert_is(&examine(&bench, bench.builder()).await, "catalog", Warn, "status --rebuild");

    // Where nothing can be made, not even by root.
    let nowhere = bench.builder().state_dir("/proc/nowhere");
    assert_is(&examine(&bench, nowhere).await, "state disk", Fail, "cannot write");
}

#[tokio::test]
async fn what_started_the_last_run_triggers_the_next() {
    let bench = Bench::new().await;
    bench.file("a", "1");
    bench.backup().run().await.unwrap();
    assert_is(&examine(&bench, bench.builder()).await, "trigger", Warn, "backup install systemd");
    let by_cron: Backup = bench.builder().trigger(Trigger::Cron).build().unwrap();
    by_cron.run().await.unwrap();
    assert_is(&examine(&bench, bench.builder()).await, "trigger", Well, "cron started a run");
}
