//! Slack, as far as it can be asked without posting anything.

use s3backup_slack::{Account, Channel, Error as SlackError, Slack};

use super::Check;

const NAME: &str = "slack";

/// What posting takes, and what posting takes in a public channel that the bot is not in.
const SCOPE: &str = "chat:write";
const PUBLIC_SCOPE: &str = "chat:write.public";

/// What shows whether the rest works.
const TEST: &str = "`backup slack --test` posts a message that shows it";

pub(super) async fn check(slack: Option<&Slack>) -> Vec<Check> {
    let Some(slack) = slack else {
        return vec![Check::warn(
            NAME,
            "there is no `[slack]`: nobody is told when a run fails",
            "add `[slack]` with a channel and `token_env`, or with `webhook_env`",
        )];
    };
    if slack.is_webhook() {
        let message =
            format!("the webhook's URL is well formed; it can only be tried by posting, and {TEST}");
        return vec![Check::ok(NAME, message)];
    }
    match slack.account().await {
        Ok(account) => vec![judge(&account, slack.channel(&account).await)],
        Err(error) => vec![refused(&error)],
    }
}

fn refused(error: &SlackError) -> Check {
    let mend = match error {
        SlackError::Refused { mend, .. } | SlackError::Options { mend, .. } => *mend,
        _ => "look at the network, the proxy and `[slack] api_url`, and ask again",
    };
    Check::fail(NAME, format!("no alert would arrive: {}", crate::line_of(error)), mend)
}

fn judge(account: &Account, channel: Channel) -> Check {
    let who = format!("{} in {}", account.user, account.team);
    let may = |scope: &str| account.scopes.as_ref().map(|scopes| scopes.iter().any(|known| known == scope));
    if may(SCOPE) == Some(false) {
        return Check::fail(
            NAME,
            format!("{who} has not the scope {SCOPE}: no alert would arrive"),
            "add it on the app's page \"OAuth & Permissions\" and install the app again",
        );
    }
    match channel {
        Channel::Archived => Check::fail(
            NAME,
            format!("{who}: the channel is archived, no alert would arrive"),
            "unarchive it, or set `[slack] channel` to another",
        ),
        Channel::NotJoined if may(PUBLIC_SCOPE) != Some(true) => Check::fail(
            NAME,
            format!("{who} is not in the channel: no alert would arrive"),
            "write /invite @your-app in the channel",
        ),
        Channel::Unknown => Check::ok(NAME, format!("{who}; whether the channel takes messages: {TEST}")),
        Channel::Joined | Channel::NotJoined => {
            Check::ok(NAME, format!("{who}, which may post to the channel"))
        }
    }
}
