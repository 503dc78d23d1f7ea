//! The `[slack]` table: exactly one way to Slack, and its secret from the environment or a file.

use std::path::Path;

use s3backup_core::options::{Secret, SlackOptions, SlackWay};

use crate::kind::is_variable;
use crate::raw::RawSlack;
use crate::resolve::Resolver;

/// The options, or what keeps them from working.
pub(crate) fn resolve(resolver: &mut Resolver<'_>, raw: RawSlack) -> Option<SlackOptions> {
    let bot = raw.token_env.is_some() || raw.token_file.is_some();
    let webhook = raw.webhook_env.is_some() || raw.webhook_file.is_some();
    let way = match (bot, webhook) {
        (true, true) => {
            resolver.problem("slack", "holds a bot token and a webhook; choose one of them");
            return None;
        }
        (false, false) => {
            resolver.problem(
                "slack",
                "says no way to Slack; set channel and token_env (or token_file), or webhook_env (or webhook_file)",
            );
            return None;
        }
        (true, false) => {
            let token = secret(resolver, "token", raw.token_env.as_deref(), raw.token_file.as_deref());
            let channel = raw.channel.filter(|channel| channel.trim() != "#");
            if channel.is_none() {
                resolver.problem("slack.channel", "missing; set the channel's name (\"#alarms\") or its id");
            }
            SlackWay::Bot { token: token?, channel: channel?, api_url: raw.api_url }
        }
        (false, true) => {
            if raw.channel.is_some() {
                let warning =
                    "slack.channel has no effect: a webhook posts into the channel that it was made for";
                resolver.warnings.push(warning.to_owned());
            }
            let url = secret(resolver, "webhook", raw.webhook_env.as_deref(), raw.webhook_file.as_deref())?;
            SlackWay::Webhook { url }
        }
    };
    if raw.on.is_empty() {
        resolver.warnings.push("slack.on is empty: nothing is ever posted to Slack".to_owned());
    }
    let mut options = SlackOptions::new(way);
    // It begins with all kinds.
    options.on.retain(|kind| raw.on.iter().any(|word| word == kind.as_str()));
    options.mention = raw.mention;
    Some(options)
}

/// Reads a secret from where one of `NAME_env` and `NAME_file` leads to. No message holds it.
fn secret(
    resolver: &mut Resolver<'_>,
    name: &str,
    variable: Option<&str>,
    file: Option<&Path>,
) -> Option<Secret> {
    let (key, found) = match (variable, file) {
        (Some(_), Some(_)) => {
            let message = format!("{name}_env and {name}_file are both set; choose one of them");
            resolver.problem(format!("slack.{name}_file"), message);
            return None;
        }
        (Some(variable), None) => (format!("slack.{name}_env"), from_variable(resolver, variable)),
        (None, Some(file)) => (format!("slack.{name}_file"), from_file(&resolver.absolute(file))),
        (None, None) => return None,
    };
    match found {
        Ok(secret) => Some(secret),
        Err(message) => {
            resolver.problem(key, message);
            None
        }
    }
}

fn from_variable(resolver: &Resolver<'_>, name: &str) -> Result<Secret, String> {
    if !is_variable(name) {
        return Err("expected the name of an environment variable that holds the secret".to_owned());
    }
    let secret = resolver.request.variable(name).map(Secret::new);
    let secret = secret.ok_or_else(|| format!("the environment variable {name} is not set"))?;
    if secret.is_empty() { Err(format!("the environment variable {name} is empty")) } else { Ok(secret) }
}

fn from_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path);
    let secret = text.map(Secret::new).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if secret.is_empty() { Err(format!("the file {} is empty", path.display())) } else { Ok(secret) }
}
