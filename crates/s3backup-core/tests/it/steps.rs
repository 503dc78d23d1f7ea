//! Programs that run before the upload.

use std::path::Path;
use std::time::Duration;

use s3backup_core::{Event, FailureKind, OnFailure, Outcome, Step, StepState, StepStream};

use crate::bench::{Bench, failed, soon, until, watch};

fn shell(script: &str) -> Step {
    Step::new("make", ["sh", "-c", script])
}

fn lines(events: &[Event], wanted: StepStream) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::StepOutput { stream, line, name } if *stream == wanted && name == "make" => Some(line.clone()),
        _ => None,
    };
    events.iter().filter_map(line).collect()
}

/// Whether a process is there and no zombie.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[tokio::test]
async fn output_is_told_line_by_line_whatever_it_is() {
    let bench = Bench::new().await;
    let script = r"echo out; echo err >&2; printf 'bad \377 byte\r\n'; head -c 20000 /dev/zero | tr '\0' x; echo
        echo; printf 'no end'; printf 'err without end' >&2; echo '{}' > made.json";
    let mut step = shell(script);
    step.cwd = Some(bench.data());
    let (events, result) = watch(&bench.builder().step(step).build().unwrap()).await;
    let report = result.unwrap();
    let stdout = lines(&events, StepStream::Stdout);
    assert_eq!(stdout[0], "out");
    assert_eq!(stdout[1], "bad \u{fffd} byte");
    assert_eq!(stdout[2], "x".repeat(8 << 10));
    assert_eq!(stdout[3..], ["", "no end"]);
    assert_eq!(lines(&events, StepStream::Stderr), ["err", "err without end"]);
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Success, 1), "what it made is backed up");
    assert_eq!((report.steps.len(), report.steps[0].state), (1, StepState::Ok));
    assert!(bench.data_keys().await.contains("trips/made.json"));
}

#[tokio::test]
async fn a_step_knows_its_run_and_its_day_and_its_own_variables() {
    let bench = Bench::new().await;
    let now = chrono::DateTime::parse_from_rfc3339("2026-11-23T15:30:00Z").unwrap().to_utc();
    let mut step =
        shell(r#"echo "$BACKUP_RUN_ID $BACKUP_DAY $MINE"; pwd; env | grep -c '^AWS_SECRET' || true"#);
    step.env.insert("MINE".to_owned(), "a b".to_owned());
    step.cwd = Some(bench.dir("place"));
    let job = bench.builder().step(step).timezone(chrono_tz::Asia::Seoul);
    let (events, result) = watch(&job.clock(std::sync::Arc::new(move || now)).build().unwrap()).await;
    let report = result.unwrap();
    let place = bench.dir("place").canonicalize().unwrap().display().to_string();
    let expected = [format!("{} 2026-11-24 a b", report.run_id), place, "0".to_owned()];
    assert_eq!(lines(&events, StepStream::Stdout), expected);
}

/// What the test below runs in a process of its own, whose environment it can choose. By itself it only shows that the
/// step runs.
#[tokio::test]
async fn child_prints_the_environment_of_a_step() {
    let bench = Bench::new().await;
    let mut step = shell("env");
    step.pass_env = vec!["AWS_PROFILE".to_owned()];
    let slack = s3backup_core::options::SlackWay::Webhook { url: "http://127.0.0.1:9/services/HUSH".into() };
    let mut slack = s3backup_core::options::SlackOptions::new(slack);
    slack.on.clear();
    let backup = bench.builder().step(step).slack(slack).build().unwrap();
    let (events, _) = watch(&backup).await;
    for line in lines(&events, StepStream::Stdout) {
        println!("STEP {line}");
    }
    assert!(!lines(&events, StepStream::Stdout).is_empty());
}

#[test]
fn a_step_gets_no_secrets() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "steps::child_prints_the_environment_of_a_step"])
        .env("AWS_SECRET_ACCESS_KEY", "aws-secret")
        .env("AWS_REGION", "ap-northeast-2")
        .env("AWS_PROFILE", "passed-on")
        .env("BACKUP_SLACK__TOKEN", "backup-secret")
        .env("SLACK_BOT_TOKEN", "slack-secret")
        .env("ALARM_HOOK", "http://127.0.0.1:9/services/HUSH")
        .env("HARMLESS", "harmless")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let environment: String = text.lines().filter(|line| line.contains("STEP ")).collect();
    for there in ["ap-northeast-2", "passed-on", "harmless", "BACKUP_RUN_ID=", "BACKUP_DAY="] {
        assert!(environment.contains(there), "{there} is not in {text}");
    }
    for secret in ["aws-secret", "backup-secret", "slack-secret", "HUSH"] {
        assert!(!environment.contains(secret), "{secret} is in {environment}");
    }
}

