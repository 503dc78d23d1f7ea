//! Checksums of what is read, in the forms in which S3 takes and gives them.

use aws_sdk_s3::types::ChecksumAlgorithm;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest, checksum_combine};
use md5::Md5;
use s3backup_model::manifest::{ChecksumType, StoredChecksum};
use sha2::{Digest, Sha256};

/// Which checksum goes to the server with the bytes and is compared with what it stored.
///
/// Whatever is chosen, CRC64NVME of each file is computed as well: it costs 0.05 s a GiB and names the file's bytes
/// in the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumKind {
    /// CRC64NVME over the whole object, what AWS recommends and computes by itself.
    #[default]
    Crc64Nvme,
    /// CRC32C over the whole object.
    Crc32c,
    /// SHA-256; of a multipart upload S3 keeps only the SHA-256 of the parts' SHA-256.
    Sha256,
    /// For servers that know none of them: the proof is the MD5 in the ETag, else the object is read back.
    None,
}

impl ChecksumKind {
    /// The name that the configuration and manifests use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64nvme",
            Self::Crc32c => "crc32c",
            Self::Sha256 => "sha256",
            Self::None => "none",
        }
    }

    /// The one of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        let kinds = [Self::Crc64Nvme, Self::Crc32c, Self::Sha256, Self::None];
        kinds.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What requests call it. Some servers only keep a checksum whose algorithm is also named by itself.
    pub(crate) fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Self::Crc32c => Some(ChecksumAlgorithm::Crc32C),
            Self::Sha256 => Some(ChecksumAlgorithm::Sha256),
            Self::None => None,
        }
    }
}

/// CRC64NVME of `bytes` as S3 writes it: base64 of the big-endian value.
pub fn crc64nvme_base64(bytes: &[u8]) -> String {
    encode_crc64(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes))
}

pub(crate) fn encode_crc64(crc: u64) -> String {
    BASE64.encode(crc.to_be_bytes())
}

/// The checksums of one run of bytes: a whole small file, or a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) len: u64,
    pub(crate) crc64: u64,
    /// What the server is to compare, by [`ChecksumKind`].
    pub(crate) sent: SentSum,
}

/// The checksum that goes with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SentSum {
    /// The CRC64 that [`Sums`] has anyway.
    Crc64,
    Crc32c(u64),
    Sha256([u8; 32]),
    Md5([u8; 16]),
}

/// Computes [`Sums`] piece by piece.
pub(crate) struct Hasher {
    len: u64,
    crc64: CrcDigest,
    sent: SentHasher,
}

enum SentHasher {
    Crc64,
    Crc32c(Box<CrcDigest>),
    Sha256(Sha256),
    Md5(Md5),
}

