//! What happens during a run, as a stream of plain values.

use std::time::Duration;

use crate::{Failure, Key, Name, RunId, RunReport, SkipReason, StepState, Tally, Trigger};

/// One thing that happened. The progress bar, the log, `--json`, metrics and alerts are renderings of this stream.
///
/// Events of one file come in order; those of different files mix.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The run.
        run_id: RunId,
        /// The job.
        job: Name,
        /// The machine.
        host: Name,
        /// `s3://bucket/prefix`.
        destination: String,
        /// What started it.
        trigger: Trigger,
    },
    /// A step was started.
    StepStarted {
        /// Its name.
        name: String,
    },
    /// A step wrote a line.
    StepOutput {
        /// The step's name.
        name: String,
        /// Where it wrote.
        stream: StepStream,
        /// The line without its end, at most 8 KiB of it, invalid UTF-8 replaced.
        line: String,
    },
    /// A step ended.
    StepFinished {
        /// Its name.
        name: String,
        /// How it ended.
        state: StepState,
        /// Wall time.
        duration: Duration,
        /// Why it did not succeed.
        message: Option<String>,
    },
    /// Discovery found more selected files; `found` counts all of them so far.
    Found {
        /// All selected files so far.
        found: Tally,
    },
    /// An entry was left out on purpose.
    Skipped {
        /// Local path, escaped as keys are.
        path: String,
        /// Why.
        reason: SkipReason,
    },
    /// Every source was walked to its end.
    DiscoveryFinished {
        /// All selected files.
        found: Tally,
    },
    /// More bytes of files arrived in the bucket.
    Sent {
        /// How many bytes since the last such event.
        bytes: u64,
    },
    /// A request failed and will be sent again.
    Retrying {
        /// The object.
        key: Key,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long until the next.
        delay: Duration,
        /// What went wrong.
        cause: String,
    },
    /// A file is proved to be in the bucket and was sent by this run.
    Uploaded {
        /// Local path, escaped as keys are.
        path: String,
        /// Its key.
        key: Key,
        /// Its bytes.
        bytes: u64,
    },
    /// A file was in the bucket already, byte for byte.
    Unchanged {
        /// Local path, escaped as keys are.
        path: String,
        /// Its key.
        key: Key,
        /// Its bytes.
        bytes: u64,
    },
    /// More files are in the bucket as they are on disk, as far as the catalog knows: they were not read.
    Known {
        /// How many since the last such event.
        unchanged: Tally,
    },
    /// A file is not in the bucket as it is on disk.
    Failed {
        /// Which, and why.
        failure: Failure,
    },
    /// Something that a person should know although nothing failed.
    Warning {
        /// What it is and what to do.
        message: String,
    },
    /// The run was told to stop and is ending.
    Stopping,
    /// The run ended. The last event.
    RunFinished {
        /// What it did.
        report: Box<RunReport>,
    },
}

/// Which of its two outputs a step wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
