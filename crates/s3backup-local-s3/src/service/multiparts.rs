//! Multipart uploads.

use std::sync::Arc;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, StorageClass, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::convert::{attributes, etag, set_checksum, set_value, signed, values};
use super::listings::{Encoding, page_size, told_size};
use super::{Quirks, Service};
use crate::checksum::{Algorithm, Coverage};
use crate::conditions::WriteConditions;
use crate::journal::Record;
use crate::multipart::{self, Completion, MOST_PARTS};
use crate::object::{Part, Upload, timestamp};
use crate::random;
use crate::receive::{Expected, blocking, receive};
use crate::store::{find_bucket, find_upload};

impl Service {
    pub(super) async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let quirks = Quirks::of(&req.extensions);
        let input = req.input;
        let attributes = attributes!(input)?;
        let (algorithm, coverage) = if quirks.no_checksums {
            (None, Coverage::FullObject)
        } else {
            checksum_of_upload(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?
        };
        let upload = Upload {
            id: format!("{:032x}", random::id()),
            key: input.key.clone(),
            started: self.store.now(),
            algorithm,
            coverage,
            attributes,
            parts: std::collections::BTreeMap::new(),
        };
        let reply = CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            bucket_key_enabled: upload.attributes.bucket_key_enabled,
            checksum_algorithm: algorithm.map(|it| ChecksumAlgorithm::from_static(it.name())),
            checksum_type: algorithm.map(|_| ChecksumType::from_static(coverage.name())),
            key: Some(input.key),
            server_side_encryption: upload.attributes.encryption.clone().map(Into::into),
            ssekms_key_id: upload.attributes.kms_key_id.clone(),
            upload_id: Some(upload.id.clone()),
            ..CreateMultipartUploadOutput::default()
        };
        let store = Arc::clone(&self.store);
        blocking(move || {
            store.change(|index| {
                find_bucket(index, &input.bucket)?;
                Ok(Some(Record::StartUpload { bucket: input.bucket, upload: Box::new(upload) }))
            })
        })
        .await?;
        Ok(reply)
    }

    pub(super) async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
        let quirks = Quirks::of(&req.extensions);
        let declared = quirks.declared(&req.headers)?;
        let input = req.input;
        let number = input.part_number;
        if !(1..=MOST_PARTS).contains(&number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and {MOST_PARTS}, inclusive"
            ));
        }
        let (asked, coverage, computed, attributes) =
            self.store.upload(&input.bucket, &input.key, &input.upload_id, |upload| {
                (upload.algorithm, upload.coverage, upload.effective_algorithm(), upload.attributes.clone())
            })?;
        check_algorithm(asked, coverage, declared.algorithm)?;
        let mut algorithms = vec![computed];
        algorithms.extend(declared.algorithm.filter(|algorithm| *algorithm != computed));

        let expected = Expected { key: input.key.clone(), algorithms, needs_md5: declared.needs_md5() };
        let received = receive(&self.store, input.body, expected).await?;
        let store = Arc::clone(&self.store);
        let told = asked.or(declared.algorithm).filter(|_| !quirks.no_checksums);
        let part = blocking(move || {
            let body = received.finish(&store)?;
            declared.verify(&body, req.trailing_headers.as_ref())?;
            let part = Part {
                number,
                size: body.size,
                etag: body.digests.etag(),
                modified: store.now(),
                checksums: body.digests.checksums,
                blob: body.blob,
            };
            store.change(|index| {
                let bucket = find_bucket(index, &input.bucket)?;
                find_upload(bucket, &input.key, &input.upload_id)?;
                let (bucket, upload_id) = (input.bucket, input.upload_id);
                Ok(Some(Record::PutPart { bucket, upload_id, part: part.clone() }))
            })?;
            Ok(part)
        })
        .await?;

        let mut reply = UploadPartOutput {
            bucket_key_enabled: attributes.bucket_key_enabled,
            e_tag: Some(etag(&part.etag)),
            server_side_encryption: attributes.encryption.map(Into::into),
            ssekms_key_id: attributes.kms_key_id,
            ..UploadPartOutput::default()
        };
        for (algorithm, value) in part.checksums {
            if Some(algorithm) == told {
                let sum = crate::checksum::Checksum { algorithm, coverage: Coverage::FullObject, value };
                if let Some(sum) = quirks.told(Some(&sum)) {
                    set_value!(reply, algorithm, sum.value);
                }
            }
        }
        Ok(reply)
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let quirks = Quirks::of(&req.extensions);
        let input = req.input;
        let completion = completion(&input, quirks)?;
        let conditions = quirks
            .conditions(WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match });
        let (bucket, key, upload_id) = (input.bucket, input.key, input.upload_id);
        let store = Arc::clone(&self.store);
        let location = format!("/{bucket}/{key}");
        let (told_bucket, told_key) = (bucket.clone(), key.clone());
        let object = blocking(move || {
            let upload = store.upload(&bucket, &key, &upload_id, Upload::clone)?;
            let mut object = multipart::assemble(&upload, &completion, store.now())?;
            if quirks.no_checksums {
                object.checksum = None;
            }
            let object = Arc::new(object);
            store.change(|index| {
                let found = find_bucket(index, &bucket)?;
                let current = find_upload(found, &key, &upload_id)?;
                conditions.check(found.objects.get(key.as_bytes()).map(Arc::as_ref))?;
                // A part may have been sent again meanwhile; then its old bytes are gone.
                let unchanged = object.pieces.iter().all(|piece| {
                    current.parts.get(&piece.number).is_some_and(|part| part.blob.id() == piece.blob.id())
                });
                if !unchanged {
                    return Err(s3_error!(
                        InvalidPart,
                        "a part was sent again while the upload was completed"
                    ));
                }
                let object = Arc::clone(&object);
                Ok(Some(Record::CompleteUpload { bucket, upload_id, object }))
            })?;
            Ok(object)
        })
        .await?;

        let mut reply = CompleteMultipartUploadOutput {
            bucket: Some(told_bucket),
            bucket_key_enabled: object.attributes.bucket_key_enabled,
            e_tag: Some(etag(&object.etag)),
            key: Some(told_key),
            location: Some(location),
            server_side_encryption: object.attributes.encryption.clone().map(Into::into),
            ssekms_key_id: object.attributes.kms_key_id.clone(),
            ..CompleteMultipartUploadOutput::default()
        };
        set_checksum!(reply, quirks.told(object.checksum.as_ref()));
        Ok(reply)
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = req.input;
        let store = Arc::clone(&self.store);
        blocking(move || {
            store.change(|index| {
                find_upload(find_bucket(index, &bucket)?, &key, &upload_id)?;
                Ok(Some(Record::AbortUpload { bucket, upload_id }))
            })
        })
        .await?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(super) fn list_parts(&self, req: &S3Request<ListPartsInput>) -> S3Result<ListPartsOutput> {
        let quirks = Quirks::of(&req.extensions);
        let input = req.input.clone();
        let limit = page_size(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        self.store.upload(&input.bucket, &input.key, &input.upload_id, |upload| {
            // The checksum that nobody asked for is not told.
            let algorithm = upload.algorithm.filter(|_| !quirks.no_checksums);
            let rest = upload.parts.range(after.saturating_add(1)..);
            let parts: Vec<_> =
                rest.clone().take(limit).map(|(_, part)| listed_part(part, algorithm)).collect();
            let is_truncated = rest.count() > parts.len();
            ListPartsOutput {
                bucket: Some(input.bucket.clone()),
                checksum_algorithm: algorithm.map(|it| ChecksumAlgorithm::from_static(it.name())),
                checksum_type: algorithm.map(|_| ChecksumType::from_static(upload.coverage.name())),
                is_truncated: Some(is_truncated),
                key: Some(input.key.clone()),
                max_parts: told_size(limit),
                next_part_number_marker: parts.last().and_then(|part| part.part_number),
                part_number_marker: Some(after),
                parts: Some(parts),
                storage_class: Some(storage_class(upload)),
                upload_id: Some(input.upload_id.clone()),
                ..ListPartsOutput::default()
            }
        })
    }

    pub(super) fn list_multipart_uploads(
        &self,
        req: &S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let input = req.input.clone();
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let limit = page_size(input.max_uploads)?;
        let key_marker = input.key_marker.unwrap_or_default();
        let id_marker = input.upload_id_marker.unwrap_or_default();
        let mut found: Vec<Upload> = self.store.read_bucket(&input.bucket, |bucket| {
            let wanted = |upload: &&Upload| {
                let marker = upload.key.as_str().cmp(&key_marker);
                upload.key.starts_with(&prefix)
                    // Within a key the id decides, if one was given.
                    && (marker.is_gt() || (marker.is_eq() && !id_marker.is_empty() && upload.id > id_marker))
            };
            Ok(bucket.uploads.values().filter(wanted).map(without_parts).collect())
        })?;
        found.sort_by(|one, other| (&one.key, &one.id).cmp(&(&other.key, &other.id)));

        let page = UploadPage::new(found, &prefix, delimiter.as_deref(), &key_marker, limit);
        let uploads = page.uploads.iter().map(|upload| listed_upload(upload, &encoding)).collect();
        let (next_key, next_id) = page.next.unzip();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            common_prefixes: Some(encoding.prefixes(&page.prefixes)),
            delimiter: delimiter.map(|delimiter| encoding.text(&delimiter)),
            encoding_type: input.encoding_type,
            is_truncated: Some(next_key.is_some()),
            key_marker: Some(encoding.text(&key_marker)),
            max_uploads: told_size(limit),
            next_key_marker: next_key.map(|key| encoding.text(&key)),
            next_upload_id_marker: next_id,
            prefix: Some(encoding.text(&prefix)),
            upload_id_marker: Some(id_marker),
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        })
    }
}

