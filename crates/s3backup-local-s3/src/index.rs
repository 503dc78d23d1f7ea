//! All that the server knows, in memory and in order: buckets, objects, open uploads.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::blob::Blob;
use crate::journal::Record;
use crate::object::{Object, Upload};

/// A key, ordered by its bytes as LIST wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Arc<str>);

impl Key {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(key.into())
    }
}

// A range may begin at bytes that are not UTF-8: the successor of a prefix.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) objects: BTreeMap<Key, Arc<Object>>,
    /// By upload id.
    pub(crate) uploads: BTreeMap<String, Upload>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) buckets: BTreeMap<String, Bucket>,
}

impl Index {
    /// Makes a change, and gives the blobs that nothing refers to any more.
    ///
    /// A record for what is not there changes nothing: the caller has checked, or it comes from a damaged journal.
    pub(crate) fn apply(&mut self, record: Record) -> Vec<Arc<Blob>> {
        match record {
            Record::Format { .. } => Vec::new(),
            Record::CreateBucket { bucket, created } => {
                self.buckets.entry(bucket).or_insert_with(|| Bucket { created, ..Bucket::default() });
                Vec::new()
            }
            Record::DeleteBucket { bucket } => {
                let bucket = self.buckets.remove(&bucket).unwrap_or_default();
                let uploads = bucket.uploads.into_values().flat_map(blobs_of_upload);
                let objects = bucket.objects.into_values().flat_map(|object| blobs_of_object(&object));
                uploads.chain(objects).collect()
            }
            Record::PutObject { bucket, key, object } => self.put(&bucket, &key, &object),
            Record::DeleteObject { bucket, key } => {
                let object = self.bucket(&bucket).and_then(|bucket| bucket.objects.remove(key.as_bytes()));
                object.map(|object| blobs_of_object(&object)).unwrap_or_default()
            }
            Record::StartUpload { bucket, upload } => {
                if let Some(bucket) = self.bucket(&bucket) {
                    bucket.uploads.insert(upload.id.clone(), *upload);
                }
                Vec::new()
            }
            Record::PutPart { bucket, upload_id, part } => {
                let upload = self.bucket(&bucket).and_then(|bucket| bucket.uploads.get_mut(&upload_id));
                let replaced = upload.and_then(|upload| upload.parts.insert(part.number, part));
                replaced.into_iter().map(|part| part.blob).collect()
            }
            Record::AbortUpload { bucket, upload_id } => {
                let upload = self.bucket(&bucket).and_then(|bucket| bucket.uploads.remove(&upload_id));
                upload.map(|upload| blobs_of_upload(upload).collect()).unwrap_or_default()
            }
            Record::CompleteUpload { bucket, upload_id, object } => {
                let Some(upload) = self.bucket(&bucket).and_then(|found| found.uploads.remove(&upload_id))
                else {
                    return Vec::new();
                };
                let mut unused = self.put(&bucket, &upload.key, &object);
                // Parts that were sent and not listed are thrown away, as S3 does.
                unused.extend(not_in(&object, blobs_of_upload(upload)));
                unused
            }
        }
    }

    fn bucket(&mut self, name: &str) -> Option<&mut Bucket> {
        self.buckets.get_mut(name)
    }

    fn put(&mut self, bucket: &str, key: &str, object: &Arc<Object>) -> Vec<Arc<Blob>> {
        let Some(bucket) = self.bucket(bucket) else { return Vec::new() };
        match bucket.objects.insert(Key::from(key), Arc::clone(object)) {
            // New tags on the same bytes keep the blobs.
            Some(old) => not_in(object, blobs_of_object(&old)),
            None => Vec::new(),
        }
    }

    /// The records that make this index from nothing.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.buckets.iter().flat_map(|(name, bucket)| {
            let create = Record::CreateBucket { bucket: name.clone(), created: bucket.created };
            let objects = bucket.objects.iter().map(|(key, object)| Record::PutObject {
                bucket: name.clone(),
                key: key.as_str().to_owned(),
                object: Arc::clone(object),
            });
            let uploads = bucket
                .uploads
                .values()
                .map(|upload| Record::StartUpload { bucket: name.clone(), upload: Box::new(upload.clone()) });
            std::iter::once(create).chain(objects).chain(uploads)
        })
    }

    /// How many records [`records`](Self::records) gives.
    pub(crate) fn record_count(&self) -> usize {
        self.buckets.values().map(|bucket| 1 + bucket.objects.len() + bucket.uploads.len()).sum()
    }

    /// The ids of all blobs in use.
    pub(crate) fn blob_ids(&self) -> impl Iterator<Item = u128> {
        self.buckets.values().flat_map(|bucket| {
            let objects = bucket.objects.values().flat_map(|object| &object.pieces);
            let parts = bucket.uploads.values().flat_map(|upload| upload.parts.values());
            objects.map(|piece| piece.blob.id()).chain(parts.map(|part| part.blob.id()))
        })
    }
}

/// Those of `blobs` that the object does not use.
fn not_in(object: &Object, blobs: impl IntoIterator<Item = Arc<Blob>>) -> Vec<Arc<Blob>> {
    let used: HashSet<u128> = object.pieces.iter().map(|piece| piece.blob.id()).collect();
    blobs.into_iter().filter(|blob| !used.contains(&blob.id())).collect()
}

fn blobs_of_object(object: &Object) -> Vec<Arc<Blob>> {
    object.pieces.iter().map(|piece| Arc::clone(&piece.blob)).collect()
}

fn blobs_of_upload(upload: Upload) -> impl Iterator<Item = Arc<Blob>> {
    upload.parts.into_values().map(|part| part.blob)
}
