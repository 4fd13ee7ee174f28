//! The one way out: every call to an address that somebody configured goes through here.
//!
//! A customer names the vault, so the address is a stranger's input: it could point at our own network, at a cloud's metadata
//! service, or change its mind between check and connect. Therefore: https only, no redirects, no proxy; the name is resolved
//! here, every address it has is checked, and the call can connect to the checked addresses and no others; answers are bounded
//! in size and time; certificates verify against the given roots and nothing else. What came of it is a code, never the other
//! side's text. Start at [`Outbound::send`].
//!
//! ```text
//! url ─▶ scheme, user, fragment ─▶ resolve ─▶ check EVERY address (address.rs) ─▶ connect to those ─▶ TLS ─▶ ≤ 64 KiB
//! ```

mod address;
mod error;
mod metadata;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use strongroom_world::World;
use url::{Host, Url};
use zeroize::Zeroizing;

pub use address::{AddressClass, AllowList};
pub use error::{OutboundConfigError, OutboundError};
pub use metadata::Metadata;

/// Bytes of a certificate file at most.
const CA_FILE_MAX: u64 = 1 << 20;
/// Pinned clients kept, each with its connections; when full, all go.
const CLIENTS_MAX: usize = 32;
/// An idle connection is closed after this: longer than a poll interval, shorter than a server's patience.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What may be called, and how long that may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundConfig {
    /// What may be called although it is private: networks (`10.20.0.0/16`), addresses, or exact `host:port`. Link-local and
    /// metadata addresses are refused even so.
    pub allow: Vec<String>,
    /// PEM files with the certificate authorities to trust. None are trusted by default: not the system's either.
    pub ca_files: Vec<PathBuf>,
    /// Until a connection stands, TLS included. Milliseconds.
    pub connect_timeout_ms: u64,
    /// For a whole call: name, connection, answer. Milliseconds.
    pub timeout_ms: u64,
    /// Bytes of an answer.
    pub answer_max_bytes: usize,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self { allow: Vec::new(), ca_files: Vec::new(), connect_timeout_ms: 5_000, timeout_ms: 5_000, answer_max_bytes: 64 << 10 }
    }
}

/// Asks for the addresses of a name. The real one is the system's; tests have their own.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync {
    /// All of them.
    ///
    /// # Errors
    /// Whatever the system said; only that it failed is told further.
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

#[derive(Debug)]
struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A call to make.
#[derive(Debug)]
pub struct Call<'a> {
    /// Where.
    pub url: &'a Url,
    /// As whom.
    pub bearer: Option<&'a str>,
    /// Further headers; what stands in them is not logged.
    pub headers: &'a [(&'static str, &'a str)],
    /// What with.
    pub body: Body<'a>,
}

impl<'a> Call<'a> {
    /// A call as nobody.
    #[must_use]
    pub const fn new(url: &'a Url, body: Body<'a>) -> Self {
        Self { url, bearer: None, headers: &[], body }
    }
}

/// What a call carries: nothing is a GET, anything a POST.
pub enum Body<'a> {
    /// Nothing.
    None,
    /// JSON text; our copy is wiped.
    Json(&'a Zeroizing<String>),
    /// JSON text under another media type; our copy is wiped.
    Typed(&'static str, &'a Zeroizing<String>),
    /// Form fields; our copy is wiped.
    Form(&'a [(&'a str, &'a str)]),
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Json(_) | Self::Typed(..) => "Json(..)",
            Self::Form(_) => "Form(..)",
        })
    }
}

/// What came back.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// How long the other side asked to be left alone.
    pub retry_after: Option<Duration>,
    /// The whole body: it may hold a key.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A hardened HTTP client. Each has its own connections.
pub struct Outbound {
    rules: Arc<Rules>,
    clients: Mutex<HashMap<Pin, reqwest::Client>>,
}

/// What all copies of a client share.
struct Rules {
    allow: AllowList,
    roots: RootCertStore,
    tls: ClientConfig,
    resolver: Arc<dyn Resolver>,
    connect_timeout: Duration,
    timeout: Duration,
    answer_max_bytes: usize,
}

