//! The operations of S3, one method each, over the store.

mod attributes;
mod buckets;
mod convert;
mod copy;
mod listings;
mod multiparts;
mod objects;
mod tagging;

use std::path::Path;
use std::sync::Arc;

use http::{Extensions, HeaderMap};
#[allow(clippy::wildcard_imports)] // three types an operation
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::checksum::Checksum;
use crate::conditions::WriteConditions;
use crate::receive::Declared;
use crate::store::Store;

/// The S3 service.
#[derive(Debug)]
pub(crate) struct Service {
    store: Arc<Store>,
    region: String,
}

impl Service {
    pub(crate) fn new(store: Arc<Store>, region: String) -> Self {
        Self { store, region }
    }

    fn blobs(&self) -> &Arc<Path> {
        self.store.blobs()
    }
}

/// In what a request is to be answered as a lesser server would; put there by the fault layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quirks {
    /// Conditions on writes are not looked at.
    pub(crate) no_conditions: bool,
    /// Checksums beside the MD5 are neither checked nor kept nor told.
    pub(crate) no_checksums: bool,
    /// Checksums are told wrong; what is stored is right.
    pub(crate) wrong_checksums: bool,
}

impl Quirks {
    fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// The conditions that are looked at.
    fn conditions(self, conditions: WriteConditions) -> WriteConditions {
        if self.no_conditions { WriteConditions::default() } else { conditions }
    }

    /// What is read of what a client declares about a body.
    fn declared(self, headers: &HeaderMap) -> S3Result<Declared> {
        if self.no_checksums { Declared::md5_from_headers(headers) } else { Declared::from_headers(headers) }
    }

    /// The checksum that is told.
    fn told(self, checksum: Option<&Checksum>) -> Option<Checksum> {
        match checksum {
            Some(checksum) if self.wrong_checksums => Some(checksum.altered()),
            Some(checksum) if !self.no_checksums => Some(checksum.clone()),
            _ => None,
        }
    }
}

/// The keys of a `DeleteObjects` that are to fail, each by itself; put there by the fault layer. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailingKeys(Vec<String>);

impl FailingKeys {
    fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Adds the keys with `part` in them.
    pub(crate) fn add(&mut self, part: &str) {
        self.0.push(part.to_owned());
    }

    fn check(&self, key: &str) -> S3Result<()> {
        if self.0.iter().any(|part| key.contains(part.as_str())) {
            return Err(s3_error!(InternalError, "This error was injected."));
        }
        Ok(())
    }
}

/// Declares the methods of the trait, each handed on to the method of the same name and request: those that wait for
/// something (a body, a blocking thread), and those that only look into the index.
macro_rules! operations {
    (
        waiting { $($waiting:ident($waiting_input:ty) -> $waiting_output:ty;)* }
        looking { $($looking:ident($looking_input:ty) -> $looking_output:ty;)* }
    ) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(
                async fn $waiting(
                    &self,
                    req: S3Request<$waiting_input>,
                ) -> S3Result<S3Response<$waiting_output>> {
                    Service::$waiting(self, req).await.map(S3Response::new)
                }
            )*
            $(
                async fn $looking(
                    &self,
                    req: S3Request<$looking_input>,
                ) -> S3Result<S3Response<$looking_output>> {
                    Service::$looking(self, &req).map(S3Response::new)
                }
            )*
        }
    };
}

operations! {
    waiting {
        create_bucket(CreateBucketInput) -> CreateBucketOutput;
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
        put_object(PutObjectInput) -> PutObjectOutput;
        get_object(GetObjectInput) -> GetObjectOutput;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
        copy_object(CopyObjectInput) -> CopyObjectOutput;
        put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput;
        delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput;
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
        upload_part(UploadPartInput) -> UploadPartOutput;
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    }
    looking {
        head_bucket(HeadBucketInput) -> HeadBucketOutput;
        list_buckets(ListBucketsInput) -> ListBucketsOutput;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
        get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
        get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
            -> GetBucketLifecycleConfigurationOutput;
        get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput;
        get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput;
        list_objects(ListObjectsInput) -> ListObjectsOutput;
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
        list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput;
        head_object(HeadObjectInput) -> HeadObjectOutput;
        get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput;
        get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput;
        list_parts(ListPartsInput) -> ListPartsOutput;
        list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
    }
}
