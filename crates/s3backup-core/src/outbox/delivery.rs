//! How the delivery of alerts stands.

use chrono::{DateTime, Utc};
use s3backup_catalog::{Catalog, Error as CatalogError};
use s3backup_model::AlertDelivery;
use serde::Serialize;

use crate::backup::Job;
use crate::ending;

/// What a delivery came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Delivery {
    /// Alerts that arrived now.
    pub sent: u64,
    /// Alerts that still wait.
    pub waiting: u64,
    /// Those that reach nobody until a person mends something, and those that were given up and after which none arrived.
    pub refused: u64,
    /// Since when they cannot be delivered.
    pub failing_since: Option<DateTime<Utc>>,
    /// Why they could not be delivered, and what to do.
    pub why: Option<String>,
    /// When the next one is due.
    pub next_try: Option<DateTime<Utc>>,
}

impl Delivery {
    /// How the delivery of alerts stands, as the catalog knows it.
    pub(crate) fn look(catalog: &Catalog) -> Result<Self, CatalogError> {
        let known = catalog.alerts_waiting()?;
        Ok(Self {
            sent: 0,
            waiting: known.waiting,
            refused: known.refused,
            failing_since: known.failing_since,
            why: known.why,
            next_try: known.next_try_at,
        })
    }

    /// What `latest.json` says of it.
    pub(crate) fn of_latest(known: AlertDelivery) -> Self {
        Self {
            sent: 0,
            waiting: known.waiting,
            refused: known.refused,
            failing_since: known.broken_since.map(|at| at.to_utc()),
            why: known.why,
            next_try: None,
        }
    }

    /// What `latest.json` says of it: nothing where nothing is wrong.
    pub(crate) fn for_latest(&self, job: &Job) -> Option<AlertDelivery> {
        (self.waiting + self.refused > 0 && self.failing_since.is_some()).then(|| AlertDelivery {
            waiting: self.waiting,
            refused: self.refused,
            broken_since: self.failing_since.map(|at| ending::local(job, at)),
            why: self.why.clone(),
        })
    }
}
