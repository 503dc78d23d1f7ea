//! What is in the bucket.

use std::time::Duration;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object};
use chrono::{DateTime, Utc};
use s3backup_model::Key;

use crate::bucket::Gate;
use crate::clock::moment;
use crate::headers::{unquoted, url_decoded};
use crate::{Bucket, Error};

const OPERATION: &str = "ListObjectsV2";

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In the server's order (not every server sorts).
    pub objects: Vec<ListedObject>,
    /// Pass this to [`Bucket::list`] for the next page; `None` at the end.
    pub next: Option<String>,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedObject {
    /// Its name, as text: a stranger's key may be longer than ours can be.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// ETag without quotes; empty where the server shows none.
    pub etag: String,
    /// Storage class, where the server shows it.
    pub storage_class: Option<String>,
    /// When it was last written, by the server's clock, where the server shows it.
    pub modified_at: Option<DateTime<Utc>>,
}

/// One page of what lies directly below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedFolders {
    /// Prefixes from the beginning of the key to the slash that ends them, in the server's order.
    pub folders: Vec<String>,
    /// The objects that are in none of the folders.
    pub objects: Vec<ListedObject>,
    /// Pass this to [`Bucket::list_folder`] for the next page; `None` at the end.
    pub next: Option<String>,
}

impl Bucket {
    /// One page, at most 1,000 keys, of what starts with `prefix`.
    pub async fn list(&self, prefix: &str, page: Option<&str>) -> Result<Listed, Error> {
        let (reply, next) = self.list_page(prefix, None, page).await?;
        Ok(Listed { objects: reply.contents().iter().filter_map(listed).collect(), next })
    }

    /// One page of the folders and objects directly below `prefix`, which should end with a slash. What lies in folders is not
    /// counted through, so that few requests tell the runs among millions of objects. A page may be empty and have a next one.
    pub async fn list_folder(&self, prefix: &str, page: Option<&str>) -> Result<ListedFolders, Error> {
        let (reply, next) = self.list_page(prefix, Some("/"), page).await?;
        let folders = reply.common_prefixes().iter().filter_map(|folder| folder.prefix().map(url_decoded));
        let objects = reply.contents().iter().filter_map(listed);
        Ok(ListedFolders { folders: folders.collect(), objects: objects.collect(), next })
    }

    async fn list_page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        page: Option<&str>,
    ) -> Result<(ListObjectsV2Output, Option<String>), Error> {
        let named = named_by(OPERATION, prefix)?;
        let reply = self
            .repeat(
                Gate::default(),
                OPERATION,
                &named,
                Duration::ZERO,
                |_, _, _| {},
                |_| async {
                    let request = self.client.list_objects_v2().bucket(&*self.name).prefix(prefix);
                    // Keys can hold characters that XML cannot; the SDK hands them over as they were sent.
                    let request = request
                        .encoding_type(EncodingType::Url)
                        .set_delimiter(delimiter.map(ToOwned::to_owned))
                        .set_continuation_token(page.map(ToOwned::to_owned));
                    let reply = request.customize().interceptor(self.clock.clone()).send().await;
                    reply.map_err(|error| self.error(OPERATION, &named, error))
                },
            )
            .await?;
        let next = reply.next_continuation_token().filter(|next| !next.is_empty()).map(ToOwned::to_owned);
        if reply.is_truncated() == Some(true) && (next.is_none() || next.as_deref() == page) {
            return Err(self.endless(OPERATION, &named));
        }
        Ok((reply, next))
    }

    /// A listing that says that there is more and not how to ask for it: what was found so far is not all.
    pub(crate) fn endless(&self, operation: &'static str, key: &Key) -> Error {
        let cause = "the server does not say where the next page of the listing begins";
        Error::BadRequest { operation, target: self.target(key), cause: cause.to_owned() }
    }
}

/// A listing has no key of its own; its prefix names it in errors.
pub(crate) fn named_by(operation: &'static str, prefix: &str) -> Result<Key, Error> {
    Key::new(if prefix.is_empty() { "*" } else { prefix }).map_err(|error| Error::BadRequest {
        operation,
        target: prefix.to_owned(),
        cause: error.to_string(),
    })
}

fn listed(object: &Object) -> Option<ListedObject> {
    Some(ListedObject {
        key: url_decoded(object.key()?),
        size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        etag: unquoted(object.e_tag()),
        storage_class: object.storage_class().map(|class| class.as_str().to_owned()),
        modified_at: moment(object.last_modified()),
    })
}