#[tokio::test]
async fn what_steps_make_is_old_enough_and_what_is_written_during_the_walk_is_not() {
    use std::sync::atomic::{AtomicU64, Ordering};

    for has_step in [false, true] {
        let bench = Bench::new().await;
        let start = chrono::DateTime::parse_from_rfc3339("2026-11-24T11:00:00Z").unwrap().to_utc();
        let after = move |seconds| start + chrono::TimeDelta::seconds(seconds);
        // Every look at the clock is 10 s after the one before: the start of the run, the end of the step, files.
        let looks = AtomicU64::new(0);
        let clock = move || after(10 * i64::try_from(looks.fetch_add(1, Ordering::SeqCst)).unwrap());
        let files = [("old", -300), ("before", -5), ("early", 5), ("late", 15)];
        // Without a step the walk may be as early as 10 s after the start.
        for (name, seconds) in files.into_iter().take(if has_step { 4 } else { 3 }) {
            let file = std::fs::File::open(bench.file(name, name)).unwrap();
            file.set_modified(after(seconds).into()).unwrap();
        }
        let source = s3backup_core::Source::new(bench.data()).min_age(Duration::from_mins(2));
        let mut job = bench.job().source(source);
        if has_step {
            job = job.step(shell("true"));
        }
        let report = soon(job.clock(std::sync::Arc::new(clock)).build().unwrap().run()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Success);
        let taken: &[&str] = if has_step { &["trips/early", "trips/old"] } else { &["trips/old"] };
        assert_eq!(bench.data_keys().await.into_iter().collect::<Vec<_>>(), taken);
        assert_eq!(report.skipped.by_reason.too_young, 2);
    }
}

#[tokio::test]
async fn a_step_that_fails_aborts_the_run_before_anything_is_sent() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let job = bench.builder().step(shell("echo why >&2; exit 3")).step(Step::new("later", ["true"]));
    let (events, result) = watch(&job.build().unwrap()).await;
    let report = failed(result);
    let fatal = report.fatal.clone().unwrap();
    assert_eq!(fatal.kind, FailureKind::Step);
    assert!(
        fatal.message.starts_with("step `make`: it ended with exit status 3; nothing was uploaded"),
        "{fatal:?}"
    );
    let states: Vec<StepState> = report.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Failed, StepState::NotRun]);
    assert_eq!(lines(&events, StepStream::Stderr), ["why"]);
    assert!(bench.data_keys().await.is_empty());
    assert_eq!(bench.stored_report(&report).await, report, "a failed run is recorded too");
}

