//! Servers, proxies and taps made by hand: they do what no proper server does, and see what comes over the line.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// How much the kernel takes for a server by hand, which has not read it yet.
const RECEIVE_BUFFER_BYTES: u32 = 64 << 10;

/// One request as it came over the line.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The first line.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn parse(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Self { line, fields, body: Vec::new() }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The value of a field that must be there.
    #[track_caller]
    #[expect(clippy::panic, reason = "a helper of tests")]
    pub(crate) fn said(&self, name: &str) -> &str {
        let Some(value) = self.field(name) else { panic!("no {name}: {self:?}") };
        value
    }

    pub(crate) fn is(&self, method: &str) -> bool {
        self.line.split(' ').next() == Some(method)
    }

    fn len(&self) -> usize {
        self.field("content-length").map_or(0, |len| len.parse().unwrap())
    }

    /// The fields of a good reply to this upload.
    pub(crate) fn echo(&self) -> String {
        let sum = self.field("x-amz-checksum-crc64nvme").unwrap_or_default();
        format!("content-length: 0\r\netag: \"e\"\r\nx-amz-checksum-crc64nvme: {sum}\r\n")
    }

    /// A good reply to this upload.
    pub(crate) fn ok(&self) -> String {
        format!("HTTP/1.1 200 OK\r\n{}\r\n", self.echo())
    }
}

/// A reply in which the server refuses.
pub(crate) fn refusal(status: u16, code: &str, fields: &str) -> String {
    let xml = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    format!("HTTP/1.1 {status} No\r\n{fields}content-length: {}\r\n\r\n{xml}", xml.len())
}

/// One connection, as the server has it.
pub(crate) struct Line<S = TcpStream> {
    pub(crate) stream: S,
    held: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    fn new(stream: S) -> Self {
        Self { stream, held: Vec::new() }
    }

    async fn fill(&mut self) -> Option<()> {
        let count = self.stream.read_buf(&mut self.held).await.ok()?;
        (count > 0).then_some(())
    }

    /// The head of the next request, with an empty body; `None` when the client is gone.
    pub(crate) async fn head(&mut self) -> Option<Request> {
        loop {
            if let Some(end) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.held.split_off(end + 4);
                let head = std::mem::replace(&mut self.held, rest);
                return Some(Request::parse(&head));
            }
            self.fill().await?;
        }
    }

    /// The next request, whole.
    pub(crate) async fn request(&mut self) -> Option<Request> {
        let head = self.head().await?;
        self.rest_of(head).await
    }

    /// The body of the request whose head was read last.
    pub(crate) async fn rest_of(&mut self, mut request: Request) -> Option<Request> {
        while self.held.len() < request.len() {
            self.fill().await?;
        }
        let rest = self.held.split_off(request.len());
        request.body = std::mem::replace(&mut self.held, rest);
        Some(request)
    }

    /// A client that hung up does not hear it.
    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Goes on as `upstream`, which is given first what was read already.
    pub(crate) async fn join(mut self, first: &[u8], mut upstream: TcpStream) {
        if upstream.write_all(first).await.is_ok() && upstream.write_all(&self.held).await.is_ok() {
            let _ = copy_bidirectional(&mut self.stream, &mut upstream).await;
        }
    }
}

/// Listens on loopback, and leaves each connection to what it was made of. Ends when it is dropped.
pub(crate) struct ByHand {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
    listening: JoinHandle<()>,
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// What is seen of the requests.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Vec<Request>>>);

impl Log {
    /// Gives the number of the request, from 1.
    pub(crate) fn note(&self, request: &Request) -> usize {
        let mut seen = self.0.lock().unwrap();
        seen.push(request.clone());
        seen.len()
    }
}

impl ByHand {
    /// `talk` is given each connection; what it reads is seen if it says so to the log.
    pub(crate) fn listen<F>(talk: impl Fn(Line, Log) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpSocket::new_v4().unwrap();
        // Much that is sent and not read yet would let a client end before anybody could answer.
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (log, count) = (Log(Arc::clone(&seen)), Arc::clone(&connections));
        let listening = tokio::spawn(async move {
            let mut talks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                stream.set_nodelay(true).unwrap();
                talks.spawn(talk(Line::new(stream), log.clone()));
            }
        });
        Self { address, seen, connections, listening }
    }

    /// Answers each whole request with what `answer` makes of it and of its number, from 1.
    pub(crate) fn answering(
        answer: impl Fn(usize, &Request) -> String + Send + Sync + Clone + 'static,
    ) -> Self {
        Self::listen(move |mut line, log| {
            let answer = answer.clone();
            async move {
                while let Some(request) = line.request().await {
                    let number = log.note(&request);
                    line.say(answer(number, &request)).await;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Passes each request on to the server at `behind`, and the reply back: one a connection.
    pub(crate) fn tap(behind: SocketAddr) -> Self {
        Self::listen(move |line, log| async move {
            let _ = pass_on(line, log, behind).await;
        })
    }
}

/// Reads a request, and lets the server at `behind` answer it and close.
pub(crate) async fn pass_on<S>(mut line: Line<S>, log: Log, behind: SocketAddr) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(request) = line.request().await else { return Ok(()) };
    log.note(&request);
    // A proxy is told the whole URL.
    let mut head = match request.line.split_once(" http://") {
        Some((method, rest)) => format!("{method} {}\r\n", &rest[rest.find('/').unwrap()..]),
        None => format!("{}\r\n", request.line),
    };
    for (name, value) in &request.fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("connection: close\r\n\r\n");
    let mut upstream = TcpStream::connect(behind).await?;
    upstream.write_all(head.as_bytes()).await?;
    upstream.write_all(&request.body).await?;
    copy_bidirectional(&mut line.stream, &mut upstream).await?;
    line.stream.shutdown().await
}

/// The same for what is behind TLS.
pub(crate) fn over<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Line<S> {
    Line::new(stream)
}
