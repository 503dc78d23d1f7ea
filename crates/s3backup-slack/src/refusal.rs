//! What Slack's refusals mean and how they are mended.

/// What to do about a word with which Slack refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Stays so until a person does this.
    Permanent(&'static str),
    /// The message is not as the server wants it; a plain one may be.
    Unfit,
    /// Too many messages.
    Busy,
    /// Something is wrong at Slack's end, and a later attempt may succeed.
    Down,
    /// A word that is not known here.
    Unknown,
}

/// Whether a word of `chat.update`, or of `chat.postMessage` in a thread, is about the message that was there before.
pub(crate) fn is_message_gone(code: &str) -> bool {
    matches!(
        code,
        "message_not_found"
            | "thread_not_found"
            | "cant_update_message"
            | "edit_window_closed"
            | "cannot_reply_to_message"
            | "restricted_action_thread_locked"
    )
}

/// Looks a word of `chat.postMessage` or of a webhook up.
///
/// `request_timeout` and the like are Slack's words for its own trouble: it may have posted the message all the same.
pub(crate) fn meaning(code: &str) -> Meaning {
    use Meaning::{Busy, Down, Permanent, Unfit, Unknown};
    match code {
        "invalid_auth" | "not_authed" | "token_expired" | "account_inactive" | "token_revoked" => {
            Permanent(TOKEN)
        }
        "not_allowed_token_type" => Permanent("use the app's bot token (xoxb-…), not another kind of token"),
        "missing_scope" | "no_permission" => Permanent(
            "give the app the scope chat:write, install it again and use the token that it then shows",
        ),
        "channel_not_found" => {
            Permanent("check the channel's name or id, and /invite the app if it is private")
        }
        code if is_message_gone(code) => Permanent(MESSAGE),
        "not_in_channel" => Permanent("write /invite @your-app in the channel"),
        "is_archived" | "channel_is_archived" => Permanent("unarchive the channel or choose another"),
        "restricted_action"
        | "restricted_action_read_only_channel"
        | "restricted_action_non_threadable_channel"
        | "restricted_action_thread_only_channel"
        | "posting_to_general_channel_denied"
        | "action_prohibited" => {
            Permanent("let an admin of the workspace allow the app to post there, or choose another channel")
        }
        "ekm_access_denied"
        | "access_denied"
        | "team_access_not_granted"
        | "accesslimited"
        | "team_disabled"
        | "org_login_required"
        | "enterprise_is_restricted"
        | "two_factor_setup_required" => {
            Permanent("ask an admin of the workspace: it does not let the app post")
        }
        "invalid_token" | "no_service" | "no_service_id" | "no_active_hooks" | "no_team"
        | "user_not_found" | "webhook_gone" => Permanent(WEBHOOK),
        "msg_too_long"
        | "msg_blocks_too_long"
        | "invalid_blocks"
        | "invalid_blocks_format"
        | "invalid_attachments"
        | "too_many_attachments"
        | "invalid_arguments"
        | "invalid_payload" => Unfit,
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => Busy,
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "rollup_error"
        | "team_added_to_org" => Down,
        _ => Unknown,
    }
}

const TOKEN: &str = "set the bot token that the app's page \"OAuth & Permissions\" shows now (xoxb-…)";
/// The mend where a message cannot be answered or replaced.
const MESSAGE: &str = "post a new message: the earlier one was deleted, or may not be changed any more";
/// The mend where a webhook does not exist any more.
pub(crate) const WEBHOOK: &str =
    "the webhook is gone: make a new one on the app's page \"Incoming Webhooks\"";

/// The mend where Slack's word is not known.
pub(crate) const LOOK_UP: &str = "see docs.slack.dev/reference/methods/chat.postMessage for what it means";
/// The mend where even a plain message is refused.
pub(crate) const UNFIT: &str = "report this: the message should have been in a form that Slack takes";
/// The mend where the HTTP status is all there is.
pub(crate) const LOOK_AT_ADDRESS: &str = "check the address (api_url or webhook) and the proxy";
