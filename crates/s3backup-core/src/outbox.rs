//! Delivering the alerts that wait in the catalog: each once as far as Slack can tell, by another way where Slack refuses, and
//! again and again until it works.
//!
//! A row is taken under a lease before anything is sent, so that a run and the daemon never send the same one, and one that
//! was being sent when its process was killed is sent again with a note that it may be a repeat.

mod board;
pub(crate) mod command;
mod delivery;

use std::sync::Arc;

use chrono::TimeDelta;
use s3backup_catalog::{AlertForm, AlertRow, Settled};
use s3backup_model::AlertKind;
use s3backup_slack::{Error as SlackError, MessageRef, Place, Slack};
use slog::{Logger, error, info, warn};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::backup::{Clock, Job};
use crate::memory::Shared;
use crate::options::AlertCommand;
use crate::{line_of, silence};

use self::board::{Board, Claim};
pub use self::delivery::Delivery;

/// How long whoever took an alert has it for himself: longer than all ways together may take.
const LEASE: TimeDelta = TimeDelta::minutes(3);

/// Waits between tries double from the first to the longest, which is also what a refusal waits for.
const FIRST_WAIT: TimeDelta = TimeDelta::minutes(1);
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// After so long without Slack the other way is taken.
const PATIENCE: TimeDelta = TimeDelta::hours(1);

/// After so long an alert is given up: nobody could do anything with it any more.
const LIFETIME: TimeDelta = TimeDelta::days(7);

/// Neither a webhook nor the command can answer in a thread: by these, a trouble is told again once a day.
const REPEAT: TimeDelta = TimeDelta::days(1);

/// How long somebody else who set out to tell the same is waited for.
const OTHER_TELLS: TimeDelta = TimeDelta::minutes(10);

/// Alerts that one call delivers at most; the next goes on.
const AT_ONCE: usize = 100;

/// Who is told, and by which ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audience {
    pub(crate) slack: Option<Slack>,
    pub(crate) command: Option<AlertCommand>,
    /// Values that the command must not find in its environment.
    pub(crate) secrets: Vec<String>,
}

impl Audience {
    /// Whether anybody wants to hear of this. Without Slack, the command gets all but successes.
    pub(crate) fn wants(&self, kind: AlertKind) -> bool {
        match &self.slack {
            Some(slack) => slack.wants(kind),
            None => self.command.is_some() && kind != AlertKind::Success,
        }
    }

    /// Whether there is anybody.
    pub(crate) fn is_there(&self) -> bool {
        self.slack.is_some() || self.command.is_some()
    }

    fn can_reply(&self) -> bool {
        self.slack.as_ref().is_some_and(Slack::can_reply)
    }
}

/// The alerts of a job that wait, and whoever they go to.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) catalog: Shared,
    pub(crate) audience: Arc<Audience>,
    pub(crate) clock: Clock,
    pub(crate) logger: Logger,
    /// Where others say what they have told; none where there is no way to the bucket.
    pub(crate) job: Option<Arc<Job>>,
}

/// Why an alert was not delivered.
struct Refusal {
    why: String,
    /// Whether it stays so until a person mends it.
    is_permanent: bool,
    maybe_posted: bool,
    /// How long to wait, where that was asked for.
    wait: Option<TimeDelta>,
}

/// What came of an alert, and whether another one has a chance now.
type Sent = (Settled, bool);

impl Outbox {
    pub(crate) fn of(job: &Arc<Job>, catalog: Shared) -> Self {
        Self {
            catalog,
            audience: Arc::clone(&job.audience),
            clock: Arc::clone(&job.clock),
            logger: job.logger().clone(),
            job: Some(Arc::clone(job)),
        }
    }

    async fn page(&self, command: &AlertCommand, row: &AlertRow) -> Result<(), String> {
        let trouble = row.trouble.to_string();
        command::run(command, &trouble, &row.alert, &self.audience.secrets, &self.logger).await
    }

    /// Delivers what is due. Ends between two alerts when `stop` is cancelled. What was being sent when the future is
    /// dropped is sent again later, and says that it may be a repeat.
    pub(crate) async fn deliver(&self, stop: &CancellationToken) -> Result<Delivery, Error> {
        let mut sent = 0;
        if self.audience.is_there() && self.silence().await?.is_none() {
            let mut board = None;
            for _ in 0..AT_ONCE {
                if stop.is_cancelled() {
                    break;
                }
                let now = (self.clock)();
                let claimed = self.catalog.with(move |catalog| catalog.claim_alert(now, LEASE));
                let Some(row) = claimed.await? else { break };
                if board.is_none() {
                    board = self.board().await;
                }
                let (settled, goes_on) = self.send(&row, board.as_ref()).await?;
                sent += u64::from(matches!(settled, Settled::Told { .. } | Settled::ToldOtherwise));
                let (id, now) = (row.id, (self.clock)());
                self.catalog.with(move |catalog| catalog.settle_alert(id, &settled, now)).await?;
                if !goes_on {
                    break;
                }
            }
        }
        let known = self.catalog.with(|catalog| Delivery::look(catalog)).await?;
        Ok(Delivery { sent, ..known })
    }

