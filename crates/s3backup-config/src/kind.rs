//! What a value must be: checks one, reads one from the text of an environment variable, and shows one.

use chrono_tz::{TZ_VARIANTS, Tz};
use figment::value::{Dict, Tag, Value};
use s3backup_model::Name;

use crate::nearest::nearest;
use crate::schema::Kind;
use crate::{parse, values};

/// The longest text of a value that an error repeats.
const MAX_SHOWN_CHARS: usize = 60;

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
            Self::Select => return select(value),
            Self::Bucket => text.is_some_and(is_bucket),
            Self::Endpoint if text.is_some_and(is_embedded) => true,
            Self::Endpoint | Self::Url => return self.check_url(value),
            Self::Variable => text.is_some_and(is_variable),
            Self::SecretPath => text.is_some_and(is_secret_path),
            Self::Only(only, what) => return only_one(value, only, what),
            Self::NotBuilt(what) => return Err(not_built(what)),
            Self::Table(_) | Self::Tables(_) => false,
        };
        if fits { Ok(()) } else { Err(self.complain(value)) }
    }

    fn check_url(self, value: &Value) -> Result<(), String> {
        let text = value.as_str().unwrap_or_default();
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if text.contains('@') {
            Err(PASSWORD_IN_URL.to_owned())
        } else if looks_secret(text) {
            Err("this looks like a secret; name a variable or a file that holds it with token_env, token_file, webhook_env or webhook_file".to_owned())
        } else if authority.is_empty() || text.contains(char::is_whitespace) {
            Err(self.complain(value))
        } else {
            Ok(())
        }
    }

    fn complain(self, value: &Value) -> String {
        let expected = self.expected();
        match self {
            // What a person puts here by mistake is often the secret itself; programs get passwords as arguments.
            Self::Variable | Self::SecretPath | Self::Secret | Self::SecretMap | Self::Argv => {
                format!("expected {expected}; what was found is not shown, as it may hold a secret")
            }
            Self::Zone => format!("found {}, expected {expected}{}", show_quoted(value), near_zone(value)),
            Self::Word(words) => {
                let near = value.as_str().and_then(|text| nearest(text, words.iter().copied()));
                let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
                format!("found {}, expected {expected}{hint}", show_quoted(value))
            }
            _ => format!("found {}, expected {expected}", show_quoted(value)),
        }
    }

    /// What a value must be, in words.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text | Self::Secret => "a text that is not empty, in quotes".to_owned(),
            Self::MaybeText => "a text in quotes".to_owned(),
            Self::Path => "a path in quotes".to_owned(),
            Self::Name | Self::Job => "a name".to_owned(),
            Self::Zone => "a time zone such as \"Asia/Seoul\"".to_owned(),
            Self::Duration { zero: true } => "a duration such as \"2m\" or \"1h 30m\"".to_owned(),
            Self::Duration { zero: false } => {
                "a duration above zero, such as \"2m\" or \"1h 30m\"".to_owned()
            }
            Self::Size { least, most, auto } => {
                let most =
                    if most == u64::MAX { String::new() } else { format!(" and at most {}", iec(most)) };
                let least = if least == 0 { String::new() } else { format!(", at least {}", iec(least)) };
                format!("{}a size such as \"64 MiB\"{least}{most}", if auto { "\"auto\" or " } else { "" })
            }
            Self::Count { least, most, auto } => {
                format!("{}a whole number from {least} to {most}", if auto { "\"auto\" or " } else { "" })
            }
            Self::Word(words) => format!("one of {}", quoted(words)),
            Self::Words(words) => format!("a list of some of {}", quoted(words)),
            Self::Texts => "a list of texts, such as [\"a\", \"b\"]".to_owned(),
            Self::Argv => {
                "a list of the program and its arguments, such as [\"python3\", \"x.py\"]".to_owned()
            }
            Self::Map | Self::SecretMap => "a table of texts, such as { name = \"value\" }".to_owned(),
            Self::Select => {
                "one of \"all\", \"day:yesterday\", \"day:today\", or a day such as \"day:2026-11-23\""
                    .to_owned()
            }
            Self::Bucket => "the name of a bucket, without s3:// and without a slash".to_owned(),
            Self::Endpoint => "a URL such as \"http://127.0.0.1:9000\", or \"embedded:DIR\"".to_owned(),
            Self::Url => "a URL such as \"https://slack.com/api\"".to_owned(),
            Self::Variable => "the name of an environment variable that holds the secret".to_owned(),
            Self::SecretPath => "the path of a file that holds the secret".to_owned(),
            Self::Only(only, _) => format!("\"{only}\""),
            Self::NotBuilt(_) => "nothing".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Tables(_) => "a list of tables".to_owned(),
        }
    }

    /// Reads the text of an environment variable or a flag as this kind wants it. What cannot be read stays a text,
    /// which the check then refuses.
    pub(crate) fn read(self, text: &str) -> Value {
        let as_text = || Value::from(text);
        match self {
            Self::Count { .. } => text.trim().parse::<u64>().map_or_else(|_| as_text(), Value::from),
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
            _ => as_text(),
        }
    }
}

