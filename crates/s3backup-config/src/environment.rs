//! Settings from environment variables and from flags: one layer for each, so that each value knows its source.

use figment::value::{Dict, Tag, Value};

use crate::check::{self, Lookup};
use crate::layers::Layer;
use crate::nearest::nearest;
use crate::schema::{Kind, SETTINGS};
use crate::{Problem, Request};

const PREFIX: &str = "BACKUP_";

/// The place of the file, and what this program itself sets for the programs that it starts.
const NOT_SETTINGS: [&str; 4] = ["BACKUP_CONFIG", "BACKUP_RUN_ID", "BACKUP_DAY", "BACKUP_FACTS"];

/// Reads every `BACKUP_…` variable, in the order of their names.
pub(crate) fn layers(
    request: &Request,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Vec<Layer> {
    let mut variables: Vec<_> = request
        .environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str()))
        .collect();
    variables.sort();
    let mut layers = Vec::new();
    for (name, text) in variables {
        let source = format!("environment {name}");
        let rest = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase();
        let segments: Vec<String> = rest.split("__").map(ToOwned::to_owned).collect();
        match check::lookup(&segments) {
            Lookup::Foreign => warnings.push(foreign(name, &rest)),
            found => layers.extend(setting(found, &segments, text, &source, problems)),
        }
    }
    layers
}

/// Reads what the flags say.
pub(crate) fn overrides(request: &Request, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for one in &request.overrides {
        let source = format!("flag {}", one.flag);
        let segments: Vec<String> = one.key.split('.').map(ToOwned::to_owned).collect();
        match check::lookup(&segments) {
            Lookup::Foreign => problems.push(Problem::new(source, &one.key, "unknown key")),
            found => layers.extend(setting(found, &segments, &one.value, &source, problems)),
        }
    }
    layers
}

/// The layer of one setting, if it is one and holds what it may.
fn setting(
    found: Lookup,
    segments: &[String],
    text: &str,
    source: &str,
    problems: &mut Vec<Problem>,
) -> Option<Layer> {
    match found {
        Lookup::Key(key, path) => {
            let value = key.kind.read(text);
            let before = problems.len();
            check::value(&value, key, &path, &mut |path, message| {
                problems.push(Problem::new(source, path, message));
            });
            (problems.len() == before).then(|| Layer::new(source, nest(segments, value)))
        }
        Lookup::Entry => Some(Layer::new(source, nest(segments, Value::from(text)))),
        Lookup::Wrong(message, path) => {
            problems.push(Problem::new(source, path, message));
            None
        }
        Lookup::Foreign => None,
    }
}

fn nest(segments: &[String], value: Value) -> Dict {
    let mut dict = Dict::new();
    if let [first, rest @ ..] = segments {
        let inner = if rest.is_empty() { value } else { Value::Dict(Tag::Default, nest(rest, value)) };
        dict.insert(first.clone(), inner);
    }
    dict
}

/// Kubernetes sets such names for a service called `backup`, so they are no error.
fn foreign(name: &str, rest: &str) -> String {
    let all = SETTINGS.iter().flat_map(|key| match key.kind {
        Kind::Table(inner) => inner.iter().map(|inner| format!("{}__{}", key.name, inner.name)).collect(),
        _ => vec![key.name.to_owned()],
    });
    let all: Vec<String> = all.collect();
    let hint = nearest(rest, all.iter().map(String::as_str))
        .map_or(String::new(), |near| format!("; did you mean {PREFIX}{}?", near.to_uppercase()));
    format!("the environment variable {name} is not a setting and was ignored{hint}")
}
