//! Which operation a request asks for.

use std::fmt;

use http::{HeaderMap, Method, Uri};

use crate::text::{form_pairs, url_decode};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// An operation of S3, for [`Fault::on`](crate::Fault::on) and [`Stats`](crate::Stats).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in the API reference of S3, such as `PutObject`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    /// The buckets of the account.
    ListBuckets,
    /// A new bucket.
    CreateBucket,
    /// Whether a bucket is there.
    HeadBucket,
    /// Removes an empty bucket.
    DeleteBucket,
    /// The region of a bucket.
    GetBucketLocation,
    /// Whether a bucket keeps old versions.
    GetBucketVersioning,
    /// The lifecycle rules of a bucket.
    GetBucketLifecycleConfiguration,
    /// The first version of LIST.
    ListObjects,
    /// The second version of LIST.
    ListObjectsV2,
    /// LIST with old versions.
    ListObjectVersions,
    /// An object at once.
    PutObject,
    /// The bytes of an object.
    GetObject,
    /// What is known of an object, without its bytes.
    HeadObject,
    /// Removes an object.
    DeleteObject,
    /// Removes up to 1,000 objects.
    DeleteObjects,
    /// An object from another.
    CopyObject,
    /// Checksums, parts and size of an object.
    GetObjectAttributes,
    /// The tags of an object.
    GetObjectTagging,
    /// Replaces the tags of an object.
    PutObjectTagging,
    /// Removes the tags of an object.
    DeleteObjectTagging,
    /// Opens a multipart upload.
    CreateMultipartUpload,
    /// A part of an upload.
    UploadPart,
    /// Makes the parts an object.
    CompleteMultipartUpload,
    /// Throws the parts away.
    AbortMultipartUpload,
    /// The parts of an open upload.
    ListParts,
    /// The open uploads of a bucket.
    ListMultipartUploads,
    /// Anything else.
    Other,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A request in the terms of S3.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) operation: Operation,
    /// Of a listing the prefix. Empty if the request names neither.
    pub(crate) key: String,
}

impl Target {
    /// Reads the request line and headers of a path-style request.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = uri.path().strip_prefix('/').unwrap_or_default();
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = uri.query().unwrap_or_default();
        let operation = match (bucket, key) {
            ("", _) if method == Method::GET => Operation::ListBuckets,
            ("", _) => Operation::Other,
            (_, "") => of_bucket(method, query),
            _ => of_object(method, query, headers),
        };
        let is_listing = matches!(
            operation,
            Operation::ListObjects
                | Operation::ListObjectsV2
                | Operation::ListObjectVersions
                | Operation::ListMultipartUploads
        );
        let prefix = || form_pairs(query).find_map(|(name, value)| (name == "prefix").then_some(value));
        let key = if is_listing { prefix().unwrap_or_default() } else { url_decode(key) };
        Self { operation, key }
    }
}

fn has(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}

/// What a sub-resource of a bucket or object, such as `?tagging`, makes of a request.
const SUB_RESOURCES: [&str; 13] = [
    "acl",
    "cors",
    "encryption",
    "legal-hold",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "policy",
    "retention",
    "restore",
    "select",
    "torrent",
];

fn of_bucket(method: &Method, query: &str) -> Operation {
    let has = |name| has(query, name);
    match *method {
        Method::GET if has("location") => Operation::GetBucketLocation,
        Method::GET if has("versioning") => Operation::GetBucketVersioning,
        Method::GET if has("lifecycle") => Operation::GetBucketLifecycleConfiguration,
        Method::GET if has("uploads") => Operation::ListMultipartUploads,
        Method::GET if has("versions") => Operation::ListObjectVersions,
        Method::POST if has("delete") => Operation::DeleteObjects,
        _ if has("versioning") || has("tagging") || SUB_RESOURCES.into_iter().any(has) => Operation::Other,
        Method::GET if has("list-type") => Operation::ListObjectsV2,
        Method::GET => Operation::ListObjects,
        Method::HEAD => Operation::HeadBucket,
        Method::PUT => Operation::CreateBucket,
        Method::DELETE => Operation::DeleteBucket,
        _ => Operation::Other,
    }
}

fn of_object(method: &Method, query: &str, headers: &HeaderMap) -> Operation {
    let has = |name| has(query, name);
    match *method {
        Method::GET if has("tagging") => Operation::GetObjectTagging,
        Method::PUT if has("tagging") => Operation::PutObjectTagging,
        Method::DELETE if has("tagging") => Operation::DeleteObjectTagging,
        Method::GET if has("attributes") => Operation::GetObjectAttributes,
        Method::GET if has("uploadId") => Operation::ListParts,
        Method::POST if has("uploads") => Operation::CreateMultipartUpload,
        Method::POST if has("uploadId") => Operation::CompleteMultipartUpload,
        Method::DELETE if has("uploadId") => Operation::AbortMultipartUpload,
        _ if SUB_RESOURCES.into_iter().any(has) => Operation::Other,
        Method::PUT if has("uploadId") && headers.contains_key("x-amz-copy-source") => Operation::Other,
        Method::PUT if has("uploadId") => Operation::UploadPart,
        Method::PUT if headers.contains_key("x-amz-copy-source") => Operation::CopyObject,
        Method::PUT => Operation::PutObject,
        Method::GET => Operation::GetObject,
        Method::HEAD => Operation::HeadObject,
        Method::DELETE => Operation::DeleteObject,
        _ => Operation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let cases = [
            ("GET", "/", Operation::ListBuckets, ""),
            ("PUT", "/b", Operation::CreateBucket, ""),
            ("HEAD", "/b/", Operation::HeadBucket, ""),
            ("GET", "/b?list-type=2&prefix=x", Operation::ListObjectsV2, "x"),
            ("GET", "/b/?prefix=uploads", Operation::ListObjects, "uploads"),
            ("GET", "/b?uploads", Operation::ListMultipartUploads, ""),
            ("GET", "/b?uploads&prefix=a%20b%2F", Operation::ListMultipartUploads, "a b/"),
            ("POST", "/b?delete", Operation::DeleteObjects, ""),
            ("GET", "/b?lifecycle", Operation::GetBucketLifecycleConfiguration, ""),
            ("PUT", "/b?lifecycle", Operation::Other, ""),
            ("GET", "/b?policy", Operation::Other, ""),
            ("PUT", "/b/a%20b/c+d?x-id=PutObject", Operation::PutObject, "a b/c+d"),
            ("PUT", "/b/k?partNumber=1&uploadId=2", Operation::UploadPart, "k"),
            ("POST", "/b/k?uploads=", Operation::CreateMultipartUpload, "k"),
            ("POST", "/b/k?uploadId=2", Operation::CompleteMultipartUpload, "k"),
            ("DELETE", "/b/k?uploadId=2", Operation::AbortMultipartUpload, "k"),
            ("GET", "/b/k?uploadId=2", Operation::ListParts, "k"),
            ("GET", "/b/k?attributes", Operation::GetObjectAttributes, "k"),
            ("DELETE", "/b//", Operation::DeleteObject, "/"),
        ];
        for (method, uri, operation, key) in cases {
            let target = Target::of(&method.parse().unwrap(), &uri.parse().unwrap(), &HeaderMap::default());
            assert_eq!((target.operation, target.key.as_str()), (operation, key), "{method} {uri}");
        }
    }
}
