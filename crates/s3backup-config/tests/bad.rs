//! What cannot be is said with the file, the line, the key, what was found and what was expected.

mod common;

use common::{Folder, LEAST};
use s3backup_config::Error;

/// A line that is put before the least configuration, and what is said of it.
const AT_THE_TOP: &[(&str, &str)] = &[
    ("jub = 1", "jub: unknown key; did you mean job?"),
    ("bucket = \"b\"", "bucket: unknown key here; did you mean bucket in [destination]?"),
    ("min_age = \"2m\"", "min_age: unknown key here; did you mean min_age in a [[source]]?"),
    (
        "colour = \"red\"",
        "colour: unknown key; known here: job, host, timezone, state_dir, step, source, destination, transfer, \
         guard, schedule, prune, slack, alert, metrics, logging, verify, ping",
    ),
    ("job = 7", "job: found the number 7, expected a name in quotes"),
    (
        "job = \"a b\"",
        "job: \"a b\" is not a name: use 1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter, a digit or _",
    ),
    ("timezone = \"KST\"", "timezone: found \"KST\", expected a time zone such as \"Asia/Seoul\""),
    (
        "timezone = \"Asia/Soul\"",
        "timezone: found \"Asia/Soul\", expected a time zone such as \"Asia/Seoul\"; did you mean \"Asia/Seoul\"?",
    ),
    (
        "timezone = \"seoul\"",
        "timezone: found \"seoul\", expected a time zone such as \"Asia/Seoul\"; did you mean \"Asia/Seoul\"?",
    ),
    ("timezone = 9", "timezone: found the number 9, expected a time zone such as \"Asia/Seoul\""),
    ("state_dir = \"\"", "state_dir: it is empty, expected a path in quotes"),
    ("slack = \"#alarms\"", "slack: expected a table: write [slack] and its keys below"),
    (
        "schedule = {}",
        "schedule.cron: missing; say when a run is due, such as \"0 20 * * *\" for every day at 20:00",
    ),
    (
        "schedule.cron = \"0 25 * * *\"",
        "schedule.cron: \"0 25 * * *\" is not a cron expression: the hour is \"25\", expected 0 to 23, with * , - /; write minute, hour, day of month, month and day of week, \
         such as \"0 20 * * *\" for every day at 20:00",
    ),
    (
        "schedule.cron = \"20:00\"",
        "schedule.cron: \"20:00\" is not a cron expression: it has 1 of 5 fields; write minute, hour, day of month, month and day of week, \
         such as \"0 20 * * *\" for every day at 20:00",
    ),
    (
        "schedule.cron = \"0 0 30 2 *\"",
        "schedule.cron: \"0 0 30 2 *\" is never due: no month that it names has such a day",
    ),
    (
        "schedule.cron = 20",
        "schedule.cron: found the number 20, expected a cron expression in quotes, such as \"0 20 * * *\"",
    ),
    (
        "schedule = { cron = \"@daily\", catch_up = \"yes\" }",
        "schedule.catch_up: found \"yes\", expected true or false",
    ),
    (
        "schedule = { cron = \"@daily\", deadline = \"0s\" }",
        "schedule.deadline: found \"0s\", expected a duration above zero, such as \"2m\" or \"1h 30m\"",
    ),
    (
        "schedule = { cron = \"@daily\", max_runtime = \"long\" }",
        "schedule.max_runtime: found \"long\", expected a duration above zero, such as \"2m\" or \"1h 30m\"",
    ),
    (
        "schedule = { cron = \"@daily\", warn_after = \"0s\" }",
        "schedule.warn_after: found \"0s\", expected a duration above zero, such as \"2m\" or \"1h 30m\"",
    ),
    (
        "schedule = { cron = \"@daily\", deadline = \"10m\", jitter = \"10m\" }",
        "schedule.jitter: must be shorter than schedule.deadline: a run that starts after it is late before it begins",
    ),
    (
        "guard.max_changed = \"0%\"",
        "guard.max_changed: found \"0%\", expected a share from \"1%\" to \"100%\", or \"off\"",
    ),
    (
        "guard.max_changed = 50",
        "guard.max_changed: found the number 50, expected a share from \"1%\" to \"100%\", or \"off\"",
    ),
    (
        "prune = {}",
        "prune: says nothing; set keep_daily, keep_monthly or local_after, or leave the table out to delete nothing",
    ),
    ("prune.keep_daily = 0", "prune.keep_daily: found the number 0, expected a whole number from 1 to 36500"),
    (
        "prune.keep_monthly = \"24\"",
        "prune.keep_monthly: found \"24\", expected a whole number from 1 to 1200",
    ),
    (
        "prune.local_after = 30",
        "prune.local_after: found the number 30, expected a duration above zero, such as \"2m\" or \"1h 30m\"",
    ),
    (
        "metrics = {}",
        "metrics: says nothing; set textfile or pushgateway, or leave the table out to send no metrics",
    ),
    (
        "metrics.pushgateway = \"127.0.0.1:9091\"",
        "metrics.pushgateway: found \"127.0.0.1:9091\", expected a URL such as \"https://slack.com/api\"",
    ),
    ("verify = {}", "verify: says nothing; set every, such as \"7d\", or leave the table out"),
    (
        "verify.every = \"0s\"",
        "verify.every: found \"0s\", expected a duration above zero, such as \"2m\" or \"1h 30m\"",
    ),
    ("ping = {}", "ping: says no URL; name with url_env or url_file the variable or the file that holds it"),
    (
        "ping.url = \"https://hc-ping.com/hush\"",
        "ping.url: a ping URL is a secret and does not belong into the configuration; put it into an environment variable \
         or a file, and name that with url_env or url_file",
    ),
    ("ping.url_env = \"ABSENT\"", "ping.url_env: the environment variable ABSENT is not set"),
    (
        "transfer.memory = \"1 MiB\"",
        "transfer.memory: found \"1 MiB\", expected a size such as \"64 MiB\", at least 8 MiB",
    ),
    (
        "transfer.part_size = \"6 GiB\"",
        "transfer.part_size: found \"6 GiB\", expected \"auto\" or a size such as \"64 MiB\", at least 5 MiB and at \
         most 5 GiB",
    ),
    (
        "transfer.concurrency = 0",
        "transfer.concurrency: found the number 0, expected \"auto\" or a whole number from 1 to 1024",
    ),
    (
        "transfer.concurrency = \"many\"",
        "transfer.concurrency: found \"many\", expected \"auto\" or a whole number from 1 to 1024",
    ),
    (
        "transfer.checksum = \"crc64\"",
        "transfer.checksum: found \"crc64\", expected one of \"crc64nvme\", \"crc32c\", \"sha256\", \"none\"",
    ),
    (
        "transfer.checksum = \"crc32\"",
        "transfer.checksum: found \"crc32\", expected one of \"crc64nvme\", \"crc32c\", \"sha256\", \"none\"; did you \
         mean \"crc32c\"?",
    ),
    (
        "transfer.grace = \"soon\"",
        "transfer.grace: found \"soon\", expected a duration such as \"2m\" or \"1h 30m\"",
    ),
    (
        "transfer.grace = 3",
        "transfer.grace: found the number 3, expected a duration such as \"2m\" or \"1h 30m\"",
    ),
    (
        "transfer.bandwidth = \"20 MiB\"",
        "transfer.bandwidth: found \"20 MiB\", expected \"unlimited\", a rate such as \"20 MiB/s\", at least 64 KiB/s, or rates by time of day, such as { \"08:00\" = \"5 MiB/s\", \"20:00\" = \"unlimited\" }",
    ),
    (
        "transfer.bandwidth = \"20 Mb/s\"",
        "transfer.bandwidth: found \"20 Mb/s\", expected \"unlimited\", a rate such as \"20 MiB/s\", at least 64 KiB/s, or rates by time of day, such as { \"08:00\" = \"5 MiB/s\", \"20:00\" = \"unlimited\" }",
    ),
    (
        "transfer.bandwidth = \"1 KiB/s\"",
        "transfer.bandwidth: found \"1 KiB/s\", expected \"unlimited\", a rate such as \"20 MiB/s\", at least 64 KiB/s, or rates by time of day, such as { \"08:00\" = \"5 MiB/s\", \"20:00\" = \"unlimited\" }",
    ),
    (
        "transfer.bandwidth = 20",
        "transfer.bandwidth: found the number 20, expected \"unlimited\", a rate such as \"20 MiB/s\", at least 64 KiB/s, or rates by time of day, such as { \"08:00\" = \"5 MiB/s\", \"20:00\" = \"unlimited\" }",
    ),
    (
        "transfer.bandwidth = {}",
        "transfer.bandwidth: it is an empty table, expected rates by time of day, such as { \"08:00\" = \"5 MiB/s\", \"20:00\" = \"unlimited\" }",
    ),
    (
        "transfer.bandwidth = { \"8:00\" = \"5 MiB/s\" }",
        "transfer.bandwidth.8:00: not a time of day; write it as \"08:00\", from \"00:00\" to \"23:59\"",
    ),
    (
        "transfer.bandwidth = { \"08:00\" = 5 }",
        "transfer.bandwidth.08:00: found the number 5, expected \"unlimited\" or a rate such as \"20 MiB/s\", at least 64 KiB/s",
    ),
    (
        "transfer.bandwidth = { \"08:00\" = { \"09:00\" = \"unlimited\" } }",
        "transfer.bandwidth.08:00: found a table, expected \"unlimited\" or a rate such as \"20 MiB/s\", at least 64 KiB/s",
    ),
    ("transfer.http = \"slow\"", "transfer.http: found \"slow\", expected one of \"fast\", \"sdk\""),
    (
        "transfer.compress = \"zstd\"",
        "transfer.compress: not built yet: compression; leave it out, or write \"none\"",
    ),
    (
        "transfer.encrypt_to = [\"age1x\"]",
        "transfer.encrypt_to: not built yet: encryption by this program (`destination.sse` lets the server encrypt); \
         leave it out, or write []",
    ),
    (
        "logging.keep_days = -1",
        "logging.keep_days: found the number -1, expected a whole number from 0 to 36500",
    ),
    (
        "logging.level = \"verbose\"",
        "logging.level: found \"verbose\", expected one of \"error\", \"warning\", \"warn\", \"info\", \"debug\", \"trace\"",
    ),
    (
        "slack.on = [\"sucess\"]",
        "slack.on: found [\"sucess\"], expected a list of some of \"success\", \"partial\", \"failed\", \"late\", \"long_running\", \"recovered\", \"shrunk\", \"differs\", \"unwatched\"",
    ),
    (
        "slack.api_url = \"slack.com\"",
        "slack.api_url: found \"slack.com\", expected a URL such as \"https://slack.com/api\"",
    ),
];

