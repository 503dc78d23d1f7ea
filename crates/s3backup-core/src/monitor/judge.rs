//! What a monitor makes of what the bucket says: pure functions of that and of the time.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use s3backup_model::{Latest, Lease, Outcome, RunState, RunSummary};
use s3backup_schedule::{DueTime, Schedule};

use super::{Evidence, Finding, FindingKind, Watched, Word};
use crate::latest::HEARTBEAT_LIMIT;
use crate::shards::lease;
use crate::shrunk::{self, Shrunk, Verdict};

/// A clock that is off by more is told of. Signed requests are refused at 15 minutes.
pub(super) const CLOCK_LIMIT: TimeDelta = TimeDelta::minutes(5);

/// No deadline and no run is meant to be longer; what the bucket says may be anything.
const MAX_SPAN: TimeDelta = TimeDelta::days(100 * 366);

/// Judges one job on one machine, at the server's `now`.
pub(super) fn judge(evidence: &Evidence, now: DateTime<Utc>) -> Watched {
    let mut watched = Watched::new(&evidence.job, &evidence.host);
    if evidence.is_retired {
        watched.is_retired = true;
        return watched;
    }
    watched.silent_until = evidence.silent_until;
    let (since, due) = (evidence.written_at.unwrap_or(now), evidence.written_at.unwrap_or(day(now)));
    let mut found = |kind, what: String, mend: &str| {
        watched.findings.push(Finding::new(kind, since.fixed_offset(), due, what, mend));
    };
    match &evidence.word {
        Word::Said(latest) => Judge { latest, evidence, now }.all(&mut watched),
        Word::Absent => found(
            FindingKind::Unseen,
            "there are manifests or reports of it and no latest.json: somebody removed that, or it could not be written".to_owned(),
            "look at the warnings of its last run; another `backup run` writes it again",
        ),
        Word::Damaged(why) => found(
            FindingKind::Damaged,
            format!("its latest.json cannot be read, so nothing is known of it: {why}"),
            "another `backup run` on that machine writes it anew",
        ),
        Word::Newer(version) => found(
            FindingKind::Newer,
            format!("its latest.json is of a newer version (it needs {version}), so nothing is known of it"),
            "update s3backup where this monitor runs",
        ),
        Word::Unread(why) => found(
            FindingKind::Unread,
            format!("what it says of itself could not be read: {why}"),
            "give this monitor s3:GetObject and s3:ListBucket there",
        ),
    }
    watched
}

/// One that was expected and of which the bucket knows nothing.
pub(super) fn never_seen(watched: &mut Watched, now: DateTime<Utc>) {
    watched.findings.push(Finding::new(
        FindingKind::Unseen,
        now.fixed_offset(),
        day(now),
        "it is expected, and nothing in the bucket tells of it: it has never run, or under another name or prefix",
        "run `backup run` there, or correct what is expected",
    ));
}

struct Judge<'a> {
    latest: &'a Latest,
    evidence: &'a Evidence,
    now: DateTime<Utc>,
}

