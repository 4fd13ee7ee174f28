use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use clap::Parser;
use parking::Server;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    ingest: Ingest,
}

fn command(server: &Server, arguments: &[&str]) -> Ingest {
    let address = server.address.clone();
    let fixed = ["ingest", "--table", "T", "--token", "t", "--server", &address];
    Line::try_parse_from(fixed.iter().chain(arguments)).unwrap().ingest
}

fn file(lines: usize) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for n in 0..lines {
        writeln!(file, "{{\"n\":{n}}}").unwrap();
    }
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

/// A server that answers as it is told and keeps what it was sent.
mod parking {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[derive(Debug, Clone)]
    pub(super) struct Seen {
        pub(super) line: String,
        pub(super) id: String,
        pub(super) body: Vec<u8>,
    }

    pub(super) struct Server {
        pub(super) address: String,
        pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    }

    /// Statuses to answer with; past the end 200. Status 0 closes the connection without an answer.
    pub(super) async fn start(statuses: Vec<u16>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let statuses = Arc::new(Mutex::new(VecDeque::from(statuses)));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&statuses)));
            }
        });
        Server { address, seen }
    }

    async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, statuses: Arc<Mutex<VecDeque<u16>>>) {
        let mut buffer = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let headers: BTreeMap<String, String> = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let len: usize = headers["content-length"].parse().unwrap();
            while buffer.len() < end + len {
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let body = buffer[end..end + len].to_vec();
            buffer.drain(..end + len);
            let lines = memchr::memchr_iter(b'\n', &body).count();
            let line = head.lines().next().unwrap().to_owned();
            seen.lock().unwrap().push(Seen { line, id: headers["x-batch-id"].clone(), body });
            let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
            let answer = match status {
                0 => return,
                200 => format!("{{\"accepted\":{lines},\"rejected\":0,\"columnsAdded\":[],\"duplicate\":false}}"),
                _ => "{\"error\":{\"code\":\"Code\",\"message\":\"because\"}}".to_owned(),
            };
            let reply = format!("HTTP/1.1 {status} X\r\nretry-after: 0\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn every_line_is_sent_once_though_answers_get_lost() {
    let server = parking::start(vec![200, 503, 0, 429]).await;
    let (_kept, path) = file(1_000);
    command(&server, &[&path, "--batch-bytes", "2048", "--run-id", "r"]).run().await.unwrap();
    let seen = server.seen.lock().unwrap().clone();
    // What a server that knows batch ids keeps: one body for each id, whatever was repeated.
    let mut batches = BTreeMap::new();
    for one in &seen {
        assert_eq!(one.line, "POST /v1/workspaces/default/ingest/T?format=json HTTP/1.1");
        let before = batches.insert(one.id.clone(), one.body.clone());
        assert!(before.is_none_or(|before| before == one.body), "an id names one body");
    }
    assert_eq!(seen.len(), batches.len() + 3, "three were sent again");
    let mut lines: Vec<String> =
        batches.values().flat_map(|body| String::from_utf8_lossy(body).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort_unstable_by_key(|line| line[5..line.len() - 1].parse::<u32>().unwrap());
    assert_eq!(lines, (0..1_000).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refusal_ends_with_three_or_five_and_names_the_lines() {
    let (_kept, path) = file(1_000);
    let server = parking::start(vec![400]).await;
    let failure = command(&server, &[&path, "--clients", "1"]).run().await.unwrap_err();
    assert_eq!(failure.code(), 3);
    assert!(failure.to_string().contains("lines 1 to 1000 of "), "{failure}");
    assert!(failure.to_string().contains("Code: because"), "{failure}");
    let server = parking::start(vec![200, 400]).await;
    let failure = command(&server, &[&path, "--clients", "1", "--batch-bytes", "4096", "--run-id", "again"]).run().await.unwrap_err();
    assert_eq!(failure.code(), 5);
    assert!(failure.to_string().contains("--run-id again"), "{failure}");
    assert_eq!(server.seen.lock().unwrap().len(), 2, "nothing is sent after a refusal");
}

#[tokio::test]
async fn a_server_that_stays_busy_ends_with_four() {
    let (_kept, path) = file(10);
    let server = parking::start(vec![503; 50]).await;
    let failure = command(&server, &[&path, "--retry-for", "1s"]).run().await.unwrap_err();
    assert_eq!(failure.code(), 4);
    assert!(server.seen.lock().unwrap().len() > 1);
}

#[tokio::test]
async fn plain_lines_and_parameters_go_as_they_should() {
    let server = parking::start(vec![]).await;
    let (_kept, path) = file(3);
    command(&server, &[&path, "--lines", "--on-error", "skip", "--workspace", "w x", "--compress", "zstd"]).run().await.unwrap();
    let seen = server.seen.lock().unwrap().clone();
    assert_eq!(seen[0].line, "POST /v1/workspaces/w%20x/ingest/T?format=lines&on_error=skip HTTP/1.1");
    assert_eq!(zstd::decode_all(&seen[0].body[..]).unwrap(), b"{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
    command(&server, &[&path, "--time-field", "t&x", "--compress", "gzip"]).run().await.unwrap();
    let seen = server.seen.lock().unwrap().clone();
    assert!(seen[1].line.ends_with("?format=json&time_field=t%26x HTTP/1.1"), "{}", seen[1].line);
    assert_eq!(&seen[1].body[..2], [0x1f, 0x8b]);
}
