//! Defaults, file, environment and flags; jobs; formats.

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use chrono::NaiveTime;
use common::{Folder, LEAST};
use s3backup_config::{Error, Loaded, load_all};
use s3backup_core::options::{
    Bandwidth, ChecksumKind, Compare, Each, HttpPath, OnFailure, Rate, Select, Sse, Symlinks,
};

fn source<'l>(loaded: &'l Loaded, key: &str) -> (&'l str, &'l str) {
    let row = loaded.explain().iter().find(|row| row.key == key);
    row.map_or(("", ""), |row| (&row.value, &row.source))
}

fn rate(bytes: u64) -> Rate {
    NonZeroU64::new(bytes).map_or(Rate::Unlimited, Rate::BytesPerSecond)
}

#[test]
fn least_configuration_has_every_default() {
    let folder = Folder::with(LEAST);
    let loaded = folder.load().unwrap();
    let settings = &loaded.settings;
    let dir = folder.dir.path();
    assert_eq!(loaded.file, dir.join("backup.toml"));
    assert_eq!(loaded.jobs, ["backup"]);
    assert_eq!(settings.job.as_str(), "backup");
    assert_eq!(settings.host.as_str(), "gateway-1.local");
    assert_eq!(settings.timezone, chrono_tz::UTC);
    assert_eq!(settings.sources[0].path, dir.join("data"));
    assert_eq!(settings.sources[0].min_age, Duration::from_mins(2));
    assert_eq!(settings.sources[0].select, Select::Changed);
    assert_eq!(settings.sources[0].compare, Compare::Times);
    assert_eq!(settings.max_changed_percent, 50);
    assert!(settings.schedule.is_none() && settings.prune.is_none());
    assert_eq!(settings.sources[0].symlinks, Symlinks::Skip);
    assert!(settings.sources[0].include.is_empty() && settings.sources[0].prefix.is_empty());
    assert!(settings.steps.is_empty() && settings.slack.is_none() && settings.embedded_dir.is_none());
    assert_eq!(settings.grace, Duration::from_secs(3));
    assert_eq!(settings.transfer.concurrency, None);
    assert_eq!(settings.transfer.part_size_bytes, 8 << 20);
    assert_eq!(settings.transfer.memory_bytes, 64 << 20);
    assert_eq!(settings.transfer.bandwidth, Bandwidth::Always(Rate::Unlimited));
    assert_eq!(settings.http, HttpPath::Fast);
    assert_eq!(settings.logging.dir, dir.join("Logs"));
    assert_eq!(settings.logging.level, slog::Level::Info);
    assert_eq!(settings.logging.max_size, 100 << 20);
    assert_eq!((settings.logging.keep_files, settings.logging.keep_days), (5, 30));
    assert!(!settings.logging.json);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

const EVERY_KEY: &str = r#"
    job = "telemetry"
    host = "gateway-1"
    timezone = "Asia/Seoul"
    state_dir = "state"
    [[step]]
    name = "statistics"
    command = ["./bin/run", "x/y"]
    cwd = "work"
    env = { A = "1" }
    pass_env = ["AWS_PROFILE"]
    each = "day"
    timeout = "10m"
    on_failure = "continue"
    [[source]]
    path = "/data/trips"
    include = ["**/*.json"]
    exclude = ["**/*.tmp"]
    select = "day:yesterday"
    compare = "checksum"
    min_age = "0s"
    symlinks = "follow"
    prefix = "{date}"
    [destination]
    bucket = "fleet-backup"
    prefix = "trips"
    region = "ap-northeast-2"
    endpoint = "embedded:s3"
    storage_class = "STANDARD_IA"
    sse = "aws:kms"
    kms_key_id = "alias/x"
    tags = { team = "fleet" }
    layout = "objects"
    [transfer]
    concurrency = 16
    part_size = "16 MiB"
    memory = 33554432
    checksum = "sha256"
    grace = "1s"
    bandwidth = { "08:00" = "5 MiB/s", "20:00" = "unlimited" }
    http = "sdk"
    compress = "none"
    encrypt_to = []
    [logging]
    dir = "/var/log/s3backup"
    level = "debug"
    format = "json"
    max_size = "20MB"
    keep_files = 2
    keep_days = 7
"#;

#[test]
fn every_key_arrives() {
    let folder = Folder::with(EVERY_KEY);
    let settings = folder.load().unwrap().settings;
    let dir = folder.dir.path();
    assert_eq!((settings.job.as_str(), settings.host.as_str()), ("telemetry", "gateway-1"));
    assert_eq!(settings.timezone, chrono_tz::Asia::Seoul);
    assert_eq!(settings.state_dir, dir.join("state"));
    let step = &settings.steps[0];
    assert_eq!(step.name, "statistics");
    assert_eq!(step.cwd, Some(dir.join("work")));
    assert_eq!(Path::new(&step.command[0]), dir.join("work/bin/run"));
    assert_eq!(step.command[1], "x/y");
    assert_eq!(step.env, BTreeMap::from([("A".to_owned(), "1".to_owned())]));
    assert_eq!(step.pass_env, ["AWS_PROFILE"]);
    assert_eq!(
        (step.each, step.timeout, step.on_failure),
        (Each::Day, Duration::from_mins(10), OnFailure::Continue)
    );
    let source = &settings.sources[0];
    assert_eq!(source.path, Path::new("/data/trips"));
    assert_eq!(
        (source.include.as_slice(), source.exclude.as_slice()),
        (&["**/*.json".to_owned()][..], &["**/*.tmp".to_owned()][..])
    );
    assert_eq!(
        (source.select, source.symlinks, source.min_age),
        (Select::Yesterday, Symlinks::Follow, Duration::ZERO)
    );
    assert_eq!((source.compare, source.prefix.as_str()), (Compare::Checksum, "{date}"));
    let destination = &settings.destination;
    assert_eq!((destination.bucket.as_str(), destination.prefix.as_str()), ("fleet-backup", "trips"));
    assert_eq!(destination.region.as_deref(), Some("ap-northeast-2"));
    assert_eq!(destination.endpoint, None);
    assert_eq!(settings.embedded_dir, Some(dir.join("s3")));
    assert_eq!(destination.storage_class.as_deref(), Some("STANDARD_IA"));
    assert_eq!(destination.sse, Some(Sse::Kms { key_id: Some("alias/x".to_owned()) }));
    assert_eq!(destination.tags["team"], "fleet");
    let transfer = &settings.transfer;
    assert_eq!(
        (transfer.concurrency, transfer.part_size_bytes, transfer.memory_bytes),
        (Some(16), 16 << 20, 32 << 20)
    );
    assert_eq!(transfer.checksum, ChecksumKind::Sha256);
    let rates = BTreeMap::from([
        (NaiveTime::from_hms_opt(8, 0, 0).unwrap(), rate(5 << 20)),
        (NaiveTime::from_hms_opt(20, 0, 0).unwrap(), Rate::Unlimited),
    ]);
    assert_eq!(transfer.bandwidth, Bandwidth::Daily { timezone: chrono_tz::Asia::Seoul, rates });
    assert_eq!(settings.http, HttpPath::Sdk);
    assert_eq!(settings.grace, Duration::from_secs(1));
    assert_eq!(settings.logging.dir, Path::new("/var/log/s3backup"));
    assert_eq!((settings.logging.level, settings.logging.json), (slog::Level::Debug, true));
    assert_eq!(
        (settings.logging.max_size, settings.logging.keep_files, settings.logging.keep_days),
        (20_000_000, 2, 7)
    );
}

#[test]
fn when_runs_are_due_and_what_may_be_deleted_arrives() {
    let folder = Folder::with(&format!(
        r#"
        timezone = "Asia/Seoul"
        {LEAST}
        [guard]
        max_changed = "20%"
        [schedule]
        cron = "0 20 * * *"
        catch_up = false
        deadline = "2h"
        max_runtime = "1d"
        jitter = "10m"
        [prune]
        keep_daily = 30
        keep_monthly = 24
        local_after = "30d"
        "#
    ));
    let settings = folder.load().unwrap().settings;
    assert_eq!(settings.max_changed_percent, 20);
    let schedule = settings.schedule.unwrap();
    assert_eq!(schedule.schedule.cron(), "0 20 * * *");
    assert_eq!(schedule.schedule.timezone(), chrono_tz::Asia::Seoul);
    assert_eq!(
        (schedule.catch_up, schedule.deadline, schedule.max_runtime),
        (false, Duration::from_hours(2), Duration::from_hours(24))
    );
    assert_eq!(schedule.jitter, Duration::from_mins(10));
    let prune = settings.prune.unwrap();
    assert_eq!((prune.keep_daily, prune.keep_monthly), (Some(30), Some(24)));
    assert_eq!(prune.local_after, Some(Duration::from_hours(30 * 24)));
}

#[test]
fn the_bandwidth_can_be_one_rate_or_several() {
    let by_day = "transfer.bandwidth = { \"08:00\" = \"5 MiB/s\" }\n";
    for (before, text, expected) in [
        ("", "20 MiB/s", Bandwidth::Always(rate(20 << 20))),
        (by_day, "64 KiB/s", Bandwidth::Always(rate(64 << 10))),
        (by_day, "unlimited", Bandwidth::default()),
    ] {
        let folder = Folder::with(&format!("{before}{LEAST}")).variable("BACKUP_TRANSFER__BANDWIDTH", text);
        let loaded = folder.load().unwrap();
        assert_eq!(loaded.settings.transfer.bandwidth, expected);
        let row = source(&loaded, "transfer.bandwidth");
        assert_eq!(row, (text, "environment BACKUP_TRANSFER__BANDWIDTH"));
    }
    let folder = Folder::with(&format!("timezone = \"Asia/Seoul\"\n{by_day}{LEAST}"))
        .variable("BACKUP_TRANSFER__BANDWIDTH", "{ \"20:30\" = \"unlimited\" }");
    let loaded = folder.load().unwrap();
    assert_eq!(source(&loaded, "transfer.bandwidth.08:00"), ("5 MiB/s", "file backup.toml"));
    let row = source(&loaded, "transfer.bandwidth.20:30");
    assert_eq!(row, ("unlimited", "environment BACKUP_TRANSFER__BANDWIDTH"));
    let noon_in_seoul = "2026-11-23T03:00:00Z".parse().unwrap();
    let until = "2026-11-23T11:30:00Z".parse().unwrap();
    assert_eq!(loaded.settings.transfer.bandwidth.at(noon_in_seoul), (rate(5 << 20), Some(until)));
}

#[test]
fn each_layer_replaces_the_one_before_and_every_value_knows_its_source() {
    let mut folder =
        Folder::with(&format!("timezone = \"Asia/Seoul\"\n[logging]\nlevel = \"warning\"\n{LEAST}"))
            .variable("BACKUP_DESTINATION__BUCKET", "123")
            .variable("BACKUP_DESTINATION__TAGS__TEAM", "fleet")
            .variable("BACKUP_TRANSFER__CONCURRENCY", "8")
            .variable("BACKUP_LOGGING__LEVEL", "error");
    folder.request.set("logging.level", "debug", "--log-level");
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.settings.destination.bucket, "123");
    assert_eq!(loaded.settings.destination.tags["team"], "fleet");
    assert_eq!(loaded.settings.transfer.concurrency, Some(8));
    assert_eq!(loaded.settings.logging.level, slog::Level::Debug);
    for (key, value, from) in [
        ("job", "backup", "default"),
        ("host", "gateway-1.local", "default"),
        ("timezone", "Asia/Seoul", "file backup.toml"),
        ("source[0].path", "data", "file backup.toml"),
        ("source[0].min_age", "2m", "default"),
        ("source[0].include", "[]", "default"),
        ("destination.bucket", "123", "environment BACKUP_DESTINATION__BUCKET"),
        ("destination.tags.team", "fleet", "environment BACKUP_DESTINATION__TAGS__TEAM"),
        ("transfer.concurrency", "8", "environment BACKUP_TRANSFER__CONCURRENCY"),
        ("transfer.memory", "64 MiB", "default"),
        ("logging.level", "debug", "flag --log-level"),
        ("slack.on", "", ""),
    ] {
        assert_eq!(source(&loaded, key), (value, from), "{key}");
    }
}

