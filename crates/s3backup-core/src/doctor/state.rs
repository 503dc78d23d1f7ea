//! What the job remembers on this machine, and who works with it.

use std::path::Path;
use std::sync::Arc;

use s3backup_catalog::{Catalog, Error as CatalogError, JobLock};

use super::{Check, blocking};
use crate::backup::Job;
use crate::memory::DATABASE;

pub(super) async fn check(job: &Arc<Job>) -> Vec<Check> {
    let Some(dir) = job.state_dir() else {
        return vec![Check::warn(
            "catalog",
            "there is no state directory: every run reads the state back from the bucket first, and nothing keeps two runs apart",
            "set `state_dir` to a directory on a local disk",
        )];
    };
    blocking("catalog", move || vec![catalog(&dir), lock(&dir)]).await
}

fn catalog(dir: &Path) -> Check {
    const NAME: &str = "catalog";
    let path = dir.join(DATABASE);
    if !path.exists() {
        return Check::ok(NAME, format!("there is none at {} yet; the first run makes it", path.display()));
    }
    let rebuild = "`backup status --rebuild` makes it again from the bucket; the next run does so by itself";
    match Catalog::open(&path).and_then(|catalog| catalog.check()) {
        Ok(None) => Check::ok(NAME, format!("{} is well formed", path.display())),
        Ok(Some(detail)) => Check::warn(NAME, format!("{} is damaged: {detail}", path.display()), rebuild),
        Err(error @ CatalogError::Corrupt { .. }) => Check::warn(NAME, crate::line_of(&error), rebuild),
        Err(error @ CatalogError::Newer { .. }) => {
            Check::fail(NAME, crate::line_of(&error), "update s3backup")
        }
        Err(error) => {
            let mend = format!("let the user that runs the backup read and write {}", dir.display());
            Check::fail(NAME, crate::line_of(&error), mend)
        }
    }
}

fn lock(dir: &Path) -> Check {
    match JobLock::holder(dir) {
        Some(holder) => {
            Check::ok("lock", format!("held by {holder}: a second run would end with exit code 11"))
        }
        None => Check::ok("lock", "nobody works on the job"),
    }
}