/// What is said of a feature that the contract names and that does not exist yet.
pub(crate) fn not_built(what: &str) -> String {
    format!("not built yet: {what}; leave it out")
}

fn texts(value: &Value) -> Option<Vec<&str>> {
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

fn select(value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some("changed") => {
            Err(not_built("sending only what changed; \"all\" (the default) sends every file of the source"))
        }
        Some(text) if values::select(text).is_some() => Ok(()),
        _ => Err(Kind::Select.complain(value)),
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

/// A zone is known by its city, too; three letters are like too many others.
fn near_zone(value: &Value) -> String {
    let Some(text) = value.as_str().filter(|text| text.len() > 3) else { return String::new() };
    let names = || TZ_VARIANTS.iter().map(|zone: &Tz| zone.name());
    let city = |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text));
    let near = names().find(city).or_else(|| nearest(text, names()));
    near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"))
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

fn iec(bytes: u64) -> String {
    let gib = 1 << 30;
    if bytes.is_multiple_of(gib) { format!("{} GiB", bytes / gib) } else { format!("{} MiB", bytes >> 20) }
}

/// Whether a text is a secret of Slack, whatever key it was put under by mistake.
pub(crate) fn looks_secret(text: &str) -> bool {
    ["xoxb-", "xoxp-", "xapp-", "hooks.slack.com/"].iter().any(|sign| text.contains(sign))
}

/// A value in an error: long ones are cut.
fn show_quoted(value: &Value) -> String {
    match value {
        Value::String(_, text) if looks_secret(text) => "what looks like a secret".to_owned(),
        Value::String(_, text) if text.chars().count() > MAX_SHOWN_CHARS => {
            format!("{:?}…", text.chars().take(MAX_SHOWN_CHARS).collect::<String>())
        }
        Value::String(_, text) => format!("{text:?}"),
        Value::Num(..) => format!("the number {}", show(value)),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(_, items) if texts(value).is_some() && items.len() <= 8 => show(value),
        Value::Array(..) => "a list".to_owned(),
        _ => "nothing".to_owned(),
    }
}

/// A value as a TOML file would have it.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, c) => format!("{:?}", c.to_string()),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128_lossy(), number.to_f64()) {
            (Some(number), _, _) => number.to_string(),
            (_, _, Some(number)) => number.to_string(),
            (_, number, _) => number.unwrap_or_default().to_string(),
        },
        Value::Empty(..) => "null".to_owned(),
        Value::Dict(_, dict) => {
            let items: Vec<_> =
                dict.iter().map(|(name, value)| format!("{name} = {}", show(value))).collect();
            format!("{{ {} }}", items.join(", "))
        }
        Value::Array(_, items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
    }
}
