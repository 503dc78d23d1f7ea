//! Removing objects that nothing refers to.

use std::collections::BTreeSet;

use s3backup_catalog::VersionRow;
use s3backup_model::{Key, RunId, Tally};
use s3backup_transfer::{Bucket, Versioning};
use tokio::task::JoinSet;

use super::sweep::{Fate, Swept, fate};
use super::{MAX_SHARE, PruneItem, PruneKind, PruneState, Work, refused};
use crate::Error;

/// Versions that are looked at together: what one request removes at most.
const PAGE: usize = s3backup_transfer::MAX_DELETES;

/// Objects without versions that are looked at and removed at the same time. Each is two short requests.
const AT_ONCE: usize = 16;

/// By what it is decided which objects go.
pub(super) struct Retention {
    pub(super) kept: BTreeSet<RunId>,
    pub(super) swept: Option<Swept>,
    /// The newest run of which the bucket tells.
    pub(super) newest: RunId,
}

impl Retention {
    /// What is left once this was gone through.
    pub(super) fn as_swept(&self) -> Swept {
        Swept { kept: self.kept.clone(), until: self.newest.clone() }
    }
}

/// The place behind which a page begins.
type After = Option<(Key, Option<String>)>;

/// How an object was found that was to be removed.
enum Found {
    Removed,
    Missing,
    Other,
}

