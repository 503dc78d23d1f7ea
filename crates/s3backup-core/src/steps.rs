//! Steps: programs that make the data before it is uploaded.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use rustix::process::Signal;
use s3backup_model::{Event, FailureKind, Fatal, RunId, StepReport, StepState, StepStream};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::events::Emitter;
use crate::facts::{Notebook, Noted};
use crate::options::{Each, OnFailure, Step};
use crate::process::{Group, describe, withheld};

/// Longest line that is handed on; the rest of a longer one is left out.
const MAX_LINE_BYTES: usize = 8 << 10;

/// How long a step whose time is up may take to end before it is killed.
const TERMINATION_GRACE: Duration = Duration::from_secs(1);

/// How long output is waited for after a step has ended: something that it left running may hold the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// The most lines that are taken after a step has ended, if what it left running writes without a pause. More than a
/// pipe holds, so that none of the step's own is lost.
const MAX_LATE_LINES: usize = 100_000;

/// What steps are told, and what is kept from them.
pub(crate) struct Surroundings {
    /// The run, which every step is told.
    pub(crate) run_id: RunId,
    /// The days that the run stands for, oldest first. A step that runs once is told of the last.
    pub(crate) days: Vec<NaiveDate>,
    /// Values that no step may find in its environment, nor say of the run.
    pub(crate) secrets: Vec<String>,
    /// How long a step may take to end when the run is interrupted.
    pub(crate) grace: Duration,
}

/// What became of the steps.
#[derive(Default)]
pub(crate) struct Stepped {
    pub(crate) reports: Vec<StepReport>,
    /// What each wants said of the run.
    pub(crate) noted: Vec<Noted>,
    /// Why the run must not go on.
    pub(crate) fatal: Option<Fatal>,
}

/// Runs the steps in order and says what became of each.
pub(crate) async fn run_steps(
    steps: &[Step],
    surroundings: &Surroundings,
    events: &Emitter,
    cancel: &CancellationToken,
) -> Stepped {
    let mut stepped = Stepped::default();
    for (step, day) in each_time(steps, &surroundings.days) {
        let name = match day {
            Some(day) if surroundings.days.len() > 1 => format!("{} {day}", step.name),
            _ => step.name.clone(),
        };
        if stepped.fatal.is_some() || cancel.is_cancelled() {
            let message = None;
            stepped.reports.push(StepReport { name, state: StepState::NotRun, duration_s: 0.0, message });
            continue;
        }
        events.emit(Event::StepStarted { name: name.clone() }).await;
        let started = Instant::now();
        let told = day.or_else(|| surroundings.days.last().copied());
        let notebook = Notebook::new();
        let place = notebook.as_ref().map(Notebook::path).ok();
        let (state, message) =
            run_step(step, &name, told, place.as_deref(), surroundings, events, cancel).await;
        let duration = started.elapsed();
        let duration_s = duration.as_secs_f64();
        events
            .emit(Event::StepFinished { name: name.clone(), state, duration, message: message.clone() })
            .await;
        if matches!(state, StepState::Failed | StepState::TimedOut) && step.on_failure == OnFailure::Abort {
            let why = message.as_deref().unwrap_or("it failed");
            let message = format!("step `{name}`: {why}; nothing was uploaded. Its output is in the log");
            stepped.fatal = Some(Fatal { kind: FailureKind::Step, message });
        }
        let day = day.filter(|_| surroundings.days.len() > 1);
        let noted = noted(notebook, day).await.without(&surroundings.secrets);
        stepped.noted.push(noted.of(&format!("step `{name}`")));
        stepped.reports.push(StepReport { name, state, duration_s, message });
    }
    stepped
}

/// What a step noted, with its day when it ran for several.
async fn noted(notebook: std::io::Result<Notebook>, day: Option<NaiveDate>) -> Noted {
    match (notebook, day) {
        (Ok(notebook), None) => Noted::read(notebook.path()).await,
        (Ok(notebook), Some(day)) => Noted::read(notebook.path()).await.of_day(day),
        (Err(error), _) => {
            let problem = format!("it ran without BACKUP_FACTS, as its file could not be made: {error}");
            Noted { facts: Vec::new(), problems: vec![problem] }
        }
    }
}

/// The steps in order, those that run for each day with each of the days.
fn each_time<'a>(
    steps: &'a [Step],
    days: &'a [NaiveDate],
) -> impl Iterator<Item = (&'a Step, Option<NaiveDate>)> {
    steps.iter().flat_map(move |step| {
        let times: Vec<Option<NaiveDate>> = match step.each {
            Each::Run => vec![None],
            Each::Day => days.iter().copied().map(Some).collect(),
        };
        times.into_iter().map(move |day| (step, day))
    })
}

