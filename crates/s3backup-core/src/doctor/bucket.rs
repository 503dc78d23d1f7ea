//! The bucket: every right that a run uses, by using it, and what the server can.
//!
//! All is tried with one object below the control prefix, always the same key. What a run goes on without is a warning.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use s3backup_model::Key;
use s3backup_transfer::{
    Bucket, ChecksumKind, Error as TransferError, Lifecycle, ObjectInfo, ObjectSettings, ServiceError,
    Versioning, WriteCondition,
};

use super::{Check, LIMIT, identity, no_answer};
use crate::backup::Job;
use crate::options::RetrySettings;

/// The object that is written, below the control prefix.
const OBJECT: &str = "doctor";

/// Requests that fail are repeated so often: a check-up tells of trouble sooner than a run gives up.
const ATTEMPTS: u32 = 2;

/// An ETag that no object has.
const NO_ETAG: &str = "00000000000000000000000000000000";

/// An upload that was never begun.
const NO_UPLOAD: &str = "doctor";

pub(super) async fn check(job: &Arc<Job>) -> Vec<Check> {
    let bucket = match tokio::time::timeout(LIMIT, job.connect()).await {
        Ok(Ok(bucket)) => bucket,
        Ok(Err(error)) => return vec![identity::not_connected(&error)],
        Err(_) => return vec![no_answer("credentials")],
    };
    let retry = RetrySettings { attempts: job.retry.attempts.min(ATTEMPTS), ..job.retry.clone() };
    let bucket = bucket.with_retry(retry);
    let mut checks = vec![identity::judge_access(bucket.access(), (job.clock)()), identity::place(&bucket)];
    let key = match job.naming.control_key(OBJECT) {
        Ok(key) => key,
        Err(error) => {
            checks.push(Check::fail("bucket", error.to_string(), "shorten `[destination] prefix`"));
            return checks;
        }
    };
    let mut trial = Trial { job, bucket, key, written: Vec::new(), checks };
    trial.run().await;
    trial.checks
}

/// The trying of one bucket.
struct Trial<'a> {
    job: &'a Job,
    bucket: Bucket,
    key: Key,
    /// Versions of the object that were written, to be removed in the end.
    written: Vec<Option<String>>,
    checks: Vec<Check>,
}

/// Nothing more can be asked of the bucket.
struct Hopeless;

