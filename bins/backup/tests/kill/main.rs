//! The built binary is killed again and again at any point of its work, on a source that changes and a server that
//! misbehaves, and the bucket must be right all the time.
//!
//! `BACKUP_KILL_ROUNDS` and `BACKUP_KILL_SEED` in the environment make it longer, or another; the same seed repeats a
//! failure as far as the timing of processes lets it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold in the shortest way")]

mod bucket;
mod tap;
mod tree;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::bucket::Bucket;
use crate::tap::{Round, Tap, When};
use crate::tree::Tree;

const BUCKET: &str = "fleet";
const PREFIX: &str = "trips/";
const JOB: &str = "telemetry";
const HOST: &str = "gw-1";
const CONCURRENCY: usize = 4;

/// In continuous integration; by hand some hundreds are worth their time.
const ROUNDS: u64 = 40;
const SEED: u64 = 20;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

struct World {
    folder: tempfile::TempDir,
    server: LocalS3,
    tap: Tap,
}

impl World {
    fn new(runtime: &Runtime) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = LocalS3::builder().dir(folder.path().join("s3")).bucket(BUCKET).start();
        let server = runtime.block_on(server).unwrap();
        let address: SocketAddr = server.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        let tap = Tap::start(address);
        let text = format!(
            "job = \"{JOB}\"\nhost = \"{HOST}\"\nstate_dir = \"state\"\n\n[[source]]\npath = \"data\"\nmin_age = \"0s\"\n\n\
             [destination]\nbucket = \"{BUCKET}\"\nprefix = \"trips\"\nregion = \"us-east-1\"\nendpoint = \"http://{}\"\n\n\
             [transfer]\nconcurrency = {CONCURRENCY}\npart_size = \"5 MiB\"\nmemory = \"20 MiB\"\n\n[guard]\nmax_changed = \"100%\"\n",
            tap.address
        );
        std::fs::write(folder.path().join("backup.toml"), text).unwrap();
        Self { folder, server, tap }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("AWS_ACCESS_KEY_ID", self.server.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.server.secret_key())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the backup and kills it at that point, if it gets so far.
    fn run(&self, kill: Option<When>) -> Output {
        let child = self.command(&["run", "--json"]).spawn().unwrap();
        if let Some(when) = kill {
            // A handle of this process, so that no other of the same number is hit when it has ended by itself.
            let pid = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
            self.tap.when(when, move || {
                let _ = pidfd_send_signal(&pid, Signal::KILL);
            });
        }
        child.wait_with_output().unwrap()
    }
}

