//! What makes a list of parts an object: the rules of `CompleteMultipartUpload`.

use s3s::dto::{CompletedPart, ETag};
use s3s::{S3Error, S3Result, s3_error};

use crate::checksum::{self, Algorithm, Checksum, Coverage};
use crate::conditions::etag_is;
use crate::object::{Object, Part, Piece, Upload};

/// Every part but the last has at least 5 MiB.
pub(crate) const SMALLEST_PART_BYTES: u64 = 5 * 1024 * 1024;

/// Parts are numbered from 1 to this.
pub(crate) const MOST_PARTS: i32 = 10_000;

/// What a client asks for when it completes an upload.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    pub(crate) parts: Vec<CompletedPart>,
    /// `x-amz-mp-object-size`, in bytes.
    pub(crate) size: Option<u64>,
    /// Checksums of the whole, as headers.
    pub(crate) checksums: Vec<(Algorithm, String)>,
    pub(crate) coverage: Option<Coverage>,
}

/// The object that the parts make, or the reason why they make none.
pub(crate) fn assemble(upload: &Upload, completion: &Completion, now: u64) -> S3Result<Object> {
    let parts = listed_parts(upload, &completion.parts)?;
    let size = parts.iter().map(|part| part.size).sum();
    if completion.size.is_some_and(|declared| declared != size) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value {} does not match what was computed: {size}",
            completion.size.unwrap_or_default()
        ));
    }
    let checksum = whole_checksum(upload, &parts)?;
    check_whole(&checksum, completion)?;
    let piece = |part: &&Part| Piece {
        number: part.number,
        size: part.size,
        checksum: checksum::find(&part.checksums, checksum.algorithm).map(str::to_owned),
        blob: part.blob.clone(),
    };
    Ok(Object {
        size,
        etag: checksum::multipart_etag(parts.iter().map(|part| part.etag.as_str())),
        modified: now,
        multipart: true,
        pieces: parts.iter().map(piece).collect(),
        checksum: Some(checksum),
        attributes: upload.attributes.clone(),
    })
}

fn listed_parts<'a>(upload: &'a Upload, listed: &[CompletedPart]) -> S3Result<Vec<&'a Part>> {
    if listed.is_empty() || listed.len() > usize::try_from(MOST_PARTS).unwrap_or_default() {
        return Err(s3_error!(MalformedXML, "You must specify between 1 and {MOST_PARTS} parts"));
    }
    let mut parts: Vec<&Part> = Vec::with_capacity(listed.len());
    for wanted in listed {
        let number = wanted.part_number.ok_or_else(|| s3_error!(MalformedXML, "PartNumber is missing"))?;
        if parts.last().is_some_and(|last| last.number >= number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        let part = upload.parts.get(&number).ok_or_else(invalid_part)?;
        if !wanted.e_tag.as_ref().is_some_and(|etag: &ETag| etag_is(etag, &part.etag)) {
            return Err(invalid_part());
        }
        check_part(upload, part, wanted)?;
        parts.push(part);
    }
    if let Some((_, all_but_last)) = parts.split_last()
        && all_but_last.iter().any(|part| part.size < SMALLEST_PART_BYTES)
    {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(parts)
}

fn check_part(upload: &Upload, part: &Part, wanted: &CompletedPart) -> S3Result<()> {
    for algorithm in Algorithm::ALL {
        let declared = match algorithm {
            Algorithm::Crc32 => &wanted.checksum_crc32,
            Algorithm::Crc32c => &wanted.checksum_crc32c,
            Algorithm::Crc64Nvme => &wanted.checksum_crc64nvme,
            Algorithm::Sha1 => &wanted.checksum_sha1,
            Algorithm::Sha256 => &wanted.checksum_sha256,
        };
        match declared {
            Some(value) if checksum::find(&part.checksums, algorithm) != Some(value) => {
                return Err(invalid_part());
            }
            None if upload.algorithm == Some(algorithm) && upload.coverage == Coverage::Composite => {
                return Err(s3_error!(
                    InvalidRequest,
                    "The upload was created using a {0} checksum. The complete request must include the \
                     checksum for each part. It was missing for part {1} in the request.",
                    algorithm.name().to_lowercase(),
                    part.number
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn whole_checksum(upload: &Upload, parts: &[&Part]) -> S3Result<Checksum> {
    let algorithm = upload.effective_algorithm();
    let values: Option<Vec<_>> =
        parts.iter().map(|part| Some((checksum::find(&part.checksums, algorithm)?, part.size))).collect();
    values
        .and_then(|values| checksum::of_parts(algorithm, upload.coverage, &values))
        .ok_or_else(|| s3_error!(InternalError, "a part has no {} checksum", algorithm.name()))
}

fn check_whole(checksum: &Checksum, completion: &Completion) -> S3Result<()> {
    if completion.coverage.is_some_and(|declared| declared != checksum.coverage) {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created using the {0} checksum mode. The complete request must use the same \
             checksum mode.",
            checksum.coverage.name()
        ));
    }
    for (algorithm, declared) in &completion.checksums {
        // Clients send a composite checksum with or without the number of parts.
        let computed = checksum.value.split('-').next();
        if *algorithm != checksum.algorithm || declared.split('-').next() != computed {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
    }
    Ok(())
}

fn invalid_part() -> S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
         specified entity tag or checksum may not match the part's."
    )
}