    async fn silence(&self) -> Result<Option<s3backup_model::Silence>, Error> {
        let now = (self.clock)();
        self.catalog.with(move |catalog| silence::noted(catalog, now)).await
    }

    async fn board(&self) -> Option<Board> {
        let job = self.job.clone()?;
        let name = own_name(&self.catalog, random_name(&job)).await.ok()?;
        Some(Board::new(job, name))
    }

    async fn send(&self, row: &AlertRow, board: Option<&Board>) -> Result<Sent, Error> {
        let name = row.trouble.clone();
        let Some(trouble) = self.catalog.with(move |catalog| catalog.trouble(&name)).await? else {
            return self.message(row, Place::Channel).await;
        };
        let message = trouble.message.clone().map(|(channel, ts)| MessageRef { channel, ts });
        match row.form {
            AlertForm::Update => Ok(self.update(row, message, board).await),
            AlertForm::Message => match (message, trouble.told_at, board) {
                (Some(message), _, _) => self.message(row, Place::Thread(&message)).await,
                (None, Some(told_at), _) => {
                    let is_fresh = (self.clock)() - told_at < REPEAT;
                    if is_fresh && !self.audience.can_reply() {
                        return Ok((Settled::Dropped, true));
                    }
                    self.message(row, Place::Channel).await
                }
                (None, None, Some(board)) => self.first_message(row, board).await,
                (None, None, None) => self.message(row, Place::Channel).await,
            },
        }
    }

    /// The first message of a trouble, unless somebody else has told it.
    async fn first_message(&self, row: &AlertRow, board: &Board) -> Result<Sent, Error> {
        let now = (self.clock)();
        match board.claim(&row.trouble, now).await {
            Claim::Told(told) if is_own_news(row.trouble.kind) => {
                let place = told.as_ref().map_or(Place::Channel, Place::Thread);
                let (settled, goes_on) = self.message(row, place).await?;
                Ok((adopting(settled, told), goes_on))
            }
            Claim::Told(told) => Ok((Settled::Told { message: told.map(pair) }, true)),
            Claim::Others if now - row.created_at < OTHER_TELLS => {
                let next_try_at = now + FIRST_WAIT;
                let (maybe_posted, is_refused) = (row.maybe_posted, false);
                Ok((Settled::Later { next_try_at, why: None, maybe_posted, is_refused }, true))
            }
            Claim::Ours | Claim::Others | Claim::Unknown => {
                let (settled, goes_on) = self.message(row, Place::Channel).await?;
                match &settled {
                    Settled::Told { message } => {
                        board.told(&row.trouble, message.as_ref(), (self.clock)()).await;
                    }
                    Settled::ToldOtherwise => board.told(&row.trouble, None, (self.clock)()).await,
                    _ => {}
                }
                Ok((settled, goes_on))
            }
        }
    }

    /// Changes the first message of a trouble, which whoever told it may have to say. An update that cannot be made is no
    /// alert that is lost.
    async fn update(&self, row: &AlertRow, message: Option<MessageRef>, board: Option<&Board>) -> Sent {
        let Some(slack) = self.audience.slack.as_ref().filter(|slack| slack.can_reply()) else {
            return (Settled::Dropped, true);
        };
        let message = match (message, board) {
            (None, Some(board)) => board.read(&row.trouble).await,
            (message, _) => message,
        };
        let Some(message) = message else { return (Settled::Dropped, true) };
        match slack.send_to(&row.alert, Place::Message(&message), true).await {
            Ok(_) => (Settled::Told { message: None }, true),
            Err(error) if error.is_permanent() => {
                warn!(self.logger, "a message in Slack could not be brought up to date"; "why" => line_of(&error));
                (Settled::Dropped, true)
            }
            Err(error) => (self.later(row, refusal(&error)), false),
        }
    }

    /// A message, by the way that works.
    async fn message(&self, row: &AlertRow, place: Place<'_>) -> Result<Sent, Error> {
        let refusal = match &self.audience.slack {
            Some(slack) => match self.by_slack(slack, row, place).await? {
                Ok(message) => return Ok((Settled::Told { message: message.map(pair) }, true)),
                Err(refusal) => Some(refusal),
            },
            None => None,
        };
        Ok(self.otherwise(row, refusal).await)
    }

