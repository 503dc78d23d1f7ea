//! What is done for each job once a minute, also while a run goes on.

use std::time::Duration;

use s3backup_model::Name;

use super::Shared;

const EVERY: Duration = Duration::from_mins(1);

/// Never ends.
pub(super) async fn each_minute(shared: &Shared, name: &Name) {
    loop {
        (shared.time.sleep)(EVERY).await;
        let Some(planned) = shared.planned(name) else { continue };
        // Somebody else may have run the job.
        shared.look(&planned).await;
    }
}
