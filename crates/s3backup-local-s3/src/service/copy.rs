//! `CopyObject`.

use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, TaggingDirective,
};
use s3s::{S3Request, S3Result, s3_error};

use super::convert::{
    check_attributes, encryption, etag, set_checksum, sorted, storage_class, tags_from_header,
};
use super::{Quirks, Service};
use crate::checksum::{Algorithm, Checksum, Coverage};
use crate::conditions::ReadConditions;
use crate::journal::Record;
use crate::object::{Attributes, Object, Piece, timestamp};
use crate::read;
use crate::receive::blocking;
use crate::store::{Store, find_bucket, internal};

impl Service {
    pub(super) async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
        let quirks = Quirks::of(&req.extensions);
        let input = req.input;
        let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else {
            return Err(s3_error!(NotImplemented, "the source must be BUCKET/KEY"));
        };
        let source = self.store.object(bucket, key, version_id.as_deref())?;
        ReadConditions {
            matches: input.copy_source_if_match.clone(),
            none_matches: input.copy_source_if_none_match.clone(),
            modified_since: input.copy_source_if_modified_since.clone(),
            unmodified_since: input.copy_source_if_unmodified_since.clone(),
        }
        .check_source(&source)?;
        let attributes = attributes_of_copy(&input, &source)?;
        let algorithm =
            match &input.checksum_algorithm {
                None => None,
                Some(name) => Some(Algorithm::from_name(name.as_str()).ok_or_else(|| {
                    s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported.")
                })?),
            };
        if (&**bucket, &**key) == (input.bucket.as_str(), input.key.as_str()) && !changes_something(&input) {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing \
                 the object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let store = Arc::clone(&self.store);
        let object = blocking(move || {
            let object = Arc::new(copy(&store, &source, attributes, algorithm)?);
            store.change(|index| {
                find_bucket(index, &input.bucket)?;
                let object = Arc::clone(&object);
                Ok(Some(Record::PutObject { bucket: input.bucket, key: input.key, object }))
            })?;
            Ok(object)
        })
        .await?;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(&object.etag)),
            last_modified: Some(timestamp(object.modified)),
            ..CopyObjectResult::default()
        };
        set_checksum!(result, quirks.told(object.checksum.as_ref()));
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            server_side_encryption: object.attributes.encryption.clone().map(Into::into),
            ssekms_key_id: object.attributes.kms_key_id.clone(),
            bucket_key_enabled: object.attributes.bucket_key_enabled,
            ..CopyObjectOutput::default()
        })
    }
}

fn replaces_metadata(input: &CopyObjectInput) -> bool {
    input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == MetadataDirective::REPLACE)
}

fn changes_something(input: &CopyObjectInput) -> bool {
    replaces_metadata(input)
        || input.storage_class.is_some()
        || input.server_side_encryption.is_some()
        || input.website_redirect_location.is_some()
        || input.checksum_algorithm.is_some()
}

/// Storage class and encryption are never copied; the rest is, unless the directives say otherwise.
fn attributes_of_copy(input: &CopyObjectInput, source: &Object) -> S3Result<Attributes> {
    let mut attributes = if replaces_metadata(input) {
        Attributes {
            content_type: input.content_type.clone(),
            content_encoding: input.content_encoding.clone(),
            content_language: input.content_language.clone(),
            content_disposition: input.content_disposition.clone(),
            cache_control: input.cache_control.clone(),
            expires: input.expires.clone(),
            metadata: sorted(input.metadata.clone()),
            ..Attributes::default()
        }
    } else {
        source.attributes.clone()
    };
    let replaces_tags =
        input.tagging_directive.as_ref().is_some_and(|it| it.as_str() == TaggingDirective::REPLACE);
    attributes.tags = if replaces_tags {
        tags_from_header(input.tagging.as_deref())?
    } else {
        source.attributes.tags.clone()
    };
    attributes.website_redirect_location.clone_from(&input.website_redirect_location);
    attributes.storage_class = storage_class(input.storage_class.as_ref())?;
    attributes.encryption = encryption(input.server_side_encryption.as_ref())?;
    attributes.kms_key_id.clone_from(&input.ssekms_key_id);
    attributes.bucket_key_enabled = input.bucket_key_enabled;
    check_attributes(attributes)
}

/// The same bytes as an object of its own. Its `ETag` and checksum are those of one PUT, as S3 has it, so a multipart
/// source is read through.
fn copy(
    store: &Store,
    source: &Object,
    attributes: Attributes,
    algorithm: Option<Algorithm>,
) -> S3Result<Object> {
    let blobs = store.blobs();
    let wanted = algorithm
        .or(source.checksum.as_ref().map(|checksum| checksum.algorithm))
        .unwrap_or(Algorithm::Crc64Nvme);
    let kept = source
        .checksum
        .clone()
        .filter(|checksum| checksum.algorithm == wanted && checksum.coverage == Coverage::FullObject);
    let (etag, checksum) = match kept {
        Some(checksum) if !source.multipart => (source.etag.clone(), checksum),
        _ => {
            let digests = read::digests(blobs, source, &[wanted]).map_err(internal)?;
            let value = digests.get(wanted).unwrap_or_default().to_owned();
            (digests.etag(), Checksum { algorithm: wanted, coverage: Coverage::FullObject, value })
        }
    };
    let pieces = source
        .pieces
        .iter()
        .map(|piece| {
            let blob = Arc::new(piece.blob.duplicate(blobs).map_err(internal)?);
            Ok(Piece { number: piece.number, size: piece.size, checksum: None, blob })
        })
        .collect::<S3Result<Vec<_>>>()?;
    Ok(Object {
        size: source.size,
        etag,
        modified: store.now(),
        checksum: Some(checksum),
        multipart: false,
        pieces,
        attributes,
    })
}
