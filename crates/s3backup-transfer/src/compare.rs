//! Whether an object that some other tool wrote has the bytes of a local file, by what the server shows of it.

use std::os::unix::fs::FileExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use md5::Md5;
use s3backup_model::manifest::{ChecksumType, StoredChecksum};
use s3backup_model::{Entry, Key};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::checksum::{crc32_bytes, encode_crc64, hex};
use crate::download::NOT_THERE;
use crate::engine::{Stored, on_blocking_thread};
use crate::object::ObjectInfo;
use crate::read::{self, MAX_READS, OpenFile};
use crate::{Bucket, Error};

const MIB: u64 = 1 << 20;

/// How much of the file is read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Sizes of parts, in MiB, that tools use by default or that people choose: 5 (least of S3, rclone), 8 (AWS CLI,
/// boto3), 10 (Cyberduck), 15 (s3cmd), 16 (`mc`), 50 (s5cmd), and round numbers.
const PART_SIZES_MIB: [u64; 14] = [5, 8, 10, 15, 16, 25, 32, 50, 64, 100, 128, 256, 512, 1024];

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The object has the bytes of the file.
    Same(Stored),
    /// It has others.
    Different,
    /// The server shows nothing that tells.
    Unprovable,
}

impl Bucket {
    /// Compares a file with an object by what HEAD shows: a checksum of the whole object (CRC64NVME, CRC32C, CRC32,
    /// SHA-256), else an ETag that is the MD5 of the bytes, or of the parts of a multipart upload; for the latter, sizes of
    /// parts are tried that give as many parts. The file is read at most once for each try, of which there are more only when
    /// it changes meanwhile, and not at all when the lengths differ already.
    ///
    /// An ETag that does not match proves nothing where it need not be an MD5: with parts of unknown size, and with
    /// encryption by KMS keys. Dropping the future, or setting `cancel`, ends the reading.
    ///
    /// # Errors
    /// [`Error::VersionGone`] when there is no such object, [`Error::Changed`] when the file changed during each of
    /// [`MAX_READS`] reads, [`Error::Cancelled`].
    pub async fn compare(
        &self,
        entry: &Entry,
        follow_symlinks: bool,
        key: &Key,
        cancel: &CancellationToken,
    ) -> Result<Compared, Error> {
        let Some(info) = self.head(key).await? else {
            return Err(Error::VersionGone { key: key.clone(), why: NOT_THERE });
        };
        let path = entry.path();
        let cancel = cancel.child_token();
        let _stop_when_dropped = cancel.clone().drop_guard();
        on_blocking_thread(move || {
            for _ in 0..MAX_READS {
                let file = read::open(&path, follow_symlinks)?;
                if let Some(compared) = compare(&file, &info, &cancel)? {
                    return Ok(compared);
                }
            }
            Err(Error::Changed { path, reads: MAX_READS })
        })
        .await
    }
}

/// Compares once; `None` when the file changed meanwhile.
fn compare(
    file: &OpenFile,
    info: &ObjectInfo,
    cancel: &CancellationToken,
) -> Result<Option<Compared>, Error> {
    let size = file.stat.size;
    if size != info.size {
        return Ok(file.is_steady()?.then_some(Compared::Different));
    }
    let Some(sign) = Sign::of(info) else { return Ok(Some(Compared::Unprovable)) };
    let Some(mut hashers) = sign.hashers(size) else { return Ok(Some(Compared::Unprovable)) };
    let mut crc64 = CrcDigest::new(CrcAlgorithm::Crc64Nvme);
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < size {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let len = piece.len().min(usize::try_from(size - at).unwrap_or(piece.len()));
        match file.file.read_exact_at(&mut piece[..len], at) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(cause) => return Err(Error::File { action: "read", path: file.path.to_path_buf(), cause }),
        }
        crc64.update(&piece[..len]);
        for hasher in &mut hashers {
            hasher.update(&piece[..len]);
        }
        at += len as u64;
    }
    if !file.is_steady()? {
        return Ok(None);
    }
    let crc64nvme = encode_crc64(crc64.finalize());
    let is_same = match &sign {
        Sign::Crc64Nvme(shown) => *shown == crc64nvme,
        _ => hashers.into_iter().any(|hasher| hasher.finish() == sign.shown()),
    };
    Ok(Some(if is_same {
        Compared::Same(Stored {
            stat: file.stat,
            crc64nvme,
            checksum: sign.stored_checksum(),
            etag: info.etag.clone(),
            version_id: info.version_id.clone(),
            sent: false,
        })
    } else if matches!(sign, Sign::PartsMd5 { .. }) {
        Compared::Unprovable
    } else {
        Compared::Different
    }))
}

