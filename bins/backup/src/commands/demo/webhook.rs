//! Plays Slack's end of an incoming webhook: takes a message, answers `ok`, and remembers its text.

use std::io;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Largest message that is taken; Slack's own limit is far below.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Listens on loopback until it is dropped.
pub(crate) struct Webhook {
    url: String,
    texts: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Webhook {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/services/T000/B000/demo", listener.local_addr()?);
        let texts = Arc::default();
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&texts)));
        Ok(Self { url, texts, _task: task })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The texts of all messages so far.
    pub(crate) async fn texts(&self) -> Vec<String> {
        self.texts.lock().await.clone()
    }
}

async fn serve(listener: TcpListener, texts: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // One message at a time is all that a demo sends; a broken connection concerns its sender alone.
        if let Ok(text) = answer(stream).await {
            texts.lock().await.push(text);
        }
    }
}

async fn answer(stream: TcpStream) -> io::Result<String> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0).min(MAX_MESSAGE_BYTES);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let reply =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    stream.write_all(reply).await?;
    stream.flush().await?;
    let message: Value = serde_json::from_slice(&body)?;
    Ok(message["text"].as_str().unwrap_or_default().to_owned())
}
