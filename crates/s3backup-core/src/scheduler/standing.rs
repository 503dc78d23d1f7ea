//! How a job stands: what its ledger of due times and its runs say, and what the bucket says where the catalog knows nothing.

use chrono::{DateTime, Utc};
use s3backup_catalog::RunRow;
use s3backup_model::{Outcome, RunSummary};
use slog::{error, warn};

use super::{Planned, Shared};
use crate::due::{Duty, Ledger};
use crate::latest::{self, Seen};
use crate::memory::Memory;
use crate::{Error, line_of};

/// How far back a success is looked for: a year of daily runs with some that failed.
const RUNS: usize = 500;

/// How a job stands, as its catalog tells.
pub(super) struct Standing {
    /// Absent where none is kept.
    pub(super) ledger: Option<Ledger>,
    /// When the last successful run started.
    pub(super) last_success: Option<DateTime<Utc>>,
    /// Whether the catalog knows of any run.
    pub(super) has_run: bool,
}

impl Shared {
    /// Reads how a job stands, without its lock, and shows it. `None` when the catalog cannot be read, which the next run
    /// mends or tells.
    pub(super) async fn look(&self, planned: &Planned) -> Option<Standing> {
        let job = &planned.backup.job;
        match standing(planned, self.now()).await {
            Ok(standing) => {
                if standing.has_run {
                    self.board.last_success(&job.name, standing.last_success);
                }
                Some(standing)
            }
            Err(error) => {
                warn!(job.logger(), "the catalog cannot be read"; "why" => line_of(&error));
                None
            }
        }
    }

    /// How a job stands when its loop begins: whether a run is owed for due times that were missed, as far as it can be known.
    /// What cannot be known is taken for missed: the run then shows what is wrong.
    pub(super) async fn is_behind(&self, planned: &Planned) -> bool {
        let name = &planned.backup.job.name;
        let Some(standing) = self.look(planned).await else { return true };
        if let Some(ledger) = standing.ledger {
            if ledger.is_current {
                self.board.counts_from(name, DateTime::<Utc>::MIN_UTC);
            } else {
                self.begin_ledger(planned).await;
            }
            return ledger.is_missed;
        }
        let (is_behind, has_begun) = match seen(planned).await {
            Ok(Seen::Absent) => (false, false),
            Ok(Seen::Present(latest, _)) => {
                let last_success = last_success(&latest.runs);
                self.board.last_success(name, last_success);
                let due = planned.options.schedule.previous(self.now());
                (due.is_some_and(|due| last_success.is_none_or(|success| success < due.at)), true)
            }
            Ok(Seen::Damaged(_) | Seen::Hidden) => (true, true),
            Err(error) => {
                error!(planned.backup.job.logger(), "it is not known what was missed"; "why" => line_of(&error));
                (true, true)
            }
        };
        // A run that makes up begins the ledger by itself, and where the catalog was lost, takes it from the bucket.
        if !is_behind && (standing.has_run || !has_begun) {
            self.begin_ledger(planned).await;
        }
        is_behind
    }

    /// Writes into the catalog that the schedule is known from now on, so that what is missed before the first run is
    /// known after a restart.
    pub(super) async fn begin_ledger(&self, planned: &Planned) {
        let job = &planned.backup.job;
        let now = self.now();
        self.board.counts_from(&job.name, now);
        if job.state_dir().is_none() {
            return;
        }
        let noting = async {
            let memory = Memory::open(job, "backup schedule").await?;
            let options = planned.options.clone();
            memory.with(move |catalog| Duty::look(catalog, &options, now)).await
        };
        match noting.await {
            // A run that goes on does the same.
            Ok(_) | Err(Error::Locked { .. }) => {}
            Err(error) => warn!(job.logger(), "the schedule could not be noted"; "why" => line_of(&error)),
        }
    }
}

async fn standing(planned: &Planned, now: DateTime<Utc>) -> Result<Standing, Error> {
    let memory = Memory::look(&planned.backup.job).await?;
    let (options, destination) = (planned.options.clone(), memory.destination);
    let reading = memory.with(move |catalog| {
        let ledger = Duty::peek(catalog, &options, now)?;
        let runs = catalog.runs(destination, RUNS)?;
        let has_run = !runs.is_empty();
        let ended: Vec<RunSummary> = runs.into_iter().filter_map(|row: RunRow| row.summary).collect();
        Ok(Standing { ledger, last_success: last_success(&ended), has_run })
    });
    reading.await
}

/// The start of the newest successful run.
fn last_success(runs: &[RunSummary]) -> Option<DateTime<Utc>> {
    runs.iter().find(|run| run.outcome == Outcome::Success).map(|run| run.started_at.to_utc())
}

async fn seen(planned: &Planned) -> Result<Seen, Error> {
    let job = &planned.backup.job;
    let bucket = job.connect().await.map_err(Error::Transfer)?;
    let seen = Box::pin(latest::read(&bucket, job)).await;
    seen.map_err(|fatal| Error::NotRead(fatal.message))
}
