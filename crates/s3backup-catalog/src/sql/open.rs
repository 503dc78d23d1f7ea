//! Connections and how they are set.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Trouble, schema};

/// How long a writer waits for another process to end its own transaction. Batches take milliseconds; only `status` that
/// brings an old catalog up to date takes longer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Memory for pages of the catalog.
const CACHE_KIB: i64 = 8 * 1024;

/// Memory for pages of temporary tables, before they go to their file.
const TEMP_CACHE_KIB: i64 = 2 * 1024;

/// To what the write-ahead log is cut back after it had to grow: it is kept rather than made anew each time.
const JOURNAL_LIMIT_BYTES: i64 = 16 * 1024 * 1024;

/// Pages in the write-ahead log, of 4 KiB each, at which they are moved into the catalog: [`JOURNAL_LIMIT_BYTES`] of them.
/// With `SQLite`'s 1,000 the catalog is synced four times as often, and pages that every batch changes are written more often.
const CHECKPOINT_PAGES: i64 = JOURNAL_LIMIT_BYTES / 4096;

/// Statements that are held ready: more than there are.
const PREPARED: usize = 64;

pub(crate) fn open(path: &Path) -> Result<Connection, Trouble> {
    // Without SQLITE_OPEN_URI, so that a path is taken as it is. A connection is used by one thread at a time, so SQLite
    // needs no lock of its own around each call.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection)?;
    // Before anything is written, also to the header: a file that is not ours stays as it is.
    schema::found_version(&connection)?;
    // With a write-ahead log others can read while a run writes, and a commit is one sync. FULL syncs the log at every
    // commit; NORMAL would leave the last commits to be lost with the power. Commits are few, for they are batches, and
    // each must last: a finished object must not be sent again, and an upload must be noted before it is begun.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT_BYTES)?;
    Ok(connection)
}

pub(crate) fn open_temporary() -> Result<Connection, Trouble> {
    // The empty name makes a file that is unlinked at once.
    let connection = Connection::open_with_flags(
        "",
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE,
    )?;
    set_up(&connection)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), Trouble> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    // Temporary tables hold a row for each file that is gone, late or listed, so they must not stay in memory. A page
    // that is mapped would turn an I/O error into a signal.
    connection.pragma_update(None, "temp_store", "FILE")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(Some("temp"), "cache_size", -TEMP_CACHE_KIB)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // A file that somebody else prepared must not make SQLite run what it names, and odd cells are damage.
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "cell_size_check", "ON")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What durability and the bound on memory rest on, as `SQLite` itself says it.
    #[test]
    fn settings_are_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open(&dir.path().join("catalog.db")).unwrap();
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(journal, "wal");
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("temp_store"), 1, "FILE");
        assert_eq!(number("cache_size"), -CACHE_KIB);
        assert_eq!(number("foreign_keys"), 1);
        let connection = open_temporary().unwrap();
        assert_eq!(
            connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).unwrap(),
            0
        );
    }
}
