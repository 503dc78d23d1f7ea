//! `backup history`: one line a run.

use crate::cli::{self, Common};
use crate::commands::status::one_line;
use crate::console;
use crate::exit::{Exit, Stop};
use crate::session;

pub(crate) async fn run(common: &Common, arguments: &cli::History) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let runs = opened.backup.history(arguments.limit).await.map_err(|error| Stop::of(&error))?;
    if common.json {
        let text = serde_json::to_string(&runs).map_err(|error| Stop::failed(error.to_string()))?;
        return console::show(&text);
    }
    let lines = runs.iter().map(|run| {
        let Some(summary) = &run.summary else {
            let at = run.started_at.format("%Y-%m-%d %H:%M:%S");
            return format!("{}  {at} did not end: it goes on, or was killed", run.run_id);
        };
        format!("{}  {}", run.run_id, one_line(summary))
    });
    console::show(&lines.collect::<Vec<_>>().join("\n"))
}
