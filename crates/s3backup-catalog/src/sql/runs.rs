//! Runs.

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use s3backup_model::{RunId, RunSummary};

use super::values::{collect, run_out, time_in, time_out};
use super::{Trouble, limit};
use crate::rows::{DestinationId, RunRow};

/// How many runs of a destination are remembered: ten years of daily ones.
const KEPT: i64 = 4000;

pub(crate) fn begin(
    connection: &Connection,
    destination: DestinationId,
    run: &RunId,
    started_at: DateTime<Utc>,
) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "INSERT INTO run (destination, run, started_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute((destination.0, run.as_str(), time_in(started_at)))?;
    Ok(())
}

pub(crate) fn end(
    connection: &Connection,
    destination: DestinationId,
    summary: &RunSummary,
) -> Result<(), Trouble> {
    let json = serde_json::to_string(summary).map_err(|error| {
        Trouble::Refused(format!("the summary of {} is not JSON: {error}", summary.run_id))
    })?;
    connection
        .prepare_cached(
            "INSERT INTO run (destination, run, started_at, summary) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (destination, run) DO UPDATE SET summary = excluded.summary",
        )?
        .execute((destination.0, summary.run_id.as_str(), time_in(summary.started_at.to_utc()), json))?;
    connection
        .prepare_cached(
            "DELETE FROM run WHERE destination = ?1 AND run <= (
                 SELECT run FROM run WHERE destination = ?1 ORDER BY run DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute((destination.0, KEPT))?;
    Ok(())
}

pub(crate) fn newest(
    connection: &Connection,
    destination: DestinationId,
    rows: usize,
) -> Result<Vec<RunRow>, Trouble> {
    // Ids sort by the time at which runs started.
    let mut statement = connection.prepare_cached(
        "SELECT run, started_at, summary FROM run WHERE destination = ?1 ORDER BY run DESC LIMIT ?2",
    )?;
    collect(statement.query((destination.0, limit(rows)))?, |row| {
        let json: Option<String> = row.get(2)?;
        let summary = json.map(|json| serde_json::from_str(&json)).transpose();
        Ok(RunRow {
            run: run_out(row.get(0)?)?,
            started_at: time_out(row.get(1)?)?,
            summary: summary
                .map_err(|error| Trouble::Damage(format!("the summary of a run cannot be read: {error}")))?,
        })
    })
}
