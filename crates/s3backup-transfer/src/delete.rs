//! Removing objects.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use s3backup_model::Key;

use crate::bucket::Gate;
use crate::{Bucket, Error, ServiceError};

/// The most objects that one request removes (AWS: "Deleting multiple objects").
pub const MAX_DELETES: usize = 1_000;

const OPERATION: &str = "DeleteObjects";

impl Bucket {
    /// Removes one version of an object. Without a version id it removes the object, or, in a bucket with versioning,
    /// hides it behind a delete marker. What is not there is removed already.
    pub async fn delete(&self, key: &Key, version_id: Option<&str>) -> Result<(), Error> {
        let operation = if version_id.is_some() { "DeleteObjectVersion" } else { "DeleteObject" };
        let result = self
            .repeat(
                Gate::default(),
                operation,
                key,
                Duration::ZERO,
                |_, _, _| {},
                |_| async {
                    let request = self.client.delete_object().bucket(&*self.name).key(key.as_str());
                    let reply = request.set_version_id(version_id.map(ToOwned::to_owned)).send().await;
                    reply.map(|_| ()).map_err(|error| self.error(operation, key, error))
                },
            )
            .await;
        result.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
    }

    /// Removes up to [`MAX_DELETES`] versions or objects like [`Bucket::delete`], and gives those that could not be
    /// removed: their places in `objects`, and why.
    ///
    /// # Errors
    /// Of the request as a whole; some of the objects may then be gone. More objects than the limit are
    /// [`Error::BadRequest`], and nothing is sent.
    pub async fn delete_many(&self, objects: &[(Key, Option<String>)]) -> Result<Vec<(usize, Error)>, Error> {
        let Some((named, _)) = objects.first() else { return Ok(Vec::new()) };
        if objects.len() > MAX_DELETES {
            let cause = format!("{} objects at once, and S3 takes at most {MAX_DELETES}", objects.len());
            return Err(Error::BadRequest { operation: OPERATION, target: self.target(named), cause });
        }
        let (mut failed, mut left) = (Vec::new(), Vec::new());
        for (place, (key, version_id)) in objects.iter().enumerate() {
            if is_xml(key.as_str()) {
                left.push(place);
            } else if let Err(error) = self.delete(key, version_id.as_deref()).await {
                failed.push((place, error));
            }
        }
        for round in 1.. {
            if left.is_empty() {
                break;
            }
            let refused = self
                .repeat(
                    Gate::default(),
                    OPERATION,
                    named,
                    Duration::ZERO,
                    |_, _, _| {},
                    |_| self.delete_once(objects, &left),
                )
                .await?;
            let wait = self.wait_after(round);
            left.clear();
            for (place, error) in refused {
                match wait {
                    Some(_) if error.is_retryable() => left.push(place),
                    _ => failed.push((place, error)),
                }
            }
            if let Some(wait) = wait.filter(|_| !left.is_empty()) {
                tokio::time::sleep(wait).await;
            }
        }
        failed.sort_unstable_by_key(|(place, _)| *place);
        Ok(failed)
    }

    /// Removes the objects at `places` by one request, and gives those that were refused.
    async fn delete_once(
        &self,
        objects: &[(Key, Option<String>)],
        places: &[usize],
    ) -> Result<Vec<(usize, Error)>, Error> {
        let mut place_of = HashMap::new();
        let mut delete = Delete::builder().quiet(true);
        for &place in places {
            let (key, version_id) = &objects[place];
            place_of.insert((key.as_str(), version_id.as_deref()), place);
            let object = ObjectIdentifier::builder().key(key.as_str()).set_version_id(version_id.clone());
            delete = delete.objects(object.build().map_err(|error| self.bad_delete(key, &error))?);
        }
        let named = &objects[places[0]].0;
        let delete = delete.build().map_err(|error| self.bad_delete(named, &error))?;
        let reply = self.client.delete_objects().bucket(&*self.name).delete(delete).send().await;
        let reply = reply.map_err(|error| self.error(OPERATION, named, error))?;
        let mut refused = Vec::new();
        for error in reply.errors() {
            let key = error.key().unwrap_or_default();
            // Not every server names the version that was asked for.
            let place = [error.version_id().filter(|id| !id.is_empty()), None]
                .iter()
                .find_map(|version_id| place_of.get(&(key, *version_id)))
                .or_else(|| places.iter().find(|place| objects[**place].0.as_str() == key));
            let place = place.copied().ok_or_else(|| {
                let cause = format!("the reply names {key:?}, which was not to be removed");
                Error::BadRequest { operation: OPERATION, target: self.target(named), cause }
            })?;
            let target = self.target(&objects[place].0);
            let error = ServiceError::inside_reply(
                OPERATION,
                target,
                error.code().unwrap_or_default(),
                error.message().unwrap_or_default(),
            );
            if !matches!(error.code.as_str(), "NoSuchKey" | "NoSuchVersion") {
                refused.push((place, error.into()));
            }
        }
        Ok(refused)
    }

    fn bad_delete(&self, key: &Key, error: &dyn std::error::Error) -> Error {
        Error::BadRequest { operation: OPERATION, target: self.target(key), cause: error.to_string() }
    }
}

/// Whether XML 1.0 can hold this text. Else the object is removed by a request of its own, whose URL can.
fn is_xml(text: &str) -> bool {
    text.chars().all(|c| c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}
