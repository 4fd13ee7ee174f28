//! TLS of the gateway: the operator's certificate, or one under a certificate authority of our own that clients are told to trust.
//!
//! The own authority lies in the config directory beside the root key (`tls/ca.pem`, `tls/ca.key`); the server's certificate is made
//! from it at each start, lives in memory alone and is renewed there. The operator's files are read again when they change.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use strongroom_world::World;
use zeroize::Zeroizing;

use crate::{Config, ServeError};

/// How long the authority is good for, how long a certificate under it, and after how long that is renewed. Days.
const CA_DAYS: u32 = 20 * 365;
const SERVER_DAYS: u32 = 90;
const RENEW_DAYS: i64 = 30;
/// Clocks of clients may be behind by this much. Days.
const EARLIER_DAYS: u32 = 2;
const DAY: Duration = Duration::from_hours(24);
const FILE_MAX: u64 = 1 << 20;

/// Whether the one port speaks TLS, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Whether the port speaks https, and nothing else. Off: http, for loopback or behind a proxy.
    pub enabled: bool,
    /// The certificate with its chain, PEM. Empty: one under an authority of the server's own, `tls/ca.pem` in the config directory.
    pub certificate: PathBuf,
    /// Its private key, PEM, readable by the server's user alone.
    pub key: PathBuf,
    /// Names and addresses that an own certificate is for, besides localhost, loopback and the host of `gateway.external_url`.
    pub names: Vec<String>,
    /// Time for a handshake, in milliseconds.
    pub handshake_timeout_ms: u64,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { enabled: false, certificate: PathBuf::new(), key: PathBuf::new(), names: Vec::new(), handshake_timeout_ms: 10_000 }
    }
}

/// Where the own authority lies.
#[must_use]
pub fn ca_path(config_dir: &Path) -> PathBuf {
    config_dir.join("tls").join("ca.pem")
}

fn ca_key_path(config_dir: &Path) -> PathBuf {
    config_dir.join("tls").join("ca.key")
}

enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    Own { ca: Box<Issuer<'static, KeyPair>>, names: Vec<String> },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files { .. } => "Files",
            Self::Own { .. } => "Own",
        })
    }
}

/// The certificate that handshakes get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// By what a change is told: of a file, which it is and when it was written, to the nanosecond, since two may be written in one
/// second; of an own certificate, its birth in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Files([(u64, i64, i64); 2]),
    Own(i64),
}

/// The gateway's certificate, and where it comes from.
#[derive(Debug)]
pub(crate) struct Tls {
    world: World,
    source: Source,
    current: Arc<Current>,
    stamp: RwLock<Stamp>,
}

fn failed(error: impl fmt::Display) -> ServeError {
    ServeError::Tls(error.to_string())
}

impl Tls {
    /// Opens what the configuration says; `None` if that is nothing.
    pub(crate) fn open(config: &Config, world: &World, listen: SocketAddr) -> Result<Option<Self>, ServeError> {
        if !config.tls.enabled {
            return Ok(None);
        }
        let files = (config.tls.certificate.as_os_str().is_empty(), config.tls.key.as_os_str().is_empty());
        let source = match files {
            (false, false) => Source::Files { certificate: config.tls.certificate.clone(), key: config.tls.key.clone() },
            (true, true) => Source::Own { ca: Box::new(authority(world, &config.config_dir)?), names: names(config, listen) },
            _ => return Err(failed("[tls] certificate and key belong together: give both or neither")),
        };
        let stamp = source.stamp(world)?;
        let current = Arc::new(Current(RwLock::new(source.load(world)?)));
        Ok(Some(Self { world: world.clone(), source, current, stamp: RwLock::new(stamp) }))
    }

