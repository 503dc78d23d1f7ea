//! Steps: programs that make the data before it is uploaded.
//!
//! Each runs in a process group of its own, so that what it started can be ended with it, and without the secrets of
//! this process.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use s3backup_model::{Event, FailureKind, Fatal, StepReport, StepState, StepStream};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::events::Emitter;
use crate::options::{OnFailure, Step};

/// Longest line that is handed on; the rest of a longer one is left out.
const MAX_LINE_BYTES: usize = 8 << 10;

/// How long a step that was told to end may take before it is killed.
const TERMINATION_GRACE: Duration = Duration::from_secs(1);

/// How long output is waited for after a step has ended: something that it left running may hold the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// What steps are told, and what is kept from them.
pub(crate) struct Surroundings {
    /// Variables that every step gets.
    pub(crate) given: Vec<(&'static str, String)>,
    /// Values that no step may find in its environment.
    pub(crate) secrets: Vec<String>,
}

/// Runs the steps in order and says what became of each; with an error when the run must not go on.
pub(crate) async fn run_steps(
    steps: &[Step],
    surroundings: &Surroundings,
    events: &Emitter,
    cancel: &CancellationToken,
) -> (Vec<StepReport>, Result<(), Fatal>) {
    let mut reports: Vec<StepReport> = Vec::with_capacity(steps.len());
    let mut verdict = Ok(());
    for step in steps {
        if verdict.is_err() || cancel.is_cancelled() {
            let (name, message) = (step.name.clone(), None);
            reports.push(StepReport { name, state: StepState::NotRun, duration_s: 0.0, message });
            continue;
        }
        events.emit(Event::StepStarted { name: step.name.clone() }).await;
        let started = Instant::now();
        let (state, message) = run_step(step, surroundings, events, cancel).await;
        let duration = started.elapsed();
        let (name, duration_s) = (step.name.clone(), duration.as_secs_f64());
        events
            .emit(Event::StepFinished { name: name.clone(), state, duration, message: message.clone() })
            .await;
        if matches!(state, StepState::Failed | StepState::TimedOut) && step.on_failure == OnFailure::Abort {
            let why = message.as_deref().unwrap_or("it failed");
            let message = format!("step `{name}`: {why}; nothing was uploaded. Its output is in the log");
            verdict = Err(Fatal { kind: FailureKind::Step, message });
        }
        reports.push(StepReport { name, state, duration_s, message });
    }
    (reports, verdict)
}

async fn run_step(
    step: &Step,
    surroundings: &Surroundings,
    events: &Emitter,
    cancel: &CancellationToken,
) -> (StepState, Option<String>) {
    let mut group = match start(step, surroundings) {
        Ok(group) => group,
        Err(message) => return (StepState::Failed, Some(message)),
    };
    let (mut stdout, mut stderr) =
        (Lines::new(group.child.stdout.take()), Lines::new(group.child.stderr.take()));
    let mut reading = Output { stdout: &mut stdout, stderr: &mut stderr, name: &step.name, events };

    let timeout = tokio::time::sleep(step.timeout);
    tokio::pin!(timeout);
    let ended = loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break Ended::Cancelled,
            () = &mut timeout => break Ended::TimedOut,
            status = group.child.wait() => break Ended::Exited(status),
            () = reading.next(), if reading.is_open() => {}
        }
    };
    if !matches!(ended, Ended::Exited(_)) {
        group.terminate(&mut reading).await;
    }
    // What was written before the end is still in the pipe.
    let rest = async {
        while reading.is_open() {
            reading.next().await;
        }
    };
    let _ = tokio::time::timeout(OUTPUT_GRACE, rest).await;
    match ended {
        Ended::Cancelled => (StepState::Interrupted, None),
        Ended::TimedOut => {
            let limit = humantime::format_duration(step.timeout);
            (StepState::TimedOut, Some(format!("it was killed after its timeout of {limit}")))
        }
        Ended::Exited(Ok(status)) if status.success() => (StepState::Ok, None),
        Ended::Exited(Ok(status)) => (StepState::Failed, Some(describe(status))),
        Ended::Exited(Err(error)) => (StepState::Failed, Some(format!("its end was missed: {error}"))),
    }
}

