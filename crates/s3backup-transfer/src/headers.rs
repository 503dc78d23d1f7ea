//! Values of headers and of replies, in the forms in which S3 takes and gives them.

use std::collections::HashMap;

use aws_sdk_s3::types::ServerSideEncryption;

use crate::{ObjectSettings, Sse};

/// What the names of header fields with user metadata begin with.
const METADATA_PREFIX: &str = "x-amz-meta-";

pub(crate) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

/// A version id; `null` is what S3 says of objects without one.
pub(crate) fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| !id.is_empty() && *id != "null").map(ToOwned::to_owned)
}

pub(crate) fn sse_headers(sse: Option<&Sse>) -> (Option<ServerSideEncryption>, Option<String>) {
    match sse {
        None => (None, None),
        Some(Sse::S3) => (Some(ServerSideEncryption::Aes256), None),
        Some(Sse::Kms { key_id }) => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
    }
}

/// User metadata as the SDK takes it: without what marks the header fields.
pub(crate) fn sdk_metadata(metadata: &[(&'static str, String)]) -> Option<HashMap<String, String>> {
    let pairs = metadata.iter().map(|(field, value)| {
        (field.strip_prefix(METADATA_PREFIX).unwrap_or(field).to_owned(), value.clone())
    });
    (!metadata.is_empty()).then(|| pairs.collect())
}

/// Tags in the form of a URL query, as the header takes them.
pub(crate) fn tagging(settings: &ObjectSettings) -> Option<String> {
    let pairs: Vec<String> = settings
        .tags
        .iter()
        .map(|(name, value)| format!("{}={}", url_encoded(name), url_encoded(value)))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

fn url_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

pub(crate) fn url_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex =
            |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok());
        match (first, behind.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = behind;
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_listed_keys_survive_their_encoding() {
        let tags = [("team".to_owned(), "fleet & co=1".to_owned())].into();
        let settings = ObjectSettings { tags, ..ObjectSettings::default() };
        assert_eq!(tagging(&settings).as_deref(), Some("team=fleet%20%26%20co%3D1"));
        for key in ["a b+c&é%20;=?#'~.txt", "日本/%41", "plain/key"] {
            assert_eq!(url_decoded(&url_encoded(key)), key);
        }
        assert_eq!(url_decoded("a+b%2Bc"), "a b+c");
    }
}
