//! Troubles and the alerts about them, as rows.

use chrono::{DateTime, Utc};
use s3backup_model::{Alert, Trouble};

/// What is to be told, and what that says of the troubles of the job. Stored as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telling {
    /// Troubles that were noticed, for the first time or again. The newest alert of each is remembered.
    pub noticed: Vec<(Trouble, Alert)>,
    /// Troubles that are most likely over soon and are told only if they are not. Unless they are known, they are remembered as
    /// noticed no times.
    pub quiet: Vec<(Trouble, Alert)>,
    /// Open troubles that end. What is held back of them is dropped.
    pub ended: Vec<Trouble>,
    /// What goes out, in this order.
    pub alerts: Vec<NewAlert>,
}

/// An alert to be delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// What it is about; alerts about one trouble are delivered in their order.
    pub trouble: Trouble,
    /// What becomes of it.
    pub form: AlertForm,
    /// The alert.
    pub alert: Alert,
    /// Held back until this time, and dropped if the trouble ends before; `None` for at once.
    pub held_until: Option<DateTime<Utc>>,
}

/// What becomes of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertForm {
    /// A message: the first of its trouble stands by itself, the others belong to it.
    Message,
    /// The first message of the trouble says this from then on.
    Update,
}

/// A trouble of the job.
#[derive(Clone, Debug, PartialEq)]
pub struct TroubleRow {
    /// Its name.
    pub trouble: Trouble,
    /// When it was first noticed.
    pub since: DateTime<Utc>,
    /// When it was last noticed.
    pub last_at: DateTime<Utc>,
    /// How often it was noticed, but for quiet notices.
    pub times: u32,
    /// What was said of it last.
    pub alert: Alert,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Channel and name of its first message, where a later one can refer to it.
    pub message: Option<(String, String)>,
    /// When a message about it was last delivered.
    pub told_at: Option<DateTime<Utc>>,
    /// Whether its first message is held back.
    pub is_held: bool,
}

/// An alert that was taken to be delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    /// Its number.
    pub id: i64,
    /// What it is about.
    pub trouble: Trouble,
    /// What becomes of it.
    pub form: AlertForm,
    /// The alert.
    pub alert: Alert,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// How often it was taken before.
    pub tries: u32,
    /// Whether an earlier attempt may have delivered it: nobody came back to say so.
    pub maybe_posted: bool,
    /// Since when it cannot be delivered.
    pub failing_since: Option<DateTime<Utc>>,
}

/// What came of an alert that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was delivered, or somebody else had delivered it.
    Told {
        /// Channel and name of the message, where a later one can refer to it.
        message: Option<(String, String)>,
    },
    /// It was delivered by another way than the usual one.
    ToldOtherwise,
    /// It is tried again.
    Later {
        /// When.
        next_try_at: DateTime<Utc>,
        /// Why it was not delivered, if it was tried, and what to do.
        why: Option<String>,
        /// Whether it may have been delivered all the same.
        maybe_posted: bool,
        /// Whether it stays so until a person mends it.
        is_refused: bool,
    },
    /// There is no use in it any more.
    Dropped,
    /// It was tried for so long that it is given up.
    GivenUp {
        /// Why it could not be delivered.
        why: String,
    },
}

/// How the delivery of alerts stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertsWaiting {
    /// Alerts that wait, without those that are held back.
    pub waiting: u64,
    /// Those among them that are refused until a person mends it, and those that were given up and nothing was delivered
    /// since.
    pub refused: u64,
    /// Since when any of them cannot be delivered.
    pub failing_since: Option<DateTime<Utc>>,
    /// Why the newest of them was not delivered.
    pub why: Option<String>,
    /// When the next one is tried.
    pub next_try_at: Option<DateTime<Utc>>,
}