impl Trial<'_> {
    /// Goes through all of it, unless the bucket cannot be reached at all.
    async fn run(&mut self) {
        // The first three stand by themselves; what comes behind needs an object to be there.
        if self.clock().await.is_err() || self.list().await.is_err() || self.write().await.is_err() {
            return;
        }
        let _ = self.multipart().await;
        self.settings().await;
        self.tidy().await;
    }

    async fn clock(&mut self) -> Result<(), Hopeless> {
        let before = (self.job.clock)();
        let Ok(told) = tokio::time::timeout(LIMIT, self.bucket.server_time()).await else {
            self.checks.push(no_answer("bucket"));
            return Err(Hopeless);
        };
        let middle = before + ((self.job.clock)() - before) / 2;
        self.checks.push(identity::judge_clock(told.map(|told| told - middle)));
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Hopeless> {
        let url = self.job.destination_url();
        let prefix = self.key.as_str().trim_end_matches(OBJECT).to_owned();
        let listed = self.within("list", self.bucket.clone().list_folder(&prefix, None)).await?;
        match listed {
            Ok(_) => self.checks.push(Check::ok("list", format!("{url} can be listed"))),
            Err(error) if is_denied(&error) => self.checks.push(Check::warn(
                "list",
                "these credentials may not list the bucket: that it was emptied is not noticed, and a lost catalog is not made again",
                self.right("s3:ListBucket", true),
            )),
            Err(error) => {
                let message = format!("{}. Nothing else of the bucket could be looked at", error.to_line());
                self.checks.push(Check::fail("list", message, reach(&error)));
                return Err(Hopeless);
            }
        }
        Ok(())
    }

    /// Writes the object as one of data and then as control data, and looks at what the server makes of it.
    async fn write(&mut self) -> Result<(), Hopeless> {
        let objects = self.job.objects.clone();
        let is_plain = objects.storage_class.is_none() && objects.tags.is_empty();
        if !is_plain {
            let put = self.put(&objects, &WriteCondition::Always).await?;
            if let Err(error) = put {
                let mend = self.mend_of_write(&error, &objects).await;
                self.checks.push(Check::fail("write", error.to_line(), mend));
                return Ok(());
            }
        }
        let control = ObjectSettings { storage_class: None, tags: BTreeMap::new(), ..objects.clone() };
        let bytes = self.bytes();
        let put = self.put_bytes(bytes.clone(), &control, &WriteCondition::Always).await?;
        let info = match put {
            Ok(info) => info,
            Err(error) => {
                let mend = self.mend_of_write(&error, &control).await;
                self.checks.push(Check::fail("write", error.to_line(), mend));
                return Ok(());
            }
        };
        self.checks.push(Check::ok("write", format!("objects can be put{}", as_told(&objects))));
        self.checksum(info).await?;
        self.read(&bytes).await?;
        self.conditions(&control).await
    }

    async fn checksum(&mut self, info: ObjectInfo) -> Result<(), Hopeless> {
        let kind = self.job.transfer.checksum;
        let mut info = info;
        if kind != ChecksumKind::None && info.checksum(kind).is_none() {
            let head = self.within("checksum", self.bucket.clone().head(&self.key.clone())).await?;
            info = head.ok().flatten().unwrap_or(info);
        }
        let name = kind.as_str();
        self.checks.push(match info.checksum(kind) {
            _ if kind == ChecksumKind::None => Check::warn(
                "checksum",
                "`checksum = \"none\"`: what arrived is proved by its MD5, or by reading it back",
                "use `[transfer] checksum = \"crc64nvme\"` where the server knows it",
            ),
            Some(_) => Check::ok("checksum", format!("the server shows the {name} of what it stored")),
            None => Check::fail(
                "checksum",
                format!("the server shows no {name} of what it stored, so nothing would prove that files arrive whole, and runs end"),
                "set `[transfer] checksum` to \"crc32c\" or \"sha256\", or to \"none\" if the server knows none",
            ),
        });
        Ok(())
    }

    async fn read(&mut self, bytes: &Bytes) -> Result<(), Hopeless> {
        let limit = bytes.len() as u64;
        let read = self.within("read", self.bucket.clone().read(&self.key.clone(), limit)).await?;
        self.checks.push(match read {
            Ok(Some(read)) if read == *bytes => Check::ok("read", "what was put can be read back"),
            Ok(_) => Check::fail(
                "read",
                format!("{} gives other bytes than were put there a moment ago", self.key),
                "look who else writes below the control prefix, and whether a cache lies in between",
            ),
            Err(error) if is_denied(&error) => Check::warn(
                "read",
                "these credentials may not read: `restore` and `verify` cannot work here, another machine under this name is not noticed, and AWS refuses to replace files that changed",
                self.right("s3:GetObject", false),
            ),
            Err(error) => Check::fail("read", error.to_line(), reach(&error)),
        });
        Ok(())
    }

    /// Whether conditions of writes are kept: by writing what they must refuse.
    async fn conditions(&mut self, control: &ObjectSettings) -> Result<(), Hopeless> {
        let new = self.put(control, &WriteCondition::New).await?;
        let replacing = self.put(control, &WriteCondition::Replaces(NO_ETAG.to_owned())).await?;
        let mend = "let no other program write below the prefix, or give this job a prefix of its own";
        let is_missing = |put: &Result<ObjectInfo, TransferError>| {
            put.as_ref().err().and_then(TransferError::service).is_some_and(ServiceError::is_not_implemented)
        };
        let refused = |put: &Result<ObjectInfo, TransferError>| {
            put.as_ref().err().is_some_and(TransferError::is_precondition)
        };
        self.checks.push(match (&new, &replacing) {
            _ if refused(&new) && refused(&replacing) => {
                Check::ok("conditions", "the server keeps If-None-Match and If-Match: nothing strange is overwritten")
            }
            _ if is_missing(&new) || is_missing(&replacing) => Check::warn(
                "conditions",
                "the server knows no conditional writes: each key is looked at before it is written, and what another program writes in between is overwritten",
                mend,
            ),
            (Ok(_), _) | (_, Ok(_)) => Check::warn(
                "conditions",
                "the server takes If-None-Match or If-Match and does not keep them: what another program wrote is overwritten unnoticed",
                mend,
            ),
            (_, Err(error)) if refused(&new) && is_denied(error) => Check::warn(
                "conditions",
                "files that changed cannot be replaced with If-Match by these credentials",
                self.right("s3:GetObject", false),
            ),
            (Err(error), _) => Check::warn("conditions", error.to_line(), mend),
        });
        Ok(())
    }

    async fn multipart(&mut self) -> Result<(), Hopeless> {
        // Abort is asked first, for an upload that is not there: without the right to abort none is begun.
        let key = self.key.clone();
        let abort = self.within("multipart", self.bucket.clone().abort_upload(&key, NO_UPLOAD)).await?;
        if abort.as_ref().is_err_and(is_denied) {
            self.checks.push(Check::warn(
                "multipart",
                "these credentials may not abort a multipart upload: parts of a large file that failed stay, and are paid for, until a lifecycle rule removes them. Nothing was begun here",
                self.right("s3:AbortMultipartUpload", false),
            ));
        } else {
            let (bytes, kind) = (self.bytes(), self.job.transfer.checksum);
            let bucket = self.bucket.clone();
            let trying = bucket.try_multipart(&key, bytes, kind, &self.job.objects);
            let tried = self.within("multipart", Box::pin(trying)).await?;
            self.checks.push(match tried {
                Ok(None) => Check::ok("multipart", "an upload in parts was begun, listed and aborted"),
                Ok(Some(error)) if is_denied(&error) => Check::warn(
                    "multipart",
                    "these credentials may not list the parts of an upload: a large file that was cut off is sent from its beginning",
                    self.right("s3:ListMultipartUploadParts", false),
                ),
                Ok(Some(error)) => Check::warn(
                    "multipart",
                    format!("a large file that is cut off would be sent from its beginning: {}", error.to_line()),
                    reach(&error),
                ),
                Err(error) => {
                    let message = format!("files of more than one part cannot be sent: {}", error.to_line());
                    Check::fail("multipart", message, self.right("s3:PutObject", false))
                }
            });
        }
        let open = self.within("uploads", self.bucket.clone().open_uploads(&key)).await?;
        self.checks.push(match open {
            Ok(_) => Check::ok("uploads", "open uploads can be found again"),
            Err(error) if is_denied(&error) => Check::warn(
                "uploads",
                "these credentials may not list open uploads: one whose beginning was not answered is not found again",
                self.right("s3:ListBucketMultipartUploads", true),
            ),
            Err(error) => Check::warn("uploads", error.to_line(), reach(&error)),
        });
        Ok(())
    }

    /// What the bucket is set to.
    async fn settings(&mut self) {
        let name = self.bucket.name().to_owned();
        let prefix = self.job.naming.destination().to_owned();
        let (versioning, lifecycle) = tokio::join!(self.bucket.versioning(), self.bucket.lifecycle(&prefix));
        self.checks.push(judge_versioning(versioning, &name));
        self.checks.push(judge_lifecycle(lifecycle, &name));
    }

    /// Removes what was written, as far as that is allowed; a run does not need the right to.
    async fn tidy(&mut self) {
        for version in std::mem::take(&mut self.written) {
            let removing = self.bucket.delete(&self.key, version.as_deref());
            if !matches!(tokio::time::timeout(LIMIT, removing).await, Ok(Ok(()))) {
                let left = format!("; {} stays there", self.key);
                let write = self.checks.iter_mut().find(|check| check.name == "write");
                if let Some(write) = write {
                    write.message.push_str(&left);
                }
                return;
            }
        }
    }

    /// One request that may take as long as a check; more than that, and the bucket is beyond hope.
    async fn within<T>(&mut self, name: &'static str, work: impl Future<Output = T>) -> Result<T, Hopeless> {
        let done = tokio::time::timeout(LIMIT, work).await;
        if done.is_err() {
            self.checks.push(no_answer(name));
        }
        done.map_err(|_| Hopeless)
    }

    async fn put(
        &mut self,
        settings: &ObjectSettings,
        condition: &WriteCondition,
    ) -> Result<Result<ObjectInfo, TransferError>, Hopeless> {
        self.put_bytes(self.bytes(), settings, condition).await
    }

    async fn put_bytes(
        &mut self,
        bytes: Bytes,
        settings: &ObjectSettings,
        condition: &WriteCondition,
    ) -> Result<Result<ObjectInfo, TransferError>, Hopeless> {
        let (bucket, key, kind) = (self.bucket.clone(), self.key.clone(), self.job.transfer.checksum);
        let put = self.within("write", bucket.try_put(&key, bytes, kind, settings, condition)).await?;
        if let Ok(info) = &put {
            // Without versions there is one object, however often it was written.
            if !self.written.contains(&info.version_id) {
                self.written.push(info.version_id.clone());
            }
        }
        Ok(put)
    }

    /// Different each time, so that what is read back is known to be what was just put.
    fn bytes(&self) -> Bytes {
        format!("written by `backup doctor` at {}, {:08x}\n", (self.job.clock)(), (self.job.random)()).into()
    }

    /// What to do when the object cannot be put. Which of several rights is missing shows when it is put without tags.
    async fn mend_of_write(&mut self, error: &TransferError, settings: &ObjectSettings) -> String {
        if !is_denied(error) {
            return reach(error).to_owned();
        }
        if !settings.tags.is_empty() {
            let untagged = ObjectSettings { tags: BTreeMap::new(), ..settings.clone() };
            if let Ok(Ok(_)) = self.put(&untagged, &WriteCondition::Always).await {
                return self.right("s3:PutObjectTagging", false);
            }
        }
        let mut mend = self.right("s3:PutObject", false);
        if settings.sse.is_some() {
            mend.push_str("; with KMS also kms:GenerateDataKey and kms:Decrypt on the key");
        }
        mend
    }

    /// Which right to give, and where.
    fn right(&self, action: &str, is_of_bucket: bool) -> String {
        let name = self.bucket.name();
        let below = match self.job.naming.destination() {
            _ if is_of_bucket => String::new(),
            "" => "/*".to_owned(),
            prefix => format!("/{prefix}/*"),
        };
        format!("allow {action} on arn:aws:s3:::{name}{below}")
    }
}

