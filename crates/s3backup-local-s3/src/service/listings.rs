//! The three kinds of LIST.

use std::sync::Arc;

use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, EncodingType, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Result, s3_error};

use super::Service;
use super::convert::{etag, signed};
use crate::index::Key;
use crate::listing::{self, PAGE_LIMIT, Page, Query};
use crate::object::{Object, timestamp};
use crate::text::{url_decode, url_encode};

/// Keys in replies, encoded if the client asked for it: XML cannot carry every character.
pub(super) struct Encoding(bool);

impl Encoding {
    pub(super) fn new(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some(EncodingType::URL) => Ok(Self(true)),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    pub(super) fn text(&self, text: &str) -> String {
        if self.0 { url_encode(text) } else { text.to_owned() }
    }

    pub(super) fn prefixes(&self, prefixes: &[String]) -> Vec<CommonPrefix> {
        prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.text(prefix)) }).collect()
    }

    fn object(&self, key: &Key, object: &Object) -> s3s::dto::Object {
        let checksum = object.checksum.as_ref();
        let algorithm = checksum.map(|checksum| ChecksumAlgorithm::from_static(checksum.algorithm.name()));
        s3s::dto::Object {
            checksum_algorithm: algorithm.map(|algorithm| vec![algorithm]),
            checksum_type: checksum.map(|checksum| ChecksumType::from_static(checksum.coverage.name())),
            e_tag: Some(etag(&object.etag)),
            key: Some(self.text(key.as_str())),
            last_modified: Some(timestamp(object.modified)),
            owner: None,
            restore_status: None,
            size: Some(signed(object.size)),
            storage_class: Some(ObjectStorageClass::from(storage_class(object))),
        }
    }

    fn objects(&self, objects: &[(Key, Arc<Object>)]) -> Vec<s3s::dto::Object> {
        objects.iter().map(|(key, object)| self.object(key, object)).collect()
    }
}

fn storage_class(object: &Object) -> String {
    object.attributes.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned())
}

/// The size of a page: what the client asked for, at most 1,000.
pub(super) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    let Some(asked) = asked else { return Ok(PAGE_LIMIT) };
    usize::try_from(asked)
        .map(|size| size.min(PAGE_LIMIT))
        .map_err(|_| s3_error!(InvalidArgument, "The number of entries must not be negative"))
}

/// The size of a page as the reply has it.
pub(super) fn told_size(size: usize) -> Option<i32> {
    i32::try_from(size).ok()
}

impl Service {
    fn page(&self, bucket: &str, query: Query<'_>) -> S3Result<Page> {
        self.store.read_bucket(bucket, |bucket| Ok(listing::page(&bucket.objects, query)))
    }

    pub(super) fn list_objects_v2(
        &self,
        req: &S3Request<ListObjectsV2Input>,
    ) -> S3Result<ListObjectsV2Output> {
        let input = req.input.clone();
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let max = page_size(input.max_keys)?;
        // A token is the last entry of the page before, encoded so that clients do not take it for a key.
        let token = input.continuation_token.as_deref().map(decode_token).transpose()?;
        let after = token.or_else(|| input.start_after.clone()).unwrap_or_default();
        let query = Query { prefix: &prefix, delimiter: delimiter.as_deref(), after: &after, max };
        let page = self.page(&input.bucket, query)?;
        Ok(ListObjectsV2Output {
            key_count: told_size(page.objects.len() + page.prefixes.len()),
            contents: Some(encoding.objects(&page.objects)),
            common_prefixes: Some(encoding.prefixes(&page.prefixes)),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_deref().map(encode_token),
            continuation_token: input.continuation_token,
            delimiter: delimiter.map(|delimiter| encoding.text(&delimiter)),
            encoding_type: input.encoding_type,
            max_keys: told_size(max),
            name: Some(input.bucket),
            prefix: Some(encoding.text(&prefix)),
            start_after: input.start_after.map(|after| encoding.text(&after)),
            request_charged: None,
        })
    }

    pub(super) fn list_objects(&self, req: &S3Request<ListObjectsInput>) -> S3Result<ListObjectsOutput> {
        let input = req.input.clone();
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let after = input.marker.unwrap_or_default();
        let max = page_size(input.max_keys)?;
        let query = Query { prefix: &prefix, delimiter: delimiter.as_deref(), after: &after, max };
        let page = self.page(&input.bucket, query)?;
        Ok(ListObjectsOutput {
            contents: Some(encoding.objects(&page.objects)),
            common_prefixes: Some(encoding.prefixes(&page.prefixes)),
            is_truncated: Some(page.next.is_some()),
            // Without a delimiter the client goes on from the last key.
            next_marker: page.next.filter(|_| delimiter.is_some()).map(|next| encoding.text(&next)),
            delimiter: delimiter.map(|delimiter| encoding.text(&delimiter)),
            encoding_type: input.encoding_type,
            marker: Some(encoding.text(&after)),
            max_keys: told_size(max),
            name: Some(input.bucket),
            prefix: Some(encoding.text(&prefix)),
            request_charged: None,
        })
    }

    /// Without versioning every object is the one version of itself, named `null`.
    pub(super) fn list_object_versions(
        &self,
        req: &S3Request<ListObjectVersionsInput>,
    ) -> S3Result<ListObjectVersionsOutput> {
        let input = req.input.clone();
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let after = input.key_marker.unwrap_or_default();
        let max = page_size(input.max_keys)?;
        let query = Query { prefix: &prefix, delimiter: delimiter.as_deref(), after: &after, max };
        let page = self.page(&input.bucket, query)?;
        let version = |(key, object): &(Key, Arc<Object>)| {
            let listed = encoding.object(key, object);
            ObjectVersion {
                checksum_algorithm: listed.checksum_algorithm,
                checksum_type: listed.checksum_type,
                e_tag: listed.e_tag,
                is_latest: Some(true),
                key: listed.key,
                last_modified: listed.last_modified,
                owner: None,
                restore_status: None,
                size: listed.size,
                storage_class: Some(ObjectVersionStorageClass::from(storage_class(object))),
                version_id: Some("null".to_owned()),
            }
        };
        Ok(ListObjectVersionsOutput {
            versions: Some(page.objects.iter().map(version).collect()),
            common_prefixes: Some(encoding.prefixes(&page.prefixes)),
            is_truncated: Some(page.next.is_some()),
            next_version_id_marker: page.next.is_some().then(|| "null".to_owned()),
            next_key_marker: page.next.map(|next| encoding.text(&next)),
            delimiter: delimiter.map(|delimiter| encoding.text(&delimiter)),
            encoding_type: input.encoding_type,
            key_marker: Some(encoding.text(&after)),
            max_keys: told_size(max),
            name: Some(input.bucket),
            prefix: Some(encoding.text(&prefix)),
            ..ListObjectVersionsOutput::default()
        })
    }
}

const TOKEN_START: &str = "1.";

fn encode_token(last: &str) -> String {
    format!("{TOKEN_START}{}", url_encode(last))
}

fn decode_token(token: &str) -> S3Result<String> {
    let encoded = token.strip_prefix(TOKEN_START);
    encoded
        .map(url_decode)
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}
