//! Opens a regular file and nothing else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::record::Fault;
use crate::aside::Rule;

/// A regular file, open, of no more than the most bytes.
pub(super) struct Source {
    pub(super) file: File,
    pub(super) size_bytes: u64,
}

/// Never waits for the other end of a FIFO, and never reads a device.
pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Source, Fault> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| refused(&error))?;
    let metadata = file.metadata().map_err(|error| refused(&error))?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "a FIFO, a socket or a device" };
        return Err(Fault {
            rule: Rule::Unreadable,
            detail: format!("is {what} and no file: move it away from the trips"),
        });
    }
    match metadata.len() {
        0 => Err(Fault { rule: Rule::Empty, detail: "has no bytes".to_owned() }),
        size if size > max_bytes => Err(too_large(size, max_bytes)),
        size_bytes => Ok(Source { file, size_bytes }),
    }
}

fn refused(error: &io::Error) -> Fault {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => {
            "it was there when the trips were listed; if it has come back, run this again"
        }
        io::ErrorKind::PermissionDenied => "let the user that runs this read it, then run this again",
        _ => "look at the file and its disk, then run this again",
    };
    Fault { rule: Rule::Unreadable, detail: format!("cannot be opened: {error}; {advice}") }
}

pub(super) fn too_large(size_bytes: u64, max_bytes: u64) -> Fault {
    Fault {
        rule: Rule::TooLong,
        detail: format!(
            "has {size_bytes} bytes, more than {max_bytes}: cut it into trips, or raise `max_file_bytes` in `[read]`"
        ),
    }
}
