//! Due times.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};
use s3backup_model::{DueState, RunId};

use super::values::{collect, date_out, due_state_in, due_state_out, first, run_out, time_in, time_out};
use super::{Trouble, limit};
use crate::rows::DueRow;

fn due_row(row: &Row<'_>) -> Result<DueRow, Trouble> {
    Ok(DueRow {
        at: time_out(row.get(0)?)?,
        local_date: date_out(&row.get::<_, String>(1)?)?,
        timezone: row.get(2)?,
        state: due_state_out(row.get(3)?)?,
        run: row.get::<_, Option<String>>(4)?.map(run_out).transpose()?,
    })
}

pub(crate) fn last(connection: &Connection) -> Result<Option<DueRow>, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT at, local_date, timezone, state, run FROM due ORDER BY at DESC LIMIT 1")?;
    first(statement.query([])?, due_row)
}

pub(crate) fn add(connection: &Connection, rows: &[DueRow]) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO due (at, local_date, timezone, state, run) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
    )?;
    for row in rows {
        statement.execute((
            time_in(row.at),
            row.local_date.to_string(),
            &row.timezone,
            due_state_in(row.state),
            row.run.as_ref().map(RunId::as_str),
        ))?;
    }
    Ok(())
}

pub(crate) fn within(
    connection: &Connection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    rows: usize,
) -> Result<Vec<DueRow>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT at, local_date, timezone, state, run FROM due WHERE at >= ?1 AND at < ?2 ORDER BY at DESC LIMIT ?3",
    )?;
    collect(statement.query((time_in(from), time_in(to), limit(rows)))?, due_row)
}

pub(crate) fn open(
    connection: &Connection,
    until: DateTime<Utc>,
    rows: usize,
) -> Result<Vec<DueRow>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT at, local_date, timezone, state, run FROM due INDEXED BY due_open
         WHERE at <= ?1 AND state IN (2, 3) ORDER BY at DESC LIMIT ?2",
    )?;
    let mut found = collect(statement.query((time_in(until), limit(rows)))?, due_row)?;
    found.reverse();
    Ok(found)
}

pub(crate) fn set(
    connection: &Connection,
    at: &[DateTime<Utc>],
    state: DueState,
    run: &RunId,
) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached("UPDATE due SET state = ?2, run = ?3 WHERE at = ?1")?;
    for at in at {
        statement.execute((time_in(*at), due_state_in(state), run.as_str()))?;
    }
    Ok(())
}