fn is_denied(error: &TransferError) -> bool {
    error.service().is_some_and(ServiceError::is_denied)
}

/// What to do about an error whose message does not say it already.
fn reach(error: &TransferError) -> &'static str {
    match error {
        TransferError::NoAnswer { .. } => "look at the endpoint, the network and the proxy",
        _ => "do what the message says, and ask again with `backup doctor`",
    }
}

/// What data objects are given, in words.
fn as_told(objects: &ObjectSettings) -> String {
    let mut given: Vec<String> = objects.storage_class.iter().cloned().collect();
    given.extend(objects.sse.as_ref().map(|_| "encryption".to_owned()));
    given.extend((!objects.tags.is_empty()).then(|| "tags".to_owned()));
    if given.is_empty() { String::new() } else { format!(", with {}", given.join(", ")) }
}

fn judge_versioning(versioning: Versioning, bucket: &str) -> Check {
    let mend = format!(
        "aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled"
    );
    match versioning {
        Versioning::Enabled => Check::ok("versioning", "the bucket keeps what is overwritten"),
        Versioning::Off => Check::warn(
            "versioning",
            "the bucket keeps nothing of what is overwritten: a file that was damaged here replaces its good copy",
            mend,
        ),
        Versioning::Unknown => Check::warn(
            "versioning",
            "it is not known whether the bucket keeps what is overwritten",
            format!("allow s3:GetBucketVersioning on arn:aws:s3:::{bucket}"),
        ),
    }
}

