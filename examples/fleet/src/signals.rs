//! Ctrl-C and SIGTERM: the first ends the work, the second at once.

use std::time::Duration;

use s3backup_core::CancellationToken;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Stop};

/// How long the work may take to end after the first signal. Schedulers kill after 5 s.
const GRACE: Duration = Duration::from_secs(3);

/// A second signal so soon is the first one again: `timeout` and some supervisors signal a process and then its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// A token that the first signal cancels. At the second, or when the grace has passed, the process ends whatever still hangs; results
/// appear only when they are whole, so nothing is left half written.
pub(crate) fn listen(runtime: &Runtime) -> Result<CancellationToken, Stop> {
    let _inside = runtime.enter();
    let listen =
        |kind| signal(kind).map_err(|error| Stop::failed(format!("cannot listen for signals: {error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let first = token.clone();
    // The runtime owns it, and ends it with the process.
    runtime.spawn(async move {
        one(&mut interrupt, &mut terminate).await;
        first.cancel();
        let again = async {
            tokio::time::sleep(SAME_SIGNAL).await;
            one(&mut interrupt, &mut terminate).await;
        };
        let _ = tokio::time::timeout(GRACE, again).await;
        std::process::exit(Exit::Interrupted as i32);
    });
    Ok(token)
}

async fn one(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
