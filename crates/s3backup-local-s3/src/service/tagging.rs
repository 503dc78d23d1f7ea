//! Tags of objects.

use std::sync::Arc;

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Result, s3_error};

use super::Service;
use super::convert::check_tags;
use crate::journal::Record;
use crate::object::Object;
use crate::receive::blocking;
use crate::store::{check_version, find_bucket};

impl Service {
    pub(super) fn get_object_tagging(
        &self,
        req: &S3Request<GetObjectTaggingInput>,
    ) -> S3Result<GetObjectTaggingOutput> {
        let input = &req.input;
        let object = self.store.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        let tag =
            |(key, value): &(String, String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
        let tag_set = object.attributes.tags.iter().map(tag).collect();
        Ok(GetObjectTaggingOutput { tag_set, version_id: None })
    }

    pub(super) async fn put_object_tagging(
        &self,
        req: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<PutObjectTaggingOutput> {
        let input = req.input;
        let pair = |tag: Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let tags = check_tags(input.tagging.tag_set.into_iter().map(pair).collect())?;
        check_version(input.version_id.as_deref())?;
        self.set_tags(input.bucket, input.key, tags).await?;
        Ok(PutObjectTaggingOutput::default())
    }

    pub(super) async fn delete_object_tagging(
        &self,
        req: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<DeleteObjectTaggingOutput> {
        check_version(req.input.version_id.as_deref())?;
        self.set_tags(req.input.bucket, req.input.key, Vec::new()).await?;
        Ok(DeleteObjectTaggingOutput::default())
    }

    async fn set_tags(&self, bucket: String, key: String, tags: Vec<(String, String)>) -> S3Result<()> {
        let store = Arc::clone(&self.store);
        blocking(move || {
            store.change(|index| {
                let current = find_bucket(index, &bucket)?.objects.get(key.as_bytes());
                let mut object = Object::clone(current.ok_or_else(|| s3_error!(NoSuchKey))?);
                object.attributes.tags = tags;
                Ok(Some(Record::PutObject { bucket, key, object: Arc::new(object) }))
            })
        })
        .await
    }
}