/// What has to be said when something does not hold.
fn shown(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn outcome(output: &Output) -> String {
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", shown(output)));
    report["outcome"].as_str().unwrap().to_owned()
}

/// Bytes that had to be sent, and those that may be sent in vain.
#[derive(Debug, Default)]
struct Account {
    /// Bodies of PUTs of files and of parts, as far as they arrived.
    received: u64,
    /// What is new in the bucket.
    needed: u64,
    /// Of requests that got no reply: the program was killed or the reply lost.
    unanswered: u64,
    /// Of the last requests with a reply before a kill, which the program may not have written down yet: one for each
    /// that can be in flight.
    unrecorded: u64,
    /// Of requests that were refused.
    refused: u64,
    /// Parts of files that changed before all of their parts were sent.
    outdated: u64,
    kills: u64,
}

impl Account {
    fn take(&mut self, round: &Round, was_killed: bool) {
        for sent in &round.sent {
            self.received += sent.bytes;
            match sent.status {
                None => self.unanswered += sent.bytes,
                Some(200) => {}
                Some(_) => self.refused += sent.bytes,
            }
        }
        if was_killed {
            self.kills += 1;
            let answered = round.sent.iter().rev().filter(|sent| sent.status == Some(200));
            self.unrecorded += answered.take(CONCURRENCY).map(|sent| sent.bytes).sum::<u64>();
        }
    }

    /// Nothing was sent twice but what was in flight when a run was killed or a reply lost, and what changed under it.
    /// `waiting` are parts in the bucket of which a later run makes an object.
    fn settle(&self, waiting: u64) {
        let allowed = self.unanswered + self.unrecorded + self.refused + self.outdated + waiting;
        assert!(
            self.received <= self.needed + allowed,
            "{} bytes too many were sent: {self:?}",
            self.received - self.needed - allowed
        );
    }
}

fn random_faults(random: &mut fastrand::Rng) -> Vec<Fault> {
    let mut faults = Vec::new();
    if random.bool() {
        faults.push(Fault::new(FaultKind::Latency(Duration::from_millis(random.u64(1..=25)))));
    }
    let losable = [
        Operation::CreateMultipartUpload,
        Operation::CompleteMultipartUpload,
        Operation::PutObject,
        Operation::UploadPart,
        Operation::AbortMultipartUpload,
    ];
    for operation in losable {
        if random.u8(..4) == 0 {
            faults.push(Fault::new(FaultKind::LostReply).on(operation).nth(random.u64(1..=3)));
        }
    }
    faults
}

fn random_kill(random: &mut fastrand::Rng) -> Option<When> {
    match random.u8(..10) {
        0..5 => Some(When::Request(random.u64(1..=30))),
        5..7 => Some(When::Bytes(random.u64(1..=24 << 20))),
        7..9 => Some(When::Reply(random.u64(1..=30))),
        _ => None,
    }
}

#[test]
fn a_run_that_is_killed_at_any_point_leaves_nothing_wrong_and_the_next_goes_on() {
    let rounds = from_environment("BACKUP_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = from_environment("BACKUP_KILL_SEED").unwrap_or(SEED);
    println!("BACKUP_KILL_SEED={seed} BACKUP_KILL_ROUNDS={rounds}");
    let begun = Instant::now();
    let mut random = fastrand::Rng::with_seed(seed);
    let runtime = Runtime::new().unwrap();
    let world = World::new(&runtime);
    let mut bucket = Bucket::new(&runtime, &world.server);
    let tree = Arc::new(Mutex::new(Tree::new(world.folder.path().join("data"), seed)));
    let mut account = Account::default();
    let mut abandoned = HashSet::new();

    for number in 0..rounds {
        tree.lock().unwrap().change_some();
        let touched = std::mem::take(&mut tree.lock().unwrap().touched);
        for upload in bucket.unfinished() {
            if touched.contains(upload.key.as_str()) && abandoned.insert(upload.id) {
                account.outdated += upload.bytes;
            }
        }
        world.server.faults().set(random_faults(&mut random));
        let changed_meanwhile = Arc::new(Mutex::new(None));
        if random.u8(..4) == 0 {
            let (tree, changed) = (Arc::clone(&tree), Arc::clone(&changed_meanwhile));
            world.tap.when(When::Request(random.u64(1..=30)), move || {
                *changed.lock().unwrap() = Some(tree.lock().unwrap().change());
            });
        }
        let kill = random_kill(&mut random);
        let output = world.run(kill);
        let was_killed = output.status.signal().is_some();
        assert!(
            was_killed || matches!(output.status.code(), Some(0 | 3)),
            "round {number}: {}",
            shown(&output)
        );
        let round = world.tap.end_round();
        account.take(&round, was_killed);
        world.server.faults().clear();
        let tree = tree.lock().unwrap();
        account.needed += bucket.look(&tree);
        if let Some(key) = *changed_meanwhile.lock().unwrap() {
            let path = format!("/{BUCKET}/{PREFIX}{key}");
            let of_file = round.sent.iter().filter(|sent| sent.path == path);
            account.outdated += of_file.map(|sent| sent.bytes).sum::<u64>();
        }
        println!(
            "{number:>4} {:?} kill {kill:?} of {} requests, {} with data: {}",
            begun.elapsed(),
            round.requests,
            round.sent.len(),
            output.status
        );
        let unfinished = bucket.unfinished().into_iter().filter(|upload| !abandoned.contains(&upload.id));
        account.settle(unfinished.map(|upload| upload.bytes).sum());
    }

    let tree = tree.lock().unwrap();
    let mut last = world.run(None);
    account.take(&world.tap.end_round(), false);
    if outcome(&last) == "partial" {
        last = world.run(None);
        account.take(&world.tap.end_round(), false);
    }
    assert_eq!(outcome(&last), "success", "{}", shown(&last));
    account.needed += bucket.look(&tree);
    account.settle(0);
    println!("{account:?} after {:?}", begun.elapsed());

    for (key, hash) in &tree.now {
        assert_eq!(bucket.objects.get(*key), Some(hash), "{key} in the bucket is not the file");
    }
    let unfinished: Vec<String> = bucket.unfinished().into_iter().map(|upload| upload.key).collect();
    assert_eq!(unfinished, Vec::<String>::new(), "parts are left in the bucket");
    assert_bucket_alone_tells(&bucket, &tree);
    assert_nothing_is_to_be_done(&world, &bucket, &tree);
}

/// The manifests say of each file of the source what it is, and of no other.
fn assert_bucket_alone_tells(bucket: &Bucket<'_>, tree: &Tree) {
    let state = bucket.state();
    let (said, is): (Vec<&str>, Vec<&str>) =
        (state.keys().map(String::as_str).collect(), tree.now.keys().copied().collect());
    assert_eq!(said, is, "the manifests name other files than the source has");
    for (key, line) in &state {
        let file = std::fs::metadata(tree.path_of(key)).unwrap();
        let mtime_ns = file.mtime() * 1_000_000_000 + file.mtime_nsec();
        assert_eq!(line["size"], file.len(), "{line}");
        assert_eq!(line["mtime_ns"], mtime_ns, "{line}");
        assert_eq!(line["mode"], file.mode(), "{line}");
        assert_eq!(line["etag"], bucket.etag(key), "{line}");
    }
}

/// A run of a machine that lost its catalog finds everything in the bucket.
fn assert_nothing_is_to_be_done(world: &World, bucket: &Bucket<'_>, tree: &Tree) {
    std::fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    let again = world.run(None);
    assert_eq!(outcome(&again), "success", "{}", shown(&again));
    let sent = world.tap.end_round().sent;
    assert!(sent.is_empty(), "sent again: {sent:?}\n{}", shown(&again));
    assert_bucket_alone_tells(bucket, tree);
}
