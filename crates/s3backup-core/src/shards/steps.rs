//! Steps that ran by themselves, remembered for the plan that comes behind them.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use s3backup_catalog::{Catalog, Error as CatalogError};
use s3backup_model::{Fact, RunId, StepReport};
use serde::{Deserialize, Serialize};

use crate::record::Record;

/// What `backup steps` leaves for the plan of the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepsDone {
    pub(crate) run: RunId,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) reports: Vec<StepReport>,
    #[serde(default)]
    pub(crate) facts: Vec<Fact>,
    /// In which time they made files, in nanoseconds since the Unix epoch.
    settled: Option<(u64, u64)>,
}

fn name(label: &str) -> String {
    format!("steps_done:{label}")
}

impl StepsDone {
    pub(crate) fn new(
        run: RunId,
        started_at: DateTime<Utc>,
        record: &Record,
        settled: Option<&RangeInclusive<SystemTime>>,
    ) -> Self {
        let settled = settled.map(|time| (unix_ns(*time.start()), unix_ns(*time.end())));
        let (reports, facts) = (record.steps.clone(), record.facts().to_vec());
        Self { run, started_at, reports, facts, settled }
    }

    pub(crate) fn settled(&self) -> Option<RangeInclusive<SystemTime>> {
        let at = |ns| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns);
        self.settled.map(|(start, end)| at(start)..=at(end))
    }

    pub(crate) fn remember(&self, catalog: &Catalog, label: &str) -> Result<(), CatalogError> {
        // Nothing in it can fail to be written as JSON; what is not remembered is not reported.
        catalog.set_setting(&name(label), &serde_json::to_string(self).unwrap_or_default())
    }

    /// What is remembered, if no run began since.
    pub(crate) fn look(
        catalog: &Catalog,
        label: &str,
        last: Option<&RunId>,
    ) -> Result<Option<Self>, CatalogError> {
        let known = catalog.setting(&name(label))?;
        let done = known.and_then(|text| serde_json::from_str::<Self>(&text).ok());
        Ok(done.filter(|done| Some(&done.run) == last))
    }

    pub(crate) fn forget(catalog: &Catalog, label: &str) -> Result<(), CatalogError> {
        catalog.set_setting(&name(label), "")
    }
}

fn unix_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
