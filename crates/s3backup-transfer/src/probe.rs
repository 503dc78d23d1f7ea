//! Trying what credentials may do and what a server can, with one small object: for a check-up. A run needs none of this.
//!
//! Each answer is the server's own, and nothing here makes up for what it lacks.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, StorageClass};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use s3backup_model::Key;

use crate::access::Access;
use crate::body::{Payload, Watch};
use crate::bucket::Gate;
use crate::checksum::Sums;
use crate::clock::ServerClock;
use crate::control::WriteCondition;
use crate::headers::{sse_headers, tagging};
use crate::object::ObjectInfo;
use crate::pace::Pace;
use crate::wire::Given;
use crate::{Bucket, ChecksumKind, Error, ObjectSettings};

/// What the lifecycle rules of a bucket do with multipart uploads that nobody ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// They are aborted so many days after they were begun.
    Aborts {
        /// Of the rule that comes first.
        days: u32,
    },
    /// No rule that is enabled and covers the prefix aborts them.
    Keeps,
    /// The server does not say, for this reason.
    Unknown(String),
}

impl Bucket {
    /// With which credentials requests are signed at first; `None` for a client that was handed in.
    pub fn access(&self) -> Option<&Access> {
        self.access.as_deref()
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> Option<&str> {
        self.client.config().region().map(AsRef::as_ref)
    }

    /// The server's own time, in whole seconds, from the head of a reply, whatever else the reply says. `None` where no
    /// reply came or it names none. Asks once and repeats nothing.
    pub async fn server_time(&self) -> Option<DateTime<Utc>> {
        let clock = ServerClock::default();
        let request = self.client.head_bucket().bucket(&*self.name).customize().interceptor(clock.clone());
        // What the reply says beside its date does not matter.
        let _ = tokio::time::timeout(self.idle_limit(), request.send()).await;
        clock.now()
    }

    /// Puts an object as told, without looking at what is there and without another way where the server refuses.
    ///
    /// # Errors
    /// What the server says, also that a condition did not hold.
    pub async fn try_put(
        &self,
        key: &Key,
        bytes: Bytes,
        kind: ChecksumKind,
        settings: &ObjectSettings,
        condition: &WriteCondition,
    ) -> Result<ObjectInfo, Error> {
        let sums = Sums::of(kind, &bytes);
        let payload = Payload::Whole(bytes);
        self.repeat(
            Gate::default(),
            "PutObject",
            key,
            Duration::ZERO,
            |_, _, _| {},
            |attempt| {
                let watch = Watch { progress: attempt.progress, pace: Pace::default() };
                self.put_once(key, &payload, watch, kind, &sums, Given { settings, metadata: &[], condition })
            },
        )
        .await
    }

    /// Begins a multipart upload, sends a part, asks for the list of parts and aborts. Gives why the list was refused, if it
    /// was. Dropping the future may leave the upload open.
    ///
    /// # Errors
    /// Of the first of the other three that was refused. When it is the abort, the upload stays open.
    pub async fn try_multipart(
        &self,
        key: &Key,
        bytes: Bytes,
        kind: ChecksumKind,
        settings: &ObjectSettings,
    ) -> Result<Option<Error>, Error> {
        let id = self.once("CreateMultipartUpload", key, || self.begin_once(key, kind, settings)).await?;
        let sent = self.once("UploadPart", key, || self.part_once(key, &id, bytes.clone(), kind)).await;
        let listed = self
            .once("ListParts", key, || async {
                let request = self.client.list_parts().bucket(&*self.name).key(key.as_str());
                let reply = request.upload_id(&id).send().await;
                reply.map(|_| ()).map_err(|error| self.error("ListParts", key, error))
            })
            .await;
        let aborted = self.abort_upload(key, &id).await;
        sent?;
        aborted?;
        Ok(listed.err())
    }

    async fn once<T, F: Future<Output = Result<T, Error>>>(
        &self,
        operation: &'static str,
        key: &Key,
        request: impl Fn() -> F,
    ) -> Result<T, Error> {
        self.repeat(Gate::default(), operation, key, Duration::ZERO, |_, _, _| {}, |_| request()).await
    }

    async fn begin_once(
        &self,
        key: &Key,
        kind: ChecksumKind,
        settings: &ObjectSettings,
    ) -> Result<String, Error> {
        const OPERATION: &str = "CreateMultipartUpload";
        let (sse, kms) = sse_headers(settings.sse.as_ref());
        let request = self.client.create_multipart_upload().bucket(&*self.name).key(key.as_str());
        let reply = request
            .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(kms)
            .set_tagging(tagging(settings))
            .set_checksum_algorithm(kind.algorithm())
            .send()
            .await
            .map_err(|error| self.error(OPERATION, key, error))?;
        let id = reply.upload_id().map(ToOwned::to_owned);
        id.ok_or_else(|| self.lost(OPERATION, key, "the reply names no upload"))
    }

    async fn part_once(&self, key: &Key, id: &str, bytes: Bytes, kind: ChecksumKind) -> Result<(), Error> {
        let sum = Sums::of(kind, &bytes).sent_base64();
        let request = self.client.upload_part().bucket(&*self.name).key(key.as_str()).upload_id(id);
        let request = request.part_number(1).body(bytes.into()).set_checksum_algorithm(kind.algorithm());
        let request = match kind {
            ChecksumKind::Crc64Nvme => request.checksum_crc64_nvme(sum),
            ChecksumKind::Crc32c => request.checksum_crc32_c(sum),
            ChecksumKind::Sha256 => request.checksum_sha256(sum),
            ChecksumKind::None => request.content_md5(sum),
        };
        let reply = request.send().await;
        reply.map(|_| ()).map_err(|error| self.error("UploadPart", key, error))
    }

    /// What happens to multipart uploads below `prefix` that nobody ends. Asks once and repeats nothing: the answer is only
    /// good for a warning.
    pub async fn lifecycle(&self, prefix: &str) -> Lifecycle {
        let request = self.client.get_bucket_lifecycle_configuration().bucket(&*self.name).send();
        match tokio::time::timeout(self.idle_limit(), request).await {
            Ok(Ok(reply)) => of_rules(reply.rules(), prefix),
            Ok(Err(error)) if error.code() == Some("NoSuchLifecycleConfiguration") => Lifecycle::Keeps,
            Ok(Err(error)) => {
                let named = Key::new(if prefix.is_empty() { "*" } else { prefix });
                let said = named.map(|key| self.error("GetLifecycleConfiguration", &key, error).to_line());
                Lifecycle::Unknown(said.unwrap_or_default())
            }
            Err(_) => Lifecycle::Unknown("the server did not answer".to_owned()),
        }
    }
}

fn of_rules(rules: &[LifecycleRule], prefix: &str) -> Lifecycle {
    let covers = |rule: &LifecycleRule| {
        #[expect(deprecated, reason = "rules of the old form are still in force")]
        let old = rule.prefix();
        let filter = rule.filter();
        let and = filter.and_then(|filter| filter.and()?.prefix());
        let of_rule = filter.and_then(|filter| filter.prefix()).or(and).or(old);
        prefix.starts_with(of_rule.unwrap_or_default())
    };
    let days = rules
        .iter()
        .filter(|rule| *rule.status() == ExpirationStatus::Enabled && covers(rule))
        .filter_map(|rule| rule.abort_incomplete_multipart_upload()?.days_after_initiation())
        .filter_map(|days| u32::try_from(days).ok());
    days.min().map_or(Lifecycle::Keeps, |days| Lifecycle::Aborts { days })
}

#[cfg(test)]
mod tests {
    use super::*;

    use aws_sdk_s3::types::{AbortIncompleteMultipartUpload, LifecycleRuleFilter};

    fn rule(status: ExpirationStatus, prefix: &str, days: i32) -> LifecycleRule {
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build();
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        let rule = LifecycleRule::builder().status(status).filter(filter);
        rule.abort_incomplete_multipart_upload(abort).build().unwrap()
    }

    #[test]
    fn only_a_rule_that_is_enabled_and_covers_the_prefix_counts() {
        let enabled = |prefix, days| rule(ExpirationStatus::Enabled, prefix, days);
        assert_eq!(
            of_rules(&[enabled("", 7), enabled("trips/", 3)], "trips/"),
            Lifecycle::Aborts { days: 3 }
        );
        assert_eq!(of_rules(&[enabled("logs/", 7)], "trips/"), Lifecycle::Keeps);
        assert_eq!(of_rules(&[rule(ExpirationStatus::Disabled, "", 7)], "trips/"), Lifecycle::Keeps);
        let other = LifecycleRule::builder().status(ExpirationStatus::Enabled).build().unwrap();
        assert_eq!(of_rules(&[other], ""), Lifecycle::Keeps);
    }
}