impl Judge<'_> {
    fn all(&self, watched: &mut Watched) {
        let last = self.latest.runs.iter().max_by(|one, other| one.run_id.cmp(&other.run_id));
        let succeeded = self.latest.runs.iter().filter(|run| run.outcome == Outcome::Success);
        let success = succeeded.max_by_key(|run| run.started_at);
        watched.last_success = success.map(|run| run.finished_at);
        let schedule = self.schedule(watched);
        let (mut open, mut is_late) = (None, false);
        if let Some((schedule, deadline)) = &schedule {
            watched.next_due = schedule.next(self.now).map(|next| local(schedule, next));
            open = self.open(schedule, success).map(|due| local(schedule, due));
            is_late = open.is_some_and(|due| self.now - due.to_utc() >= *deadline);
        }
        watched.is_running = self.latest.state == RunState::Running && !self.is_silent();
        let is_killed = self.latest.state == RunState::Running && self.is_silent();
        let findings = &mut watched.findings;
        if watched.is_running {
            findings.extend(self.takes_long(open, is_late));
        } else if let Some(due) = open.filter(|_| is_late) {
            findings.push(self.late(due, success, last, is_killed));
        } else if is_killed {
            findings.push(self.killed(open));
        }
        if !findings.iter().any(|finding| finding.kind == FindingKind::Late) && !is_killed {
            findings.extend(last.and_then(|run| failed(run, open)));
        }
        findings.extend(last.and_then(|run| self.shrunk(run, open)));
        findings.extend(self.clock());
        findings.extend(self.alerts());
    }

    /// The schedule and the deadline, where they are said and can be read.
    fn schedule(&self, watched: &mut Watched) -> Option<(Schedule, TimeDelta)> {
        let Some(said) = &self.latest.schedule else {
            let note = "the bucket tells of no `[schedule]`, so it is judged by failures alone";
            watched.note = Some(note.to_owned());
            return None;
        };
        let schedule = match said.timezone.parse() {
            Ok(zone) => Schedule::new(&said.cron, zone).map_err(|error| error.to_string()),
            Err(_) => Err(format!("{:?} is no time zone that is known here", said.timezone)),
        };
        match schedule {
            Ok(schedule) => Some((schedule, span(said.deadline_s))),
            Err(why) => {
                watched.findings.push(Finding::new(
                    FindingKind::Damaged,
                    self.latest.started_at,
                    self.latest.started_at.to_utc(),
                    format!("its schedule cannot be read, so nobody knows when it is late: {why}"),
                    "correct `timezone` and `[schedule]` on that machine, or update s3backup where this monitor runs",
                ));
                None
            }
        }
    }

    /// The first due time that no success has met yet, if it is over. What was due before the job was first seen is not its
    /// business.
    fn open(&self, schedule: &Schedule, success: Option<&RunSummary>) -> Option<DueTime> {
        let first = if let Some(run) = success {
            schedule.next(run.started_at.to_utc())?
        } else {
            let began = self.latest.runs.iter().map(|run| run.started_at);
            let first = began.chain([self.latest.started_at]).min()?.to_utc();
            // One at that very moment counts.
            schedule.next(first.checked_sub_signed(TimeDelta::seconds(1))?)?
        };
        (first.at <= self.now).then_some(first)
    }

    /// When it was last heard of, by the server's clock where that is known.
    fn last_word(&self) -> DateTime<Utc> {
        self.evidence.written_at.unwrap_or(self.latest.heartbeat.to_utc())
    }

    /// Of a run that many workers share, the lease alone says whether it goes on: nobody else speaks for all of them.
    fn is_silent(&self) -> bool {
        match &self.latest.lease {
            Some(_) => lease::live(self.latest, self.now).is_none(),
            None => self.now - self.last_word() > HEARTBEAT_LIMIT,
        }
    }

    fn takes_long(&self, open: Option<DateTime<FixedOffset>>, is_late: bool) -> Option<Finding> {
        let began = self.latest.started_at;
        let took = self.now - began.to_utc();
        let limit = self.latest.schedule.as_ref().filter(|_| self.latest.lease.is_none());
        let limit = limit.map(|said| span(said.max_runtime_s));
        let why = match (open.filter(|_| is_late), limit) {
            (Some(due), _) => format!("the backup due {} is not complete yet", time(due)),
            (None, Some(limit)) if took > limit + HEARTBEAT_LIMIT => {
                format!("it should have been interrupted after {}", words(limit))
            }
            _ => return None,
        };
        Some(Finding::new(
            FindingKind::LongRunning,
            began,
            begun_with(open, began),
            format!("the run that began {} is still going on after {}: {why}", time(began), words(took)),
            "see its log; more `[transfer] concurrency` or bandwidth helps where it is only much to send",
        ))
    }

    fn late(
        &self,
        due: DateTime<FixedOffset>,
        success: Option<&RunSummary>,
        last: Option<&RunSummary>,
        is_killed: bool,
    ) -> Finding {
        let (why, mend) = match last.filter(|run| run.started_at >= due) {
            _ if is_killed => self.fate(),
            Some(run) => (ended(run), FAILED_MEND.to_owned()),
            None => (
                format!(
                    "no run has begun since, the machine was last heard of {}",
                    time(self.latest.heartbeat)
                ),
                "look whether the machine is up, and whether its scheduler (daemon, systemd timer, cron, Airflow) is on".to_owned(),
            ),
        };
        let before = success.map_or_else(
            || "there was never a complete backup".to_owned(),
            |run| format!("the last complete backup is of {}", time(run.finished_at)),
        );
        let what = format!(
            "the backup due {} is late by {}: {why}; {before}",
            time(due),
            words(self.now - due.to_utc())
        );
        Finding::new(FindingKind::Late, due, due.to_utc(), what, mend)
    }

    fn killed(&self, open: Option<DateTime<FixedOffset>>) -> Finding {
        let due = begun_with(open, self.latest.started_at);
        let (fate, mend) = self.fate();
        Finding::new(FindingKind::Killed, self.latest.heartbeat, due, fate, mend)
    }

    /// What is known of a run of which nothing is heard any more, and what to do.
    fn fate(&self) -> (String, String) {
        let began = time(self.latest.started_at);
        if let Some(Lease { run_id, shards, expires_at }) = &self.latest.lease {
            let until = time(*expires_at);
            return (
                format!(
                    "the run {run_id} that began {began} was shared by workers in {shards} shards, and was neither committed nor given up until its plan expired {until}"
                ),
                format!(
                    "look why its workers or `backup commit` did not end (in Airflow, the log of their tasks); the next `backup run` there closes it and sends the rest, as does `backup commit {run_id} --abandon` before one"
                ),
            );
        }
        let heard = time(self.latest.heartbeat);
        let fate = format!(
            "the run that began {began} was last heard of {heard}: it was killed, or its machine is gone"
        );
        (fate, KILLED_MEND.to_owned())
    }

    /// Whether the newest run found far less than is usual, by the same measure as the machine's own.
    fn shrunk(&self, run: &RunSummary, open: Option<DateTime<FixedOffset>>) -> Option<Finding> {
        let verdict = shrunk::judge_run(run, self.latest.runs.iter(), self.latest.schedule.is_some());
        let Verdict::Shrunk(Shrunk { usual, days }) = verdict else { return None };
        let due = run.due.last().map(|due| due.at).or(open);
        Some(Finding::new(
            FindingKind::Shrunk,
            run.finished_at,
            begun_with(due, run.started_at),
            format!(
                "the run that began {} found {} files and {} bytes, where {} and {} are usual (of {days} days)",
                time(run.started_at),
                run.found.files,
                run.found.bytes,
                usual.files,
                usual.bytes
            ),
            "look on that machine whether all disks of the sources are mounted, and whether what makes the files still runs",
        ))
    }

    /// How far the machine's clock is off, which what it wrote shows beside when the server took it.
    fn clock(&self) -> Option<Finding> {
        let ahead = self.latest.heartbeat.to_utc() - self.last_word().min(self.now);
        let ended = self.latest.runs.first().map(|run| run.finished_at.to_utc());
        let behind = self.evidence.report_written_at.zip(ended).map(|(written, said)| written - said);
        let (off, word) = match behind {
            _ if ahead > CLOCK_LIMIT => (ahead, "ahead of"),
            Some(behind) if behind > CLOCK_LIMIT => (behind, "behind"),
            _ => return None,
        };
        Some(Finding::new(
            FindingKind::Clock,
            self.latest.heartbeat,
            day(self.now),
            format!("the clock of that machine is {} {word} the server's", words(off)),
            "set its clock (NTP): at 15 minutes the server refuses all requests",
        ))
    }

    fn alerts(&self) -> Option<Finding> {
        let broken = self.evidence.alerts.as_ref()?;
        Some(Finding::new(
            FindingKind::AlertsBroken,
            broken.since,
            broken.since.to_utc(),
            format!(
                "its alerts do not reach anybody since {} ({} wait): {}",
                time(broken.since),
                broken.waiting,
                broken.why
            ),
            "mend `[slack]` on that machine; `backup doctor` there says what is wrong",
        ))
    }
}