    /// What clients are to be told to trust, if it is our own.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.source, Source::Own { .. })
    }

    pub(crate) fn config(&self) -> Result<Arc<ServerConfig>, ServeError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Takes a new certificate once the old one is old, or its files have changed.
    pub(crate) fn renew(&self) {
        let now = match self.source.stamp(&self.world) {
            Ok(now) => now,
            Err(error) => return tracing::error!(%error, "the server certificate is not where it was"),
        };
        let due = match (now, *self.stamp.read()) {
            (Stamp::Own(now_s), Stamp::Own(born)) => (now_s - born >= RENEW_DAYS * 86_400).then_some(now),
            (now, before) => (now != before).then_some(now),
        };
        let Some(stamp) = due else { return };
        match self.source.load(&self.world) {
            Ok(renewed) => {
                *self.current.0.write() = renewed;
                *self.stamp.write() = stamp;
                tracing::info!("the server certificate was renewed");
            }
            Err(error) => tracing::error!(%error, "the server certificate could not be renewed"),
        }
    }
}

impl Source {
    fn stamp(&self, world: &World) -> Result<Stamp, ServeError> {
        let changed = |path: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            let found = std::fs::metadata(path).map_err(|source| ServeError::directory(path, source))?;
            Ok::<_, ServeError>((found.ino(), found.mtime(), found.mtime_nsec()))
        };
        match self {
            Self::Own { .. } => Ok(Stamp::Own(world.clock.wall().unix_secs())),
            Self::Files { certificate, key } => Ok(Stamp::Files([changed(certificate)?, changed(key)?])),
        }
    }

    fn load(&self, world: &World) -> Result<Arc<CertifiedKey>, ServeError> {
        match self {
            Self::Own { ca, names } => issue(ca, names, world.clock.wall().unix_secs()),
            Self::Files { certificate, key } => {
                let read = |path: &Path| world.fs.read(path, FILE_MAX).map_err(|source| ServeError::directory(path, source));
                let mode = std::fs::metadata(key).map_err(|source| ServeError::directory(key, source))?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(failed(format!("{}: others may read it; set its mode to 0600", key.display())));
                }
                let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
                let chain = chain.map_err(|_| failed(format!("{}: no certificates in PEM", certificate.display())))?;
                if chain.is_empty() {
                    return Err(failed(format!("{}: no certificates in PEM", certificate.display())));
                }
                let pem = Zeroizing::new(read(key)?);
                let private =
                    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| failed(format!("{}: no private key in PEM", key.display())))?;
                let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).map_err(failed)?;
                let certified = CertifiedKey::new(chain, signing);
                certified.keys_match().map_err(|_| failed("[tls] the key is not the certificate's"))?;
                Ok(Arc::new(certified))
            }
        }
    }
}

/// Whether an address is one of this server's: of those that the configuration names, and those that can be of no other.
pub(crate) fn is_own_name(config: &Config, url: &str) -> bool {
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    host.is_some_and(|host| names(config, config.listen).iter().any(|name| name.eq_ignore_ascii_case(&host)))
}

/// Who an own certificate is for.
fn names(config: &Config, listen: SocketAddr) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !listen.ip().is_unspecified() {
        names.push(listen.ip().to_string());
    }
    names.extend(config.tls.names.iter().map(|name| name.trim_matches(['[', ']']).to_owned()));
    let external = url::Url::parse(&config.gateway.external_url).ok();
    names.extend(external.and_then(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned())));
    names.sort();
    names.dedup();
    names
}