#[test]
fn flags_are_checked_like_all_else() {
    let mut folder = Folder::with(LEAST);
    folder.request.set("logging.level", "loud", "--log-level");
    assert!(
        folder.said().starts_with("flag --log-level: logging.level: found \"loud\", expected one of"),
        "{}",
        folder.said()
    );
}

#[test]
fn lists_come_from_the_environment_in_three_ways() {
    let load = |sources: &str| {
        Folder::with(LEAST).variable("BACKUP_SOURCE", sources).load().unwrap().settings.sources
    };
    for text in
        ["[{ path = \"/a\", include = [\"*.json\"] }]", "[{\"path\": \"/a\", \"include\": [\"*.json\"]}]"]
    {
        let sources = load(text);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].path, Path::new("/a"));
        assert_eq!(sources[0].include, ["*.json"]);
        assert_eq!(sources[0].min_age, Duration::from_mins(2));
    }
    let slack = |on: &str| {
        Folder::with(&format!("{LEAST}[slack]\nchannel = \"#a\"\ntoken_env = \"T\"\n"))
            .variable("T", "xoxb-1")
            .variable("BACKUP_SLACK__ON", on)
            .load()
            .unwrap()
            .settings
            .slack
            .unwrap()
            .on
            .len()
    };
    assert_eq!((slack("failed, late"), slack("[\"failed\"]"), slack("")), (2, 1, 0));
}

