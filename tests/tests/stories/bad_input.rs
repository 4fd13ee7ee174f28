//! What is wrong is refused with its place and its reason; memory stays flat and nothing that was there is lost.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::{ADMIN, Site, Start};

fn refused(site: &Site, what: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String, String) {
    let mut request = site.request(Method::POST, "/v1/workspaces/default/ingest/Bad");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = request.body(body).send().unwrap_or_else(|error| panic!("{what}: {error}"));
    let status = reply.status().as_u16();
    let body: Value = reply.json().unwrap();
    let text = |member: &str| body["error"][member].as_str().unwrap_or_else(|| panic!("{what}: {body}")).to_owned();
    assert!((400..500).contains(&status), "{what}: {status} {body}");
    (status, text("code"), text("message"))
}

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn each_bad_body_is_refused_by_name_and_leaves_no_trace() {
    let site = Site::start();
    site.ingest("Bad", r#"{"good":1}"#);
    let before = rss_kib(site.pid());
    let lines = b"{\"a\":1}\n{\"a\":2}\n".repeat(1000);

    let mut truncated = gzip(&lines);
    truncated.truncate(truncated.len() / 2);
    refused(&site, "truncated gzip", &[("content-encoding", "gzip")], truncated);
    refused(&site, "not gzip at all", &[("content-encoding", "gzip")], lines.clone());
    refused(&site, "not zstd at all", &[("content-encoding", "zstd")], lines.clone());
    let mut short = zstd::encode_all(&lines[..], 1).unwrap();
    short.truncate(short.len() - 5);
    refused(&site, "truncated zstd", &[("content-encoding", "zstd")], short);
    let (status, ..) = refused(&site, "brotli", &[("content-encoding", "br")], lines.clone());
    assert_eq!(status, 415);
    let (status, ..) = refused(&site, "xml", &[("content-type", "application/xml")], lines);
    assert_eq!(status, 415);

    // Bombs: a thousand times their size, in both packings, and one packed twice.
    let zeros = vec![b' '; 256 << 20];
    let (status, ..) = refused(&site, "gzip bomb", &[("content-encoding", "gzip")], gzip(&zeros));
    assert_eq!(status, 413);
    let (status, ..) = refused(&site, "zstd bomb", &[("content-encoding", "zstd")], zstd::encode_all(&zeros[..], 3).unwrap());
    assert_eq!(status, 413);
    drop(zeros);

    for (what, body) in [
        ("depth 100,000", [b"[".repeat(100_000), b"]".repeat(100_000)].concat()),
        ("depth 100,000 of objects", [b"{\"a\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat()),
        ("invalid UTF-8", b"{\"a\":\"\xff\xfe\"}".to_vec()),
        ("a bare number", b"17".to_vec()),
        ("half an object", b"{\"a\":".to_vec()),
        ("an array of numbers", b"[1,2,3]".to_vec()),
        ("a name of 200 bytes", format!("{{\"{}\":1}}", "n".repeat(200)).into_bytes()),
    ] {
        let (_, _, message) = refused(&site, what, &[], body);
        assert!(!message.is_empty());
    }
    let (_, _, message) = refused(&site, "the third line", &[], b"{\"a\":1}\n{\"a\":2}\n{\"a\":}\n{\"a\":4}\n".to_vec());
    assert!(message.contains("record 3"), "{message}");
    let (status, ..) = refused(&site, "33 MiB", &[], vec![b' '; 33 << 20]);
    assert_eq!(status, 413);
    refused(&site, "an empty batch id", &[("x-batch-id", "")], b"{}".to_vec());
    // Two megabytes that would be two million rows of ninety columns.
    let wide: Vec<String> = (0..90).map(|n| format!("\"c{n}\":1")).collect();
    let sparse = [format!("{{{}}}\n", wide.join(",")).into_bytes(), b"{}\n".repeat(700_000)].concat();
    let (status, code, _) = refused(&site, "few bytes of many cells", &[], sparse);
    assert_eq!((status, code.as_str()), (413, "BodyTooSparse"));
    for (name, value) in [("x-time-field", "\u{e9}"), ("x-batch-id", &"x".repeat(200))] {
        if value.is_ascii() {
            refused(&site, name, &[(name, value)], b"{}".to_vec());
        }
    }
    let reply = site.request(Method::POST, "/v1/workspaces/nowhere/ingest/Bad").body("{}").send().unwrap();
    assert_eq!(reply.status(), 404);

    assert_eq!(site.kql("Bad | count"), [[json!(1)]], "a refused request leaves nothing behind");
    assert_eq!(site.kql("Bad | getschema | count").len(), 1);
    let grown = rss_kib(site.pid()).saturating_sub(before);
    assert!(grown < 256 << 10, "the server grew by {grown} KiB");
}

/// A line without end, sent in chunks: cut off at the limit, not held in memory.
#[test]
fn a_line_of_a_gigabyte_is_cut_off() {
    let site = Site::start();
    let before = rss_kib(site.pid());
    let mut stream = TcpStream::connect(site.base().trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST /v1/workspaces/default/ingest/Bad HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    let mut peak = 0;
    for _ in 0..1024 {
        if stream.write_all(b"100000\r\n").and_then(|()| stream.write_all(&chunk)).and_then(|()| stream.write_all(b"\r\n")).is_err() {
            break;
        }
        sent += 1;
        peak = peak.max(rss_kib(site.pid()));
    }
    assert!(sent < 1024, "a gigabyte was taken");
    let mut reply = Vec::new();
    drop(stream.read_to_end(&mut reply));
    if !reply.is_empty() {
        assert!(String::from_utf8_lossy(&reply).starts_with("HTTP/1.1 413"), "{}", String::from_utf8_lossy(&reply));
    }
    assert!(peak.saturating_sub(before) < 256 << 10, "the server grew by {} KiB", peak - before);
    site.ingest("Bad", r#"{"good":1}"#);
}

#[test]
fn bad_rows_are_kept_apart_when_the_sender_says_so() {
    let site = Site::start();
    let reply = site
        .request(Method::POST, "/v1/workspaces/default/ingest/Mixed?on_error=skip")
        .body("{\"n\":1}\nnot json\n{\"n\":2}\n[3]\n")
        .send()
        .unwrap();
    assert_eq!(reply.status(), 200);
    let reply: Value = reply.json().unwrap();
    assert_eq!((&reply["accepted"], &reply["rejected"]), (&json!(2), &json!(2)), "{reply}");
    assert_eq!(site.kql("Mixed | summarize sum(n)"), [[json!(3)]]);
    let rejected = site.kql("Rejected | sort by Line asc | project Table, Line, RawData");
    assert_eq!(rejected, [[json!("Mixed"), json!(2), json!("not json")], [json!("Mixed"), json!(4), json!("[3]")]]);
    assert!(site.kql("Rejected | where isempty(Reason)").is_empty());
}

/// Statements and names with which a question could reach beyond its workspace's rows.
#[test]
fn sql_reads_its_own_tables_and_does_nothing_else() {
    let site = Site::start();
    site.ingest("T", r#"{"a":1}"#);
    for text in [
        "INSERT INTO T VALUES (1)",
        "UPDATE T SET a = 2",
        "DELETE FROM T",
        "DROP TABLE T",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/etc'",
        "COPY T TO '/tmp/stolen.parquet'",
        "COPY (SELECT 1) TO 'file:///tmp/x.csv' STORED AS CSV",
        "SET datafusion.execution.batch_size = 1",
        "SHOW ALL",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "EXPLAIN ANALYZE SELECT * FROM T",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/passwd.csv'",
        "SELECT * FROM \"catalog.sqlite\"",
        "SELECT * FROM 's3://bucket/x.parquet'",
        "SELECT * FROM 'http://127.0.0.1/x.json'",
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM other.T",
        "SELECT * FROM nowhere",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/x')",
        "SELECT * FROM generate_series(1, 100000000000)",
        "SELECT repeat('x', 2000000000)",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
        "BEGIN",
        "SELECT 1; DROP TABLE T",
        "SELECT",
        "",
    ] {
        let (status, body) = site.try_query("sql", text);
        assert!((400..500).contains(&status), "{text:?} was answered with {status}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{text:?}: {body}");
    }
    assert_eq!(site.sql("SELECT a FROM T"), [[json!(1)]]);
    for text in [
        "nowhere",
        "T | where b == 1",
        "T | frobnicate",
        "T | where a = 1",
        "T | where (a == 1",
        "T | where a == \"x",
        ".drop table T",
        "externaldata(a:string)['/etc/passwd']",
    ] {
        let (status, body) = site.try_query("kql", text);
        assert!((400..500).contains(&status), "{text:?} was answered with {status}: {body}");
    }
    let long = format!("T | where a == {}", "1+".repeat(100_000));
    let (status, _) = site.try_query("kql", &long);
    assert!((400..500).contains(&status));
    let deep = format!("print x = {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let (status, _) = site.try_query("kql", &deep);
    assert!((400..500).contains(&status));
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let (status, _) = site.try_query("sql", &deep);
    assert!((400..500).contains(&status));
    let reply = site.request(Method::POST, "/v1/workspaces/default/query").body("{\"query\":").send().unwrap();
    assert_eq!(reply.status(), 400);
    assert_eq!(site.sql("SELECT a FROM T"), [[json!(1)]], "and the server still answers");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let site = Site::start();
    site.ingest("T", r#"{"a":1,"s":"x"}"#);
    let ask = |accept: &str, body: &str| {
        let reply =
            site.request(Method::POST, "/v1/workspaces/default/query").header("accept", accept).body(body.to_owned()).send().unwrap();
        let status = reply.status().as_u16();
        (status, reply.text().unwrap())
    };
    for (status, accept, body, told) in [
        (400, "*/*", "[]", "it must be a JSON object"),
        (400, "*/*", r#"["T"]"#, "it must be a JSON object"),
        (400, "*/*", r#"{"query":"T | take -1"}"#, "cannot be below 0"),
        (400, "*/*", r#"{"query":"range x from 1 to 5 step 0"}"#, "steps of 0"),
        (400, "*/*", r#"{"query":"T | where s matches regex '('"}"#, "unclosed group"),
        (400, "*/*", r#"{"query":"SELECT * FROM T WHERE s ~ '('","language":"sql"}"#, "unclosed group"),
        (400, "*/*", r#"{"query":"T","timespan":"2026-03-02/2026-03-01"}"#, "ends before it starts"),
        (406, "image/png", r#"{"query":"T"}"#, "NotAcceptable"),
        (200, "image/png, text/csv;q=0.5", r#"{"query":"T | project a"}"#, "a\r\n1\r\n"),
    ] {
        let (found, text) = ask(accept, body);
        assert!(found == status && text.contains(told) && !text.contains("struct "), "{body}: {found} {text}");
    }
    let reply = site.post_rows("Rejected", "{}").unwrap();
    assert_eq!(reply.status(), 400);
    assert!(reply.text().unwrap().contains("ReservedTable"));
}

/// A stream that is cut breaks off for those who cannot be told, and tells those who can.
#[test]
fn a_stream_cut_by_a_limit_says_so_to_the_command_line() {
    let options = Start { environment: vec![("STRONGROOM_QUERY__ROWS_MAX".into(), "10".into())], ..Start::default() };
    let site = Site::start_with(options);
    site.ingest("T", "{\"a\":1}\n".repeat(100));
    let body = json!({"query": "T | project a"});
    let asked = site.request(Method::POST, "/v1/workspaces/default/query").header("accept", "text/csv").json(&body);
    let whole = asked.send().and_then(reqwest::blocking::Response::text);
    assert!(whole.is_err(), "a part must not be taken for the whole: {whole:?}");
    for shape in ["csv", "ndjson", "table"] {
        let ran = std::process::Command::new(strongroom_tests::binary())
            .args(["query", "T | project a", "--output", shape])
            .env("STRONGROOM_SERVER", site.base())
            .env("STRONGROOM_TOKEN", ADMIN)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(5), "{shape}: {told}");
        assert!(told.contains("limit of records"), "{shape}: {told}");
    }
}
