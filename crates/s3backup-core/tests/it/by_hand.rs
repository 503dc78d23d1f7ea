//! A sharded run planned by hand: the lists of its shards and the plan, as they lie in the bucket.

use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use s3backup_model::manifest::Header;
use s3backup_model::{Key, PlannedShard, RunId, RunReport, ShardLine, ShardList, ShardPlan, Tally};
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::crc64nvme_base64;
use serde_json::json;

/// Where it lies, of the job `telemetry` of `gw-1` with the prefix `trips`.
const CONTROL: &str = "trips/.s3backup/telemetry/gw-1";

/// A plan that is not stored yet.
pub(crate) struct ByHand {
    pub(crate) run: RunId,
    pub(crate) bucket: String,
    pub(crate) prefixes: Vec<String>,
    pub(crate) expires_at: DateTime<FixedOffset>,
    pub(crate) shards: Vec<Vec<ShardLine>>,
}

impl ByHand {
    /// Of these shards, with one source.
    pub(crate) fn of(bucket: &str, shards: Vec<Vec<ShardLine>>) -> Self {
        let now = Utc::now();
        let expires_at = (now + TimeDelta::hours(10)).fixed_offset();
        Self {
            run: RunId::new(now, 7),
            bucket: bucket.to_owned(),
            prefixes: vec![String::new()],
            expires_at,
            shards,
        }
    }

    /// The name of a shard.
    pub(crate) fn uri(&self, shard: u32) -> String {
        format!("s3://{}/{CONTROL}/plans/{}/{shard}", self.bucket, self.run)
    }

    /// The key of a piece of the plan.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{CONTROL}/plans/{}/{name}", self.run)
    }

    /// Stores the lists, each shard in one, then the plan.
    pub(crate) async fn store(&self, client: &Client) {
        let mut shards = Vec::new();
        for (number, lines) in self.shards.iter().enumerate() {
            let bytes = list(&self.run, lines);
            let list = ShardList { lines: lines.len() as u64, crc64nvme: crc64nvme_base64(&bytes) };
            let files = Tally { files: list.lines, bytes: lines.iter().map(|line| line.size).sum() };
            self.put(client, &self.key(&format!("{number}/0.jsonl.zst")), bytes).await;
            shards.push(PlannedShard { files, lists: vec![list] });
        }
        let plan = ShardPlan {
            schema: 1,
            min_reader: 1,
            prefixes: self.prefixes.clone(),
            expires_at: self.expires_at,
            shards,
            report: self.report(),
        };
        self.put(client, &self.key("plan.json"), serde_json::to_vec(&plan).unwrap()).await;
    }

    /// Ends the run, whoever still works on it.
    pub(crate) async fn end(&self, client: &Client) {
        let key = format!("{CONTROL}/runs/{}.json", self.run);
        self.put(client, &key, serde_json::to_vec(&self.report()).unwrap()).await;
    }

    fn report(&self) -> RunReport {
        let (at, none) = (self.expires_at, json!({ "files": 0, "bytes": 0 }));
        let by_reason =
            json!({ "excluded": 0, "too_young": 0, "special": 0, "symlink": 0, "not_selected": 0 });
        let report = json!({
            "schema": 1, "version": "0", "run_id": self.run, "job": "telemetry", "host": "gw-1",
            "destination": format!("s3://{}/trips", self.bucket), "trigger": "manual", "outcome": "success",
            "started_at": at, "finished_at": at, "found": none, "unchanged": none,
            "uploaded": { "files": 0, "bytes": 0, "wire_bytes": 0 },
            "skipped": { "files": 0, "bytes": 0, "by_reason": by_reason }, "failed": [], "failed_total": 0,
            "retries": 0, "resumed_parts": 0, "duration_s": 0.0, "bytes_per_s": 0, "warnings": [],
        });
        serde_json::from_value(report).unwrap()
    }

    async fn put(&self, client: &Client, key: &str, bytes: Vec<u8>) {
        client.put_object().bucket(&self.bucket).key(key).body(bytes.into()).send().await.unwrap();
    }
}

/// A list, as bytes.
pub(crate) fn list(run: &RunId, lines: &[ShardLine]) -> Vec<u8> {
    let header = Header { schema: 1, min_reader: 1, run_id: run.clone(), segment: 0 };
    let mut text = serde_json::to_string(&header).unwrap();
    for line in lines {
        text = format!("{text}\n{}", serde_json::to_string(line).unwrap());
    }
    zstd::encode_all(format!("{text}\n").as_bytes(), 1).unwrap()
}

/// The line of a file of which nothing is known.
pub(crate) fn line(path: &str, size: u64) -> ShardLine {
    let key = Key::new(format!("trips/{}", path.trim_start_matches('/'))).unwrap();
    ShardLine { source: 0, path: path.to_owned(), size, key, known: None }
}

/// The lines of all files below a directory, in the order of their paths.
pub(crate) fn lines_of(dir: &Path) -> Vec<ShardLine> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    let line_of = |path: &PathBuf| {
        line(path.strip_prefix(dir).unwrap().to_str().unwrap(), path.metadata().unwrap().len())
    };
    found.iter().map(line_of).collect()
}
