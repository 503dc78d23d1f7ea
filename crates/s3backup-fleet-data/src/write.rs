//! Puts a set below a folder.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    ops::ControlFlow,
    path::Path,
    time::SystemTime,
};

use slog::{Logger, debug, info};

use crate::{
    error::Error,
    plan::Plan,
    trip::TripLines,
    truth::{TripTruth, Truth},
};

/// How far the writing is, told after each file.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Files written so far, this one included.
    pub files: u64,
    /// Files that the set has.
    pub files_total: u64,
    /// Bytes written so far.
    pub bytes: u64,
    /// What is in the file that was just written.
    pub trip: &'a TripTruth,
}

pub(crate) fn write(
    plan: &Plan,
    out: &Path,
    overwrite: bool,
    logger: &Logger,
    mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Truth, Error> {
    prepare(out, overwrite)?;
    let files_total = plan.files();
    info!(logger, "writing fleet data"; "out" => %out.display(), "files" => files_total, "seed" => plan.seed);
    let mut truth = plan.empty_truth();
    let mut buffer = Vec::new();
    for index in 0..files_total {
        let lines = TripLines::new(plan, plan.trip(index));
        let trip = write_trip(lines, out, overwrite, &mut buffer)?;
        truth.add(&trip);
        debug!(logger, "trip written"; "path" => &trip.path, "bytes" => trip.bytes);
        let told = progress(Progress {
            files: truth.total.files,
            files_total,
            bytes: truth.total.bytes,
            trip: &trip,
        });
        if told.is_break() {
            return Err(Error::Stopped { path: out.to_owned(), files: truth.total.files });
        }
    }
    info!(logger, "fleet data written"; "files" => truth.total.files, "bytes" => truth.total.bytes);
    Ok(truth)
}

/// Makes sure that `out` is a folder and, unless told otherwise, that nothing is in it.
fn prepare(out: &Path, overwrite: bool) -> Result<(), Error> {
    fs::create_dir_all(out).map_err(Error::io("create", out))?;
    if overwrite {
        return Ok(());
    }
    match fs::read_dir(out).map_err(Error::io("list", out))?.next() {
        None => Ok(()),
        Some(_) => Err(Error::NotEmpty { path: out.to_owned() }),
    }
}

fn write_trip(
    mut lines: TripLines,
    out: &Path,
    overwrite: bool,
    buffer: &mut Vec<u8>,
) -> Result<TripTruth, Error> {
    let path = out.join(lines.path());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    if overwrite {
        remove(&path)?;
    }
    let mut file = File::create_new(&path).map_err(Error::io("create", &path))?;
    buffer.clear();
    while lines.fill(buffer) {
        file.write_all(buffer).map_err(Error::io("write", &path))?;
        buffer.clear();
    }
    let trip = lines.finish();
    file.set_modified(SystemTime::from(trip.ended_at)).map_err(Error::io("set the time of", &path))?;
    Ok(trip)
}

/// An old file is removed rather than truncated: through a link, truncating would destroy what it points to.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Io { action: "replace", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
