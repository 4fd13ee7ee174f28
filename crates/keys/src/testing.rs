//! A TLS server on 127.0.0.1 that answers as a test tells it to, well or badly.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Header lines as sent.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Answers: status, header lines, body.
    Reply(u16, &'static [&'static str], Vec<u8>),
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Says nothing and keeps the connection.
    Hang,
    /// Closes without a word.
    Close,
}

impl Action {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::Reply(status, &["content-type: application/json"], body.as_bytes().to_vec())
    }
}

/// What the server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Tls,
    /// Speaks plain text where TLS is due.
    Plain,
    /// Never answers the hello.
    Hang,
    /// Breaks the connection off.
    Close,
}

pub(crate) type Script = Arc<dyn Fn(&Seen) -> Action + Send + Sync>;

/// The server. Ends when dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    accepted: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        Self::start_at(IpAddr::from([127, 0, 0, 1]), 0, Handshake::Tls, Arc::new(script)).await
    }

    pub(crate) async fn start_with(handshake: Handshake) -> Self {
        Self::start_at(IpAddr::from([127, 0, 0, 1]), 0, handshake, Arc::new(|_: &Seen| Action::Hang)).await
    }

    pub(crate) async fn start_at(ip: IpAddr, port: u16, handshake: Handshake, script: Script) -> Self {
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let (config, ca_pem) = certificate();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (accepted, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let address = listener.local_addr().unwrap();
        let (count, log) = (Arc::clone(&accepted), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            // Their tasks end with the set, and the set with the server.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(stream, handshake, acceptor.clone(), Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { address, ca_pem, accepted, seen, task }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("https://{}{path}", self.address)).unwrap()
    }

    /// How many connections came.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What was asked, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(mut stream: TcpStream, handshake: Handshake, acceptor: TlsAcceptor, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    match handshake {
        Handshake::Tls => {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                while serve(&mut stream, &script, &log).await.is_some() {}
            }
        }
        Handshake::Plain => {
            let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            let _read = stream.read_to_end(&mut Vec::new()).await;
        }
        Handshake::Hang => std::future::pending().await,
        Handshake::Close => drop(stream),
    }
}

/// One request and its answer; `None` once the connection is done.
async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), script: &Script, log: &Mutex<Vec<Seen>>) -> Option<()> {
    let seen = read_request(stream).await?;
    log.lock().push(seen.clone());
    match script(&seen) {
        Action::Reply(status, headers, body) => {
            let headers: String = headers.iter().flat_map(|line| [*line, "\r\n"]).collect();
            let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
            stream.flush().await.ok()
        }
        Action::Raw(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.flush().await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
        Action::Hang => std::future::pending().await,
        Action::Close => None,
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_len].to_vec()).ok()?;
    let mut first = head.lines().next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let mut seen = Seen { method, path, head, body: String::new() };
    let len: usize = seen.header("content-length").map_or(Some(0), |len| len.parse().ok())?;
    while bytes.len() < head_len + len {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = String::from_utf8(bytes[head_len..head_len + len].to_vec()).ok()?;
    Some(seen)
}

/// A server's configuration for 127.0.0.1, 127.0.0.2, localhost and vault.test, and the authority that vouches for it.
fn certificate() -> (ServerConfig, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "test authority");
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let names = ["127.0.0.1", "127.0.0.2", "localhost", "vault.test"].map(str::to_owned);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private).unwrap();
    (config, ca.pem())
}
