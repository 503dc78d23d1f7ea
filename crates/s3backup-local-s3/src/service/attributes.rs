//! `GetObjectAttributes`.

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Result};

use super::convert::{etag, set_checksum, set_value, signed};
use super::{Quirks, Service};
use crate::listing::PAGE_LIMIT;
use crate::object::{Object, timestamp};

impl Service {
    pub(super) fn get_object_attributes(
        &self,
        req: &S3Request<GetObjectAttributesInput>,
    ) -> S3Result<GetObjectAttributesOutput> {
        let quirks = Quirks::of(&req.extensions);
        let input = req.input.clone();
        let object = self.store.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        // The header may hold several names.
        let names: Vec<&str> = input
            .object_attributes
            .iter()
            .flat_map(|names| names.as_str().split(','))
            .map(str::trim)
            .collect();
        let wants = |name: &str| names.contains(&name);
        let mut reply = GetObjectAttributesOutput {
            last_modified: Some(timestamp(object.modified)),
            ..GetObjectAttributesOutput::default()
        };
        if wants(ObjectAttributes::ETAG) {
            reply.e_tag = Some(etag(&object.etag));
        }
        if wants(ObjectAttributes::OBJECT_SIZE) {
            reply.object_size = Some(signed(object.size));
        }
        if wants(ObjectAttributes::STORAGE_CLASS) {
            let class = object.attributes.storage_class.clone();
            reply.storage_class = Some(class.unwrap_or_else(|| StorageClass::STANDARD.to_owned()).into());
        }
        if wants(ObjectAttributes::CHECKSUM)
            && let Some(told) = quirks.told(object.checksum.as_ref())
        {
            let mut checksum = Checksum::default();
            set_checksum!(checksum, Some(told));
            reply.checksum = Some(checksum);
        }
        if wants(ObjectAttributes::OBJECT_PARTS) && object.multipart {
            let after = input.part_number_marker.unwrap_or(0);
            let limit = input.max_parts.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_LIMIT);
            reply.object_parts = Some(parts(&object, quirks, after, limit.min(PAGE_LIMIT)));
        }
        Ok(reply)
    }
}

fn parts(object: &Object, quirks: Quirks, after: i32, limit: usize) -> GetObjectAttributesParts {
    let algorithm = object.checksum.as_ref().map(|checksum| checksum.algorithm);
    let rest = || object.pieces.iter().filter(|piece| piece.number > after);
    let parts: Vec<ObjectPart> = rest()
        .take(limit)
        .map(|piece| {
            let mut part = ObjectPart {
                part_number: Some(piece.number),
                size: Some(signed(piece.size)),
                ..ObjectPart::default()
            };
            if let (Some(algorithm), Some(value), false) = (algorithm, &piece.checksum, quirks.no_checksums) {
                set_value!(part, algorithm, value.clone());
            }
            part
        })
        .collect();
    GetObjectAttributesParts {
        is_truncated: Some(rest().count() > parts.len()),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        part_number_marker: Some(after),
        total_parts_count: i32::try_from(object.pieces.len()).ok(),
        parts: Some(parts),
    }
}
