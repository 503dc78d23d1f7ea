//! `fleet demo`: everything end to end, on this machine alone.
//!
//! Nothing here is a mock: the files, the S3 server (embedded, on loopback), the requests and the log are real. What it leaves in
//! its folder is what a user would set up: `fleet.toml`, `backup.toml`, data and results.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Instant;

use chrono::{Days, NaiveDate, Utc};
use chrono_tz::Tz;
use s3backup_config::Request;
use s3backup_core::report::human;
use s3backup_core::{Outcome, VerifyEvent, VerifyOptions, line_of};
use s3backup_fleet::error::Error;
use s3backup_fleet::facts::Facts;
use s3backup_fleet::part::Part;
use s3backup_fleet::settings::Settings;
use s3backup_fleet::tables::Table;
use s3backup_fleet::upload::Upload;
use s3backup_fleet::{day, digest};
use s3backup_fleet_data::FleetData;

use super::run::{summary, watch};
use super::score::score;
use super::told::{headline, lines};
use crate::cli::Demo;
use crate::exit::{Exit, Stop};
use crate::output::{print, print_line};
use crate::progress::{Progress, per_second};
use crate::session::{Job, Session};

/// What the demo's `fleet.toml` says.
const FLEET: &str = "data = \"data\"\nresults = \"results\"\n";

/// What the demo's `backup.toml` says. The server is embedded, so that nothing has to be installed.
const BACKUP: &str = r#"job = "fleet"
host = "this-machine"
timezone = "Asia/Seoul"
state_dir = "state"

[[source]]
path = "data"
prefix = "raw"

[[source]]
path = "results"
prefix = "results"
exclude = ["**/.*.tmp"]

[destination]
bucket = "fleet"
endpoint = "embedded:s3"
"#;

/// Trips of each vehicle on each day.
const TRIPS_A_DAY: u32 = 4;

/// What a point takes: its line, its share of the results, and both once more in the bucket.
const BYTES_A_POINT: u64 = 320;

pub(crate) fn run(session: &Session, arguments: &Demo) -> Result<Exit, Stop> {
    let started = Instant::now();
    let stage = Stage::set(session, arguments)?;
    stage.generate()?;
    let facts = stage.analyse()?;
    let is_uploaded = stage.upload(&facts)?;
    stage.score()?;
    let page = stage.job.days.last().map(|day| day::page_path(&stage.job.settings.results, *day));
    print(&format!(
        "\nAll of that took {} and at most {} of memory.\nThe page of the last day: {}\nTry next:\n  fleet --config {dir}/fleet.toml errors --day {}\n  backup --config {dir}/backup.toml ls\nEverything is in {dir}; remove it when you have seen enough.\n",
        human::duration(started.elapsed().as_secs_f64()),
        peak_memory(),
        page.unwrap_or_default().display(),
        stage.job.days.last().map(ToString::to_string).unwrap_or_default(),
        dir = stage.dir.display(),
    ))?;
    Ok(if is_uploaded { Exit::Success } else { Exit::Failed })
}

/// What the demo plays with.
struct Stage<'a> {
    session: &'a Session,
    arguments: &'a Demo,
    dir: PathBuf,
    truth: PathBuf,
    job: Job,
}

impl<'a> Stage<'a> {
    fn set(session: &'a Session, arguments: &'a Demo) -> Result<Self, Stop> {
        let given = &arguments.dir;
        fs::create_dir_all(given).map_err(Error::io("create", given))?;
        let dir = given.canonicalize().map_err(Error::io("read", given))?;
        if fs::read_dir(&dir).map_err(Error::io("read", &dir))?.next().is_some() {
            let dir = dir.display();
            return Err(Stop::usage(format!(
                "{dir} is not empty: remove it, or name a new folder with --dir"
            )));
        }
        let write = |name: &str, text: &str| {
            fs::write(dir.join(name), text).map_err(Error::io("write", dir.join(name)))
        };
        write("fleet.toml", FLEET)?;
        write("backup.toml", BACKUP)?;
        let (settings, limits) = Settings::read(&dir.join("fleet.toml"))?;
        let days = days(arguments.days, settings.timezone);
        let truth = dir.join("truth.jsonl");
        Ok(Self { session, arguments, truth, dir, job: Job { settings, limits, days } })
    }

