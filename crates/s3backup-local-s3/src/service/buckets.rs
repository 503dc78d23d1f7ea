//! Buckets.

use http::StatusCode;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, HeadBucketInput, HeadBucketOutput,
    ListBucketsInput, ListBucketsOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::Service;
use crate::journal::Record;
use crate::object::timestamp;
use crate::receive::blocking;
use crate::store::{find_bucket, other_error};

/// The region whose buckets S3 reports without a location.
const REGION_WITHOUT_NAME: &str = "us-east-1";

impl Service {
    pub(super) async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<CreateBucketOutput> {
        let bucket = req.input.bucket;
        let location = format!("/{bucket}");
        let store = self.store.clone();
        blocking(move || {
            store.change(|index| {
                if index.buckets.contains_key(&bucket) {
                    return Err(s3_error!(
                        BucketAlreadyOwnedByYou,
                        "Your previous request to create the named bucket succeeded and you already own it."
                    ));
                }
                Ok(Some(Record::CreateBucket { bucket, created: store.now() }))
            })
        })
        .await?;
        Ok(CreateBucketOutput { location: Some(location) })
    }

    pub(super) fn head_bucket(&self, req: &S3Request<HeadBucketInput>) -> S3Result<HeadBucketOutput> {
        self.must_exist(&req.input.bucket)?;
        Ok(HeadBucketOutput { bucket_region: Some(self.region.clone()), ..HeadBucketOutput::default() })
    }

    #[expect(clippy::unnecessary_wraps, reason = "all operations have one shape")]
    pub(super) fn list_buckets(&self, req: &S3Request<ListBucketsInput>) -> S3Result<ListBucketsOutput> {
        let prefix = req.input.prefix.clone();
        let has_prefix = |name: &str| prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()));
        let bucket = |(name, bucket): (&String, &crate::index::Bucket)| Bucket {
            bucket_region: Some(self.region.clone()),
            creation_date: Some(timestamp(bucket.created)),
            name: Some(name.clone()),
        };
        let buckets = self
            .store
            .read(|index| index.buckets.iter().filter(|(name, _)| has_prefix(name)).map(bucket).collect());
        Ok(ListBucketsOutput { buckets: Some(buckets), prefix, ..ListBucketsOutput::default() })
    }

    pub(super) async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<DeleteBucketOutput> {
        let bucket = req.input.bucket;
        let store = self.store.clone();
        blocking(move || {
            store.change(|index| {
                if !find_bucket(index, &bucket)?.objects.is_empty() {
                    return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty"));
                }
                Ok(Some(Record::DeleteBucket { bucket }))
            })
        })
        .await?;
        Ok(DeleteBucketOutput::default())
    }

    pub(super) fn get_bucket_location(
        &self,
        req: &S3Request<GetBucketLocationInput>,
    ) -> S3Result<GetBucketLocationOutput> {
        self.must_exist(&req.input.bucket)?;
        let named = self.region != REGION_WITHOUT_NAME;
        let location_constraint = named.then(|| BucketLocationConstraint::from(self.region.clone()));
        Ok(GetBucketLocationOutput { location_constraint })
    }

    /// Versioning is never enabled, which S3 says by saying nothing.
    pub(super) fn get_bucket_versioning(
        &self,
        req: &S3Request<GetBucketVersioningInput>,
    ) -> S3Result<GetBucketVersioningOutput> {
        self.must_exist(&req.input.bucket)?;
        Ok(GetBucketVersioningOutput::default())
    }

    pub(super) fn get_bucket_lifecycle_configuration(
        &self,
        req: &S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<GetBucketLifecycleConfigurationOutput> {
        self.must_exist(&req.input.bucket)?;
        Err(s3_error!(NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"))
    }

    pub(super) fn get_object_lock_configuration(
        &self,
        req: &S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<GetObjectLockConfigurationOutput> {
        self.must_exist(&req.input.bucket)?;
        Err(other_error(
            StatusCode::NOT_FOUND,
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
        ))
    }

    pub(super) fn get_bucket_encryption(
        &self,
        req: &S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<GetBucketEncryptionOutput> {
        self.must_exist(&req.input.bucket)?;
        Err(other_error(
            StatusCode::NOT_FOUND,
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        ))
    }

    pub(super) fn must_exist(&self, bucket: &str) -> S3Result<()> {
        self.store.read_bucket(bucket, |_| Ok(()))
    }
}
