//! What can be typed.
#![expect(clippy::doc_markdown, reason = "the comments here are help texts, which are printed as they stand")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use s3backup_core::{Name, ShardUri, Trigger, line_of};

/// Backs up directories to S3, fast, and so that it cannot fail silently.
#[derive(Debug, Parser)]
#[command(
    name = "backup",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
First steps:
  backup demo                      see everything work, on this machine alone
  backup init                      write a commented backup.toml
  backup plan                      what a run would upload, skip and why
  backup run                       one run now

Exit codes:
  0 success   1 failed   2 bad usage or configuration   3 some files could not be backed up or restored
  4 something is late, or differs in the bucket   11 another run of the job is going on   130 interrupted"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Configuration file [default: $BACKUP_CONFIG, ./backup.toml, ~/.config/s3backup/backup.toml, /etc/s3backup/backup.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Which job of the file
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// How much is logged: error, warning, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress, and only errors on the console (log files are not affected)
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented backup.toml
    Init(Init),
    /// Print the merged configuration, each value with its source, secrets hidden
    Config,
    /// One run now: steps, discover, plan, upload, prove, write the manifest, alert
    #[command(after_help = "\
The run report goes to stdout (with --json as one JSON document), progress and log to stderr.
Ctrl-C or SIGTERM ends the run within 3 s (`[transfer] grace`); what is finished is recorded.

With --shard it is a worker of a run that many share: it sends the files of one shard and leaves in
the bucket how it ended. Any number of workers may go on at once, on any machines that have the
sources at the same paths and the backup.toml of the plan; job and host are those of the URI. A shard
may be run again at any time: what was proved before is not sent again. A worker keeps nothing, takes
no lock and tells nobody.

  backup plan --shards 8 | parallel -j8 backup run --shard {}")]
    Run(Run),
    /// The daemon: runs the jobs when they are due, makes up for what was missed, serves /healthz, /metrics and a status page
    #[command(after_help = "\
Runs every job of the file, or the one that --job names; each needs a `[schedule]`. Reads the configuration again on SIGHUP; one
that is broken is told, and the one from before holds. Ctrl-C or SIGTERM ends it, and runs that go on, within 3 s
(`[transfer] grace`). Under systemd it says when it is ready, and feeds the watchdog (Type=notify).

  backup schedule                                         in the foreground, on http://127.0.0.1:9178
  backup schedule --listen 0.0.0.0:9178 --allow-remote --token-file /etc/s3backup/token --host-name backup.example.org")]
    Schedule(Schedule),
    /// What a run would upload, skip and why; changes nothing, runs no step. With --shards: a run for many workers
    #[command(after_help = "\
With --shards a run begins that many workers share, and goes on until it is committed. The URI of each shard goes to stdout, one a
line (with --json all that is known of the plan). Until then no other run of the job begins (exit code 11).

  backup steps                                                      the steps, if there are any
  backup plan --shards 8 | xargs -P 8 -n 1 backup run --shard       a worker for each shard, here or on other machines
  backup commit RUN-ID                                              the end: one report, one message")]
    Plan(Plan),
    /// The steps alone, for a run that many workers share; `plan --shards` goes on with it
    Steps(Steps),
    /// The end of a run that many workers shared: one report and one message, once all of its shards are done
    #[command(after_help = "\
Checks the result of each shard and the manifest that it names. What is missing or wrong is named with its URI, people are told of it
once, and nothing is changed (exit code 1): run those shards again, then commit again. On any machine that can read and write the
bucket, any number of times. Where the run is not configured here under its own job and host, name it by its URI.

  backup commit s3://fleet/trips/.s3backup/telemetry/gw-1/plans/20261128T110000.000Z-7f3a91c2
  backup commit 20261128T110000.000Z-7f3a91c2                    where job and host are those of backup.toml
  backup commit 20261128T110000.000Z-7f3a91c2 --abandon          give it up: it fails, and other runs may begin