#[tokio::test]
async fn a_step_that_may_fail_makes_the_run_partial() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let mut step = shell("kill -9 $$");
    step.on_failure = OnFailure::Continue;
    let report = soon(bench.builder().step(step).build().unwrap().run()).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Partial, 1));
    assert_eq!(report.steps[0].message.as_deref(), Some("it was killed by signal 9"));
    let alert = s3backup_core::alert::of_run(&report, None);
    assert!(alert.headline.contains("a step did not succeed"), "{}", alert.headline);
    assert!(alert.facts.iter().any(|(label, why)| label == "Step make" && why.contains("signal 9")));
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let bench = Bench::new().await;
    let mut nowhere = shell("true");
    nowhere.cwd = Some("/nowhere/at/all".into());
    for (step, words) in [
        (
            Step::new("make", ["/nowhere/program"]),
            "cannot start `/nowhere/program`: there is no such program",
        ),
        (nowhere, "its working directory /nowhere/at/all is not there"),
    ] {
        let report = failed(soon(bench.builder().step(step).build().unwrap().run()).await);
        let message = report.fatal.unwrap().message;
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_step_whose_time_is_up_ends_with_all_that_it_started() {
    let bench = Bench::new().await;
    // Neither the shell nor its child listens to SIGTERM.
    let mut step = shell("trap '' TERM; sleep 1000 & echo $!; echo $$; wait; wait; sleep 1000");
    step.timeout = Duration::from_millis(300);
    let (events, result) = watch(&bench.builder().step(step).build().unwrap()).await;
    let report = failed(result);
    assert_eq!(report.steps[0].state, StepState::TimedOut);
    assert_eq!(report.steps[0].message.as_deref(), Some("it was killed after its timeout of 300ms"));
    let pids = lines(&events, StepStream::Stdout);
    assert_eq!(pids.len(), 2);
    for pid in pids {
        until(|| !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn a_daemon_that_a_step_leaves_behind_does_not_hold_the_run_up() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let (events, result) =
        watch(&bench.builder().step(shell("sleep 1000 & echo $!; printf last")).build().unwrap()).await;
    let report = result.unwrap();
    assert_eq!(report.outcome, Outcome::Success);
    assert!(report.duration_s < 30.0, "{}", report.duration_s);
    let said = lines(&events, StepStream::Stdout);
    assert_eq!(said[1..], ["last"], "a line without its end is told although the pipe is open");
    assert!(is_alive(&said[0]), "it was left on purpose");
    std::process::Command::new("kill").arg(&said[0]).status().unwrap();
}

#[tokio::test]
async fn cancelling_ends_a_step_with_all_that_it_started() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let step = shell("trap '' TERM; sleep 1000 & echo $!; echo $$; wait; sleep 1000");
    let backup = bench.builder().step(step).step(Step::new("later", ["true"])).build().unwrap();
    let mut run = backup.start();
    let cancel = run.cancel_token();
    let mut pids = Vec::new();
    let mut began = None;
    let report = soon(async {
        while let Some(event) = run.next().await {
            if let Event::StepOutput { line, .. } = event {
                pids.push(line);
                if pids.len() == 2 {
                    cancel.cancel();
                    began = Some(std::time::Instant::now());
                }
            }
        }
        run.finish().await
    })
    .await
    .unwrap();
    assert!(began.unwrap().elapsed() < Duration::from_secs(6));
    assert_eq!(report.outcome, Outcome::Interrupted);
    let states: Vec<StepState> = report.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Interrupted, StepState::NotRun]);
    assert!(bench.data_keys().await.is_empty());
    assert_eq!(bench.stored_report(&report).await, report);
    for pid in pids {
        until(|| !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn dropping_the_run_ends_its_step() {
    let bench = Bench::new().await;
    let mut run = bench.builder().step(shell("sleep 1000 & echo $!; echo $$; wait")).build().unwrap().start();
    let mut pids = Vec::new();
    soon(async {
        while pids.len() < 2 {
            if let Event::StepOutput { line, .. } = run.next().await.unwrap() {
                pids.push(line);
            }
        }
    })
    .await;
    drop(run);
    for pid in pids {
        until(|| !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn a_watcher_that_is_slower_than_a_step_loses_no_line() {
    let bench = Bench::new().await;
    // More lines than wait for a watcher, and more than fit into the pipe, at the very end of the step.
    let mut run = bench.builder().step(shell("seq 20000")).build().unwrap().start();
    let mut next = 1;
    soon(async {
        while let Some(event) = run.next().await {
            if let Event::StepOutput { line, .. } = event {
                assert_eq!(line, next.to_string());
                next += 1;
                if next % 5000 == 0 {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                }
            }
        }
    })
    .await;
    assert_eq!(next, 20_001);
    assert_eq!(run.finish().await.unwrap().outcome, Outcome::Success);
}
