//! Noting that the bucket was verified: in `latest.json`, and in the catalog.

use s3backup_catalog::{Catalog, Error as CatalogError};
use s3backup_model::Verified;
use s3backup_transfer::{Bucket, Error as TransferError, WriteCondition};

use crate::Error;
use crate::backup::Job;
use crate::latest::{self, Seen};
use crate::memory::Memory;

/// How often `latest.json` is read and written anew when a run writes it at the same time.
const TRIES: u32 = 3;

/// The setting of the catalog that has the newest [`Verified`] of a destination, as JSON. Runs carry it into their reports
/// and into `latest.json`.
fn verified_setting(label: &str) -> String {
    format!("verified:{label}")
}

/// What the catalog remembers of the last time.
pub(crate) fn remembered(catalog: &Catalog, label: &str) -> Result<Option<Verified>, CatalogError> {
    let noted = catalog.setting(&verified_setting(label))?;
    // What is not understood was written by another version, and is written anew by the next time.
    Ok(noted.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Notes it in both places. Gives what a person should know when that was not possible.
pub(super) async fn remember(
    job: &std::sync::Arc<Job>,
    bucket: &Bucket,
    memory: &Memory,
    holds_lock: bool,
    verified: &Verified,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if memory.is_lasting
        && let Err(error) = in_catalog(job, memory, holds_lock, verified).await
    {
        warnings.push(format!(
            "the catalog does not note that the bucket was verified: {}",
            crate::line_of(&error)
        ));
    }
    if let Err(why) = in_bucket(job, bucket, verified).await {
        warnings.push(format!("latest.json does not say that the bucket was verified: {why}"));
    }
    warnings
}

/// A run that holds the lock is not waited for: then only the bucket says it.
async fn in_catalog(
    job: &std::sync::Arc<Job>,
    memory: &Memory,
    holds_lock: bool,
    verified: &Verified,
) -> Result<(), Error> {
    let opened = if holds_lock { Ok(memory.clone()) } else { Memory::open(job, "backup verify").await };
    let memory = match opened {
        Err(Error::Locked { .. }) => return Ok(()),
        opened => opened?,
    };
    let (name, value) = (verified_setting(&memory.label), serde_json::to_string(verified));
    let value = value.map_err(|error| Error::Defect(error.to_string()))?;
    memory.with(move |catalog| catalog.set_setting(&name, &value)).await
}

/// Run, state and heartbeat stay those that are there.
async fn in_bucket(job: &Job, bucket: &Bucket, verified: &Verified) -> Result<(), String> {
    let key = job.naming.control_key("latest.json").map_err(|error| error.to_string())?;
    for _ in 0..TRIES {
        let seen = Box::pin(latest::read(bucket, job)).await.map_err(|fatal| fatal.message)?;
        let Seen::Present(mut latest, etag) = seen else { return Ok(()) };
        latest.verified = Some(verified.clone());
        let bytes = serde_json::to_vec(&latest).map_err(|error| error.to_string())?;
        let condition = if etag.is_empty() { WriteCondition::Always } else { WriteCondition::Replaces(etag) };
        let (kind, sse) = (job.transfer.checksum, job.objects.sse.as_ref());
        match Box::pin(bucket.write_if(&key, bytes.into(), kind, sse, condition)).await {
            Err(error) if error.is_precondition() => {}
            written => return written.map(|_| ()).map_err(|error: TransferError| error.to_line()),
        }
    }
    Err("it keeps changing".to_owned())
}
