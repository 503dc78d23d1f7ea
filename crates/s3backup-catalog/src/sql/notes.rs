//! What one run or command notes for itself: temporary tables, which are empty when a connection begins.

use rusqlite::{Connection, Row};
use s3backup_model::{FileStat, Key, Tally};

use super::files::{FILE_COLUMNS, file_row, note_unlisted_of, select_file, tally};
use super::values::{all_or_none, bytes_in, bytes_out, collect, first, key_out, mode_out, path_in, path_out};
use super::{Trouble, limit};
use crate::rows::{Deferred, DestinationId, FileRow, FileState, Listed, SourceId};

pub(crate) fn make_tables(connection: &Connection) -> Result<(), Trouble> {
    connection.execute_batch(
        "CREATE TEMP TABLE gone (
             source INTEGER NOT NULL,
             path BLOB NOT NULL,
             PRIMARY KEY (source, path)
         ) STRICT, WITHOUT ROWID;
         CREATE TEMP TABLE deferred (
             number INTEGER PRIMARY KEY,
             source INTEGER NOT NULL,
             path BLOB NOT NULL,
             size INTEGER NOT NULL,
             mtime_ns INTEGER NOT NULL,
             ctime_ns INTEGER NOT NULL,
             mode INTEGER NOT NULL,
             inode INTEGER NOT NULL,
             device INTEGER NOT NULL
         ) STRICT;
         CREATE TEMP TABLE listed (
             key TEXT PRIMARY KEY,
             size INTEGER NOT NULL,
             etag TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;",
    )?;
    Ok(())
}

pub(crate) fn note_gone(connection: &Connection, source: SourceId, paths: &[Vec<u8>]) -> Result<(), Trouble> {
    let mut statement =
        connection.prepare_cached("INSERT OR IGNORE INTO temp.gone (source, path) VALUES (?1, ?2)")?;
    for path in paths {
        statement.execute((source.0, path_in(path)?))?;
    }
    Ok(())
}

pub(crate) fn apply_gone(
    connection: &Connection,
    source: SourceId,
    rows: usize,
) -> Result<Vec<FileRow>, Trouble> {
    let mut statement = connection.prepare_cached(select_file!(
        "FROM temp.gone g CROSS JOIN main.file f ON f.source = g.source AND f.path = g.path
         WHERE g.source = ?1 AND f.state IN (0, 1) ORDER BY g.path LIMIT ?2"
    ))?;
    let mut found = collect(statement.query((source.0, limit(rows)))?, file_row)?;
    if !found.is_empty() {
        let unlisted = note_unlisted_of(connection, source)?;
        let mut update = connection
            .prepare_cached("UPDATE main.file SET state = 2, listed = ?3 WHERE source = ?1 AND path = ?2")?;
        for row in &mut found {
            update.execute((source.0, path_in(&row.path)?, unlisted))?;
            row.state = FileState::Gone;
        }
    }
    match found.last() {
        // The notes up to here are used up, those that were passed over among them.
        Some(last) => {
            connection
                .prepare_cached("DELETE FROM temp.gone WHERE source = ?1 AND path <= ?2")?
                .execute((source.0, path_in(&last.path)?))?;
        }
        None if rows > 0 => drop_gone(connection, source)?,
        None => {}
    }
    Ok(found)
}

pub(crate) fn drop_gone(connection: &Connection, source: SourceId) -> Result<(), Trouble> {
    connection.prepare_cached("DELETE FROM temp.gone WHERE source = ?1")?.execute([source.0])?;
    Ok(())
}

pub(crate) fn defer(connection: &Connection, files: &[Deferred]) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO temp.deferred (source, path, size, mtime_ns, ctime_ns, mode, inode, device)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for Deferred { source, path, stat } in files {
        statement.execute((
            source.0,
            path_in(path)?,
            bytes_in(stat.size, "a file")?,
            stat.mtime_ns,
            stat.ctime_ns,
            stat.mode,
            stat.inode.cast_signed(),
            stat.device.cast_signed(),
        ))?;
    }
    Ok(())
}

