//! What names a plan or one of its shards, as people and programs hand it on.

use s3backup_model::{Name, RunId};

use crate::Error;

/// The folder of plans below the control data of a job.
const PLANS: &str = "plans";
const CONTROL_FOLDER: &str = ".s3backup";

/// A plan, `…/RUN-ID`, or one of its shards, `…/RUN-ID/N`.
///
/// ```
/// # use s3backup_core::ShardUri;
/// let uri = ShardUri::parse("s3://fleet/trips/.s3backup/telemetry/gw-1/plans/20261128T110000.000Z-00000001/3")?;
/// assert_eq!(uri.shard(), Some(3));
/// let (job, host) = uri.owner().unwrap();
/// assert_eq!((job.as_str(), host.as_str()), ("telemetry", "gw-1"));
/// # Ok::<(), s3backup_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardUri {
    place: String,
    run: RunId,
    shard: Option<u32>,
    owner: Option<(Name, Name)>,
}

impl ShardUri {
    /// Reads one as `backup plan --shards` prints them.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it names no run.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim_end_matches('/');
        let (rest, last) = trimmed.rsplit_once('/').unwrap_or((".", trimmed));
        let found = match RunId::parse(last) {
            Some(run) => Some((rest, run, None)),
            None => rest
                .rsplit_once('/')
                .and_then(|(place, run)| Some((place, RunId::parse(run)?, Some(last.parse().ok()?)))),
        };
        let Some((place, run, shard)) = found else {
            let why = format!(
                "`{text}` ends neither with a run id nor with a run id and the number of a shard; `backup plan --shards` prints them"
            );
            return Err(Error::invalid("the shard", why));
        };
        Ok(Self { place: place.to_owned(), run, shard, owner: owner_of(place) })
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// The shard, counted from 0; none where a whole plan is named.
    pub fn shard(&self) -> Option<u32> {
        self.shard
    }

    /// The job and the host whose run it is, where the plan lies with their control data.
    pub fn owner(&self) -> Option<(&Name, &Name)> {
        self.owner.as_ref().map(|(job, host)| (job, host))
    }

    /// The folder of plans that it is in.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

/// `…/.s3backup/<job>/<host>/plans`.
fn owner_of(place: &str) -> Option<(Name, Name)> {
    let mut names = place.strip_prefix("s3://")?.rsplit('/');
    if names.next()? != PLANS {
        return None;
    }
    let (host, job) = (names.next()?, names.next()?);
    (names.next()? == CONTROL_FOLDER).then_some(())?;
    Some((Name::new(job).ok()?, Name::new(host).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "20261128T110000.000Z-00000001";

    #[test]
    fn a_plan_and_its_shards_are_told_apart() {
        let control = format!("s3://b/p/.s3backup/job/gw-1/plans/{RUN}");
        let plan = ShardUri::parse(&control).unwrap();
        assert_eq!((plan.run().as_str(), plan.shard()), (RUN, None));
        assert_eq!(plan.place(), "s3://b/p/.s3backup/job/gw-1/plans");
        let shard = ShardUri::parse(&format!("{control}/17/")).unwrap();
        assert_eq!((shard.shard(), shard.owner().map(|(job, _)| job.as_str())), (Some(17), Some("job")));
        for elsewhere in [format!("/shared/plans/{RUN}/0"), format!("s3://b/other/{RUN}/0")] {
            let shard = ShardUri::parse(&elsewhere).unwrap();
            assert_eq!((shard.shard(), shard.owner()), (Some(0), None), "{elsewhere}");
        }
        assert_eq!(ShardUri::parse(RUN).unwrap().place(), ".");
        for wrong in ["", "s3://b/p", "s3://b/x/1", &format!("{control}/one"), &format!("{control}/-1")] {
            assert!(ShardUri::parse(wrong).is_err(), "{wrong}");
        }
    }
}
