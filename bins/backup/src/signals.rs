//! Ctrl-C and SIGTERM: the first ends the run gracefully, the second at once.

use std::time::Duration;

use s3backup_core::CancellationToken;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::exit::{Exit, Stop};

/// Listens until it is dropped.
pub(crate) struct Interrupts {
    _task: JoinSet<()>,
}

impl Interrupts {
    /// Cancels `token` at the first signal. At the second, or when `grace` has passed since the first, the process
    /// ends, whatever still hangs.
    pub(crate) fn listen(token: CancellationToken, grace: Duration) -> Result<Self, Stop> {
        let listen =
            |kind| signal(kind).map_err(|error| Stop::failed(format!("cannot listen for signals: {error}")));
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            one(&mut interrupt, &mut terminate).await;
            token.cancel();
            let again = one(&mut interrupt, &mut terminate);
            let _ = tokio::time::timeout(grace, again).await;
            std::process::exit(Exit::Interrupted as i32);
        });
        Ok(Self { _task: task })
    }
}

async fn one(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
