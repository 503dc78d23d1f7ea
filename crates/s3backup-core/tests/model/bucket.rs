//! The bucket, as any other program sees it and as accidents leave it.

use std::collections::BTreeMap;

use s3backup_core::aws_sdk_s3::Client;

use crate::bench::{BUCKET, Bench};

/// Where copies of the bucket are.
const COPY: &str = "copy";

/// Below which everything is.
const PREFIX: &str = "trips/";

pub(crate) struct Bucket {
    client: Client,
}

/// Bytes of the files, by the part of their keys below the prefix.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

impl Bucket {
    pub(crate) async fn new(bench: &Bench) -> Self {
        let client = bench.client();
        client.create_bucket().bucket(COPY).send().await.unwrap();
        Self { client }
    }

    pub(crate) async fn files(&self) -> Objects {
        let mut files = Objects::new();
        for key in self.keys(BUCKET).await.into_iter().filter(|key| !is_control(key)) {
            let reply = self.client.get_object().bucket(BUCKET).key(&key).send().await.unwrap();
            let bytes = reply.body.collect().await.unwrap().to_vec();
            files.insert(key.strip_prefix(PREFIX).unwrap().to_owned(), bytes);
        }
        files
    }

    pub(crate) async fn save(&self) {
        self.remove(COPY, |_| true).await;
        self.copy(BUCKET, COPY).await;
    }

    pub(crate) async fn roll_back(&self) {
        self.empty().await;
        self.copy(COPY, BUCKET).await;
    }

    pub(crate) async fn empty(&self) {
        self.remove(BUCKET, |_| true).await;
    }

    pub(crate) async fn lose_control_data(&self) {
        self.remove(BUCKET, is_control).await;
    }

    pub(crate) async fn lose(&self, name: &str) {
        self.remove(BUCKET, |key| key.strip_prefix(PREFIX) == Some(name)).await;
    }

    async fn keys(&self, bucket: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut pages = self.client.list_objects_v2().bucket(bucket).into_paginator().send();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        keys
    }

    async fn remove(&self, bucket: &str, is_meant: impl Fn(&str) -> bool) {
        for key in self.keys(bucket).await.into_iter().filter(|key| is_meant(key)) {
            self.client.delete_object().bucket(bucket).key(key).send().await.unwrap();
        }
    }

    async fn copy(&self, from: &str, to: &str) {
        for key in self.keys(from).await {
            let source = format!("{from}/{}", encoded(&key));
            self.client.copy_object().bucket(to).key(&key).copy_source(source).send().await.unwrap();
        }
    }
}

fn is_control(key: &str) -> bool {
    key.contains("/.s3backup/")
}

/// As the header of a copy wants it.
fn encoded(key: &str) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
    }
    text
}
