//! Files: what is compared with the walk, and the state of the bucket.

use rusqlite::{CachedStatement, Connection, Row, params};
use s3backup_model::manifest::StoredChecksum;
use s3backup_model::{Key, Tally};

use super::values::{
    all_or_none, bytes_in, bytes_out, checksum_type_in, checksum_type_out, collect, crc_in, crc_out, first,
    key_out, mode_out, path_in, path_out, run_out, state_in, state_out,
};
use super::{Trouble, limit};
use crate::rows::{DestinationId, FileRow, FileState, Hints, Known, SourceId};

/// A statement that gives whole rows for [`file_row`]; what stands behind the columns is appended to it.
macro_rules! select_file {
    ($rest:literal) => {
        select_file!("", $rest)
    };
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT f.source, f.path, f.size, f.mtime_ns, f.mode, f.ctime_ns, f.inode, f.state, f.key, f.crc64nvme, \
             f.stored_size, f.checksum_type, f.checksum_algorithm, f.checksum, f.etag, f.version_id, f.encoding, f.run",
            $more,
            " ",
            $rest
        )
    };
}
pub(super) use select_file;

/// How many columns a whole row has; what a query adds comes behind.
pub(super) const FILE_COLUMNS: usize = 18;

pub(super) fn file_row(row: &Row<'_>) -> Result<FileRow, Trouble> {
    let of: Option<i64> = row.get(11)?;
    let (algorithm, value): (Option<String>, Option<String>) = (row.get(12)?, row.get(13)?);
    let any = of.is_some() || algorithm.is_some() || value.is_some();
    let checksum = match (of, algorithm, value) {
        (Some(of), Some(algorithm), Some(value)) => {
            Some(StoredChecksum { algorithm, value, r#type: checksum_type_out(of)? })
        }
        _ => None,
    };
    Ok(FileRow {
        source: SourceId(row.get(0)?),
        path: path_out(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?,
        size: bytes_out(row.get(2)?)?,
        mtime_ns: row.get(3)?,
        mode: mode_out(row.get(4)?)?,
        hints: hints(row.get(5)?, row.get(6)?)?,
        state: state_out(row.get(7)?)?,
        key: key_out(row.get(8)?)?,
        crc64nvme: crc_out(row.get_ref(9)?.as_blob().map_err(rusqlite::Error::from)?)?,
        stored_size: bytes_out(row.get(10)?)?,
        stored_checksum: all_or_none(checksum, any)?,
        etag: row.get(14)?,
        version_id: row.get(15)?,
        encoding: row.get(16)?,
        run: run_out(row.get(17)?)?,
    })
}

fn hints(ctime_ns: Option<i64>, inode: Option<i64>) -> Result<Option<Hints>, Trouble> {
    let any = ctime_ns.is_some() || inode.is_some();
    // Inode numbers use all of their 64 bits on some file systems.
    let both = ctime_ns.zip(inode).map(|(ctime_ns, inode)| Hints { ctime_ns, inode: inode.cast_unsigned() });
    all_or_none(both, any)
}

pub(crate) fn known(
    connection: &Connection,
    source: SourceId,
    after: Option<&[u8]>,
    rows: usize,
    out: &mut Vec<Known>,
) -> Result<(), Trouble> {
    out.clear();
    let mut statement = connection.prepare_cached(KNOWN)?;
    let mut found = statement.query((source.0, behind(after)?, limit(rows)))?;
    while let Some(row) = found.next()? {
        out.push(Known {
            path: path_out(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?,
            size: bytes_out(row.get(1)?)?,
            mtime_ns: row.get(2)?,
            mode: mode_out(row.get(3)?)?,
            hints: hints(row.get(4)?, row.get(5)?)?,
            state: state_out(row.get(6)?)?,
        });
    }
    Ok(())
}

const KNOWN: &str = "SELECT path, size, mtime_ns, mode, ctime_ns, inode, state FROM file
     WHERE source = ?1 AND path > ?2 ORDER BY path LIMIT ?3";

/// The path behind which a page begins; no path is below the empty one.
fn behind(after: Option<&[u8]>) -> Result<Vec<u8>, Trouble> {
    after.map_or_else(|| Ok(Vec::new()), path_in)
}

pub(crate) fn file(
    connection: &Connection,
    source: SourceId,
    path: &[u8],
) -> Result<Option<FileRow>, Trouble> {
    let mut statement =
        connection.prepare_cached(select_file!("FROM file f WHERE f.source = ?1 AND f.path = ?2"))?;
    first(statement.query((source.0, path_in(path)?))?, file_row)
}

pub(crate) fn file_of_key(
    connection: &Connection,
    destination: DestinationId,
    key: &Key,
) -> Result<Option<FileRow>, Trouble> {
    // Of one key there are few rows, at most one of which is not gone; of those that are, the newest run's.
    let mut statement = connection.prepare_cached(select_file!(
        "FROM file f WHERE f.destination = ?1 AND f.key = ?2 ORDER BY f.state = 2, f.run DESC LIMIT 1"
    ))?;
    first(statement.query((destination.0, key.as_str()))?, file_row)
}

pub(crate) fn state_by_key(
    connection: &Connection,
    destination: DestinationId,
    after: Option<&Key>,
    rows: usize,
) -> Result<Vec<FileRow>, Trouble> {
    let mut statement = connection.prepare_cached(STATE_BY_KEY)?;
    collect(statement.query((destination.0, after.map_or("", Key::as_str), limit(rows)))?, file_row)
}

const STATE_BY_KEY: &str = select_file!(
    "FROM file f INDEXED BY file_by_key
     WHERE f.destination = ?1 AND f.key > ?2 AND f.state <> 2 ORDER BY f.key LIMIT ?3"
);

/// A statement that takes what [`bind`] gives it.
macro_rules! insert_file {
    ($verb:literal) => {
        concat!(
            $verb,
            " INTO file (source, path, size, mtime_ns, mode, ctime_ns, inode, state, listed, destination, key,
         crc64nvme, stored_size, checksum_type, checksum_algorithm, checksum, etag, version_id, encoding, run)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)"
        )
    };
}

/// Stores rows one by one. Most are of files that are new under keys that are free: for those no statement is run that
/// could change anything else.
struct Putting<'c> {
    connection: &'c Connection,
    with_key: CachedStatement<'c>,
    add: CachedStatement<'c>,
    displace: CachedStatement<'c>,
    replace: CachedStatement<'c>,
    is_listed: bool,
    /// Of the last row: source, destination and what says that it is listed, or not.
    of: Option<(SourceId, i64, i64)>,
}

impl<'c> Putting<'c> {
    fn new(connection: &'c Connection, is_listed: bool) -> Result<Self, Trouble> {
        Ok(Self {
            connection,
            with_key: connection.prepare_cached(
                "SELECT 1 FROM file INDEXED BY file_by_key WHERE destination = ?1 AND key = ?2 LIMIT 1",
            )?,
            add: connection.prepare_cached(insert_file!("INSERT OR IGNORE"))?,
            displace: connection.prepare_cached(
                "DELETE FROM file WHERE destination = ?1 AND key = ?2 AND state <> 2 AND NOT (source = ?3 AND path = ?4)",
            )?,
            replace: connection.prepare_cached(insert_file!("INSERT OR REPLACE"))?,
            is_listed,
            of: None,
        })
    }

    /// Stores a row if its file was not known and its key nobody's; whether it did.
    fn add(&mut self, row: &FileRow) -> Result<bool, Trouble> {
        let (destination, listed) = self.of(row.source)?;
        if self.with_key.exists((destination, row.key.as_str()))? {
            return Ok(false);
        }
        Ok(insert(&mut self.add, row, &path_in(&row.path)?, destination, listed)? > 0)
    }

    /// Stores a row in place of whatever stands in its way.
    fn replace(&mut self, row: &FileRow) -> Result<(), Trouble> {
        let (destination, listed) = self.of(row.source)?;
        let path = path_in(&row.path)?;
        if row.state.is_in_state() {
            self.displace.execute((destination, row.key.as_str(), row.source.0, &path))?;
        }
        insert(&mut self.replace, row, &path, destination, listed)?;
        Ok(())
    }

    fn of(&mut self, source: SourceId) -> Result<(i64, i64), Trouble> {
        if let Some((last, destination, listed)) = self.of
            && last == source
        {
            return Ok((destination, listed));
        }
        let destination = destination_of(self.connection, source)?
            .ok_or_else(|| Trouble::Refused("its source is not known, or was forgotten".to_owned()))?;
        let listed = if self.is_listed { LISTED } else { note_unlisted(self.connection, destination)? };
        self.of = Some((source, destination, listed));
        Ok((destination, listed))
    }
}

fn insert(
    statement: &mut CachedStatement<'_>,
    row: &FileRow,
    path: &[u8],
    destination: i64,
    listed: i64,
) -> Result<usize, Trouble> {
    let inserted = statement.execute(params![
        row.source.0,
        path,
        bytes_in(row.size, "a file")?,
        row.mtime_ns,
        row.mode,
        row.hints.map(|hints| hints.ctime_ns),
        row.hints.map(|hints| hints.inode.cast_signed()),
        state_in(row.state),
        listed,
        destination,
        row.key.as_str(),
        crc_in(&row.crc64nvme)?,
        bytes_in(row.stored_size, "an object")?,
        row.stored_checksum.as_ref().map(|checksum| checksum_type_in(checksum.r#type)),
        row.stored_checksum.as_ref().map(|checksum| &checksum.algorithm),
        row.stored_checksum.as_ref().map(|checksum| &checksum.value),
        row.etag,
        row.version_id,
        row.encoding,
        row.run.as_str(),
    ])?;
    Ok(inserted)
}

pub(crate) fn put(connection: &Connection, rows: &[FileRow], is_listed: bool) -> Result<(), Trouble> {
    let mut putting = Putting::new(connection, is_listed)?;
    for row in rows {
        if !putting.add(row)? {
            putting.replace(row)?;
        }
    }
    Ok(())
}

pub(crate) fn put_proved(connection: &Connection, rows: &[(FileRow, bool)]) -> Result<Vec<FileRow>, Trouble> {
    let mut putting = Putting::new(connection, false)?;
    let mut moved = Vec::new();
    for (row, is_sent) in rows {
        if putting.add(row)? {
            continue;
        }
        let old = file(connection, row.source, &row.path)?;
        match &old {
            Some(old) if !is_sent && old.etag == row.etag => {
                putting.replace(&FileRow { run: old.run.clone(), ..row.clone() })?;
            }
            _ => putting.replace(row)?,
        }
        moved.extend(old.filter(|old| old.key != row.key));
    }
    Ok(moved)
}

fn destination_of(connection: &Connection, source: SourceId) -> Result<Option<i64>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT destination FROM source WHERE id = ?1")?;
    first(statement.query([source.0])?, |row| Ok(row.get(0)?))
}

/// What `listed` is in rows that are listed, whatever else is.
const LISTED: i64 = 1;

/// What `listed` is in rows of the destination that are not listed; from now on there may be some.
fn note_unlisted(connection: &Connection, destination: i64) -> Result<i64, Trouble> {
    let mut note = connection
        .prepare_cached("UPDATE destination SET noted = listed + 1 WHERE id = ?1 AND noted <= listed")?;
    note.execute([destination])?;
    let mut statement = connection.prepare_cached("SELECT noted FROM destination WHERE id = ?1")?;
    let noted = first(statement.query([destination])?, |row| Ok(row.get(0)?))?;
    noted.ok_or_else(|| Trouble::Damage("a source has no destination".to_owned()))
}

/// What `listed` is in rows of the source that are not listed; from now on there may be some. `None` when the source is not
/// known: it has no rows.
pub(super) fn note_unlisted_of(connection: &Connection, source: SourceId) -> Result<Option<i64>, Trouble> {
    destination_of(connection, source)?.map(|destination| note_unlisted(connection, destination)).transpose()
}

pub(crate) fn set_states(
    connection: &Connection,
    files: &[(SourceId, Vec<u8>)],
    state: FileState,
) -> Result<(), Trouble> {
    let mut update = connection.prepare_cached(
        "UPDATE file SET state = ?3, listed = coalesce(?4, listed) WHERE source = ?1 AND path = ?2",
    )?;
    for (source, path) in files {
        let path = path_in(path)?;
        if state.is_in_state() {
            refuse_taken(connection, *source, &path)?;
        }
        let unlisted = match state {
            FileState::Doubtful => None,
            _ => note_unlisted_of(connection, *source)?,
        };
        update.execute((source.0, path, state_in(state), unlisted))?;
    }
    Ok(())
}

/// Errors when the file is gone and another one has its key.
fn refuse_taken(connection: &Connection, source: SourceId, path: &[u8]) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT f.key FROM file f JOIN file other ON other.destination = f.destination AND other.key = f.key
         WHERE f.source = ?1 AND f.path = ?2 AND f.state = 2 AND other.state <> 2 LIMIT 1",
    )?;
    match first(statement.query((source.0, path))?, |row| key_out(row.get(0)?))? {
        Some(key) => Err(Trouble::KeyTaken(key)),
        None => Ok(()),
    }
}

