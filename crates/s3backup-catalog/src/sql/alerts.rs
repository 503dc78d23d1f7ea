//! Troubles, and the alerts that wait to be delivered.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Row};
use s3backup_model::{Alert, Trouble};

use super::values::{collect, first, time_in, time_out};
use super::{Trouble as Fault, limit};
use crate::telling::{AlertForm, AlertRow, AlertsWaiting, NewAlert, Settled, Telling, TroubleRow};

/// How many alerts may wait, and how many that are done with are remembered.
const KEPT: i64 = 1000;

/// How many troubles that ended are remembered.
const TROUBLES_KEPT: i64 = 1000;

/// A next try or a lease further ahead than this was set by a clock that has since been set back.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// The numbers stand in queries and in an index of the schema, and never change their meaning.
const WAITING: i64 = 0;
const TOLD: i64 = 1;
const TOLD_OTHERWISE: i64 = 2;
const DROPPED: i64 = 3;
const GIVEN_UP: i64 = 4;

fn form_in(form: AlertForm) -> i64 {
    match form {
        AlertForm::Message => 0,
        AlertForm::Update => 1,
    }
}

fn form_out(column: i64) -> Result<AlertForm, Fault> {
    match column {
        0 => Ok(AlertForm::Message),
        1 => Ok(AlertForm::Update),
        _ => Err(Fault::Damage("a row has a form of an alert that is none".to_owned())),
    }
}

fn trouble_out(column: &str) -> Result<Trouble, Fault> {
    Trouble::parse(column).ok_or_else(|| Fault::Damage("a row has a trouble that is none".to_owned()))
}

fn alert_in(alert: &Alert) -> Result<String, Fault> {
    serde_json::to_string(alert).map_err(|error| Fault::Refused(format!("an alert is not JSON: {error}")))
}

fn alert_out(column: &str) -> Result<Alert, Fault> {
    serde_json::from_str(column).map_err(|error| Fault::Damage(format!("an alert cannot be read: {error}")))
}

fn count_out(column: i64) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
}

pub(crate) fn tell(connection: &Connection, telling: &Telling, now: DateTime<Utc>) -> Result<(), Fault> {
    for (trouble, alert) in &telling.noticed {
        connection
            .prepare_cached(
                "INSERT INTO trouble (trouble, since, last_at, times, alert) VALUES (?1, ?2, ?2, 1, ?3)
                 ON CONFLICT (trouble) DO UPDATE SET
                     last_at = excluded.last_at, times = times + 1, alert = excluded.alert, ended_at = NULL",
            )?
            .execute((trouble.to_string(), time_in(now), alert_in(alert)?))?;
    }
    for (trouble, alert) in &telling.quiet {
        connection
            .prepare_cached(
                "INSERT INTO trouble (trouble, since, last_at, times, alert) VALUES (?1, ?2, ?2, 0, ?3)
                 ON CONFLICT (trouble) DO NOTHING",
            )?
            .execute((trouble.to_string(), time_in(now), alert_in(alert)?))?;
    }
    for trouble in &telling.ended {
        let name = trouble.to_string();
        connection
            .prepare_cached("UPDATE trouble SET ended_at = ?2 WHERE trouble = ?1 AND ended_at IS NULL")?
            .execute((&name, time_in(now)))?;
        connection
            .prepare_cached(
                "UPDATE alert SET state = ?3, ended_at = ?2 WHERE trouble = ?1 AND state = 0 AND is_held = 1",
            )?
            .execute((&name, time_in(now), DROPPED))?;
    }
    for alert in &telling.alerts {
        add(connection, alert, now)?;
    }
    if !telling.alerts.is_empty() || !telling.ended.is_empty() {
        trim(connection, now)?;
    }
    Ok(())
}

