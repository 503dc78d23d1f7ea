//! `backup ls`: what is backed up.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use s3backup_core::{At, BackedUp, RunId};

use crate::cli::{self, Common};
use crate::console;
use crate::exit::{Exit, Stop};
use crate::session;

pub(crate) async fn run(common: &Common, arguments: &cli::Ls) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let at = at(&arguments.when, opened.settings.timezone)?;
    let files = opened.backup.files(&at, &arguments.paths).await;
    let mut files = files.map_err(|error| Stop::of(&error))?;
    while let Some(page) = files.next().await.map_err(|error| Stop::of(&error))? {
        for file in page {
            match console::print(&line(&file, common.json)?) {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Exit::Success),
                printed => {
                    printed.map_err(|error| Stop::failed(format!("cannot print the list: {error}")))?;
                }
            }
        }
    }
    match files.unmatched().as_slice() {
        [] => Ok(Exit::Success),
        unmatched => Err(Stop::failed(format!("not in the backup: {}", unmatched.join(", ")))),
    }
}

fn line(file: &BackedUp, as_json: bool) -> Result<String, Stop> {
    if as_json {
        return serde_json::to_string(file).map_err(|error| Stop::failed(error.to_string()));
    }
    Ok(format!("{:>14}  {}  {}", file.size, file.mtime.format("%Y-%m-%d %H:%M:%S"), file.name))
}

/// The state that `--at` and `--run` ask for.
pub(super) fn at(when: &cli::When, timezone: Tz) -> Result<At, Stop> {
    match (&when.at, &when.run) {
        (Some(text), _) => moment(text, timezone).map(At::Time).ok_or_else(|| {
            Stop::usage(format!(
                "--at {text}: it is no time; write 2026-11-23, \"2026-11-23 20:00\" or 2026-11-23T20:00:00+09:00"
            ))
        }),
        (None, Some(text)) => RunId::parse(text).map(At::Run).ok_or_else(|| {
            Stop::usage(format!("--run {text}: it is no run id; `backup history` prints those that there are"))
        }),
        (None, None) => Ok(At::Now),
    }
}

/// A moment as a person writes it. Of a day, its end; of a time that clocks show twice, the later.
pub(super) fn moment(text: &str, timezone: Tz) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let formats = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
    let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let local = if let Some(local) = local {
        local
    } else {
        let next = text.parse::<NaiveDate>().ok()?.succ_opt()?;
        next.and_time(NaiveTime::MIN) - TimeDelta::nanoseconds(1)
    };
    timezone.from_local_datetime(&local).latest().map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_zone_of_the_job() {
        let moment = |text| moment(text, chrono_tz::Asia::Seoul).map(|at| at.to_rfc3339());
        assert_eq!(moment("2026-11-23T20:00:00Z").unwrap(), "2026-11-23T20:00:00+00:00");
        assert_eq!(moment("2026-11-23 20:00").unwrap(), "2026-11-23T11:00:00+00:00");
        assert_eq!(moment("2026-11-23").unwrap(), "2026-11-23T14:59:59.999999999+00:00");
        for bad in ["", "yesterday", "2026-11-32", "2026-11-23 25:00"] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
