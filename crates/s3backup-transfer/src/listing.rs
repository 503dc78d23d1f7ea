//! What is in the bucket.

use std::time::Duration;

use aws_sdk_s3::types::EncodingType;
use s3backup_model::Key;

use crate::bucket::Gate;
use crate::headers::url_decoded;
use crate::{Bucket, Error};

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Keys and sizes, in the server's order (not every server sorts).
    pub objects: Vec<(String, u64)>,
    /// Pass this to [`Bucket::list`] for the next page; `None` at the end.
    pub next: Option<String>,
}

impl Bucket {
    /// One page, at most 1,000 keys, of what starts with `prefix`.
    pub async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Listed, Error> {
        // A listing has no key of its own; its prefix names it in errors.
        let named =
            Key::new(if prefix.is_empty() { "*" } else { prefix }).map_err(|error| Error::BadRequest {
                operation: "ListObjectsV2",
                target: prefix.to_owned(),
                cause: error.to_string(),
            })?;
        self.repeat(
            Gate::default(),
            "ListObjectsV2",
            &named,
            Duration::ZERO,
            |_, _, _| {},
            |_| async {
                let request = self.client.list_objects_v2().bucket(&*self.name).prefix(prefix);
                // Keys can hold characters that XML cannot; the SDK hands them over as they were sent.
                let request = request
                    .encoding_type(EncodingType::Url)
                    .set_continuation_token(page.map(ToOwned::to_owned));
                let reply =
                    request.send().await.map_err(|error| self.error("ListObjectsV2", &named, error))?;
                let objects = reply.contents().iter().filter_map(|object| {
                    let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                    object.key().map(|key| (url_decoded(key), size))
                });
                Ok(Listed {
                    objects: objects.collect(),
                    next: reply.next_continuation_token().map(ToOwned::to_owned),
                })
            },
        )
        .await
    }
}
