//! What people, the health check and who gathers metrics hear of a run that many workers shared: once, whoever ends it.

use std::sync::Arc;

use s3backup_catalog::Telling;
use s3backup_model::{Latest, RunReport};
use s3backup_transfer::crc64nvme_base64;
use tokio::sync::Mutex;

use super::commit::End;
use super::settle::take_in;
use super::turn::Turn;
use crate::latest::Beacon;
use crate::memory::Shared;
use crate::outbox::{Outbox, own_name, random_name};
use crate::run::tell_people;
use crate::{Error, ending, metrics, trouble};

impl End<'_> {
    /// Takes the end of the run into the catalog where it belongs, and tells people, the health check and who gathers metrics, if
    /// nobody has.
    pub(super) async fn tell_of_end(
        &self,
        report: &mut RunReport,
        history: Option<Latest>,
        beacon: Option<Beacon>,
    ) -> Result<(), Error> {
        let by = self.teller().await?;
        let turn = Turn::new(self.job, self.bucket, format!("{}-end", self.run), by)?;
        let tells = turn.take().await;
        let catalog = match self.owner {
            Some(memory) => {
                take_in(self.job, self.bucket, memory, report, !tells).await?;
                memory.catalog.clone()
            }
            None if tells => self.borrowed(report, history).await?,
            None => return Ok(()),
        };
        let is_safe = self.deliver(report, catalog, tells).await;
        if let Some(beacon) = beacon.filter(|_| self.owner.is_some() || report.alerts.is_some()) {
            ending::say_delivery(&Mutex::new(beacon), report).await;
        }
        if tells {
            self.ping(report).await;
            metrics::publish(self.job, report, self.events, std::future::pending()).await;
            turn.end(is_safe).await;
        }
        Ok(())
    }

    /// Delivers what there is to tell. Gives whether it has arrived, or waits where it is not lost.
    async fn deliver(&self, report: &mut RunReport, catalog: Shared, tells: bool) -> bool {
        let told = tell_people(None, &Outbox::of(self.job, catalog), std::future::pending()).await;
        let has_arrived = matches!(&told, Some(Ok(delivery)) if delivery.waiting == 0);
        ending::note_delivery(self.job, report, self.events, tells, told).await;
        has_arrived || self.owner.is_some()
    }

    /// Tells once that a run was not committed, for a reason that is told only once however often it is tried. Nothing is stored: the
    /// run goes on. What goes wrong is logged; the caller has the reason of its own.
    pub(super) async fn tell_of_refusal(&self, mut refused: RunReport) {
        let message = refused.fatal.as_ref().map_or("", |fatal| &fatal.message);
        let sum = crc64nvme_base64(message.as_bytes()).replace('/', "_").replace('+', "-");
        let name = format!("{}-refused-{}", self.run, sum.trim_end_matches('='));
        if let Err(error) = self.try_tell_of_refusal(&mut refused, name).await {
            self.events
                .warn(format!("nobody was told that the run was refused: {}", crate::line_of(&error)))
                .await;
        }
    }

    async fn try_tell_of_refusal(&self, refused: &mut RunReport, name: String) -> Result<(), Error> {
        let turn = Turn::new(self.job, self.bucket, name, self.teller().await?)?;
        if !turn.take().await {
            return Ok(());
        }
        let catalog = match self.owner {
            Some(memory) => {
                let (job, told, destination) = (Arc::clone(self.job), refused.clone(), memory.destination);
                memory
                    .with(move |catalog| {
                        let telling = trouble::run::at_end(catalog, &job, destination, &told, true)?;
                        catalog.tell(&telling, told.finished_at.to_utc())
                    })
                    .await?;
                memory.catalog.clone()
            }
            None => self.borrowed(refused, None).await?,
        };
        let is_safe = self.deliver(refused, catalog, true).await;
        self.ping(refused).await;
        turn.end(is_safe).await;
        Ok(())
    }

    /// Who tells here: the catalog, or this process alone.
    async fn teller(&self) -> Result<String, Error> {
        let random = random_name(self.job);
        match self.owner {
            Some(memory) => own_name(&memory.catalog, random).await,
            None => Ok(random),
        }
    }

    /// A catalog that nobody sees again, with what there is to tell of the run, and as much of the past as it takes to say whether it
    /// found less than is usual.
    async fn borrowed(&self, report: &RunReport, history: Option<Latest>) -> Result<Shared, Error> {
        let catalog = Shared::temporary().await?;
        // Whose turn it is has been settled: whoever told the trouble of this run half way is not somebody else.
        own_name(&catalog, format!("commit of {}", self.run)).await?;
        let (job, report) = (Arc::clone(self.job), report.clone());
        catalog
            .with(move |catalog| {
                let destination = catalog.destination(job.server(), &job.bucket, job.naming.destination())?;
                let past = history.iter().flat_map(|latest| &latest.runs);
                for run in past.filter(|run| run.run_id != report.run_id) {
                    catalog.end_run(destination, run, &Telling::default())?;
                }
                let telling = trouble::run::at_end(catalog, &job, destination, &report, true)?;
                catalog.tell(&telling, report.finished_at.to_utc())
            })
            .await?;
        Ok(catalog)
    }

    async fn ping(&self, report: &mut RunReport) {
        let Some(ping) = &self.job.ping else { return };
        if let Err(why) = ping.end(report, true).await {
            self.warn(report, format!("the health check was not told of this run: {why}")).await;
        }
    }
}
