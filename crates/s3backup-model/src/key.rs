//! Keys: the names of objects in the bucket, and the mapping from a local path to a key and back.
//!
//! A local path is bytes; a key is UTF-8. The mapping loses nothing: bytes that are not UTF-8, C0 controls and DEL
//! become `%XX` (upper-case hex), a literal `%` that stands before two upper-case hex digits becomes `%25`, and
//! all else stays as it is, without Unicode normalisation. [`unescape`] is its exact inverse.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest key that S3 takes, in bytes of UTF-8 (AWS: "Naming Amazon S3 objects").
pub const MAX_KEY_BYTES: usize = 1024;

/// The name of an object in a bucket: UTF-8, 1 to 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Why a text cannot be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key would be empty.
    #[error("a key cannot be empty")]
    Empty,
    /// The key would be longer than S3 allows.
    #[error(
        "the key would have {bytes} bytes, and S3 takes at most {MAX_KEY_BYTES}: shorten the path or the prefix"
    )]
    TooLong {
        /// Length of the refused key in bytes.
        bytes: usize,
    },
}

impl Key {
    /// Takes a text as a key. Errors when it is empty or over [`MAX_KEY_BYTES`].
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        match text.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(text)),
            bytes => Err(KeyError::TooLong { bytes }),
        }
    }

    /// The key of the file at `relative` (bytes of a path below its source) under a prefix.
    ///
    /// The prefix is taken as it is but for slashes at its ends; an empty one adds nothing.
    ///
    /// ```
    /// use s3backup_model::Key;
    /// let key = Key::for_path("trips", b"vehicle-1/2026-11-23/trip\xff.json")?;
    /// assert_eq!(key.as_str(), "trips/vehicle-1/2026-11-23/trip%FF.json");
    /// # Ok::<(), s3backup_model::KeyError>(())
    /// ```
    pub fn for_path(prefix: &str, relative: &[u8]) -> Result<Self, KeyError> {
        let prefix = prefix.trim_matches('/');
        let name = escape(relative);
        Self::new(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

/// Turns the bytes of a path into text by the mapping of this module. Never fails, and [`unescape`] undoes it.
pub fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        let valid = chunk.valid();
        for (at, c) in valid.char_indices() {
            match c {
                '\0'..='\u{1f}' | '\u{7f}' => push_hex(&mut out, c as u8),
                // The two bytes behind are looked at across the chunk's end as well: a `%` at the end of a chunk
                // is followed by an escaped byte, whose own `%` is not a hex digit, so the chunk is enough.
                '%' if starts_with_hex_pair(&valid.as_bytes()[at + 1..]) => out.push_str("%25"),
                c => out.push(c),
            }
        }
        for &byte in chunk.invalid() {
            push_hex(&mut out, byte);
        }
    }
    out
}

/// The bytes that [`escape`] turned into `text`.
pub fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' && starts_with_hex_pair(&bytes[at + 1..]) {
            out.push(hex_value(bytes[at + 1]) << 4 | hex_value(bytes[at + 2]));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)] as char);
    out.push(DIGITS[usize::from(byte & 15)] as char);
}

fn starts_with_hex_pair(bytes: &[u8]) -> bool {
    let is_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    bytes.len() >= 2 && bytes[..2].iter().all(is_hex)
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in
            ["a b+c&é;=?#'~.txt", "100% sure", "%2", "%zz", "%ab lower case", "日本/トリップ.json", "é"]
        {
            assert_eq!(escape(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_a_key_cannot_hold_is_escaped() {
        assert_eq!(escape(b"a\nb\x7f\x00"), "a%0Ab%7F%00");
        assert_eq!(escape(b"caf\xe9"), "caf%E9");
        assert_eq!(escape(b"%41"), "%2541");
        assert_eq!(escape(b"%25"), "%2525");
        assert_eq!(escape(b"%\xff"), "%%FF");
        assert_eq!(escape(b"%4\x01"), "%4%01");
    }

    #[test]
    fn length_is_checked_in_bytes_of_the_whole_key() {
        assert_eq!(Key::for_path("p", &[b'x'; 1022]).map(|k| k.as_str().len()), Ok(1024));
        assert_eq!(Key::for_path("p", &[b'x'; 1023]), Err(KeyError::TooLong { bytes: 1025 }));
        assert_eq!(Key::for_path("", &[0xff; 342]), Err(KeyError::TooLong { bytes: 1026 }));
        assert_eq!(Key::for_path("", b""), Err(KeyError::Empty));
    }

    #[test]
    fn slashes_around_the_prefix_do_not_reach_the_key() {
        assert_eq!(Key::for_path("/a/b/", b"c").map(String::from), Ok("a/b/c".to_owned()));
        assert_eq!(Key::for_path("/", b"c").map(String::from), Ok("c".to_owned()));
    }

    const PIECES: &[&[u8]] = &[b"%", b"2", b"5", b"F", b"%25", b"\xff", b"\n", b"a", b"\xc3", b"\xa9"];

    proptest! {
        #[test]
        fn every_path_comes_back(path in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unescape(&escape(&path)), path);
        }

        // Random bytes rarely meet the mapping's own syntax, so paths are also made of its pieces.
        #[test]
        fn paths_made_of_escapes_come_back(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..12)) {
            let path = pieces.concat();
            let text = escape(&path);
            prop_assert_eq!(unescape(&text), path);
            prop_assert!(!text.bytes().any(|b| b < 0x20 || b == 0x7f));
        }
    }
}