/// The rule that aborts uploads which nobody ends.
pub(super) const RULE: &str = r#"{"Rules":[{"ID":"abort-incomplete","Status":"Enabled","Filter":{},"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":7}}]}"#;

fn judge_lifecycle(lifecycle: Lifecycle, bucket: &str) -> Check {
    let put = format!(
        "aws s3api put-bucket-lifecycle-configuration --bucket {bucket} --lifecycle-configuration '{RULE}' (it replaces rules that are there: add to those)"
    );
    match lifecycle {
        Lifecycle::Aborts { days } => {
            Check::ok("lifecycle", format!("uploads that are never ended are aborted after {days} days"))
        }
        Lifecycle::Keeps => Check::warn(
            "lifecycle",
            "no rule aborts multipart uploads that are never ended: their parts are paid for and not to be seen",
            put,
        ),
        Lifecycle::Unknown(why) => Check::warn(
            "lifecycle",
            format!("it is not known whether uploads that are never ended are aborted: {why}"),
            format!("allow s3:GetLifecycleConfiguration, or make sure that there is a rule: {put}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    #[test]
    fn settings_of_the_bucket_warn_at_most() {
        assert_eq!(judge_versioning(Versioning::Enabled, "b").state, CheckState::Ok);
        let off = judge_versioning(Versioning::Off, "b");
        assert!(off.state == CheckState::Warn && off.mend.unwrap().contains("--bucket b"));
        let unknown = judge_versioning(Versioning::Unknown, "b");
        assert!(unknown.state == CheckState::Warn && unknown.mend.unwrap().contains("GetBucketVersioning"));
        assert_eq!(judge_lifecycle(Lifecycle::Aborts { days: 7 }, "b").state, CheckState::Ok);
        for lifecycle in [Lifecycle::Keeps, Lifecycle::Unknown("denied".to_owned())] {
            let check = judge_lifecycle(lifecycle, "b");
            assert!(check.state == CheckState::Warn && check.mend.unwrap().contains(RULE));
        }
        serde_json::from_str::<serde_json::Value>(RULE).unwrap();
    }

    #[test]
    fn what_data_is_given_is_said() {
        let mut objects = ObjectSettings::default();
        assert_eq!(as_told(&objects), "");
        objects.storage_class = Some("STANDARD_IA".to_owned());
        objects.tags.insert("team".to_owned(), "fleet".to_owned());
        assert_eq!(as_told(&objects), ", with STANDARD_IA, tags");
    }
}
