//! What a person sees on stderr: the progress bar, the log, errors. Colour only on a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use s3backup_core::{Event, Phase};
use s3backup_logging::Console;
use slog::{Logger, info};

use crate::exit::{Exit, Stop};
use crate::human;

/// How often the bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How often progress is told where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How long the end waits for the bar to be cleared. A terminal that does not take anything is not waited for.
const CLEAR_LIMIT: Duration = Duration::from_millis(200);

/// Whether stderr takes colour (<https://no-color.org>).
pub(crate) fn has_colour() -> bool {
    takes_colour(&io::stderr())
}

/// Whether this stream takes colour.
pub(crate) fn takes_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints why the command ended.
pub(crate) fn say_error(message: &str) {
    let label = if has_colour() { "\x1b[1;31merror\x1b[0m" } else { "error" };
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{label}: {message}");
}

/// Prints something that a person should know.
pub(crate) fn say_warning(message: &str) {
    let label = if has_colour() { "\x1b[1;33mwarning\x1b[0m" } else { "warning" };
    let _ = writeln!(io::stderr(), "{label}: {message}");
}

/// Prints something that is good to know while waiting.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints a line of the result on stdout. A reader that went away (`backup plan | head`) ends the output quietly.
pub(crate) fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Prints the result of a command that only shows something.
pub(crate) fn show(text: &str) -> Result<Exit, Stop> {
    match print(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::failed(format!("cannot print the result: {error}")))
        }
        _ => Ok(Exit::Success),
    }
}

/// Progress of a run: a bar on a terminal, a log line every 30 s elsewhere.
///
/// It is drawn by a thread of its own, so that a terminal that stands still never holds up a transfer, and so that
/// a run in which nothing happens says so as well.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    state: Arc<Mutex<State>>,
    thread: Option<Drawer>,
    is_quiet: bool,
}

/// The thread that draws: told to end by the first, and says by the second that it has.
struct Drawer {
    end: SyncSender<()>,
    ended: Receiver<()>,
}

impl Progress {
    /// Shows nothing when `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            match ProgressStyle::with_template("{spinner} {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self { bar, state: Arc::new(Mutex::new(State::new())), thread: None, is_quiet: quiet }
    }

    /// Where log lines go so that they and the bar do not mix.
    pub(crate) fn log_console(&self) -> Console {
        match &self.bar {
            Some(bar) => {
                Console::Writer { writer: Box::new(BesideBar { bar: bar.clone() }), colour: has_colour() }
            }
            None => Console::Stderr,
        }
    }

    /// Begins to show.
    pub(crate) fn start(&mut self, logger: Logger) {
        if self.is_quiet {
            return;
        }
        let (end, told) = sync_channel(1);
        let (said, ended) = sync_channel(1);
        let (bar, state) = (self.bar.clone(), Arc::clone(&self.state));
        std::thread::spawn(move || {
            let pace = if bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
            while told.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
                let state = state.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match &bar {
                    Some(bar) => {
                        bar.set_message(state.line());
                        bar.tick();
                    }
                    None => state.log(&logger),
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            // Nobody waits any more when the end took too long.
            let _ = said.send(());
        });
        self.thread = Some(Drawer { end, ended });
    }

    /// Takes in what happened.
    pub(crate) fn see(&self, event: &Event) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).see(event);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(Drawer { end, ended }) = self.thread.take() {
            let _ = end.try_send(());
            let _ = ended.recv_timeout(CLEAR_LIMIT);
        }
    }
}

/// What is known of a run that goes on.
#[derive(Clone)]
struct State {
    progress: s3backup_core::Progress,
    /// Since when files are sent; before, since when it goes on.
    started: Instant,
}

impl State {
    fn new() -> Self {
        Self { progress: s3backup_core::Progress::default(), started: Instant::now() }
    }

    fn see(&mut self, event: &Event) {
        if matches!(event, Event::Found { .. }) && self.progress.phase != Phase::Files {
            self.started = Instant::now();
        }
        self.progress.see(event);
    }

    fn log(&self, logger: &Logger) {
        let Self { progress, .. } = self;
        info!(logger, "progress"; "files" => progress.done.files, "of" => progress.found.files,
            "bytes" => progress.bytes(), "of_bytes" => progress.found.bytes, "failed" => progress.failed,
            "retries" => progress.retries);
    }

    fn line(&self) -> String {
        match &self.progress.phase {
            Phase::Starting if self.progress.retries > 0 => {
                "the server does not answer, trying again".to_owned()
            }
            Phase::Starting => "starting".to_owned(),
            Phase::Step(name) => {
                format!("step {name}, {}", human::duration(self.started.elapsed().as_secs_f64()))
            }
            Phase::Files => self.files(),
            Phase::Stopping => "stopping".to_owned(),
        }
    }

    fn files(&self) -> String {
        let Self { progress, .. } = self;
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let more = if progress.is_found_whole { "" } else { "+" };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for a person")]
        let rate = (progress.bytes() as f64 / seconds) as u64;
        let mut line = format!(
            "{} of {}{more} files  {} of {}{more}  {}/s",
            human::count(progress.done.files),
            human::count(progress.found.files),
            human::size(progress.bytes()),
            human::size(progress.found.bytes),
            human::size(rate),
        );
        let left = progress.found.bytes.saturating_sub(progress.bytes());
        if progress.is_found_whole && rate > 0 && left > 0 {
            line = format!("{line}  {} left", human::duration(left as f64 / rate as f64));
        }
        if progress.failed > 0 {
            line = format!("{line}  {} failed", human::count(progress.failed));
        }
        line
    }
}

/// Writes to stderr with the bar out of the way.
struct BesideBar {
    bar: ProgressBar,
}

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