enum Ended {
    Exited(std::io::Result<ExitStatus>),
    TimedOut,
    Cancelled,
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => "it ended abnormally".to_owned(),
    }
}

fn start(step: &Step, surroundings: &Surroundings) -> Result<Group, String> {
    let Some((program, arguments)) = step.command.split_first() else {
        return Err("its command is empty".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(cwd) = &step.cwd {
        command.current_dir(cwd);
    }
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let value = value.to_string_lossy();
        let is_passed = step.pass_env.iter().any(|passed| *passed == *name);
        if !is_passed && (is_private(&name) || surroundings.secrets.iter().any(|secret| *secret == *value)) {
            command.env_remove(&*name);
        }
    }
    command.envs(surroundings.given.iter().map(|(name, value)| (name, value))).envs(&step.env);
    let child = command.spawn().map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok(Group { child, pid })
}

/// Whether a variable may hold a secret of this process. The region is none, and steps often need it.
fn is_private(name: &str) -> bool {
    let is_region = matches!(name, "AWS_REGION" | "AWS_DEFAULT_REGION");
    ["AWS_", "BACKUP_", "SLACK_"].iter().any(|prefix| name.starts_with(prefix)) && !is_region
}

/// A step with all that it started. Dropping it kills them.
struct Group {
    child: Child,
    /// Of the group's leader; none once it was waited for and its number may belong to somebody else.
    pid: Option<Pid>,
}

impl Group {
    /// Asks the group to end, and kills it when it does not.
    async fn terminate(&mut self, reading: &mut Output<'_>) {
        self.signal(Signal::TERM);
        let ending = async {
            loop {
                tokio::select! {
                    _ = self.child.wait() => break,
                    () = reading.next(), if reading.is_open() => {}
                }
            }
        };
        let _ = tokio::time::timeout(TERMINATION_GRACE, ending).await;
        // Also when the leader has ended: the others of the group may not have.
        self.signal(Signal::KILL);
        let _ = tokio::time::timeout(TERMINATION_GRACE, self.child.wait()).await;
        self.pid = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // An error means that nobody of the group is left.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not after a normal end: then the number may be another's, and a step may leave a daemon on purpose.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
        }
    }
}

/// Both outputs of a step, line by line.
struct Output<'a> {
    stdout: &'a mut Lines,
    stderr: &'a mut Lines,
    name: &'a str,
    events: &'a Emitter,
}

impl Output<'_> {
    fn is_open(&self) -> bool {
        self.stdout.is_open() || self.stderr.is_open()
    }

    /// Waits for one line and hands it on.
    async fn next(&mut self) {
        let (stream, line) = tokio::select! {
            line = self.stdout.next(), if self.stdout.is_open() => (StepStream::Stdout, line),
            line = self.stderr.next(), if self.stderr.is_open() => (StepStream::Stderr, line),
            else => return,
        };
        if let Some(line) = line {
            self.events.emit(Event::StepOutput { name: self.name.to_owned(), stream, line }).await;
        }
    }
}

/// Lines of bounded length from a pipe. A line is not lost when the future that waits for it is dropped.
struct Lines {
    pipe: Option<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    line: Vec<u8>,
}

impl Lines {
    fn new(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let boxed = |pipe| -> Box<dyn AsyncRead + Send + Unpin> { Box::new(pipe) };
        Self { pipe: pipe.map(|pipe| BufReader::new(boxed(pipe))), line: Vec::new() }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            let pipe = self.pipe.as_mut()?;
            let read = pipe.fill_buf().await.unwrap_or_default();
            if read.is_empty() {
                self.pipe = None;
                return (!self.line.is_empty()).then(|| self.take());
            }
            let end = read.iter().position(|&byte| byte == b'\n');
            let piece = &read[..end.unwrap_or(read.len())];
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            pipe.consume(used);
            if end.is_some() {
                return Some(self.take());
            }
        }
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned()
    }
}