/// Opens the own authority, or makes it.
fn authority(world: &World, config_dir: &Path) -> Result<Issuer<'static, KeyPair>, ServeError> {
    let (path, key_path) = (ca_path(config_dir), ca_key_path(config_dir));
    let dir = config_dir.join("tls");
    world.fs.create_dir_all(&dir).map_err(|source| ServeError::directory(&dir, source))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // Not what certificates under it are called: OpenSSL takes one that bears its issuer's name for self-signed.
    params.distinguished_name.push(DnType::CommonName, "Strongroom authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let known = match world.fs.read(&key_path, FILE_MAX) {
        Ok(der) => Some(Zeroizing::new(der)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(ServeError::directory(&key_path, source)),
    };
    let key = if let Some(der) = known {
        KeyPair::try_from(&PrivateKeyDer::Pkcs8(der.as_slice().into())).map_err(failed)?
    } else {
        let key = KeyPair::generate().map_err(failed)?;
        let der = Zeroizing::new(key.serialize_der());
        world.fs.write_atomic(&key_path, &der).map_err(|source| ServeError::directory(&key_path, source))?;
        key
    };
    // A key without its certificate is what a crash leaves between the two; the same key may vouch for itself again.
    if world.fs.metadata(&path).is_err() {
        lifetime(&mut params, world.clock.wall().unix_secs(), CA_DAYS);
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        world.fs.write_atomic(&path, pem.as_bytes()).map_err(|source| ServeError::directory(&path, source))?;
    }
    Ok(Issuer::new(params, key))
}

fn issue(ca: &Issuer<'static, KeyPair>, names: &[String], now: i64) -> Result<Arc<CertifiedKey>, ServeError> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Strongroom");
    lifetime(&mut params, now, SERVER_DAYS);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.clone().try_into().map_err(failed)?),
        });
    }
    let certificate: CertificateDer<'static> = params.signed_by(&key, ca).map_err(failed)?.der().clone();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).map_err(failed)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate], signing)))
}

fn lifetime(params: &mut CertificateParams, now: i64, days: u32) {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(now).unwrap_or(0));
    params.not_before = now - DAY * EARLIER_DAYS;
    params.not_after = now + DAY * days;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        let mut config = Config { config_dir: dir.to_owned(), ..Config::default() };
        config.tls.enabled = true;
        config
    }

    fn open(config: &Config) -> Result<Tls, ServeError> {
        Tls::open(config, &World::real(), SocketAddr::from(([127, 0, 0, 1], 1))).map(Option::unwrap)
    }

    #[test]
    fn the_own_authority_is_made_once_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let tls = open(&config(dir.path())).unwrap();
        assert!(tls.is_own());
        let pem = std::fs::read(ca_path(dir.path())).unwrap();
        let mode = std::fs::metadata(ca_key_path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        open(&config(dir.path())).unwrap();
        assert_eq!(std::fs::read(ca_path(dir.path())).unwrap(), pem, "clients go on trusting the same one");
        assert!(Tls::open(&Config::default(), &World::real(), SocketAddr::from(([127, 0, 0, 1], 1))).unwrap().is_none());
    }

    #[test]
    fn files_of_the_operator_are_taken_if_they_belong_together_and_the_key_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec!["logs.example".to_owned()]).unwrap().self_signed(&key).unwrap();
            let paths = (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}.key")));
            std::fs::write(&paths.0, certificate.pem()).unwrap();
            std::fs::write(&paths.1, key.serialize_pem()).unwrap();
            std::fs::set_permissions(&paths.1, std::fs::Permissions::from_mode(0o600)).unwrap();
            paths
        };
        let (one, other) = (made("one"), made("other"));
        let with = |certificate: &Path, key: &Path| {
            let mut config = config(dir.path());
            (config.tls.certificate, config.tls.key) = (certificate.to_owned(), key.to_owned());
            open(&config)
        };
        let tls = with(&one.0, &one.1).unwrap();
        assert!(!tls.is_own());
        let before = tls.current.0.read().cert.clone();
        // Within the second in which the first ones were read.
        std::fs::copy(&other.0, &one.0).unwrap();
        tls.renew();
        assert_eq!(tls.current.0.read().cert, before, "half a change is none");
        std::fs::copy(&other.1, &one.1).unwrap();
        tls.renew();
        assert_ne!(tls.current.0.read().cert, before);
        assert!(with(&made("third").0, &other.1).unwrap_err().to_string().contains("not the certificate's"));
        std::fs::set_permissions(&other.1, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(with(&other.0, &other.1).unwrap_err().to_string().contains("0600"));
        assert!(with(&other.0, Path::new("")).unwrap_err().to_string().contains("both or neither"));
    }
}