Exit codes: 0 success, 3 some files could not be backed up, 1 the run failed, was given up, or is not complete, 2 bad usage")]
    Commit(Commit),
    /// Delete what no rule of `[prune]` keeps: old versions and runs in the bucket, local files proved to be in it
    #[command(after_help = "\
Look first at what would go, and why: backup prune --dry-run
With --json each thing is a line of JSON, and the last line is {\"summary\":…}.")]
    Prune(Prune),
    /// What is backed up: size, modification time and name of each file
    #[command(after_help = "\
PATH is a file, a directory or a glob: below the destination's prefix, as it is printed, or, where it begins with a
slash, the local path from which the file was backed up. TIME is 2026-11-23 (the end of that day), \"2026-11-23 20:00\" in
the job's time zone, or RFC 3339.")]
    Ls(Ls),
    /// Bring files back, proved byte for byte
    #[command(after_help = "\
Files go to DIR/<name as ls prints it>, with their modification times and permissions. Files that are there and differ
are kept unless --overwrite; doing it again goes on where a restore was cut short. Not restored, because not backed up:
owners, empty directories, symbolic links, extended attributes; set-user-ID bits are dropped. Works on any machine that can
read the bucket: no catalog is needed.

  backup restore --to /tmp/restored                         all of it, as it is backed up now
  backup restore vehicle-1 --to /tmp/restored               one directory
  backup restore '**/*.json' --at 2026-11-23 --to DIR       as it was at the end of that day")]
    Restore(Restore),
    /// Compare the bucket with the backup's manifests: presence, size, checksum
    #[command(after_help = "\
Exit code 4 when anything differs, each named. Without --deep nothing is downloaded: the bucket is listed, and what the
listing leaves open is asked for one by one. --repair marks what differs as not backed up, so that the next run sends it
again; it needs the catalog of the machine that makes the backup. TIME is written as for `backup ls`.")]
    Verify(Verify),
    /// Take a bucket that another tool filled into the catalog, without sending it again
    #[command(after_help = "\
Each local file that the catalog does not know and that lies in the bucket under its key is compared with its object by
checksum or ETag; what is the same belongs to the backup from then on. Exit code 3 when some are different, or nothing
shows what they are: a run leaves those alone, unless --replace-different lets the next one overwrite exactly these.")]
    Adopt(Adopt),
    /// The dead-man's switch: see from the bucket alone, on any machine, whether every backup in it is well
    #[command(after_help = "\
Every job on every machine below the destination's prefix is judged by its own schedule, and by
the clock of the server: late, running too long, failed, killed, its alerts broken, its clock off.
Exit code 0 only if all are well, 4 if anything is not, 1 if the bucket cannot be read. Slack is
told of each trouble once, and once that it is over.

  backup monitor --expect telemetry@gw-1     late also when it was never seen
  backup monitor --retire telemetry/gw-9     that machine is gone for good: do not watch it

Run it by a timer on another machine than those that back up. Of backup.toml it needs
[destination], and [slack] to tell.")]
    Monitor(Monitor),
    /// How the backup stands: last run, next due time, what is held, trend
    #[command(after_help = "\
Read from the catalog, or on a machine without one from the bucket. It changes nothing and takes no lock.
--rebuild makes the catalog again from the bucket, and this machine the one that the backup belongs to.")]
    Status(Status),
    /// One line a run, newest first
    History(History),
    /// How the backups stand, as one HTML file with a calendar of the days and charts of the runs
    #[command(after_help = "\
All jobs of the configuration are on it, or the one that --job names. The file needs nothing else: mail it, print it, put
it on a web server. Read from the catalog, or on a machine without one from the bucket; it changes nothing and takes no
lock. A job that cannot be looked at is named on stderr and left out, and the exit code is 1.

  backup report                     writes s3backup-report.html into the current folder
  backup report --out - | less      prints it")]
    Report(Report),
    /// A test message to Slack, with the settings as they are
    #[command(after_help = "\
