//! The tables, and the way from each version of them to the next. It only goes forward.

use rusqlite::{Connection, TransactionBehavior};

use super::Trouble;

/// The version that this code reads and writes.
pub(crate) const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// "S3BC": tells a catalog from a database of another program.
const APPLICATION_ID: i64 = 0x5333_4243;

/// What leads to each version from the one before it. What was released is never edited.
const MIGRATIONS: &[(i64, &str)] = &[(1, V1)];

/// Of files, what is compared on every run comes first, and the rest behind it. `path` has zero bytes for `/`, which makes
/// the order of the primary key that of a walk. `destination` repeats what `source` says, for the index by key. `inode`,
/// `device` have the bits of an unsigned number. Times are microseconds since the Unix epoch but where they end in `_ns`.
const V1: &str = "
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE destination (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT NOT NULL,
    bucket TEXT NOT NULL,
    prefix TEXT NOT NULL,
    UNIQUE (endpoint, bucket, prefix)
) STRICT;

CREATE TABLE source (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination INTEGER NOT NULL REFERENCES destination (id),
    prefix TEXT NOT NULL,
    root TEXT NOT NULL,
    UNIQUE (destination, prefix)
) STRICT;

CREATE TABLE file (
    source INTEGER NOT NULL REFERENCES source (id),
    path BLOB NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    ctime_ns INTEGER,
    inode INTEGER,
    state INTEGER NOT NULL,
    listed INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    key TEXT NOT NULL,
    crc64nvme BLOB NOT NULL,
    stored_size INTEGER NOT NULL,
    checksum_type INTEGER,
    checksum_algorithm TEXT,
    checksum TEXT,
    etag TEXT NOT NULL,
    version_id TEXT,
    encoding TEXT NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (source, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_by_key ON file (destination, key);
CREATE INDEX file_unlisted ON file (destination, source, path) WHERE listed = 0;

CREATE TABLE run (
    destination INTEGER NOT NULL REFERENCES destination (id),
    run TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    summary TEXT,
    PRIMARY KEY (destination, run)
) STRICT, WITHOUT ROWID;

CREATE TABLE due (
    at INTEGER PRIMARY KEY,
    local_date TEXT NOT NULL,
    timezone TEXT NOT NULL,
    state INTEGER NOT NULL,
    run TEXT
) STRICT;
CREATE INDEX due_open ON due (at) WHERE state IN (2, 3);

CREATE TABLE upload (
    destination INTEGER NOT NULL REFERENCES destination (id),
    key TEXT NOT NULL,
    run TEXT NOT NULL,
    intended_at INTEGER NOT NULL,
    upload_id TEXT,
    part_size INTEGER,
    size INTEGER,
    mtime_ns INTEGER,
    ctime_ns INTEGER,
    mode INTEGER,
    inode INTEGER,
    device INTEGER,
    checksum TEXT,
    PRIMARY KEY (destination, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE young (
    source INTEGER NOT NULL REFERENCES source (id),
    path BLOB NOT NULL,
    since INTEGER NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (source, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trouble TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    next_try_at INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    delivered_at INTEGER
) STRICT;
";

/// Makes the tables in an empty file, or brings those of an older version up to date; whether they were made.
///
/// One transaction does it, so a crash leaves the file as it was.
pub(crate) fn migrate(connection: &mut Connection) -> Result<bool, Trouble> {
    // Without the lock for writing, which a reader of an up-to-date catalog must not wait for.
    if found_version(connection)? == Some(VERSION) {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again: another process may have done it meanwhile.
    let found = found_version(&transaction)?;
    let steps = MIGRATIONS.iter().filter(|(to, _)| found.is_none_or(|from| *to > from));
    for (to, step) in steps {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", to)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(found.is_none())
}

/// Version of the tables; `None` when the file is empty. Errors when the file is of a newer version or another program.
pub(super) fn found_version(connection: &Connection) -> Result<Option<i64>, Trouble> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    match (application, version) {
        (APPLICATION_ID, 1..=VERSION) => Ok(Some(version)),
        (APPLICATION_ID, newer) if newer > VERSION => Err(Trouble::Newer(newer)),
        (0, 0)
            if connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?
                == 0 =>
        {
            Ok(None)
        }
        _ => Err(Trouble::Damage("it is a database, but of another program".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crash between making the file and committing the tables leaves an empty database, which is as good as none.
    #[test]
    fn tables_are_made_at_once_or_not_at_all() {
        let mut connection = Connection::open_in_memory().unwrap();
        {
            let transaction = connection.transaction().unwrap();
            transaction.execute_batch(V1).unwrap();
            transaction.pragma_update(None, "user_version", 1).unwrap();
        }
        assert_eq!(found_version(&connection).unwrap(), None);
        assert!(migrate(&mut connection).unwrap());
        assert!(!migrate(&mut connection).unwrap());
    }
}
