//! What can be typed.
#![expect(clippy::doc_markdown, reason = "the comments here are help texts, which are printed as they stand")]

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use s3backup_core::Trigger;

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
  4 something in the bucket differs   11 another run of the job is going on   130 interrupted"
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
Ctrl-C or SIGTERM ends the run within 3 s (`[transfer] grace`); what is finished is recorded.")]
    Run(Run),
    /// What a run would upload, skip and why; changes nothing, runs no step
    Plan,
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
    /// How the backup stands: last run, next due time, what is held, trend
    #[command(after_help = "\
Read from the catalog, or on a machine without one from the bucket. It changes nothing and takes no lock.
--rebuild makes the catalog again from the bucket, and this machine the one that the backup belongs to.")]
    Status(Status),
    /// One line a run, newest first
    History(History),
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
    /// Replace files that are there already
    #[arg(long)]
    pub(crate) force: bool,
}