/// What the server shows of the bytes.
#[derive(Debug, PartialEq, Eq)]
enum Sign {
    Crc64Nvme(String),
    Crc32c(String),
    Crc32(String),
    Sha256(String),
    Md5(String),
    /// The MD5 of the MD5 of so many parts.
    PartsMd5 {
        etag: String,
        parts: u64,
    },
}

impl Sign {
    /// The best that there is.
    fn of(info: &ObjectInfo) -> Option<Self> {
        // Behind a dash is the number of parts whose checksums are summed up; their sizes are not known.
        let whole = |checksum: &Option<String>| checksum.clone().filter(|value| !value.contains('-'));
        whole(&info.crc64nvme)
            .map(Self::Crc64Nvme)
            .or_else(|| whole(&info.crc32c).map(Self::Crc32c))
            .or_else(|| whole(&info.crc32).map(Self::Crc32))
            .or_else(|| whole(&info.sha256).map(Self::Sha256))
            .or_else(|| Self::of_etag(info))
    }

    fn of_etag(info: &ObjectInfo) -> Option<Self> {
        // What KMS encrypts has no MD5 in its ETag (AWS: "Object" in the S3 API reference).
        if info.sse.as_deref().is_some_and(|sse| sse.starts_with("aws:")) {
            return None;
        }
        let etag = info.etag.to_ascii_lowercase();
        let is_md5 = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match etag.split_once('-') {
            None => is_md5(&etag).then_some(Self::Md5(etag)),
            Some((digest, parts)) => {
                let parts = parts.parse().ok().filter(|parts| is_md5(digest) && *parts > 0)?;
                Some(Self::PartsMd5 { etag, parts })
            }
        }
    }

    fn shown(&self) -> &str {
        match self {
            Self::Crc64Nvme(shown)
            | Self::Crc32c(shown)
            | Self::Crc32(shown)
            | Self::Sha256(shown)
            | Self::Md5(shown)
            | Self::PartsMd5 { etag: shown, .. } => shown,
        }
    }

    /// What must be computed of a file of `size` bytes beside CRC64NVME; `None` when no size of parts fits.
    fn hashers(&self, size: u64) -> Option<Vec<Hasher>> {
        Some(match self {
            Self::Crc64Nvme(_) => Vec::new(),
            Self::Crc32c(_) => vec![Hasher::Crc32(Box::new(CrcDigest::new(CrcAlgorithm::Crc32Iscsi)))],
            Self::Crc32(_) => vec![Hasher::Crc32(Box::new(CrcDigest::new(CrcAlgorithm::Crc32IsoHdlc)))],
            Self::Sha256(_) => vec![Hasher::Sha256(Sha256::new())],
            Self::Md5(_) => vec![Hasher::Md5(Md5::new())],
            Self::PartsMd5 { parts, .. } => {
                let sizes = part_sizes(size, *parts);
                if sizes.is_empty() {
                    return None;
                }
                sizes.into_iter().map(|part_size| Hasher::Parts(PartsMd5::new(part_size))).collect()
            }
        })
    }

