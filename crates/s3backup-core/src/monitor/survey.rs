//! Reading what the bucket says of all that back up below a prefix.

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use s3backup_model::{Key, Latest, Name, RunId, RunReport, RunState, RunSummary, Silence};
use s3backup_transfer::{Bucket, Error as TransferError, ListedFolders};

use super::marks::{Retired, silent_until};
use super::{BrokenAlerts, Evidence, Word, judge};
use crate::latest::{self, HEARTBEAT_LIMIT, NotRead};

/// The most jobs and machines that one monitor looks at.
pub(super) const MAX_PLACES: usize = 10_000;

/// How many of them are read at the same time.
const AT_ONCE: usize = 8;

/// Pages of one folder that are read. A job on a machine has a handful of names in its own.
const MAX_PAGES: usize = 10;

/// The largest report that is read: it names at most 1,000 failures.
const MAX_REPORT_BYTES: u64 = 16 << 20;

/// What there is.
pub(super) struct Survey {
    pub(super) evidence: Vec<Evidence>,
    /// By the server's clock, where it says what that is.
    pub(super) at: DateTime<Utc>,
    pub(super) warnings: Vec<String>,
    /// Whether there is more than one monitor looks at.
    pub(super) is_cut: bool,
}

pub(super) async fn survey(
    bucket: &Bucket,
    folder: &str,
    clock: &(dyn Fn() -> DateTime<Utc> + Send + Sync),
) -> Result<Survey, TransferError> {
    let mut found = Places { bucket, count: 0, is_cut: false, strange: Vec::new() };
    let mut places = Vec::new();
    for job in found.names(folder).await? {
        for host in found.names(&format!("{folder}{job}/")).await? {
            places.push((job.clone(), host));
        }
    }
    let Places { is_cut, strange, .. } = found;
    let mut warnings = Vec::new();
    if let Some(first) = strange.first() {
        let count = strange.len();
        warnings.push(format!(
            "{count} folders that no job or machine can have were passed over, such as {first:?}"
        ));
    }
    let at = bucket.server_clock().unwrap_or_else(|| {
        warnings.push(
            "the server does not say what time it is: this machine's clock is taken for right".to_owned(),
        );
        clock()
    });
    let gathering = places.into_iter().map(|(job, host)| Box::pin(gather(bucket, folder, job, host, at)));
    let evidence = stream::iter(gathering).buffered(AT_ONCE);
    let evidence = evidence.filter_map(|evidence| async { evidence }).collect().await;
    Ok(Survey { evidence, at, warnings, is_cut })
}

/// Lists names, and counts what it meets.
struct Places<'a> {
    bucket: &'a Bucket,
    count: usize,
    is_cut: bool,
    strange: Vec<String>,
}

impl Places<'_> {
    /// The folders in a folder that are named as jobs and machines are.
    async fn names(&mut self, folder: &str) -> Result<Vec<Name>, TransferError> {
        let (mut names, mut page) = (Vec::new(), None);
        while self.count < MAX_PLACES {
            let listed = Box::pin(self.bucket.list_folder(folder, page.as_deref())).await?;
            self.count += listed.folders.len() + listed.objects.len();
            for found in listed.folders {
                let name = found.strip_prefix(folder).map(|name| name.trim_end_matches('/'));
                match name.and_then(|name| Name::new(name).ok()) {
                    Some(name) => names.push(name),
                    None => self.strange.push(found),
                }
            }
            page = listed.next;
            if page.is_none() {
                return Ok(names);
            }
        }
        self.is_cut = true;
        Ok(names)
    }
}

/// Reads what there is of one job on one machine; `None` when nothing there is of a run.
async fn gather(
    bucket: &Bucket,
    folder: &str,
    job: Name,
    host: Name,
    now: DateTime<Utc>,
) -> Option<Evidence> {
    let own = format!("{folder}{job}/{host}/");
    let mut evidence = Evidence {
        job,
        host,
        word: Word::Absent,
        written_at: None,
        report_written_at: None,
        alerts: None,
        silent_until: None,
        is_retired: false,
    };
    match look(bucket, &own, &mut evidence, now).await {
        Ok(true) => Some(evidence),
        Ok(false) => None,
        Err(error) => {
            evidence.word = Word::Unread(error.to_line());
            Some(evidence)
        }
    }
}

