//! Removes log files by the date in their names.

use std::fs;
use std::io;

use chrono::{Days, NaiveDate};

use crate::names::FileNames;
use crate::rolling::{Trouble, trouble};

/// Removes the files with these names whose date is more than `keep_days` before `today`; with 0
/// none. A file that is in use elsewhere stays until the next day and is complained about.
pub(crate) fn remove_old(
    names: &FileNames,
    keep_days: u32,
    today: NaiveDate,
    complain: &mut dyn FnMut(&Trouble),
) {
    let oldest = today.checked_sub_days(Days::new(keep_days.into()));
    let Some(oldest) = oldest.filter(|_| keep_days > 0) else { return };
    let listing = match fs::read_dir(names.dir()) {
        Ok(listing) => listing,
        Err(error) => return complain(&trouble("listed", names.dir())(error)),
    };
    for entry in listing.flatten() {
        let date = entry.file_name().to_str().and_then(|name| names.date_of(name));
        let is_old_log = date.is_some_and(|date| date < oldest)
            && entry.file_type().is_ok_and(|file_type| file_type.is_file());
        if !is_old_log {
            continue;
        }
        match fs::remove_file(entry.path()) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => complain(&trouble("removed", &entry.path())(error)),
            Ok(()) => {}
        }
    }
}