const KILLED_MEND: &str = "look whether the machine is up and has memory to spare; its next `backup run` goes on where this one stopped";
const FAILED_MEND: &str = "see the report and the log of that run for the reason";

/// The due time that a trouble began with; without one, when its run began. Runs and daemons call it by the same.
fn begun_with(open: Option<DateTime<FixedOffset>>, began: DateTime<FixedOffset>) -> DateTime<Utc> {
    open.unwrap_or(began).to_utc()
}

/// A run that did not back up all.
fn failed(run: &RunSummary, open: Option<DateTime<FixedOffset>>) -> Option<Finding> {
    let kind = match run.outcome {
        Outcome::Failed => FindingKind::Failed,
        Outcome::Partial => FindingKind::Partial,
        // Somebody stopped it, or it took too long: then it is late before long.
        Outcome::Success | Outcome::Interrupted => return None,
    };
    Some(Finding::new(kind, run.finished_at, begun_with(open, run.started_at), ended(run), FAILED_MEND))
}

fn ended(run: &RunSummary) -> String {
    let mut text = format!("the run that began {} ended as {}", time(run.started_at), run.outcome.as_str());
    if let Some(kind) = run.fatal {
        text = format!("{text} ({})", kind.as_str().replace('_', " "));
    }
    if run.failed_total > 0 {
        text = format!("{text}, {} not backed up", crate::alert::files_of(run.failed_total));
    }
    text
}

fn local(schedule: &Schedule, due: DueTime) -> DateTime<FixedOffset> {
    due.at.with_timezone(&schedule.timezone()).fixed_offset()
}

/// Seconds that the bucket tells of.
fn span(seconds: u64) -> TimeDelta {
    i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or(MAX_SPAN).min(MAX_SPAN)
}

/// A span of time for a person, to the minute.
pub(crate) fn words(span: TimeDelta) -> String {
    let minutes = u64::try_from(span.num_minutes()).unwrap_or_default();
    humantime::format_duration(Duration::from_secs(minutes.max(1) * 60)).to_string()
}

/// A moment for a person.
pub(crate) fn time(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M %:z").to_string()
}

/// A moment as part of a key.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// The day of a moment: what has no moment of its own is told anew each day.
pub(super) fn day(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests;
