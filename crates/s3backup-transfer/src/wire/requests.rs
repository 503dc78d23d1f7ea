//! The three requests, built from the same parts as those of the SDK path.

use std::borrow::Cow;

use s3backup_model::Key;
use sha2::{Digest, Sha256};

use super::{Failure, Reply, Request, UNSIGNED, Wire, push_encoded};
use crate::body::{Payload, Watch};
use crate::checksum::{SentSum, Sums, hex};
use crate::control::WriteCondition;
use crate::download::Pin;
use crate::headers::{sse_headers, tagging};
use crate::{ChecksumKind, ObjectSettings};

use super::reply::Head;

/// The name of a checksum's header field, which is that of the reply as well.
pub(crate) fn field_of(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumKind::Crc32c => "x-amz-checksum-crc32c",
        ChecksumKind::Sha256 => "x-amz-checksum-sha256",
        ChecksumKind::None => "content-md5",
    }
}

/// What a small object is given beside its bytes.
pub(crate) struct Given<'a> {
    pub(crate) settings: &'a ObjectSettings,
    pub(crate) metadata: &'a [(&'static str, String)],
    pub(crate) condition: &'a WriteCondition,
}

impl Wire {
    pub(crate) async fn put_object(
        &self,
        key: &Key,
        payload: &Payload,
        kind: ChecksumKind,
        sums: &Sums,
        given: Given<'_>,
        watch: &Watch,
    ) -> Result<Head, Failure> {
        let settings = given.settings;
        let mut fields = Vec::with_capacity(16);
        fields.push(content_type());
        push_sum(&mut fields, kind, sums);
        for (name, value) in given.metadata {
            fields.push((*name, value.clone()));
        }
        if let Some(class) = &settings.storage_class {
            fields.push(("x-amz-storage-class", class.clone()));
        }
        let (sse, kms) = sse_headers(settings.sse.as_ref());
        if let Some(sse) = sse {
            fields.push(("x-amz-server-side-encryption", sse.as_str().to_owned()));
        }
        if let Some(kms) = kms {
            fields.push(("x-amz-server-side-encryption-aws-kms-key-id", kms));
        }
        if let Some(tags) = tagging(settings) {
            fields.push(("x-amz-tagging", tags));
        }
        if let Some(value) = given.condition.if_none_match() {
            fields.push(("if-none-match", value));
        }
        if let Some(value) = given.condition.if_match() {
            fields.push(("if-match", value));
        }
        let hash = self.hash_of(payload, sums);
        let request = Request { method: "PUT", key, query: String::new(), fields, body: Some(payload), hash };
        self.send(request, watch).await?.finish().await
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(crate) async fn upload_part(
        &self,
        key: &Key,
        upload_id: &str,
        number: i32,
        payload: &Payload,
        kind: ChecksumKind,
        sums: &Sums,
        watch: &Watch,
    ) -> Result<Head, Failure> {
        let mut fields = Vec::with_capacity(8);
        fields.push(content_type());
        push_sum(&mut fields, kind, sums);
        let mut query = format!("partNumber={number}&uploadId=");
        push_encoded(&mut query, upload_id, false);
        let hash = self.hash_of(payload, sums);
        let request = Request { method: "PUT", key, query, fields, body: Some(payload), hash };
        self.send(request, watch).await?.finish().await
    }

    /// `range` in the form of HTTP; the whole object without.
    pub(crate) async fn get_object(
        &self,
        key: &Key,
        pin: &Pin,
        range: Option<String>,
        watch: &Watch,
    ) -> Result<Reply<'_>, Failure> {
        let mut fields = Vec::with_capacity(8);
        if let Some(range) = range {
            fields.push(("range", range));
        }
        if let Some(value) = pin.if_match() {
            fields.push(("if-match", value));
        }
        let mut query = String::new();
        if let Some(version) = &pin.version_id {
            query.push_str("versionId=");
            push_encoded(&mut query, version, false);
        }
        let request =
            Request { method: "GET", key, query, fields, body: None, hash: Cow::Borrowed(UNSIGNED) };
        self.send(request, watch).await
    }

    /// What the signature says of the payload.
    fn hash_of(&self, payload: &Payload, sums: &Sums) -> Cow<'static, str> {
        if self.leaves_payload_unsigned() {
            return Cow::Borrowed(UNSIGNED);
        }
        match (&sums.sent, payload) {
            (SentSum::Sha256(digest), _) => Cow::Owned(hex(digest)),
            (_, Payload::Whole(bytes)) => Cow::Owned(hex(&Sha256::digest(bytes))),
            // It would have to be read a third time. The SDK leaves it unsigned as well.
            (_, Payload::Range { .. }) => Cow::Borrowed(UNSIGNED),
        }
    }
}

/// What the SDK calls bytes of which nothing is known. S3 keeps it, and has another word of its own.
fn content_type() -> (&'static str, String) {
    ("content-type", "application/octet-stream".to_owned())
}

/// The checksum; some servers only keep one whose algorithm is also named by itself.
fn push_sum(fields: &mut Vec<(&'static str, String)>, kind: ChecksumKind, sums: &Sums) {
    fields.push((field_of(kind), sums.sent_base64()));
    if let Some(algorithm) = kind.algorithm() {
        fields.push(("x-amz-sdk-checksum-algorithm", algorithm.as_str().to_owned()));
    }
}
