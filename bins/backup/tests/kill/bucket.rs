//! The bucket, as a stranger's client sees it.

use std::collections::{BTreeMap, HashMap};

use s3backup_core::aws_sdk_s3 as s3;
use s3backup_local_s3::LocalS3;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::tree::{Hash, Tree, hash};
use crate::{BUCKET, PREFIX};

/// What a listing says of an object.
type Label = (String, Option<s3::primitives::DateTime>, i64);

pub(crate) struct Bucket<'a> {
    runtime: &'a Runtime,
    client: s3::Client,
    labels: HashMap<String, Label>,
    /// Data objects by what comes behind the prefix.
    pub(crate) objects: BTreeMap<String, Hash>,
}

/// An unfinished upload.
pub(crate) struct Unfinished {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) bytes: u64,
}

impl<'a> Bucket<'a> {
    pub(crate) fn new(runtime: &'a Runtime, server: &LocalS3) -> Self {
        let credentials =
            s3::config::Credentials::new(server.access_key(), server.secret_key(), None, None, "test");
        let config = s3::Config::builder()
            .behavior_version_latest()
            .region(s3::config::Region::new(server.region().to_owned()))
            .endpoint_url(server.endpoint())
            .force_path_style(true)
            .credentials_provider(credentials)
            .build();
        let client = s3::Client::from_conf(config);
        Self { runtime, client, labels: HashMap::new(), objects: BTreeMap::new() }
    }

    fn list(&self, prefix: &str) -> Vec<(String, Label)> {
        let pages = self.client.list_objects_v2().bucket(BUCKET).prefix(prefix).into_paginator().send();
        let pages: Vec<_> = self.runtime.block_on(pages.try_collect()).unwrap();
        let objects = pages.into_iter().flat_map(|page| page.contents.unwrap_or_default());
        let label = |object: s3::types::Object| {
            let label =
                (object.e_tag.unwrap_or_default(), object.last_modified, object.size.unwrap_or_default());
            (object.key.unwrap(), label)
        };
        objects.map(label).collect()
    }

    pub(crate) fn read(&self, key: &str) -> Vec<u8> {
        self.runtime.block_on(async {
            let reply = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
            reply.body.collect().await.unwrap().to_vec()
        })
    }

    /// Looks at what is new, whether the source ever had it, and gives how many bytes that are.
    pub(crate) fn look(&mut self, tree: &Tree) -> u64 {
        let mut news = 0;
        let mut count = 0;
        for (key, label) in self.list(PREFIX) {
            let name = key.strip_prefix(PREFIX).unwrap().to_owned();
            if name.starts_with(".s3backup/") {
                continue;
            }
            count += 1;
            if self.labels.get(&key) == Some(&label) {
                continue;
            }
            let found = hash(&self.read(&key));
            let ever = tree.ever.get(name.as_str());
            assert!(
                ever.is_some_and(|ever| ever.contains(&found)),
                "{key} is torn: no file was ever like it"
            );
            if self.objects.insert(name, found) != Some(found) {
                news += u64::try_from(label.2).unwrap();
            }
            self.labels.insert(key, label);
        }
        assert_eq!(count, self.objects.len(), "objects vanished");
        news
    }

    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        self.runtime.block_on(async {
            let listed = self.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
            let mut found = Vec::new();
            for upload in listed.uploads() {
                let (key, id) = (upload.key().unwrap(), upload.upload_id().unwrap());
                let parts =
                    self.client.list_parts().bucket(BUCKET).key(key).upload_id(id).send().await.unwrap();
                let bytes =
                    parts.parts().iter().map(|part| u64::try_from(part.size().unwrap()).unwrap()).sum();
                let key = key.strip_prefix(PREFIX).unwrap().to_owned();
                found.push(Unfinished { key, id: id.to_owned(), bytes });
            }
            found
        })
    }

    /// The state that the manifests say, by key: what anybody who has the bucket alone can fold.
    pub(crate) fn state(&self) -> BTreeMap<String, Value> {
        let mut state = BTreeMap::new();
        // Run ids, and the numbers of the few segments that there are, sort as text.
        for (key, _) in self.list(&format!("{PREFIX}.s3backup/{}/{}/manifests/", crate::JOB, crate::HOST)) {
            let text = String::from_utf8(zstd::decode_all(self.read(&key).as_slice()).unwrap()).unwrap();
            for line in text.lines().skip(1) {
                let line: Value = serde_json::from_str(line).unwrap();
                let key = line["key"].as_str().unwrap().strip_prefix(PREFIX).unwrap().to_owned();
                match line["op"].as_str().unwrap() {
                    "gone" => state.remove(&key),
                    _ => state.insert(key, line),
                };
            }
        }
        state
    }

    /// The ETags of the data objects, by what comes behind the prefix.
    pub(crate) fn etag(&self, name: &str) -> &str {
        self.labels[&format!("{PREFIX}{name}")].0.trim_matches('"')
    }
}
