//! `backup commit`: the end of a run that many workers shared.

use s3backup_config::Loaded;
use s3backup_core::{Error, FailureKind, Outcome, RunReport, ShardUri, Trigger, line_of};
use serde_json::{Value, json};

use super::run;
use crate::cli::{self, Common};
use crate::console::{self, Progress};
use crate::exit::{Exit, Stop};
use crate::session;
use crate::signals::Interrupts;

pub(crate) async fn run(common: &Common, arguments: &cli::Commit) -> Result<Exit, Stop> {
    let uri = &arguments.plan;
    if let Some(shard) = uri.shard() {
        let message = format!("it names shard {shard}, and a run ends as a whole: leave `/{shard}` out");
        return Err(Stop::usage(message));
    }
    let loaded = match session::load_for(common, uri) {
        Ok(loaded) => loaded,
        Err(stop) => return Err(run::not_started(common, stop).await),
    };
    let interrupts = Interrupts::listen(loaded.settings.grace)?;
    let ended = tokio::select! {
        ended = commit(common, arguments.abandon, uri, loaded) => ended,
        () = interrupts.first() => {
            let message = "interrupted; another `backup commit` goes on from here".to_owned();
            return Err(Stop { exit: Exit::Interrupted, message });
        }
    };
    match ended? {
        Ok(report) => {
            run::print_result(&report, common.json);
            Ok(run::exit_of(&report))
        }
        // People have been told.
        Err(error @ Error::Incomplete { .. }) => {
            print_refusal(common, &error);
            Err(Stop::of(&error))
        }
        Err(error) => Err(run::not_started(common, Stop::of(&error)).await),
    }
}

/// With the log of the job. The outer result is of what has to be there for it.
async fn commit(
    common: &Common,
    abandon: bool,
    uri: &ShardUri,
    loaded: Loaded,
) -> Result<Result<RunReport, Error>, Stop> {
    let mut settings = loaded.settings;
    let progress = Progress::new(true);
    let log = session::start_log(&settings, common, &progress);
    for warning in &loaded.warnings {
        log.warning(warning);
    }
    let server = session::start_embedded(&mut settings).await?;
    let mut builder = settings.backup(Trigger::Manual).logger(log.logger());
    if let Some(path) = log.info_log_path() {
        builder = builder.log_location(path.display().to_string());
    }
    let backup = builder.build().map_err(|error| Stop::usage(line_of(&error)))?;
    let ended = if abandon { backup.abandon(uri).await } else { backup.commit(uri).await };
    let ended = match ended {
        Err(Error::Failed(report)) => Ok(*report),
        ended => ended,
    };
    if let Err(error) = &ended {
        log.error(line_of(error));
    }
    if let Some(server) = server {
        server.shutdown().await;
    }
    drop(progress);
    log.finish();
    Ok(ended)
}

/// The one JSON document that a script waits for, with each shard that is missing or wrong.
fn print_refusal(common: &Common, error: &Error) {
    let Error::Incomplete { wrong, .. } = error else { return };
    if !common.json {
        return;
    }
    let missing: Vec<Value> = wrong.iter().map(|(uri, why)| json!({ "uri": uri, "why": why })).collect();
    let fatal = json!({ "kind": FailureKind::Incomplete, "message": error.to_string() });
    let document = json!({ "schema": 1, "outcome": Outcome::Failed, "fatal": fatal, "missing": missing });
    // Nobody reads it when stdout is closed; the exit code says the same.
    let _ = console::print(&document.to_string());
}
