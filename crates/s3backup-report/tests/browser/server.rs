//! Serves pages on loopback, each under its policy.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

pub(crate) struct Server {
    address: SocketAddr,
}

impl Server {
    /// Serves the pages by their numbers, until the test's process ends.
    pub(crate) fn start(pages: Vec<(String, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Arc::new(pages);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pages = Arc::clone(&pages);
                // A browser opens connections that it does not use.
                std::thread::spawn(move || answer(stream, &pages));
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self, number: usize) -> String {
        format!("http://{}/{number}", self.address)
    }
}

fn answer(mut stream: TcpStream, pages: &[(String, &str)]) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    let number = first.split([' ', '/']).nth(2).and_then(|number| number.parse::<usize>().ok());
    let reply = match number.and_then(|number| pages.get(number)) {
        Some((html, policy)) => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-security-policy: {policy}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{html}",
            html.len()
        ),
        None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    };
    // A browser that has gone is none of our business.
    let _ = stream.write_all(reply.as_bytes());
}
