//! What a person is told, whichever way it travels.

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Failure, Name, RunId};

/// A message for people: what happened, to what, why, and what to do now.
///
/// A renderer (Slack, a command's standard input) adds form, never facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What the message is about.
    pub kind: AlertKind,
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// When it was noticed, in the job's time zone.
    pub at: DateTime<FixedOffset>,
    /// One sentence that stands alone, as in a notification on a telephone.
    pub headline: String,
    /// What happened, why, and what to do now, where the headline does not say it all. May be empty.
    pub message: String,
    /// The run that it is about, if it is about one.
    pub run_id: Option<RunId>,
    /// Label and value, in the order in which to show them.
    pub facts: Vec<(String, String)>,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// How many failures there are in all.
    pub failed_total: u64,
    /// Warnings of the run.
    pub warnings: Vec<String>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A run ended well.
    Success,
    /// A run ended and some files are not in the bucket.
    Partial,
    /// A run, or its start, failed.
    Failed,
    /// No success by the deadline.
    Late,
    /// A run takes longer than usual.
    LongRunning,
    /// The first success after trouble.
    Recovered,
    /// Far fewer files or bytes than usual.
    Shrunk,
    /// Objects vanished or changed in the bucket.
    Differs,
    /// No monitor has looked at the bucket for a day, although one did before.
    Unwatched,
}

impl AlertKind {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Partial,
        Self::Failed,
        Self::Late,
        Self::LongRunning,
        Self::Recovered,
        Self::Shrunk,
        Self::Differs,
        Self::Unwatched,
    ];

    /// The word that the configuration and messages use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::LongRunning => "long_running",
            Self::Recovered => "recovered",
            Self::Shrunk => "shrunk",
            Self::Differs => "differs",
            Self::Unwatched => "unwatched",
        }
    }

    /// The kind of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether somebody must act; `mention` goes only with these.
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Failed | Self::Late)
    }
}

/// What one or more alerts are about. Written `<job>/<host>/<kind>/<due>`, with the time in UTC as `20261124T110000Z`, so that
/// whoever notices it, on whichever machine, calls it by the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Trouble {
    /// The job.
    pub job: Name,
    /// The machine.
    pub host: Name,
    /// What is wrong.
    pub kind: AlertKind,
    /// The due time that it began with, to the second; without a schedule, when it began.
    pub due: DateTime<Utc>,
}

/// How a due time is written in the name of a trouble.
const DUE: &str = "%Y%m%dT%H%M%SZ";

impl Trouble {
    /// The trouble of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let trouble = Self {
            job: Name::new(parts.next()?).ok()?,
            host: Name::new(parts.next()?).ok()?,
            kind: AlertKind::parse(parts.next()?)?,
            due: NaiveDateTime::parse_from_str(parts.next()?, DUE).ok()?.and_utc(),
        };
        parts.next().is_none().then_some(trouble)
    }

    /// The name of its object below the control prefix of job and host: `alerts/<kind>/<due>.json`.
    pub fn object(&self) -> String {
        format!("alerts/{}/{}.json", self.kind.as_str(), self.due.format(DUE))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.job, self.host, self.kind.as_str(), self.due.format(DUE))
    }
}

/// That a trouble was told, and where: the object `alerts/<kind>/<due>.json` of the bucket, made by whoever told it first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleTold {
    /// Version of this format: 1.
    pub schema: u32,
    /// The trouble's name.
    pub trouble: String,
    /// Who tells it: a word for the program (`run`, `daemon`, `monitor`) and a random number, so that it knows its own.
    pub by: String,
    /// When it set out to tell, by its own clock.
    pub at: DateTime<FixedOffset>,
    /// When it had told it; absent while it is about to, and for ever if it was killed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<DateTime<FixedOffset>>,
    /// The id of the Slack channel with the message, where it was told there by a bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Slack's name for the message in the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<String>,
}

impl TroubleTold {
    /// The version that this code writes.
    pub const SCHEMA: u32 = 1;
}

/// That nobody is to be told anything for a while: the object `silence.json` below the control prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Version of this format: 1.
    pub schema: u32,
    /// When it was said, in the job's time zone.
    pub since: DateTime<FixedOffset>,
    /// When it ends by itself, in the job's time zone.
    pub until: DateTime<FixedOffset>,
}

impl Silence {
    /// The version that this code writes.
    pub const SCHEMA: u32 = 1;

    /// The name of the object below the control prefix.
    pub const OBJECT: &str = "silence.json";

    /// The longest that a silence lasts, whatever it says of itself.
    pub const MAX_DAYS: i64 = 14;

    /// Whether it holds at this time.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        let longest = self.since.to_utc() + chrono::TimeDelta::days(Self::MAX_DAYS);
        self.since <= now && now < self.until.to_utc().min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_known_by_its_name() {
        let name = "telemetry/gw-1/long_running/20261124T110000Z";
        let trouble = Trouble::parse(name).unwrap();
        assert_eq!((trouble.kind, trouble.to_string().as_str()), (AlertKind::LongRunning, name));
        assert_eq!(trouble.object(), "alerts/long_running/20261124T110000Z.json");
        for odd in
            ["", "a/b/failed", "a/b/odd/20261124T110000Z", "a/b/late/2026", "../b/late/20261124T110000Z"]
        {
            assert_eq!(Trouble::parse(odd), None, "{odd}");
        }
        assert_eq!(Trouble::parse(&format!("{name}/more")), None);
    }

    #[test]
    fn a_silence_ends_by_itself() {
        let at = |text: &str| text.parse::<DateTime<FixedOffset>>().unwrap();
        let since = at("2026-11-20T20:00:00+09:00");
        let silence = |until| Silence { schema: 1, since, until: at(until) };
        let holds = |until, now| silence(until).holds(at(now).to_utc());
        assert!(holds("2026-11-20T22:00:00+09:00", "2026-11-20T21:59:59+09:00"));
        assert!(!holds("2026-11-20T22:00:00+09:00", "2026-11-20T22:00:00+09:00"));
        assert!(!holds("2026-11-20T22:00:00+09:00", "2026-11-20T19:00:00+09:00"));
        assert!(!holds("2036-11-20T22:00:00+09:00", "2026-12-05T20:00:00+09:00"), "whatever it says");
    }
}
