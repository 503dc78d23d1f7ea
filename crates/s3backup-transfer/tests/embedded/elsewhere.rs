//! What the environment says of the way to the server and of who asks.
//!
//! A process cannot change its own environment safely, so each test here starts [`sends_two_files`] in one of its own.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use s3backup_local_s3::{Fault, FaultKind, LocalS3, Operation};
use s3backup_transfer::{Bucket, ConnectOptions, Engine, HttpPath, RetrySettings, StaticCredentials};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::by_hand::{ByHand, Log, Request, over, pass_on};
use crate::common::{PART, Store, noise, objects, quick, run, settings, upload};

/// Tells the process where to send to.
const ENDPOINT: &str = "TEST_ENDPOINT";

/// Tells the process to try only once.
const ONCE: &str = "TEST_ONCE";

/// What lines begin with that the process says to the test.
const SAYS: &str = "says: ";

/// A name that only a proxy can find.
const NAME: &str = "storage.invalid";

/// Sends a small and a large file as the environment says, and says what came of each. By itself it sends them to a
/// server of its own.
#[tokio::test]
async fn sends_two_files() {
    let endpoint = env::var(ENDPOINT).ok();
    let store = match &endpoint {
        Some(_) => None,
        None => Some(Store::embedded().await),
    };
    let server = store.as_ref().map(Store::server);
    let options = ConnectOptions {
        bucket: "bucket".to_owned(),
        endpoint: endpoint.or_else(|| server.map(LocalS3::endpoint)),
        credentials: server.map(|server| StaticCredentials::new(server.access_key(), server.secret_key())),
        http: crate::HTTP,
        ..ConnectOptions::default()
    };
    let mut bucket = match Bucket::connect(&options).await {
        Ok(bucket) => bucket.with_retry(quick()),
        Err(error) => return println!("{SAYS}connect {:?} {}", error.kind(), error.to_line()),
    };
    if env::var_os(ONCE).is_some() {
        bucket = bucket.with_retry(RetrySettings { attempts: 1, ..quick() });
    }
    let folder = tempfile::tempdir().unwrap();
    let uploads = [("small", noise(1, 100)), ("large", noise(2, PART + 1))]
        .map(|(name, bytes)| upload(folder.path(), name, name, &bytes));
    for done in run(Engine::new(bucket, settings(), objects("run-1")), uploads.to_vec()).await.done {
        match done.result {
            Ok(_) => println!("{SAYS}{} ok", done.upload.key),
            Err(error) => {
                assert!(server.is_none(), "{error:?}");
                println!("{SAYS}{} {:?} {}", done.upload.key, error.kind(), error.to_line());
            }
        }
    }
}

