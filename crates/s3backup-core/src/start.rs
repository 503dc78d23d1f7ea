//! What a run makes of what it finds at its start: the catalog beside it, and `latest.json` in the bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use s3backup_catalog::{
    Catalog, DestinationId, DueRow, Error as CatalogError, FileRow, FileState, Hints, Telling,
};
use s3backup_model::{
    CatalogRef, DueRef, DueState, FailureKind, Fatal, Key, Latest, Outcome, RunId, RunReport, RunState,
};
use s3backup_transfer::{Bucket, Error as TransferError, ServiceError};

use crate::Error;
use crate::backup::Job;
use crate::due::Duty;
use crate::events::Emitter;
use crate::latest::{self, Seen};
use crate::memory::{Memory, machine};
use crate::shards::{catch_up, close_expired};
use crate::snapshot;
use crate::state::{Span, import};

/// Names of settings in the catalog.
const CATALOG_ID: &str = "catalog_id";
const MACHINE: &str = "machine";

/// Rows that are read at a time.
const PAGE: usize = 1024;

/// How many runs back one that ended is looked for.
const RUNS: usize = 100;

/// The values of the setting that says what is not known of the bucket: that objects may be others than the catalog says, and
/// that, besides, the catalog does not know all files well enough to see whether they changed since.
const UNSETTLED: &str = "yes";
const UNSEEN: &str = "unseen";

/// What no file system says of a file: one of which the catalog has this is read by the next run.
const OF_NO_FILE: Hints = Hints { ctime_ns: 0, inode: 0 };

/// What the catalog says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Made when the catalog was first used.
    id: Option<String>,
    /// The machine that it was last used on.
    machine: Option<String>,
    /// The newest runs that it knows for this destination, and whether they ended. Those that could not even begin are
    /// among them: they say nothing about what else it knows.
    runs: BTreeMap<RunId, bool>,
    /// The run whose `latest.json` is known to have reached the bucket.
    stored: Option<RunId>,
    /// The last run that it planned for many workers, and of whose end it learns from the bucket.
    planned: Option<RunId>,
    /// Whether it knows nothing of this destination but perhaps runs that never reached it.
    is_blank: bool,
}

