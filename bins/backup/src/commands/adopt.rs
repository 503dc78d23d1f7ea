//! `backup adopt`: takes over a bucket that another tool filled.

use s3backup_core::{AdoptOptions, AdoptReport, CancellationToken, Tally};

use crate::cli::{self, Common};
use crate::console;
use crate::exit::{Exit, Stop};
use crate::signals::Interrupts;
use crate::{human, session};

/// Keys and failures that the summary names; the JSON document has up to 1,000.
const NAMED: usize = 20;

pub(crate) async fn run(common: &Common, arguments: &cli::Adopt) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let interrupts = Interrupts::listen(opened.settings.grace)?;
    let options =
        AdoptOptions::default().dry_run(arguments.dry_run).replace_different(arguments.replace_different);
    let cancel = CancellationToken::new();
    let adopting = opened.backup.adopt(options, cancel.clone());
    tokio::pin!(adopting);
    let report = loop {
        tokio::select! {
            report = &mut adopting => break report.map_err(|error| Stop::of(&error))?,
            () = interrupts.first(), if !cancel.is_cancelled() => cancel.cancel(),
        }
    };
    let text = if common.json {
        serde_json::to_string(&report).map_err(|error| Stop::failed(error.to_string()))?
    } else {
        text_of(&report, arguments)
    };
    console::show(&text)?;
    Ok(exit(&report))
}

fn exit(report: &AdoptReport) -> Exit {
    if report.interrupted {
        Exit::Interrupted
    } else if report.not_adopted.is_empty() && report.failed.is_empty() {
        Exit::Success
    } else {
        Exit::Partial
    }
}

fn text_of(report: &AdoptReport, arguments: &cli::Adopt) -> String {
    let tally = |tally: Tally| format!("{} ({})", human::files(tally.files), human::size(tally.bytes));
    let mut lines = vec![if arguments.dry_run {
        format!("dry run, nothing was changed: {} would be adopted", tally(report.adopted))
    } else {
        format!("{} adopted", tally(report.adopted))
    }];
    let what_then = if arguments.replace_different {
        "; the next run overwrites them"
    } else {
        "; the next run leaves them alone, unless --replace-different was given here"
    };
    for (count, name, what) in [
        (report.known, "known already", ""),
        (report.different, "different in the bucket", what_then),
        (report.unprovable, "not to be proved the same", what_then),
        (report.only_local, "only here", "; the next run sends them"),
        (report.only_in_bucket, "only in the bucket", ""),
    ] {
        if count.files > 0 {
            lines.push(format!("  {name}: {}{what}", tally(count)));
        }
    }
    if report.skipped.files > 0 {
        let by = &report.skipped.by_reason;
        lines.push(format!(
            "  left out, as a run does: {}, {} of them too young",
            human::files(report.skipped.files),
            human::count(by.too_young)
        ));
    }
    lines.extend(report.not_adopted.iter().take(NAMED).map(|key| format!("    {key}")));
    lines.extend(report.failed.iter().take(NAMED).map(|why| format!("  not compared: {why}")));
    lines.join("\n")
}