async fn run_step(
    step: &Step,
    name: &str,
    day: Option<NaiveDate>,
    facts: Option<&Path>,
    surroundings: &Surroundings,
    events: &Emitter,
    cancel: &CancellationToken,
) -> (StepState, Option<String>) {
    let mut group = match start(step, day, facts, surroundings) {
        Ok(group) => group,
        Err(message) => return (StepState::Failed, Some(message)),
    };
    let (mut stdout, mut stderr) =
        (Lines::new(group.child.stdout.take()), Lines::new(group.child.stderr.take()));
    let mut reading = Output { stdout: &mut stdout, stderr: &mut stderr, name, events, read: None };

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
    let patience = match ended {
        Ended::Exited(_) => OUTPUT_GRACE,
        Ended::TimedOut => {
            terminate(&mut group, TERMINATION_GRACE, &mut reading).await;
            OUTPUT_GRACE
        }
        Ended::Cancelled => {
            terminate(&mut group, surroundings.grace.mul_f64(0.7), &mut reading).await;
            surroundings.grace.mul_f64(0.2)
        }
    };
    // What was written before the end is still in the pipe.
    reading.rest(patience).await;
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

fn start(
    step: &Step,
    day: Option<NaiveDate>,
    facts: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Group, String> {
    let Some((program, arguments)) = step.command.split_first() else {
        return Err("its command is empty".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(cwd) = &step.cwd {
        command.current_dir(cwd);
    }
    for name in withheld(std::env::vars_os(), &step.pass_env, &surroundings.secrets) {
        command.env_remove(name);
    }
    command.env("BACKUP_RUN_ID", surroundings.run_id.as_str());
    command.envs(facts.map(|facts| ("BACKUP_FACTS", facts)));
    command.envs(day.map(|day| ("BACKUP_DAY", day.to_string()))).envs(&step.env);
    Group::start(&mut command).map_err(|error| not_started(step, program, &error))
}

fn not_started(step: &Step, program: &str, error: &std::io::Error) -> String {
    // The system has one error for a program and for a working directory that are not there.
    match &step.cwd {
        Some(cwd) if !cwd.is_dir() => {
            format!("cannot start `{program}`: its working directory {} is not there", cwd.display())
        }
        _ if error.kind() == std::io::ErrorKind::NotFound => {
            format!("cannot start `{program}`: there is no such program; install it, or give its whole path")
        }
        _ => format!("cannot start `{program}`: {error}"),
    }
}

/// Asks a step to end with all that it started, and kills them when they do not.
async fn terminate(group: &mut Group, grace: Duration, reading: &mut Output<'_>) {
    group.signal(Signal::TERM);
    let ending = async {
        loop {
            tokio::select! {
                _ = group.child.wait() => break,
                () = reading.next(), if reading.is_open() => {}
            }
        }
    };
    let _ = tokio::time::timeout(grace, ending).await;
    // Also when the leader has ended: the others of the group may not have.
    group.signal(Signal::KILL);
    // Nobody outlives that for long but who waits for a dead disk, and for that one nobody else should.
    let _ = tokio::time::timeout(grace / 4, group.child.wait()).await;
    group.forget();
}

/// Both outputs of a step, line by line.
struct Output<'a> {
    stdout: &'a mut Lines,
    stderr: &'a mut Lines,
    name: &'a str,
    events: &'a Emitter,
    /// Read and not handed on.
    read: Option<(StepStream, String)>,
}

impl Output<'_> {
    fn is_open(&self) -> bool {
        self.stdout.is_open() || self.stderr.is_open() || self.read.is_some()
    }

    /// Waits for one line and hands it on. It is not lost when the future is dropped, also while a slow watcher is
    /// waited for.
    async fn next(&mut self) {
        if self.read.is_none() {
            self.read().await;
        }
        self.hand_on().await;
    }

    async fn read(&mut self) {
        let (stream, line) = tokio::select! {
            line = self.stdout.next(), if self.stdout.is_open() => (StepStream::Stdout, line),
            line = self.stderr.next(), if self.stderr.is_open() => (StepStream::Stderr, line),
            else => return,
        };
        self.read = line.map(|line| (stream, line));
    }

    async fn hand_on(&mut self) {
        if self.read.is_none() {
            return;
        }
        let slot = self.events.slot().await;
        if let (Some((stream, line)), Some(slot)) = (self.read.take(), slot) {
            slot.hand_out(Event::StepOutput { name: self.name.to_owned(), stream, line });
        }
    }

    /// Hands on what is there, and waits for more no longer than `patience` in all. The time that a slow watcher takes
    /// does not count.
    async fn rest(&mut self, mut patience: Duration) {
        for _ in 0..MAX_LATE_LINES {
            self.hand_on().await;
            if !self.is_open() {
                return;
            }
            let began = Instant::now();
            if tokio::time::timeout(patience, self.read()).await.is_err() {
                break;
            }
            patience = patience.saturating_sub(began.elapsed());
        }
        for (stream, line) in
            [(StepStream::Stdout, self.stdout.rest()), (StepStream::Stderr, self.stderr.rest())]
        {
            self.hand_on().await;
            self.read = line.map(|line| (stream, line));
        }
        self.hand_on().await;
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

    /// What came of a line that has no end yet.
    fn rest(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned()
    }
}
