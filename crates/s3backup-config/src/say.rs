//! Values and kinds in words.

use chrono_tz::{TZ_VARIANTS, Tz};
use figment::value::Value;

use crate::kind::texts;
use crate::nearest::nearest;
use crate::schema::Kind;

/// The longest text of a value that an error repeats.
const MAX_SHOWN_CHARS: usize = 60;

/// The longest list of texts that an error repeats.
const MAX_SHOWN_ITEMS: usize = 8;

/// Rates by the time of day, as a person writes them.
pub(crate) const RATES_EXAMPLE: &str = "{ \"08:00\" = \"5 MiB/s\", \"20:00\" = \"unlimited\" }";

impl Kind {
    /// Says what was found and what was expected; a value that may be a secret is not shown.
    pub(crate) fn complain(self, value: &Value) -> String {
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
            _ if value.as_str().is_some_and(|text| text.trim().is_empty()) => {
                format!("it is empty, expected {expected}")
            }
            _ => format!("found {}, expected {expected}", show_quoted(value)),
        }
    }

    /// What a value must be, in words.
    fn expected(self) -> String {
        match self {
            Self::Text | Self::MaybeText | Self::Secret => "a text in quotes".to_owned(),
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
            Self::Truth => "true or false".to_owned(),
            Self::Percent => "a share from \"1%\" to \"100%\", or \"off\"".to_owned(),
            Self::Rate { least } => {
                format!("\"unlimited\" or a rate such as \"20 MiB/s\", at least {}/s", iec(least))
            }
            Self::Bandwidth { least } => format!(
                "\"unlimited\", a rate such as \"20 MiB/s\", at least {}/s, or rates by time of day, such as \
                 {RATES_EXAMPLE}",
                iec(least)
            ),
            Self::Cron => "a cron expression in quotes, such as \"0 20 * * *\"".to_owned(),
            Self::Select => {
                "one of \"changed\", \"all\", \"day:yesterday\", \"day:today\", or a day such as \
                             \"day:2026-11-23\""
                    .to_owned()
            }
            Self::Bucket => "the name of a bucket, without s3:// and without a slash".to_owned(),
            Self::Endpoint => "a URL such as \"http://127.0.0.1:9000\", or \"embedded:DIR\"".to_owned(),
            Self::Url => "a URL such as \"https://slack.com/api\"".to_owned(),
            Self::Variable => "the name of an environment variable that holds the secret".to_owned(),
            Self::SecretPath => "the path of a file that holds the secret".to_owned(),
            Self::Only(only, _) => format!("\"{only}\""),
            Self::Table(_) => "a table".to_owned(),
            Self::Tables(_) => "a list of tables".to_owned(),
        }
    }
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
    let (gib, mib) = (1 << 30, 1 << 20);
    if bytes.is_multiple_of(gib) {
        format!("{} GiB", bytes / gib)
    } else if bytes.is_multiple_of(mib) {
        format!("{} MiB", bytes / mib)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

/// Whether a text is a secret of Slack, whatever key it was put under by mistake.
pub(crate) fn looks_secret(text: &str) -> bool {
    ["xoxb-", "xoxp-", "xapp-", "hooks.slack.com/"].iter().any(|sign| text.contains(sign))
}

/// A value in an error: long ones are cut.
pub(crate) fn show_quoted(value: &Value) -> String {
    match value {
        Value::String(_, text) if looks_secret(text) => "what looks like a secret".to_owned(),
        Value::String(_, text) if text.chars().count() > MAX_SHOWN_CHARS => {
            format!("{:?}…", text.chars().take(MAX_SHOWN_CHARS).collect::<String>())
        }
        Value::String(_, text) => format!("{text:?}"),
        Value::Num(..) => format!("the number {}", show(value)),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(_, items) if texts(value).is_some() && items.len() <= MAX_SHOWN_ITEMS => show(value),
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