#[test]
fn odd_variables_are_errors_or_warnings() {
    let problem = |name: &str| Folder::with(LEAST).variable(name, "x").said();
    assert!(problem("BACKUP_DESTINATION").contains("expected a table: write [destination]"));
    assert!(
        problem("BACKUP_SOURCE__0__PATH").contains("set all of them, as a list of tables: BACKUP_SOURCE='[{")
    );
    assert!(problem("BACKUP_JOB__A__HOST").contains("settings of the chosen job are set without its name"));
    assert!(problem("BACKUP_SCHEDULE__CRON").contains("is not a cron expression"));
    assert!(problem("BACKUP_JOB__A").contains("without its name"));
    assert!(problem("BACKUP_HOST__A").contains("there is nothing below this key"));

    let warnings =
        |name: &str| Folder::with(LEAST).variable(name, "tcp://10.0.0.1:80").load().unwrap().warnings;
    assert_eq!(
        warnings("BACKUP_PORT_80_TCP"),
        ["the environment variable BACKUP_PORT_80_TCP is not a setting and was ignored"]
    );
    assert_eq!(
        warnings("BACKUP_DESTINATION_BUCKET"),
        [
            "the environment variable BACKUP_DESTINATION_BUCKET is not a setting and was ignored; did you mean \
          BACKUP_DESTINATION__BUCKET?"
        ]
    );
    for ours in ["BACKUP_RUN_ID", "BACKUP_DAY", "BACKUP_FACTS", "BACKUPS", "OTHER"] {
        assert!(warnings(ours).is_empty(), "{ours}");
    }
}

