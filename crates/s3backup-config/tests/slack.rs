//! Slack: one way, its secret from outside, and nowhere to be seen.

mod common;

use common::{Folder, LEAST};
use s3backup_config::tolerant_start;
use s3backup_core::AlertKind;
use s3backup_core::options::{SlackOptions, SlackWay};

const TOKEN: &str = "xoxb-1-hush";

fn slack(lines: &str) -> Folder {
    Folder::with(&format!("{LEAST}[slack]\n{lines}")).variable("TOKEN", TOKEN).variable("EMPTY", " ")
}

fn token(options: &SlackOptions) -> &str {
    match &options.way {
        SlackWay::Bot { token, .. } => token.expose(),
        SlackWay::Webhook { url } => url.expose(),
    }
}

#[test]
fn bot_and_webhook_from_variable_and_file() {
    let load = |folder: &Folder| folder.load().unwrap().settings.slack.unwrap();
    let folder = slack(
        "channel = \"#a\"\ntoken_env = \"TOKEN\"\nmention = [\"@here\"]\non = [\"late\", \"failed\"]\n",
    );
    let options = load(&folder);
    assert_eq!(token(&options), TOKEN);
    assert!(matches!(&options.way, SlackWay::Bot { channel, api_url, .. }
        if channel == "#a" && api_url == "https://slack.com/api"));
    assert_eq!(options.mention, ["@here"]);
    assert_eq!(options.on.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(), ["failed", "late"]);

    let folder = slack("channel = \"C1\"\ntoken_file = \"secrets/token\"\n");
    folder.write("secrets/token", "xoxb-2-hush\n");
    assert_eq!(token(&load(&folder)), "xoxb-2-hush");
    assert_eq!(load(&folder).on.len(), AlertKind::ALL.len());

    let folder = slack("webhook_env = \"HOOK\"\n").variable("HOOK", "https://hooks.slack.com/services/hush");
    assert_eq!(token(&load(&folder)), "https://hooks.slack.com/services/hush");
    let folder = slack("webhook_file = \"hook\"\nchannel = \"#a\"\n");
    folder.write("hook", "https://hooks.slack.com/services/hush\n");
    assert_eq!(token(&load(&folder)), "https://hooks.slack.com/services/hush");
    assert_eq!(
        folder.load().unwrap().warnings,
        ["slack.channel has no effect: a webhook posts into the channel that it was made for"]
    );
}

#[test]
fn what_cannot_work_is_an_error_not_silence() {
    for (lines, expected) in [
        (
            "",
            "5: slack: says no way to Slack; set channel and token_env (or token_file), or webhook_env (or webhook_file)",
        ),
        (
            "channel = \"#a\"",
            "5: slack: says no way to Slack; set channel and token_env (or token_file), or webhook_env (or webhook_file)",
        ),
        (
            "token_env = \"TOKEN\"",
            "5: slack.channel: missing; set the channel's name (\"#alarms\") or its id",
        ),
        (
            "token_env = \"TOKEN\"\nchannel = \" \"",
            "7: slack.channel: it is empty, expected a text in quotes",
        ),
        (
            "token_env = \"TOKEN\"\nchannel = \"#\"",
            "7: slack.channel: missing; set the channel's name (\"#alarms\") or its id",
        ),
        (
            "channel = \"#a\"\ntoken_env = \"ABSENT\"",
            "7: slack.token_env: the environment variable ABSENT is not set",
        ),
        (
            "channel = \"#a\"\ntoken_env = \"EMPTY\"",
            "7: slack.token_env: the environment variable EMPTY is empty",
        ),
        ("webhook_env = \"ABSENT\"", "6: slack.webhook_env: the environment variable ABSENT is not set"),
        (
            "channel = \"#a\"\ntoken_file = \"absent\"",
            "7: slack.token_file: cannot read DIR/absent: No such file or directory (os error 2)",
        ),
        ("channel = \"#a\"\ntoken_file = \"/dev/null\"", "7: slack.token_file: the file /dev/null is empty"),
        (
            "token_env = \"TOKEN\"\ntoken_file = \"x\"\nchannel = \"#a\"",
            "7: slack.token_file: token_env and token_file are both set; choose one of them",
        ),
        (
            "token_env = \"TOKEN\"\nwebhook_env = \"TOKEN\"",
            "5: slack: holds a bot token and a webhook; choose one of them",
        ),
        (
            "token = \"xoxb-1-hush\"",
            "6: slack.token: a token does not belong into the configuration; put it into an environment variable or a \
             file, and name that with token_env or token_file",
        ),
        (
            "webhook_url = \"https://hooks.slack.com/hush\"",
            "6: slack.webhook_url: a webhook URL is a secret and does not belong into the configuration; put it into \
             an environment variable or a file, and name that with webhook_env or webhook_file",
        ),
        (
            "api_url = \"https://hooks.slack.com/hush\"",
            "6: slack.api_url: this looks like a secret; name a variable or a file that holds it with token_env, token_file, webhook_env or webhook_file",
        ),
        (
            "api_url = \"xoxb-1-hush\"",
            "6: slack.api_url: this looks like a secret; name a variable or a file that holds it with token_env, token_file, webhook_env or webhook_file",
        ),
        (
            "token_env = \"xoxb-1-hush\"",
            "6: slack.token_env: expected the name of an environment variable that holds the secret; what was found \
             is not shown, as it may hold a secret",
        ),
        (
            "webhook_file = \"https://hooks.slack.com/hush\"",
            "6: slack.webhook_file: expected the path of a file that holds the secret; what was found is not shown, as \
             it may hold a secret",
        ),
    ] {
        assert_eq!(slack(lines).said(), format!("backup.toml, line {expected}"), "{lines}");
    }
}

