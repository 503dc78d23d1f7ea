//! The one stream of what happens, and its rendering as a log.

use std::collections::VecDeque;

use s3backup_model::{Event, Outcome, StepState};
use slog::{Logger, debug, error, info, warn};
use tokio::sync::mpsc;

/// Events that wait for whoever watches. A watcher that is slower than this slows the run down, and none is lost.
pub(crate) const EVENTS_AHEAD: usize = 1024;

/// Hands out events: to the log first, then to the watcher.
#[derive(Clone)]
pub(crate) struct Emitter {
    sender: mpsc::Sender<Event>,
    logger: Logger,
}

impl Emitter {
    pub(crate) fn new(sender: mpsc::Sender<Event>, logger: Logger) -> Self {
        Self { sender, logger }
    }

    /// Of something that nobody watches: what happens is only logged.
    pub(crate) fn unwatched(logger: Logger) -> Self {
        Self::new(mpsc::channel(1).0, logger)
    }

    pub(crate) fn logger(&self) -> &Logger {
        &self.logger
    }

    pub(crate) async fn emit(&self, event: Event) {
        log(&self.logger, &event);
        // Nobody watches any more only when the run is being dropped.
        let _ = self.sender.send(event).await;
    }

    /// Hands out many events at once, which wakes the watcher once rather than for each. Those that were not handed out when
    /// the future is dropped stay in `events`.
    pub(crate) async fn emit_all(&self, events: &mut VecDeque<Event>) {
        while !events.is_empty() {
            let room = events.len().min(self.sender.max_capacity());
            let Ok(slots) = self.sender.reserve_many(room).await else {
                // Nobody watches any more.
                for event in events.drain(..) {
                    log(&self.logger, &event);
                }
                return;
            };
            for (slot, event) in slots.zip(events.drain(..room)) {
                log(&self.logger, &event);
                slot.send(event);
            }
        }
    }

    /// Room for one event, so that it can be made only when it is sure to be handed out: nothing is lost when the future
    /// is dropped. `None` when nobody watches any more.
    pub(crate) async fn slot(&self) -> Option<Slot<'_>> {
        let permit = self.sender.reserve().await.ok()?;
        Some(Slot { permit, logger: &self.logger })
    }

    pub(crate) async fn warn(&self, message: String) {
        self.emit(Event::Warning { message }).await;
    }
}

/// Room for one event.
pub(crate) struct Slot<'a> {
    permit: mpsc::Permit<'a, Event>,
    logger: &'a Logger,
}

impl Slot<'_> {
    pub(crate) fn hand_out(self, event: Event) {
        log(self.logger, &event);
        self.permit.send(event);
    }
}

/// Failed attempts of one request that are told on the debug level; from the next on they are warnings.
const QUIET_ATTEMPTS: u32 = 2;

/// Info tells the story of a run in tens of lines, debug names each file.
fn log(logger: &Logger, event: &Event) {
    match event {
        Event::RunStarted { run_id, destination, trigger, .. } => {
            info!(logger, "run started"; "run" => %run_id, "destination" => destination, "trigger" => trigger.as_str());
        }
        Event::StepStarted { name } => info!(logger, "step started"; "step" => name),
        Event::StepOutput { name, line, .. } => info!(logger, "step says"; "step" => name, "line" => line),
        Event::StepFinished { name, state: StepState::Ok, duration, .. } => {
            info!(logger, "step finished"; "step" => name, "duration_s" => duration.as_secs_f64());
        }
        Event::StepFinished { name, state, duration, message } => {
            error!(logger, "step did not succeed"; "step" => name, "state" => state.as_str(),
                "duration_s" => duration.as_secs_f64(), "why" => message.as_deref().unwrap_or(""));
        }
        Event::Skipped { path, reason } => {
            debug!(logger, "skipped"; "path" => path, "reason" => reason.as_str());
        }
        Event::DiscoveryFinished { found } => {
            info!(logger, "sources walked"; "files" => found.files, "bytes" => found.bytes);
        }
        Event::Retrying { key, attempt, delay, cause } if *attempt <= QUIET_ATTEMPTS => {
            debug!(logger, "request failed, trying again"; "key" => %key, "attempt" => attempt,
                "delay_ms" => delay.as_millis(), "why" => cause);
        }
        Event::Retrying { key, attempt, delay, cause } => {
            warn!(logger, "request keeps failing, trying again"; "key" => %key, "attempt" => attempt,
                "delay_ms" => delay.as_millis(), "why" => cause);
        }
        Event::Uploaded { path, key, bytes } => {
            debug!(logger, "uploaded"; "path" => path, "key" => %key, "bytes" => bytes);
        }
        Event::Unchanged { path, key, bytes } => {
            debug!(logger, "in the bucket already"; "path" => path, "key" => %key, "bytes" => bytes);
        }
        Event::Failed { failure } => {
            error!(logger, "not backed up"; "path" => &failure.path, "kind" => failure.kind.as_str(),
                "why" => &failure.message, "attempts" => failure.attempts);
        }
        Event::Warning { message } => warn!(logger, "{}", message),
        Event::Stopping => warn!(logger, "stopping: what is finished is kept"),
        Event::RunFinished { report } => {
            if !report.facts.is_empty() {
                let facts = report.facts.iter().map(|fact| format!("{}: {}", fact.label, fact.value));
                info!(logger, "facts of the run"; "facts" => facts.collect::<Vec<_>>().join("; "));
            }
            let facts = slog::o!("run" => report.run_id.to_string(), "outcome" => report.outcome.as_str(),
                "uploaded" => report.uploaded.files, "uploaded_bytes" => report.uploaded.bytes,
                "unchanged" => report.unchanged.files, "skipped" => report.skipped.files,
                "failed" => report.failed_total, "retries" => report.retries, "duration_s" => report.duration_s);
            match (&report.fatal, report.outcome) {
                (Some(fatal), _) => error!(logger, "run failed"; "why" => &fatal.message, facts),
                (None, Outcome::Success) => info!(logger, "run finished"; facts),
                (None, _) => warn!(logger, "run finished"; facts),
            }
        }
        // The progress bar's: too many for a log.
        _ => {}
    }
}