impl Hasher {
    pub(crate) fn new(kind: ChecksumKind) -> Self {
        let sent = match kind {
            ChecksumKind::Crc64Nvme => SentHasher::Crc64,
            ChecksumKind::Crc32c => SentHasher::Crc32c(Box::new(CrcDigest::new(CrcAlgorithm::Crc32Iscsi))),
            ChecksumKind::Sha256 => SentHasher::Sha256(Sha256::new()),
            ChecksumKind::None => SentHasher::Md5(Md5::new()),
        };
        Self { len: 0, crc64: CrcDigest::new(CrcAlgorithm::Crc64Nvme), sent }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.crc64.update(bytes);
        match &mut self.sent {
            SentHasher::Crc64 => {}
            SentHasher::Crc32c(digest) => digest.update(bytes),
            SentHasher::Sha256(digest) => digest.update(bytes),
            SentHasher::Md5(digest) => digest.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Sums {
        let sent = match self.sent {
            SentHasher::Crc64 => SentSum::Crc64,
            SentHasher::Crc32c(digest) => SentSum::Crc32c(digest.finalize()),
            SentHasher::Sha256(digest) => SentSum::Sha256(digest.finalize().into()),
            SentHasher::Md5(digest) => SentSum::Md5(digest.finalize().into()),
        };
        Sums { len: self.len, crc64: self.crc64.finalize(), sent }
    }
}

impl Sums {
    pub(crate) fn of(kind: ChecksumKind, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(kind);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The value for the request's header, base64.
    pub(crate) fn sent_base64(&self) -> String {
        match &self.sent {
            SentSum::Crc64 => encode_crc64(self.crc64),
            SentSum::Crc32c(crc) => BASE64.encode(crc32_bytes(*crc)),
            SentSum::Sha256(digest) => BASE64.encode(digest),
            SentSum::Md5(digest) => BASE64.encode(digest),
        }
    }
}

/// What the whole object's checksum must be when its parts, in order, have these.
///
/// `None` for an empty list.
pub(crate) fn combine(kind: ChecksumKind, parts: &[Sums]) -> Option<Whole> {
    let (first, rest) = parts.split_first()?;
    let crc64 = rest
        .iter()
        .fold(first.crc64, |crc, part| checksum_combine(CrcAlgorithm::Crc64Nvme, crc, part.crc64, part.len));
    let proof = match kind {
        ChecksumKind::Crc64Nvme => Proof::Checksum(encode_crc64(crc64), ChecksumType::FullObject),
        ChecksumKind::Crc32c => {
            let crc32 = |sums: &Sums| if let SentSum::Crc32c(crc) = sums.sent { crc } else { 0 };
            let whole = rest.iter().fold(crc32(first), |crc, part| {
                checksum_combine(CrcAlgorithm::Crc32Iscsi, crc, crc32(part), part.len)
            });
            Proof::Checksum(BASE64.encode(crc32_bytes(whole)), ChecksumType::FullObject)
        }
        ChecksumKind::Sha256 => {
            let mut digest = Sha256::new();
            for part in parts {
                if let SentSum::Sha256(part) = &part.sent {
                    digest.update(part);
                }
            }
            let value = format!("{}-{}", BASE64.encode(digest.finalize()), parts.len());
            Proof::Checksum(value, ChecksumType::Composite)
        }
        ChecksumKind::None => {
            let mut digest = Md5::new();
            for part in parts {
                if let SentSum::Md5(part) = &part.sent {
                    digest.update(part);
                }
            }
            Proof::Etag(format!("{}-{}", hex(&digest.finalize()), parts.len()))
        }
    };
    Some(Whole { len: parts.iter().map(|part| part.len).sum(), crc64, proof })
}

/// What the server must show for a whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) len: u64,
    pub(crate) crc64: u64,
    pub(crate) proof: Proof,
}

/// The sign by which the server shows that it stored these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A checksum in the configured algorithm.
    Checksum(String, ChecksumType),
    /// An ETag that is the MD5 of the bytes (of a multipart upload: of its parts' MD5).
    Etag(String),
}

impl Whole {
    /// What must be shown for an object sent by one request.
    pub(crate) fn single(sums: &Sums) -> Self {
        let proof = match &sums.sent {
            SentSum::Md5(digest) => Proof::Etag(hex(digest)),
            _ => Proof::Checksum(sums.sent_base64(), ChecksumType::FullObject),
        };
        Self { len: sums.len, crc64: sums.crc64, proof }
    }
}

impl Proof {
    /// The checksum as a manifest names it; none where the proof was an ETag.
    pub(crate) fn stored_checksum(&self, kind: ChecksumKind, crc64: u64) -> Option<StoredChecksum> {
        let Self::Checksum(value, r#type) = self else { return None };
        // An older object may show CRC64NVME where another kind is asked for now.
        let kind = if *value == encode_crc64(crc64) { ChecksumKind::Crc64Nvme } else { kind };
        Some(StoredChecksum { algorithm: kind.as_str().to_owned(), value: value.clone(), r#type: *r#type })
    }
}

pub(crate) fn crc32_bytes(crc: u64) -> [u8; 4] {
    // The library keeps every CRC in 64 bits; a 32-bit one is the lower half.
    let [_, _, _, _, a, b, c, d] = crc.to_be_bytes();
    [a, b, c, d]
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ChecksumKind; 4] =
        [ChecksumKind::Crc64Nvme, ChecksumKind::Crc32c, ChecksumKind::Sha256, ChecksumKind::None];

    #[test]
    fn known_values() {
        // "123456789" is the check value's input in every CRC catalogue; the others are from RFC 6234 and RFC 1321.
        let text = b"123456789";
        assert_eq!(Sums::of(ChecksumKind::Crc64Nvme, text).crc64, 0xae8b_1486_0a79_9888);
        let crc32c = Sums::of(ChecksumKind::Crc32c, text).sent_base64();
        assert_eq!(crc32c, BASE64.encode(0xe306_9283_u32.to_be_bytes()));
        let sha = Sums::of(ChecksumKind::Sha256, b"abc").sent_base64();
        assert_eq!(sha, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        let Proof::Etag(md5) = Whole::single(&Sums::of(ChecksumKind::None, b"abc")).proof else {
            panic!("the proof without checksums is the ETag")
        };
        assert_eq!(md5, "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn parts_combine_to_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for kind in [ChecksumKind::Crc64Nvme, ChecksumKind::Crc32c] {
            let parts: Vec<Sums> = bytes.chunks(70_001).map(|part| Sums::of(kind, part)).collect();
            assert_eq!(combine(kind, &parts), Some(Whole::single(&Sums::of(kind, &bytes))), "{kind:?}");
        }
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let bytes = b"some bytes that come in pieces";
        for kind in KINDS {
            let mut hasher = Hasher::new(kind);
            bytes.chunks(7).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), Sums::of(kind, bytes), "{kind:?}");
        }
    }
}
