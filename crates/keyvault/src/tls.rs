//! The vault's own CA, and a server certificate that lives in memory and is renewed there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use strongroom_world::World;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::VaultServerError;
use crate::files;
use crate::store::Store;

/// How long the CA is good for, how long a server certificate, and after how long it is renewed. Days.
const CA_DAYS: u32 = 20 * 365;
const SERVER_DAYS: u32 = 90;
const RENEW_DAYS: i64 = 30;
/// Clocks of clients may be behind by this much. Days.
const EARLIER_DAYS: u32 = 2;
const DAY: Duration = Duration::from_hours(24);

/// Certificates of one vault.
#[derive(Debug)]
pub(crate) struct Tls {
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
    hosts: Vec<String>,
    current: Arc<Current>,
    /// Seconds since 1970.
    issued: RwLock<i64>,
}

/// The certificate that handshakes get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

fn failed(error: impl std::fmt::Display) -> VaultServerError {
    VaultServerError::Tls(error.to_string())
}

impl Tls {
    /// Opens the CA or makes it, and issues a server certificate for `hosts` (names and addresses).
    pub(crate) fn open(
        world: &World,
        dir: &std::path::Path,
        store: &Store,
        tenant: Uuid,
        hosts: Vec<String>,
    ) -> Result<Self, VaultServerError> {
        let path = files::ca_path(dir);
        let now = world.clock.wall().unix_secs();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Strongroom key vault {tenant}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let (key, ca_pem) = match (store.ca_key()?, world.fs.read(&path, 64 << 10)) {
            (Some(pkcs8), Ok(pem)) => {
                let der = PrivateKeyDer::Pkcs8(pkcs8.as_slice().into());
                let key = KeyPair::try_from(&der).map_err(failed)?;
                let pem = String::from_utf8(pem)
                    .map_err(|_| VaultServerError::Corrupt { path: path.clone(), problem: "it is not a certificate" })?;
                (key, pem)
            }
            (_, Err(error)) if error.kind() != std::io::ErrorKind::NotFound => return Err(VaultServerError::directory(&path)(error)),
            // A key without its certificate is what a crash leaves between the two.
            _ => {
                let key = KeyPair::generate().map_err(failed)?;
                lifetime(&mut params, now, CA_DAYS);
                let pem = params.self_signed(&key).map_err(failed)?.pem();
                store.save_ca_key(&Zeroizing::new(key.serialize_der()))?;
                world.fs.write_atomic(&path, pem.as_bytes()).map_err(VaultServerError::directory(&path))?;
                (key, pem)
            }
        };
        let ca = Issuer::new(params, key);
        let first = issue(&ca, &hosts, now)?;
        Ok(Self { ca, ca_pem, hosts, current: Arc::new(Current(RwLock::new(first))), issued: RwLock::new(now) })
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn config(&self) -> Result<Arc<ServerConfig>, VaultServerError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Replaces the server certificate once it is old.
    pub(crate) fn renew(&self, now: i64) {
        if now - *self.issued.read() < RENEW_DAYS * 86_400 {
            return;
        }
        match issue(&self.ca, &self.hosts, now) {
            Ok(renewed) => {
                *self.current.0.write() = renewed;
                *self.issued.write() = now;
                tracing::info!("the server certificate was renewed");
            }
            Err(error) => tracing::error!(%error, "the server certificate could not be renewed"),
        }
    }
}

fn issue(ca: &Issuer<'static, KeyPair>, hosts: &[String], now: i64) -> Result<Arc<CertifiedKey>, VaultServerError> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Strongroom key vault");
    lifetime(&mut params, now, SERVER_DAYS);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for host in hosts {
        let host = host.trim_matches(['[', ']']);
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.to_owned().try_into().map_err(failed)?),
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

/// Addresses that every vault answers for.
pub(crate) fn loopback() -> [String; 3] {
    ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), format!("[{}]", Ipv6Addr::LOCALHOST)]
}
