//! Files that were too young to be backed up, and since when.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use s3backup_model::RunId;

use super::Trouble;
use super::values::{path_in, time_in};
use crate::rows::{DestinationId, SourceId};

pub(crate) fn wait(
    connection: &Connection,
    source: SourceId,
    paths: &[Vec<u8>],
    run: &RunId,
    now: DateTime<Utc>,
    patience: TimeDelta,
) -> Result<Vec<bool>, Trouble> {
    // A row that has waited long enough begins anew; what is returned is whether it had.
    let mut had =
        connection.prepare_cached("SELECT 1 FROM young WHERE source = ?1 AND path = ?2 AND since <= ?3")?;
    let mut note = connection.prepare_cached(
        "INSERT INTO young (source, path, since, run) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (source, path) DO UPDATE SET run = excluded.run,
             since = CASE WHEN since <= ?5 THEN excluded.since ELSE since END",
    )?;
    let (now_in, limit) = (time_in(now), time_in(now - patience));
    paths
        .iter()
        .map(|path| {
            let path = path_in(path)?;
            let waited = had.exists((source.0, &path, limit))?;
            note.execute((source.0, path, now_in, run.as_str(), limit))?;
            Ok(waited)
        })
        .collect()
}

pub(crate) fn forget_others(
    connection: &Connection,
    destination: DestinationId,
    run: &RunId,
) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM young WHERE run <> ?2 AND source IN (SELECT id FROM source WHERE destination = ?1)",
    )?;
    statement.execute((destination.0, run.as_str()))?;
    Ok(())
}