#[test]
fn tables_that_are_absent_have_no_defaults_and_the_environment_can_make_them() {
    let least = Folder::with(LEAST).load().unwrap();
    assert_eq!(source(&least, "guard.max_changed"), ("50%", "default"));
    assert_eq!(source(&least, "schedule.deadline"), ("", ""));
    let loaded = Folder::with(LEAST)
        .variable("BACKUP_SCHEDULE__CRON", "@daily")
        .variable("BACKUP_SCHEDULE__CATCH_UP", "false")
        .variable("BACKUP_GUARD__MAX_CHANGED", "off")
        .variable("BACKUP_PRUNE__KEEP_DAILY", "7")
        .load()
        .unwrap();
    let schedule = loaded.settings.schedule.as_ref().unwrap();
    assert_eq!((schedule.schedule.cron(), schedule.catch_up), ("@daily", false));
    assert_eq!(
        (schedule.deadline, schedule.max_runtime),
        (Duration::from_hours(1), Duration::from_hours(10))
    );
    assert_eq!(loaded.settings.max_changed_percent, 100);
    let prune = loaded.settings.prune.unwrap();
    assert_eq!((prune.keep_daily, prune.keep_monthly, prune.local_after), (Some(7), None, None));
    for (key, value, from) in [
        ("schedule.cron", "@daily", "environment BACKUP_SCHEDULE__CRON"),
        ("schedule.catch_up", "false", "environment BACKUP_SCHEDULE__CATCH_UP"),
        ("schedule.deadline", "1h", "default"),
        ("guard.max_changed", "off", "environment BACKUP_GUARD__MAX_CHANGED"),
        ("prune.keep_daily", "7", "environment BACKUP_PRUNE__KEEP_DAILY"),
        ("prune.keep_monthly", "", ""),
    ] {
        assert_eq!(source(&loaded, key), (value, from), "{key}");
    }
}

