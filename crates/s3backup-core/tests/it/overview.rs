//! What the status page is told of a job.

use s3backup_core::report::{JobPage, Page, render};
use s3backup_core::{Backup, DueState, Event, FailureKind, Outcome, Source, Step};

use crate::bench::{Bench, failed, soon};
use crate::due::Evenings;
use crate::memory::{kill, success};

fn due(page: &JobPage) -> Vec<(String, DueState)> {
    page.due.iter().map(|due| (due.at.format("%d %H:%M").to_string(), due.state)).collect()
}

fn since(page: &JobPage) -> Option<String> {
    page.late_since.map(|since| since.format("%d %H:%M").to_string())
}

async fn overview(backup: &Backup) -> JobPage {
    Box::pin(soon(backup.overview())).await.unwrap()
}

#[tokio::test]
async fn a_page_tells_of_days_runs_and_what_went_wrong() {
    let evenings = Evenings::new().await;
    evenings.at("2026-11-20 20:00");
    success(&evenings.backup()).await;
    let page = overview(&evenings.backup()).await;
    assert_eq!(due(&page), [("20 20:00".to_owned(), DueState::Met)]);
    assert_eq!((page.runs.len(), page.held.unwrap().files, since(&page)), (2, 1, None));
    assert_eq!((page.running, page.failures), (None, None));

    // Its name is one that control data has.
    evenings.bench.file(".s3backup/x", "x");
    evenings.at("2026-11-21 20:00");
    assert_eq!(soon(evenings.backup().run()).await.unwrap().outcome, Outcome::Partial);
    evenings.at("2026-11-22 20:30");
    let page = overview(&evenings.backup()).await;
    let days = ["22 20:00", "21 20:00", "20 20:00"].map(ToOwned::to_owned);
    let states = [DueState::Missed, DueState::Partial, DueState::Met];
    assert_eq!(due(&page), days.into_iter().zip(states).collect::<Vec<_>>());
    assert_eq!(since(&page).as_deref(), Some("21 21:00"), "a partial run is no success");
    assert!(page.is_late());
    let failures = page.failures.clone().unwrap();
    assert_eq!((failures.run_id, failures.failed_total), (page.runs[0].run_id.clone(), 1));
    assert!(failures.failed[0].path.ends_with(".s3backup/x"), "{:?}", failures.failed);
    assert_eq!(page.last_success.as_ref().map(|run| run.outcome), Some(Outcome::Success));

    let elsewhere = evenings.builder().state_dir(evenings.bench.dir("elsewhere")).build().unwrap();
    let seen = overview(&elsewhere).await;
    assert_eq!((&seen.runs, &seen.failures, since(&seen)), (&page.runs, &page.failures, since(&page)));
    assert_eq!(seen.held, None, "only the catalog knows");
    let html = render(&Page { made_at: page.next_due.unwrap(), jobs: vec![page], live: false });
    assert!(html.contains("Late since 2026-11-21 21:00"), "{html}");
}

#[tokio::test]
async fn why_a_run_failed_is_known_without_the_bucket() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    success(&bench.backup()).await;
    let mut gone = bench.destination();
    gone.endpoint = Some("http://127.0.0.1:9".to_owned());
    // The catalog takes it for the same server.
    gone.known_as = Some(bench.server.endpoint());
    let lost = bench.builder().destination(gone).build().unwrap();
    let report = failed(soon(lost.run()).await);
    let failures = overview(&lost).await.failures.unwrap();
    assert_eq!((&failures.run_id, failures.fatal), (&report.run_id, report.fatal));

    // A later success does not hide it.
    success(&bench.backup()).await;
    let page = overview(&bench.backup()).await;
    assert_eq!(page.failures.unwrap().run_id, report.run_id);
    assert_eq!((page.runs[0].outcome, page.runs[1].fatal), (Outcome::Success, Some(FailureKind::Network)));
}

#[tokio::test]
async fn a_job_that_never_ran_is_a_page_and_a_run_that_was_killed_shows() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let page = overview(&bench.backup()).await;
    assert_eq!((page.job.as_str(), page.runs.len(), page.running), ("telemetry", 0, None));

    let slow = bench.job().source(Source::new(bench.data())).step(Step::new("wait", ["sleep", "600"]));
    let mut run = slow.build().unwrap().start();
    while !matches!(soon(run.next()).await, Some(Event::StepStarted { .. })) {}
    kill(&bench, run).await;
    let running = overview(&bench.backup()).await.running.unwrap();
    assert_eq!(running.progress, None);
    success(&bench.backup()).await;
    let page = overview(&bench.backup()).await;
    assert_eq!(page.running, None);
    assert!(page.runs[0].run_id > running.run_id);
}
