//! The history of objects: which version of a key was put when, and when it was replaced or its file was gone. A temporary
//! table, which is filled from the manifests of the bucket and then asked.

use rusqlite::{Connection, Row, params};
use s3backup_model::manifest::{Line, Op};
use s3backup_model::{Key, RunId, Tally};

use super::files::tally;
use super::values::{bytes_in, bytes_out, collect, first, key_out, run_out};
use super::{Trouble, limit};
use crate::rows::{DestinationId, VersionRow};

/// An object without a version has the empty id: a key has one of it at a time, which a write replaces for good.
pub(crate) fn make_table(connection: &Connection) -> Result<(), Trouble> {
    connection.execute_batch(
        "CREATE TEMP TABLE version (
             key TEXT NOT NULL,
             version_id TEXT NOT NULL,
             etag TEXT NOT NULL,
             size INTEGER NOT NULL,
             put_run TEXT NOT NULL,
             seen_run TEXT NOT NULL,
             ended_run TEXT,
             PRIMARY KEY (key, version_id)
         ) STRICT, WITHOUT ROWID;",
    )?;
    Ok(())
}

pub(crate) fn clear(connection: &Connection) -> Result<(), Trouble> {
    connection.prepare_cached("DELETE FROM temp.version")?.execute([])?;
    Ok(())
}

pub(crate) fn note(connection: &Connection, run: &RunId, lines: &[Line]) -> Result<(), Trouble> {
    for line in lines {
        match line.op {
            Op::Gone => note_end(connection, run, line)?,
            _ => note_put(connection, run, line)?,
        }
    }
    Ok(())
}

/// The line says that the object of its key is this one, after `run`.
fn note_put(connection: &Connection, run: &RunId, line: &Line) -> Result<(), Trouble> {
    // A file that is to be sent again because nothing is there has no object.
    if line.etag.is_empty() {
        return Ok(());
    }
    let id = line.version_id.as_deref().unwrap_or_default();
    // What a killed run had put is listed by a later one: it was there from the one, and known from the other.
    let put_run = line.run.as_ref().filter(|put| *put <= run).unwrap_or(run);
    // Other versions of the key were replaced, but for one that was put later than this.
    connection
        .prepare_cached(
            "UPDATE temp.version SET ended_run = ?3
             WHERE key = ?1 AND version_id <> ?2 AND ended_run IS NULL AND put_run <= ?4",
        )?
        .execute((line.key.as_str(), id, run.as_str(), put_run.as_str()))?;
    // Under the same id and with the same ETag it was never away, as far as this table goes; with another ETag the old
    // bytes are lost, and with them all that told of them.
    connection
        .prepare_cached(
            "INSERT INTO temp.version (key, version_id, etag, size, put_run, seen_run, ended_run)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, NULL)
             ON CONFLICT (key, version_id) DO UPDATE SET
                 put_run = iif(etag = excluded.etag, min(put_run, excluded.put_run), excluded.put_run),
                 seen_run = iif(etag = excluded.etag, max(seen_run, excluded.seen_run), excluded.seen_run),
                 etag = excluded.etag, size = excluded.size, ended_run = NULL
             WHERE etag = excluded.etag OR put_run <= excluded.put_run",
        )?
        .execute(params![
            line.key.as_str(),
            id,
            line.etag,
            bytes_in(line.stored_size, "an object")?,
            put_run.as_str()
        ])?;
    Ok(())
}

/// The line says that the file whose object this was is gone. Where the same run found that another file has the very
/// object, it stays.
fn note_end(connection: &Connection, run: &RunId, line: &Line) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "UPDATE temp.version SET ended_run = ?4
             WHERE key = ?1 AND version_id = ?2 AND etag = ?3 AND ended_run IS NULL AND seen_run < ?4",
        )?
        .execute((
            line.key.as_str(),
            line.version_id.as_deref().unwrap_or_default(),
            &line.etag,
            run.as_str(),
        ))?;
    Ok(())
}

pub(crate) fn one(
    connection: &Connection,
    key: &Key,
    version_id: Option<&str>,
) -> Result<Option<VersionRow>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT key, version_id, etag, size, put_run, ended_run FROM temp.version WHERE key = ?1 AND version_id = ?2",
    )?;
    first(statement.query((key.as_str(), version_id.unwrap_or_default()))?, version_row)
}

pub(crate) fn open(connection: &Connection) -> Result<Tally, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(size), 0) FROM temp.version WHERE ended_run IS NULL",
    )?;
    first(statement.query([])?, tally).map(Option::unwrap_or_default)
}

/// A row of the state without a version id, or one that is in doubt, may mean any version of its key.
pub(crate) fn ended(
    connection: &Connection,
    destination: DestinationId,
    after: Option<(&Key, Option<&str>)>,
    rows: usize,
) -> Result<Vec<(VersionRow, bool)>, Trouble> {
    let (key, id) = after.map_or(("", ""), |(key, id)| (key.as_str(), id.unwrap_or_default()));
    let mut statement = connection.prepare_cached(
        "SELECT v.key, v.version_id, v.etag, v.size, v.put_run, v.ended_run, EXISTS (
             SELECT 1 FROM main.file f
             WHERE f.destination = ?1 AND f.key = v.key AND f.state <> 2
                 AND (f.state = 1 OR f.version_id IS NULL OR v.version_id = '' OR f.version_id = v.version_id))
         FROM temp.version v
         WHERE (v.key > ?2 OR (v.key = ?2 AND v.version_id < ?3)) AND v.ended_run IS NOT NULL
         ORDER BY v.key, v.version_id DESC LIMIT ?4",
    )?;
    collect(statement.query((destination.0, key, id, limit(rows)))?, |row| {
        Ok((version_row(row)?, row.get(6)?))
    })
}

fn version_row(row: &Row<'_>) -> Result<VersionRow, Trouble> {
    let id: String = row.get(1)?;
    Ok(VersionRow {
        key: key_out(row.get(0)?)?,
        version_id: (!id.is_empty()).then_some(id),
        etag: row.get(2)?,
        size: bytes_out(row.get(3)?)?,
        put_run: run_out(row.get(4)?)?,
        ended_run: row.get::<_, Option<String>>(5)?.map(run_out).transpose()?,
    })
}

pub(crate) fn forget_gone(
    connection: &Connection,
    destination: DestinationId,
    objects: &[(Key, Option<String>)],
) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM main.file
         WHERE destination = ?1 AND key = ?2 AND state = 2 AND coalesce(version_id, '') = ?3",
    )?;
    for (key, version_id) in objects {
        statement.execute((destination.0, key.as_str(), version_id.as_deref().unwrap_or_default()))?;
    }
    Ok(())
}
