//! `backup verify`: the bucket against the manifests.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use s3backup_core::{
    Difference, Differs, Repair, RunId, Verify, VerifyEvent, VerifyOptions, VerifyReport, VerifyScope,
};
use serde_json::json;

use crate::cli::{self, Common};
use crate::commands::ls::moment;
use crate::console;
use crate::exit::{Exit, Stop};
use crate::signals::Interrupts;
use crate::{human, session};

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(2);

pub(crate) async fn run(common: &Common, arguments: &cli::Verify) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let interrupts = Interrupts::listen(opened.settings.grace)?;
    let options = VerifyOptions::default()
        .deep(arguments.deep)
        .repair(arguments.repair)
        .scope(scope(arguments, opened.settings.timezone)?);
    let report = watch(opened.backup.verify(options), common, &interrupts).await?;
    print_report(&report, common)?;
    Ok(exit(&report))
}

fn scope(arguments: &cli::Verify, timezone: Tz) -> Result<VerifyScope, Stop> {
    if let Some(text) = &arguments.run {
        return RunId::parse(text).map(VerifyScope::Run).ok_or_else(|| {
            Stop::usage(format!(
                "--run {text}: it is no run id; `backup history` prints those that there are"
            ))
        });
    }
    if let Some(text) = &arguments.since {
        return beginning(text, timezone).map(VerifyScope::Since).ok_or_else(|| {
            Stop::usage(format!("--since {text}: it is no time; write 2026-11-23 or \"2026-11-23 20:00\""))
        });
    }
    Ok(match arguments.sample {
        Some(count) => {
            let seed = arguments.seed.unwrap_or_else(|| std::process::id().into());
            VerifyScope::Sample { count, seed }
        }
        None => VerifyScope::All,
    })
}

/// A moment as a person writes it; of a day, its beginning.
fn beginning(text: &str, timezone: Tz) -> Option<DateTime<Utc>> {
    match text.parse::<NaiveDate>() {
        Ok(day) => {
            let end_of_the_day_before = moment(&day.pred_opt()?.to_string(), timezone)?;
            Some(end_of_the_day_before + TimeDelta::nanoseconds(1))
        }
        Err(_) => moment(text, timezone),
    }
}

fn exit(report: &VerifyReport) -> Exit {
    if report.interrupted {
        Exit::Interrupted
    } else if report.verified.differ > 0 {
        Exit::Differs
    } else if report.unchecked > 0 {
        Exit::Failed
    } else {
        Exit::Success
    }
}

async fn watch(mut verify: Verify, common: &Common, interrupts: &Interrupts) -> Result<VerifyReport, Stop> {
    let cancel = verify.cancel_token();
    let mut told = Instant::now();
    let slow = tokio::time::sleep(PROGRESS);
    tokio::pin!(slow);
    let mut is_listing = false;
    loop {
        let event = tokio::select! {
            event = verify.next() => event,
            () = interrupts.first(), if !cancel.is_cancelled() => {
                cancel.cancel();
                continue;
            }
            () = &mut slow, if is_listing && !common.quiet => {
                is_listing = false;
                console::say("listing the bucket");
                continue;
            }
        };
        is_listing = matches!(event, Some(VerifyEvent::Listing));
        match event {
            Some(VerifyEvent::Progress { checked, of }) if told.elapsed() >= PROGRESS && !common.quiet => {
                told = Instant::now();
                let (checked, of) = (human::count(checked.files), human::files(of.files));
                console::say(&format!("verified {checked} of {of}"));
            }
            Some(VerifyEvent::Differs(difference)) => {
                console::show(&line(&difference, common.json)?)?;
            }
            Some(VerifyEvent::Unchecked { key, path, message }) => {
                let text = if common.json {
                    json!({ "unchecked": key, "path": path, "message": message }).to_string()
                } else {
                    format!("UNCHECKED   {key}: {message}")
                };
                console::show(&text)?;
            }
            Some(_) => {}
            None => break,
        }
    }
    verify.finish().await.map_err(|error| Stop::of(&error))
}

fn line(difference: &Difference, as_json: bool) -> Result<String, Stop> {
    if as_json {
        return serde_json::to_string(difference).map_err(|error| Stop::failed(error.to_string()));
    }
    let lengths = match (difference.what, &difference.found) {
        (Differs::Size, Some(found)) => {
            format!(" ({} bytes, expected {})", found.size, difference.expected.size)
        }
        _ => String::new(),
    };
    let note = difference.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let repair = match difference.repair {
        Some(Repair::Marked) => " -> the next run sends it again".to_owned(),
        Some(Repair::FileGone) => format!(" -> nothing can mend it: {} is gone too", difference.path),
        None => String::new(),
    };
    let what = difference.what.as_str().to_uppercase();
    Ok(format!("{what:<12} {}{lengths}{note}{repair}", difference.key))
}

fn print_report(report: &VerifyReport, common: &Common) -> Result<(), Stop> {
    if common.json {
        let text = serde_json::to_string(report).map_err(|error| Stop::failed(error.to_string()))?;
        return console::show(&text).map(|_| ());
    }
    for warning in &report.warnings {
        console::say_warning(warning);
    }
    let verified = &report.verified;
    let looked = format!("{} of {}", human::count(verified.objects.files), human::files(report.of.files));
    let mut lines = vec![match (report.interrupted, verified.differ) {
        (true, differ) => format!("interrupted: {looked} verified, {} differ", human::count(differ)),
        (false, 0) if report.of.files == 0 => {
            "nothing to verify: no object of the backup is of these".to_owned()
        }
        (false, 0) if report.unchecked == 0 => format!("{looked} verified: all as it should be"),
        (false, differ) => format!("{looked} verified: {} differ", human::count(differ)),
    }];
    if verified.downloaded.files > 0 {
        let (files, bytes) =
            (human::files(verified.downloaded.files), human::size(verified.downloaded.bytes));
        lines.push(format!("  {files} downloaded and hashed ({bytes})"));
    }
    if let Some(seed) = report.seed {
        lines.push(format!("  chosen at random: --seed {seed} chooses the same again"));
    }
    if report.unchecked > 0 {
        lines.push(format!("  {} could not be checked", human::files(report.unchecked)));
    }
    if report.newer > 0 {
        lines.push(format!("  {} changed while this went on", human::files(report.newer)));
    }
    if report.strangers.files > 0 {
        let named: Vec<&str> = report.strangers_named.iter().map(s3backup_core::Key::as_str).collect();
        lines.push(format!(
            "  {} below the prefix that are not of this backup ({}), such as {}",
            human::files(report.strangers.files),
            human::size(report.strangers.bytes),
            named.join(", ")
        ));
    }
    if let Some(repair) = &report.repair {
        lines.push(format!("  the next `backup run` sends {} again", human::files(repair.marked)));
        if repair.file_gone > 0 {
            lines.push(format!(
                "  {} cannot be mended: gone from the source as well",
                human::files(repair.file_gone)
            ));
        }
    }
    console::show(&lines.join("\n")).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_of_the_job() {
        let beginning = |text| beginning(text, chrono_tz::Asia::Seoul).map(|at| at.to_rfc3339());
        assert_eq!(beginning("2026-11-23").unwrap(), "2026-11-22T15:00:00+00:00");
        assert_eq!(beginning("2026-11-23 20:00").unwrap(), "2026-11-23T11:00:00+00:00");
        assert_eq!(beginning("soon"), None);
    }
}
