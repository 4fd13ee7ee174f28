use std::collections::VecDeque;

use strongroom_world::sim::SimWorld;

use super::*;
use crate::testing::{Action, Handshake, Seen, TestServer};

/// Answers from a table, and from a list first: a name server that changes its mind.
#[derive(Debug, Default)]
struct Names {
    table: HashMap<String, Vec<IpAddr>>,
    first: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    fn of(table: &[(&str, &[&str])]) -> Arc<Self> {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { table: table.iter().map(|(name, texts)| ((*name).to_owned(), parsed(texts))).collect(), ..Self::default() })
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.lock().push(name.to_owned());
        if let Some(next) = self.first.lock().pop_front() {
            return Ok(next);
        }
        self.table.get(name).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

fn open(allow: &[String], pem: &str) -> Outbound {
    let config = OutboundConfig { allow: allow.to_vec(), ..OutboundConfig::default() };
    Outbound::open(&SimWorld::new(1).world(), &config, &[pem]).unwrap()
}

fn get(url: &Url) -> Call<'_> {
    Call::new(url, Body::None)
}

async fn ok_server() -> TestServer {
    TestServer::start(|_: &Seen| Action::json(200, "{}")).await
}

/// A client that may call this server.
fn client_of(server: &TestServer) -> Outbound {
    open(&[server.address.to_string()], &server.ca_pem)
}

async fn error_of(server: &TestServer) -> OutboundError {
    client_of(server).send(get(&server.url("/"))).await.unwrap_err()
}

