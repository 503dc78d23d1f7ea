//! The merged values as types, before they mean anything: no path is resolved and no secret is read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;
use serde::Deserialize;

use crate::values;

#[derive(Debug, Deserialize)]
pub(crate) struct Raw {
    pub(crate) job: String,
    pub(crate) host: Option<String>,
    pub(crate) timezone: String,
    pub(crate) state_dir: Option<PathBuf>,
    #[serde(default)]
    pub(crate) step: Vec<RawStep>,
    #[serde(default)]
    pub(crate) source: Vec<RawSource>,
    pub(crate) destination: RawDestination,
    pub(crate) transfer: RawTransfer,
    pub(crate) guard: RawGuard,
    pub(crate) schedule: Option<RawSchedule>,
    pub(crate) prune: Option<RawPrune>,
    pub(crate) slack: Option<RawSlack>,
    pub(crate) alert: Option<RawAlert>,
    pub(crate) metrics: Option<RawMetrics>,
    pub(crate) ping: Option<RawPing>,
    pub(crate) verify: Option<RawVerify>,
    pub(crate) logging: RawLogging,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawStep {
    pub(crate) name: Option<String>,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) cwd: Option<PathBuf>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) pass_env: Vec<String>,
    pub(crate) each: String,
    #[serde(deserialize_with = "values::read_duration")]
    pub(crate) timeout: Duration,
    pub(crate) on_failure: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawSource {
    pub(crate) path: Option<PathBuf>,
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) select: String,
    pub(crate) compare: String,
    #[serde(deserialize_with = "values::read_duration")]
    pub(crate) min_age: Duration,
    pub(crate) symlinks: String,
    pub(crate) prefix: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawDestination {
    pub(crate) bucket: Option<String>,
    pub(crate) prefix: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) storage_class: Option<String>,
    pub(crate) sse: Option<String>,
    pub(crate) kms_key_id: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawTransfer {
    #[serde(deserialize_with = "values::read_auto")]
    pub(crate) concurrency: Option<u64>,
    #[serde(deserialize_with = "values::read_auto")]
    pub(crate) part_size: Option<u64>,
    #[serde(deserialize_with = "values::read_bytes")]
    pub(crate) memory: u64,
    pub(crate) checksum: String,
    #[serde(deserialize_with = "values::read_duration")]
    pub(crate) grace: Duration,
    pub(crate) bandwidth: Value,
    pub(crate) http: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawGuard {
    #[serde(deserialize_with = "values::read_percent")]
    pub(crate) max_changed: u8,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawSchedule {
    pub(crate) cron: Option<String>,
    pub(crate) catch_up: bool,
    #[serde(deserialize_with = "values::read_duration")]
    pub(crate) deadline: Duration,
    #[serde(deserialize_with = "values::read_duration")]
    pub(crate) max_runtime: Duration,
    #[serde(default, deserialize_with = "values::read_maybe_duration")]
    pub(crate) warn_after: Option<Duration>,
    #[serde(deserialize_with = "values::read_duration")]
    pub(crate) jitter: Duration,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawPrune {
    pub(crate) keep_daily: Option<u32>,
    pub(crate) keep_monthly: Option<u32>,
    #[serde(default, deserialize_with = "values::read_maybe_duration")]
    pub(crate) local_after: Option<Duration>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawSlack {
    pub(crate) channel: Option<String>,
    pub(crate) token_env: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) webhook_env: Option<String>,
    pub(crate) webhook_file: Option<PathBuf>,
    pub(crate) api_url: String,
    pub(crate) on: Vec<String>,
    pub(crate) mention: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawMetrics {
    pub(crate) textfile: Option<PathBuf>,
    pub(crate) pushgateway: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawAlert {
    pub(crate) command: Option<Vec<String>>,
    pub(crate) pass_env: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawPing {
    pub(crate) url_env: Option<String>,
    pub(crate) url_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawVerify {
    #[serde(default, deserialize_with = "values::read_maybe_duration")]
    pub(crate) every: Option<Duration>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawLogging {
    pub(crate) dir: PathBuf,
    pub(crate) level: String,
    pub(crate) format: String,
    #[serde(deserialize_with = "values::read_bytes")]
    pub(crate) max_size: u64,
    pub(crate) keep_files: u32,
    pub(crate) keep_days: u32,
}