/// What is to be done before a run can trust the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recognition {
    /// Nothing.
    Same,
    /// Read the manifests of runs behind this one, or of all.
    Import { after: Option<RunId>, why: Option<&'static str> },
    /// Take in this run, the last: it was planned here, shared by many workers, and ended by one of them.
    TakeIn { run: RunId },
    /// Look whether the bucket has what the catalog says.
    Reconcile { why: &'static str },
    /// Stop: it is somebody else's.
    Foreign { why: String },
}

impl Facts {
    pub(crate) fn of(
        catalog: &Catalog,
        destination: DestinationId,
        label: &str,
    ) -> Result<Self, CatalogError> {
        let runs = catalog.runs(destination, RUNS)?.into_iter();
        let has_files = !catalog.state_by_key(destination, None, 1)?.is_empty();
        let stored = stored(catalog, label)?;
        Ok(Self {
            id: catalog.setting(CATALOG_ID)?,
            machine: catalog.setting(MACHINE)?,
            is_blank: stored.is_none() && !has_files,
            runs: runs.map(|row| (row.run, row.summary.is_some())).collect(),
            planned: catalog.setting(&planned_name(label))?.and_then(|id| RunId::parse(&id)),
            stored,
        })
    }

    /// Whether all is known that was done by the run that wrote this.
    fn knows(&self, latest: &Latest) -> bool {
        match self.runs.get(&latest.run_id) {
            Some(has_ended) => *has_ended || latest.state == RunState::Running,
            None => self.stored.as_ref() == Some(&latest.run_id),
        }
    }

    /// The newest run up to which all is known. Those behind the stored one may never have looked at the bucket.
    fn known_up_to(&self) -> Option<RunId> {
        let stored = self.stored.clone()?;
        self.runs.range(..=stored).rev().find(|(_, has_ended)| **has_ended).map(|(run, _)| run.clone())
    }
}

fn stored_name(label: &str) -> String {
    format!("latest_stored:{label}")
}

/// The run whose `latest.json` is known to have reached the bucket.
pub(crate) fn stored(catalog: &Catalog, label: &str) -> Result<Option<RunId>, CatalogError> {
    Ok(catalog.setting(&stored_name(label))?.and_then(|id| RunId::parse(&id)))
}

/// Remembers that `latest.json` of this run is in the bucket.
pub(crate) fn note_stored(catalog: &Catalog, label: &str, run: &RunId) -> Result<(), CatalogError> {
    catalog.set_setting(&stored_name(label), run.as_str())
}

fn planned_name(label: &str) -> String {
    format!("planned:{label}")
}

/// Remembers that this run was planned here for many workers: how it ended, and what they put, is in the bucket alone.
pub(crate) fn note_planned(catalog: &Catalog, label: &str, run: &RunId) -> Result<(), CatalogError> {
    catalog.set_setting(&planned_name(label), run.as_str())
}

fn unsettled_name(label: &str) -> String {
    format!("unsettled:{label}")
}

/// Remembers that objects may be replaced from now on without anybody hearing of it: by this run, if it is killed, or by
/// those of which an older catalog does not know. Gives whether that was remembered already.
pub(crate) fn note_unsettled(catalog: &Catalog, label: &str) -> Result<bool, CatalogError> {
    let name = unsettled_name(label);
    let is_known = catalog.setting(&name)?.is_some_and(|value| !value.is_empty());
    if !is_known {
        catalog.set_setting(&name, UNSETTLED)?;
    }
    Ok(is_known)
}

/// Remembers the same, and that the catalog was made from the bucket: it knows no change times, so that a file that is again
/// what it was looks as if it had never been anything else.
pub(crate) fn note_unseen(catalog: &Catalog, label: &str) -> Result<(), CatalogError> {
    catalog.set_setting(&unsettled_name(label), UNSEEN)
}

fn is_unseen(catalog: &Catalog, label: &str) -> Result<bool, CatalogError> {
    Ok(catalog.setting(&unsettled_name(label))?.is_some_and(|value| value == UNSEEN))
}

/// Remembers that the bucket is known to have each file as the catalog says.
pub(crate) fn note_settled(catalog: &Catalog, label: &str) -> Result<(), CatalogError> {
    catalog.set_setting(&unsettled_name(label), "")
}

/// Compares what the catalog says with what the bucket says.
///
/// `here` names this machine, where it has a name; `is_lasting` says whether the catalog outlives the run.
pub(crate) fn recognise(
    facts: &Facts,
    latest: Option<&Latest>,
    here: Option<&str>,
    is_lasting: bool,
) -> Recognition {
    let Some(latest) = latest else {
        return if facts.is_blank {
            // Nothing is known and nothing is said: manifests may be there all the same, of a version that said nothing.
            Recognition::Import { after: None, why: None }
        } else {
            Recognition::Reconcile {
                why: match facts.stored {
                    Some(_) => {
                        "latest.json is gone from the bucket, which may have been emptied or made anew"
                    }
                    None => "the bucket has no latest.json of this catalog yet",
                },
            }
        };
    };
    if !is_lasting {
        return Recognition::Import { after: None, why: None };
    }
    let other_machine =
        |other: Option<&str>| matches!((here, other), (Some(here), Some(other)) if here != other);
    let Some(id) = &facts.id else {
        return if other_machine(latest.catalog.machine.as_deref()) {
            Recognition::Foreign {
                why: format!("{} on another machine backs up under the name {}", latest.job, latest.host),
            }
        } else {
            Recognition::Import {
                after: None,
                why: Some("there was no catalog, and it was made again from the bucket"),
            }
        };
    };
    if *id != latest.catalog.id {
        return Recognition::Foreign {
            why: format!("the last run of {} on {} was made from another catalog", latest.job, latest.host),
        };
    }
    if other_machine(facts.machine.as_deref()) {
        return Recognition::Foreign { why: "this catalog was copied from another machine".to_owned() };
    }
    if facts.stored.as_ref().is_some_and(|stored| latest.run_id < *stored) {
        return Recognition::Reconcile {
            why: "the bucket is older than the catalog: it may have been restored from a copy",
        };
    }
    if !facts.knows(latest) {
        if facts.planned.as_ref() == Some(&latest.run_id) {
            return Recognition::TakeIn { run: latest.run_id.clone() };
        }
        return Recognition::Import {
            after: facts.known_up_to(),
            why: Some(
                "the catalog is older than the bucket, as after a disk was rolled back, and was brought up to it",
            ),
        };
    }
    Recognition::Same
}

/// Gives up a run that many workers shared and whose lease is over, unless it is somebody else's, and gives what `latest.json` says
/// then.
pub(crate) async fn close_shared(
    job: &Arc<Job>,
    bucket: &Bucket,
    memory: &Memory,
    events: &Emitter,
    seen: Seen,
) -> Result<Seen, Fatal> {
    let Seen::Present(latest, _) = &seen else { return Ok(seen) };
    if latest.lease.is_none() {
        return Ok(seen);
    }
    let fatal = |error: Error| fatal_of(&error);
    let (destination, label) = (memory.destination, Arc::clone(&memory.label));
    let facts = memory.with(move |catalog| Facts::of(catalog, destination, &label)).await.map_err(fatal)?;
    let recognition = recognise(&facts, Some(latest), machine(job).as_deref(), memory.is_lasting);
    if matches!(recognition, Recognition::Foreign { .. }) {
        return Ok(seen);
    }
    close_expired(job, bucket, latest, memory, events).boxed().await.map_err(fatal)?;
    Box::pin(latest::read(bucket, job)).await
}

/// Makes the catalog one that a run can trust. Gives warnings, for people.
pub(crate) async fn settle(
    job: &Arc<Job>,
    bucket: &Bucket,
    memory: &Memory,
    seen: &Seen,
) -> Result<Vec<String>, Fatal> {
    let destination = memory.destination;
    let fatal = |error: Error| fatal_of(&error);
    let label = Arc::clone(&memory.label);
    let facts = memory.with(move |catalog| Facts::of(catalog, destination, &label)).await.map_err(fatal)?;
    let here = machine(job);
    let latest = match seen {
        Seen::Present(latest, _) => Some(&**latest),
        Seen::Absent | Seen::Damaged(_) => None,
        // A host that may only write has to believe its catalog.
        Seen::Hidden => {
            let message = "latest.json may not be read, so a bucket that was emptied and a source that lost its files are not noticed: allow s3:GetObject and s3:ListBucket";
            return Ok(vec![message.to_owned()]);
        }
    };
    let mut warnings: Vec<String> = memory.set_aside.iter().cloned().collect();
    if let Seen::Damaged(why) = seen {
        warnings.push(format!("latest.json could not be read and is written anew: {why}"));
    }
    match recognise(&facts, latest, here.as_deref(), memory.is_lasting) {
        Recognition::Same => {}
        Recognition::Import { after, why } => {
            // First, because an import that was cut short may look like one that was not.
            expect_unseen(memory).await.map_err(fatal)?;
            let span = Span { after, until: None };
            let imported = import(job, bucket, memory, &span).await;
            let imported = match imported {
                Err(Error::Transfer(error)) if facts.is_blank && is_denied(&error) => return Ok(warnings),
                other => other.map_err(fatal)?,
            };
            if facts.is_blank && !imported.is_any {
                // It knows all that there is.
                expect_nothing_unseen(memory).await.map_err(fatal)?;
            }
            // What had to be read back now, and would have to be again by a machine that keeps no catalog.
            count_runs(memory, imported.runs).await.map_err(fatal)?;
            if let Some(latest) = latest {
                take_history(memory, latest).await.map_err(fatal)?;
            }
            let is_news = memory.is_lasting && (imported.is_any || latest.is_some());
            warnings.extend(
                why.filter(|_| is_news).map(|why| {
                    format!("{why}: {} runs, {} files and changes", imported.runs, imported.lines)
                }),
            );
        }
        Recognition::TakeIn { run } => {
            let events = Emitter::unwatched(job.logger().clone());
            catch_up(job, bucket, &run, memory, &events).boxed().await.map_err(fatal)?;
        }
        Recognition::Reconcile { why } => {
            let found = reconcile(job, bucket, memory).await.map_err(fatal)?;
            // The manifests may be gone as well: this run says again what there is.
            count_runs(memory, snapshot::EVERY).await.map_err(fatal)?;
            expect_unsettled(memory).await.map_err(fatal)?;
            let rest = if found.missing + found.others == 0 {
                "none is missing or another".to_owned()
            } else {
                format!("{} are missing and {} are others; they are sent again", found.missing, found.others)
            };
            // The first run after an adoption: all is as it should be.
            let is_news = facts.stored.is_some() || found.missing + found.others > 0;
            let warning = format!("{why}. The bucket was listed: of {} files {rest}", found.files);
            warnings.extend(is_news.then_some(warning));
            return Ok(warnings);
        }
        Recognition::Foreign { why } => {
            let message = format!(
                "{why}. If this machine is to go on in its place, run `backup status --rebuild` here; else give this one a `host` of its own, so that neither overwrites the other's files"
            );
            return Err(Fatal { kind: FailureKind::Catalog, message });
        }
    }
    warnings.extend(look(job, bucket, memory).await.map_err(fatal)?);
    Ok(warnings)
}

/// The catalog does not know how the runs ended that it learns of, nor what they left unfinished.
async fn expect_unseen(memory: &Memory) -> Result<(), Error> {
    let label = Arc::clone(&memory.label);
    memory.with(move |catalog| note_unseen(catalog, &label)).await
}

/// Whether after such a run the bucket is known to have each file as the catalog says: what was not looked at is no better
/// known than before.
pub(crate) fn is_settling(report: &RunReport) -> bool {
    let skipped = report.skipped.by_reason;
    report.outcome == Outcome::Success && skipped.too_young + skipped.not_selected == 0
}

async fn expect_nothing_unseen(memory: &Memory) -> Result<(), Error> {
    let label = Arc::clone(&memory.label);
    memory.with(move |catalog| catalog.set_setting(&unsettled_name(&label), UNSETTLED)).await
}

/// The bucket may be another than the catalog says.
async fn expect_unsettled(memory: &Memory) -> Result<(), Error> {
    let label = Arc::clone(&memory.label);
    memory.with(move |catalog| note_unsettled(catalog, &label)).await.map(|_was_known| ())
}

async fn count_runs(memory: &Memory, runs: u64) -> Result<(), Error> {
    let label = Arc::clone(&memory.label);
    memory.with(move |catalog| snapshot::count_runs(catalog, &label, runs)).await.map(|_is_due| ())
}

/// The id of the catalog, made when it has none, and of the machine.
pub(crate) fn identity(
    catalog: &Catalog,
    job: &Job,
    latest: Option<&Latest>,
    is_lasting: bool,
) -> Result<CatalogRef, CatalogError> {
    let machine = machine(job);
    let id = match catalog.setting(CATALOG_ID)? {
        Some(id) => id,
        // A lost catalog that was made again, or one that does not last, goes on under the old name.
        None => match latest {
            Some(latest) => latest.catalog.id.clone(),
            None => format!("{:08x}{:08x}", (job.random)(), (job.random)()),
        },
    };
    if is_lasting {
        catalog.set_setting(CATALOG_ID, &id)?;
        if let Some(machine) = &machine {
            catalog.set_setting(MACHINE, machine)?;
        }
    }
    Ok(CatalogRef { id, machine })
}

/// Whether the backup is made from this catalog, on this machine.
pub(crate) fn is_owner(catalog: &Catalog, job: &Job, latest: &Latest) -> Result<bool, CatalogError> {
    let is_elsewhere = match (machine(job), &latest.catalog.machine) {
        (Some(here), Some(owner)) => here != *owner,
        _ => false,
    };
    Ok(!is_elsewhere && catalog.setting(CATALOG_ID)?.as_ref() == Some(&latest.catalog.id))
}

/// Gives the catalog a new identity: from now on it is this one that the bucket belongs to.
pub(crate) fn take_over(catalog: &Catalog, job: &Job) -> Result<CatalogRef, CatalogError> {
    let id = format!("{:08x}{:08x}", (job.random)(), (job.random)());
    catalog.set_setting(CATALOG_ID, &id)?;
    let machine = machine(job);
    if let Some(machine) = &machine {
        catalog.set_setting(MACHINE, machine)?;
    }
    Ok(CatalogRef { id, machine })
}

/// Takes in which runs there were and which due times they met.
pub(crate) async fn take_history(memory: &Memory, latest: &Latest) -> Result<(), Error> {
    let destination = memory.destination;
    let latest = latest.clone();
    memory
        .with(move |catalog| {
            // Oldest first: the last word on a due time is that of the newest run.
            for summary in latest.runs.iter().rev() {
                catalog.end_run(destination, summary, &Telling::default())?;
                for due in &summary.due {
                    let timezone = latest.schedule.as_ref().map_or("UTC", |known| &known.timezone);
                    take_due(catalog, due, timezone, &summary.run_id)?;
                }
            }
            let schedule = latest.schedule.as_ref().and_then(|known| {
                s3backup_schedule::Schedule::new(&known.cron, known.timezone.parse().ok()?).ok()
            });
            match schedule {
                Some(schedule) if !Duty::is_kept(catalog)? => {
                    Duty::keep(catalog, &schedule, latest.started_at.to_utc())
                }
                _ => Ok(()),
            }
        })
        .await
}

/// Takes in what a run made of a due time, unless more is known.
fn take_due(catalog: &mut Catalog, due: &DueRef, timezone: &str, run: &RunId) -> Result<(), CatalogError> {
    let at: DateTime<Utc> = due.at.to_utc();
    catalog.add_due(&[DueRow {
        at,
        local_date: due.at.date_naive(),
        timezone: timezone.to_owned(),
        state: due.state,
        run: Some(run.clone()),
    }])?;
    let known = catalog.due_in(at, at + TimeDelta::seconds(1), 1)?;
    let is_open = |row: &DueRow| matches!(row.state, DueState::Missed | DueState::Partial);
    if due.state != DueState::Missed && known.first().is_some_and(is_open) {
        catalog.set_due(&[at], due.state, run)?;
    }
    Ok(())
}

/// What a listing of the bucket says of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) files: u64,
    pub(crate) missing: u64,
    pub(crate) others: u64,
}

