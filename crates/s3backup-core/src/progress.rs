//! How far a run is.

use s3backup_model::{Event, Tally};

/// How far a run is, made of its events: what a progress bar and a status page show.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// What the run is busy with.
    pub phase: Phase,
    /// Selected files so far.
    pub found: Tally,
    /// Whether those are all.
    pub is_found_whole: bool,
    /// Files that are dealt with: sent, or found to be in the bucket.
    pub done: Tally,
    /// Files that could not be backed up.
    pub failed: u64,
    /// Requests that were sent again.
    pub retries: u64,
    sent_bytes: u64,
}

/// What a run is busy with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It looks at the bucket and the catalog.
    #[default]
    Starting,
    /// It runs the step of this name.
    Step(String),
    /// It walks, reads and sends.
    Files,
    /// It was told to stop.
    Stopping,
}

impl Progress {
    /// Takes in what happened.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::StepStarted { name } => self.phase = Phase::Step(name.clone()),
            Event::Found { found } => {
                self.phase = Phase::Files;
                self.found = *found;
            }
            Event::DiscoveryFinished { found } => {
                self.found = *found;
                self.is_found_whole = true;
            }
            Event::Sent { bytes } => self.sent_bytes += bytes,
            Event::Known { unchanged } => self.done.merge(*unchanged),
            Event::Uploaded { bytes, .. } | Event::Unchanged { bytes, .. } => self.done.add(*bytes),
            Event::Failed { .. } => self.failed += 1,
            Event::Retrying { .. } => self.retries += 1,
            Event::Stopping => self.phase = Phase::Stopping,
            _ => {}
        }
    }

    /// Bytes that are dealt with: sent, or found to be there. What changed meanwhile is sent twice.
    pub fn bytes(&self) -> u64 {
        self.sent_bytes.max(self.done.bytes).min(self.found.bytes)
    }
}
