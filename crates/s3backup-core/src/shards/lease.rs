//! That a run which many workers share goes on: while its lease lives, nothing else changes the backup.

use chrono::{DateTime, Utc};
use s3backup_model::{Latest, Lease};
use s3backup_transfer::Bucket;

use crate::Error;
use crate::backup::Job;
use crate::ending::local;
use crate::latest::{self, Seen};

/// The lease of a run that goes on, at this time.
pub(crate) fn live(latest: &Latest, now: DateTime<Utc>) -> Option<&Lease> {
    latest.lease.as_ref().filter(|lease| now < lease.expires_at)
}

/// The time by which leases end: the server's, which is one for all machines, once it has answered.
pub(crate) fn now(job: &Job, bucket: &Bucket) -> DateTime<Utc> {
    bucket.server_clock().unwrap_or_else(|| (job.clock)())
}

/// Stops where a lease lives.
///
/// # Errors
/// [`Error::Leased`].
pub(crate) fn refuse(job: &Job, bucket: &Bucket, seen: &Seen) -> Result<(), Error> {
    let Seen::Present(latest, _) = seen else { return Ok(()) };
    match live(latest, now(job, bucket)) {
        None => Ok(()),
        Some(lease) => Err(Error::Leased {
            job: job.name.clone(),
            run: lease.run_id.clone(),
            until: local(job, lease.expires_at.to_utc()),
        }),
    }
}

/// The same for who has not read `latest.json`.
///
/// # Errors
/// [`Error::Leased`], and [`Error::NotRead`].
pub(crate) async fn look(job: &Job, bucket: &Bucket) -> Result<(), Error> {
    let seen = Box::pin(latest::read(bucket, job)).await.map_err(|fatal| Error::NotRead(fatal.message))?;
    refuse(job, bucket, &seen)
}
