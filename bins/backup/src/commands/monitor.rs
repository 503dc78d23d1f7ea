//! `backup monitor`: the dead-man's switch.

use std::collections::BTreeSet;

use s3backup_config::Settings;
use s3backup_core::{Error, Finding, Monitor, MonitorBuilder, MonitorReport, Watched, line_of};
use serde_json::{Value, json};

use crate::cli::{self, Common};
use crate::console;
use crate::exit::{Exit, Stop};
use crate::session;

pub(crate) async fn run(common: &Common, arguments: &cli::Monitor) -> Result<Exit, Stop> {
    let settings = match load(common) {
        Ok(settings) => settings,
        Err(stop) => {
            session::alert_blind_monitor(common, &stop).await;
            return Err(stop);
        }
    };
    if settings.len() > 1 && !(arguments.expect.is_empty() && arguments.retire.is_empty()) {
        let message = "the configuration names several destinations; choose with --job whose is meant by --expect and --retire";
        return Err(Stop::usage(message));
    }
    let mut looks = Vec::new();
    for settings in settings {
        looks.push(Box::pin(look(settings, arguments)).await?);
    }
    for look in &looks {
        report(look);
    }
    if common.json {
        console::show(&document(&looks)?)?;
    } else {
        let texts: Vec<String> = looks.iter().filter_map(|look| look.as_ref().ok()).map(text_of).collect();
        console::show(&texts.join("\n"))?;
    }
    Ok(exit(&looks))
}

/// What one look came to; of a bucket that cannot be read its place and why.
type Look = Result<MonitorReport, (String, Error)>;

/// The settings of the chosen job or of all, one for each place that they lead to.
fn load(common: &Common) -> Result<Vec<Settings>, Stop> {
    let mut request = session::request(common);
    request.only_watches = true;
    let loaded = s3backup_config::load_all(&request).map_err(|error| Stop::usage(line_of(&error)))?;
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for loaded in loaded {
        for warning in &loaded.warnings {
            console::say_warning(warning);
        }
        let there = &loaded.settings.destination;
        let server = there.known_as.clone().or_else(|| there.endpoint.clone());
        if seen.insert((server, there.bucket.clone(), there.control_folder())) {
            all.push(loaded.settings);
        }
    }
    Ok(all)
}

async fn look(mut settings: Settings, arguments: &cli::Monitor) -> Result<Look, Stop> {
    let server = session::start_embedded(&mut settings).await?;
    let mut builder = builder(&settings);
    for (job, host) in &arguments.expect {
        builder = builder.expected(job.clone(), host.clone());
    }
    let monitor = builder.build().map_err(|error| Stop::of(&error))?;
    for (job, host) in &arguments.retire {
        monitor.retire(job, host).await.map_err(|error| Stop::of(&error))?;
    }
    let looked = monitor.look().await.map_err(|error| (monitor.place().to_owned(), error));
    if let Some(server) = server {
        server.shutdown().await;
    }
    Ok(looked)
}

fn builder(settings: &Settings) -> MonitorBuilder {
    let mut builder = Monitor::builder()
        .destination(settings.destination.clone())
        .host(settings.host.as_str())
        .http(settings.http)
        .checksum(settings.transfer.checksum)
        .state_dir(&settings.state_dir)
        .logger(session::quiet_log(settings).logger());
    if let Some(slack) = &settings.slack {
        builder = builder.slack(slack.clone());
    }
    if let Some(command) = &settings.alert_command {
        builder = builder.alert_command(command.clone());
    }
    builder
}

/// Nothing is known where a bucket cannot be read, which is worse than anything that is known.
fn exit(looks: &[Look]) -> Exit {
    if looks.iter().any(Result::is_err) {
        Exit::Failed
    } else if looks.iter().flatten().all(MonitorReport::is_well) {
        Exit::Success
    } else {
        Exit::Differs
    }
}

/// What goes to stderr.
fn report(look: &Look) {
    match look {
        Ok(report) => report.warnings.iter().for_each(|warning| console::say_warning(warning)),
        Err((place, error)) => console::say_error(&format!("{place}: {}", line_of(error))),
    }
}

fn document(looks: &[Look]) -> Result<String, Stop> {
    let of_look = |look: &Look| match look {
        Ok(report) => serde_json::to_value(report),
        Err((place, error)) => Ok(json!({ "destination": place, "error": line_of(error) })),
    };
    let destinations: Result<Vec<Value>, _> = looks.iter().map(of_look).collect();
    let destinations = destinations.map_err(|error| Stop::failed(error.to_string()))?;
    Ok(json!({ "schema": 1, "well": exit(looks) == Exit::Success, "destinations": destinations }).to_string())
}

fn text_of(report: &MonitorReport) -> String {
    let mut lines = vec![format!("{} at {}", report.destination, report.at.format("%Y-%m-%d %H:%M UTC"))];
    for watched in &report.watched {
        let name = format!("{} on {}", watched.job, watched.host);
        if watched.is_well() {
            lines.push(line(word_of(watched), &name, &standing(watched)));
        }
        push_findings(&mut lines, &name, &watched.findings);
    }
    push_findings(&mut lines, "the monitor", &report.findings);
    lines.join("\n")
}

fn word_of(watched: &Watched) -> &'static str {
    if watched.is_retired {
        "retired"
    } else if watched.is_running {
        "running"
    } else {
        "ok"
    }
}

fn standing(watched: &Watched) -> String {
    let time = |at: chrono::DateTime<chrono::FixedOffset>| at.format("%Y-%m-%d %H:%M %:z").to_string();
    let success = watched.last_success.map(|at| format!("last success {}", time(at)));
    let next = watched.next_due.map(|at| format!("next due {}", time(at)));
    let silent = watched.silent_until.map(|at| format!("silent until {}", time(at)));
    [success, next, silent, watched.note.clone()].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn push_findings(lines: &mut Vec<String>, name: &str, findings: &[Finding]) {
    for finding in findings {
        let word = finding.kind.as_str().to_uppercase();
        lines.push(line(&word, name, &finding.what));
        lines.push(format!("  {:<14}-> {}", "", finding.mend));
    }
}

fn line(word: &str, name: &str, rest: &str) -> String {
    format!("  {word:<14}{name}: {rest}")
}