    fn generate(&self) -> Result<(), Stop> {
        let Demo { vehicles, days, points, gps_noise, .. } = *self.arguments;
        let trips = u64::from(vehicles) * u64::from(days) * u64::from(TRIPS_A_DAY);
        let all = trips * u64::from(points);
        print_line(&format!(
            "1. A fleet: {} vehicles, {days} days, {} of {} points each, {} points in all{}.\n   It takes about {} in {}.",
            human::count(vehicles.into()),
            human::files(trips),
            human::count(points.into()),
            human::count(all),
            if gps_noise { ", with the noise of a common GPS receiver" } else { "" },
            human::size(all * BYTES_A_POINT),
            self.dir.display(),
        ))?;
        let mut data = FleetData::new()
            .vehicles(vehicles)
            .days(days)
            .trips_per_day(TRIPS_A_DAY)
            .points_per_trip(points)
            .gps_noise(gps_noise)
            .timezone(self.job.settings.timezone);
        if let Some(last) = self.job.days.last() {
            data = data.end_day(*last);
        }
        let file = fs::File::create(&self.truth).map_err(Error::io("create", &self.truth))?;
        let mut truth = BufWriter::new(file);
        let mut written = Ok(());
        let mut progress = Progress::new(self.session.common.quiet);
        let made = data.write_to_with(&self.job.settings.data, |made| {
            progress.say(|_| format!("{} of {}", human::count(made.files), human::files(made.files_total)));
            written = made.trip.event_lines().try_for_each(|event| {
                serde_json::to_writer(&mut truth, &event)?;
                truth.write_all(b"\n")
            });
            if written.is_err() || self.session.cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        drop(progress);
        written.and_then(|()| truth.flush()).map_err(Error::io("write", &self.truth))?;
        let made = made.map_err(|error| match error {
            s3backup_fleet_data::Error::Stopped { .. } => Error::Interrupted.into(),
            s3backup_fleet_data::Error::InvalidOption { .. } => Stop::usage(line_of(&error)),
            error => Stop::failed(line_of(&error)),
        })?;
        let total = made.total;
        print_line(&format!(
            "   {}, {} km driven, {} events and {} near misses, and faults as in real data:\n   {} gaps, {} duplicates, {} points out of order, {} broken lines, {} empty files.",
            human::size(total.bytes),
            human::count(total.distance_mm / 1_000_000),
            human::count(total.events),
            human::count(total.near_misses),
            human::count(total.faults.gaps),
            human::count(total.faults.duplicates),
            human::count(total.faults.out_of_order),
            human::count(total.faults.broken()),
            human::count(total.faults.empty_files),
        ))
    }

    fn analyse(&self) -> Result<Facts, Stop> {
        print_line(
            "\n2. The analysis: clean, find events, sum up; every table, a summary and a page of each day.",
        )?;
        let results = &self.job.settings.results;
        let mut facts = Facts::default();
        let started = Instant::now();
        let mut points = 0;
        for day in &self.job.days {
            let digest = self.session.pass(&self.job, *day, Part::WHOLE, &Table::ALL, |_| {})?;
            digest::write(results, &digest, Part::WHOLE)?;
            day::publish(results, &digest, self.job.limits.zones())?;
            print_line(&format!("   {}", headline(&digest, Part::WHOLE)))?;
            points += digest.total.points;
            facts.add(&digest);
        }
        let took = started.elapsed();
        print(&lines(&facts.lines()))?;
        print_line(&format!(
            "   That took {}: {} points/s, tables included, with at most {} of memory so far.",
            human::duration(took.as_secs_f64()),
            human::count(per_second(points, took)),
            peak_memory()
        ))?;
        Ok(facts)
    }

    /// Whether all of it is in the bucket and as it should be.
    fn upload(&self, facts: &Facts) -> Result<bool, Stop> {
        print_line(
            "\n3. The upload of raw data and results to an S3 server that is embedded in this program.",
        )?;
        let request = request(&self.dir);
        let settings = &self.job.settings;
        let loaded = Upload::settings(&request, &settings.data, &settings.results)?;
        self.session.runtime.block_on(async {
            let upload = Upload::open(loaded, facts.lines(), true).await?;
            let told = self.watch(&upload).await;
            upload.close().await;
            told
        })
    }

    async fn watch(&self, upload: &Upload) -> Result<bool, Stop> {
        let report = watch(self.session, upload).await?;
        let text = summary(&report);
        if report.outcome != Outcome::Success {
            print(&text)?;
            return Ok(false);
        }
        // What is warned of, a bucket without versions, is as it should be in a demo.
        print_line(&format!("   {}", text.lines().next().unwrap_or_default()))?;
        print_line("\n4. Verified: every object is downloaded again and compared with what was backed up.")?;
        let mut verify = upload.backup().verify(VerifyOptions::default().deep(true));
        let mut progress = Progress::new(self.session.common.quiet);
        loop {
            let event = tokio::select! {
                event = verify.next() => event,
                () = self.session.cancel.cancelled() => return Err(Error::Interrupted.into()),
            };
            match event {
                Some(VerifyEvent::Progress { checked, of }) => progress.say(|_| {
                    let (checked, of) = (human::count(checked.files), human::files(of.files));
                    format!("verify: {checked} of {of}")
                }),
                Some(_) => {}
                None => break,
            }
        }
        drop(progress);
        let verified = verify.finish().await.map_err(Error::Backup)?;
        let (objects, differ) =
            (&verified.verified.downloaded, verified.verified.differ + verified.unchecked);
        print_line(&format!(
            "   {} ({}) looked at, {} not as they should be.",
            human::count(objects.files),
            human::size(objects.bytes),
            human::count(differ)
        ))?;
        Ok(differ == 0)
    }

    fn score(&self) -> Result<(), Stop> {
        print_line("\n5. The events once more, from the raw data alone, held against what was driven:")?;
        let started = Instant::now();
        let (score, points) = score(self.session, &self.job, &self.truth)?;
        let took = started.elapsed();
        let cores = available_parallelism().map_or(1, NonZero::get);
        let rate = per_second(points, took) / cores as u64;
        print(&format!(
            "\n{score}\n   {} points in {}: {} points/s on each of {cores} cores, from JSON to events.\n",
            human::count(points),
            human::duration(took.as_secs_f64()),
            human::count(rate)
        ))
    }
}

/// The settings of the upload, and nothing of the environment that is meant for another one.
fn request(dir: &Path) -> Request {
    let mut request = Request::of_process();
    request.environment.retain(|(name, _)| !name.starts_with("BACKUP_"));
    request.file = Some(dir.join("backup.toml"));
    request
}

/// So many days, the last of which is yesterday.
fn days(count: u32, timezone: Tz) -> Vec<NaiveDate> {
    let today = Utc::now().with_timezone(&timezone).date_naive();
    (1..=u64::from(count)).rev().filter_map(|ago| today.checked_sub_days(Days::new(ago))).collect()
}

/// The most memory that this process has had (`VmHWM` of Linux), for a person.
fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or_else(|| "an unknown amount".to_owned(), |kib| human::size(kib * 1024))
}
