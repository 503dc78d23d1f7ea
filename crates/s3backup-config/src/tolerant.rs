//! Reads who is told out of a configuration that cannot be used, so that somebody can be told that it cannot.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format as _, Json, Yaml};
use figment::value::{Dict, Value};
use s3backup_core::options::{AlertCommand, SlackOptions};
use s3backup_core::{FailedStart, Slack};
use s3backup_model::Name;

use crate::layers::{Layer, Merged};
use crate::load::computed;
use crate::parse::{self, Format, Lines};
use crate::raw::{Raw, RawAlert, RawSlack};
use crate::resolve::{Resolver, default_state_dir};
use crate::schema::{self, Key, Kind, OPTIONAL, SETTINGS};
use crate::search::{self, Found};
use crate::settings::Settings;
use crate::{Request, check, environment, slack};

/// The job, the host and who is told of it, from a configuration that [`load`](crate::load) refuses, as far as they can
/// be read: keys that cannot be are passed over, and of a broken file only the broken table is lost.
///
/// `None` if what is left leads to nobody. A file that somebody else could have written is not read here either.
pub fn tolerant_start(request: &Request) -> Option<FailedStart> {
    let read = Tolerant::read(request);
    let tree = Merged::new(read.layers, String::new(), Lines::new(), None).tree;
    let host = text(&tree, "host").unwrap_or_else(|| request.host_name.clone());
    let table = |name| tree.get(name).and_then(Value::as_dict);
    let mut start =
        FailedStart::new(Name::lossy(read.job.as_deref().unwrap_or("backup")), Name::lossy(&host));
    start.slack = table("slack").and_then(|given| options(request, &read.folder, given));
    start.command = table("alert").and_then(|given| command(request, &read.folder, given));
    let state_dir =
        text(&tree, "state_dir").map(|dir| Resolver::new(request, &read.folder).absolute(Path::new(&dir)));
    start.state_dir = state_dir.or_else(|| default_state_dir(request));
    (start.slack.is_some() || start.command.is_some()).then_some(start)
}

fn command(request: &Request, folder: &Path, given: &Dict) -> Option<AlertCommand> {
    let raw: RawAlert = Value::from(valid("alert", given)).deserialize().ok()?;
    Resolver::new(request, folder).alert(raw)
}

/// The settings of a configuration that [`load`](crate::load) refuses, with defaults in place of all that cannot be: good
/// enough to look at what they lead to, and not to back up with.
///
/// `None` if too little is left: no source, no bucket.
pub fn tolerant_settings(request: &Request) -> Option<Settings> {
    let read = Tolerant::read(request);
    let job = read.job.map(|job| Dict::from([("job".to_owned(), Value::from(job))]));
    let layers: Vec<Dict> = std::iter::once(computed(request).dict())
        .chain(read.layers.iter().map(Layer::dict))
        .chain(&job)
        .map(|dict| sieve(dict, SETTINGS))
        .collect();
    // A table that means something by its presence may have lost what it needs; as few of them go as possible.
    let dropped = [&[][..]].into_iter().chain(OPTIONAL.chunks(1)).chain([&OPTIONAL[..]]);
    dropped.into_iter().find_map(|dropped| {
        let layers = layers.iter().cloned().map(|mut dict| {
            dict.retain(|name, _| !dropped.contains(&name.as_str()));
            Layer::new("file", dict)
        });
        let tree = Merged::new(layers.collect(), String::new(), Lines::new(), None).tree;
        let raw: Raw = Value::from(tree).deserialize().ok()?;
        Resolver::new(request, &read.folder).settings(raw)
    })
}

/// Only what is known and holds what it may.
fn sieve(dict: &Dict, keys: &[Key]) -> Dict {
    let kept = |(name, value): (&String, &Value)| {
        let key = schema::find(keys, name)?;
        let value = match (key.kind, value) {
            (Kind::Table(keys), Value::Dict(tag, dict)) => Value::Dict(*tag, sieve(dict, keys)),
            (Kind::Tables(keys), Value::Array(tag, items)) => {
                let items = items.iter().filter_map(|item| Some(Value::from(sieve(item.as_dict()?, keys))));
                Value::Array(*tag, items.collect())
            }
            (_, value) => {
                let mut is_good = true;
                check::value(value, key, name, &mut |_, _| is_good = false);
                is_good.then(|| value.clone())?
            }
        };
        Some((name.clone(), value))
    };
    dict.iter().filter_map(kept).collect()
}

/// What can be read of a configuration.
struct Tolerant {
    job: Option<String>,
    folder: PathBuf,
    /// The file, the job's table in it, the environment.
    layers: Vec<Layer>,
}

