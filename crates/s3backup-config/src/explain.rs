//! Every value with its source, for a person who wonders.

use figment::value::{Dict, Value};
use serde::Serialize;

use crate::layers::{self, Merged};
use crate::say::{looks_secret, show};
use crate::schema::{Key, Kind, SETTINGS};

/// One value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explained {
    /// The key, such as `destination.bucket` or `source[0].path`.
    pub key: String,
    /// The value as the file would have it, without quotes around a text; secrets are hidden.
    pub value: String,
    /// `file backup.toml`, `environment BACKUP_DESTINATION__BUCKET`, `flag --log-level` or `default`.
    pub source: String,
}

/// Lists every value that is set or has a default, in the order of the schema.
pub(crate) fn explain(merged: &Merged) -> Vec<Explained> {
    let mut rows = Vec::new();
    table(merged, &merged.tree, SETTINGS, "", &mut rows);
    rows
}

fn table(merged: &Merged, dict: &Dict, keys: &[Key], path: &str, rows: &mut Vec<Explained>) {
    for key in keys {
        if let Some(found) = dict.get(key.name) {
            value(merged, found, key.kind, &layers::join(path, key.name), rows);
        }
    }
}

fn value(merged: &Merged, found: &Value, kind: Kind, path: &str, rows: &mut Vec<Explained>) {
    match (found, kind) {
        (Value::Dict(_, dict), Kind::Table(keys)) => table(merged, dict, keys, path, rows),
        (Value::Array(_, items), Kind::Tables(keys)) => {
            for (i, item) in items.iter().enumerate() {
                if let Value::Dict(_, dict) = item {
                    table(merged, dict, keys, &format!("{path}[{i}]"), rows);
                }
            }
        }
        (Value::Dict(_, dict), Kind::Map | Kind::SecretMap | Kind::Bandwidth { .. }) => {
            let kind = if matches!(kind, Kind::SecretMap) { Kind::Secret } else { Kind::Text };
            for (name, item) in dict {
                value(merged, item, kind, &layers::join(path, name), rows);
            }
        }
        _ => {
            let shown = match (found, kind) {
                (_, Kind::Secret) => "(hidden)".to_owned(),
                (Value::String(_, text), _) if looks_secret(text) => "(hidden)".to_owned(),
                (Value::String(_, text), _) => text.clone(),
                _ => show(found),
            };
            rows.push(Explained {
                key: path.to_owned(),
                value: shown,
                source: merged.source_of(found.tag()),
            });
            if let (Kind::Variable | Kind::SecretPath, Value::String(_, from)) = (kind, found) {
                rows.push(secret(path, kind, from));
            }
        }
    }
}

/// The row of what `token_env` or `token_file` leads to.
fn secret(path: &str, kind: Kind, from: &str) -> Explained {
    let key = path.trim_end_matches("_env").trim_end_matches("_file").to_owned();
    let (value, source) = if matches!(kind, Kind::Variable) {
        (format!("(hidden, from ${from})"), format!("environment {from}"))
    } else {
        (format!("(hidden, from {from})"), format!("file {from}"))
    };
    Explained { key, value, source }
}