pub(crate) fn set_hints(
    connection: &Connection,
    source: SourceId,
    files: &[(Vec<u8>, Hints)],
) -> Result<(), Trouble> {
    let mut update = connection
        .prepare_cached("UPDATE file SET ctime_ns = ?3, inode = ?4 WHERE source = ?1 AND path = ?2")?;
    for (path, hints) in files {
        update.execute((source.0, path_in(path)?, hints.ctime_ns, hints.inode.cast_signed()))?;
    }
    Ok(())
}

pub(crate) fn remove(connection: &Connection, files: &[(SourceId, Vec<u8>)]) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached("DELETE FROM file WHERE source = ?1 AND path = ?2")?;
    for (source, path) in files {
        statement.execute((source.0, path_in(path)?))?;
    }
    Ok(())
}

pub(crate) fn unlisted(
    connection: &Connection,
    destination: DestinationId,
    after: Option<(SourceId, &[u8])>,
    rows: usize,
) -> Result<Vec<FileRow>, Trouble> {
    let mut statement =
        connection.prepare_cached("SELECT listed FROM destination WHERE id = ?1 AND noted > listed")?;
    let listed: Option<i64> = first(statement.query([destination.0])?, |row| Ok(row.get(0)?))?;
    let Some(listed) = listed else { return Ok(Vec::new()) };
    let (source, path) = match after {
        Some((source, path)) => (source.0, path_in(path)?),
        None => (0, Vec::new()),
    };
    let mut statement = connection.prepare_cached(UNLISTED)?;
    collect(statement.query((destination.0, listed, source, path, limit(rows)))?, file_row)
}