/// Every way of writing an address that we know, in front of a server that would answer.
#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a list")]
async fn no_spelling_of_a_forbidden_address_is_connected_to() {
    let server = ok_server().await;
    let port = server.address.port();
    let literals = [
        // Loopback, in every notation a URL parser takes.
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "0177.0.0.01",
        "127.0.0.0x1",
        "127.0.0.1.",
        "0x7f.0x0.0x0.0x1",
        "1２7.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "127．0．0．1",
        "%31%32%37.0.0.1",
        "127.0.0.%31",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
        // IPv4 in IPv6.
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2002:7f00:1::1]",
        "[2001:0:4136:e378::]",
        "[::ffff:8.8.8.8]",
        "[::ffff:10.0.0.1]",
        "[::ffff:192.168.0.1]",
        // Unspecified and "this network".
        "0.0.0.0",
        "0",
        "0x0",
        "00",
        "0.0.0.1",
        "[::]",
        "[::ffff:0.0.0.0]",
        // Metadata and link-local.
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "0xa9.0xfe.0xa9.0xfe",
        "169.254.43518",
        "169.16689662",
        "169.254.169.254.",
        "169.254.0.1",
        "169.254.170.2",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::]",
        "[fe80::1]",
        "[fe80::a9fe:a9fe]",
        "[febf::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        // Private, carrier-grade, unique local, site local.
        "10.0.0.1",
        "10.255.255.255",
        "167772161",
        "0xa000001",
        "012.0.0.1",
        "10.1",
        "172.16.0.1",
        "172.31.255.255",
        "172.20.10.1",
        "192.168.0.1",
        "192.168.1",
        "3232235777",
        "100.64.0.1",
        "100.127.255.254",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[fec0::1]",
        // Multicast, broadcast, reserved, documentation.
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "198.51.100.7",
        "203.0.113.5",
        "198.18.0.1",
        "192.88.99.1",
        "[ff02::1]",
        "[ff05::2]",
        "[2001:db8::1]",
        "[100::1]",
        "[3fff::1]",
        "[4000::1]",
        // Names that lead there.
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ip6-localhost",
        "metadata.google.internal",
        "rebind.example",
        "mixed.example",
        "mapped.example",
        "v6.example",
        "nat64.example",
        "ｌｏｃａｌｈｏｓｔ",
        "löcalhost.example",
        "xn--lcalhost-n4a.example",
        "private.example",
    ];
    let names = Names::of(&[
        ("localhost", &["127.0.0.1", "::1"]),
        ("localhost.", &["127.0.0.1"]),
        ("ip6-localhost", &["::1"]),
        ("metadata.google.internal", &["169.254.169.254"]),
        ("rebind.example", &["127.0.0.1"]),
        ("mixed.example", &["8.8.8.8", "127.0.0.1"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        ("v6.example", &["fe80::1"]),
        ("nat64.example", &["64:ff9b::7f00:1"]),
        ("private.example", &["10.0.0.1"]),
        ("xn--lcalhost-n4a.example", &["127.0.0.1"]),
    ]);
    let client = open(&[format!("other.example:{port}"), format!("127.0.0.1:{}", port ^ 1)], &server.ca_pem).with_resolver(names.clone());
    let urls = literals.iter().flat_map(|host| [format!("https://{host}:{port}/keys/k"), format!("https://{host}/keys/k")]);
    let more = [
        format!("http://127.0.0.1:{port}/"),
        "http://8.8.8.8/".to_owned(),
        "ftp://8.8.8.8/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://8.8.8.8/".to_owned(),
        "data:text/plain,x".to_owned(),
        "unix:/run/docker.sock".to_owned(),
        format!("https://vault.example@127.0.0.1:{port}/"),
        "https://user@8.8.8.8/".to_owned(),
        "https://user:secret@8.8.8.8/".to_owned(),
        "https://:secret@8.8.8.8/".to_owned(),
        "https://8.8.8.8/#fragment".to_owned(),
        format!("https://8.8.8.8#@127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}#@8.8.8.8/"),
        format!("https://8.8.8.8:443@127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}\\@8.8.8.8/"),
        "https://no-such-name.example/".to_owned(),
        "https://other.example:7/".to_owned(),
    ];
    let (mut tried, mut unparsable) = (0, 0);
    for text in urls.chain(more) {
        let Ok(url) = Url::parse(&text) else {
            unparsable += 1;
            continue;
        };
        let refused = client.send(get(&url)).await.unwrap_err();
        assert!(
            matches!(refused, OutboundError::Blocked(_) | OutboundError::BadUri(_) | OutboundError::Dns),
            "{text} ({url}) ended in {refused:?}"
        );
        tried += 1;
    }
    assert!(tried >= 200, "{tried} addresses tried, {unparsable} were no URLs");
    assert_eq!(server.accepted(), 0);
    assert!(client.clients.lock().is_empty(), "no client was even built");
    // The same server, once it is listed: what was refused was refused for its address.
    assert_eq!(client_of(&server).send(get(&server.url("/"))).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_leads_nowhere() {
    let target = ok_server().await;
    for status in [301, 302, 303, 307, 308] {
        let location: &'static str = Box::leak(format!("location: {}", target.url("/stolen")).into_boxed_str());
        let headers: &'static [&'static str] = Box::leak(Box::new([location]));
        let server = TestServer::start(move |_: &Seen| Action::Reply(status, headers, Vec::new())).await;
        let allow = [server.address.to_string(), target.address.to_string()];
        let reply = open(&allow, &server.ca_pem).send(get(&server.url("/"))).await.unwrap();
        assert_eq!(reply.status, status);
    }
    assert_eq!(target.accepted(), 0);
}

/// What is checked is what is connected to: the name is asked for once a call.
#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let good = ok_server().await;
    let port = good.address.port();
    let bad = TestServer::start_at(IpAddr::from([127, 0, 0, 2]), port, Handshake::Tls, Arc::new(|_: &Seen| Action::json(200, "{}"))).await;
    let names = Names::of(&[("vault.test", &["127.0.0.2"])]);
    names.first.lock().push_back(vec![good.address.ip()]);
    let client = open(&[good.address.ip().to_string()], &good.ca_pem).with_resolver(names.clone());
    let url = Url::parse(&format!("https://vault.test:{port}/")).unwrap();
    assert_eq!(client.send(get(&url)).await.unwrap().status, 200);
    assert_eq!((names.asked.lock().len(), good.accepted(), bad.accepted()), (1, 1, 0));
    // The second call asks again, and is refused: the first one's connection does not serve it.
    assert_eq!(client.send(get(&url)).await.unwrap_err(), OutboundError::Blocked(AddressClass::Loopback));
    assert_eq!((names.asked.lock().len(), good.accepted(), bad.accepted()), (2, 1, 0));
}

#[tokio::test]
async fn connections_are_kept_until_they_are_to_be_fresh() {
    let server = ok_server().await;
    let client = client_of(&server);
    for _ in 0..3 {
        client.send(get(&server.url("/"))).await.unwrap();
    }
    assert_eq!(server.accepted(), 1);
    client.forget_connections();
    client.send(get(&server.url("/"))).await.unwrap();
    assert_eq!(server.accepted(), 2);
    client.fresh().send(get(&server.url("/"))).await.unwrap();
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn only_given_authorities_are_trusted() {
    let (server, other) = (ok_server().await, ok_server().await);
    let client = open(&[server.address.to_string()], &other.ca_pem);
    assert_eq!(client.send(get(&server.url("/"))).await.unwrap_err(), OutboundError::Tls);
    let client = client.with_roots(&server.ca_pem).unwrap();
    assert_eq!(client.send(get(&server.url("/"))).await.unwrap().status, 200);
    // Vouched for, but not for this name.
    let names = Names::of(&[("elsewhere.test", &["127.0.0.1"])]);
    let client = open(&["127.0.0.1".to_owned()], &server.ca_pem).with_resolver(names);
    let url = Url::parse(&format!("https://elsewhere.test:{}/", server.address.port())).unwrap();
    assert_eq!(client.send(get(&url)).await.unwrap_err(), OutboundError::Tls);
    for bad in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(client.with_roots(bad), Err(OutboundConfigError::Certificate)), "{bad}");
    }
}