    /// The checksum as a manifest names it; none where the sign is the ETag.
    fn stored_checksum(&self) -> Option<StoredChecksum> {
        let algorithm = match self {
            Self::Crc64Nvme(_) => "crc64nvme",
            Self::Crc32c(_) => "crc32c",
            Self::Crc32(_) => "crc32",
            Self::Sha256(_) => "sha256",
            Self::Md5(_) | Self::PartsMd5 { .. } => return None,
        };
        let (algorithm, value) = (algorithm.to_owned(), self.shown().to_owned());
        Some(StoredChecksum { algorithm, value, r#type: ChecksumType::FullObject })
    }
}

/// Sizes of parts by which `size` bytes give `parts` parts: those of tools, and the least whole MiB.
fn part_sizes(size: u64, parts: u64) -> Vec<u64> {
    if parts == 1 {
        return vec![size.max(1)];
    }
    let least = size.div_ceil(parts).div_ceil(MIB).max(1) * MIB;
    let mut sizes: Vec<u64> = PART_SIZES_MIB.iter().map(|mib| mib * MIB).chain([least]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.retain(|part_size| size.div_ceil(*part_size) == parts);
    sizes
}

/// Computes one value that the server may show, piece by piece.
enum Hasher {
    Crc32(Box<CrcDigest>),
    Sha256(Sha256),
    Md5(Md5),
    Parts(PartsMd5),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
            Self::Parts(parts) => parts.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Crc32(digest) => BASE64.encode(crc32_bytes(digest.finalize())),
            Self::Sha256(digest) => BASE64.encode(digest.finalize()),
            Self::Md5(digest) => hex(&digest.finalize()),
            Self::Parts(parts) => parts.finish(),
        }
    }
}

/// The ETag of a multipart upload whose parts, but for the last, have one size.
struct PartsMd5 {
    part_size: u64,
    /// What is missing of the part.
    left: u64,
    part: Md5,
    parts: u64,
    whole: Md5,
}

impl PartsMd5 {
    fn new(part_size: u64) -> Self {
        Self { part_size, left: part_size, part: Md5::new(), parts: 0, whole: Md5::new() }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let len = bytes.len().min(usize::try_from(self.left).unwrap_or(bytes.len()));
            let (now, later) = bytes.split_at(len);
            self.part.update(now);
            self.left -= len as u64;
            if self.left == 0 {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        self.whole.update(self.part.finalize_reset());
        self.parts += 1;
        self.left = self.part_size;
    }

    fn finish(mut self) -> String {
        // An empty object has one part, and that is empty.
        if self.left < self.part_size || self.parts == 0 {
            self.end_part();
        }
        format!("{}-{}", hex(&self.whole.finalize()), self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etag_of(bytes: &[u8], part_size: u64) -> String {
        let mut parts = PartsMd5::new(part_size);
        bytes.chunks(7).for_each(|piece| parts.update(piece));
        parts.finish()
    }

    /// `split` and `md5sum` say the same.
    #[test]
    fn the_etag_of_parts() {
        let of = |parts: &[&[u8]]| {
            let digests: Vec<u8> = parts.iter().flat_map(Md5::digest).collect();
            format!("{}-{}", hex(&Md5::digest(digests)), parts.len())
        };
        assert_eq!(etag_of(b"0123456789", 4), of(&[b"0123", b"4567", b"89"]));
        assert_eq!(etag_of(b"01234567", 4), of(&[b"0123", b"4567"]));
        assert_eq!(etag_of(b"0123", 9), of(&[b"0123"]));
        assert_eq!(etag_of(b"", 1), of(&[b""]));
    }

    #[test]
    fn sizes_of_parts_give_the_number_of_parts() {
        assert_eq!(part_sizes(12 * MIB, 2), [6 * MIB, 8 * MIB, 10 * MIB]);
        assert_eq!(part_sizes(8 * MIB, 1), [8 * MIB]);
        assert_eq!(part_sizes(0, 1), [1]);
        assert_eq!(part_sizes(10 * MIB, 3), [4 * MIB]);
        assert_eq!(part_sizes(3, 2), [0; 0]);
        for parts in 2..40 {
            for part_size in part_sizes(1000 * MIB + 1, parts) {
                assert_eq!((1000 * MIB + 1).div_ceil(part_size), parts);
            }
        }
    }

    #[test]
    fn the_best_sign_is_taken_and_none_is_made_up() {
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        let info = |etag: &str| ObjectInfo { etag: etag.to_owned(), ..ObjectInfo::default() };
        assert_eq!(Sign::of(&info(md5)), Some(Sign::Md5(md5.to_owned())));
        let etag = format!("{md5}-3");
        assert_eq!(Sign::of(&info(&etag)), Some(Sign::PartsMd5 { etag: etag.clone(), parts: 3 }));
        for other in ["", "of-its-own", "900150983cd24fb0", &format!("{md5}-x"), &format!("{md5}-0")] {
            assert_eq!(Sign::of(&info(other)), None, "{other}");
        }
        let kms = ObjectInfo { sse: Some("aws:kms".to_owned()), ..info(md5) };
        assert_eq!(Sign::of(&kms), None);
        let composite = ObjectInfo { crc32: Some("abcd-3".to_owned()), ..info(&etag) };
        assert!(matches!(Sign::of(&composite), Some(Sign::PartsMd5 { .. })));
        let whole = ObjectInfo { crc32c: Some("abcd".to_owned()), ..kms };
        assert_eq!(Sign::of(&whole), Some(Sign::Crc32c("abcd".to_owned())));
    }
}
