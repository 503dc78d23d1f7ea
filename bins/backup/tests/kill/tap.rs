//! Between the program and the server: sees every request and how many bytes of it arrived, and acts when one arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// One request that carries bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// `/bucket/key`.
    pub(crate) path: String,
    /// Of its body, those that arrived.
    pub(crate) bytes: u64,
    /// The status, once the reply was passed on.
    pub(crate) status: Option<u16>,
}

/// When something is to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// As soon as the head of this request of the round has arrived; counted from 1.
    Request(u64),
    /// As soon as so many bytes of files have arrived in this round.
    Bytes(u64),
    /// When this reply of the round has been passed on; counted from 1.
    Reply(u64),
}

type Act = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Seen {
    sent: Vec<Sent>,
    requests: u64,
    replies: u64,
    bytes: u64,
    acts: Vec<(When, Act)>,
    connections: u64,
}

impl Seen {
    /// Takes out what is due.
    fn due(&mut self) -> Vec<Act> {
        let (requests, replies, bytes) = (self.requests, self.replies, self.bytes);
        let due = self.acts.extract_if(.., |(when, _)| match when {
            When::Request(number) => requests >= *number,
            When::Bytes(count) => bytes >= *count,
            When::Reply(number) => replies >= *number,
        });
        due.map(|(_, act)| act).collect()
    }
}

/// What a round has sent.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// In the order of their arrival.
    pub(crate) sent: Vec<Sent>,
    pub(crate) requests: u64,
}

pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Tap {
    /// Ends with the test's process.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<(Mutex<Seen>, Condvar)> = Arc::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                shared.0.lock().unwrap().connections += 1;
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    pass(&client, &server, &shared.0);
                    shared.0.lock().unwrap().connections -= 1;
                    shared.1.notify_all();
                });
            }
        });
        Self { address, seen }
    }

    /// Does this once, in the current round. The program's request waits for it.
    pub(crate) fn when(&self, when: When, act: impl FnOnce() + Send + 'static) {
        self.seen.0.lock().unwrap().acts.push((when, Box::new(act)));
    }

    /// Waits until the server has ended with what the dead program left to it, and begins a new round.
    pub(crate) fn end_round(&self) -> Round {
        let seen = self.seen.0.lock().unwrap();
        let is_busy = |seen: &mut Seen| seen.connections > 0;
        let (mut seen, waited) =
            self.seen.1.wait_timeout_while(seen, Duration::from_mins(1), is_busy).unwrap();
        assert!(!waited.timed_out(), "{} connections of a dead program are still open", seen.connections);
        let ended = std::mem::take(&mut *seen);
        Round { sent: ended.sent, requests: ended.requests }
    }
}

/// What the two directions of a connection know of its current request.
#[derive(Default)]
struct Current {
    /// Its place in the list of those with bytes of files.
    sent: Option<usize>,
    awaits_reply: bool,
}

fn pass(client: &TcpStream, server: &TcpStream, seen: &Mutex<Seen>) {
    let current = Mutex::new(Current::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pass_up(client, server, seen, &current);
            let _ = server.shutdown(Shutdown::Write);
        });
        pass_down(server, client, seen, &current);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

fn act(due: Vec<Act>) {
    for act in due {
        act();
    }
}

fn pass_up(
    mut client: &TcpStream,
    mut server: &TcpStream,
    seen: &Mutex<Seen>,
    current: &Mutex<Current>,
) -> Option<()> {
    let mut piece = vec![0; 64 << 10];
    let mut head = Vec::new();
    loop {
        // The head of a request, perhaps with some of its body.
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
            head.extend_from_slice(&piece[..count]);
        };
        let text = String::from_utf8_lossy(&head[..end]).into_owned();
        let mut left = length_of(&text);
        let body = head.split_off(end);
        let due = {
            let mut seen = seen.lock().unwrap();
            seen.requests += 1;
            let sent = data_path(&text).map(|path| {
                assert!(!text.to_lowercase().contains("x-amz-decoded-content-length"), "{text}");
                seen.sent.push(Sent { path, bytes: 0, status: None });
                seen.sent.len() - 1
            });
            *current.lock().unwrap() = Current { sent, awaits_reply: true };
            seen.due()
        };
        act(due);
        server.write_all(&head).ok()?;
        head.clear();
        let mut next = body;
        while left > 0 {
            if next.is_empty() {
                let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
                next.extend_from_slice(&piece[..count]);
            }
            let of_body = next.len().min(usize::try_from(left).unwrap());
            let due = {
                let mut seen = seen.lock().unwrap();
                if let Some(place) = current.lock().unwrap().sent {
                    seen.sent[place].bytes += of_body as u64;
                    seen.bytes += of_body as u64;
                }
                seen.due()
            };
            act(due);
            server.write_all(&next[..of_body]).ok()?;
            left -= of_body as u64;
            next.drain(..of_body);
        }
        head = next;
    }
}

fn pass_down(
    mut server: &TcpStream,
    mut client: &TcpStream,
    seen: &Mutex<Seen>,
    current: &Mutex<Current>,
) -> Option<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = server.read(&mut piece).ok().filter(|count| *count > 0)?;
        // Goes on when the client is dead: the server is to end what it does.
        let is_passed_on = client.write_all(&piece[..count]).is_ok();
        let due = {
            let mut seen = seen.lock().unwrap();
            let mut current = current.lock().unwrap();
            if let Some(status) = status_of(&piece[..count]).filter(|_| current.awaits_reply && is_passed_on)
            {
                current.awaits_reply = false;
                seen.replies += 1;
                if let Some(place) = current.sent {
                    seen.sent[place].status = Some(status);
                }
            }
            seen.due()
        };
        act(due);
    }
}

fn length_of(head: &str) -> u64 {
    let lower = head.to_lowercase();
    assert!(!lower.contains("transfer-encoding"), "the length of a request is not known: {head}");
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(0, |length| length.trim().parse().unwrap())
}

/// The path of a request that carries bytes of a file: `/bucket/key`.
fn data_path(head: &str) -> Option<String> {
    let path = head.strip_prefix("PUT ")?.split([' ', '?']).next()?;
    (!path.contains("/.s3backup/")).then(|| decoded(path))
}

fn decoded(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// The final status of a reply that begins here, perhaps behind `100 Continue`.
fn status_of(bytes: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(bytes);
    let status: u16 = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    if status != 100 {
        return Some(status);
    }
    let (_, behind) = text.split_once("\r\n\r\n")?;
    status_of(behind.as_bytes())
}
