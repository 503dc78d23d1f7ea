//! Replies: their heads, and how their bodies end.

use std::io;
use std::ops::Range;

/// The most header fields that a reply may have; S3 sends some 15.
const MAX_FIELDS: usize = 100;

/// The most bytes that the head of a reply may have. Twice what S3 allows for the metadata of an object.
pub(super) const MAX_HEAD_BYTES: usize = 16 << 10;

/// The head of a reply.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in lower case, and values, one behind the other.
    text: String,
    fields: Vec<(Range<usize>, Range<usize>)>,
    pub(super) is_http_1_0: bool,
}

/// How many bytes of body follow a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClosed,
}

impl Head {
    /// Reads a head from the beginning of `bytes`, and says how long it is; `None` while it is not whole.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut reply = httparse::Response::new(&mut fields);
        let length = match reply.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(bad("its header fields have no end")),
            Err(error) => return Err(bad(&error.to_string())),
        };
        let mut head = Self {
            status: reply.code.unwrap_or_default(),
            text: String::with_capacity(length),
            fields: Vec::with_capacity(reply.headers.len()),
            is_http_1_0: reply.version == Some(0),
        };
        for field in reply.headers.iter() {
            let begin = head.text.len();
            head.text.extend(field.name.chars().map(|character| character.to_ascii_lowercase()));
            let middle = head.text.len();
            // Bytes that are no text are in no field that matters here.
            head.text.push_str(&String::from_utf8_lossy(field.value));
            head.fields.push((begin..middle, middle..head.text.len()));
        }
        Ok(Some((head, length)))
    }

    /// The value of a field; its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All fields in their order, names in lower case.
    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    pub(super) fn framing(&self, method: &str) -> io::Result<Framing> {
        if method == "HEAD" || self.status == 204 || self.status == 304 {
            return Ok(Framing::Length(0));
        }
        if self.field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Framing::Chunked);
        }
        let mut lengths = self.fields().filter(|(name, _)| *name == "content-length").map(|(_, value)| value);
        let Some(length) = lengths.next() else { return Ok(Framing::UntilClosed) };
        // Two that differ would let bytes of one reply pass for the next.
        if lengths.any(|other| other != length) {
            return Err(bad("it has two lengths"));
        }
        length.parse().map(Framing::Length).map_err(|_| bad("its length is no number"))
    }

    /// Whether the server takes another request on the same connection.
    pub(super) fn keeps_alive(&self) -> bool {
        match self.field("connection") {
            Some(value) => value.eq_ignore_ascii_case("keep-alive"),
            None => !self.is_http_1_0,
        }
    }
}

pub(super) fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the reply is no proper HTTP: {why}"))
}

/// Reads the framing of a chunked body (RFC 9112, section 7.1).
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: Chunk,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Chunk {
    /// Before a line with a size.
    #[default]
    Size,
    /// In the bytes of a chunk.
    Bytes(u64),
    /// Before the line end behind a chunk.
    End,
    /// In the fields behind the last chunk.
    Trailer,
    Over,
}

impl Chunks {
    pub(super) fn is_over(&self) -> bool {
        self.state == Chunk::Over
    }

    /// Takes what it can from `bytes`: how many bytes to drop, and then how many behind those are of the body. Nothing of
    /// both means that more must come.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<(usize, usize)> {
        let line = |bytes: &[u8]| bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let mut dropped = 0;
        loop {
            let rest = &bytes[dropped..];
            match self.state {
                Chunk::Over => return Ok((dropped, 0)),
                Chunk::Bytes(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - taken as u64;
                    self.state = if left == 0 { Chunk::End } else { Chunk::Bytes(left) };
                    return Ok((dropped, taken));
                }
                Chunk::Size | Chunk::End | Chunk::Trailer => {
                    let Some(length) = line(rest) else {
                        return if rest.len() > MAX_HEAD_BYTES {
                            Err(bad("a line has no end"))
                        } else {
                            Ok((dropped, 0))
                        };
                    };
                    let text = rest[..length].trim_ascii();
                    self.state = match self.state {
                        Chunk::Size => match size_of_chunk(text)? {
                            0 => Chunk::Trailer,
                            size => Chunk::Bytes(size),
                        },
                        Chunk::End if !text.is_empty() => return Err(bad("a chunk is longer than its size")),
                        Chunk::End => Chunk::Size,
                        _ if text.is_empty() => Chunk::Over,
                        _ => Chunk::Trailer,
                    };
                    dropped += length;
                }
            }
        }
    }
}

fn size_of_chunk(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    std::str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| bad("a chunk has no size"))
}

