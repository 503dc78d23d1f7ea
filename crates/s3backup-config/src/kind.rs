//! What a value must be: checks one, and reads one from the text of an environment variable.

use chrono_tz::Tz;
use figment::value::{Dict, Tag, Value};
use s3backup_core::options::{Rate, Schedule};
use s3backup_model::Name;

use crate::say::{looks_secret, show_quoted};
use crate::schema::Kind;
use crate::{parse, values};

impl Kind {
    /// Checks a value that is no table of the schema. The message never holds the value if the kind is a secret one.
    pub(crate) fn check(self, value: &Value) -> Result<(), String> {
        let text = value.as_str();
        let fits = match self {
            Self::Text | Self::Path => text.is_some_and(|text| !text.trim().is_empty()),
            Self::MaybeText | Self::Secret => text.is_some(),
            Self::Map | Self::SecretMap => is_map(value),
            Self::Texts => texts(value).is_some(),
            Self::Argv => {
                texts(value).is_some_and(|argv| argv.first().is_some_and(|first| !first.is_empty()))
            }
            Self::Word(words) => text.is_some_and(|text| words.contains(&text)),
            Self::Words(words) => texts(value).is_some_and(|all| all.iter().all(|text| words.contains(text))),
            Self::Duration { zero } => {
                text.and_then(values::duration).is_some_and(|duration| zero || !duration.is_zero())
            }
            Self::Size { auto: true, .. } | Self::Count { auto: true, .. } if text == Some("auto") => true,
            Self::Size { least, most, .. } => {
                values::bytes(value).is_some_and(|size| (least..=most).contains(&size))
            }
            Self::Count { least, most, .. } => {
                values::whole(value).is_some_and(|count| (least..=most).contains(&count))
            }
            Self::Name | Self::Job => return name(value),
            Self::Zone => text.and_then(values::zone).is_some(),
            Self::Truth => matches!(value, Value::Bool(..)),
            Self::Percent => text.and_then(values::percent).is_some(),
            Self::Rate { least } | Self::Bandwidth { least } => {
                text.and_then(values::rate).is_some_and(|rate| is_at_least(rate, least))
            }
            Self::Cron => return cron(self, value),
            Self::Select => text.and_then(values::select).is_some(),
            Self::Bucket => text.is_some_and(is_bucket),
            Self::Endpoint if text.is_some_and(is_embedded) => true,
            Self::Endpoint | Self::Url => return self.check_url(value),
            Self::Variable => text.is_some_and(is_variable),
            Self::SecretPath => text.is_some_and(is_secret_path),
            Self::Only(only, what) => return only_one(value, only, what),
            Self::Table(_) | Self::Tables(_) => false,
        };
        if fits { Ok(()) } else { Err(self.complain(value)) }
    }

    fn check_url(self, value: &Value) -> Result<(), String> {
        let text = value.as_str().unwrap_or_default();
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if authority.contains('@') || (rest.is_none() && text.contains('@')) {
            Err(PASSWORD_IN_URL.to_owned())
        } else if looks_secret(text) {
            Err(SECRET_HERE.to_owned())
        } else if authority.is_empty() || text.contains(char::is_whitespace) {
            Err(self.complain(value))
        } else {
            Ok(())
        }
    }

    /// Reads the text of an environment variable or a flag as this kind wants it. What cannot be read stays a text,
    /// which the check then refuses.
    pub(crate) fn read(self, text: &str) -> Value {
        let as_text = || Value::from(text);
        match self {
            Self::Count { .. } => text.trim().parse::<u64>().map_or_else(|_| as_text(), Value::from),
            Self::Truth => text.trim().parse::<bool>().map_or_else(|_| as_text(), Value::from),
            Self::Texts | Self::Argv | Self::Words(_) | Self::Only("[]", _)
                if !text.trim_start().starts_with('[') =>
            {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(Tag::Default, items.map(Value::from).collect())
            }
            Self::Texts
            | Self::Argv
            | Self::Words(_)
            | Self::Only("[]", _)
            | Self::Map
            | Self::SecretMap
            | Self::Tables(_)
            | Self::Table(_) => parse::inline(text).unwrap_or_else(as_text),
            Self::Bandwidth { .. } if text.trim_start().starts_with('{') => {
                parse::inline(text).unwrap_or_else(as_text)
            }
            _ => as_text(),
        }
    }
}

fn is_at_least(rate: Rate, least: u64) -> bool {
    match rate {
        Rate::Unlimited => true,
        Rate::BytesPerSecond(bytes) => bytes.get() >= least,
    }
}

/// What is said of a feature that the contract names and that does not exist yet.
pub(crate) fn not_built(what: &str) -> String {
    format!("not built yet: {what}; leave it out")
}

pub(crate) fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn is_map(value: &Value) -> bool {
    value.as_dict().is_some_and(|dict: &Dict| dict.values().all(|value| value.as_str().is_some()))
}

fn name(value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some(text) => Name::new(text).map(drop).map_err(|error| error.to_string()),
        None => Err(format!("found {}, expected a name in quotes", show_quoted(value))),
    }
}

/// What is wrong with an expression does not depend on the zone.
fn cron(kind: Kind, value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some(text) if looks_secret(text) => Err(kind.complain(value)),
        Some(text) => Schedule::new(text, Tz::UTC).map(drop).map_err(|error| error.to_string()),
        None => Err(kind.complain(value)),
    }
}

/// Names of access points are ARNs, which have slashes.
fn is_bucket(text: &str) -> bool {
    let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    plain && (text.starts_with("arn:") || !text.contains(['/', ':']))
}

fn is_embedded(text: &str) -> bool {
    text.strip_prefix("embedded:").is_some_and(|dir| !dir.trim().is_empty())
}

const SECRET_HERE: &str = "this looks like a secret; name a variable or a file that holds it with token_env, \
     token_file, webhook_env or webhook_file";

const PASSWORD_IN_URL: &str =
    "a user name or password does not belong into a URL (what was found is not shown)";

/// A token or a URL that was put here by mistake is no such name.
pub(crate) fn is_variable(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_secret_path(text: &str) -> bool {
    !text.trim().is_empty() && !text.starts_with("xox") && !text.contains("://")
}

fn only_one(value: &Value, only: &str, what: &str) -> Result<(), String> {
    let fits =
        value.as_str() == Some(only) || (only == "[]" && value.as_array().is_some_and(<[Value]>::is_empty));
    if fits {
        return Ok(());
    }
    let possible = if only == "[]" { only.to_owned() } else { format!("\"{only}\"") };
    Err(format!("{}, or write {possible}", not_built(what)))
}
