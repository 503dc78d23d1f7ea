//! Settings, destinations and sources.

use rusqlite::Connection;

use super::Trouble;
use super::values::{collect, first};
use crate::rows::{DestinationId, SourceId, SourceRow};

pub(crate) fn setting(connection: &Connection, name: &str) -> Result<Option<String>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT value FROM setting WHERE name = ?1")?;
    first(statement.query([name])?, |row| Ok(row.get(0)?))
}

pub(crate) fn set_setting(connection: &Connection, name: &str, value: &str) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "INSERT INTO setting (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([name, value])?;
    Ok(())
}

pub(crate) fn destination(
    connection: &Connection,
    endpoint: &str,
    bucket: &str,
    prefix: &str,
) -> Result<DestinationId, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT id FROM destination WHERE endpoint = ?1 AND bucket = ?2 AND prefix = ?3")?;
    let known = first(statement.query([endpoint, bucket, prefix])?, |row| Ok(row.get(0)?))?;
    if let Some(id) = known {
        return Ok(DestinationId(id));
    }
    // Another process may have made it meanwhile; then its id is given.
    let mut statement = connection.prepare_cached(
        "INSERT INTO destination (endpoint, bucket, prefix) VALUES (?1, ?2, ?3)
         ON CONFLICT (endpoint, bucket, prefix) DO UPDATE SET bucket = excluded.bucket
         RETURNING id",
    )?;
    Ok(DestinationId(statement.query_row([endpoint, bucket, prefix], |row| row.get(0))?))
}

pub(crate) fn source(
    connection: &Connection,
    destination: DestinationId,
    prefix: &str,
    root: &str,
) -> Result<SourceId, Trouble> {
    let mut statement =
        connection.prepare_cached("SELECT id, root FROM source WHERE destination = ?1 AND prefix = ?2")?;
    let known = first(statement.query((destination.0, prefix))?, |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    if let Some((id, known_root)) = known
        && known_root == root
    {
        return Ok(SourceId(id));
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO source (destination, prefix, root) VALUES (?1, ?2, ?3)
         ON CONFLICT (destination, prefix) DO UPDATE SET root = excluded.root
         RETURNING id",
    )?;
    Ok(SourceId(statement.query_row((destination.0, prefix, root), |row| row.get(0))?))
}

pub(crate) fn sources(
    connection: &Connection,
    destination: DestinationId,
) -> Result<Vec<SourceRow>, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT id, prefix, root FROM source WHERE destination = ?1 ORDER BY id")?;
    collect(statement.query([destination.0])?, |row| {
        Ok(SourceRow { id: SourceId(row.get(0)?), prefix: row.get(1)?, root: row.get(2)? })
    })
}
