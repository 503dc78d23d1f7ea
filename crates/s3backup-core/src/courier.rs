//! Delivers alerts while a run goes on: what earlier runs left, and what this one has to tell before it ends.

use std::sync::Arc;
use std::time::Duration;

use slog::error;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::line_of;
use crate::outbox::Outbox;

/// How often it looks for what is due.
const PAUSE: Duration = Duration::from_mins(1);

/// A task that delivers. Dropping it stops it at once.
pub(crate) struct Courier {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    wake: Arc<Notify>,
}

impl Courier {
    /// Sets out; with nobody to tell, it rests.
    pub(crate) fn start(outbox: Outbox) -> Self {
        let (stop, wake) = (CancellationToken::new(), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        if outbox.audience.is_there() {
            tasks.spawn(deliver(outbox, stop.clone(), Arc::clone(&wake)));
        }
        Self { tasks, stop, wake }
    }

    /// What tells it that there is something new.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Stops it after the alert that it is delivering.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn deliver(outbox: Outbox, stop: CancellationToken, wake: Arc<Notify>) {
    while !stop.is_cancelled() {
        if let Err(error) = outbox.deliver(&stop).await {
            error!(outbox.logger, "alerts cannot be delivered"; "why" => line_of(&error));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = wake.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