/// Adds an alert. One of the same trouble and form that nobody has tried yet says the newer thing instead.
fn add(connection: &Connection, new: &NewAlert, now: DateTime<Utc>) -> Result<(), Fault> {
    let (name, form, body) = (new.trouble.to_string(), form_in(new.form), alert_in(&new.alert)?);
    let replaced = connection
        .prepare_cached(
            "UPDATE alert SET alert = ?3
             WHERE id = (SELECT max(id) FROM alert WHERE trouble = ?1 AND form = ?2 AND state = 0 AND tries = 0)",
        )?
        .execute((&name, form, &body))?;
    if replaced == 0 {
        let next_try_at = new.held_until.unwrap_or(now);
        connection
            .prepare_cached(
                "INSERT INTO alert (trouble, form, alert, created_at, next_try_at, is_held)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((name, form, body, time_in(now), time_in(next_try_at), new.held_until.is_some()))?;
    }
    Ok(())
}

/// Keeps the tables small: what is told is remembered for a while, and of too many that wait the oldest go.
fn trim(connection: &Connection, now: DateTime<Utc>) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE alert SET state = ?2, ended_at = ?3, why = 'too many alerts wait'
             WHERE state = 0 AND id <= (SELECT id FROM alert WHERE state = 0 ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute((KEPT, GIVEN_UP, time_in(now)))?;
    connection
        .prepare_cached(
            "DELETE FROM alert WHERE state <> 0
                 AND id <= (SELECT id FROM alert WHERE state <> 0 ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([KEPT])?;
    connection
        .prepare_cached(
            "DELETE FROM trouble WHERE ended_at IS NOT NULL AND ended_at <= (
                 SELECT ended_at FROM trouble WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([TROUBLES_KEPT])?;
    Ok(())
}

const TROUBLE_COLUMNS: &str =
    "t.trouble, t.since, t.last_at, t.times, t.alert, t.ended_at, t.channel, t.ts, t.told_at,
    EXISTS (SELECT 1 FROM alert a WHERE a.trouble = t.trouble AND a.state = 0 AND a.is_held = 1)";

fn trouble_row(row: &Row<'_>) -> Result<TroubleRow, Fault> {
    let time = |column: Option<i64>| column.map(time_out).transpose();
    Ok(TroubleRow {
        trouble: trouble_out(&row.get::<_, String>(0)?)?,
        since: time_out(row.get(1)?)?,
        last_at: time_out(row.get(2)?)?,
        times: count_out(row.get(3)?),
        alert: alert_out(&row.get::<_, String>(4)?)?,
        ended_at: time(row.get(5)?)?,
        message: row.get::<_, Option<String>>(6)?.zip(row.get(7)?),
        told_at: time(row.get(8)?)?,
        is_held: row.get(9)?,
    })
}

pub(crate) fn open_troubles(connection: &Connection, rows: usize) -> Result<Vec<TroubleRow>, Fault> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {TROUBLE_COLUMNS} FROM trouble t WHERE t.ended_at IS NULL ORDER BY t.since, t.trouble LIMIT ?1"
    ))?;
    collect(statement.query([limit(rows)])?, trouble_row)
}

pub(crate) fn trouble(connection: &Connection, trouble: &Trouble) -> Result<Option<TroubleRow>, Fault> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {TROUBLE_COLUMNS} FROM trouble t WHERE t.trouble = ?1"))?;
    first(statement.query([trouble.to_string()])?, trouble_row)
}

pub(crate) fn claim(
    connection: &Connection,
    now: DateTime<Utc>,
    lease: TimeDelta,
) -> Result<Option<AlertRow>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT a.id, a.trouble, a.form, a.alert, a.created_at, a.tries, a.maybe_posted, a.failing_since
         FROM alert a
         WHERE a.state = 0
             AND (a.next_try_at <= ?1 OR (a.is_held = 0 AND a.next_try_at > ?2))
             AND (a.leased_until <= ?1 OR a.leased_until > ?2)
             AND NOT EXISTS (SELECT 1 FROM alert b WHERE b.trouble = a.trouble AND b.id < a.id AND b.state = 0)
         ORDER BY a.id LIMIT 1",
    )?;
    let row = first(statement.query((time_in(now), time_in(now + AHEAD)))?, |row| {
        Ok(AlertRow {
            id: row.get(0)?,
            trouble: trouble_out(&row.get::<_, String>(1)?)?,
            form: form_out(row.get(2)?)?,
            alert: alert_out(&row.get::<_, String>(3)?)?,
            created_at: time_out(row.get(4)?)?,
            tries: count_out(row.get(5)?),
            maybe_posted: row.get(6)?,
            failing_since: row.get::<_, Option<i64>>(7)?.map(time_out).transpose()?,
        })
    })?;
    if let Some(row) = &row {
        // Until somebody says what came of it, it may have been posted.
        connection
            .prepare_cached(
                "UPDATE alert SET leased_until = ?2, tries = tries + 1, maybe_posted = 1, is_held = 0 WHERE id = ?1",
            )?
            .execute((row.id, time_in(now + lease)))?;
    }
    Ok(row)
}