/// The plus keeps it from the index by key, in which rows lie in another order.
const UNLISTED: &str = select_file!(
    "FROM file f
     WHERE +f.destination = ?1 AND f.listed > ?2 AND (f.source, f.path) > (?3, ?4)
     ORDER BY f.source, f.path LIMIT ?5"
);

pub(crate) fn mark_listed(connection: &Connection, destination: DestinationId) -> Result<(), Trouble> {
    let mut statement = connection
        .prepare_cached("UPDATE destination SET listed = noted WHERE id = ?1 AND noted > listed")?;
    statement.execute([destination.0])?;
    Ok(())
}

pub(crate) fn forget(connection: &Connection, destination: DestinationId) -> Result<(), Trouble> {
    for table in ["file", "young"] {
        let own = "source IN (SELECT id FROM source WHERE destination = ?1)";
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE {own}"))?.execute([destination.0])?;
    }
    connection.prepare_cached("DELETE FROM source WHERE destination = ?1")?.execute([destination.0])?;
    Ok(())
}

pub(crate) fn count(connection: &Connection, destination: DestinationId) -> Result<Tally, Trouble> {
    // By way of the sources, so that the rows are read in the order in which they lie.
    let mut statement = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(f.size), 0) FROM source s CROSS JOIN file f ON f.source = s.id
         WHERE s.destination = ?1 AND f.state <> 2",
    )?;
    first(statement.query([destination.0])?, tally).map(Option::unwrap_or_default)
}