async fn look(
    bucket: &Bucket,
    own: &str,
    evidence: &mut Evidence,
    now: DateTime<Utc>,
) -> Result<bool, TransferError> {
    let listed = list(bucket, own).await?;
    let object = |name: &str| listed.objects.iter().find(|object| object.key.strip_prefix(own) == Some(name));
    let retired = match object(Retired::NAME) {
        Some(_) => Retired::read(bucket, own).await?,
        None => None,
    };
    if object(Silence::OBJECT).is_some() {
        evidence.silent_until = silent_until(bucket, own, now).await?;
    }
    let Some(there) = object(latest::NAME) else {
        evidence.is_retired = retired.is_some();
        let has_run = |folder: &String| {
            folder.strip_prefix(own).is_some_and(|name| matches!(name, "runs/" | "manifests/" | "snapshots/"))
        };
        return Ok(evidence.is_retired || listed.folders.iter().any(has_run));
    };
    evidence.written_at = there.modified_at;
    // Where nothing could be read then, there is no newer run to tell that it is back.
    evidence.is_retired = retired.as_ref().is_some_and(Retired::is_blind);
    let Some(bytes) =
        read(bucket, &format!("{own}{}", latest::NAME), latest::MAX_BYTES, &mut evidence.word).await?
    else {
        return Ok(true);
    };
    match latest::parse(&bytes) {
        Ok(latest) if (&latest.job, &latest.host) == (&evidence.job, &evidence.host) => {
            evidence.alerts = broken_alerts(&latest);
            evidence.is_retired = retired.is_some_and(|retired| retired.holds_for(&latest));
            let latest = look_again(bucket, own, evidence, latest, now).await?;
            evidence.word = Word::Said(Box::new(latest));
        }
        Ok(latest) => {
            evidence.word = Word::Damaged(format!("it speaks of {} on {}", latest.job, latest.host));
        }
        Err(NotRead::Newer(version)) => evidence.word = Word::Newer(version),
        Err(NotRead::Damaged(why)) => evidence.word = Word::Damaged(why),
    }
    Ok(true)
}

/// Where `latest.json` may lag behind, or a clock, the reports tell.
async fn look_again(
    bucket: &Bucket,
    own: &str,
    evidence: &mut Evidence,
    mut latest: Latest,
    now: DateTime<Utc>,
) -> Result<Latest, TransferError> {
    let last_word = evidence.written_at.unwrap_or(latest.heartbeat.to_utc());
    let report_of = |run: &RunId| Some(format!("{own}runs/{}.json", RunId::parse(run.as_str())?));
    if latest.state == RunState::Running
        && now - last_word > HEARTBEAT_LIMIT
        && let Some(key) = report_of(&latest.run_id)
    {
        // It may have ended and not been able to say so here.
        let bytes = read(bucket, &key, MAX_REPORT_BYTES, &mut Word::Absent).await?;
        if let Some(report) = bytes.and_then(|bytes| serde_json::from_slice::<RunReport>(&bytes).ok()) {
            latest.runs.insert(0, RunSummary::from(&report));
            latest.state = RunState::Idle;
        }
    }
    // What was written long after it was said may have been rewritten, by a verification or a rebuild. Nobody rewrites reports.
    if last_word - latest.heartbeat.to_utc() > judge::CLOCK_LIMIT
        && let Some(key) = latest.runs.first().and_then(|run| report_of(&run.run_id))
    {
        let listed = Box::pin(bucket.list(&key, None)).await?;
        evidence.report_written_at = listed.objects.first().and_then(|object| object.modified_at);
    }
    Ok(latest)
}

async fn list(bucket: &Bucket, own: &str) -> Result<ListedFolders, TransferError> {
    let mut all = ListedFolders::default();
    for _ in 0..MAX_PAGES {
        let listed = Box::pin(bucket.list_folder(own, all.next.as_deref())).await?;
        all.folders.extend(listed.folders);
        all.objects.extend(listed.objects);
        all.next = listed.next;
        if all.next.is_none() {
            break;
        }
    }
    Ok(all)
}

/// Reads an object; one that is too large to be what it should be makes `word` say so.
async fn read(
    bucket: &Bucket,
    key: &str,
    limit: u64,
    word: &mut Word,
) -> Result<Option<bytes::Bytes>, TransferError> {
    let Ok(key) = Key::new(key) else { return Ok(None) };
    match Box::pin(bucket.read(&key, limit)).await {
        Err(error @ TransferError::BadRequest { .. }) => {
            *word = Word::Damaged(error.to_line());
            Ok(None)
        }
        read => read,
    }
}

/// What it says of its alerts, where anything is wrong with them.
fn broken_alerts(latest: &Latest) -> Option<BrokenAlerts> {
    let alerts = latest.alerts.as_ref()?;
    Some(BrokenAlerts {
        waiting: alerts.waiting + alerts.refused,
        since: alerts.broken_since?,
        why: alerts.why.clone().unwrap_or_else(|| "it does not say why".to_owned()),
    })
}
