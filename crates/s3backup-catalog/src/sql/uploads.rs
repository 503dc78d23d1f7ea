//! Open multipart uploads.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};
use s3backup_model::{FileStat, Key, RunId};

use super::values::{bytes_in, bytes_out, collect, first, key_out, mode_out, run_out, time_in, time_out};
use super::{Trouble, limit};
use crate::rows::{BegunUpload, DestinationId, UploadRow};

/// A statement that gives whole rows for [`upload_row`].
macro_rules! select_upload {
    ($rest:literal) => {
        concat!(
            "SELECT key, run, intended_at, upload_id, part_size, size, mtime_ns, ctime_ns, mode, inode, device, checksum \
             FROM upload ",
            $rest
        )
    };
}

fn upload_row(row: &Row<'_>) -> Result<UploadRow, Trouble> {
    let upload_id: Option<String> = row.get(3)?;
    let begun = upload_id.map(|upload_id| begun_upload(row, upload_id)).transpose()?;
    Ok(UploadRow {
        key: key_out(row.get(0)?)?,
        run: run_out(row.get(1)?)?,
        intended_at: time_out(row.get(2)?)?,
        begun,
    })
}

/// The columns that are all set when the id is; a null among them is damage.
fn begun_upload(row: &Row<'_>, upload_id: String) -> Result<BegunUpload, Trouble> {
    Ok(BegunUpload {
        upload_id,
        part_size: bytes_out(row.get(4)?)?,
        stat: FileStat {
            size: bytes_out(row.get(5)?)?,
            mtime_ns: row.get(6)?,
            ctime_ns: row.get(7)?,
            mode: mode_out(row.get(8)?)?,
            inode: row.get::<_, i64>(9)?.cast_unsigned(),
            device: row.get::<_, i64>(10)?.cast_unsigned(),
        },
        checksum: row.get(11)?,
    })
}

pub(crate) fn intend(
    connection: &Connection,
    destination: DestinationId,
    key: &Key,
    run: &RunId,
    at: DateTime<Utc>,
) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO upload (destination, key, run, intended_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((destination.0, key.as_str(), run.as_str(), time_in(at)))?;
    Ok(())
}

pub(crate) fn began(
    connection: &Connection,
    destination: DestinationId,
    key: &Key,
    upload: &BegunUpload,
) -> Result<(), Trouble> {
    let BegunUpload { upload_id, part_size, stat, checksum } = upload;
    let changed = connection
        .prepare_cached(
            "UPDATE upload SET upload_id = ?3, part_size = ?4, size = ?5, mtime_ns = ?6, ctime_ns = ?7, mode = ?8,
                 inode = ?9, device = ?10, checksum = ?11
             WHERE destination = ?1 AND key = ?2",
        )?
        .execute(params![
            destination.0,
            key.as_str(),
            upload_id,
            bytes_in(*part_size, "a part")?,
            bytes_in(stat.size, "a file")?,
            stat.mtime_ns,
            stat.ctime_ns,
            stat.mode,
            stat.inode.cast_signed(),
            stat.device.cast_signed(),
            checksum,
        ])?;
    some_changed(changed, key)
}

pub(crate) fn touch(
    connection: &Connection,
    destination: DestinationId,
    key: &Key,
    run: &RunId,
) -> Result<(), Trouble> {
    let changed = connection
        .prepare_cached("UPDATE upload SET run = ?3 WHERE destination = ?1 AND key = ?2")?
        .execute((destination.0, key.as_str(), run.as_str()))?;
    some_changed(changed, key)
}

fn some_changed(changed: usize, key: &Key) -> Result<(), Trouble> {
    if changed == 0 { Err(Trouble::NoUpload(key.clone())) } else { Ok(()) }
}

pub(crate) fn one(
    connection: &Connection,
    destination: DestinationId,
    key: &Key,
) -> Result<Option<UploadRow>, Trouble> {
    let mut statement = connection.prepare_cached(select_upload!("WHERE destination = ?1 AND key = ?2"))?;
    first(statement.query((destination.0, key.as_str()))?, upload_row)
}

pub(crate) fn page(
    connection: &Connection,
    destination: DestinationId,
    after: Option<&Key>,
    rows: usize,
) -> Result<Vec<UploadRow>, Trouble> {
    let mut statement = connection
        .prepare_cached(select_upload!("WHERE destination = ?1 AND key > ?2 ORDER BY key LIMIT ?3"))?;
    collect(statement.query((destination.0, after.map_or("", Key::as_str), limit(rows)))?, upload_row)
}

pub(crate) fn ended(connection: &Connection, destination: DestinationId, key: &Key) -> Result<(), Trouble> {
    connection
        .prepare_cached("DELETE FROM upload WHERE destination = ?1 AND key = ?2")?
        .execute((destination.0, key.as_str()))?;
    Ok(())
}
