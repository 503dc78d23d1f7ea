//! AWS Signature Version 4 of one request (AWS: "Create a signed AWS API request").
//!
//! The key that signs is derived once a day and credential; of each request only the canonical form is hashed. The
//! cryptography is that of `aws-sigv4`.

use std::fmt::Write as _;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest, Sha256};

use super::identity::Identity;
use crate::checksum::hex;

/// What a payload is called whose bytes are not part of the signature (AWS: "Unsigned payload option").
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "s3";

/// The derived key of one credential for one day and region.
pub(crate) struct SigningKey {
    date: NaiveDate,
    /// The same as `YYYYMMDD`.
    day: String,
    key: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn derive(secret: &str, at: DateTime<Utc>, region: &str) -> Self {
        let key = generate_signing_key(secret, at.into(), region, SERVICE).as_ref().to_vec();
        Self { date: at.date_naive(), day: at.format("%Y%m%d").to_string(), key }
    }

    pub(crate) fn is_of(&self, at: DateTime<Utc>) -> bool {
        self.date == at.date_naive()
    }
}

/// A request on its way to being signed: its line and its header fields, which all become part of the signature.
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    /// Percent-encoded, from the first slash on.
    pub(crate) path: &'a str,
    /// Encoded, its parameters sorted by name; without the question mark.
    pub(crate) query: &'a str,
    /// Names in lower case, in any order.
    pub(crate) fields: &'a mut Vec<(&'static str, String)>,
    /// SHA-256 of the payload in hex, or what stands in its place.
    pub(crate) payload: &'a str,
}

impl Unsigned<'_> {
    /// Adds the fields that a signature needs, sorts them all, and gives the value of `authorization`.
    pub(crate) fn sign(self, identity: &Identity, at: DateTime<Utc>, region: &str) -> String {
        let stamp = at.format("%Y%m%dT%H%M%SZ").to_string();
        let fields = self.fields;
        fields.push(("x-amz-content-sha256", self.payload.to_owned()));
        fields.push(("x-amz-date", stamp.clone()));
        if let Some(token) = identity.credentials.session_token() {
            fields.push(("x-amz-security-token", token.to_owned()));
        }
        fields.sort_unstable_by_key(|(name, _)| *name);

        let mut names = String::with_capacity(256);
        let mut canonical = String::with_capacity(1024);
        let _ = writeln!(canonical, "{}\n{}\n{}", self.method, self.path, self.query);
        for (name, value) in fields.iter() {
            if !names.is_empty() {
                names.push(';');
            }
            names.push_str(name);
            canonical.push_str(name);
            canonical.push(':');
            push_folded(&mut canonical, value);
            canonical.push('\n');
        }
        let _ = write!(canonical, "\n{names}\n{}", self.payload);

        let day = &identity.key.day;
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{stamp}\n{day}/{region}/{SERVICE}/aws4_request\n{digest}");
        let signature = calculate_signature(&identity.key.key, to_sign.as_bytes());
        let access_key = identity.credentials.access_key_id();
        format!(
            "{ALGORITHM} Credential={access_key}/{day}/{region}/{SERVICE}/aws4_request, SignedHeaders={names}, Signature={signature}"
        )
    }
}

/// Runs of spaces count as one in the canonical form, and those around a value not at all.
fn push_folded(out: &mut String, value: &str) {
    if !value.contains("  ") {
        return out.push_str(value.trim());
    }
    for (place, word) in value.split_ascii_whitespace().enumerate() {
        if place > 0 {
            out.push(' ');
        }
        out.push_str(word);
    }
}

/// Percent-encodes as the signature wants it: everything but letters, digits and `-_.~`, and the slash where it
/// separates names of a path.
pub(crate) fn push_encoded(out: &mut String, text: &str, keeps_slash: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (keeps_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use aws_sdk_s3::config::Credentials;

    /// AWS: "Signature Calculations for the Authorization Header", example PUT Object.
    #[test]
    fn the_example_of_aws() {
        let at = "2013-05-24T00:00:00Z".parse().unwrap();
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, None, None, "test");
        let identity = Identity { credentials, key: SigningKey::derive(secret, at, "us-east-1") };
        let payload = hex(&Sha256::digest(b"Welcome to Amazon S3."));
        let mut path = "/".to_owned();
        push_encoded(&mut path, "test$file.text", true);
        let mut fields = vec![
            ("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
            ("host", "examplebucket.s3.amazonaws.com".to_owned()),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
        ];
        let request =
            Unsigned { method: "PUT", path: &path, query: "", fields: &mut fields, payload: &payload };
        let authorization = request.sign(&identity, at, "us-east-1");
        assert!(
            authorization.ends_with(
                "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, \
                 Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
            ),
            "{authorization}"
        );
    }

    #[test]
    fn spaces_are_folded_and_names_encoded() {
        let folded = |value: &str| {
            let mut out = String::new();
            push_folded(&mut out, value);
            out
        };
        assert_eq!(folded("  a  b   c "), "a b c");
        assert_eq!(folded(" a b "), "a b");
        let mut out = String::new();
        push_encoded(&mut out, "a b/ä~", true);
        push_encoded(&mut out, "/+", false);
        assert_eq!(out, "a%20b/%C3%A4~%2F%2B");
    }
}
