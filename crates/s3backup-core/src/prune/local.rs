//! Removing local files that are proved to be in the bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use s3backup_catalog::{Catalog, Error as CatalogError, FileRow, FileState, SourceId};
use s3backup_transfer::{Bucket, ObjectInfo};
use tokio::task::JoinSet;

use super::unlink::{self, Unfit};
use super::{PruneItem, PruneKind, PruneState, Work};
use crate::Error;
use crate::memory::on_blocking_thread;
use crate::state::path_of_row;
use crate::verify::judge::{Judgement, judge};

/// Known files that are looked at together.
const PAGE: usize = 256;

/// Objects that are looked at at the same time.
const AT_ONCE: usize = 16;

/// What HEAD says of a file's object.
enum Proof {
    Proved,
    Differs(&'static str),
}

/// How far the search for old files has come in a source.
struct Search {
    source: SourceId,
    after: Option<Vec<u8>>,
    /// What was modified later stays.
    until_ns: i64,
}

impl Work {
    /// Removes files that were modified longer ago than `age`, that the catalog knows exactly as they are, that a manifest in the
    /// bucket names, and whose objects the bucket shows to be right, now.
    pub(super) async fn prune_local(&mut self, age: Duration) -> Result<(), Error> {
        let now_ns = (self.job.clock)().timestamp_nanos_opt().unwrap_or(i64::MIN);
        let until_ns = now_ns.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        let sources = Arc::clone(&self.memory.sources);
        for (place, &source) in sources.iter().enumerate() {
            let Some(root) = self.job.sources.get(place).map(|source| Arc::new(source.path.clone())) else {
                continue;
            };
            let mut search = Search { source, after: None, until_ns };
            while !self.is_cancelled() {
                let (found, is_last, back) = self.next_old(search).await?;
                search = back;
                self.prune_files(&root, found).await?;
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next files that are old enough, each with whether a manifest in the bucket names its object.
    async fn next_old(&self, mut search: Search) -> Result<(Vec<(FileRow, bool)>, bool, Search), Error> {
        let find = move |catalog: &mut Catalog| {
            let mut page = Vec::new();
            catalog.known(search.source, search.after.as_deref(), PAGE, &mut page)?;
            let is_last = page.last().is_none_or(|last| {
                search.after = Some(last.path.clone());
                false
            });
            let mut found = Vec::new();
            for known in page {
                if known.state == FileState::Present && known.mtime_ns <= search.until_ns {
                    let Some(row) = catalog.file(search.source, &known.path)? else { continue };
                    let is_told = is_told_of(catalog, &row)?;
                    found.push((row, is_told));
                }
            }
            Ok((found, is_last, search))
        };
        self.memory.with(find).await
    }

    async fn prune_files(&mut self, root: &Arc<PathBuf>, found: Vec<(FileRow, bool)>) -> Result<(), Error> {
        let mut fit = Vec::new();
        for (row, unfit) in check_all(Arc::clone(root), found).await? {
            match unfit {
                None => fit.push(row),
                Some(why) => self.tell_local(root, &row, PruneState::Left, why).await,
            }
        }
        let mut proved = Vec::new();
        for (row, proof) in self.prove(fit).await? {
            match proof {
                Proof::Proved => proved.push(row),
                Proof::Differs(why) => self.tell_local(root, &row, PruneState::Differs, why.to_owned()).await,
            }
        }
        if self.options.dry_run {
            for row in proved {
                self.tell_local(root, &row, PruneState::WouldGo, why_it_goes()).await;
            }
            return Ok(());
        }
        if proved.is_empty() || self.is_cancelled() {
            return Ok(());
        }
        for (row, unfit) in self.unlink(root, proved).await? {
            match unfit {
                None => self.tell_local(root, &row, PruneState::Removed, why_it_goes()).await,
                Some(why) => self.tell_local(root, &row, PruneState::Left, why).await,
            }
        }
        Ok(())
    }

    /// Asks the bucket for each object, several at a time.
    async fn prove(&self, rows: Vec<FileRow>) -> Result<Vec<(FileRow, Proof)>, Error> {
        let mut waiting = rows.into_iter();
        let mut tasks = JoinSet::new();
        let mut proved = Vec::new();
        loop {
            while tasks.len() < AT_ONCE && !self.is_cancelled() {
                let Some(row) = waiting.next() else { break };
                let bucket: Bucket = self.bucket.clone();
                tasks.spawn(async move {
                    let info = Box::pin(bucket.head(&row.key)).await;
                    (row, info)
                });
            }
            let Some(ended) = tasks.join_next().await else { return Ok(proved) };
            let (row, info) = ended.map_err(|error| Error::Defect(error.to_string()))?;
            let proof = proof(&row, info.map_err(Error::Transfer)?.as_ref());
            proved.push((row, proof));
        }
    }

    /// Removes files. The catalog says so first: who is killed in between leaves files that the next run finds to be back
    /// and unchanged. The other way round it would take them for deleted by somebody, and their objects for free to go.
    async fn unlink(
        &self,
        root: &Arc<PathBuf>,
        rows: Vec<FileRow>,
    ) -> Result<Vec<(FileRow, Option<Unfit>)>, Error> {
        let root = Arc::clone(root);
        let unlinking = move |catalog: &mut Catalog| -> Result<_, CatalogError> {
            let files: Vec<_> = rows.iter().map(|row| (row.source, row.path.clone())).collect();
            catalog.set_states(&files, FileState::LocallyPruned)?;
            let ended: Vec<_> = rows
                .into_iter()
                .map(|row| {
                    let unfit = unlink::remove(&root, &row).err();
                    (row, unfit)
                })
                .collect();
            // What was not removed is as it was; the next run looks at it anew.
            let left: Vec<FileRow> =
                ended.iter().filter(|(_, unfit)| unfit.is_some()).map(|(row, _)| row.clone()).collect();
            catalog.put_files(&left)?;
            Ok(ended)
        };
        self.memory.with(unlinking).await
    }

    async fn tell_local(&mut self, root: &Path, row: &FileRow, state: PruneState, reason: String) {
        self.tell(PruneItem {
            kind: PruneKind::Local,
            state,
            key: row.key.clone(),
            version_id: row.version_id.clone(),
            path: Some(path_of_row(row, Some(root))),
            bytes: row.size,
            reason,
        })
        .await;
    }
}

fn why_it_goes() -> String {
    "it is older than local_after, and the bucket shows that it has it".to_owned()
}

/// Whether a manifest in the bucket names this very object, so that the bucket alone can bring the file back.
fn is_told_of(catalog: &Catalog, row: &FileRow) -> Result<bool, CatalogError> {
    let version = catalog.version(&row.key, row.version_id.as_deref())?;
    Ok(version.is_some_and(|version| version.ended_run.is_none() && version.etag == row.etag))
}

/// Looks at each file, and gives why it may not go.
async fn check_all(
    root: Arc<PathBuf>,
    found: Vec<(FileRow, bool)>,
) -> Result<Vec<(FileRow, Option<Unfit>)>, Error> {
    let check = move |(row, is_told): (FileRow, bool)| {
        let unfit = match unlink::check(&root, &row) {
            Ok(()) if is_told => None,
            Ok(()) => Some("no manifest in the bucket names it yet: the next run writes one".to_owned()),
            Err(why) => Some(why),
        };
        (row, unfit)
    };
    on_blocking_thread(move || found.into_iter().map(check).collect()).await
}

/// Whether the bucket shows what the catalog knows. The version must be the current one: others may be under a rule of the
/// bucket that removes them.
fn proof(row: &FileRow, info: Option<&ObjectInfo>) -> Proof {
    let Some(info) = info else { return Proof::Differs("its object is not in the bucket") };
    if row.version_id.is_some() && info.version_id != row.version_id {
        return Proof::Differs("its object has another version by now");
    }
    match judge(row, info) {
        Judgement::Same => Proof::Proved,
        Judgement::Different(_) => Proof::Differs("its object is not what was put"),
        Judgement::Untold => Proof::Differs("nothing that the server shows proves its object"),
    }
}
