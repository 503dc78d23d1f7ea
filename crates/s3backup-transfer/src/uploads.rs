//! Multipart uploads that were begun and not ended: invisible as objects, and paid for.

use std::time::Duration;

use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use s3backup_model::Key;

use crate::bucket::Gate;
use crate::clock::moment;
use crate::headers::url_decoded;
use crate::{Bucket, Error};

/// A multipart upload that is neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUploadInfo {
    /// The server's name for it.
    pub upload_id: String,
    /// When it was begun, where the server says so.
    pub initiated: Option<DateTime<Utc>>,
}

/// Where the next page of a listing begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marker {
    key: Option<String>,
    upload_id: Option<String>,
}

impl Bucket {
    /// The open multipart uploads of exactly this key, whoever began them.
    pub async fn open_uploads(&self, key: &Key) -> Result<Vec<OpenUploadInfo>, Error> {
        const OPERATION: &str = "ListMultipartUploads";
        let (mut open, mut marker) = (Vec::new(), Marker::default());
        loop {
            let (here, next) = self
                .repeat(
                    Gate::default(),
                    OPERATION,
                    key,
                    Duration::ZERO,
                    |_, _, _| {},
                    |_| self.open_uploads_once(OPERATION, key, &marker),
                )
                .await?;
            open.extend(here);
            match next {
                None => return Ok(open),
                Some(next) if next == marker || next == Marker::default() => {
                    return Err(self.endless(OPERATION, key));
                }
                Some(next) => marker = next,
            }
        }
    }

    async fn open_uploads_once(
        &self,
        operation: &'static str,
        key: &Key,
        marker: &Marker,
    ) -> Result<(Vec<OpenUploadInfo>, Option<Marker>), Error> {
        let request = self.client.list_multipart_uploads().bucket(&*self.name).prefix(key.as_str());
        let reply = request
            .encoding_type(EncodingType::Url)
            .set_key_marker(marker.key.clone())
            .set_upload_id_marker(marker.upload_id.clone())
            .send()
            .await
            .map_err(|error| self.error(operation, key, error))?;
        let is_encoded = reply.encoding_type() == Some(&EncodingType::Url);
        let text = |text: &str| if is_encoded { url_decoded(text) } else { text.to_owned() };
        let uploads = reply.uploads().iter().filter_map(|upload| {
            // Uploads of longer keys begin with this key, too. SeaweedFS says that it encodes keys, and does not.
            let found = upload.key().unwrap_or_default();
            let is_ours = found == key.as_str() || text(found) == key.as_str();
            Some(OpenUploadInfo {
                upload_id: upload.upload_id().filter(|_| is_ours)?.to_owned(),
                initiated: moment(upload.initiated()),
            })
        });
        let next = Marker {
            key: reply.next_key_marker().filter(|key| !key.is_empty()).map(text),
            upload_id: reply.next_upload_id_marker().filter(|id| !id.is_empty()).map(ToOwned::to_owned),
        };
        Ok((uploads.collect(), reply.is_truncated().unwrap_or_default().then_some(next)))
    }

    /// Ends a multipart upload and removes its parts. One that is not there has ended already.
    pub async fn abort_upload(&self, key: &Key, upload_id: &str) -> Result<(), Error> {
        const OPERATION: &str = "AbortMultipartUpload";
        let result = self
            .repeat(
                Gate::default(),
                OPERATION,
                key,
                Duration::ZERO,
                |_, _, _| {},
                |_| async {
                    let request = self.client.abort_multipart_upload().bucket(&*self.name).key(key.as_str());
                    let reply = request.upload_id(upload_id).send().await;
                    reply.map(|_| ()).map_err(|error| self.error(OPERATION, key, error))
                },
            )
            .await;
        result.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
    }
}