/// A line below `[destination]`.
const IN_DESTINATION: &[(&str, &str)] = &[
    ("buket = \"x\"", "destination.buket: unknown key; did you mean destination.bucket?"),
    (
        "timezone = \"UTC\"",
        "destination.timezone: unknown key here; did you mean timezone, at the top of the file before any [table]?",
    ),
    ("prefix = 5", "destination.prefix: found the number 5, expected a text in quotes"),
    (
        "endpoint = \"localhost:9000\"",
        "destination.endpoint: found \"localhost:9000\", expected a URL such as \"http://127.0.0.1:9000\", or \"embedded:DIR\"",
    ),
    (
        "endpoint = \"embedded:\"",
        "destination.endpoint: found \"embedded:\", expected a URL such as \"http://127.0.0.1:9000\", or \"embedded:DIR\"",
    ),
    (
        "endpoint = \"u:hush@h\"",
        "destination.endpoint: a user name or password does not belong into a URL (what was found is not shown)",
    ),
    (
        "endpoint = \"http://u:hush@h\"",
        "destination.endpoint: a user name or password does not belong into a URL (what was found is not shown)",
    ),
    ("sse = \"kms\"", "destination.sse: found \"kms\", expected one of \"AES256\", \"aws:kms\""),
    ("kms_key_id = \"k\"", "destination.kms_key_id: has no meaning without sse = \"aws:kms\""),
    (
        "tags = [\"a\"]",
        "destination.tags: found [\"a\"], expected a table of texts, such as { name = \"value\" }",
    ),
    (
        "tags = { a = 1 }",
        "destination.tags: found a table, expected a table of texts, such as { name = \"value\" }",
    ),
    (
        "layout = \"bundles\"",
        "destination.layout: not built yet: bundles; leave it out, or write \"objects\"",
    ),
    (
        "secret_access_key = \"hush\"",
        "destination.secret_access_key: AWS credentials are never read from here; give them the AWS way: \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), SSO, or a role of the machine",
    ),
];

