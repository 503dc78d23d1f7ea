//! What is done for each job once a minute, also while a run goes on.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_model::Name;
use slog::warn;

use super::Shared;
use crate::backup::Backup;
use crate::{Error, line_of};

const EVERY: Duration = Duration::from_mins(1);

/// How often the bucket is asked whether a monitor has looked.
const MONITOR_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Never ends.
pub(super) async fn each_minute(shared: &Shared, name: &Name) {
    let mut asked_at: Option<DateTime<Utc>> = None;
    loop {
        (shared.time.sleep)(EVERY).await;
        let Some(planned) = shared.planned(name) else { continue };
        // Somebody else may have run the job.
        shared.look(&planned).await;
        let (backup, now) = (&planned.backup, shared.now());
        note(backup, "trouble could not be looked for", Box::pin(backup.look_for_trouble()).await);
        if asked_at.is_none_or(|at| at > now || now - at >= MONITOR_PAUSE) {
            asked_at = Some(now);
            note(
                backup,
                "it is not known whether a monitor looks",
                Box::pin(backup.look_for_monitor()).await,
            );
        }
        note(backup, "alerts could not be delivered", Box::pin(backup.deliver()).await.map(|_| ()));
    }
}

/// It is tried again, so that the log is all that need hear of it.
fn note(backup: &Backup, what: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        warn!(backup.job.logger(), "{}", what; "why" => line_of(&error));
    }
}
