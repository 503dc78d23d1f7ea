//! The digests that S3 knows: computing them, and combining those of parts into that of an object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use serde::{Deserialize, Serialize};

/// A checksum algorithm of S3, beside the MD5 of the `ETag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name in the protocol, such as `CRC64NVME`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header (or trailer) that carries its value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// The length of a value in bytes.
    pub(crate) fn length_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// What S3 takes for a multipart upload that does not say.
    pub(crate) fn default_coverage(self) -> Coverage {
        if self == Self::Crc64Nvme { Coverage::FullObject } else { Coverage::Composite }
    }

    /// Whether S3 allows the pair: only a CRC can be combined, and CRC64NVME always is.
    pub(crate) fn allows(self, coverage: Coverage) -> bool {
        match coverage {
            Coverage::FullObject => self.crc().is_some(),
            Coverage::Composite => self != Self::Crc64Nvme,
        }
    }

    fn crc(self) -> Option<crc_fast::CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(crc_fast::CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(crc_fast::CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// What the checksum of a multipart object was computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Coverage {
    /// From the bytes of the object.
    FullObject,
    /// From the checksums of its parts.
    Composite,
}

impl Coverage {
    /// The name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|coverage| coverage.name() == name)
    }
}

/// A checksum as it is stored with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) coverage: Coverage,
    /// Base64; a composite one ends with `-` and the number of parts.
    pub(crate) value: String,
}

impl Checksum {
    /// The same checksum with its first character altered: well formed, and wrong.
    pub(crate) fn altered(&self) -> Self {
        let first = if self.value.starts_with('A') { 'B' } else { 'A' };
        let value = std::iter::once(first).chain(self.value.chars().skip(1)).collect();
        Self { value, ..*self }
    }
}

/// The base64 value of a checksum in bytes, if it is one.
pub(crate) fn decode(algorithm: Algorithm, value: &str) -> Option<Vec<u8>> {
    BASE64.decode(value).ok().filter(|bytes| bytes.len() == algorithm.length_bytes())
}

pub(crate) fn base64_decode(value: &str) -> Option<Vec<u8>> {
    BASE64.decode(value).ok()
}

enum Hasher {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(Crc32::new()),
            Algorithm::Crc32c => Self::Crc32c(Crc32c::new()),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(Crc64Nvme::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Crc32(hasher) => hasher.update(data),
            Self::Crc32c(hasher) => hasher.update(data),
            Self::Crc64Nvme(hasher) => hasher.update(data),
            Self::Sha1(hasher) => hasher.update(data),
            Self::Sha256(hasher) => hasher.update(data),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Crc32(hasher) => BASE64.encode(hasher.finalize()),
            Self::Crc32c(hasher) => BASE64.encode(hasher.finalize()),
            Self::Crc64Nvme(hasher) => BASE64.encode(hasher.finalize()),
            Self::Sha1(hasher) => BASE64.encode(hasher.finalize()),
            Self::Sha256(hasher) => BASE64.encode(hasher.finalize()),
        }
    }
}

/// Computes the MD5, if it is wanted, and any number of checksums in one pass.
pub(crate) struct Hashers {
    md5: Option<Md5>,
    checksums: Vec<(Algorithm, Hasher)>,
}

/// What [`Hashers`] found.
#[derive(Clone, Debug)]
pub(crate) struct Digests {
    /// `None` if nobody wanted it.
    pub(crate) md5: Option<[u8; 16]>,
    /// Base64 values.
    pub(crate) checksums: Vec<(Algorithm, String)>,
}

impl Hashers {
    pub(crate) fn new(algorithms: &[Algorithm]) -> Self {
        let checksums = algorithms.iter().map(|&algorithm| (algorithm, Hasher::new(algorithm))).collect();
        Self { md5: Some(Md5::new()), checksums }
    }

    /// Without the MD5, which takes longer than all the rest. There must be a checksum then.
    pub(crate) fn without_md5(self) -> Self {
        Self { md5: None, ..self }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(data);
        }
        for (_, hasher) in &mut self.checksums {
            hasher.update(data);
        }
    }

    pub(crate) fn finish(self) -> Digests {
        let checksums =
            self.checksums.into_iter().map(|(algorithm, hasher)| (algorithm, hasher.finish())).collect();
        Digests { md5: self.md5.map(Md5::finalize), checksums }
    }
}

impl Digests {
    pub(crate) fn get(&self, algorithm: Algorithm) -> Option<&str> {
        find(&self.checksums, algorithm)
    }

    /// The value of a CRC as a number, if it was computed.
    pub(crate) fn crc(&self, algorithm: Algorithm) -> Option<u64> {
        self.get(algorithm).and_then(|value| decode(algorithm, value)).map(|bytes| number(&bytes))
    }