#[test]
fn a_way_from_the_environment_alone() {
    let folder = Folder::with(LEAST)
        .variable("BACKUP_SLACK__CHANNEL", "#a")
        .variable("BACKUP_SLACK__TOKEN_ENV", "TOKEN")
        .variable("TOKEN", TOKEN);
    assert_eq!(token(&folder.load().unwrap().settings.slack.unwrap()), TOKEN);
    let folder = Folder::with(LEAST).variable("BACKUP_SLACK__TOKEN", TOKEN);
    assert!(
        folder.said().starts_with("environment BACKUP_SLACK__TOKEN: slack.token: a token does not belong")
    );
    assert!(!folder.said().contains("hush"));
}

#[test]
fn no_secret_is_ever_shown() {
    let folder = slack(
        "channel = \"#a\"\ntoken_env = \"TOKEN\"\n[[step]]\nname = \"s\"\ncommand = [\"x\"]\nenv = { PGPASSWORD = \"step-hush\" }\n",
    );
    let loaded = folder.load().unwrap();
    assert!(!format!("{:?}", folder.request).contains("hush"));
    assert!(!format!("{loaded:?}").contains("hush"));
    let rows = loaded.explain();
    let shown = format!("{rows:?} {}", serde_json::to_string(rows).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
    let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
    assert_eq!(row("slack.token").value, "(hidden, from $TOKEN)");
    assert_eq!(row("slack.token").source, "environment TOKEN");
    assert_eq!(row("slack.token_env").value, "TOKEN");
    assert_eq!(row("step[0].env.PGPASSWORD").value, "(hidden)");

    let folder = slack("channel = \"#a\"\ntoken_file = \"token\"\n");
    folder.write("token", TOKEN);
    let loaded = folder.load().unwrap();
    let row = loaded.explain().iter().find(|row| row.key == "slack.token").unwrap();
    assert_eq!((row.value.as_str(), row.source.as_str()), ("(hidden, from token)", "file token"));
}

#[test]
fn slack_is_read_out_of_a_broken_configuration() {
    let good = "[slack]\nchannel = \"#a\"\ntoken_env = \"TOKEN\"\n";
    for (text, job) in [
        // Fine but for a key, fine but for a value, broken before, broken after, broken within.
        (format!("job = \"j\"\nx = 1\n{good}"), "j"),
        (format!("job = \"j\"\ntimezone = 1\n{good}"), "j"),
        (format!("job = \"j\"\n[destination]\nbucket = \"b\n{good}"), "j"),
        (format!("job = \"j\"\n{good}[logging\nlevel = 3\n"), "j"),
        (format!("job = \"j\"\nhost = gateway\n{good}"), "j"),
        (format!("job = \"j\"\n{good}on = [\"failed\"\n"), "j"),
        (format!("job = \"j\"\n{good}on = [\"nothing\"]\nmention = 3\nchanel = \"x\"\n"), "j"),
        (format!("job = \"j\"\n{good}webhook_env = \"ABSENT\"\n"), "j"),
        (format!("job = \"j\"\nx = 1\n{good}mention = [\"@bob\"]\n"), "j"),
        (format!("{good}[job.a]\nx = 1\n[job.b]\n"), "backup"),
        ("[job.a]\nx = 1\n[job.a.slack]\nchannel = \"#a\"\ntoken_env = \"TOKEN\"\n".to_owned(), "a"),
    ] {
        let folder = Folder::with(&text).variable("TOKEN", TOKEN);
        assert!(folder.load().is_err(), "{text}");
        let Some(start) = tolerant_start(&folder.request) else { panic!("nothing of {text}") };
        assert_eq!(start.job.as_str(), job, "{text}");
        assert!(start.host.as_str().starts_with("gateway"), "{text}");
        let options = start.slack.unwrap();
        assert!(matches!(&options.way, SlackWay::Bot { channel, .. } if channel == "#a"), "{text}");
        assert_eq!(token(&options), TOKEN);
        assert!(options.mention.is_empty(), "{text}");
    }
}

#[test]
fn slack_is_read_out_of_broken_yaml_and_json() {
    for (name, text) in [
        ("b.yaml", "job: j\nslack:\n  channel: '#a'\n  token_env: TOKEN\nsource: [\n"),
        (
            "b.json",
            "{\"job\": \"j\", \"slack\": {\"channel\": \"#a\", \"token_env\": \"TOKEN\"}, \"source\": [",
        ),
    ] {
        let mut folder = Folder::new().variable("TOKEN", TOKEN);
        folder.write(name, text);
        folder.request.file = Some(name.into());
        assert!(folder.load().is_err());
        let options = tolerant_start(&folder.request).unwrap().slack.unwrap();
        assert_eq!(token(&options), TOKEN);
    }
}

#[test]
fn slack_is_not_read_from_where_it_is_not() {
    assert!(tolerant_start(&Folder::new().request).is_none());
    assert!(tolerant_start(&Folder::with("x = 1").request).is_none());
    assert!(tolerant_start(&slack("channel = \"#a\"\ntoken_env = \"ABSENT\"").request).is_none());
    // A file that anybody can write could lead the token to anybody.
    let folder = slack("channel = \"#a\"\ntoken_env = \"TOKEN\"\n");
    assert!(tolerant_start(&folder.request).is_some());
    folder.mode("backup.toml", 0o666);
    assert!(tolerant_start(&folder.request).is_none());
    // The environment alone is enough.
    let folder = Folder::new()
        .variable("TOKEN", TOKEN)
        .variable("BACKUP_SLACK__CHANNEL", "#a")
        .variable("BACKUP_SLACK__TOKEN_ENV", "TOKEN")
        .variable("BACKUP_JOB", "j")
        .variable("BACKUP_HOST", "h");
    let start = tolerant_start(&folder.request).unwrap();
    assert_eq!((start.job.as_str(), start.host.as_str()), ("j", "h"));
}

#[test]
fn the_other_way_and_the_state_are_read_out_of_a_broken_configuration_too() {
    let folder =
        Folder::with("x = 1\nstate_dir = \"state\"\n[alert]\ncommand = [\"./page\", \"me\"]\nodd = 1\n");
    let start = tolerant_start(&folder.request).unwrap();
    assert!(start.slack.is_none());
    let command = start.command.unwrap().command;
    assert!(
        command[0].ends_with("/page") && command[0].starts_with('/') && command[1] == "me",
        "{command:?}"
    );
    let state_dir = start.state_dir.unwrap();
    assert!(state_dir.is_absolute() && state_dir.ends_with("state"), "{state_dir:?}");
}

#[test]
fn the_alert_command_is_checked() {
    let folder = Folder::with(&format!("{LEAST}\n[alert]\n"));
    assert!(folder.said().contains("alert.command: missing"), "{}", folder.said());
    let folder =
        Folder::with(&format!("{LEAST}\n[alert]\ncommand = [\"page\"]\npass_env = [\"AWS_PROFILE\"]\n"));
    let alert = folder.load().unwrap().settings.alert_command.unwrap();
    assert_eq!((alert.command, alert.pass_env), (vec!["page".to_owned()], vec!["AWS_PROFILE".to_owned()]));
}
