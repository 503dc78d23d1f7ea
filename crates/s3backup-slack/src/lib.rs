//! Posts [`Alert`](s3backup_model::Alert)s to Slack: with a bot token to a channel, or through an incoming webhook.
//!
//! ```no_run
//! use s3backup_slack::{Secret, Slack, SlackOptions, Way};
//!
//! # async fn example(alert: s3backup_model::Alert) -> Result<(), s3backup_slack::Error> {
//! let token = Secret::new(std::env::var("SLACK_BOT_TOKEN").unwrap_or_default());
//! let mut options = SlackOptions::new(Way::bot(token, "#airflow-alarm"));
//! options.mention = vec!["@here".to_owned()];
//! let slack = Slack::new(options, None)?;
//!
//! if slack.wants(alert.kind) {
//!     match slack.send(&alert).await {
//!         Ok(sent) => println!("posted to {:?}", sent.channel),
//!         Err(error) if error.is_permanent() => println!("somebody must mend the set-up: {error}"),
//!         Err(error) => println!("try again in {:?}: {error}", error.retry_after()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it takes care of:
//!
//! - **Delivery.** One [`send`](Slack::send) or [`send_to`](Slack::send_to) tries for at most [`SlackOptions::time_limit`]: it obeys `Retry-After`
//!   and tries again what another attempt can mend. What it could not deliver comes back as an [`Error`] that says
//!   whether waiting helps. Keeping the alert until then is the caller's work; this crate stores nothing.
//! - **Place.** A bot's alert is a new message, an answer in the [thread](Place::Thread) of one, or
//!   [takes the place](Place::Message) of one, so that what belongs together stays together. A webhook can only post.
//! - **Form.** [`render`] turns an alert into Block Kit within every limit of Slack, whatever is in the alert, and
//!   into a plain text for notifications. File names and server messages in it cannot mention anybody.
//! - **Secrets.** The token and the webhook URL are [`Secret`]s, and no error, log line or `Debug` output carries
//!   them. Redirects are not followed, so that they reach nobody else.
//!
//! The proxy is taken from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, except that a loopback address is
//! always reached directly. Certificates are checked against those that the operating system trusts.
//!
//! What it does not do: decide what is worth an alert, or remember which message belongs to which trouble.

mod account;
mod client;
mod error;
mod limits;
mod mention;
mod options;
mod pace;
mod place;
mod refusal;
mod render;
mod reply;
mod secret;
mod text;

pub use account::{Account, Channel};
pub use client::{Sent, Slack};
pub use error::{Cause, Error};
pub use limits::Limits;
pub use options::{DEFAULT_API_URL, DEFAULT_TIME_LIMIT, SlackOptions, Way};
pub use pace::{Pace, TokioPace};
pub use place::{MessageRef, Place};
pub use render::render;
pub use secret::Secret;