impl Work {
    /// Counts what goes, and refuses when it is too much at once.
    pub(super) async fn check_share(&mut self, retention: &Retention) -> Result<(), Error> {
        let mut known = self.memory.with(|catalog| catalog.open_versions()).await?;
        let mut goes = Tally::default();
        let mut after = None;
        loop {
            let (page, next) = self.page(retention, after).await?;
            for (version, fate) in &page {
                match fate {
                    Fate::WasSwept => continue,
                    Fate::Goes { .. } => goes.add(version.size),
                    Fate::IsCurrent | Fate::IsNeededBy(_) => {}
                }
                known.add(version.size);
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        self.report.known = known;
        let is_too_much = |part: u64, whole: u64| part.saturating_mul(100) > whole.saturating_mul(MAX_SHARE);
        if self.options.force
            || !(is_too_much(goes.files, known.files) || is_too_much(goes.bytes, known.bytes))
        {
            return Ok(());
        }
        let why = format!(
            "{} of {} objects ({} of {} bytes) would go at once, more than {MAX_SHARE} %: look at `backup prune --dry-run`, and if it is meant, prune once with --force",
            goes.files, known.files, goes.bytes, known.bytes
        );
        if self.options.dry_run {
            self.report.refused = Some(why);
            return Ok(());
        }
        Err(refused(why))
    }

    /// The next versions that ended, and where the page behind them begins.
    async fn page(
        &self,
        retention: &Retention,
        after: After,
    ) -> Result<(Vec<(VersionRow, Fate)>, After), Error> {
        let destination = self.memory.destination;
        let rows = self.memory.with(move |catalog| {
            let after = after.as_ref().map(|(key, version)| (key, version.as_deref()));
            catalog.ended_versions(destination, after, PAGE)
        });
        let rows = rows.await?;
        let next = rows.last().map(|(version, _)| (version.key.clone(), version.version_id.clone()));
        let judged = rows.into_iter().map(|(version, is_in_state)| {
            let fate = fate(&retention.kept, retention.swept.as_ref(), &version, is_in_state);
            (version, fate)
        });
        Ok((judged.collect(), next))
    }

    pub(super) async fn sweep_objects(&mut self, retention: &Retention) -> Result<(), Error> {
        let mut versioning = None;
        let mut after = None;
        while !self.is_cancelled() {
            let (page, next) = self.page(retention, after).await?;
            let mut goes = Vec::new();
            for (version, fate) in page {
                if let Fate::Goes { since } = fate {
                    goes.push((version, since));
                }
            }
            if self.options.dry_run {
                for (version, since) in goes {
                    self.tell_object(&version, &since, PruneState::WouldGo).await;
                }
            } else if !goes.is_empty() {
                let is_versioned = match versioning {
                    Some(known) => known,
                    None => self.bucket.versioning().await == Versioning::Enabled,
                };
                versioning = Some(is_versioned);
                self.remove_objects(goes, is_versioned).await?;
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        Ok(())
    }

    /// Removes objects, those with a version in one request.
    ///
    /// The catalog forgets their files first: a file that comes back is then new, and is sent. The other way round, a crash
    /// in between would leave a catalog that takes it for stored.
    async fn remove_objects(
        &mut self,
        goes: Vec<(VersionRow, RunId)>,
        is_versioned: bool,
    ) -> Result<(), Error> {
        let destination = self.memory.destination;
        let objects: Vec<(Key, Option<String>)> =
            goes.iter().map(|(version, _)| (version.key.clone(), version.version_id.clone())).collect();
        self.memory.with(move |catalog| catalog.forget_gone(destination, &objects)).await?;
        let (with_id, without): (Vec<_>, Vec<_>) =
            goes.into_iter().partition(|(version, _)| version.version_id.is_some());
        self.remove_versions(&with_id).await?;
        self.remove_plain(without, is_versioned).await
    }

    async fn remove_versions(&mut self, goes: &[(VersionRow, RunId)]) -> Result<(), Error> {
        let objects: Vec<(Key, Option<String>)> =
            goes.iter().map(|(version, _)| (version.key.clone(), version.version_id.clone())).collect();
        let failed = Box::pin(self.bucket.delete_many(&objects)).await.map_err(Error::Transfer)?;
        let places: BTreeSet<usize> = failed.iter().map(|(place, _)| *place).collect();
        for (place, (version, since)) in goes.iter().enumerate() {
            if !places.contains(&place) {
                self.tell_object(version, since, PruneState::Removed).await;
            }
        }
        match failed.into_iter().next() {
            Some((_, error)) => Err(Error::Transfer(error)),
            None => Ok(()),
        }
    }

    /// Removes objects that have no version id: each once it was seen to be still the one that was put. After the first error
    /// none is begun any more.
    async fn remove_plain(
        &mut self,
        goes: Vec<(VersionRow, RunId)>,
        is_versioned: bool,
    ) -> Result<(), Error> {
        let mut waiting = goes.into_iter();
        let mut tasks = JoinSet::new();
        let mut broken = None;
        loop {
            while broken.is_none() && !self.is_cancelled() && tasks.len() < AT_ONCE {
                let Some((version, since)) = waiting.next() else { break };
                let bucket = self.bucket.clone();
                tasks.spawn(async move {
                    let found = Box::pin(remove_if_same(&bucket, &version, is_versioned)).await;
                    (version, since, found)
                });
            }
            let Some(ended) = tasks.join_next().await else { break };
            let (version, since, found) = ended.map_err(|error| Error::Defect(error.to_string()))?;
            match found {
                Ok(Found::Removed) => self.tell_object(&version, &since, PruneState::Removed).await,
                Ok(Found::Missing) => self.leave(&version, "it is not there any more").await,
                Ok(Found::Other) => self.leave(&version, "another object has its key by now").await,
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        broken.map_or(Ok(()), |error| Err(Error::Transfer(error)))
    }

    async fn tell_object(&mut self, version: &VersionRow, since: &RunId, state: PruneState) {
        let reason = format!(
            "of the runs that are kept none refers to it: put by {}, replaced or without its file since {since}",
            version.put_run
        );
        self.tell(item(version, state, reason)).await;
    }

    async fn leave(&mut self, version: &VersionRow, why: &str) {
        self.tell(item(version, PruneState::Left, why.to_owned())).await;
    }
}

fn item(version: &VersionRow, state: PruneState, reason: String) -> PruneItem {
    PruneItem {
        kind: PruneKind::Object,
        state,
        key: version.key.clone(),
        version_id: version.version_id.clone(),
        path: None,
        bytes: version.size,
        reason,
    }
}

async fn remove_if_same(
    bucket: &Bucket,
    version: &VersionRow,
    is_versioned: bool,
) -> Result<Found, s3backup_transfer::Error> {
    let Some(info) = bucket.head(&version.key).await? else { return Ok(Found::Missing) };
    if info.etag != version.etag || info.size != version.size {
        return Ok(Found::Other);
    }
    // What was put before versioning was switched on has the version `null`. Without naming it, it would only be hidden.
    let null = is_versioned.then_some("null");
    bucket.delete(&version.key, info.version_id.as_deref().or(null)).await?;
    Ok(Found::Removed)
}
