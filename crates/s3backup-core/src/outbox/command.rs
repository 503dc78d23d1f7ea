//! The second way: a program that gets the alert as JSON.

use std::process::Stdio;
use std::time::Duration;

use s3backup_model::Alert;
use serde::Serialize;
use slog::{Logger, info};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::options::AlertCommand;
use crate::process::{Group, describe, withheld};

/// How long the program may take; then it is killed, with all that it started.
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// How long output is waited for after it has ended: something that it left running may hold the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// What of its output goes into the log.
const MAX_OUTPUT_BYTES: u64 = 16 << 10;

/// What the program reads.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    trouble: &'a str,
    #[serde(flatten)]
    alert: &'a Alert,
}

/// Runs the program. Dropping the future kills it.
///
/// # Errors
/// Why it did not take the alert, for a person.
pub(crate) async fn run(
    command: &AlertCommand,
    trouble: &str,
    alert: &Alert,
    secrets: &[String],
    logger: &Logger,
) -> Result<(), String> {
    let document = Document { schema: 1, trouble, alert };
    let json = serde_json::to_vec(&document).map_err(|error| error.to_string())?;
    let running = run_once(command, &json, secrets, logger);
    tokio::time::timeout(TIME_LIMIT, running).await.unwrap_or_else(|_| {
        Err(format!("it took longer than {} and was killed", humantime::format_duration(TIME_LIMIT)))
    })
}

async fn run_once(
    command: &AlertCommand,
    json: &[u8],
    secrets: &[String],
    logger: &Logger,
) -> Result<(), String> {
    let (program, arguments) = command.command.split_first().ok_or("it is empty")?;
    let mut process = Command::new(program);
    process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in withheld(std::env::vars_os(), &command.pass_env, secrets) {
        process.env_remove(name);
    }
    let mut group =
        Group::start(&mut process).map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let stdin = group.child.stdin.take();
    let writing = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read it may still do what it should: its exit status tells.
            let _ = stdin.write_all(json).await;
        }
    };
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let talking = async { tokio::join!(writing, output(stdout), output(stderr)) };
    tokio::pin!(talking);
    let mut said = None;
    let status = loop {
        tokio::select! {
            status = group.child.wait() => break status,
            all = &mut talking, if said.is_none() => said = Some(all),
        }
    };
    let ((), out, err) = match said {
        Some(said) => said,
        None => tokio::time::timeout(OUTPUT_GRACE, talking).await.unwrap_or_default(),
    };
    for (stream, text) in [("stdout", out), ("stderr", err)] {
        for line in text.lines() {
            info!(logger, "alert command says"; "stream" => stream, "line" => line);
        }
    }
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}; its output is in the log", describe(status))),
        Err(error) => Err(format!("its end was missed: {error}")),
    }
}

/// The beginning of what a stream says; the rest is read so that the program does not wait, and dropped.
async fn output(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut bytes = Vec::new();
    let _ = (&mut stream).take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).into_owned()
}