pub(crate) fn count_source(connection: &Connection, source: SourceId) -> Result<Tally, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(size), 0) FROM file WHERE source = ?1 AND state IN (0, 1)",
    )?;
    first(statement.query([source.0])?, tally).map(Option::unwrap_or_default)
}

pub(super) fn tally(row: &Row<'_>) -> Result<Tally, Trouble> {
    Ok(Tally { files: bytes_out(row.get(0)?)?, bytes: bytes_out(row.get(1)?)? })
}

pub(crate) fn sample(
    connection: &Connection,
    destination: DestinationId,
    n: usize,
    seed: u64,
) -> Result<Vec<FileRow>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT f.source, f.path FROM source s CROSS JOIN file f ON f.source = s.id
         WHERE s.destination = ?1 AND f.state <> 2 ORDER BY f.source, f.path",
    )?;
    let mut rows = statement.query([destination.0])?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut picked: Vec<(SourceId, Vec<u8>)> = Vec::new();
    let mut count = 0;
    // A reservoir: the row with number `count` is kept with a chance of n in `count`, in a random place (Knuth, TAOCP 3.4.2 R).
    while let Some(row) = rows.next()? {
        count += 1;
        let place = if picked.len() < n { picked.len() } else { random.usize(..count) };
        if place >= n {
            continue;
        }
        let path = path_out(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
        let pick = (SourceId(row.get(0)?), path);
        if place == picked.len() { picked.push(pick) } else { picked[place] = pick }
    }
    random.shuffle(&mut picked);
    let found: Result<Vec<_>, _> =
        picked.iter().map(|(source, path)| file(connection, *source, path)).collect();
    Ok(found?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page costs what it gives, wherever it begins: it is found by an index and sorts nothing.
    #[test]
    fn pages_are_found_by_an_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::sql::migrate(&mut connection).unwrap();
        for (query, way) in [
            (KNOWN, "SEARCH file USING PRIMARY KEY (source=? AND path>?)"),
            (STATE_BY_KEY, "SEARCH f USING INDEX file_by_key (destination=? AND key>?)"),
            (UNLISTED, "SEARCH f USING PRIMARY KEY ((source,path)>(?,?))"),
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let values = vec![rusqlite::types::Null; statement.parameter_count()];
            let steps = statement
                .query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3))
                .unwrap();
            assert_eq!(steps.collect::<Result<Vec<_>, _>>().unwrap(), [way]);
        }
    }
}
