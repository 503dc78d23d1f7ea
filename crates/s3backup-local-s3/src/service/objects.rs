//! PUT, GET, HEAD and DELETE.

use std::ops::Range;
use std::sync::Arc;

use http::StatusCode;
use s3s::dto::{
    self, ChecksumMode, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    DeletedObject, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectIdentifier,
    PutObjectInput, PutObjectOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::convert::{attributes, etag, set_checksum, set_object, signed};
use super::{FailingKeys, Quirks, Service};
use crate::checksum::{Algorithm, Checksum, Coverage};
use crate::conditions::{ReadConditions, WriteConditions};
use crate::journal::Record;
use crate::object::{Object, Piece};
use crate::read;
use crate::receive::{Expected, blocking, receive};
use crate::store::{check_version, find_bucket, other_error};

/// S3 takes 5 GiB by one PUT.
const PUT_LIMIT_BYTES: i64 = 5 * 1024 * 1024 * 1024;

/// S3 deletes at most so many objects by one request.
const DELETE_LIMIT: usize = 1_000;

impl Service {
    pub(super) async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        let quirks = Quirks::of(&req.extensions);
        let declared = quirks.declared(&req.headers)?;
        let input = req.input;
        let attributes = attributes!(input)?;
        let conditions = quirks
            .conditions(WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match });
        if input.content_length.is_some_and(|length| length > PUT_LIMIT_BYTES) {
            return Err(s3_error!(EntityTooLarge));
        }
        // Before the body is taken in, and again when it is there.
        self.check_write(&input.bucket, &input.key, &conditions)?;

        // S3 keeps a CRC64NVME of what comes without a checksum.
        let algorithm = declared.algorithm.unwrap_or(Algorithm::Crc64Nvme);
        let expected =
            Expected { key: input.key.clone(), algorithms: vec![algorithm], needs_md5: declared.needs_md5() };
        let received = receive(&self.store, input.body, expected).await?;
        let store = Arc::clone(&self.store);
        let object = blocking(move || {
            let body = received.finish(&store)?;
            declared.verify(&body, req.trailing_headers.as_ref())?;
            let value = body.digests.get(algorithm).unwrap_or_default().to_owned();
            let checksum = Checksum { algorithm, coverage: Coverage::FullObject, value };
            let object = Arc::new(Object {
                size: body.size,
                etag: body.digests.etag(),
                modified: store.now(),
                checksum: (!quirks.no_checksums).then_some(checksum),
                multipart: false,
                pieces: vec![Piece { number: 1, size: body.size, checksum: None, blob: body.blob }],
                attributes,
            });
            store.change(|index| {
                let current = find_bucket(index, &input.bucket)?.objects.get(input.key.as_bytes());
                conditions.check(current.map(Arc::as_ref))?;
                let object = Arc::clone(&object);
                Ok(Some(Record::PutObject { bucket: input.bucket, key: input.key, object }))
            })?;
            Ok(object)
        })
        .await?;

        let mut reply = PutObjectOutput {
            e_tag: Some(etag(&object.etag)),
            server_side_encryption: object.attributes.encryption.clone().map(Into::into),
            ssekms_key_id: object.attributes.kms_key_id.clone(),
            bucket_key_enabled: object.attributes.bucket_key_enabled,
            ..PutObjectOutput::default()
        };
        set_checksum!(reply, quirks.told(object.checksum.as_ref()));
        Ok(reply)
    }

    /// Whether a write would be carried out if it came now.
    pub(super) fn check_write(&self, bucket: &str, key: &str, conditions: &WriteConditions) -> S3Result<()> {
        self.store.read_bucket(bucket, |bucket| {
            conditions.check(bucket.objects.get(key.as_bytes()).map(Arc::as_ref))
        })
    }

    pub(super) async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<GetObjectOutput> {
        let quirks = Quirks::of(&req.extensions);
        let input = req.input;
        let object = self.store.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        ReadConditions {
            matches: input.if_match,
            none_matches: input.if_none_match,
            modified_since: input.if_modified_since,
            unmodified_since: input.if_unmodified_since,
        }
        .check(&object)?;
        let asked = Asked::new(&object, input.range, input.part_number)?;
        let mut reply = GetObjectOutput {
            content_length: Some(signed(asked.range.end - asked.range.start)),
            content_range: asked.content_range(&object),
            parts_count: asked.parts_count(&object),
            tag_count: tag_count(&object),
            ..GetObjectOutput::default()
        };
        set_object!(reply, object);
        if asked.is_whole() && wants_checksum(input.checksum_mode.as_ref()) {
            set_checksum!(reply, quirks.told(object.checksum.as_ref()));
        }
        reply.body = Some(read::body(self.blobs(), object, asked.range).await?);
        Ok(reply)
    }

    pub(super) fn head_object(&self, req: &S3Request<HeadObjectInput>) -> S3Result<HeadObjectOutput> {
        let quirks = Quirks::of(&req.extensions);
        let input = req.input.clone();
        let object = self.store.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        ReadConditions {
            matches: input.if_match,
            none_matches: input.if_none_match,
            modified_since: input.if_modified_since,
            unmodified_since: input.if_unmodified_since,
        }
        .check(&object)?;
        let asked = Asked::new(&object, input.range, input.part_number)?;
        let mut reply = HeadObjectOutput {
            content_length: Some(signed(asked.range.end - asked.range.start)),
            content_range: asked.content_range(&object),
            parts_count: asked.parts_count(&object),
            ..HeadObjectOutput::default()
        };
        set_object!(reply, object);
        if asked.is_whole() && wants_checksum(input.checksum_mode.as_ref()) {
            set_checksum!(reply, quirks.told(object.checksum.as_ref()));
        }
        Ok(reply)
    }

    pub(super) async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<DeleteObjectOutput> {
        let quirks = Quirks::of(&req.extensions);
        let DeleteObjectInput { bucket, key, if_match, version_id, .. } = req.input;
        let conditions = quirks.conditions(WriteConditions { if_match, if_none_match: None });
        let store = Arc::clone(&self.store);
        blocking(move || {
            store.change(|index| {
                let current = find_bucket(index, &bucket)?.objects.get(key.as_bytes());
                check_version(version_id.as_deref())?;
                conditions.check(current.map(Arc::as_ref))?;
                // Deleting what is not there succeeds.
                Ok(current.map(|_| Record::DeleteObject { bucket, key }))
            })
        })
        .await?;
        Ok(DeleteObjectOutput::default())
    }

    pub(super) async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<DeleteObjectsOutput> {
        let quirks = Quirks::of(&req.extensions);
        let failing = FailingKeys::of(&req.extensions);
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        if delete.objects.is_empty() || delete.objects.len() > DELETE_LIMIT {
            return Err(s3_error!(
                MalformedXML,
                "between 1 and {DELETE_LIMIT} objects can be deleted at once"
            ));
        }
        self.must_exist(&bucket)?;
        let quiet = delete.quiet.unwrap_or(false);
        let store = Arc::clone(&self.store);
        blocking(move || {
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in delete.objects {
                let ObjectIdentifier { key, version_id, e_tag, .. } = object;
                let if_match = e_tag.map(dto::ETagCondition::ETag);
                let conditions = quirks.conditions(WriteConditions { if_match, if_none_match: None });
                let result = store.change(|index| {
                    let current = find_bucket(index, &bucket)?.objects.get(key.as_bytes());
                    failing.check(&key)?;
                    check_version(version_id.as_deref())?;
                    conditions.check(current.map(Arc::as_ref))?;
                    Ok(current.map(|_| Record::DeleteObject { bucket: bucket.clone(), key: key.clone() }))
                });
                match result {
                    Ok(()) => {
                        let key = Some(key);
                        deleted.push(DeletedObject { key, version_id, ..DeletedObject::default() });
                    }
                    Err(error) => errors.push(dto::Error {
                        code: Some(error.code().as_str().to_owned()),
                        key: Some(key),
                        message: error.message().map(str::to_owned),
                        version_id,
                    }),
                }
            }
            Ok(DeleteObjectsOutput {
                deleted: (!quiet).then_some(deleted),
                errors: (!errors.is_empty()).then_some(errors),
                ..DeleteObjectsOutput::default()
            })
        })
        .await
    }
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