Exit code 1 when it does not arrive, with what Slack says and what to do about it. When it does, alerts that wait because
Slack could not be reached are sent at once.")]
    Slack(Slack),
    /// No alerts for a while, as during maintenance; ends by itself
    #[command(after_help = "\
It is also said in the bucket, so that `backup monitor` on another machine is silent, too. What is trouble still when the
silence ends is told then. TIME is 2h, 20:00 (the next one in the job's time zone), or RFC 3339; at most 14 days ahead.

  backup silence --until 2h
  backup silence --off")]
    Silence(Silence),
    /// Check everything that a run needs, and say how to mend what is wrong
    #[command(after_help = "\
Each line is ok, warn or FAIL. Exit code 1 when there is a FAIL. One small object is written below the control prefix and
removed again where that is allowed; nothing is posted to Slack (backup slack --test does). It needs no right that a run
does not need: what is missing of those that it can do without is a warning.")]
    Doctor,
    /// Write what starts the backup by itself
    #[command(subcommand)]
    Install(Install),
    /// Everything end to end on generated data and an embedded S3 server, in under a minute
    Demo(Demo),
    /// Generate a deterministic fleet data set: trips by vehicle and day, with the faults of real data
    #[command(after_help = "\
Vehicles drive simulated trips around Seoul: a GPS point a second, as a line of JSON (time, place, speed, heading, class of
road) in DIR/vehicle-001/2026-11-23/trip_081502.json. Some drivers speed, brake or turn harshly, or nearly do; some files have
gaps, broken lines or points far off. What was made is printed, and with --truth written down event by event.

  backup generate-data trips                      240 files of two minutes each
  backup generate-data trips --size 1GiB          as many vehicles as that takes
  backup generate-data trips --vehicles 200 --points 4300 --gps-noise --truth truth.jsonl
                                                  10 million points, and what a detector should find in them")]
    GenerateData(GenerateData),
    /// Print a completion script, for example: backup completions bash > /etc/bash_completion.d/backup
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page a command into a folder
    Man {
        /// Write backup.1, backup-run.1, … into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where to write it
    #[arg(default_value = "backup.toml", value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "fields are named as the flags are")]
pub(crate) struct Run {
    /// Say what would be done and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What starts this run, for its report
    #[arg(long, value_enum, default_value_t = TriggerName::Manual, value_name = "WHAT")]
    pub(crate) trigger: TriggerName,
    /// Go on where a run would stop to ask: when so many known files changed at once that `[guard] max_changed` holds them
    /// back, and when a source that had files is empty
    #[arg(long)]
    pub(crate) force: bool,
    /// Leave the steps out: they ran before, for example as tasks of Airflow
    #[arg(long)]
    pub(crate) no_steps: bool,
    /// Say in the report and to people what this file has, in lines `label: value`, as a step's $BACKUP_FACTS does
    #[arg(long, value_name = "FILE")]
    pub(crate) facts: Option<PathBuf>,
    /// Do this shard of a plan alone, named as `backup plan --shards` prints it
    #[arg(long, value_name = "URI", value_parser = shard, conflicts_with_all = ["dry_run", "force", "no_steps", "facts"])]
    pub(crate) shard: Option<ShardUri>,
}

fn shard(text: &str) -> Result<ShardUri, String> {
    ShardUri::parse(text).map_err(|error| line_of(&error))
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Begin a run and deal its files out to so many workers: more shards than workers, so that a slow one holds up little
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) shards: Option<u32>,
    /// Where the lists of the shards go: s3://BUCKET/PREFIX in the destination's bucket, or a directory that all workers share
    /// [default: with the backup's own data in the bucket]
    #[arg(long, value_name = "URI-or-DIR", requires = "shards")]
    pub(crate) out: Option<String>,
    /// After how long the run is over, committed or not [default: `[schedule] max_runtime`, else 10h]
    #[arg(long, value_name = "TIME", requires = "shards", value_parser = humantime::parse_duration)]
    pub(crate) expires: Option<Duration>,
    /// What starts this run, for its report
    #[arg(long, value_enum, default_value_t = TriggerName::Manual, value_name = "WHAT", requires = "shards")]
    pub(crate) trigger: TriggerName,
    /// Go on where a run would stop to ask, as `backup run --force`
    #[arg(long, requires = "shards")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Steps {
    /// What starts this run, for its report
    #[arg(long, value_enum, default_value_t = TriggerName::Manual, value_name = "WHAT")]
    pub(crate) trigger: TriggerName,
}

#[derive(Debug, Args)]
pub(crate) struct Schedule {
    /// Where /healthz, /metrics and the status page are served; with port 0 the log says which it is
    #[arg(long, default_value = "127.0.0.1:9178", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Listen on an address that other machines reach; needs a token
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// Environment variable that holds the token for all but /healthz and /metrics: `Authorization: Bearer`, or the password in
    /// a browser
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    pub(crate) token_env: Option<String>,
    /// File that holds it
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Name of this machine that a browser may use, besides its addresses and localhost; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) host_name: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Say what would be deleted, and why, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete even when it is more than a quarter of all objects at once
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// The run, as `backup plan --shards` names it: its id, or the URI of its plan
    #[arg(value_name = "RUN-ID|URI", value_parser = shard)]
    pub(crate) plan: ShardUri,
    /// Give the run up: what its workers put is kept, and the next run does the rest
    #[arg(long)]
    pub(crate) abandon: bool,
}

