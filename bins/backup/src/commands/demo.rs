//! `backup demo`: the main job end to end on this machine alone.
//!
//! Nothing here is a mock: the files, the S3 server (embedded, on loopback), the requests, the log and the message are
//! real. Only Slack's end of the webhook is played, by a few lines that answer as Slack does.

use std::path::{Path, PathBuf};
use std::time::Instant;

use s3backup_core::options::{SlackOptions, SlackWay};
use s3backup_core::{
    Backup, Bucket, ConnectOptions, Destination, Error, Event, Key, Outcome, RunReport, Source, line_of,
};
use s3backup_fleet_data::FleetData;
use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
use s3backup_logging::LoggerManager;

use crate::cli::{self, Common};
use crate::commands::generate_data::{describe, yesterday};
use crate::console::{self, Progress};
use crate::exit::{Exit, Stop};
use crate::human;

mod webhook;

use webhook::Webhook;

const BUCKET: &str = "fleet-backup";
const PREFIX: &str = "trips";

/// How many of the server's replies to uploads are refusals: as a busy S3 answers.
const BUSY_PERCENT: f64 = 5.0;

/// Large enough to be sent in parts.
const DASHCAM_BYTES: u64 = 24 << 20;

pub(crate) async fn run(common: &Common, arguments: &cli::Demo) -> Result<Exit, Stop> {
    let started = Instant::now();
    let temporary = tempfile::tempdir().map_err(|error| failed("no temporary folder", &error))?;
    let root = match &arguments.dir {
        Some(dir) => {
            let used = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
            if used {
                return Err(Stop::usage(format!("{} is not empty: name a new folder", dir.display())));
            }
            std::fs::create_dir_all(dir).map_err(|error| failed(&dir.display().to_string(), &error))?;
            dir.clone()
        }
        None => temporary.path().to_owned(),
    };
    let stage = Stage::set(common, &root).await?;
    let result = stage.play().await;
    let exit = stage.finish().await;
    result?;
    say("")?;
    let kept = if arguments.dir.is_some() {
        format!("Everything is kept in {}.", root.display())
    } else {
        "Everything was in a temporary folder and is gone now; `--dir DIR` keeps it.".to_owned()
    };
    say(&format!("All of that took {}. {kept}", human::duration(started.elapsed().as_secs_f64())))?;
    say(
        "Next: `backup init` writes a commented backup.toml, `backup plan` shows what a run would do, `backup run` does it.",
    )?;
    Ok(exit)
}

/// Everything that the demo needs.
struct Stage {
    root: PathBuf,
    trips: PathBuf,
    server: LocalS3,
    webhook: Webhook,
    log: LoggerManager,
    quiet: bool,
}

impl Stage {
    async fn set(common: &Common, root: &Path) -> Result<Self, Stop> {
        let server = LocalS3::builder().dir(root.join("s3")).bucket(BUCKET).start().await;
        let server = server.map_err(|error| failed("the embedded S3 server", &error))?;
        let webhook = Webhook::start().await.map_err(|error| failed("the stand-in for Slack", &error))?;
        let log = LoggerManager::builder("demo")
            .dir(Some(root.join("Logs")))
            .timezone(chrono_tz::Asia::Seoul)
            .console_level(s3backup_logging::Level::Error)
            .console(Progress::new(true).log_console())
            .build();
        Ok(Self {
            root: root.to_owned(),
            trips: root.join("data/trips"),
            server,
            webhook,
            log,
            quiet: common.quiet,
        })
    }

    async fn play(&self) -> Result<(), Stop> {
        self.generate()?;
        say(&format!(
            "\n2. An S3 server on {} with the bucket {BUCKET}.\n   It is embedded in this program, checks signatures and checksums, and for this demo\n   refuses {BUSY_PERCENT} % of the uploads with 503 SlowDown, as a busy S3 does.",
            self.server.endpoint()
        ))?;
        let busy = Fault::new(FaultKind::SlowDown).on(Operation::PutObject).percent(BUSY_PERCENT, 7);
        self.server.faults().add(busy);

        say("\n3. The backup: find, send, prove, record, tell.")?;
        let report = self.back_up().await?;
        say_report(&report)?;
        self.server.faults().clear();

        let bucket = self.bucket().await?;
        self.verify(&bucket, &report).await?;
        self.restore(&bucket).await?;
        self.run_again().await?;
        self.show_log_and_message().await
    }

    fn generate(&self) -> Result<(), Stop> {
        let data = FleetData::new().vehicles(25).days(3).end_day(yesterday());
        let truth = data.write_to(&self.trips).map_err(|error| failed("generating data", &error))?;
        let dashcam = self.trips.join("vehicle-001/dashcam.bin");
        write_dashcam(&dashcam).map_err(|error| failed(&dashcam.display().to_string(), &error))?;
        say(&format!(
            "1. A fleet's trip files in {}:\n   {};\n   and one recording of {}, large enough to be sent in parts.",
            self.trips.display(),
            describe(&truth),
            human::size(DASHCAM_BYTES)
        ))
    }

    fn backup(&self) -> Result<Backup, Stop> {
        let destination = Destination::new(BUCKET)
            .prefix(PREFIX)
            .endpoint(self.server.endpoint())
            .region(self.server.region())
            .credentials(self.server.access_key(), self.server.secret_key());
        Backup::builder()
            .job("demo")
            .host("this-machine")
            .timezone(chrono_tz::Asia::Seoul)
            .source(Source::new(&self.trips))
            .destination(destination)
            .slack(SlackOptions::new(SlackWay::webhook(self.webhook.url())))
            .logger(self.log.logger())
            .build()
            .map_err(|error| failed("the demo's settings", &error))
    }