/// A page of a listing of uploads.
#[derive(Default)]
struct UploadPage {
    uploads: Vec<Upload>,
    prefixes: Vec<String>,
    /// The key (or common prefix) and upload id of the last entry, if there is more.
    next: Option<(String, String)>,
}

impl UploadPage {
    /// Rolls up and cuts `found`, which is sorted, begins with `prefix` and comes after `key_marker`.
    fn new(
        found: Vec<Upload>,
        prefix: &str,
        delimiter: Option<&str>,
        key_marker: &str,
        limit: usize,
    ) -> Self {
        let mut page = Self::default();
        let mut last = None;
        for upload in found {
            let common = delimiter.and_then(|delimiter| {
                let at = upload.key[prefix.len()..].find(delimiter)?;
                Some(upload.key[..prefix.len() + at + delimiter.len()].to_owned())
            });
            let is_passed = |common: &String| {
                page.prefixes.last() == Some(common) || key_marker.starts_with(common.as_str())
            };
            if common.as_ref().is_some_and(is_passed) {
                continue;
            }
            if page.uploads.len() + page.prefixes.len() >= limit {
                page.next = last;
                break;
            }
            last = Some((common.clone().unwrap_or_else(|| upload.key.clone()), upload.id.clone()));
            match common {
                Some(common) => page.prefixes.push(common),
                None => page.uploads.push(upload),
            }
        }
        page
    }
}

