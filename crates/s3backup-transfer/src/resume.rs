//! Going on with a multipart upload that an earlier run left open, and leaving one open for the next.
//!
//! What the server says it has is worth nothing until the file's bytes are read and found to be the same.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_s3::types::Part;
use s3backup_model::{FailureKind, FileStat};

use crate::body::STREAM_BYTES;
use crate::checksum::Sums;
use crate::engine::{FileTransfer, Stored, on_blocking_thread};
use crate::headers::unquoted;
use crate::multipart::{Multipart, PartError, is_lost_upload};
use crate::read::{OpenFile, Read};
use crate::settings::MIN_PART_BYTES;
use crate::{ChecksumKind, Error, MAX_PARTS, OpenUpload, ServiceError};

/// A part as the server lists it.
pub(crate) struct ListedPart {
    pub(crate) etag: String,
    pub(crate) size: u64,
    /// In the configured algorithm, base64.
    checksum: Option<String>,
}

/// What an earlier run left of a file.
pub(crate) enum Found {
    /// Nothing that can be used.
    Nothing,
    /// An upload of this very file that the server no longer has: aborted, or completed.
    Gone {
        part_size: u64,
    },
    Open(Multipart),
}

impl Found {
    pub(crate) fn part_size(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Gone { part_size } => Some(*part_size),
            Self::Open(upload) => Some(upload.part_size),
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    pub(crate) fn open(self) -> Option<Multipart> {
        if let Self::Open(upload) = self { Some(upload) } else { None }
    }
}

impl FileTransfer {
    /// Looks in the journal for an upload of this file. One that cannot be gone on with is aborted.
    pub(crate) async fn find_open(&self, file: &OpenFile) -> Result<Found, Error> {
        let Some(open) = self.find_in_journal().await? else { return Ok(Found::Nothing) };
        if !is_usable(&open, &file.stat, self.kind()) {
            if self.abort(&open.upload_id).await {
                self.note_ended().await;
            }
            return Ok(Found::Nothing);
        }
        let had = match self.list_parts(&open.upload_id).await {
            Ok(parts) => parts,
            Err(error) if error.is_not_found() => {
                self.note_ended().await;
                return Ok(Found::Gone { part_size: open.part_size });
            }
            // Where parts cannot be listed, all are sent again, and take the place of those that are there.
            Err(error) if error.service().is_some_and(is_no_list) => HashMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Found::Open(Multipart { id: open.upload_id, part_size: open.part_size, had, is_resumed: true }))
    }

    /// The parts that the server has, by number, from as many pages as there are: AWS gives 1,000 parts in one.
    async fn list_parts(&self, upload_id: &str) -> Result<HashMap<i32, ListedPart>, Error> {
        let bucket = &self.shared.bucket;
        let mut parts = HashMap::new();
        let mut marker: Option<String> = None;
        loop {
            let reply = self
                .repeat(self.gate(), "ListParts", Duration::ZERO, |_| {
                    let request = bucket.client.list_parts().bucket(bucket.name()).key(self.key.as_str());
                    let request = request.upload_id(upload_id).set_part_number_marker(marker.clone());
                    async {
                        request.send().await.map_err(|error| bucket.error("ListParts", &self.key, error))
                    }
                })
                .await?;
            let before = parts.len();
            parts.extend(reply.parts().iter().filter_map(|part| self.listed_part(part)));
            // A page that brings nothing new is the last, whatever the server says, and no upload has more parts.
            let is_last = parts.len() == before || parts.len() as u64 >= MAX_PARTS;
            marker = reply.next_part_number_marker().map(ToOwned::to_owned);
            if is_last || marker.is_none() || !reply.is_truncated().unwrap_or_default() {
                return Ok(parts);
            }
        }
    }

    fn listed_part(&self, part: &Part) -> Option<(i32, ListedPart)> {
        let checksum = match self.kind() {
            ChecksumKind::Crc64Nvme => part.checksum_crc64_nvme(),
            ChecksumKind::Crc32c => part.checksum_crc32_c(),
            ChecksumKind::Sha256 => part.checksum_sha256(),
            ChecksumKind::None => None,
        };
        let listed = ListedPart {
            etag: unquoted(part.e_tag()),
            size: u64::try_from(part.size()?).ok()?,
            checksum: checksum.map(ToOwned::to_owned),
        };
        Some((part.part_number()?, listed))
    }

    /// The checksums of the file's bytes from `offset` on, if the listed part has the same bytes; `None` if it has
    /// others or nothing shows which.
    pub(crate) async fn prove_part(
        &self,
        file: &OpenFile,
        listed: &ListedPart,
        offset: u64,
    ) -> Result<Option<Sums>, PartError> {
        let _memory = self.reserve(STREAM_BYTES).await?;
        let (reader, kind, cancel, len) = (file.clone(), self.kind(), self.cancel.clone(), listed.size);
        let shown = listed.checksum.clone().unwrap_or_else(|| listed.etag.clone());
        let is_shown_by_etag = listed.checksum.is_none();
        let read = on_blocking_thread(move || {
            let read = if is_shown_by_etag {
                reader.hash_range_with_md5(kind, offset, len, &cancel)?
            } else {
                match reader.hash_range(kind, offset, len, &cancel)? {
                    Read::Steady(sums) => {
                        let sum = sums.sent_base64();
                        Read::Steady((sums, sum))
                    }
                    Read::Torn => Read::Torn,
                }
            };
            Ok(if reader.is_unchanged()? { read } else { Read::Torn })
        })
        .await?;
        let Read::Steady((sums, ours)) = read else { return Err(PartError::Torn) };
        if ours != shown {
            return Ok(None);
        }
        self.counters.resumed_parts.fetch_add(1, Ordering::Relaxed);
        Ok(Some(sums))
    }

    /// Ends an upload that is of no use any more, and leaves open what the next run can go on with.
    pub(crate) async fn settle(&self, upload_id: &str, result: &Result<Read<Stored>, Error>) {
        let is_over = match result {
            Ok(Read::Steady(stored)) if stored.sent => true,
            Err(error) if is_lost_upload(error) => true,
            Err(error) if self.shared.journal.is_some() && may_go_well_later(error) => return,
            _ => self.abort(upload_id).await,
        };
        if is_over {
            self.note_ended().await;
        }
    }
}

/// Whether the upload is of this file as it is now, in parts that are still right for it.
fn is_usable(open: &OpenUpload, now: &FileStat, kind: ChecksumKind) -> bool {
    let of = |stat: &FileStat| (stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode);
    // The device is left out: its number may change when the machine starts anew.
    open.checksum == kind
        && of(&open.stat) == of(now)
        && open.part_size >= MIN_PART_BYTES
        && now.size.div_ceil(open.part_size) <= MAX_PARTS
}

fn is_no_list(refusal: &ServiceError) -> bool {
    refusal.is_denied() || refusal.is_not_implemented()
}

/// Whether a later run can go on where this one failed: neither the file nor what the server has is to blame.
fn may_go_well_later(error: &Error) -> bool {
    match error.kind() {
        FailureKind::Network | FailureKind::Credentials => true,
        FailureKind::Server => error.is_retryable(),
        _ => matches!(error, Error::Cancelled),
    }
}