/// What a connection is bound to: another address, another client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pin {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl Outbound {
    /// A client that trusts the configured certificate files and those in `pems`.
    ///
    /// # Errors
    /// [`OutboundConfigError`] for an allow-list entry that is none, or certificates that cannot be read.
    pub fn open(world: &World, config: &OutboundConfig, pems: &[&str]) -> Result<Self, OutboundConfigError> {
        let mut roots = RootCertStore::empty();
        for file in &config.ca_files {
            let unreadable = |source| OutboundConfigError::CaFile { file: file.clone(), source };
            let pem = world.fs.read(file, CA_FILE_MAX).map_err(unreadable)?;
            add_roots(&mut roots, &pem)?;
        }
        for pem in pems {
            add_roots(&mut roots, pem.as_bytes())?;
        }
        let rules = Rules {
            allow: AllowList::parse(&config.allow)?,
            tls: tls_config(roots.clone())?,
            roots,
            resolver: Arc::new(SystemResolver),
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            timeout: Duration::from_millis(config.timeout_ms),
            answer_max_bytes: config.answer_max_bytes,
        };
        Ok(Self { rules: Arc::new(rules), clients: Mutex::default() })
    }

    /// The same client with more certificate authorities: one vault's own.
    ///
    /// # Errors
    /// [`OutboundConfigError::Certificate`].
    pub fn with_roots(&self, pem: &str) -> Result<Self, OutboundConfigError> {
        let mut roots = self.rules.roots.clone();
        add_roots(&mut roots, pem.as_bytes())?;
        let rules = Rules { tls: tls_config(roots.clone())?, roots, ..self.rules.copied() };
        Ok(Self { rules: Arc::new(rules), clients: Mutex::default() })
    }

    /// The same client with another way to find addresses.
    #[must_use]
    pub fn with_resolver(&self, resolver: Arc<dyn Resolver>) -> Self {
        let rules = Rules { resolver, ..self.rules.copied() };
        Self { rules: Arc::new(rules), clients: Mutex::default() }
    }

    /// The same client without any open connection.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), clients: Mutex::default() }
    }

    /// Closes idle connections: the next call opens one.
    pub fn forget_connections(&self) {
        self.clients.lock().clear();
    }

    /// Makes one call.
    ///
    /// # Errors
    /// [`OutboundError`]: nothing usable came back. Any status is an answer.
    pub async fn send(&self, call: Call<'_>) -> Result<Reply, OutboundError> {
        let done = tokio::time::timeout(self.rules.timeout, self.send_in_time(call)).await;
        done.map_err(|_| OutboundError::Timeout)?
    }

    async fn send_in_time(&self, call: Call<'_>) -> Result<Reply, OutboundError> {
        let client = self.pinned(self.pin(call.url).await?)?;
        let mut request = match call.body {
            Body::None => client.get(call.url.clone()),
            Body::Json(_) | Body::Typed(..) | Body::Form(_) => client.post(call.url.clone()),
        };
        if let Some(token) = call.bearer {
            let text = Zeroizing::new(format!("Bearer {token}"));
            let mut value = HeaderValue::from_str(&text).map_err(|_| OutboundError::BadUri("token"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in call.headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| OutboundError::BadUri("header"))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let json = |request: reqwest::RequestBuilder, media_type: &'static str, text: &Zeroizing<String>| {
            let body = Zeroizing::new(text.as_bytes().to_vec());
            request.header(CONTENT_TYPE, media_type).body(Bytes::from_owner(body))
        };
        request = match call.body {
            Body::None => request,
            Body::Json(text) => json(request, "application/json", text),
            Body::Typed(media_type, text) => json(request, media_type, text),
            Body::Form(fields) => {
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                let body = Zeroizing::new(form.into_bytes());
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Bytes::from_owner(body))
            }
        };
        read(request, self.rules.answer_max_bytes).await
    }

    /// Where a URL leads, if it may be called.
    async fn pin(&self, url: &Url) -> Result<Pin, OutboundError> {
        if url.scheme() != "https" {
            return Err(OutboundError::BadUri("scheme"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundError::BadUri("user"));
        }
        if url.fragment().is_some() {
            return Err(OutboundError::BadUri("fragment"));
        }
        let host = url.host().ok_or(OutboundError::BadUri("host"))?;
        let port = url.port_or_known_default().ok_or(OutboundError::BadUri("port"))?;
        let mut addresses = match &host {
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
            Host::Domain(name) => self.rules.resolver.resolve(name).await.map_err(|_| OutboundError::Dns)?,
        };
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(OutboundError::Dns);
        }
        let host = host.to_string();
        self.rules.allow.check(&host, port, &addresses).map_err(OutboundError::Blocked)?;
        Ok(Pin { host, port, addresses })
    }

    /// The client that can connect to these addresses and no others.
    fn pinned(&self, pin: Pin) -> Result<reqwest::Client, OutboundError> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&pin) {
            return Ok(client.clone());
        }
        let addresses: Vec<SocketAddr> = pin.addresses.iter().map(|address| SocketAddr::new(*address, pin.port)).collect();
        let client = reqwest::Client::builder()
            .use_preconfigured_tls(self.rules.tls.clone())
            .https_only(true)
            .http1_only()
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .resolve_to_addrs(&pin.host, &addresses)
            // The pinned name is the only one it will ever be asked for; should that fail, nothing resolves.
            .dns_resolver(Arc::new(NoResolver))
            .connect_timeout(self.rules.connect_timeout)
            .timeout(self.rules.timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| OutboundError::of(&error))?;
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(pin, client.clone());
        Ok(client)
    }
}

/// Sends a request and reads its whole answer, up to a bound.
async fn read(request: reqwest::RequestBuilder, max_bytes: usize) -> Result<Reply, OutboundError> {
    let mut response = request.send().await.map_err(|error| OutboundError::of(&error))?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    // Room for all at once: a body that grows would leave copies of itself behind.
    let mut body = Zeroizing::new(Vec::with_capacity(max_bytes));
    while let Some(chunk) = response.chunk().await.map_err(|error| OutboundError::of(&error))? {
        if body.len() + chunk.len() > max_bytes {
            return Err(OutboundError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, retry_after: retry_after.map(Duration::from_secs), body })
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("allow", &self.rules.allow).finish_non_exhaustive()
    }
}

impl Rules {
    fn copied(&self) -> Self {
        Self {
            allow: self.allow.clone(),
            roots: self.roots.clone(),
            tls: self.tls.clone(),
            resolver: Arc::clone(&self.resolver),
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            answer_max_bytes: self.answer_max_bytes,
        }
    }
}

#[derive(Debug)]
struct NoResolver;

impl reqwest::dns::Resolve for NoResolver {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async { Err(Box::from("names are resolved before a call")) })
    }
}

fn add_roots(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), OutboundConfigError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| OutboundConfigError::Certificate)?;
        roots.add(certificate).map_err(|_| OutboundConfigError::Certificate)?;
    }
    if roots.len() == before { Err(OutboundConfigError::Certificate) } else { Ok(()) }
}

/// TLS 1.2 and 1.3 with the provider named: which other crates are built in does not change what is spoken.
fn tls_config(roots: RootCertStore) -> Result<ClientConfig, OutboundConfigError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|_| OutboundConfigError::Tls)?.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