/// What such a process says, sorted.
async fn said_in(store: &Store, endpoint: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "elsewhere::sends_two_files", "--nocapture"])
        .env_clear()
        .env("HOME", store.folder.path())
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", store.server().access_key())
        .env("AWS_SECRET_ACCESS_KEY", store.server().secret_key())
        .env(ENDPOINT, endpoint);
    for (name, value) in variables {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let said = out.lines().filter_map(|line| Some(line.split_once(SAYS)?.1.to_owned()));
    let mut said: Vec<String> = said.collect();
    said.sort();
    assert!(output.status.success() && !said.is_empty(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

const BOTH: [&str; 2] = ["large ok", "small ok"];

fn address_of(store: &Store) -> SocketAddr {
    store.server().endpoint().trim_start_matches("http://").parse().unwrap()
}

/// The uploads of bytes among what was seen.
fn puts(seen: &[Request]) -> Vec<&Request> {
    let puts: Vec<_> = seen.iter().filter(|request| request.is("PUT")).collect();
    assert_eq!(puts.len(), 3, "the small file and two parts");
    puts
}

/// A server behind TLS, with a certificate of its own in `ca.pem` of the store's folder.
fn behind_tls(store: &Store) -> (ByHand, String) {
    let names = ["127.0.0.1".to_owned(), NAME.to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let der = made.cert.der().clone();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(&der));
    let path = store.path("ca.pem");
    std::fs::write(&path, pem).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![der], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let behind = address_of(store);
    let server = ByHand::listen(move |line, log| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(line.stream).await {
                let _ = pass_on(over(stream), log, behind).await;
            }
        }
    });
    (server, path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_bundle_of_certificates_is_trusted() {
    let store = Store::embedded().await;
    let (server, bundle) = behind_tls(&store);
    let url = format!("https://{}", server.address);
    let said = said_in(&store, &url, &[("AWS_CA_BUNDLE", &bundle)]).await;
    assert_eq!(said, BOTH);
    assert!(store.get("large").await.unwrap() == noise(2, PART + 1));
    for request in puts(&server.seen()) {
        if crate::HTTP == HttpPath::Fast {
            assert_eq!(request.said("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
        }
        assert!(request.said("authorization").contains("x-amz-checksum-crc64nvme"), "{request:?}");
        request.said("x-amz-checksum-crc64nvme");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted() {
    let store = Store::embedded().await;
    let (server, _) = behind_tls(&store);
    let url = format!("https://{}", server.address);
    let said = said_in(&store, &url, &[(ONCE, "1")]).await;
    assert_eq!(said.len(), 2, "{said:?}");
    for line in &said {
        let line = line.split_once(' ').unwrap().1;
        assert!(line.starts_with("Network no answer to ") && line.contains("certificate"), "{line}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_bundle_that_cannot_be_used() {
    let store = Store::embedded().await;
    let missing = store.path("missing.pem").to_str().unwrap().to_owned();
    let other = store.path("other.pem").to_str().unwrap().to_owned();
    std::fs::write(&other, "this is no certificate").unwrap();
    let broken = store.path("broken.pem").to_str().unwrap().to_owned();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    for bundle in [&missing, &other, &broken] {
        let said = said_in(&store, "https://127.0.0.1:9", &[("AWS_CA_BUNDLE", bundle)]).await;
        let begins = format!("connect Network cannot use the certificates in {bundle}, which AWS_CA_BUNDLE names: ");
        assert!(said.len() == 1 && said[0].starts_with(&begins), "{said:?}");
        assert!(said[0].ends_with(". Name a file in PEM format, or none"), "{said:?}");
    }
}

/// A proxy that makes every request at the server of `store`, whatever the URL.
fn forward_proxy(store: &Store) -> ByHand {
    ByHand::tap(address_of(store))
}

#[tokio::test]
async fn a_proxy_for_plain_http() {
    let store = Store::embedded().await;
    let proxy = forward_proxy(&store);
    let with_user = format!("http://user:p%40ss@{}", proxy.address);
    let said = said_in(&store, &format!("http://{NAME}"), &[("HTTP_PROXY", &with_user)]).await;
    assert_eq!(said, BOTH);
    for request in puts(&proxy.seen()) {
        assert!(request.line.starts_with(&format!("PUT http://{NAME}/bucket/")), "{}", request.line);
        assert_eq!(request.said("proxy-authorization"), format!("Basic {}", BASE64.encode("user:p@ss")));
        assert_eq!(request.said("host"), NAME);
        // It leaves this machine in the clear.
        let hash = request.said("x-amz-content-sha256");
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }
}

#[tokio::test]
async fn loopback_behind_a_proxy_is_not_this_machine() {
    let store = Store::embedded().await;
    let proxy = forward_proxy(&store);
    let said = said_in(&store, &store.server().endpoint(), &[("HTTP_PROXY", &proxy.url())]).await;
    assert_eq!(said, BOTH);
    for request in puts(&proxy.seen()) {
        assert_eq!(request.said("x-amz-content-sha256").len(), 64, "{request:?}");
        assert_eq!(request.field("proxy-authorization"), None);
    }
}

#[tokio::test]
async fn no_proxy_for_some_hosts() {
    let store = Store::embedded().await;
    let proxy = forward_proxy(&store);
    let variables = [("HTTP_PROXY", &*proxy.url()), ("NO_PROXY", "example.com,127.0.0.1")];
    assert_eq!(said_in(&store, &store.server().endpoint(), &variables).await, BOTH);
    assert_eq!(proxy.connections(), 0);
}

/// A proxy that answers each wish for a tunnel with `answer`, and then is one to `behind`.
fn tunnel(answer: &'static str, behind: SocketAddr) -> ByHand {
    ByHand::listen(move |mut line, log: Log| async move {
        let Some(request) = line.head().await else { return };
        log.note(&request);
        line.say(answer).await;
        if answer.contains(" 200 ") {
            line.join(&[], TcpStream::connect(behind).await.unwrap()).await;
        }
    })
}

#[tokio::test]
async fn a_tunnel_through_a_proxy() {
    let store = Store::embedded().await;
    let (server, bundle) = behind_tls(&store);
    let proxy = tunnel("HTTP/1.1 200 Connection established\r\n\r\n", server.address);
    let with_user = format!("http://user:pass@{}", proxy.address);
    let variables = [("HTTPS_PROXY", &*with_user), ("AWS_CA_BUNDLE", &bundle)];
    assert_eq!(said_in(&store, &format!("https://{NAME}"), &variables).await, BOTH);
    for request in proxy.seen() {
        assert_eq!(request.line, format!("CONNECT {NAME}:443 HTTP/1.1"));
        assert_eq!(request.said("host"), format!("{NAME}:443"));
        assert_eq!(request.said("proxy-authorization"), format!("Basic {}", BASE64.encode("user:pass")));
    }
    for request in puts(&server.seen()) {
        assert_eq!(request.said("host"), NAME);
        assert_eq!(request.field("proxy-authorization"), None, "it is none of the server's business");
    }
}

#[tokio::test]
async fn a_tunnel_that_is_refused() {
    let store = Store::embedded().await;
    let refusals = [
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "(HTTP 403)"),
        ("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\nno", "(HTTP 407)"),
    ];
    for (refusal, says) in refusals {
        let proxy = tunnel(refusal, address_of(&store));
        let variables = [("HTTPS_PROXY", &*proxy.url()), (ONCE, "1")];
        let said = said_in(&store, &format!("https://{NAME}"), &variables).await;
        assert_eq!(said.len(), 2, "{said:?}");
        let small = said[1].strip_prefix("small ").unwrap();
        assert!(small.starts_with("Network no answer to PutObject for s3://bucket/small: "), "{small}");
        if crate::HTTP == HttpPath::Fast {
            assert!(small.contains(&format!("the proxy does not let through {says}")), "{small}");
        }
    }
}

/// A profile whose program hands out another token each time it is asked.
fn profile(store: &Store, folder: &Path) -> String {
    let program = folder.join("ask");
    let (access, secret) = (store.server().access_key(), store.server().secret_key());
    let script = format!(
        "echo x >> {folder}/asked\necho '{{\"Version\":1,\"AccessKeyId\":\"{access}\",\"SecretAccessKey\":\"{secret}\",\
         \"SessionToken\":\"token-'$(wc -l < {folder}/asked)'\"}}'\n",
        folder = folder.display()
    );
    std::fs::write(&program, script).unwrap();
    let config = folder.join("config");
    let text = format!("[default]\ncredential_process = sh {}\n", program.display());
    std::fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn credentials_that_expire_are_asked_for_again() {
    let store = Store::embedded().await;
    store.server().faults().add(Fault::new(FaultKind::ExpiredToken).on(Operation::PutObject).first(1));
    let server = ByHand::tap(address_of(&store));
    let config = profile(&store, store.folder.path());
    let variables = [("AWS_CONFIG_FILE", &*config), ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    assert_eq!(said_in(&store, &server.url(), &variables).await, BOTH);
    let seen = server.seen();
    let tokens: Vec<_> = seen
        .iter()
        .filter(|request| request.line.starts_with("PUT /bucket/small"))
        .map(|request| {
            let signed = request.said("authorization").split(", ").nth(1).unwrap();
            assert!(signed.contains(";x-amz-security-token"), "{signed}");
            request.said("x-amz-security-token")
        })
        .collect();
    assert_eq!(tokens.len(), 2);
    // The SDK keeps credentials that name no end until the process ends.
    assert_eq!(tokens[0] != tokens[1], crate::HTTP == HttpPath::Fast, "{tokens:?}");
}
