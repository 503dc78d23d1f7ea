//! No alerts for a while, as during maintenance: noted in the catalog, for this machine, and in the bucket, for whoever monitors.

use chrono::{DateTime, TimeDelta, Utc};
use s3backup_catalog::{Catalog, Error as CatalogError};
use s3backup_model::Silence;

use crate::backup::Backup;
use crate::memory::Shared;
use crate::{Error, ending};

/// The setting of the catalog that has the [`Silence`], as JSON.
const SETTING: &str = "silence";

/// The silence that holds now.
pub(crate) fn noted(catalog: &Catalog, now: DateTime<Utc>) -> Result<Option<Silence>, CatalogError> {
    let noted = catalog.setting(SETTING)?;
    // What is not understood silences nobody.
    let silence = noted.and_then(|text| serde_json::from_str::<Silence>(&text).ok());
    Ok(silence.filter(|silence| silence.holds(now)))
}

impl Backup {
    /// Sends no alerts until then, at most 14 days from now; with a time that has passed, alerts go out again from now on. What
    /// is trouble still when the silence ends is told then; what is over is not told.
    ///
    /// It is said in the catalog first, and then in the bucket (`silence.json`), so that those who monitor it are silent, too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than 14 days. [`Error::Catalog`]; [`Error::Transfer`] and [`Error::NotStored`] when the bucket
    /// could not be told: this machine is silent all the same.
    pub async fn silence(&self, until: DateTime<Utc>) -> Result<Silence, Error> {
        let job = &self.job;
        let now = (job.clock)();
        if until - now > TimeDelta::days(Silence::MAX_DAYS) {
            let why = format!("at most {} days, so that nobody forgets it", Silence::MAX_DAYS);
            return Err(Error::invalid("silence", why));
        }
        let silence = Silence {
            schema: Silence::SCHEMA,
            since: ending::local(job, now),
            until: ending::local(job, until.max(now)),
        };
        let json = serde_json::to_string(&silence).map_err(|error| Error::NotStored(error.to_string()))?;
        if let Some(catalog) = Shared::beside(job).await? {
            let (json, is_over) = (json.clone(), until <= now);
            catalog
                .with(move |catalog| {
                    catalog.set_setting(SETTING, &json)?;
                    if is_over { catalog.hurry_alerts(true, now) } else { Ok(()) }
                })
                .await?;
        }
        let bucket = Box::pin(job.connect()).await.map_err(Error::Transfer)?;
        job.shelf(&bucket)
            .store(Silence::OBJECT, json.into_bytes().into())
            .await
            .map_err(Error::NotStored)?;
        Ok(silence)
    }
}