    /// Where the message that it belongs to is gone, it stands by itself.
    async fn by_slack(
        &self,
        slack: &Slack,
        row: &AlertRow,
        place: Place<'_>,
    ) -> Result<Result<Option<MessageRef>, Refusal>, Error> {
        let mut sent = slack.send_to(&row.alert, place, row.maybe_posted).await;
        if sent.as_ref().is_err_and(SlackError::is_message_gone) {
            let name = row.trouble.clone();
            self.catalog.with(move |catalog| catalog.forget_message(&name)).await?;
            sent = slack.send_to(&row.alert, Place::Channel, row.maybe_posted).await;
        }
        Ok(sent.map(|sent| sent.message()).map_err(|error| refusal(&error)))
    }

    /// Slack did not take it, or there is none: by the command, if it is time for that, or later.
    async fn otherwise(&self, row: &AlertRow, of_slack: Option<Refusal>) -> Sent {
        let has_waited = row.failing_since.is_some_and(|since| (self.clock)() - since >= PATIENCE);
        let is_time = of_slack.as_ref().is_none_or(|refusal| refusal.is_permanent || has_waited);
        let goes_on = of_slack.as_ref().is_none_or(|refusal| refusal.is_permanent);
        let of_command = match self.audience.command.as_ref().filter(|_| is_time) {
            Some(command) => match self.page(command, row).await {
                Ok(()) => {
                    info!(self.logger, "the alert command took an alert"; "trouble" => %row.trouble,
                        "why_not_slack" => of_slack.as_ref().map(|refusal| refusal.why.as_str()));
                    return (Settled::ToldOtherwise, goes_on);
                }
                Err(why) => Some(format!("the alert command: {why}")),
            },
            None => None,
        };
        let refusal = match (of_slack, of_command) {
            (Some(refusal), None) => refusal,
            (Some(refusal), Some(why)) => Refusal { why: format!("{}; and {why}", refusal.why), ..refusal },
            (None, why) => Refusal {
                why: why.unwrap_or_else(|| "there is neither Slack nor a command".to_owned()),
                is_permanent: true,
                maybe_posted: false,
                wait: Some(FIRST_WAIT),
            },
        };
        (self.later(row, refusal), goes_on)
    }

    /// Puts an alert off, or gives it up when it has waited for too long.
    fn later(&self, row: &AlertRow, refusal: Refusal) -> Settled {
        let Refusal { why, is_permanent, maybe_posted, wait } = refusal;
        let now = (self.clock)();
        let headline = &row.alert.headline;
        if now - row.created_at > LIFETIME {
            error!(self.logger, "an alert was given up, nobody was told"; "headline" => headline, "why" => &why);
            return Settled::GivenUp { why };
        }
        let wait = match wait {
            Some(asked) => asked.max(backoff(row.tries)).min(LONGEST_WAIT),
            None if is_permanent => LONGEST_WAIT,
            None => backoff(row.tries),
        };
        let next_try_at = now + wait;
        let facts = slog::o!("headline" => headline.clone(), "why" => why.clone(), "next_try" => next_try_at.to_rfc3339());
        if is_permanent {
            error!(self.logger, "an alert reaches nobody until somebody mends it"; facts);
        } else {
            warn!(self.logger, "an alert waits to be delivered"; facts);
        }
        let maybe_posted = maybe_posted || row.maybe_posted;
        Settled::Later { next_try_at, why: Some(why), maybe_posted, is_refused: is_permanent }
    }
}

/// The name under which the processes of this catalog say in the bucket that they tell something; `seed` where it has none yet.
pub(crate) async fn own_name(catalog: &Shared, seed: String) -> Result<String, Error> {
    catalog.with(move |catalog| board::own_name(catalog, &seed)).await
}

/// A name that nobody else has.
pub(crate) fn random_name(job: &Job) -> String {
    format!("{:08x}{:08x}", (job.random)(), (job.random)())
}

/// Alerts that nobody but this job itself can give, so that another one of the same trouble is news.
fn is_own_news(kind: AlertKind) -> bool {
    matches!(kind, AlertKind::Failed | AlertKind::Partial | AlertKind::Differs)
}

/// What was told before stays the message that others belong to.
fn adopting(settled: Settled, told: Option<MessageRef>) -> Settled {
    match (settled, told) {
        (Settled::Told { .. }, Some(told)) => Settled::Told { message: Some(pair(told)) },
        (settled, _) => settled,
    }
}

fn pair(message: MessageRef) -> (String, String) {
    (message.channel, message.ts)
}

fn refusal(error: &SlackError) -> Refusal {
    Refusal {
        why: line_of(error),
        is_permanent: error.is_permanent(),
        maybe_posted: error.maybe_posted(),
        wait: error.retry_after().and_then(|wait| TimeDelta::from_std(wait).ok()),
    }
}

fn backoff(tries: u32) -> TimeDelta {
    let doubled = FIRST_WAIT.checked_mul(1 << tries.min(10)).unwrap_or(LONGEST_WAIT);
    doubled.min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let minutes: Vec<i64> = (0..9).map(|tries| backoff(tries).num_minutes()).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff(u32::MAX), LONGEST_WAIT);
    }
}
