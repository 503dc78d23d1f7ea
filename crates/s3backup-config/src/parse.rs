//! From a text in TOML, YAML or JSON to values, and the lines on which they are.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format as _, Json, Yaml};
use figment::value::{Dict, Tag, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::layers::join;

/// Keys by path, with their lines from 1. Only TOML has them.
pub(crate) type Lines = BTreeMap<String, usize>;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    /// By the extension; TOML if there is none that says otherwise.
    pub(crate) fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            _ => Self::Toml,
        }
    }
}

/// A text that is not what its format wants.
pub(crate) struct SyntaxError {
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

/// Reads a whole file.
pub(crate) fn parse(bytes: &[u8], format: Format) -> Result<(Dict, Lines), SyntaxError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        SyntaxError { line: Some(line), message: "not UTF-8; save it as UTF-8".to_owned() }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = match format {
        Format::Toml => return toml(text),
        // Parsed as any value first: the error about one of the wrong type would repeat it, and it may be a secret.
        Format::Yaml => Yaml::from_str::<Value>(text).map_err(|error| foreign("YAML", &error.to_string())),
        Format::Json => Json::from_str::<Value>(text).map_err(|error| foreign("JSON", &error.to_string())),
    }?;
    match value {
        Value::Dict(_, dict) => Ok((dict, Lines::new())),
        Value::Empty(..) => Ok((Dict::new(), Lines::new())),
        _ => Err(SyntaxError { line: None, message: "expected keys and values".to_owned() }),
    }
}

/// What the parsers of YAML and JSON say has the line in it.
fn foreign(format: &str, message: &str) -> SyntaxError {
    SyntaxError { line: None, message: format!("not {format}: {message}") }
}

fn toml(text: &str) -> Result<(Dict, Lines), SyntaxError> {
    // The error's own Display would repeat the line, which may hold a secret.
    let table = DeTable::parse(text).map_err(|error| SyntaxError {
        line: error.span().map(|span| line_of(text, span.start)),
        message: format!("not TOML: {}", error.message().replace('\n', ", ")),
    })?;
    let mut lines = Lines::new();
    let dict = convert_table(text, table.get_ref(), "", &mut lines);
    Ok((dict, lines))
}

/// Reads what can be read of a TOML text.
pub(crate) fn toml_tolerantly(text: &str) -> Dict {
    let (table, _) = DeTable::parse_recoverable(text);
    convert_table(text, table.get_ref(), "", &mut Lines::new())
}

/// Reads a list or a table from the text of an environment variable, in the syntax of TOML or JSON.
pub(crate) fn inline(text: &str) -> Option<Value> {
    let (mut dict, _) = toml(&format!("value = {}", text.trim())).ok().or_else(|| {
        let wrapped = format!("{{\"value\": {text}}}");
        parse(wrapped.as_bytes(), Format::Json).ok()
    })?;
    dict.remove("value")
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn convert_table(text: &str, table: &DeTable<'_>, path: &str, lines: &mut Lines) -> Dict {
    let mut dict = Dict::new();
    for (key, value) in table {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), line_of(text, key.span().start));
        dict.insert(key.get_ref().to_string(), convert(text, value, &path, lines));
    }
    dict
}

fn convert(text: &str, value: &Spanned<DeValue<'_>>, path: &str, lines: &mut Lines) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| Value::from(number.as_str()), Value::from)
        }
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| Value::from(number.as_str()), Value::from)
        }
        DeValue::Boolean(truth) => Value::from(*truth),
        // No key holds a date, but `day:` does within a text; the check says what was expected.
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().enumerate().map(|(i, item)| {
                let path = format!("{path}[{i}]");
                lines.insert(path.clone(), line_of(text, item.span().start));
                convert(text, item, &path, lines)
            });
            Value::Array(Tag::Default, items.collect())
        }
        DeValue::Table(table) => Value::Dict(Tag::Default, convert_table(text, table, path, lines)),
    }
}