    /// The `ETag`: the MD5 in hex, or else the first checksum, whose length tells that it is no MD5.
    pub(crate) fn etag(&self) -> String {
        let checksum = || self.checksums.first().and_then(|(_, value)| base64_decode(value));
        self.md5.map(|md5| md5.to_vec()).or_else(checksum).map(|bytes| hex(&bytes)).unwrap_or_default()
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The value of one algorithm in a list of values.
pub(crate) fn find(values: &[(Algorithm, String)], algorithm: Algorithm) -> Option<&str> {
    values.iter().find(|(other, _)| *other == algorithm).map(|(_, value)| value.as_str())
}

/// The checksum of an object from those of its parts, each with the size of the part in bytes.
///
/// `None` if a value is not a checksum of the algorithm, or the pair is not allowed.
pub(crate) fn of_parts(algorithm: Algorithm, coverage: Coverage, parts: &[(&str, u64)]) -> Option<Checksum> {
    let value = match coverage {
        Coverage::FullObject => combined(algorithm, parts)?,
        Coverage::Composite => composite(algorithm, parts)?,
    };
    Some(Checksum { algorithm, coverage, value })
}

fn combined(algorithm: Algorithm, parts: &[(&str, u64)]) -> Option<String> {
    let crc = algorithm.crc()?;
    let mut total = 0;
    for &(value, size) in parts {
        total = crc_fast::checksum_combine(crc, total, number(&decode(algorithm, value)?), size);
    }
    Some(BASE64.encode(&total.to_be_bytes()[8 - algorithm.length_bytes()..]))
}

fn composite(algorithm: Algorithm, parts: &[(&str, u64)]) -> Option<String> {
    let mut hasher = Hasher::new(algorithm);
    for &(value, _) in parts {
        hasher.update(&decode(algorithm, value)?);
    }
    Some(format!("{}-{}", hasher.finish(), parts.len()))
}

/// The `ETag` of a multipart object: the MD5 of the MD5s of its parts, and their number.
pub(crate) fn multipart_etag<'a>(part_etags: impl Iterator<Item = &'a str>) -> String {
    let mut md5 = Md5::new();
    let mut count = 0;
    for etag in part_etags {
        md5.update(&unhex(etag));
        count += 1;
    }
    format!("{}-{count}", hex(&md5.finalize()))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks_exact(2).filter_map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(data: &[u8]) -> Digests {
        let mut hashers = Hashers::new(&Algorithm::ALL);
        hashers.update(data);
        hashers.finish()
    }

    #[test]
    fn known_values() {
        let digests = digests(b"123456789");
        assert_eq!(digests.etag(), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(digests.get(Algorithm::Crc32), Some("y/Q5Jg=="));
        assert_eq!(digests.get(Algorithm::Crc32c), Some("4waSgw=="));
        assert_eq!(digests.get(Algorithm::Crc64Nvme), Some("rosUhgp5mIg="));
        assert_eq!(digests.get(Algorithm::Sha1), Some("98O8HYCOBHMq32eZZczDTKeuNEE="));
        assert_eq!(digests.get(Algorithm::Sha256), Some("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="));
    }

    #[test]
    fn combining_parts_gives_the_checksum_of_the_whole() {
        let (first, second, third) = (b"one part".as_slice(), b"".as_slice(), b"and another".as_slice());
        let whole = digests(&[first, second, third].concat());
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts = [first, second, third].map(|part| (digests(part), part.len() as u64));
            let parts: Vec<_> =
                parts.iter().map(|(digests, size)| (digests.get(algorithm).unwrap(), *size)).collect();
            let combined = of_parts(algorithm, Coverage::FullObject, &parts).unwrap();
            assert_eq!(Some(combined.value.as_str()), whole.get(algorithm), "{}", algorithm.name());
        }
    }

    #[test]
    fn etag_of_parts() {
        let parts = [digests(b"a").etag(), digests(b"b").etag()];
        let mut md5 = Md5::new();
        md5.update(&digests(b"a").md5.unwrap());
        md5.update(&digests(b"b").md5.unwrap());
        let expected = format!("{}-2", hex(&md5.finalize()));
        assert_eq!(multipart_etag(parts.iter().map(String::as_str)), expected);
    }

    #[test]
    fn an_altered_checksum_is_wrong_and_well_formed() {
        let value = digests(b"x").get(Algorithm::Crc64Nvme).unwrap().to_owned();
        let sum = Checksum { algorithm: Algorithm::Crc64Nvme, coverage: Coverage::FullObject, value };
        assert_ne!(sum.altered().value, sum.value);
        assert!(decode(Algorithm::Crc64Nvme, &sum.altered().value).is_some());
    }
}
