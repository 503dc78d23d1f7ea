//! What a person sees on stderr: the progress bar, the log, errors. Colour only on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use s3backup_core::{Event, Tally};
use s3backup_logging::Console;
use slog::{Logger, info};

use crate::human;

/// How often progress is told where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Whether stderr takes colour (<https://no-color.org>).
pub(crate) fn has_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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

/// Prints a line of the result on stdout. A reader that went away (`backup plan | head`) ends the output quietly.
pub(crate) fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Progress of a run: a bar on a terminal, a log line every 30 s elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    found: Tally,
    is_found_whole: bool,
    done: Tally,
    sent_bytes: u64,
    failed: u64,
    started: Instant,
    last_line: Instant,
    is_quiet: bool,
}

impl Progress {
    /// Shows nothing when `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let is_shown = !quiet && io::stderr().is_terminal();
        let target =
            if is_shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self {
            bar,
            found: Tally::default(),
            is_found_whole: false,
            done: Tally::default(),
            sent_bytes: 0,
            failed: 0,
            started: now,
            last_line: now,
            is_quiet: quiet,
        }
    }

    /// Where log lines go so that they and the bar do not mix.
    pub(crate) fn log_console(&self) -> Console {
        let writer = BesideBar { bar: self.bar.clone() };
        Console::Writer { writer: Box::new(writer), colour: has_colour() }
    }

    /// Takes in what happened.
    pub(crate) fn see(&mut self, event: &Event, logger: &Logger) {
        match event {
            Event::Found { found } => self.found = *found,
            Event::DiscoveryFinished { found } => {
                self.found = *found;
                self.is_found_whole = true;
            }
            Event::Sent { bytes } => self.sent_bytes += bytes,
            Event::Uploaded { bytes, .. } | Event::Unchanged { bytes, .. } => self.done.add(*bytes),
            Event::Failed { .. } => self.failed += 1,
            Event::StepStarted { name } => self.bar.set_message(format!("step {name}")),
            Event::Stopping => self.bar.set_message("stopping"),
            Event::RunFinished { .. } => {
                self.bar.finish_and_clear();
                return;
            }
            _ => return,
        }
        if !matches!(event, Event::StepStarted { .. } | Event::Stopping) {
            self.show(logger);
        }
    }

    fn show(&mut self, logger: &Logger) {
        if !self.bar.is_hidden() {
            self.bar.set_message(self.line());
            self.bar.tick();
        } else if !self.is_quiet && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            info!(logger, "progress"; "files" => self.done.files, "of" => self.found.files,
                "sent_bytes" => self.sent_bytes, "of_bytes" => self.found.bytes, "failed" => self.failed);
        }
    }

    fn line(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let more = if self.is_found_whole { "" } else { "+" };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for a person")]
        let rate = (self.sent_bytes as f64 / seconds) as u64;
        let mut line = format!(
            "{} of {}{more} files  {} of {}{more}  {}/s",
            human::count(self.done.files),
            human::count(self.found.files),
            // What is read again because it changed is sent again.
            human::size(self.sent_bytes.min(self.found.bytes)),
            human::size(self.found.bytes),
            human::size(rate),
        );
        let left = self.found.bytes.saturating_sub(self.done.bytes.max(self.sent_bytes));
        if self.is_found_whole && rate > 0 && left > 0 {
            line = format!("{line}  {} left", human::duration(left as f64 / rate as f64));
        }
        if self.failed > 0 {
            line = format!("{line}  {} failed", human::count(self.failed));
        }
        line
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
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