impl Tolerant {
    fn read(request: &Request) -> Self {
        let found = search::find(request).ok();
        let mut dict = found.as_ref().map_or_else(Dict::new, read);
        let environment = environment::layers(request, &mut Vec::new(), &mut Vec::new());

        let of_environment = |name: &str| environment.iter().find_map(|layer| text(layer.dict(), name));
        let job = request.job.clone().or_else(|| of_environment("job")).or_else(|| only_job(&dict));
        let mut layers = vec![];
        if let Some(Value::Dict(_, mut jobs)) = dict.remove("job")
            && let Some(Value::Dict(_, of_job)) = job.as_ref().and_then(|job| jobs.remove(job))
        {
            layers.push(Layer::new("file", of_job));
        }
        layers.insert(0, Layer::new("file", dict));
        layers.extend(environment);
        let folder = found.as_ref().map_or(request.current_dir.as_path(), Found::folder).to_owned();
        Self { job, folder, layers }
    }
}

/// All that can be used together; else the bot alone, else the webhook alone; and each without mentions and choices if
/// it is these that cannot be.
fn options(request: &Request, folder: &Path, given: &Dict) -> Option<SlackOptions> {
    let valid = valid("slack", given);
    ["", "webhook_", "token_"].into_iter().find_map(|dropped| {
        let kept = valid.iter().filter(|(name, _)| dropped.is_empty() || !name.starts_with(dropped));
        let kept: Dict = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        let raw: RawSlack = Value::from(kept).deserialize().ok()?;
        let options = slack::resolve(&mut Resolver::new(request, folder), raw)?;
        let alone = SlackOptions::new(options.way.clone());
        [options, alone].into_iter().find(|options| Slack::new(options.clone(), None).is_ok())
    })
}

/// The keys of a table that hold what they may, and defaults for the others.
fn valid(table: &str, given: &Dict) -> Dict {
    let Some(Kind::Table(keys)) = schema::find(SETTINGS, table).map(|key| key.kind) else {
        return Dict::new();
    };
    let value = |key: &Key| {
        let fits = given.get(key.name).filter(|value| key.kind.check(value).is_ok()).cloned();
        fits.or_else(|| key.default.map(|default| key.kind.read(default)))
    };
    keys.iter().filter_map(|key| Some((key.name.to_owned(), value(key)?))).collect()
}

fn text(dict: &Dict, name: &str) -> Option<String> {
    dict.get(name)?.as_str().map(ToOwned::to_owned)
}

/// The job that the file names, or the one table that it has.
fn only_job(dict: &Dict) -> Option<String> {
    match dict.get("job")? {
        Value::String(_, name) => Some(name.clone()),
        Value::Dict(_, jobs) if jobs.len() == 1 => jobs.keys().next().cloned(),
        _ => None,
    }
}

/// What can be read of a file.
fn read(found: &Found) -> Dict {
    let format = Format::of(&found.path);
    if let Ok((dict, _)) = parse::parse(&found.bytes, format) {
        return dict;
    }
    let text = String::from_utf8_lossy(&found.bytes);
    let pieces: Vec<Dict> = match format {
        Format::Toml => {
            let tables = pieces(&text, |line| line.trim_start().starts_with('['));
            tables.iter().map(|table| parse::toml_tolerantly(table)).collect()
        }
        Format::Yaml => {
            let starts = |line: &str| line.starts_with(|c: char| c.is_alphabetic() || c == '"');
            pieces(&text, starts).iter().filter_map(|piece| Yaml::from_str(piece).ok()).collect()
        }
        Format::Json => json_slack(&text).into_iter().collect(),
    };
    let merge = |figment: Figment, piece| figment.merge(Layer::new("file", piece));
    let merged = pieces.into_iter().fold(Figment::new(), merge);
    figment::Provider::data(&merged)
        .ok()
        .and_then(|mut all| all.remove(&figment::Profile::Default))
        .unwrap_or_default()
}

/// Cuts a text before each line that `starts` says yes to.
fn pieces(text: &str, starts: impl Fn(&str) -> bool) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for line in text.lines() {
        if starts(line) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(line);
            piece.push('\n');
        }
    }
    pieces
}

/// The shortest object after `"slack":`.
fn json_slack(text: &str) -> Option<Dict> {
    let (_, after) = text.split_once("\"slack\"")?;
    let object = after.trim_start().strip_prefix(':')?;
    // Each end costs a reading of all before it.
    let ends = object.match_indices('}').map(|(end, _)| end).take(100);
    let slack = ends.into_iter().find_map(|end| Json::from_str::<Value>(object.get(..=end)?).ok())?;
    Some(Dict::from([("slack".to_owned(), slack)]))
}
