//! Holds one layer against the schema, and collects every problem in it.

use figment::value::{Dict, Value};

use crate::layers::join;
use crate::nearest::nearest;
use crate::say::RATES_EXAMPLE;
use crate::schema::{self, Key, Kind, SETTINGS};
use crate::values;

/// Called with the key's path and what is wrong with it.
pub(crate) type Report<'r> = &'r mut dyn FnMut(&str, String);

/// Checks a table of the top level, or of one job.
pub(crate) fn settings(dict: &Dict, path: &str, report: Report<'_>) {
    table(dict, SETTINGS, path, report);
}

fn table(dict: &Dict, keys: &[Key], path: &str, report: Report<'_>) {
    for (name, found) in dict {
        let path = join(path, name);
        match schema::find(keys, name) {
            Some(key) => value(found, key, &path, report),
            None => report(&path, unknown(&path, name, keys)),
        }
    }
}

/// Checks the value of a key.
pub(crate) fn value(found: &Value, key: &Key, path: &str, report: Report<'_>) {
    match (key.kind, found) {
        (Kind::Table(keys), Value::Dict(_, dict)) => table(dict, keys, path, report),
        (Kind::Table(_), _) => report(path, format!("expected a table: write [{path}] and its keys below")),
        (Kind::Tables(keys), Value::Array(_, items)) => {
            for (i, item) in items.iter().enumerate() {
                let path = format!("{path}[{i}]");
                match item {
                    Value::Dict(_, dict) => table(dict, keys, &path, report),
                    _ => report(&path, format!("expected a table: write [[{}]]", key.name)),
                }
            }
        }
        (Kind::Tables(_), _) => {
            report(path, format!("expected a list of tables: write [[{}]] with two brackets", key.name));
        }
        (Kind::Job, Value::Dict(_, jobs)) => report_jobs(jobs, path, report),
        (Kind::Bandwidth { least }, Value::Dict(_, rates)) => report_rates(rates, least, path, report),
        (kind, _) => {
            if let Err(message) = kind.check(found) {
                report(path, message);
            }
        }
    }
}

/// `[job.NAME]` tables, each of which may hold what the top level may, but no further jobs.
fn report_jobs(jobs: &Dict, path: &str, report: Report<'_>) {
    for (name, job) in jobs {
        let path = join(path, name);
        if let Err(message) = Kind::Name.check(&Value::from(name.as_str())) {
            report(&path, message);
        }
        match job {
            Value::Dict(_, dict) if dict.contains_key("job") => {
                report(
                    &join(&path, "job"),
                    format!("the table's name is the job's name ({name}); leave it out"),
                );
            }
            Value::Dict(_, dict) => settings(dict, &path, report),
            _ => report(&path, "expected either job = \"NAME\" or tables [job.NAME]".to_owned()),
        }
    }
}

/// Rates by the time of day from which each holds.
fn report_rates(rates: &Dict, least: u64, path: &str, report: Report<'_>) {
    if rates.is_empty() {
        report(path, format!("it is an empty table, expected rates by time of day, such as {RATES_EXAMPLE}"));
    }
    for (time, rate) in rates {
        let path = join(path, time);
        if values::time(time).is_none() {
            let message = "not a time of day; write it as \"08:00\", from \"00:00\" to \"23:59\"";
            report(&path, message.to_owned());
        }
        if let Err(message) = (Kind::Rate { least }).check(rate) {
            report(&path, message);
        }
    }
}

/// What to say of a key that there is not.
pub(crate) fn unknown(path: &str, name: &str, keys: &[Key]) -> String {
    let table = path.strip_suffix(name).unwrap_or_default().trim_end_matches('.');
    let plain = name.to_ascii_lowercase().replace('-', "_");
    let is_in = |word: &str| table == word || table.ends_with(&format!(".{word}"));
    if is_in("slack") && matches!(plain.as_str(), "token" | "bot_token" | "slack_token" | "api_token") {
        return "a token does not belong into the configuration; put it into an environment variable or a file, and \
                name that with token_env or token_file"
            .to_owned();
    }
    if is_in("slack") && matches!(plain.as_str(), "webhook" | "webhook_url" | "url") {
        return "a webhook URL is a secret and does not belong into the configuration; put it into an environment \
                variable or a file, and name that with webhook_env or webhook_file"
            .to_owned();
    }
    if is_in("ping") && plain == "url" {
        return "a ping URL is a secret and does not belong into the configuration; put it into an environment variable \
                or a file, and name that with url_env or url_file"
            .to_owned();
    }
    if is_credential(&plain) {
        return "AWS credentials are never read from here; give them the AWS way: AWS_ACCESS_KEY_ID and \
                AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), SSO, or a role of the machine"
            .to_owned();
    }
    if let Some(near) = nearest(name, keys.iter().map(|key| key.name)) {
        return format!("unknown key; did you mean {}?", join(table, near));
    }
    match elsewhere(SETTINGS, name, "") {
        Some(place) => format!("unknown key here; did you mean {place}?"),
        None => format!("unknown key; known here: {}", known(keys)),
    }
}

fn is_credential(name: &str) -> bool {
    let words = ["access_key", "secret_key", "secret_access_key", "session_token", "credential", "password"];
    name == "aws"
        || name == "profile"
        || name.starts_with("aws_")
        || words.iter().any(|word| name.contains(word))
}

fn known(keys: &[Key]) -> String {
    keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
}

/// Where else a key of this name is known, in words.
fn elsewhere(keys: &[Key], name: &str, table: &str) -> Option<String> {
    if schema::find(keys, name).is_some() {
        return Some(match table {
            "" => format!("{name}, at the top of the file before any [table]"),
            _ => format!("{name} in {table}"),
        });
    }
    keys.iter().find_map(|key| match key.kind {
        Kind::Table(inner) => elsewhere(inner, name, &format!("[{}]", key.name)),
        Kind::Tables(inner) => elsewhere(inner, name, &format!("a [[{}]]", key.name)),
        _ => None,
    })
}

/// Whether a key of the schema is named, and what its table and kind are.
pub(crate) fn lookup(segments: &[String]) -> Lookup {
    let mut keys = SETTINGS;
    let mut path = String::new();
    for (i, segment) in segments.iter().enumerate() {
        let rest = segments.get(i + 1..).unwrap_or_default();
        path = join(&path, segment);
        let Some(key) = schema::find(keys, segment) else {
            return if i == 0 { Lookup::Foreign } else { Lookup::Wrong(unknown(&path, segment, keys), path) };
        };
        match (key.kind, rest) {
            (_, []) => return Lookup::Key(key, path),
            (Kind::Table(inner), _) => keys = inner,
            (Kind::Map | Kind::SecretMap, [_]) => return Lookup::Entry,
            (Kind::Tables(_), _) => {
                let message = format!(
                    "set all of them, as a list of tables: BACKUP_{}='[{{ … }}]'",
                    segment.to_uppercase()
                );
                return Lookup::Wrong(message, path);
            }
            (Kind::Job, _) => {
                let message =
                    "settings of the chosen job are set without its name, such as BACKUP_DESTINATION__BUCKET";
                return Lookup::Wrong(message.to_owned(), path);
            }
            _ => return Lookup::Wrong("there is nothing below this key".to_owned(), path),
        }
    }
    Lookup::Foreign
}

/// What [`lookup`] finds.
pub(crate) enum Lookup {
    /// A key, and its path.
    Key(&'static Key, String),
    /// A name that anybody may choose, in a map.
    Entry,
    /// Nothing, although it begins as a key does: what is wrong, and the path.
    Wrong(String, String),
    /// Nothing that looks like one of ours.
    Foreign,
}
