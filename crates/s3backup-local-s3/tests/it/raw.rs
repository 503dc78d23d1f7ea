//! Requests made by hand: signed right, but with what no SDK would send.

use std::time::SystemTime;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use s3backup_local_s3::LocalS3;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Raw<'a> {
    pub(crate) method: &'a str,
    /// Encoded, without a query.
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// What the header `x-amz-content-sha256` says.
    pub(crate) payload: &'a str,
    pub(crate) body: &'a [u8],
}

pub(crate) fn connect(server: &LocalS3) -> impl Future<Output = TcpStream> {
    let address = server.endpoint().replace("http://", "");
    async { TcpStream::connect(address).await.unwrap() }
}

/// The request as it goes over the wire.
pub(crate) fn signed(server: &LocalS3, request: &Raw<'_>) -> Vec<u8> {
    let host = server.endpoint().replace("http://", "");
    let time = DateTime::from(SystemTime::now()).fmt(DateTimeFormat::DateTime).unwrap();
    let time = format!("{}Z", &time.replace(['-', ':'], "")[..15]);
    let mut headers =
        vec![("host", &*host), ("x-amz-content-sha256", request.payload), ("x-amz-date", &*time)];
    headers.extend(request.headers);
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let lines = lines.concat();
    let canonical = format!("{}\n{}\n\n{lines}\n{names}\n{}", request.method, request.path, request.payload);
    let scope = format!("{}/{}/s3/aws4_request", &time[..8], server.region());
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{}", server.secret_key()).into_bytes();
    for part in scope.split('/').chain([to_sign.as_str()]) {
        key = hmac(&key, part.as_bytes());
    }
    let head: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = head.concat();
    let authorization = format!(
        "authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}\r\n",
        server.access_key(),
        hex(&key)
    );
    let start = format!(
        "{} {} HTTP/1.1\r\n{head}{authorization}content-length: {}\r\nconnection: close\r\n\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    [start.as_bytes(), request.body].concat()
}

/// Sends a request and gives the reply as text, empty if there is none.
pub(crate) async fn send(server: &LocalS3, request: &Raw<'_>) -> String {
    let mut stream = connect(server).await;
    stream.write_all(&signed(server, request)).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(data).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

pub(crate) fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