    async fn back_up(&self) -> Result<RunReport, Stop> {
        let mut progress = Progress::new(self.quiet);
        progress.start(self.log.logger());
        let mut run = self.backup()?.start();
        while let Some(event) = run.next().await {
            progress.see(&event);
            if matches!(event, Event::RunFinished { .. }) {
                break;
            }
        }
        drop(progress);
        let report = match run.finish().await {
            Ok(report) => report,
            Err(Error::Failed(report)) => *report,
            Err(error) => return Err(failed("the run", &error)),
        };
        if report.outcome == Outcome::Success {
            return Ok(report);
        }
        say_report(&report)?;
        Err(Stop::failed("the demo's backup did not succeed; this is a defect, please report it"))
    }

    async fn bucket(&self) -> Result<Bucket, Stop> {
        let options = ConnectOptions {
            bucket: BUCKET.to_owned(),
            region: Some(self.server.region().to_owned()),
            endpoint: Some(self.server.endpoint()),
            credentials: Some(s3backup_core::options::StaticCredentials::new(
                self.server.access_key(),
                self.server.secret_key(),
            )),
            ..ConnectOptions::default()
        };
        Bucket::connect(&options).await.map_err(|error| failed("connecting", &error))
    }

    /// Downloads every data object of the bucket and compares it with the file, byte for byte.
    async fn verify(&self, bucket: &Bucket, report: &RunReport) -> Result<(), Stop> {
        let scratch = tempfile::tempdir().map_err(|error| failed("no temporary folder", &error))?;
        let mut compared = 0;
        let mut page = None;
        loop {
            let listed = bucket.list(&format!("{PREFIX}/"), page.as_deref()).await;
            let listed = listed.map_err(|error| failed("listing", &error))?;
            let keys = listed.objects.iter().map(|object| object.key.as_str());
            for key in keys.filter(|key| !key.contains("/.s3backup/")) {
                let path = self.trips.join(key.trim_start_matches(PREFIX).trim_start_matches('/'));
                let copy = scratch.path().join("copy");
                fetch(bucket, key, &copy).await?;
                if read(&copy)? != read(&path)? {
                    return Err(Stop::failed(format!("{key} differs from {}", path.display())));
                }
                compared += 1;
            }
            page = listed.next;
            if page.is_none() {
                break;
            }
        }
        if compared != report.found.files {
            let message =
                format!("{compared} objects are in the bucket, and {} files were found", report.found.files);
            return Err(Stop::failed(message));
        }
        say(&format!(
            "\n4. Verified: {} objects were downloaded and compared with the files, byte for byte. All are the same.",
            human::count(compared)
        ))
    }

    /// Brings one file back.
    async fn restore(&self, bucket: &Bucket) -> Result<(), Stop> {
        let name = "vehicle-001/dashcam.bin";
        let folder = self.root.join("restored/vehicle-001");
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder.display().to_string(), &error))?;
        let to = folder.join("dashcam.bin");
        fetch(bucket, &format!("{PREFIX}/{name}"), &to).await?;
        if read(&to)? != read(&self.trips.join(name))? {
            return Err(Stop::failed(format!("{} differs from what was backed up", to.display())));
        }
        say(&format!(
            "\n5. Restored: {name} is back as {} ({}), and it is the same.",
            to.display(),
            human::size(DASHCAM_BYTES)
        ))
    }

    async fn run_again(&self) -> Result<(), Stop> {
        let more = FleetData::new().vehicles(26).days(3).end_day(yesterday()).overwrite(true);
        more.write_to(&self.trips).map_err(|error| failed("generating data", &error))?;
        let report = self.back_up().await?;
        say(&format!(
            "\n6. One more vehicle came home, and a second run: {} uploaded, {} in the bucket already.",
            human::files(report.uploaded.files),
            human::count(report.unchanged.files)
        ))
    }

    async fn show_log_and_message(&self) -> Result<(), Stop> {
        self.log.flush();
        if let Some(path) = self.log.info_log_path() {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| failed(&path.display().to_string(), &error))?;
            say(&format!("\n7. Logged in {}:", path.display()))?;
            for line in text.lines().filter(|line| line.contains("run finished")) {
                say(&format!("   {line}"))?;
            }
        }
        say("\n8. Told to Slack:")?;
        for text in self.webhook.texts().await {
            say(&format!("   {text}"))?;
        }
        Ok(())
    }

    async fn finish(self) -> Exit {
        self.log.finish();
        self.server.shutdown().await;
        Exit::Success
    }
}

fn say(line: &str) -> Result<(), Stop> {
    console::print(line).map_err(|error| Stop::failed(format!("cannot print: {error}")))
}

fn say_report(report: &RunReport) -> Result<(), Stop> {
    for line in super::run::summary(report) {
        say(&format!("   {line}"))?;
    }
    Ok(())
}

fn failed(what: &str, error: &dyn std::error::Error) -> Stop {
    Stop::failed(format!("{what}: {}", line_of(error)))
}

async fn fetch(bucket: &Bucket, key: &str, to: &Path) -> Result<(), Stop> {
    let key = Key::new(key).map_err(|error| failed(key, &error))?;
    bucket.download(&key, to, None).await.map_err(|error| failed(key.as_str(), &error))?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    std::fs::read(path).map_err(|error| failed(&path.display().to_string(), &error))
}

/// Bytes that look like a recording: not compressible, the same every time.
fn write_dashcam(path: &Path) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..DASHCAM_BYTES / 8 {
        // Marsaglia's xorshift: enough to be noise.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    file.flush()
}