/// Lists the bucket into the catalog's notes, in whatever order the server gives it.
pub(crate) async fn list_bucket(job: &Job, bucket: &Bucket, memory: &Memory) -> Result<(), Error> {
    memory.with(Catalog::clear_listed).await?;
    let prefix = job.naming.destination();
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let mut page = None;
    loop {
        let listed = Box::pin(bucket.list(&prefix, page.as_deref())).await.map_err(Error::Transfer)?;
        let objects: Vec<(Key, u64, String)> = listed
            .objects
            .into_iter()
            .filter(|object| !job.naming.is_reserved(&object.key))
            .filter_map(|object| Some((Key::new(object.key).ok()?, object.size, object.etag)))
            .collect();
        memory.with(move |catalog| catalog.note_listed(&objects)).await?;
        page = listed.next;
        if page.is_none() {
            return Ok(());
        }
    }
}

/// Marks what the bucket has not, or has other than it should, so that it is sent again.
async fn reconcile(job: &Job, bucket: &Bucket, memory: &Memory) -> Result<Found, Error> {
    compare_with_listing(job, bucket, memory, doubtful).await
}

/// After the catalog was made from the bucket, and until a run has seen each file: looks whether the bucket has what the
/// manifests say. They tell neither what a killed run has overwritten nor what a verification found missing.
async fn look(job: &Job, bucket: &Bucket, memory: &Memory) -> Result<Option<String>, Error> {
    let (destination, label) = (memory.destination, Arc::clone(&memory.label));
    let is_needed = memory
        .with(move |catalog| {
            Ok(is_unseen(catalog, &label)? && !catalog.state_by_key(destination, None, 1)?.is_empty())
        })
        .await?;
    if !is_needed {
        return Ok(None);
    }
    let found = match compare_with_listing(job, bucket, memory, unseen).await {
        Err(Error::Transfer(error)) if is_denied(&error) => return Ok(None),
        found => found?,
    };
    Ok((found.missing > 0).then(|| {
        format!(
            "the bucket was listed: of {} files {} are missing; they are sent again",
            found.files, found.missing
        )
    }))
}

