//! What can go wrong: only the global hooks, since trouble with the disk is never an error here.

/// Why [`LoggerManager::capture_dependencies`](crate::LoggerManager::capture_dependencies) did not
/// take effect, or took only half of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This process already has a `tracing` subscriber; nothing was installed.
    #[error("a tracing subscriber is already installed")]
    TracingTaken(#[source] tracing::subscriber::SetGlobalDefaultError),
    /// This process already has a `log` logger; events of `tracing` are captured none the less.
    #[error("a log implementation is already installed")]
    LogTaken(#[source] log::SetLoggerError),
}
