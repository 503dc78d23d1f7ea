//! Metrics as Prometheus reads them.

use std::fmt::{self, Display, Write as _};

use chrono::{DateTime, FixedOffset};
use s3backup_model::{Outcome, RunSummary, Tally};

use crate::JobPage;

/// All metrics of the jobs, in the text format of Prometheus.
///
/// Labels are `job` and `host`, never names of files. What is not known has no sample: a job that never succeeded has no
/// `backup_last_success_timestamp_seconds`. Everything is a gauge, because a catalog that was lost takes sums with it, and a
/// counter that goes back is taken for one that began anew.
pub fn metrics(jobs: &[JobPage]) -> String {
    let mut out = String::with_capacity((4 << 10) * (1 + jobs.len()));
    let mut text = Exposition { out: &mut out, jobs };
    text.info();
    let last = |job: &JobPage, of: fn(&RunSummary) -> f64| job.runs.first().map(of);
    text.each(
        "backup_last_success_timestamp_seconds",
        "When the last run that was a success ended.",
        |job| job.last_success.as_ref().map(|run| seconds(run.finished_at)),
    );
    text.each("backup_last_run_timestamp_seconds", "When the last run ended, however it did.", |job| {
        last(job, |run| seconds(run.finished_at))
    });
    text.each("backup_run_duration_seconds", "How long the last run took.", |job| {
        last(job, |run| (run.finished_at - run.started_at).as_seconds_f64().max(0.0))
    });
    text.outcomes();
    text.each("backup_last_run_found_files", "Files that the last run selected.", |job| {
        last(job, |run| run.found.files as f64)
    });
    text.each("backup_last_run_found_bytes", "Bytes of the files that the last run selected.", |job| {
        last(job, |run| run.found.bytes as f64)
    });
    text.each("backup_last_run_uploaded_files", "Files that the last run sent.", |job| {
        last(job, |run| run.uploaded.files as f64)
    });
    text.each("backup_last_run_uploaded_bytes", "Bytes of the files that the last run sent.", |job| {
        last(job, |run| run.uploaded.bytes as f64)
    });
    text.each("backup_last_run_failed_files", "What the last run could not back up.", |job| {
        last(job, |run| run.failed_total as f64)
    });
    text.each("backup_running", "Whether a run began and has not ended.", |job| {
        Some(truth(job.running.is_some()))
    });
    text.each("backup_late", "Whether a success is overdue.", |job| Some(truth(job.is_late())));
    text.each("backup_due_timestamp_seconds", "The last due time.", |job| {
        job.due.first().map(|due| seconds(due.at))
    });
    text.each("backup_next_due_timestamp_seconds", "When the next run is due.", |job| {
        job.next_due.map(seconds)
    });
    let held = |of: fn(Tally) -> u64| move |job: &JobPage| job.held.map(|held| of(held) as f64);
    text.each("backup_files", "Files that are backed up.", held(|held| held.files));
    text.each("backup_bytes", "Bytes of the files that are backed up.", held(|held| held.bytes));
    text.each("backup_verified_timestamp_seconds", "When the bucket was last checked.", |job| {
        job.verified.as_ref().map(|verified| seconds(verified.at))
    });
    text.each(
        "backup_verified_differing_objects",
        "Objects that the last check found missing or different.",
        |job| job.verified.as_ref().map(|verified| verified.differ as f64),
    );
    text.each("backup_open_troubles", "Troubles that people were told of and that are not over.", |job| {
        Some(job.troubles.len() as f64)
    });
    text.each("backup_alerts_waiting", "Alerts that could not be delivered yet.", |job| {
        Some(job.alerts_waiting as f64)
    });
    out
}

struct Exposition<'a> {
    out: &'a mut String,
    jobs: &'a [JobPage],
}

impl Exposition<'_> {
    fn family(&mut self, name: &str, help: &str) {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", Label(value))).collect();
        let _ = writeln!(self.out, "{name}{{{}}} {value}", labels.join(","));
    }

    /// A metric of each job that has it; nothing at all where none has.
    fn each(&mut self, name: &str, help: &str, value: impl Fn(&JobPage) -> Option<f64>) {
        let jobs = self.jobs;
        let values: Vec<_> = jobs.iter().filter_map(|job| Some((job, value(job)?))).collect();
        if !values.is_empty() {
            self.family(name, help);
        }
        for (job, value) in values {
            self.sample(name, &[("job", job.job.as_str()), ("host", job.host.as_str())], value);
        }
    }

    /// With the names of the job, because files of several jobs are read together and may not share a sample.
    fn info(&mut self) {
        let jobs = self.jobs;
        self.family("backup_info", "The version of s3backup.");
        for job in jobs {
            let version = env!("CARGO_PKG_VERSION");
            let labels = [("job", job.job.as_str()), ("host", job.host.as_str()), ("version", version)];
            self.sample("backup_info", &labels, 1.0);
        }
    }

    /// One sample for each way to end, so that a query can name the one that it wants and always finds it.
    fn outcomes(&mut self) {
        const NAME: &str = "backup_last_run_outcome";
        const ALL: [Outcome; 4] = [Outcome::Success, Outcome::Partial, Outcome::Failed, Outcome::Interrupted];
        let jobs = self.jobs;
        let ended: Vec<_> = jobs.iter().filter_map(|job| Some((job, job.runs.first()?.outcome))).collect();
        if !ended.is_empty() {
            self.family(NAME, "1 for the way in which the last run ended.");
        }
        for (job, ended) in ended {
            for outcome in ALL {
                let labels =
                    [("job", job.job.as_str()), ("host", job.host.as_str()), ("outcome", outcome.as_str())];
                self.sample(NAME, &labels, truth(ended == outcome));
            }
        }
    }
}

fn truth(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn seconds(at: DateTime<FixedOffset>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

/// The value of a label as it stands between quotes.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