/// A row of the state, and what is listed under its key.
type Compared = (FileRow, Option<(u64, String)>);

/// Lists the bucket and compares it with the state; changes each row as `mark` says.
async fn compare_with_listing(
    job: &Job,
    bucket: &Bucket,
    memory: &Memory,
    mark: fn(&Compared) -> Option<FileRow>,
) -> Result<Found, Error> {
    list_bucket(job, bucket, memory).await?;
    let destination = memory.destination;
    let mut found = Found::default();
    let mut after: Option<Key> = None;
    loop {
        let from = after.clone();
        let rows = memory
            .with(move |catalog| {
                let rows = catalog.state_against_listing(destination, from.as_ref(), PAGE)?;
                let marked: Vec<FileRow> = rows.iter().filter_map(mark).collect();
                catalog.import_files(&marked)?;
                Ok(rows)
            })
            .await?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.key.clone());
        found.files += rows.len() as u64;
        found.missing += rows.iter().filter(|(_, listed)| listed.is_none()).count() as u64;
        found.others += rows.iter().filter(|row| row.1.is_some() && doubtful(row).is_some()).count() as u64;
    }
    memory.with(Catalog::clear_listed).await?;
    Ok(found)
}

/// The row as one that is to be sent again, if what is listed is not what it says.
///
/// What is there instead may be somebody's: the row keeps the ETag of our own, so that nothing else is overwritten.
fn doubtful((row, listed): &Compared) -> Option<FileRow> {
    let row = row.clone();
    match listed {
        None => Some(FileRow { state: FileState::Doubtful, etag: String::new(), ..row }),
        Some((size, etag)) if *size == row.stored_size && (*etag == row.etag || etag.is_empty()) => None,
        Some(_) => Some(FileRow { state: FileState::Doubtful, ..row }),
    }
}