#[test]
fn due_times_are_in_the_zone_of_the_job() {
    let jobs = "timezone = \"UTC\"\nschedule.cron = \"0 20 * * *\"\n";
    let zoned = format!("{jobs}{LEAST}[job.seoul]\ntimezone = \"Asia/Seoul\"\n");
    let settings = Folder::with(&zoned).load().unwrap().settings;
    assert_eq!(settings.schedule.unwrap().schedule.timezone(), chrono_tz::Asia::Seoul);
}

const JOBS: &str = "
    timezone = \"Asia/Seoul\"
    source = [{ path = \"/all\" }, { path = \"/more\" }]
    [destination]
    bucket = \"b\"
    prefix = \"p\"
    [job.trips]
    [job.stats]
    source = [{ path = \"/stats\" }]
    destination.prefix = \"s\"
    ";

#[test]
fn jobs_inherit_the_top_level() {
    let folder = Folder::with(JOBS).job("stats");
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.jobs, ["trips", "stats"]);
    let settings = &loaded.settings;
    assert_eq!(settings.job.as_str(), "stats");
    assert_eq!(settings.timezone, chrono_tz::Asia::Seoul);
    assert_eq!(settings.sources.len(), 1);
    assert_eq!((settings.destination.bucket.as_str(), settings.destination.prefix.as_str()), ("b", "s"));
    let trips = Folder::with(JOBS).variable("BACKUP_JOB", "trips").load().unwrap().settings;
    assert_eq!(
        (trips.job.as_str(), trips.sources.len(), trips.destination.prefix.as_str()),
        ("trips", 2, "p")
    );
    let one = Folder::with(&format!("{LEAST}[job.only]\n")).load().unwrap();
    assert_eq!((one.settings.job.as_str(), one.jobs), ("only", vec!["only".to_owned()]));
}

#[test]
fn a_job_must_be_chosen_and_known() {
    assert!(
        matches!(Folder::with(JOBS).load(), Err(Error::SeveralJobs { names }) if names == ["trips", "stats"])
    );
    assert_eq!(
        Folder::with(JOBS).said(),
        "the configuration holds several jobs; choose one with --job: trips, stats"
    );
    let unknown = "there is no job \"trip\"; the configuration has: trips, stats";
    assert_eq!(Folder::with(JOBS).job("trip").said(), unknown);
    assert_eq!(Folder::with(JOBS).variable("BACKUP_JOB", "trip").said(), unknown);
    assert_eq!(Folder::with(LEAST).job("x").said(), "there is no job \"x\"; the configuration has: backup");
    let named = format!("job = \"a\"\n{LEAST}");
    assert_eq!(Folder::with(&named).job("a").load().unwrap().jobs, ["a"]);
    assert_eq!(Folder::with(&named).variable("BACKUP_JOB", "b").load().unwrap().jobs, ["b"]);
}

#[test]
fn all_jobs_are_read_unless_one_is_named() {
    let names = |folder: &Folder| -> Result<Vec<String>, Error> {
        Ok(load_all(&folder.request)?.iter().map(|loaded| loaded.settings.job.to_string()).collect())
    };
    assert_eq!(names(&Folder::with(JOBS)).unwrap(), ["trips", "stats"]);
    assert_eq!(names(&Folder::with(JOBS).job("stats")).unwrap(), ["stats"]);
    assert_eq!(names(&Folder::with(LEAST)).unwrap(), ["backup"]);
    let broken = Folder::with(&format!("{JOBS}[job.third]\nsource = [{{ prefix = \"x\" }}]\n"));
    assert!(matches!(names(&broken), Err(Error::Invalid(problems)) if problems[0].key == "source[0].path"));
}

#[test]
fn problems_in_jobs_have_their_lines() {
    for (text, expected) in [
        (
            "[job.a]\njob = \"b\"\n",
            "backup.toml, line 6: job.a.job: the table's name is the job's name (a); leave it out",
        ),
        (
            "[job]\nname = \"b\"\n",
            "backup.toml, line 6: job.name: expected either job = \"NAME\" or tables [job.NAME]",
        ),
        (
            "[job.a.destination]\nbuckt = \"b\"\n",
            "backup.toml, line 6: job.a.destination.buckt: unknown key; did you mean job.a.destination.bucket?",
        ),
        (
            "[job.a.destination]\nkms_key_id = \"b\"\n",
            "backup.toml, line 6: destination.kms_key_id: has no meaning without sse = \"aws:kms\"",
        ),
    ] {
        assert_eq!(Folder::with(&format!("{LEAST}{text}")).said(), expected);
    }
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = "job: telemetry\nsource:\n  - path: data\n    min_age: 0s\ndestination:\n  bucket: b\ntransfer:\n  concurrency: 4\n";
    let json = r#"{"job": "telemetry", "source": [{"path": "data", "min_age": "0s"}], "destination": {"bucket": "b"}, "transfer": {"concurrency": 4}}"#;
    for (name, text) in [("backup.yaml", yaml), ("backup.yml", yaml), ("backup.json", json)] {
        let mut folder = Folder::new();
        folder.write(name, text);
        folder.request.file = Some(name.into());
        let loaded = folder.load().unwrap();
        assert_eq!(loaded.settings.job.as_str(), "telemetry");
        assert_eq!(loaded.settings.sources[0].path, folder.dir.path().join("data"));
        assert_eq!(loaded.settings.transfer.concurrency, Some(4));
        assert_eq!(source(&loaded, "job"), ("telemetry", &*format!("file {name}")));

        folder.write(name, &text.replace("telemetry", "tele metry"));
        assert!(
            folder.said().starts_with(&format!("{name}: job: \"tele metry\" is not a name")),
            "{}",
            folder.said()
        );
        folder.write(name, "\"xoxb-hush\"");
        assert_eq!(folder.said(), format!("{name}: expected keys and values"));
        folder.write(name, "{\"a\": \"xoxb-hush\", ]");
        let said = folder.said();
        assert!(
            said.starts_with(&format!("{name}: not ")) && said.contains("line 1") && !said.contains("hush"),
            "{said}"
        );
    }
}

#[test]
fn the_state_goes_where_the_user_keeps_it() {
    let state = |user: u32, name: &str, value: &str| {
        let mut folder = Folder::with(LEAST).variable(name, value);
        folder.request.file = Some("backup.toml".into());
        folder.request.user = user;
        let loaded = folder.load().unwrap();
        let shown = loaded.settings.state_dir.to_str().unwrap();
        assert_eq!(source(&loaded, "state_dir"), (shown, "default"));
        loaded.settings.state_dir
    };
    let kept = |at: &str| Path::new(at).to_owned();
    assert_eq!(state(0, "X", ""), kept("/var/lib/s3backup"));
    assert_eq!(state(0, "XDG_STATE_HOME", "/s"), kept("/s/s3backup"));
    assert_eq!(state(1000, "X", ""), kept("/home/fleet/.local/state/s3backup"));
    assert_eq!(state(1000, "XDG_STATE_HOME", "/s"), kept("/s/s3backup"));
    assert_eq!(state(1000, "XDG_STATE_HOME", "s"), kept("/home/fleet/.local/state/s3backup"));
    let mut folder = Folder::with(LEAST);
    folder.request.file = Some("backup.toml".into());
    folder.request.user = 1000;
    folder.request.environment.clear();
    assert_eq!(
        folder.said(),
        "backup.toml: state_dir: missing, as neither XDG_STATE_HOME nor HOME is set; name the directory for the catalog \
         and the lock"
    );
    let folder = folder.variable("BACKUP_STATE_DIR", "state");
    assert_eq!(folder.load().unwrap().settings.state_dir, folder.dir.path().join("state"));
}