pub(crate) fn deferred(
    connection: &Connection,
    after: i64,
    rows: usize,
) -> Result<Vec<(i64, Deferred)>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT number, source, path, size, mtime_ns, ctime_ns, mode, inode, device FROM temp.deferred
         WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    collect(statement.query((after, limit(rows)))?, |row| {
        let stat = FileStat {
            size: bytes_out(row.get(3)?)?,
            mtime_ns: row.get(4)?,
            ctime_ns: row.get(5)?,
            mode: mode_out(row.get(6)?)?,
            inode: row.get::<_, i64>(7)?.cast_unsigned(),
            device: row.get::<_, i64>(8)?.cast_unsigned(),
        };
        let path = path_out(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?;
        Ok((row.get(0)?, Deferred { source: SourceId(row.get(1)?), path, stat }))
    })
}

pub(crate) fn clear_deferred(connection: &Connection) -> Result<(), Trouble> {
    connection.prepare_cached("DELETE FROM temp.deferred")?.execute([])?;
    Ok(())
}

pub(crate) fn note_listed(connection: &Connection, objects: &[(Key, u64, String)]) -> Result<(), Trouble> {
    let mut statement = connection
        .prepare_cached("INSERT OR REPLACE INTO temp.listed (key, size, etag) VALUES (?1, ?2, ?3)")?;
    for (key, size, etag) in objects {
        statement.execute((key.as_str(), bytes_in(*size, "an object")?, etag))?;
    }
    Ok(())
}

pub(crate) fn clear_listed(connection: &Connection) -> Result<(), Trouble> {
    connection.prepare_cached("DELETE FROM temp.listed")?.execute([])?;
    Ok(())
}

pub(crate) fn listed(connection: &Connection, key: &Key) -> Result<Option<Listed>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT size, etag FROM temp.listed WHERE key = ?1")?;
    Ok(first(statement.query([key.as_str()])?, |row| listed_columns(row, 0))?.flatten())
}

/// Size and ETag from two columns, which are both null where nothing was listed.
fn listed_columns(row: &Row<'_>, at: usize) -> Result<Option<Listed>, Trouble> {
    let (size, etag): (Option<i64>, Option<String>) = (row.get(at)?, row.get(at + 1)?);
    let any = size.is_some() || etag.is_some();
    let both = size.map(bytes_out).transpose()?.zip(etag);
    all_or_none(both, any)
}

pub(crate) fn state_against_listing(
    connection: &Connection,
    destination: DestinationId,
    after: Option<&Key>,
    rows: usize,
) -> Result<Vec<(FileRow, Option<Listed>)>, Trouble> {
    let mut statement = connection.prepare_cached(select_file!(
        ", l.size, l.etag",
        "FROM main.file f INDEXED BY file_by_key LEFT JOIN temp.listed l ON l.key = f.key
         WHERE f.destination = ?1 AND f.key > ?2 AND f.state <> 2 ORDER BY f.key LIMIT ?3"
    ))?;
    collect(statement.query((destination.0, after.map_or("", Key::as_str), limit(rows)))?, |row| {
        Ok((file_row(row)?, listed_columns(row, FILE_COLUMNS)?))
    })
}

pub(crate) fn strangers(
    connection: &Connection,
    destination: DestinationId,
    rows: usize,
) -> Result<(Tally, Vec<Key>), Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(l.size), 0) FROM temp.listed l
         WHERE NOT EXISTS (SELECT 1 FROM main.file f WHERE f.destination = ?1 AND f.key = l.key)",
    )?;
    let all = first(statement.query([destination.0])?, tally)?.unwrap_or_default();
    let mut statement = connection.prepare_cached(
        "SELECT l.key FROM temp.listed l
         WHERE NOT EXISTS (SELECT 1 FROM main.file f WHERE f.destination = ?1 AND f.key = l.key)
         ORDER BY l.key LIMIT ?2",
    )?;
    let keys = collect(statement.query((destination.0, limit(rows)))?, |row| key_out(row.get(0)?))?;
    Ok((all, keys))
}
