//! All of the SQL, with typed rows in and out.
//!
//! Every record is checked before it is written and after it is read: what must not be stored is refused, and what could
//! not have been stored by this code is damage. Nothing here panics over what a file holds.

pub(crate) mod alerts;
pub(crate) mod due;
pub(crate) mod files;
pub(crate) mod notes;
mod open;
pub(crate) mod places;
pub(crate) mod runs;
mod schema;
pub(crate) mod uploads;
mod values;
pub(crate) mod versions;
pub(crate) mod young;

use std::path::Path;

use rusqlite::{Connection, ErrorCode};
use s3backup_model::Key;

use crate::error::Error;

pub(crate) use open::{open, open_temporary};
pub(crate) use schema::migrate;

/// The first thing that is wrong with the form of the file, if anything is.
pub(crate) fn check(connection: &Connection) -> Result<Option<String>, Trouble> {
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

/// What went wrong, before it is said of which file.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// `SQLite` says so.
    Sqlite(rusqlite::Error),
    /// The file holds what this code never writes.
    Damage(String),
    /// A record that must not be written.
    Refused(String),
    /// The schema is of a newer version.
    Newer(i64),
    KeyTaken(Key),
    NoUpload(Key),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Trouble {
    /// The error for callers, about the catalog at `path`.
    pub(crate) fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Sqlite(cause) => match cause.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => {
                    let detail = "it is not a database".to_owned();
                    Error::Corrupt { path, detail, cause: Some(Box::new(cause)) }
                }
                Some(ErrorCode::DatabaseCorrupt) => {
                    let detail = "the database is damaged".to_owned();
                    Error::Corrupt { path, detail, cause: Some(Box::new(cause)) }
                }
                Some(ErrorCode::DatabaseBusy) => Error::Busy { path },
                _ if is_odd_value(&cause) => {
                    let detail = "a row holds what does not belong there".to_owned();
                    Error::Corrupt { path, detail, cause: Some(Box::new(cause)) }
                }
                _ => Error::Sqlite { path, cause: Box::new(cause) },
            },
            Self::Damage(detail) => Error::Corrupt { path, detail, cause: None },
            Self::Refused(reason) => Error::Refused { reason },
            Self::Newer(found) => Error::Newer { path, found, known: schema::VERSION },
            Self::KeyTaken(key) => Error::KeyTaken { key },
            Self::NoUpload(key) => Error::NoUpload { key },
        }
    }
}

/// Whether a column held another type of value than this code puts there.
fn is_odd_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        error,
        E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::Utf8Error(..)
            | E::InvalidColumnType(..)
    )
}

/// A limit of a page as `SQLite` takes it.
fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
