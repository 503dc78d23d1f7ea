//! In which encoding a file is.

use std::borrow::Cow;

use super::record::Fault;
use crate::aside::Rule;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16LittleEndian,
    Utf16BigEndian,
}

/// What the first bytes say, and how many of them are a mark and no text.
pub(super) fn detect(beginning: &[u8]) -> Result<(Encoding, usize), Fault> {
    let other = |what: &str, advice: &str| {
        Err(Fault { rule: Rule::Encoding, detail: format!("is {what}, which is not read: {advice}") })
    };
    match beginning {
        [0xEF, 0xBB, 0xBF, ..] => Ok((Encoding::Utf8, 3)),
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => other("UTF-32", "write it as UTF-8"),
        [0xFF, 0xFE, ..] => Ok((Encoding::Utf16LittleEndian, 2)),
        [0xFE, 0xFF, ..] => Ok((Encoding::Utf16BigEndian, 2)),
        [0x1F, 0x8B, ..] => other("compressed (gzip)", "unpack it with `gunzip`"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => other("compressed (Zstandard)", "unpack it with `unzstd`"),
        [b'P', b'K', 3, 4, ..] => other("an archive (ZIP)", "unpack it with `unzip`"),
        _ => Ok((Encoding::Utf8, 0)),
    }
}

impl Encoding {
    /// Where the first line feed is, and how many bytes it takes.
    pub(super) fn line_feed(self, bytes: &[u8]) -> Option<(usize, usize)> {
        let of_two = |feed: [u8; 2]| {
            let (units, _) = bytes.as_chunks::<2>();
            units.iter().position(|unit| *unit == feed).map(|unit| (2 * unit, 2))
        };
        match self {
            Self::Utf8 => memchr::memchr(b'\n', bytes).map(|at| (at, 1)),
            Self::Utf16LittleEndian => of_two([b'\n', 0]),
            Self::Utf16BigEndian => of_two([0, b'\n']),
        }
    }

    /// The bytes as UTF-8; those that should be already are not looked at.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
        let unit = match self {
            Self::Utf8 => return Ok(Cow::Borrowed(bytes)),
            Self::Utf16LittleEndian => u16::from_le_bytes,
            Self::Utf16BigEndian => u16::from_be_bytes,
        };
        let (units, odd) = bytes.as_chunks::<2>();
        char::decode_utf16(units.iter().copied().map(unit))
            .collect::<Result<String, _>>()
            .ok()
            .filter(|_| odd.is_empty())
            .map(|text| Cow::Owned(text.into_bytes()))
            .ok_or_else(|| Fault {
                rule: Rule::Encoding,
                detail: "is not UTF-16, as the file's beginning says".to_owned(),
            })
    }
}

/// The line as text, which a line of JSON or CSV must be.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Fault> {
    str::from_utf8(text).map_err(|error| {
        let at = error.valid_up_to();
        let byte = text.get(at).copied().unwrap_or_default();
        Fault { rule: Rule::Encoding, detail: format!("byte {} is 0x{byte:02X}, which is not UTF-8", at + 1) }
    })
}