/// A line below `[[source]]`.
const IN_SOURCE: &[(&str, &str)] = &[
    ("includes = [\"*\"]", "source[0].includes: unknown key; did you mean source[0].include?"),
    (
        "include = \"*.json\"",
        "source[0].include: found \"*.json\", expected a list of texts, such as [\"a\", \"b\"]",
    ),
    ("min_age = \"2\"", "source[0].min_age: found \"2\", expected a duration such as \"2m\" or \"1h 30m\""),
    ("compare = \"size\"", "source[0].compare: found \"size\", expected one of \"mtime\", \"checksum\""),
    (
        "select = \"new\"",
        "source[0].select: found \"new\", expected one of \"changed\", \"all\", \"day:yesterday\", \"day:today\", or \
         a day such as \"day:2026-11-23\"",
    ),
    (
        "select = \"day:2026-02-30\"",
        "source[0].select: found \"day:2026-02-30\", expected one of \"changed\", \"all\", \"day:yesterday\", \"day:today\", or \
         a day such as \"day:2026-11-23\"",
    ),
];

fn check(lines: &[(&str, &str)], before: &str, after: &str) {
    for (line, expected) in lines {
        let folder = Folder::with(&format!("{before}{line}\n{after}"));
        let number = before.lines().count() + 1;
        assert_eq!(folder.said(), format!("backup.toml, line {number}: {expected}"), "{line}");
    }
}

