//! What is to be told of what happened, and what that makes of the troubles of the job. Pure: it decides, the catalog stores it
//! and the outbox delivers it.

use chrono::{DateTime, FixedOffset, SubsecRound as _, TimeDelta, Utc};
use s3backup_catalog::{AlertForm, Catalog, Error as CatalogError, NewAlert, Telling, TroubleRow};
use s3backup_model::{Alert, AlertKind, Outcome, RunReport, Trouble};

use crate::alert::news;
use crate::outbox::Audience;
use crate::shrunk::Verdict;
use crate::silence;

/// Open troubles that are looked at: a job has one of each kind.
const TROUBLES: usize = 100;

/// A job that found little found little the next day, too, until that is usual.
const SHRUNK_AGAIN: TimeDelta = TimeDelta::days(7);

/// Decides what to tell.
pub(crate) struct Teller<'a> {
    audience: &'a Audience,
    open: Vec<TroubleRow>,
    silent_until: Option<DateTime<Utc>>,
    telling: Telling,
}

impl<'a> Teller<'a> {
    /// Reads what is open, and whether nobody is to be told now.
    pub(crate) fn look(
        catalog: &Catalog,
        audience: &'a Audience,
        now: DateTime<Utc>,
    ) -> Result<Self, CatalogError> {
        let open = catalog.open_troubles(TROUBLES)?;
        let silent_until = silence::noted(catalog, now)?.map(|silence| silence.until.to_utc());
        Ok(Self { audience, open, silent_until, telling: Telling::default() })
    }

    /// What is to be stored.
    pub(crate) fn done(self) -> Telling {
        self.telling
    }

    /// The open trouble of a kind.
    pub(crate) fn open(&self, kind: AlertKind) -> Option<&TroubleRow> {
        self.open.iter().find(|row| row.trouble.kind == kind)
    }

    /// A trouble was noticed, for the first time or again.
    pub(crate) fn notice(&mut self, due: DateTime<Utc>, alert: Alert) {
        let kind = alert.kind;
        let known = self.open(kind).cloned();
        let trouble = known.as_ref().map_or_else(|| trouble_of(&alert, due), |row| row.trouble.clone());
        if self.audience.wants(kind) {
            match &known {
                Some(row) if row.told_at.is_some() => {
                    if self.silent_until.is_none() {
                        self.tell(&trouble, AlertForm::Message, alert.clone());
                        self.tell(&trouble, AlertForm::Update, news::again(&alert, row));
                    }
                }
                Some(row) if row.times > 0 => {
                    self.tell(&trouble, AlertForm::Message, news::again(&alert, row));
                }
                _ => self.tell(&trouble, AlertForm::Message, alert.clone()),
            }
        }
        self.telling.noticed.push((trouble, alert));
    }

    /// A trouble was noticed that is most likely over soon: it is told only if it is not.
    pub(crate) fn notice_quietly(&mut self, due: DateTime<Utc>, alert: Alert) {
        self.telling.quiet.push((trouble_of(&alert, due), alert));
    }

    /// Troubles of these kinds are over. Gives those of which somebody was told, or would have been soon.
    pub(crate) fn end(&mut self, kinds: &[AlertKind], at: DateTime<FixedOffset>) -> Vec<TroubleRow> {
        let (mut over, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|row: &TroubleRow| kinds.contains(&row.trouble.kind));
        self.open = open;
        for row in &over {
            self.telling.ended.push(row.trouble.clone());
            // Of a missed due time somebody else may have told.
            if row.told_at.is_some() || row.trouble.kind == AlertKind::Late {
                self.tell(&row.trouble, AlertForm::Update, news::over(row, at));
            }
        }
        over.retain(|row| self.audience.wants(row.trouble.kind) && !row.is_held);
        over
    }

    /// What stands by itself: nobody hears of it while nobody is to be told.
    fn tell_once(&mut self, due: DateTime<Utc>, alert: Alert) {
        if self.audience.wants(alert.kind) && self.silent_until.is_none() {
            self.tell(&trouble_of(&alert, due), AlertForm::Message, alert);
        }
    }

    fn tell(&mut self, trouble: &Trouble, form: AlertForm, alert: Alert) {
        let trouble = trouble.clone();
        self.telling.alerts.push(NewAlert { trouble, form, alert, held_until: self.silent_until });
    }

    /// A run ended. `alert` is what it has to say, and `size` what is thought of how much it found.
    pub(crate) fn run(&mut self, report: &RunReport, alert: Alert, size: Verdict) {
        let due = report.due.last().map_or(report.started_at, |due| due.at).to_utc();
        match report.outcome {
            Outcome::Success => {
                use AlertKind::{Failed, Late, LongRunning, Partial};
                let over = self.end(&[Failed, Partial, Late, LongRunning], alert.at);
                self.size(report, due, size);
                let over: Vec<&TroubleRow> = over.iter().collect();
                if over.is_empty() || !self.audience.wants(AlertKind::Recovered) {
                    self.tell_once(due, alert);
                } else {
                    self.tell_once(due, news::recovered(alert, &over));
                }
            }
            Outcome::Partial | Outcome::Failed | Outcome::Interrupted => {
                self.run_is_over(alert.at);
                self.notice(due, alert);
            }
        }
    }

    /// A run ended, however it did.
    pub(crate) fn run_is_over(&mut self, at: DateTime<FixedOffset>) {
        self.end(&[AlertKind::LongRunning], at);
    }

    fn size(&mut self, report: &RunReport, due: DateTime<Utc>, size: Verdict) {
        let at = report.finished_at;
        let subject = news::Subject { job: report.job.clone(), host: report.host.clone(), at };
        match size {
            Verdict::Unknown => {}
            Verdict::Usual => {
                self.end(&[AlertKind::Shrunk], at);
            }
            Verdict::Shrunk(shrunk) => {
                let is_fresh =
                    |row: &TroubleRow| row.told_at.is_some_and(|told| at.to_utc() - told < SHRUNK_AGAIN);
                if !self.open(AlertKind::Shrunk).is_some_and(is_fresh) {
                    self.notice(due, news::shrunk(&subject, &report.run_id, report.found, &shrunk));
                }
            }
        }
    }
}

fn trouble_of(alert: &Alert, due: DateTime<Utc>) -> Trouble {
    let due = due.trunc_subsecs(0);
    Trouble { job: alert.job.clone(), host: alert.host.clone(), kind: alert.kind, due }
}
