//! Ctrl-C and SIGTERM: the first ends the run gracefully, the second at once.

use std::time::Duration;

use s3backup_core::CancellationToken;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::exit::{Exit, Stop};

/// A second signal so soon is the first one again: `timeout` and some supervisors signal a process and then its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Listens until it is dropped. Keep it until the process ends: signals that nobody listens to any more are lost.
pub(crate) struct Interrupts {
    token: CancellationToken,
    _task: JoinSet<()>,
}

impl Interrupts {
    /// Cancels its token at the first signal. At the second, or when `grace` has passed since the first, the process ends,
    /// whatever still hangs.
    pub(crate) fn listen(grace: Duration) -> Result<Self, Stop> {
        let listen =
            |kind| signal(kind).map_err(|error| Stop::failed(format!("cannot listen for signals: {error}")));
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let token = CancellationToken::new();
        let mut task = JoinSet::new();
        let first = token.clone();
        task.spawn(async move {
            one(&mut interrupt, &mut terminate).await;
            first.cancel();
            let again = async {
                tokio::time::sleep(SAME_SIGNAL).await;
                one(&mut interrupt, &mut terminate).await;
            };
            let _ = tokio::time::timeout(grace, again).await;
            std::process::exit(Exit::Interrupted as i32);
        });
        Ok(Self { token, _task: task })
    }

    /// Waits for the first signal.
    pub(crate) async fn first(&self) {
        self.token.cancelled().await;
    }
}

async fn one(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
