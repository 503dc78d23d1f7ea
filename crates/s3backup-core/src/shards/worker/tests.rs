//! What a worker stores while it goes on, in a rhythm that a test need not wait for.

use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
use s3backup_transfer::aws_sdk_s3::Client;
use s3backup_transfer::aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use tempfile::TempDir;

use super::*;
use crate::backup::Run;
use crate::options::TransferSettings;
use crate::{Backup, Destination, Source};

#[path = "../../../tests/it/by_hand.rs"]
mod by_hand;

use by_hand::{ByHand, lines_of};

const BUCKET: &str = "fleet-backup";
const FILES: usize = 40;

/// Stores after each file.
const EAGER: Rhythm = Rhythm { lines: 1, store: Duration::from_hours(1), look: Duration::from_hours(1) };

struct World {
    server: LocalS3,
    dir: TempDir,
    client: Client,
    plan: ByHand,
}

impl World {
    async fn new() -> Self {
        let server = LocalS3::builder().bucket(BUCKET).start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        for number in 0..FILES {
            std::fs::write(dir.path().join(format!("f{number:02}")), "x").unwrap();
        }
        let identity = Credentials::new(server.access_key(), server.secret_key(), None, None, "test");
        let config =
            Config::builder().behavior_version(BehaviorVersion::latest()).endpoint_url(server.endpoint());
        let config =
            config.region(Region::new("us-east-1")).credentials_provider(identity).force_path_style(true);
        let client = Client::from_conf(config.build());
        let plan = ByHand::of(BUCKET, vec![lines_of(dir.path())]);
        plan.store(&client).await;
        Self { server, dir, client, plan }
    }

    fn start(&self, rhythm: Rhythm) -> Run {
        let backup = backup(&self.server, &self.dir);
        let (job, uri) = (Arc::clone(&backup.job), ShardUri::parse(&self.plan.uri(0)).unwrap());
        backup.spawn(|events, cancel| run(job, uri, rhythm, events, cancel))
    }

    /// After so many files nothing is answered any more.
    fn hang_behind(&self, files: u64) {
        let hangs = Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/f");
        self.server.faults().add(hangs.nth(files + 1));
    }

    async fn keys(&self) -> Vec<String> {
        let reply = self.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        reply.contents().iter().filter_map(|object| object.key().map(ToOwned::to_owned)).collect()
    }

    async fn progress(&self) -> Option<RunReport> {
        let key = self.keys().await.into_iter().find(|key| key.contains("/progress/"))?;
        let reply = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        let bytes = reply.body.collect().await.unwrap().to_vec();
        Some(serde_json::from_slice::<ShardProgress>(&bytes).unwrap().report)
    }
}

/// One file at a time, on a machine that keeps nothing.
fn backup(server: &LocalS3, dir: &TempDir) -> Backup {
    let destination =
        Destination::new(BUCKET).prefix("trips").endpoint(server.endpoint()).region("us-east-1");
    let destination = destination.credentials(server.access_key(), server.secret_key());
    let settings = TransferSettings { concurrency: Some(1), ..TransferSettings::default() };
    let job =
        Backup::builder().job("telemetry").host("gw-1").transfer(settings).grace(Duration::from_millis(300));
    job.source(Source::new(dir.path())).destination(destination).build().unwrap()
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), work).await.expect("it takes for ever")
}

#[tokio::test]
async fn what_a_killed_worker_had_stored_is_not_done_again() {
    let world = World::new().await;
    world.hang_behind(20);
    let killed = world.start(EAGER);
    soon(async {
        while world.progress().await.is_none_or(|report| report.uploaded.files < 20) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(killed);
    world.server.faults().clear();
    let before = world.server.stats().of(Operation::PutObject);
    let report = soon(world.start(Rhythm::default()).finish()).await.unwrap();
    assert_eq!((report.outcome, report.uploaded.files), (Outcome::Success, FILES as u64), "{report:#?}");
    let lines: u64 = report.manifests.iter().map(|segment| segment.lines).sum();
    assert_eq!(lines, FILES as u64);
    // The rest, and its segment, progress and result.
    assert_eq!(world.server.stats().of(Operation::PutObject) - before, 20 + 3);
}

#[tokio::test]
async fn a_worker_that_outlives_its_run_stops_and_writes_nothing() {
    let world = World::new().await;
    world.hang_behind(5);
    let rhythm = Rhythm { lines: 10_000, store: Duration::from_hours(1), look: Duration::from_millis(10) };
    let mut late = world.start(rhythm);
    let mut sent = 0;
    soon(async {
        while sent < 5 {
            sent += u32::from(matches!(late.next().await, Some(Event::Uploaded { .. })));
        }
    })
    .await;
    world.plan.end(&world.client).await;
    let Err(Error::Failed(report)) = soon(late.finish()).await else { panic!("it should have failed") };
    assert!(report.fatal.as_ref().unwrap().message.contains("the run is over"), "{report:#?}");
    assert_eq!(report.manifests, []);
    for key in world.keys().await {
        assert!(!["/manifests/", "/progress/", "/results/"].iter().any(|part| key.contains(part)), "{key}");
    }
}
