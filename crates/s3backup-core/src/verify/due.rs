//! Verifying by itself, from time to time.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_model::AlertKind;

use super::remember::remembered;
use super::{VerifyEvent, VerifyOptions, VerifyReport};
use crate::latest::{self, Seen};
use crate::memory::Memory;
use crate::{Backup, Error, alert};

/// Differences that an alert names.
const NAMED: usize = 10;

impl Backup {
    /// Verifies the bucket, without downloading, when it was not verified for [`BackupBuilder::verify_every`]; tells people
    /// when something differs, and delivers that as [`Backup::deliver`] does. `Ok(None)` when it is not due, and where there
    /// is no backup to verify yet.
    ///
    /// What could not be looked at counts as not verified: then it is due again at once. Must be called within a tokio
    /// runtime. Dropping the future stops the verification, which is then still due.
    ///
    /// # Errors
    /// As [`Verify::finish`](crate::Verify::finish), and [`Error::Catalog`] when the catalog cannot be read.
    ///
    /// [`BackupBuilder::verify_every`]: crate::BackupBuilder::verify_every
    pub async fn verify_if_due(&self) -> Result<Option<VerifyReport>, Error> {
        let job = &self.job;
        let Some(every) = job.verify_every else { return Ok(None) };
        let every = TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX);
        if self.last_verified().await?.is_some_and(|last| (job.clock)() - last < every) {
            return Ok(None);
        }
        let mut verify = self.verify(VerifyOptions::default());
        let mut first = Vec::new();
        while let Some(event) = verify.next().await {
            if let VerifyEvent::Differs(difference) = event
                && first.len() < NAMED
            {
                first.push(*difference);
            }
        }
        let report = match verify.finish().await {
            Err(Error::NoState { .. }) => return Ok(None),
            finished => finished?,
        };
        if report.verified.differ > 0 {
            self.tell(alert::of_verify(&job.name, &job.host, &report, &first)).await?;
        } else if report.unchecked == 0 {
            self.over(AlertKind::Differs).await?;
        }
        self.deliver().await?;
        Ok(Some(report))
    }

    /// When everything was looked at last: by the catalog, or on a machine without one by the bucket.
    async fn last_verified(&self) -> Result<Option<DateTime<Utc>>, Error> {
        let memory = Memory::look(&self.job).await?;
        let label = Arc::clone(&memory.label);
        let noted = memory.with(move |catalog| remembered(catalog, &label)).await?;
        if let Some(verified) = noted {
            return Ok(Some(verified.at.to_utc()));
        }
        let bucket = Box::pin(self.job.connect()).await.map_err(Error::Transfer)?;
        match Box::pin(latest::read(&bucket, &self.job)).await {
            Ok(Seen::Present(latest, _)) => Ok(latest.verified.map(|verified| verified.at.to_utc())),
            Ok(_) => Ok(None),
            Err(fatal) => Err(Error::NotRead(fatal.message)),
        }
    }
}