pub(crate) fn settle(
    connection: &Connection,
    id: i64,
    settled: &Settled,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let end = |state: i64, why: Option<&str>| -> Result<(), Fault> {
        connection
            .prepare_cached(
                "UPDATE alert SET state = ?2, ended_at = ?3, why = coalesce(?4, why), leased_until = 0 WHERE id = ?1",
            )?
            .execute((id, state, time_in(now), why))?;
        Ok(())
    };
    match settled {
        Settled::Told { message } => {
            end(TOLD, None)?;
            let (channel, ts) = message.clone().unzip();
            // The first message stays the one that the others belong to.
            connection
                .prepare_cached(
                    "UPDATE trouble SET told_at = ?2, channel = coalesce(channel, ?3), ts = coalesce(ts, ?4)
                     WHERE trouble = (SELECT trouble FROM alert WHERE id = ?1)",
                )?
                .execute((id, time_in(now), channel, ts))?;
            // The way is free again: what failed before need not wait for its time.
            connection
                .prepare_cached(
                    "UPDATE alert SET next_try_at = min(next_try_at, ?1) WHERE state = 0 AND failing_since IS NOT NULL",
                )?
                .execute([time_in(now)])?;
        }
        Settled::ToldOtherwise => {
            end(TOLD_OTHERWISE, None)?;
            connection
                .prepare_cached(
                    "UPDATE trouble SET told_at = ?2 WHERE trouble = (SELECT trouble FROM alert WHERE id = ?1)",
                )?
                .execute((id, time_in(now)))?;
        }
        Settled::Dropped => end(DROPPED, None)?,
        Settled::GivenUp { why } => end(GIVEN_UP, Some(why))?,
        Settled::Later { next_try_at, why, maybe_posted, is_refused } => {
            connection
                .prepare_cached(
                    "UPDATE alert SET next_try_at = ?2, why = coalesce(?3, why), maybe_posted = ?4, is_refused = ?5,
                         failing_since = CASE WHEN ?3 IS NULL THEN failing_since ELSE coalesce(failing_since, ?6) END,
                         leased_until = 0
                     WHERE id = ?1",
                )?
                .execute((id, time_in(*next_try_at), why, maybe_posted, is_refused, time_in(now)))?;
        }
    }
    Ok(())
}

pub(crate) fn forget_message(connection: &Connection, trouble: &Trouble) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE trouble SET channel = NULL, ts = NULL WHERE trouble = ?1")?
        .execute([trouble.to_string()])?;
    Ok(())
}

pub(crate) fn waiting(connection: &Connection) -> Result<AlertsWaiting, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = ?1 OR is_refused = 1),
             min(failing_since), min(next_try_at) FILTER (WHERE state = 0)
         FROM alert
         WHERE (state = 0 AND is_held = 0)
             OR (state = ?1 AND id > coalesce((SELECT max(id) FROM alert WHERE state IN (1, 2)), 0))",
    )?;
    let time = |column: Option<i64>| column.map(time_out).transpose();
    let counted = first(statement.query([GIVEN_UP])?, |row| {
        Ok(AlertsWaiting {
            waiting: u64::from(count_out(row.get(0)?)),
            refused: u64::from(count_out(row.get(1)?)),
            failing_since: time(row.get(2)?)?,
            why: None,
            next_try_at: time(row.get(3)?)?,
        })
    })?
    .unwrap_or_default();
    let mut statement = connection.prepare_cached(
        "SELECT why FROM alert WHERE why IS NOT NULL AND state IN (?1, ?2) ORDER BY id DESC LIMIT 1",
    )?;
    let why = first(statement.query([WAITING, GIVEN_UP])?, |row| Ok(row.get(0)?))?;
    Ok(AlertsWaiting {
        why: if counted.failing_since.is_some() || counted.refused > 0 { why } else { None },
        ..counted
    })
}

pub(crate) fn hurry(connection: &Connection, held_too: bool, now: DateTime<Utc>) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE alert SET next_try_at = min(next_try_at, ?1), is_held = CASE WHEN ?2 THEN 0 ELSE is_held END
             WHERE state = 0 AND (?2 OR is_held = 0)",
        )?
        .execute((time_in(now), held_too))?;
    Ok(())
}