fn checksum_of_upload(
    algorithm: Option<&ChecksumAlgorithm>,
    coverage: Option<&ChecksumType>,
) -> S3Result<(Option<Algorithm>, Coverage)> {
    let algorithm = algorithm
        .map(|name| {
            Algorithm::from_name(name.as_str())
                .ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."))
        })
        .transpose()?;
    let coverage = coverage
        .map(|name| {
            Coverage::from_name(name.as_str())
                .ok_or_else(|| s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid."))
        })
        .transpose()?;
    match (algorithm, coverage) {
        (None, None) => Ok((None, Coverage::FullObject)),
        (None, Some(_)) => Err(s3_error!(
            InvalidRequest,
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        )),
        (Some(algorithm), coverage) => {
            let coverage = coverage.unwrap_or_else(|| algorithm.default_coverage());
            if !algorithm.allows(coverage) {
                return Err(s3_error!(
                    InvalidRequest,
                    "The {} checksum type cannot be used with the {} checksum algorithm.",
                    coverage.name(),
                    algorithm.name().to_lowercase()
                ));
            }
            Ok((Some(algorithm), coverage))
        }
    }
}

/// Whether a part with this checksum fits the upload.
fn check_algorithm(
    expected: Option<Algorithm>,
    coverage: Coverage,
    declared: Option<Algorithm>,
) -> S3Result<()> {
    let fits = match (expected, declared) {
        (None, _) => true,
        // The checksum of the whole is computed by the server, so parts need not have one.
        (Some(_), None) => coverage == Coverage::FullObject,
        (Some(expected), Some(declared)) => expected == declared,
    };
    if fits {
        return Ok(());
    }
    let name = |algorithm: Option<Algorithm>| {
        algorithm.map_or_else(|| "null".to_owned(), |algorithm| algorithm.name().to_lowercase())
    };
    Err(s3_error!(
        InvalidRequest,
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        name(expected),
        name(declared)
    ))
}

fn completion(input: &CompleteMultipartUploadInput, quirks: Quirks) -> S3Result<Completion> {
    let mut parts = input.multipart_upload.clone().and_then(|upload| upload.parts).unwrap_or_default();
    if quirks.no_checksums {
        for part in &mut parts {
            *part = s3s::dto::CompletedPart {
                e_tag: part.e_tag.take(),
                part_number: part.part_number,
                ..s3s::dto::CompletedPart::default()
            };
        }
        return Ok(Completion { parts, ..Completion::default() });
    }
    let size = input
        .mpu_object_size
        .map(|size| {
            u64::try_from(size).map_err(|_| s3_error!(InvalidArgument, "x-amz-mp-object-size is negative"))
        })
        .transpose()?;
    let coverage = input.checksum_type.as_ref().and_then(|name| Coverage::from_name(name.as_str()));
    Ok(Completion { parts, size, checksums: values!(input).collect(), coverage })
}

fn listed_part(part: &Part, algorithm: Option<Algorithm>) -> s3s::dto::Part {
    let mut listed = s3s::dto::Part {
        e_tag: Some(etag(&part.etag)),
        last_modified: Some(timestamp(part.modified)),
        part_number: Some(part.number),
        size: Some(signed(part.size)),
        ..s3s::dto::Part::default()
    };
    for (other, value) in &part.checksums {
        if Some(*other) == algorithm {
            set_value!(listed, *other, value.clone());
        }
    }
    listed
}

fn listed_upload(upload: &Upload, encoding: &Encoding) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: upload.algorithm.map(|it| ChecksumAlgorithm::from_static(it.name())),
        checksum_type: upload.algorithm.map(|_| ChecksumType::from_static(upload.coverage.name())),
        initiated: Some(timestamp(upload.started)),
        key: Some(encoding.text(&upload.key)),
        storage_class: Some(storage_class(upload)),
        upload_id: Some(upload.id.clone()),
        ..MultipartUpload::default()
    }
}

fn storage_class(upload: &Upload) -> StorageClass {
    upload.attributes.storage_class.clone().unwrap_or_else(|| StorageClass::STANDARD.to_owned()).into()
}

fn without_parts(upload: &Upload) -> Upload {
    Upload {
        id: upload.id.clone(),
        key: upload.key.clone(),
        parts: std::collections::BTreeMap::new(),
        attributes: upload.attributes.clone(),
        ..*upload
    }
}
