//! Every key that there is: one table, which the check, the defaults, the environment and the listing read.

/// A key of the configuration.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What holds if it is absent, as an environment variable would say it.
    pub(crate) default: Option<&'static str>,
}

/// What a value must be.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A text with something in it.
    Text,
    /// A text that may be empty.
    MaybeText,
    /// A local path.
    Path,
    /// A [`Name`](s3backup_model::Name).
    Name,
    /// The job's name, or tables by name.
    Job,
    /// A time zone.
    Zone,
    /// A duration; one of zero only if it says so.
    Duration { zero: bool },
    /// Bytes, within limits; or `auto`.
    Size { least: u64, most: u64, auto: bool },
    /// A whole number, within limits; or `auto`.
    Count { least: u64, most: u64, auto: bool },
    /// One of some words.
    Word(&'static [&'static str]),
    /// A list of some words.
    Words(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A program and its arguments: a list that is not empty.
    Argv,
    /// Texts by name.
    Map,
    /// The same, where a text may be a secret.
    SecretMap,
    /// Yes or no.
    Truth,
    /// A share from 1% to 100%, or `off`, which is 100%.
    Percent,
    /// A speed, at least so many bytes in a second, or `unlimited`.
    Rate { least: u64 },
    /// The same, or speeds by the time of day.
    Bandwidth { least: u64 },
    /// A cron expression.
    Cron,
    /// Which files of a source to take.
    Select,
    /// A bucket's name.
    Bucket,
    /// The URL of an S3-compatible server, or the embedded one.
    Endpoint,
    /// The URL of an API.
    Url,
    /// The name of an environment variable that holds a secret.
    Variable,
    /// The path of a file that holds a secret.
    SecretPath,
    /// A text that is never shown.
    Secret,
    /// One value until the rest is built: the value, and what the rest is.
    Only(&'static str, &'static str),
    /// A table of keys.
    Table(&'static [Key]),
    /// A list of such tables.
    Tables(&'static [Key]),
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, default: None }
}

const fn with(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { name, kind, default: Some(default) }
}

const MIB: u64 = 1 << 20;

/// The top level, and the level of a `[job.NAME]` table.
pub(crate) const SETTINGS: &[Key] = &[
    with("job", Kind::Job, "backup"),
    key("host", Kind::Name),
    with("timezone", Kind::Zone, "UTC"),
    key("state_dir", Kind::Path),
    key("step", Kind::Tables(STEP)),
    key("source", Kind::Tables(SOURCE)),
    key("destination", Kind::Table(DESTINATION)),
    key("transfer", Kind::Table(TRANSFER)),
    key("guard", Kind::Table(GUARD)),
    key("schedule", Kind::Table(SCHEDULE)),
    key("prune", Kind::Table(PRUNE)),
    key("slack", Kind::Table(SLACK)),
    key("alert", Kind::Table(ALERT)),
    key("metrics", Kind::Table(METRICS)),
    key("logging", Kind::Table(LOGGING)),
    key("verify", Kind::Table(VERIFY)),
    key("ping", Kind::Table(PING)),
];

/// Tables whose presence means something: they have no defaults where nothing names them.
pub(crate) const OPTIONAL: [&str; 7] = ["schedule", "verify", "prune", "slack", "alert", "ping", "metrics"];

const STEP: &[Key] = &[
    key("name", Kind::Text),
    key("command", Kind::Argv),
    key("cwd", Kind::Path),
    key("env", Kind::SecretMap),
    with("pass_env", Kind::Texts, ""),
    with("each", Kind::Word(&["run", "day"]), "run"),
    with("timeout", Kind::Duration { zero: false }, "30m"),
    with("on_failure", Kind::Word(&["abort", "continue"]), "abort"),
];

const SOURCE: &[Key] = &[
    key("path", Kind::Path),
    with("include", Kind::Texts, ""),
    with("exclude", Kind::Texts, ""),
    with("select", Kind::Select, "changed"),
    with("compare", Kind::Word(&["mtime", "checksum"]), "mtime"),
    with("min_age", Kind::Duration { zero: true }, "2m"),
    with("symlinks", Kind::Word(&["skip", "follow"]), "skip"),
    with("prefix", Kind::MaybeText, ""),
];

const DESTINATION: &[Key] = &[
    key("bucket", Kind::Bucket),
    with("prefix", Kind::MaybeText, ""),
    key("region", Kind::Text),
    key("endpoint", Kind::Endpoint),
    key("storage_class", Kind::Text),
    key("sse", Kind::Word(&["AES256", "aws:kms"])),
    key("kms_key_id", Kind::Text),
    key("tags", Kind::Map),
    key("layout", Kind::Only("objects", "bundles")),
];

const TRANSFER: &[Key] = &[
    with("concurrency", Kind::Count { least: 1, most: 1024, auto: true }, "auto"),
    with("part_size", Kind::Size { least: 5 * MIB, most: 5 << 30, auto: true }, "auto"),
    with("memory", Kind::Size { least: 8 * MIB, most: u64::MAX, auto: false }, "64 MiB"),
    with("checksum", Kind::Word(&["crc64nvme", "crc32c", "sha256", "none"]), "crc64nvme"),
    with("grace", Kind::Duration { zero: true }, "3s"),
    // With less, many requests side by side stand still for so long that servers give them up.
    with("bandwidth", Kind::Bandwidth { least: 64 << 10 }, "unlimited"),
    with("http", Kind::Word(&["fast", "sdk"]), "fast"),
    key("compress", Kind::Only("none", "compression")),
    key(
        "encrypt_to",
        Kind::Only("[]", "encryption by this program (`destination.sse` lets the server encrypt)"),
    ),
];

const GUARD: &[Key] = &[with("max_changed", Kind::Percent, "50%")];

const SCHEDULE: &[Key] = &[
    key("cron", Kind::Cron),
    with("catch_up", Kind::Truth, "true"),
    with("deadline", Kind::Duration { zero: false }, "1h"),
    with("max_runtime", Kind::Duration { zero: false }, "10h"),
    with("jitter", Kind::Duration { zero: true }, "0s"),
    key("warn_after", Kind::Duration { zero: false }),
];

const PRUNE: &[Key] = &[
    key("keep_daily", Kind::Count { least: 1, most: 36_500, auto: false }),
    key("keep_monthly", Kind::Count { least: 1, most: 1200, auto: false }),
    key("local_after", Kind::Duration { zero: false }),
];

const VERIFY: &[Key] = &[key("every", Kind::Duration { zero: false })];

const PING: &[Key] = &[key("url_env", Kind::Variable), key("url_file", Kind::SecretPath)];

const SLACK: &[Key] = &[
    key("channel", Kind::Text),
    key("token_env", Kind::Variable),
    key("token_file", Kind::SecretPath),
    key("webhook_env", Kind::Variable),
    key("webhook_file", Kind::SecretPath),
    with("api_url", Kind::Url, "https://slack.com/api"),
    with(
        "on",
        Kind::Words(ALERTS),
        "success,partial,failed,late,long_running,recovered,shrunk,differs,unwatched",
    ),
    with("mention", Kind::Texts, ""),
];

const ALERT: &[Key] = &[key("command", Kind::Argv), with("pass_env", Kind::Texts, "")];

const ALERTS: &[&str] =
    &["success", "partial", "failed", "late", "long_running", "recovered", "shrunk", "differs", "unwatched"];

const METRICS: &[Key] = &[key("textfile", Kind::Path), key("pushgateway", Kind::Url)];

const LOGGING: &[Key] = &[
    with("dir", Kind::Path, "Logs"),
    with("level", Kind::Word(&["error", "warning", "warn", "info", "debug", "trace"]), "info"),
    with("format", Kind::Word(&["text", "json"]), "text"),
    with("max_size", Kind::Size { least: 0, most: u64::MAX, auto: false }, "100 MiB"),
    with("keep_files", Kind::Count { least: 0, most: 1000, auto: false }, "5"),
    with("keep_days", Kind::Count { least: 0, most: 36_500, auto: false }, "30"),
];

/// The key of this name in a table.
pub(crate) fn find<'k>(keys: &'k [Key], name: &str) -> Option<&'k Key> {
    keys.iter().find(|key| key.name == name)
}