#[test]
fn at_the_top() {
    check(AT_THE_TOP, "# a comment\n", LEAST);
}

#[test]
fn in_the_destination() {
    check(IN_DESTINATION, LEAST, "");
}

#[test]
fn in_a_source() {
    check(IN_SOURCE, "[destination]\nbucket = \"b\"\n[[source]]\npath = \"data\"\n", "");
}

#[test]
fn in_a_step() {
    let before = format!("{LEAST}[[step]]\nname = \"s\"\n");
    check(
        &[
            ("each = \"week\"", "step[0].each: found \"week\", expected one of \"run\", \"day\""),
            (
                "command = \"mysqldump -phush\"",
                "step[0].command: expected a list of the program and its arguments, such as [\"python3\", \"x.py\"]; \
                 what was found is not shown, as it may hold a secret",
            ),
            (
                "timeout = \"0s\"",
                "step[0].timeout: found \"0s\", expected a duration above zero, such as \"2m\" or \"1h 30m\"",
            ),
        ],
        &before,
        "",
    );
}

#[test]
fn buckets() {
    for bad in ["", "s3://b", "b/x", "a b", "b\\n"] {
        let folder =
            Folder::with(&format!("source = [{{ path = \"d\" }}]\ndestination.bucket = \"{bad}\"\n"));
        let said = folder.said();
        let what = if bad.is_empty() { "it is empty" } else { "found \"" };
        assert!(said.starts_with(&format!("backup.toml, line 2: destination.bucket: {what}")), "{said}");
        assert!(said.ends_with("expected the name of a bucket, without s3:// and without a slash"), "{said}");
    }
    for good in ["fleet-backup", "b.1", "arn:aws:s3:eu-west-1:1:accesspoint/x"] {
        let folder =
            Folder::with(&format!("source = [{{ path = \"d\" }}]\ndestination.bucket = \"{good}\"\n"));
        assert_eq!(folder.load().unwrap().settings.destination.bucket, good);
    }
}

