//! The `[slack]` table: exactly one way to Slack, and its secret from the environment or a file.

use s3backup_core::options::{SlackOptions, SlackWay};

use crate::raw::RawSlack;
use crate::resolve::Resolver;
use crate::secret::secret;

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
            let token =
                secret(resolver, "slack", "token", raw.token_env.as_deref(), raw.token_file.as_deref());
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
            let url = secret(
                resolver,
                "slack",
                "webhook",
                raw.webhook_env.as_deref(),
                raw.webhook_file.as_deref(),
            )?;
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