/// What a reply with an error says in its XML body; empty where it says nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) request_id: String,
    /// Of an archived object.
    pub(crate) storage_class: String,
}

impl Refusal {
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut refusal = Self::default();
        let Ok(text) = std::str::from_utf8(body) else { return refusal };
        let mut document = aws_smithy_xml::decode::Document::new(text);
        let Ok(mut root) = document.root_element() else { return refusal };
        while let Some(mut tag) = root.next_tag() {
            let place = match tag.start_el().local() {
                "Code" => &mut refusal.code,
                "Message" => &mut refusal.message,
                "RequestId" => &mut refusal.request_id,
                "StorageClass" => &mut refusal.storage_class,
                _ => continue,
            };
            if let Ok(value) = aws_smithy_xml::decode::try_data(&mut tag) {
                *place = value.into_owned();
            }
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"abc\"\r\nContent-Length: 3\r\n\r\nxyz";

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        for end in 0..REPLY.len() - 3 {
            assert!(Head::parse(&REPLY[..end]).unwrap().is_none(), "{end}");
        }
        let (head, length) = Head::parse(REPLY).unwrap().unwrap();
        assert_eq!((head.status, &REPLY[length..]), (200, &b"xyz"[..]));
        assert_eq!(head.field("etag"), Some("\"abc\""));
        assert_eq!(head.field("x-none"), None);
        assert_eq!(head.framing("GET").unwrap(), Framing::Length(3));
        assert_eq!(head.framing("HEAD").unwrap(), Framing::Length(0));
        assert!(head.keeps_alive());
    }

    #[test]
    fn how_a_body_ends() {
        let framing = |fields: &str| {
            let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            Head::parse(bytes.as_bytes()).unwrap().unwrap().0.framing("GET")
        };
        assert_eq!(framing("").unwrap(), Framing::UntilClosed);
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n").unwrap(), Framing::Chunked);
        assert_eq!(framing("content-length: 5\r\nContent-Length: 5\r\n").unwrap(), Framing::Length(5));
        assert!(framing("content-length: 5\r\ncontent-length: 6\r\n").is_err());
        assert!(framing("content-length: -1\r\n").is_err());
    }

    #[test]
    fn what_is_no_http_is_an_error_and_no_head_grows_without_end() {
        assert!(Head::parse(b"SSH-2.0-OpenSSH_9.2\r\n").is_err());
        let mut endless = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        endless.resize(MAX_HEAD_BYTES, b'x');
        assert!(Head::parse(&endless).is_err());
    }

    #[test]
    fn a_connection_is_kept_as_the_server_says() {
        let keeps = |line: &str| {
            let bytes = format!("{line}\r\n\r\n");
            Head::parse(bytes.as_bytes()).unwrap().unwrap().0.keeps_alive()
        };
        assert!(keeps("HTTP/1.1 200 OK"));
        assert!(!keeps("HTTP/1.0 200 OK"));
        assert!(keeps("HTTP/1.0 200 OK\r\nConnection: Keep-Alive"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: close"));
    }

    /// However the bytes come.
    #[test]
    fn chunks_are_put_together() {
        let wire = b"4;x=y\r\nWiki\r\n6\r\npedia \r\n0\r\nx-t: 1\r\n\r\nHTTP/1.1";
        for step in 1..wire.len() {
            let (mut chunks, mut body, mut held) = (Chunks::default(), Vec::new(), Vec::new());
            let mut coming = wire.chunks(step);
            while !chunks.is_over() {
                let (dropped, taken) = chunks.take(&held).unwrap();
                body.extend_from_slice(&held[dropped..dropped + taken]);
                held.drain(..dropped + taken);
                if dropped + taken == 0 && !chunks.is_over() {
                    held.extend_from_slice(coming.next().expect("the body has an end"));
                }
            }
            assert_eq!(body, b"Wikipedia ", "{step}");
        }
        assert!(Chunks::default().take(b"xyz\r\n").is_err());
        assert!(Chunks::default().take(b"-1\r\n").is_err());
    }

    #[test]
    fn a_refusal_says_why() {
        let xml = b"<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>a &lt; b</Message><Host><X/></Host>\
                    <RequestId>R1</RequestId></Error>";
        let refusal = Refusal::parse(xml);
        assert_eq!((&*refusal.code, &*refusal.message, &*refusal.request_id), ("SlowDown", "a < b", "R1"));
        for other in [&b""[..], b"<html>", b"Bad Gateway", b"\xff"] {
            assert_eq!(Refusal::parse(other), Refusal::default());
        }
    }
}