fn tag_count(object: &Object) -> Option<i32> {
    i32::try_from(object.attributes.tags.len()).ok().filter(|count| *count > 0)
}

/// The stretch of an object that a request is about.
struct Asked {
    range: Range<u64>,
    /// Whether a range or a part was asked for, even if it is all of the object.
    is_partial: bool,
    by_part: bool,
}

impl Asked {
    fn new(object: &Object, range: Option<dto::Range>, part: Option<i32>) -> S3Result<Self> {
        let range = match (range, part) {
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter"
                ));
            }
            (Some(range), None) => range.check(object.size)?,
            (None, Some(number)) => part_range(object, number)?,
            (None, None) => {
                return Ok(Self { range: 0..object.size, is_partial: false, by_part: false });
            }
        };
        Ok(Self { range, is_partial: true, by_part: part.is_some() })
    }

    fn is_whole(&self) -> bool {
        !self.is_partial
    }

    fn content_range(&self, object: &Object) -> Option<String> {
        // A range of nothing has no way to be written.
        (self.is_partial && !self.range.is_empty())
            .then(|| format!("bytes {}-{}/{}", self.range.start, self.range.end - 1, object.size))
    }

    fn parts_count(&self, object: &Object) -> Option<i32> {
        (self.by_part && object.multipart).then(|| i32::try_from(object.pieces.len()).unwrap_or(i32::MAX))
    }
}

/// The bytes of the `number`th part. An object that was put at once has one part.
fn part_range(object: &Object, number: i32) -> S3Result<Range<u64>> {
    let invalid = || {
        other_error(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
        )
    };
    if !object.multipart {
        return if number == 1 { Ok(0..object.size) } else { Err(invalid()) };
    }
    let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok()).ok_or_else(invalid)?;
    let piece = object.pieces.get(index).ok_or_else(invalid)?;
    let start = object.pieces[..index].iter().map(|piece| piece.size).sum();
    Ok(start..start + piece.size)
}
