//! Conditions on requests: `If-Match` and its kin.

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};

use crate::object::{Object, timestamp};

/// Under which a write is carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteConditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    /// Checks against the object that is there now: `PreconditionFailed`, `NoSuchKey` or `NotImplemented`.
    pub(crate) fn check(&self, current: Option<&Object>) -> S3Result<()> {
        match (&self.if_match, current) {
            (Some(_), None) => return Err(s3_error!(NoSuchKey)),
            (Some(condition), Some(object)) if !matches(condition, object) => return Err(failed()),
            _ => {}
        }
        match (&self.if_none_match, current) {
            // S3 has no other condition here.
            (Some(ETagCondition::ETag(_)), _) => {
                Err(s3_error!(NotImplemented, "If-None-Match of a write takes only *"))
            }
            (Some(ETagCondition::Any), Some(_)) => Err(failed()),
            _ => Ok(()),
        }
    }
}

/// Under which an object is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadConditions {
    pub(crate) matches: Option<ETagCondition>,
    pub(crate) none_matches: Option<ETagCondition>,
    pub(crate) modified_since: Option<Timestamp>,
    pub(crate) unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// Checks against the object: `PreconditionFailed` or `NotModified`.
    ///
    /// A condition on the `ETag` makes the one on the time that goes with it void (RFC 9110, 13.2.2).
    pub(crate) fn check(&self, object: &Object) -> S3Result<()> {
        let modified = timestamp(object.modified);
        match (&self.matches, &self.unmodified_since) {
            (Some(condition), _) if !matches(condition, object) => return Err(failed()),
            (None, Some(time)) if modified > *time => return Err(failed()),
            _ => {}
        }
        match (&self.none_matches, &self.modified_since) {
            (Some(condition), _) if matches(condition, object) => Err(s3_error!(NotModified)),
            (None, Some(time)) if modified <= *time => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }

    /// The same for the source of a copy, which has no `NotModified`.
    pub(crate) fn check_source(&self, object: &Object) -> S3Result<()> {
        self.check(object).map_err(|_| failed())
    }
}

fn matches(condition: &ETagCondition, object: &Object) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag_is(etag, &object.etag),
    }
}

/// Whether a client's `ETag` names this one, quotes or not.
pub(crate) fn etag_is(etag: &ETag, stored: &str) -> bool {
    etag.value().trim_matches('"') == stored
}

fn failed() -> s3s::S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}