/// The row as one whose file is read by the next run, if what is listed is not what it says. What is there instead may well
/// be the file as it is now, sent by a run that was killed: it is recognised then, and not sent again.
fn unseen(compared: &Compared) -> Option<FileRow> {
    let row = doubtful(compared)?;
    match (compared.0.state, &compared.1) {
        (FileState::Present, None) => Some(row),
        (FileState::Present, Some(_)) => {
            Some(FileRow { state: FileState::Present, hints: Some(OF_NO_FILE), ..row })
        }
        _ => None,
    }
}

fn is_denied(error: &TransferError) -> bool {
    error.service().is_some_and(ServiceError::is_denied)
}

/// Why a run cannot go on.
pub(crate) fn fatal_of(error: &Error) -> Fatal {
    let kind = match error {
        Error::Transfer(error) => error.kind(),
        _ => FailureKind::Catalog,
    };
    Fatal { kind, message: crate::line_of(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3backup_model::Name;

    fn run(second: i64) -> RunId {
        RunId::new(DateTime::from_timestamp(second, 0).unwrap(), 1)
    }

    fn latest(id: &str, machine: Option<&str>, second: i64) -> Latest {
        let at = DateTime::from_timestamp(second, 0).unwrap().fixed_offset();
        Latest {
            schema: 1,
            min_reader: 1,
            version: String::new(),
            job: Name::new("telemetry").unwrap(),
            host: Name::new("gw-1").unwrap(),
            destination: String::new(),
            state: RunState::Idle,
            run_id: run(second),
            started_at: at,
            heartbeat: at,
            lease: None,
            schedule: None,
            catalog: CatalogRef { id: id.to_owned(), machine: machine.map(ToOwned::to_owned) },
            verified: None,
            alerts: None,
            runs: Vec::new(),
        }
    }

    /// All runs up to the newest ended.
    fn facts(id: &str, machine: &str, newest: i64, stored: i64) -> Facts {
        Facts {
            id: Some(id.to_owned()),
            machine: Some(machine.to_owned()),
            runs: (1..=newest).map(|second| (run(second), true)).collect(),
            stored: Some(run(stored)),
            planned: None,
            is_blank: false,
        }
    }

    #[test]
    fn the_same_catalog_goes_on() {
        let mine = facts("a", "m", 5, 5);
        assert_eq!(recognise(&mine, Some(&latest("a", Some("m"), 5)), Some("m"), true), Recognition::Same);
        // The end of the last run did not reach latest.json.
        let mine = facts("a", "m", 6, 5);
        assert_eq!(recognise(&mine, Some(&latest("a", Some("m"), 5)), Some("m"), true), Recognition::Same);
        // A container has no name of its own.
        assert_eq!(recognise(&mine, Some(&latest("a", None, 5)), None, true), Recognition::Same);
    }

    #[test]
    fn a_disk_that_was_rolled_back_is_brought_up() {
        let mine = facts("a", "m", 5, 5);
        let seen = recognise(&mine, Some(&latest("a", Some("m"), 9)), Some("m"), true);
        assert!(matches!(seen, Recognition::Import { after: Some(after), .. } if after == run(5)));
        // Also after a run that could not reach the bucket.
        let mut mine = mine;
        mine.runs.insert(run(12), true);
        let seen = recognise(&mine, Some(&latest("a", Some("m"), 9)), Some("m"), true);
        assert!(matches!(seen, Recognition::Import { after: Some(after), .. } if after == run(5)));
        // And to a moment at which a run was going on.
        let mut mine = facts("a", "m", 5, 5);
        mine.runs.insert(run(5), false);
        let seen = recognise(&mine, Some(&latest("a", Some("m"), 5)), Some("m"), true);
        assert!(matches!(seen, Recognition::Import { after: Some(after), .. } if after == run(4)));
        // Which is not one that was killed.
        let killed = Latest { state: RunState::Running, ..latest("a", Some("m"), 5) };
        assert_eq!(recognise(&mine, Some(&killed), Some("m"), true), Recognition::Same);
    }

    #[test]
    fn a_bucket_that_was_emptied_or_rolled_back_is_listed() {
        let mine = facts("a", "m", 5, 5);
        assert!(matches!(recognise(&mine, None, Some("m"), true), Recognition::Reconcile { .. }));
        let older = latest("a", Some("m"), 4);
        assert!(matches!(recognise(&mine, Some(&older), Some("m"), true), Recognition::Reconcile { .. }));
    }

    #[test]
    fn a_lost_catalog_is_made_again_on_its_machine_and_nowhere_else() {
        let blank = Facts { is_blank: true, ..Facts::default() };
        let theirs = latest("a", Some("m"), 5);
        let here = |machine| recognise(&blank, Some(&theirs), machine, true);
        assert!(matches!(here(Some("m")), Recognition::Import { after: None, why: Some(_) }));
        assert!(matches!(here(Some("other")), Recognition::Foreign { .. }));
        assert!(matches!(here(None), Recognition::Import { .. }));
        assert!(matches!(recognise(&blank, None, Some("m"), true), Recognition::Import { why: None, .. }));
    }

    #[test]
    fn a_cloned_machine_is_told_apart() {
        let clone = facts("a", "m", 5, 5);
        let theirs = latest("a", Some("m"), 5);
        assert!(matches!(recognise(&clone, Some(&theirs), Some("n"), true), Recognition::Foreign { .. }));
        let other = latest("b", Some("m"), 5);
        assert!(matches!(recognise(&clone, Some(&other), Some("m"), true), Recognition::Foreign { .. }));
    }
}