/// Names of [`Trigger`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TriggerName {
    Manual,
    Airflow,
    Cron,
    Systemd,
    Kubernetes,
}

impl From<TriggerName> for Trigger {
    fn from(name: TriggerName) -> Self {
        match name {
            TriggerName::Manual => Self::Manual,
            TriggerName::Airflow => Self::Airflow,
            TriggerName::Cron => Self::Cron,
            TriggerName::Systemd => Self::Systemd,
            TriggerName::Kubernetes => Self::Kubernetes,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Download every object and compare its bytes
    #[arg(long)]
    pub(crate) deep: bool,
    /// Mark what differs, so that the next run sends it again
    #[arg(long)]
    pub(crate) repair: bool,
    /// Only what this run put
    #[arg(long, value_name = "ID", conflicts_with_all = ["since", "sample"])]
    pub(crate) run: Option<String>,
    /// Only what was put by runs that started at or after this time
    #[arg(long, value_name = "TIME", conflicts_with = "sample")]
    pub(crate) since: Option<String>,
    /// Restore so many files, chosen at random, into a temporary directory, and compare them
    #[arg(long, value_name = "N")]
    pub(crate) sample: Option<usize>,
    /// Choose the same files again
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// Say what would be taken over and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Let the next run overwrite the objects that are different, or of which nothing shows what they are
    #[arg(long)]
    pub(crate) replace_different: bool,
}

/// Which state of the backup is meant.
#[derive(Debug, Args)]
pub(crate) struct When {
    /// As it was at this time
    #[arg(long, value_name = "TIME", conflicts_with = "run")]
    pub(crate) at: Option<String>,
    /// As it was after this run (`backup history` has the ids)
    #[arg(long, value_name = "ID")]
    pub(crate) run: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only these files, directories and globs
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    #[command(flatten)]
    pub(crate) when: When,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Only these files, directories and globs
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// The directory to restore into
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) when: When,
    /// Replace files that are there and differ
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Say what would be restored and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// A job on a machine that must be there, also when it was never seen
    #[arg(long, value_name = "JOB@HOST", value_parser = watched_at)]
    pub(crate) expect: Vec<(Name, Name)>,
    /// A job on a machine that is gone: it is not judged any more, unless it runs again
    #[arg(long, value_name = "JOB/HOST", value_parser = watched_below)]
    pub(crate) retire: Vec<(Name, Name)>,
}

fn watched_at(text: &str) -> Result<(Name, Name), String> {
    watched(text, '@')
}

fn watched_below(text: &str) -> Result<(Name, Name), String> {
    watched(text, '/')
}

fn watched(text: &str, between: char) -> Result<(Name, Name), String> {
    let (job, host) = text.split_once(between).ok_or_else(|| format!("write JOB{between}HOST"))?;
    let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
    Ok((name(job)?, name(host)?))
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Make the catalog again from the bucket, and take the backup over from the machine that had it
    #[arg(long)]
    pub(crate) rebuild: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// How many runs
    #[arg(long, short = 'n', default_value_t = 30, value_name = "N")]
    pub(crate) limit: usize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Install {
    /// Write hardened systemd units, and say which commands put them to use
    #[command(after_help = "\
Look first at what would be written: backup install systemd --dry-run
Paths, the timer's times and what the units may write come from the configuration. A unit that is there and differs is left
alone without --force; changes of your own belong into a drop-in (systemctl edit UNIT).

  backup install systemd                     the daemon, which runs all jobs of the configuration when they are due
  backup install systemd --units timer       a timer and a oneshot service for each job (or --job NAME)
  backup install systemd --units monitor     the dead-man's switch, for another machine")]
    Systemd(InstallSystemd),
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct InstallSystemd {
    /// Say what would be written and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Which units
    #[arg(long, value_enum, default_value_t = UnitsName::Daemon, value_name = "WHICH")]
    pub(crate) units: UnitsName,
    /// Units of the calling user's own systemd, not of the machine's
    #[arg(long)]
    pub(crate) user: bool,
    /// The folder for the units [default: /etc/systemd/system, or ~/.config/systemd/user with --user]
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Replace units that are there and differ
    #[arg(long)]
    pub(crate) force: bool,
    /// Also run the systemctl commands that enable and start them
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) enable: bool,
}

/// Names of sets of units on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnitsName {
    /// `backup schedule`, always running
    Daemon,
    /// `backup run`, when a timer says so
    Timer,
    /// `backup monitor`, every quarter of an hour
    Monitor,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The file to write, which is replaced if it exists; - is stdout
    #[arg(long, default_value = "s3backup-report.html", value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Slack {
    /// Send a test message
    #[arg(long, required = true)]
    pub(crate) test: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Silence {
    /// When alerts go out again
    #[arg(long, value_name = "TIME", required_unless_present = "off", conflicts_with = "off")]
    pub(crate) until: Option<String>,
    /// Alerts go out again from now on
    #[arg(long)]
    pub(crate) off: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep everything in this folder (must be empty or new) instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateData {
    /// Folder to fill; it must be empty or new
    #[arg(value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Vehicles
    #[arg(long, default_value_t = 20)]
    pub(crate) vehicles: u32,
    /// Days, the last one being --end-day
    #[arg(long, default_value_t = 3)]
    pub(crate) days: u32,
    /// Last day [default: yesterday in Seoul]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) end_day: Option<NaiveDate>,
    /// Trips of a vehicle on a day
    #[arg(long, default_value_t = 4)]
    pub(crate) trips: u32,
    /// GPS points of a trip
    #[arg(long, default_value_t = 120)]
    pub(crate) points: u32,
    /// Size of the whole set in bytes instead (1GiB, 500MB); the number of vehicles follows from it
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["vehicles", "points"])]
    pub(crate) size: Option<bytesize::ByteSize>,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// How points are written
    #[arg(long, value_enum, default_value_t = FormatName::Json, value_name = "FORMAT")]
    pub(crate) format: FormatName,
    /// Record the trips as a GPS receiver does: place, speed and heading are a little off
    #[arg(long)]
    pub(crate) gps_noise: bool,
    /// Write what the drivers did into this file, outside of DIR: a line of JSON for each event and each near miss
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: Option<PathBuf>,
    /// Replace files that are there already
    #[arg(long)]
    pub(crate) force: bool,
}

/// Names of [`Format`](s3backup_fleet_data::Format) on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatName {
    /// A JSON object a line
    Json,
    /// A header, then a row a point
    Csv,
}