#[tokio::test]
async fn authorities_come_from_files_too() {
    let sim = SimWorld::new(2);
    let server = ok_server().await;
    let file = PathBuf::from("/ca.pem");
    let config = OutboundConfig { allow: vec![server.address.to_string()], ca_files: vec![file.clone()], ..OutboundConfig::default() };
    assert!(matches!(Outbound::open(&sim.world(), &config, &[]), Err(OutboundConfigError::CaFile { .. })));
    let written = sim.world().fs.create_new(&file).unwrap();
    written.write_all_at(&[std::io::IoSlice::new(server.ca_pem.as_bytes())], 0).unwrap();
    let client = Outbound::open(&sim.world(), &config, &[]).unwrap();
    assert_eq!(client.send(get(&server.url("/"))).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let server = TestServer::start(|seen: &Seen| {
        let len: usize = seen.path.trim_start_matches('/').parse().unwrap();
        Action::Reply(200, &[], vec![b'x'; len])
    })
    .await;
    let client = client_of(&server);
    assert_eq!(client.send(get(&server.url("/65536"))).await.unwrap().body.len(), 65_536);
    assert_eq!(client.send(get(&server.url("/65537"))).await.unwrap_err(), OutboundError::TooLarge);
    assert_eq!(client.send(get(&server.url("/50000000"))).await.unwrap_err(), OutboundError::TooLarge);
}

#[tokio::test]
async fn what_goes_wrong_has_a_code() {
    let gone = ok_server().await;
    let (address, ca) = (gone.address, gone.ca_pem.clone());
    drop(gone);
    tokio::task::yield_now().await;
    let url = Url::parse(&format!("https://{address}/")).unwrap();
    assert_eq!(open(&[address.to_string()], &ca).send(get(&url)).await.unwrap_err(), OutboundError::Refused);
    assert_eq!(error_of(&TestServer::start_with(Handshake::Plain).await).await, OutboundError::Tls);
    assert_eq!(error_of(&TestServer::start_with(Handshake::Close).await).await, OutboundError::Reset);
    let raw = |bytes: &'static [u8]| TestServer::start(move |_: &Seen| Action::Raw(bytes.to_vec()));
    assert_eq!(error_of(&raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await).await, OutboundError::Reset);
    assert_eq!(error_of(&raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await).await, OutboundError::Malformed);
    let closing = TestServer::start(|_: &Seen| Action::Close).await;
    assert!(matches!(error_of(&closing).await, OutboundError::Reset | OutboundError::Malformed));
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_timeout() {
    let hung = [TestServer::start_with(Handshake::Hang).await, TestServer::start(|_: &Seen| Action::Hang).await];
    for server in &hung {
        let config = OutboundConfig { allow: vec![server.address.to_string()], timeout_ms: 300, ..OutboundConfig::default() };
        let client = Outbound::open(&SimWorld::new(1).world(), &config, &[&server.ca_pem]).unwrap();
        assert_eq!(client.send(get(&server.url("/"))).await.unwrap_err(), OutboundError::Timeout);
    }
}

#[tokio::test]
async fn a_call_carries_what_it_was_given() {
    let server = TestServer::start(|_: &Seen| Action::Reply(429, &["retry-after: 17"], Vec::new())).await;
    let client = client_of(&server);
    let text = Zeroizing::new(r#"{"a":1}"#.to_owned());
    let url = server.url("/x?y=z");
    let reply =
        client.send(Call { bearer: Some("t0ken"), headers: &[("x-more", "m0re")], ..Call::new(&url, Body::Json(&text)) }).await.unwrap();
    assert_eq!((reply.status, reply.retry_after), (429, Some(Duration::from_secs(17))));
    client.send(Call::new(&url, Body::Form(&[("a", "b c"), ("d", "&=")]))).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str(), seen[0].body.as_str()), ("POST", "/x?y=z", r#"{"a":1}"#));
    assert_eq!((seen[0].header("authorization"), seen[0].header("x-more")), (Some("Bearer t0ken"), Some("m0re")));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!((seen[1].body.as_str(), seen[1].header("authorization")), ("a=b+c&d=%26%3D", None));
}
