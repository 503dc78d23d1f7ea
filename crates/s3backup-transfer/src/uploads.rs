//! Multipart uploads that were begun and not ended: invisible as objects, and paid for.

use std::time::Duration;

use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use s3backup_model::Key;

use crate::bucket::Gate;
use crate::clock::moment;
use crate::headers::url_decoded;
use crate::listing::named_by;
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
        let mut open = Vec::new();
        // Uploads of longer keys begin with this key, too.
        self.open_uploads_below(key.as_str(), |names, upload| {
            if names.contains(&key.as_str()) {
                open.push(upload);
            }
        })
        .await?;
        Ok(open)
    }

    /// Shows all open multipart uploads of keys that begin with `prefix`, whoever began them. Each has its key as it came and as it
    /// is when the server encodes keys: `SeaweedFS` says that it does, and does not.
    ///
    /// # Errors
    /// Some may have been shown by then.
    pub async fn open_uploads_below(
        &self,
        prefix: &str,
        mut see: impl FnMut([&str; 2], OpenUploadInfo),
    ) -> Result<(), Error> {
        const OPERATION: &str = "ListMultipartUploads";
        let named = named_by(OPERATION, prefix)?;
        let mut marker = Marker::default();
        loop {
            let reply = self
                .repeat(
                    Gate::default(),
                    OPERATION,
                    &named,
                    Duration::ZERO,
                    |_, _, _| {},
                    |_| self.open_uploads_once(OPERATION, &named, prefix, &marker),
                )
                .await?;
            let is_encoded = reply.encoding_type() == Some(&EncodingType::Url);
            let text = |text: &str| if is_encoded { url_decoded(text) } else { text.to_owned() };
            for upload in reply.uploads() {
                let (Some(key), Some(upload_id)) = (upload.key(), upload.upload_id()) else { continue };
                let initiated = moment(upload.initiated());
                see([key, &text(key)], OpenUploadInfo { upload_id: upload_id.to_owned(), initiated });
            }
            let next = Marker {
                key: reply.next_key_marker().filter(|key| !key.is_empty()).map(text),
                upload_id: reply.next_upload_id_marker().filter(|id| !id.is_empty()).map(ToOwned::to_owned),
            };
            if !reply.is_truncated().unwrap_or_default() {
                return Ok(());
            }
            if next == marker || next == Marker::default() {
                return Err(self.endless(OPERATION, &named));
            }
            marker = next;
        }
    }

    async fn open_uploads_once(
        &self,
        operation: &'static str,
        named: &Key,
        prefix: &str,
        marker: &Marker,
    ) -> Result<ListMultipartUploadsOutput, Error> {
        let request = self.client.list_multipart_uploads().bucket(&*self.name).prefix(prefix);
        let request = request
            .encoding_type(EncodingType::Url)
            .set_key_marker(marker.key.clone())
            .set_upload_id_marker(marker.upload_id.clone());
        request.send().await.map_err(|error| self.error(operation, named, error))
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
