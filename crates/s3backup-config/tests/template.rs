//! The template loads, knows every key, and tells the truth about defaults.

mod common;

use common::Folder;
use s3backup_config::template;

/// With the bucket and the source that a person fills in.
fn filled(text: &str) -> String {
    text.replacen("path = \"\"", "path = \"/data/trips\"", 1).replacen("bucket = \"\"", "bucket = \"b\"", 1)
}

#[test]
fn loads_once_it_is_filled_in() {
    let empty = Folder::with(template());
    assert!(
        empty.said().contains("source[0].path: it is empty")
            && empty.said().contains("destination.bucket: it is empty")
    );
    let loaded = Folder::with(&filled(template())).load().unwrap();
    assert_eq!(loaded.settings.destination.bucket, "b");
    assert!(loaded.warnings.is_empty() && loaded.settings.slack.is_none());
}

/// Takes the comment sign from every line that is a table or a key.
fn uncommented() -> String {
    let is_key = |line: &str| {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        line.starts_with('[') || (word && line.get(name.len()..).is_some_and(|rest| rest.starts_with(" = ")))
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_key(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    filled(template()).lines().map(line).collect()
}

#[test]
fn every_commented_key_can_be_used() {
    let folder = Folder::with(&uncommented())
        .variable("SLACK_BOT_TOKEN", "xoxb-1")
        .variable("HEALTHCHECK_URL", "https://hc-ping.com/x");
    let loaded = match folder.load() {
        Ok(loaded) => loaded,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(loaded.settings.steps.len(), 1);
    assert!(loaded.settings.slack.is_some() && loaded.settings.schedule.is_some());
    assert!(loaded.settings.ping.is_some() && loaded.settings.verify_every.is_some());
    assert!(loaded.settings.prune.is_some_and(|prune| prune.local_after.is_some()));
    assert!(
        loaded.explain().iter().all(|row| row.key == "slack.token" || row.source != "default"),
        "a key is not in it: {:?}",
        loaded.explain().iter().filter(|row| row.source == "default").map(|row| &row.key).collect::<Vec<_>>()
    );
}

#[test]
fn what_it_shows_as_defaults_are_the_defaults() {
    let least =
        Folder::with("source = [{ path = \"/data/trips\" }]\ndestination.bucket = \"b\"\n").load().unwrap();
    let all = Folder::with(&uncommented())
        .variable("SLACK_BOT_TOKEN", "xoxb-1")
        .variable("HEALTHCHECK_URL", "https://hc-ping.com/x")
        .load()
        .unwrap();
    for row in least.explain() {
        let shown = all.explain().iter().find(|shown| shown.key == row.key).unwrap();
        let examples = ["host", "state_dir", "source[0].include", "source[0].exclude"];
        if !examples.contains(&row.key.as_str()) {
            assert_eq!(shown.value, row.value, "{}", row.key);
        }
    }
}
