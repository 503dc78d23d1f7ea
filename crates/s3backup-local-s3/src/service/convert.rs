//! Between what the server remembers and the types of the protocol layer.

use std::collections::{BTreeMap, HashSet};

use s3s::dto::{ETag, ServerSideEncryption, StorageClass};
use s3s::{S3Result, s3_error};

use crate::object::Attributes;
use crate::text::form_pairs;

/// S3 takes 2 KB of user metadata, names and values together.
const METADATA_LIMIT_BYTES: usize = 2 * 1024;
/// S3 takes 10 tags an object.
const TAG_LIMIT: usize = 10;

const STORAGE_CLASSES: [&str; 11] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "GLACIER_IR",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "SNOW",
    "EXPRESS_ONEZONE",
];

/// Sets the field of one algorithm in a reply.
macro_rules! set_value {
    ($reply:expr, $algorithm:expr, $value:expr) => {{
        let slot = match $algorithm {
            crate::checksum::Algorithm::Crc32 => &mut $reply.checksum_crc32,
            crate::checksum::Algorithm::Crc32c => &mut $reply.checksum_crc32c,
            crate::checksum::Algorithm::Crc64Nvme => &mut $reply.checksum_crc64nvme,
            crate::checksum::Algorithm::Sha1 => &mut $reply.checksum_sha1,
            crate::checksum::Algorithm::Sha256 => &mut $reply.checksum_sha256,
        };
        *slot = Some($value);
    }};
}

/// Sets the checksum of a reply and its type, if there is one.
macro_rules! set_checksum {
    ($reply:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let checksum: crate::checksum::Checksum = checksum;
            $reply.checksum_type = Some(s3s::dto::ChecksumType::from_static(checksum.coverage.name()));
            crate::service::convert::set_value!($reply, checksum.algorithm, checksum.value);
        }
    };
}

/// The checksums that a request or a part carries as fields.
macro_rules! values {
    ($request:expr) => {
        [
            (crate::checksum::Algorithm::Crc32, &$request.checksum_crc32),
            (crate::checksum::Algorithm::Crc32c, &$request.checksum_crc32c),
            (crate::checksum::Algorithm::Crc64Nvme, &$request.checksum_crc64nvme),
            (crate::checksum::Algorithm::Sha1, &$request.checksum_sha1),
            (crate::checksum::Algorithm::Sha256, &$request.checksum_sha256),
        ]
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm, value.clone()?)))
    };
}

/// What a request that makes an object says about it; the requests have equal fields and no common type.
macro_rules! attributes {
    ($request:expr) => {
        crate::service::convert::check_attributes(crate::object::Attributes {
            content_type: $request.content_type.clone(),
            content_encoding: $request.content_encoding.clone(),
            content_language: $request.content_language.clone(),
            content_disposition: $request.content_disposition.clone(),
            cache_control: $request.cache_control.clone(),
            expires: $request.expires.clone(),
            website_redirect_location: $request.website_redirect_location.clone(),
            metadata: $request.metadata.clone().unwrap_or_default().into_iter().collect(),
            tags: crate::service::convert::tags_from_header($request.tagging.as_deref())?,
            storage_class: crate::service::convert::storage_class($request.storage_class.as_ref())?,
            encryption: crate::service::convert::encryption($request.server_side_encryption.as_ref())?,
            kms_key_id: $request.ssekms_key_id.clone(),
            bucket_key_enabled: $request.bucket_key_enabled,
        })
    };
}

/// The headers of a GET or HEAD reply.
macro_rules! set_object {
    ($reply:expr, $object:expr) => {{
        let attributes = &$object.attributes;
        $reply.accept_ranges = Some("bytes".to_owned());
        $reply.bucket_key_enabled = attributes.bucket_key_enabled;
        $reply.cache_control = attributes.cache_control.clone();
        $reply.content_disposition = attributes.content_disposition.clone();
        $reply.content_encoding = attributes.content_encoding.clone();
        $reply.content_language = attributes.content_language.clone();
        $reply.content_type =
            Some(attributes.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned()));
        $reply.e_tag = Some(crate::service::convert::etag(&$object.etag));
        $reply.expires = attributes.expires.clone();
        $reply.last_modified = Some(crate::object::timestamp($object.modified));
        $reply.metadata = Some(attributes.metadata.clone().into_iter().collect());
        $reply.server_side_encryption = attributes.encryption.clone().map(Into::into);
        $reply.ssekms_key_id = attributes.kms_key_id.clone();
        $reply.storage_class = attributes.storage_class.clone().map(Into::into);
        $reply.website_redirect_location = attributes.website_redirect_location.clone();
    }};
}

pub(super) use {attributes, set_checksum, set_object, set_value, values};

pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

/// A size as the protocol layer wants it; no file is that large.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn check_attributes(mut attributes: Attributes) -> S3Result<Attributes> {
    let size: usize = attributes.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_LIMIT_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        ));
    }
    if attributes.kms_key_id.is_some()
        && !attributes.encryption.as_deref().is_some_and(|name| name.starts_with("aws:kms"))
    {
        return Err(s3_error!(
            InvalidArgument,
            "Server Side Encryption with AWS KMS managed key requires the header \
             x-amz-server-side-encryption: aws:kms"
        ));
    }
    // `aws-chunked` says how the request was sent, not what the object is.
    attributes.content_encoding = attributes.content_encoding.and_then(|encoding| {
        let kept: Vec<&str> =
            encoding.split(',').map(str::trim).filter(|name| !matches!(*name, "aws-chunked" | "")).collect();
        (!kept.is_empty()).then(|| kept.join(","))
    });
    Ok(attributes)
}

/// Parses `x-amz-tagging`.
pub(super) fn tags_from_header(header: Option<&str>) -> S3Result<Vec<(String, String)>> {
    check_tags(form_pairs(header.unwrap_or_default()).collect())
}

pub(super) fn check_tags(tags: Vec<(String, String)>) -> S3Result<Vec<(String, String)>> {
    let mut names = HashSet::new();
    if tags.len() > TAG_LIMIT {
        return Err(s3_error!(InvalidTag, "Object tags cannot be greater than {TAG_LIMIT}"));
    }
    for (name, value) in &tags {
        if name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256 {
            return Err(s3_error!(InvalidTag, "The TagKey or TagValue you have provided is invalid"));
        }
        if !names.insert(name) {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

pub(super) fn storage_class(class: Option<&StorageClass>) -> S3Result<Option<String>> {
    match class.map(StorageClass::as_str) {
        None | Some("STANDARD") => Ok(None),
        Some(class) if STORAGE_CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(_) => Err(s3_error!(InvalidStorageClass, "The storage class you specified is not valid")),
    }
}

pub(super) fn encryption(encryption: Option<&ServerSideEncryption>) -> S3Result<Option<String>> {
    match encryption.map(ServerSideEncryption::as_str) {
        None => Ok(None),
        Some(name @ ("AES256" | "aws:kms" | "aws:kms:dsse")) => Ok(Some(name.to_owned())),
        Some(_) => Err(s3_error!(
            InvalidEncryptionAlgorithmError,
            "The encryption request that you specified is not valid"
        )),
    }
}

/// Metadata as the protocol layer wants it, for requests that replace it.
pub(super) fn sorted(metadata: Option<s3s::dto::Metadata>) -> BTreeMap<String, String> {
    metadata.unwrap_or_default().into_iter().collect()
}
