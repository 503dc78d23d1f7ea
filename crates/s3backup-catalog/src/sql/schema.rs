//! The tables, and the way from each version of them to the next. It only goes forward.

use rusqlite::{Connection, TransactionBehavior};

use super::Trouble;

/// The version that this code reads and writes.
pub(crate) const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// "S3BC": tells a catalog from a database of another program.
const APPLICATION_ID: i64 = 0x5333_4243;

/// What leads to each version from the one before it. What was released is never edited.
const MIGRATIONS: &[(i64, &str)] = &[(1, V1), (2, V2), (3, V3)];

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

/// What is listed is said once for a destination instead of in each row: a row is unlisted while its `listed` is above that
/// of its destination. No row has more than the destination's `noted`, so where the two are equal no row need be looked at.
/// An index of unlisted rows, and changing each row once more when it was listed, took as long as all the rest.
const V2: &str = "
ALTER TABLE destination ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;
ALTER TABLE destination ADD COLUMN noted INTEGER NOT NULL DEFAULT 1;
UPDATE destination SET noted = 2;
UPDATE file SET listed = 2 WHERE listed = 0;
DROP INDEX file_unlisted;
";

/// The table of alerts that was there before was never written to.
const V3: &str = "
DROP TABLE alert;

CREATE TABLE trouble (
    trouble TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    times INTEGER NOT NULL,
    alert TEXT NOT NULL,
    ended_at INTEGER,
    channel TEXT,
    ts TEXT,
    told_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX trouble_open ON trouble (since) WHERE ended_at IS NULL;

CREATE TABLE alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trouble TEXT NOT NULL,
    form INTEGER NOT NULL,
    alert TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    next_try_at INTEGER NOT NULL,
    leased_until INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    maybe_posted INTEGER NOT NULL DEFAULT 0,
    is_held INTEGER NOT NULL DEFAULT 0,
    is_refused INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    why TEXT,
    state INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER
) STRICT;
CREATE INDEX alert_waiting ON alert (trouble, id) WHERE state = 0;
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
    use crate::rows::DestinationId;

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

    #[test]
    fn what_an_older_version_left_unlisted_stays_so() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(V1).unwrap();
        connection
            .execute_batch(
                "PRAGMA application_id = 0x53334243;
                 PRAGMA user_version = 1;
                 INSERT INTO destination VALUES (1, '', 'bucket', 'p');
                 INSERT INTO source VALUES (1, 1, '', '/data');
                 INSERT INTO file (source, path, size, mtime_ns, mode, state, listed, destination, key, crc64nvme,
                     stored_size, etag, encoding, run)
                 VALUES (1, x'61', 1, 2, 3, 0, 1, 1, 'p/a', x'', 1, 'e', 'none', '20261124T114432.000Z-00000001'),
                     (1, x'62', 1, 2, 3, 0, 0, 1, 'p/b', x'', 1, 'e', 'none', '20261124T114432.000Z-00000001');",
            )
            .unwrap();
        assert!(!migrate(&mut connection).unwrap());
        let unlisted = crate::sql::files::unlisted(&connection, DestinationId(1), None, 9).unwrap();
        assert_eq!(unlisted.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["p/b"]);
    }
}
