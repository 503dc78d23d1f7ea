//! Removing the control data of old runs.

use std::collections::BTreeSet;

use s3backup_model::{Key, RunId};
use s3backup_transfer::ListedObject;

use super::history::Runs;
use super::sweep::old_runs;
use super::{PruneItem, PruneKind, Work};
use crate::Error;
use crate::latest::{self, Seen};
use crate::state::{control_key, runs_with};

impl Work {
    /// Removes it run by run, newest first. Of each run goes first what speaks of the rest: the index of its snapshot, its
    /// report. What is left at any moment is a history that begins where the backup did, or at a snapshot.
    pub(super) async fn sweep_control(&mut self, runs: &Runs, kept: &BTreeSet<RunId>) -> Result<(), Error> {
        let Some(oldest) = kept.first() else { return Ok(()) };
        let base = runs.base(&self.job, &self.bucket, oldest).await?;
        for old in old_runs(&runs.records(), &runs.snapshots, kept, base.as_ref()) {
            let mut objects = Vec::new();
            if old.snapshot {
                let mut segments = self.list(&format!("snapshots/{}/", old.id)).await?;
                segments.sort_by_key(|object| !object.key.ends_with("/index.json"));
                objects.extend(segments);
            }
            if old.record {
                objects.extend(self.list(&format!("runs/{}.json", old.id)).await?);
                objects.extend(self.list(&format!("manifests/{}/", old.id)).await?);
            }
            let reason = format!(
                "run {} is older than every run that is kept, and the snapshot of {} has what they need of it",
                old.id,
                base.as_ref().map_or("", RunId::as_str)
            );
            self.remove_control(objects, &reason).await?;
        }
        Ok(())
    }

    /// Removes the plans that many workers shared, of runs that are over: whoever ended them may not have been allowed to. The one that
    /// `latest.json` still tells of is closed by the next run first.
    pub(super) async fn sweep_plans(&mut self) -> Result<(), Error> {
        let seen = Box::pin(latest::read(&self.bucket, &self.job)).await;
        let Ok(Seen::Present(latest, _)) = seen else { return Ok(()) };
        let open = latest.lease.map(|lease| lease.run_id);
        for run in runs_with(&self.job, &self.bucket, "plans/").await? {
            if open.as_ref() != Some(&run) {
                let objects = self.list(&format!("plans/{run}/")).await?;
                self.remove_control(
                    objects,
                    &format!("run {run} is over, and nobody needs its plan any more"),
                )
                .await?;
            }
        }
        Ok(())
    }

    async fn remove_control(&mut self, objects: Vec<ListedObject>, reason: &str) -> Result<(), Error> {
        for object in objects {
            if self.is_cancelled() {
                return Ok(());
            }
            let Ok(key) = Key::new(object.key) else { continue };
            if !self.options.dry_run {
                Box::pin(self.bucket.delete(&key, None)).await.map_err(Error::Transfer)?;
            }
            self.tell(PruneItem {
                kind: PruneKind::Control,
                state: self.goes(),
                key,
                version_id: None,
                path: None,
                bytes: object.size,
                reason: reason.to_owned(),
            })
            .await;
        }
        Ok(())
    }

    async fn list(&self, name: &str) -> Result<Vec<ListedObject>, Error> {
        let prefix = control_key(&self.job, name)?;
        let mut objects = Vec::new();
        let mut page = None;
        loop {
            let listed = Box::pin(self.bucket.list(prefix.as_str(), page.as_deref())).await;
            let listed = listed.map_err(Error::Transfer)?;
            objects.extend(listed.objects);
            page = listed.next;
            if page.is_none() {
                return Ok(objects);
            }
        }
    }
}