#[test]
fn what_is_missing_is_said_where_it_is_missing() {
    let folder =
        Folder::with("job = \"a\"\n[destination]\nprefix = \"x\"\n[[source]]\nprefix = \"x\"\n[[step]]\n");
    assert_eq!(
        folder.said(),
        "the configuration has 4 problems:\
         \n  backup.toml, line 6: step[0].name: missing; give the step a name for logs and reports\
         \n  backup.toml, line 6: step[0].command: missing; say which program to run, as a list\
         \n  backup.toml, line 4: source[0].path: missing; name the directory that is to be backed up\
         \n  backup.toml, line 2: destination.bucket: missing; set the name of the bucket"
    );
    assert_eq!(
        Folder::with("").said(),
        "the configuration has 2 problems:\
         \n  backup.toml: source: missing; say with [[source]] and its `path` what is to be backed up\
         \n  backup.toml: destination.bucket: missing; set the name of the bucket"
    );
}

#[test]
fn single_bracket_is_explained() {
    let folder = Folder::with("[source]\npath = \"d\"\n[destination]\nbucket = \"b\"\n");
    assert_eq!(
        folder.said(),
        "backup.toml, line 1: source: expected a list of tables: write [[source]] with two brackets"
    );
}

#[test]
fn several_problems_are_told_at_once_in_the_order_of_the_file() {
    let folder = Folder::with("[transfer]\nmemory = 1\n[destination]\nbuckt = \"b\"\n")
        .variable("BACKUP_TRANSFER__GRACE", "soon")
        .variable("BACKUP_DESTINATION__BUKET", "b");
    assert_eq!(
        folder.said(),
        "the configuration has 4 problems:\
         \n  backup.toml, line 2: transfer.memory: found the number 1, expected a size such as \"64 MiB\", at least 8 MiB\
         \n  backup.toml, line 4: destination.buckt: unknown key; did you mean destination.bucket?\
         \n  environment BACKUP_DESTINATION__BUKET: destination.buket: unknown key; did you mean destination.bucket?\
         \n  environment BACKUP_TRANSFER__GRACE: transfer.grace: found \"soon\", expected a duration such as \"2m\" or \
         \"1h 30m\""
    );
}

#[test]
fn broken_syntax_is_said_with_its_line_and_without_the_line_itself() {
    let folder = Folder::with("job = \"a\"\n[slack]\ntoken_env = \"xoxb-hush\nchannel = \"#a\"\n");
    let said = folder.said();
    assert!(said.starts_with("backup.toml, line 3: not TOML: "), "{said}");
    assert!(!said.contains("hush") && !said.contains('\n'), "{said}");
    let folder = Folder::with("job = \"a\"\njob = \"b\"\n");
    assert_eq!(folder.said(), "backup.toml, line 2: not TOML: duplicate key");
    let folder = Folder::new();
    std::fs::write(folder.dir.path().join("backup.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    assert_eq!(folder.said(), "backup.toml, line 2: not UTF-8; save it as UTF-8");
}

#[test]
fn an_error_can_be_told_apart() {
    assert!(matches!(Folder::with("x = 1").load(), Err(Error::Invalid(problems)) if problems[0].key == "x"));
    assert!(matches!(Folder::with("x").load(), Err(Error::Syntax { line: Some(1), .. })));
    assert!(matches!(Folder::new().load(), Err(Error::NotFound { .. })));
}
