//! A client that costs next to nothing, so that the server has the machine: one connection, kept alive.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection to the server.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    address: String,
    token: String,
}

impl Client {
    pub(crate) fn connect(address: &str, token: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a server that listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_mins(10))).expect("a socket");
        Self { stream: BufReader::new(stream), address: address.to_owned(), token: token.to_owned() }
    }

    /// Sends one request; gives status, body and how long the answer took.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, String, Duration) {
        let started = Instant::now();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            self.token,
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).expect("a connection");
        stream.write_all(body).expect("a connection");
        let (mut status, mut len) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).expect("an answer") > 0, "{method} {path}: the server hung up");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().and_then(|code| code.parse().ok()).expect("a status");
            } else if let Some(value) = line.strip_prefix("content-length:") {
                len = value.trim().parse().expect("a length");
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned(), started.elapsed())
    }

    /// Likewise, and tries again while the server says that it is too busy; gives the last try's time and how many were refused.
    pub(crate) fn insist(&mut self, method: &str, path: &str, body: &[u8]) -> (String, Duration, u64) {
        let mut refused = 0;
        loop {
            let (status, text, took) = self.send(method, path, body);
            match status {
                200..300 => return (text, took, refused),
                429 | 503 => {
                    refused += 1;
                    std::thread::sleep(Duration::from_millis(50));
                }
                _ => panic!("{method} {path}: {status}: {text}"),
            }
        }
    }
}
