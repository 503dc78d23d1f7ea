//! Making the run report, storing it, and telling people.

use std::time::Instant;

use chrono::{DateTime, FixedOffset, Utc};
use s3backup_model::{FailureKind, Fatal, Outcome, RunId, RunReport, Tally};
use s3backup_transfer::Bucket;

use crate::alert;
use crate::backup::Job;
use crate::error::line_of;
use crate::events::Emitter;
use crate::record::Record;

/// The report of a run of which nothing is known yet.
pub(crate) fn empty(job: &Job, run_id: RunId, started_at: DateTime<FixedOffset>) -> RunReport {
    RunReport {
        schema: RunReport::SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id,
        job: job.name.clone(),
        host: job.host.clone(),
        destination: job.destination_url(),
        trigger: job.trigger,
        outcome: Outcome::Failed,
        started_at,
        finished_at: started_at,
        due: Vec::new(),
        steps: Vec::new(),
        sources: Vec::new(),
        found: Tally::default(),
        uploaded: s3backup_model::Uploaded::default(),
        unchanged: Tally::default(),
        skipped: s3backup_model::Skipped::default(),
        failed: Vec::new(),
        failed_total: 0,
        retries: 0,
        resumed_parts: 0,
        duration_s: 0.0,
        bytes_per_s: 0,
        warnings: Vec::new(),
        fatal: None,
        manifests: Vec::new(),
    }
}

/// When a run began, by two clocks: the one that people read, and the one that only goes forward.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    pub(crate) at: DateTime<Utc>,
    pub(crate) instant: Instant,
}

/// A moment in the job's time zone.
pub(crate) fn local(job: &Job, at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&job.timezone).fixed_offset()
}

/// Puts all that is known into the report.
pub(crate) fn seal(report: &mut RunReport, job: &Job, record: &Record, begun: Begun) {
    record.fill(report);
    let duration = begun.instant.elapsed();
    report.finished_at = local(job, (job.clock)());
    report.duration_s = (duration.as_secs_f64() * 1000.0).round() / 1000.0;
    let millis = duration.as_millis().max(1);
    report.bytes_per_s = u64::try_from(u128::from(report.uploaded.bytes) * 1000 / millis).unwrap_or(u64::MAX);
}

/// Stores the last segment of the manifest and then the report, so that a report's presence means that all it speaks of
/// is there. `report` is then what was stored, unless storing failed.
pub(crate) async fn store(
    job: &Job,
    bucket: &Bucket,
    record: &mut Record,
    report: &mut RunReport,
    events: &Emitter,
    begun: Begun,
) {
    let shelf = job.shelf(bucket);
    record.close_segment(events).await;
    record.store_segments(events, &shelf).await;
    seal(report, job, record, begun);
    let stored = match serde_json::to_vec_pretty(report) {
        Ok(bytes) => shelf.store(&format!("runs/{}.json", report.run_id), bytes.into()).await.map(|_| ()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(message) = stored {
        let message = format!("the run report could not be stored in the bucket: {message}");
        record.fail(events, Fatal { kind: FailureKind::Record, message }).await;
        seal(report, job, record, begun);
    }
}

/// Tells people, within the time limit of Slack and within `limit`. Whether that works changes nothing about the
/// outcome; that it did not is a warning of the report that the caller gets, which is stored already.
pub(crate) async fn send_alert(
    job: &Job,
    report: &mut RunReport,
    events: &Emitter,
    limit: impl Future<Output = ()>,
) {
    let Some(slack) = &job.slack else { return };
    if report.outcome == Outcome::Interrupted && !job.alert_when_interrupted {
        return;
    }
    let alert = alert::of_run(report, job.log_location.as_deref());
    if !slack.wants(alert.kind) {
        return;
    }
    let why = tokio::select! {
        sent = slack.send(&alert) => match sent {
            Ok(_) => return,
            Err(error) => line_of(&error),
        },
        () = limit => "there was no time left".to_owned(),
    };
    let message = format!("Slack was not told of this run: {why}");
    report.warnings.push(message.clone());
    events.warn(message).await;
}
