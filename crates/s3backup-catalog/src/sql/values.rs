//! Values as columns hold them, and back, with what is checked on the way.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, NaiveDate, Utc};
use rusqlite::Row;
use s3backup_model::manifest::ChecksumType;
use s3backup_model::{DueState, Key, RunId};
use serde::Deserialize as _;
use serde::de::value::{Error as ValueError, StringDeserializer};

use super::Trouble;
use crate::rows::FileState;

type Result<T> = std::result::Result<T, Trouble>;

fn damage<T>(what: &str) -> Result<T> {
    Err(Trouble::Damage(format!("a row has {what}")))
}

/// A number of bytes, to be written.
pub(super) fn bytes_in(bytes: u64, what: &str) -> Result<i64> {
    i64::try_from(bytes)
        .map_err(|_| Trouble::Refused(format!("{what} of {bytes} bytes is more than a file can have")))
}

/// A number of bytes that was read.
pub(super) fn bytes_out(column: i64) -> Result<u64> {
    u64::try_from(column).or_else(|_| damage("a size below zero"))
}

/// `st_mode` that was read.
pub(super) fn mode_out(column: i64) -> Result<u32> {
    u32::try_from(column).or_else(|_| damage("a mode that is none"))
}

/// A path, to be written: with zero bytes for `/`, so that the order of BLOBs is the order of a walk.
pub(super) fn path_in(path: &[u8]) -> Result<Vec<u8>> {
    if path.is_empty() {
        return Err(Trouble::Refused("its path is empty".to_owned()));
    }
    if path.contains(&0) {
        return Err(Trouble::Refused("its path has a zero byte".to_owned()));
    }
    Ok(swapped(path.to_vec(), b'/', 0))
}

/// A path that was read.
pub(super) fn path_out(column: &[u8]) -> Result<Vec<u8>> {
    if column.is_empty() || column.contains(&b'/') {
        return damage("a path that is none");
    }
    Ok(swapped(column.to_vec(), 0, b'/'))
}

fn swapped(mut path: Vec<u8>, from: u8, to: u8) -> Vec<u8> {
    for byte in &mut path {
        *byte = if *byte == from { to } else { *byte };
    }
    path
}

pub(super) fn key_out(column: String) -> Result<Key> {
    Key::new(column).or_else(|error| damage(&format!("a key that is none: {error}")))
}

pub(super) fn run_out(column: String) -> Result<RunId> {
    let text: StringDeserializer<ValueError> = serde::de::IntoDeserializer::into_deserializer(column);
    RunId::deserialize(text).or_else(|_| damage("a run that is none"))
}

/// CRC64NVME in base64, to be written: its 8 bytes, or none.
pub(super) fn crc_in(base64: &str) -> Result<Vec<u8>> {
    match BASE64_STANDARD.decode(base64) {
        Ok(bytes) if matches!(bytes.len(), 0 | 8) => Ok(bytes),
        _ => Err(Trouble::Refused(format!("{base64:?} is no CRC64NVME in base64"))),
    }
}

pub(super) fn crc_out(column: &[u8]) -> Result<String> {
    match column.len() {
        0 | 8 => Ok(BASE64_STANDARD.encode(column)),
        _ => damage("a CRC64NVME that is none"),
    }
}

/// The numbers stand in queries and in the index of the schema, and never change their meaning.
pub(super) fn state_in(state: FileState) -> i64 {
    match state {
        FileState::Present => 0,
        FileState::Doubtful => 1,
        FileState::Gone => 2,
        FileState::LocallyPruned => 3,
    }
}

pub(super) fn state_out(column: i64) -> Result<FileState> {
    match column {
        0 => Ok(FileState::Present),
        1 => Ok(FileState::Doubtful),
        2 => Ok(FileState::Gone),
        3 => Ok(FileState::LocallyPruned),
        _ => damage("a state that is none"),
    }
}

/// The numbers stand in an index of the schema, and never change their meaning.
pub(super) fn due_state_in(state: DueState) -> i64 {
    match state {
        DueState::Met => 0,
        DueState::CaughtUp => 1,
        DueState::Missed => 2,
        DueState::Partial => 3,
    }
}

pub(super) fn due_state_out(column: i64) -> Result<DueState> {
    match column {
        0 => Ok(DueState::Met),
        1 => Ok(DueState::CaughtUp),
        2 => Ok(DueState::Missed),
        3 => Ok(DueState::Partial),
        _ => damage("a state of a due time that is none"),
    }
}

pub(super) fn checksum_type_in(of: ChecksumType) -> i64 {
    match of {
        ChecksumType::FullObject => 0,
        ChecksumType::Composite => 1,
    }
}

pub(super) fn checksum_type_out(column: i64) -> Result<ChecksumType> {
    match column {
        0 => Ok(ChecksumType::FullObject),
        1 => Ok(ChecksumType::Composite),
        _ => damage("a type of checksum that is none"),
    }
}

pub(super) fn time_in(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

pub(super) fn time_out(column: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(column).map_or_else(|| damage("a time that is none"), Ok)
}

pub(super) fn date_out(column: &str) -> Result<NaiveDate> {
    column.parse().or_else(|_| damage("a date that is none"))
}

/// The values that stand together or not at all, such as those of an upload that was begun.
pub(super) fn all_or_none<T>(values: Option<T>, any: bool) -> Result<Option<T>> {
    if values.is_none() && any { damage("a half of what belongs together") } else { Ok(values) }
}

/// All rows of a query, each made by `make`.
pub(super) fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    make: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(make(row)?);
    }
    Ok(all)
}

/// The one row of a query, if there is one.
pub(super) fn first<T>(
    mut rows: rusqlite::Rows<'_>,
    make: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    rows.next()?.map(make).transpose()
}
