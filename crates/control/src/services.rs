//! Service principals: what programs log in as, with a secret or a certificate, for a token of an hour.
//!
//! Several credentials at a time, each with an end, so that one can be replaced while the other works. Failures are told in the words
//! of Entra ID, for those are what its clients show; which of two things was wrong is said only where it helps nobody to guess.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use strongroom_catalog::{Catalog, CatalogError, CredentialRow, PrincipalRow};
use strongroom_model::{ObjectId, PrincipalId};
use strongroom_world::{BootTime, World};
use subtle::ConstantTimeEq as _;
use webpki::aws_lc_rs::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};
use webpki::{EndEntityCert, KeyUsage};
use zeroize::Zeroizing;

use crate::audit::{Event, Scribe, name};
use crate::{Caller, ControlError, DirectoryConfig, Principals, audit};

/// Credentials of one service.
const CREDENTIALS_MAX: usize = 20;
/// Bytes of a certificate, and of an assertion signed with one.
const CERTIFICATE_MAX: usize = 16 << 10;
const ASSERTION_MAX: usize = 16 << 10;
/// The longest that an assertion may be good for, and how far two clocks may differ. Seconds.
const ASSERTION_LIFE_S: i64 = 24 * 3_600;
const LEEWAY_S: i64 = 300;
const TTL_MIN: Duration = Duration::from_mins(1);
const TTL_MAX: Duration = Duration::from_hours(10 * 366 * 24);
/// Addresses and clients that logins are counted for.
const COUNTED_MAX: usize = 20_000;
const MINUTE: Duration = Duration::from_mins(1);

/// Why somebody could not log in, in the words of RFC 6749 and of Entra ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginError {
    /// HTTP's status: 400, 401, 429 or 503.
    pub status: u16,
    /// As RFC 6749 §5.2 has it.
    pub error: &'static str,
    /// Entra's number.
    pub number: u32,
    /// What the user is shown.
    pub text: String,
}

impl LoginError {
    /// An error.
    #[must_use]
    pub fn new(status: u16, error: &'static str, number: u32, text: impl Into<String>) -> Self {
        Self { status, error, number, text: text.into() }
    }
}

/// What somebody logs in with. Its `Debug` says which kind, and nothing of it.
pub enum Proof<'a> {
    /// A secret.
    Secret(&'a str),
    /// A JWT signed with the key of a certificate (RFC 7523), and the address it was made for.
    Assertion {
        /// The JWT.
        jwt: &'a str,
        /// The token endpoint as the client names it.
        endpoint: &'a str,
    },
}

impl fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Assertion { .. } => "Assertion",
        })
    }
}

/// A secret just made; shown this once.
pub struct CreatedSecret {
    /// What is kept of it.
    pub row: CredentialRow,
    /// The secret.
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for CreatedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedSecret").field("id", &self.row.id).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Seconds,
    #[serde(default)]
    nbf: Option<Seconds>,
}

/// Seconds since 1970; some clients write fractions (RFC 7519 §2 allows them), which say nothing here.
#[derive(Clone, Copy)]
struct Seconds(i64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = serde_json::Number::deserialize(deserializer)?.to_string();
        let whole = text.split('.').next().and_then(|whole| whole.parse().ok());
        whole.map(Self).ok_or_else(|| serde::de::Error::custom("no time"))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, endpoint: &str) -> bool {
        let same = |text: &String| text.trim_end_matches('/').eq_ignore_ascii_case(endpoint.trim_end_matches('/'));
        match self {
            Self::One(text) => same(text),
            Self::Several(list) => list.iter().any(same),
        }
    }
}

/// The services of a catalog.
#[derive(Debug)]
pub struct Services {
    world: World,
    catalog: Catalog,
    principals: Arc<Principals>,
    per_client: u32,
    per_address: u32,
    counted: Mutex<HashMap<(IpAddr, String), (BootTime, u32)>>,
    audit: audit::Desk,
}

impl Services {
    /// The services of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, principals: Arc<Principals>, config: &DirectoryConfig) -> Self {
        let (per_client, per_address) = (config.logins_per_client_max, config.logins_per_address_max);
        Self { world, catalog, principals, per_client, per_address, counted: Mutex::default(), audit: audit::Desk::default() }
    }

    /// Has every credential that is given or taken told to a scribe.
    pub fn audited_by(&self, scribe: Arc<dyn Scribe>) {
        self.audit.seat(scribe);
    }

    /// Makes a service. It can do nothing yet, nor log in.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::TooMany`].
    pub async fn create(&self, name: String) -> Result<PrincipalRow, ControlError> {
        self.principals.create_service(name).await
    }

    /// The service that somebody means: its id, its client id or its name.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::Ambiguous`].
    pub async fn named(&self, text: &str) -> Result<PrincipalRow, ControlError> {
        let mut found = self.catalog.principals().await?;
        found.retain(|row| {
            row.client_id.is_some_and(|client| {
                row.name == text || text.eq_ignore_ascii_case(&row.id.to_string()) || text.eq_ignore_ascii_case(&client.to_string())
            })
        });
        if found.len() > 1 {
            return Err(ControlError::Ambiguous { what: "service principals", name: text.to_owned() });
        }
        found.pop().ok_or_else(|| ControlError::NotFound { what: "service principal", name: text.to_owned() })
    }

    /// What a service can log in with.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn credentials(&self, principal: PrincipalId) -> Result<Vec<CredentialRow>, ControlError> {
        Ok(self.catalog.credentials(principal).await?)
    }

    /// Gives a service another secret. Without `ttl` it works for two years.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::TooMany`].
    pub async fn add_secret(
        &self,
        by: &Caller,
        principal: PrincipalId,
        name: String,
        ttl: Option<Duration>,
    ) -> Result<CreatedSecret, ControlError> {
        let mut random = Zeroizing::new([0; 32]);
        self.world.rng.fill(&mut *random);
        let secret = Zeroizing::new(format!("srs_{}", URL_SAFE_NO_PAD.encode(*random)));
        let expires_ms = self.ends(Some(ttl.unwrap_or(Duration::from_hours(2 * 365 * 24))))?;
        let row = self.credential(principal, name, Sha256::digest(secret.as_bytes()).into(), None, expires_ms);
        self.insert(by, &row).await?;
        Ok(CreatedSecret { row, secret })
    }

    /// Lets a service log in with the key of a certificate (PEM, RSA). It works as long as the certificate, or for `ttl` if that is less.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::TooMany`], [`ControlError::Conflict`] if it has it already.
    pub async fn add_certificate(
        &self,
        by: &Caller,
        principal: PrincipalId,
        name: String,
        pem: &str,
        ttl: Option<Duration>,
    ) -> Result<CredentialRow, ControlError> {
        let wrong = |why| ControlError::Invalid { what: "certificate", why };
        if pem.len() > CERTIFICATE_MAX {
            return Err(wrong("16 KiB are allowed"));
        }
        let found = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = found.map_err(|_| wrong("give it in PEM (BEGIN CERTIFICATE)"))?.to_vec();
        let not_after = not_after(&der).ok_or_else(|| wrong("it cannot be read"))?;
        if !is_rsa(&der) {
            return Err(wrong("its key must be RSA of 2048 to 8192 bits"));
        }
        let now = self.world.clock.wall().unix_secs();
        if not_after <= now {
            return Err(wrong("it has expired"));
        }
        let own_end = not_after.saturating_mul(1_000);
        let expires_ms = self.ends(ttl)?.map_or(own_end, |end| end.min(own_end));
        let row = self.credential(principal, name, Sha256::digest(&der).into(), Some(der), Some(expires_ms));
        self.insert(by, &row).await?;
        Ok(row)
    }

    fn ends(&self, ttl: Option<Duration>) -> Result<Option<i64>, ControlError> {
        if ttl.is_some_and(|ttl| !(TTL_MIN..=TTL_MAX).contains(&ttl)) {
            return Err(ControlError::Invalid { what: "ttl", why: "a minute to ten years are allowed" });
        }
        let now_ms = self.world.clock.wall().unix_ms();
        Ok(ttl.map(|ttl| now_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))))
    }

    fn credential(
        &self,
        principal: PrincipalId,
        name: String,
        sha256: [u8; 32],
        certificate: Option<Vec<u8>>,
        expires_ms: Option<i64>,
    ) -> CredentialRow {
        let (ms, random) = self.world.id_seed();
        let created_ms = self.world.clock.wall().unix_ms();
        CredentialRow { id: ObjectId::mint(ms, random), principal, name, sha256, certificate, created_ms, expires_ms }
    }

    async fn insert(&self, by: &Caller, row: &CredentialRow) -> Result<(), ControlError> {
        if row.name.len() > 128 || row.name.chars().any(char::is_control) {
            return Err(ControlError::Invalid { what: "name", why: "128 bytes without control characters are allowed" });
        }
        if self.catalog.credentials(row.principal).await?.len() >= CREDENTIALS_MAX {
            return Err(ControlError::TooMany { what: "credentials of this service", max: CREDENTIALS_MAX });
        }
        self.catalog.credential_insert(row).await.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "the service has this credential already" },
            CatalogError::Orphan { .. } => ControlError::NotFound { what: "service principal", name: row.principal.to_string() },
            other => other.into(),
        })?;
        self.audit.note(|| told(name::CREDENTIAL_ADDED, row, by));
        Ok(())
    }

    /// Takes a credential away; whether it was there. Tokens that were got with it work to their end.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn remove(&self, by: &Caller, principal: PrincipalId, id: ObjectId) -> Result<bool, ControlError> {
        let row = self.catalog.credentials(principal).await?.into_iter().find(|row| row.id == id);
        let there = self.catalog.credential_delete(principal, id).await?;
        if let Some(row) = row.filter(|_| there) {
            self.audit.note(|| told(name::CREDENTIAL_REMOVED, &row, by));
        }
        Ok(there)
    }

    /// Who logs in.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn log_in(&self, client: &str, proof: &Proof<'_>, address: IpAddr) -> Result<PrincipalRow, LoginError> {
        self.count(client, address)?;
        let unavailable = |_| LoginError::new(503, "temporarily_unavailable", 90_033, "The service is temporarily unavailable. Try again.");
        let unknown = || {
            let text = format!("Application with identifier '{}' was not found in the directory.", shown(client));
            LoginError::new(400, "unauthorized_client", 700_016, text)
        };
        let id: ObjectId = client.parse().map_err(|_| unknown())?;
        let row = self.catalog.principal_by_client(id).await.map_err(unavailable)?.ok_or_else(unknown)?;
        let known = self.catalog.credentials(row.id).await.map_err(unavailable)?;
        let done = match proof {
            Proof::Secret(secret) => self.secret(&known, secret),
            Proof::Assertion { jwt, endpoint } => self.assertion(&known, client, jwt, endpoint),
        };
        if let Err(error) = done {
            metrics::counter!("control_login_failures_total").increment(1);
            return Err(error);
        }
        Ok(row)
    }

    fn secret(&self, known: &[CredentialRow], secret: &str) -> Result<(), LoginError> {
        let sha256: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let now_ms = self.world.clock.wall().unix_ms();
        let found = known.iter().filter(|row| row.certificate.is_none()).find(|row| bool::from(row.sha256.ct_eq(&sha256)));
        let Some(row) = found else {
            let text = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.";
            return Err(LoginError::new(401, "invalid_client", 7_000_215, text));
        };
        if row.expires_ms.is_some_and(|end| end <= now_ms) {
            return Err(LoginError::new(401, "invalid_client", 7_000_222, "The provided client secret keys are expired."));
        }
        Ok(())
    }

    fn assertion(&self, known: &[CredentialRow], client: &str, jwt: &str, endpoint: &str) -> Result<(), LoginError> {
        let failed = |number, text: &str| LoginError::new(401, "invalid_client", number, text);
        if jwt.len() > ASSERTION_MAX {
            return Err(failed(50_027, "The client assertion is too long."));
        }
        let now = self.world.clock.wall().unix_secs();
        let read = Signed::read(jwt).ok_or_else(|| failed(50_027, "The client assertion is not a JWT signed with RS256 or PS256."))?;
        let Some(row) = known.iter().find(|row| row.certificate.as_deref().is_some_and(|der| read.is_by(der))) else {
            return Err(failed(700_027, "The certificate used to sign the client assertion is not registered on the application."));
        };
        let claims = read.claims;
        if row.expires_ms.is_some_and(|end| end <= now.saturating_mul(1_000)) {
            return Err(failed(7_000_222, "The provided client certificate is expired."));
        }
        if !claims.iss.eq_ignore_ascii_case(client) || !claims.sub.eq_ignore_ascii_case(client) {
            return Err(failed(700_030, "The client assertion's issuer and subject must be the client id."));
        }
        if !claims.aud.names(endpoint) {
            return Err(failed(700_023, "The client assertion's audience is not the address of this token endpoint."));
        }
        let early = claims.nbf.is_some_and(|Seconds(nbf)| nbf > now.saturating_add(LEEWAY_S));
        let Seconds(exp) = claims.exp;
        let late = exp.saturating_add(LEEWAY_S) <= now || exp > now.saturating_add(ASSERTION_LIFE_S + LEEWAY_S);
        if early || late {
            return Err(failed(700_024, "The client assertion is not within its valid time range."));
        }
        Ok(())
    }

    /// Counts a login against the minute's bounds, whatever becomes of it.
    fn count(&self, client: &str, address: IpAddr) -> Result<(), LoginError> {
        let now = self.world.clock.boot();
        let mut counted = self.counted.lock();
        if counted.len() >= COUNTED_MAX {
            counted.retain(|_, (until, _)| now < *until);
        }
        let client = client.chars().take(64).collect::<String>().to_ascii_lowercase();
        let (of_client, of_address) = ((home(address), client), (home(address), String::new()));
        let spent = |key: &(IpAddr, String), max: u32| counted.get(key).is_some_and(|(until, count)| now < *until && *count >= max);
        // Somebody's own client id and address first: who asks too often for one service is still let in for another. An address that
        // has had its share is given no further entry, whatever ids it makes up: what it fills is its own.
        let mut limited = spent(&of_client, self.per_client) || spent(&of_address, self.per_address);
        for key in [of_client, of_address] {
            if limited {
                break;
            }
            limited = counted.len() >= COUNTED_MAX && !counted.contains_key(&key);
            if !limited {
                let entry = counted.entry(key).or_insert((now.after(MINUTE), 0));
                if entry.0 <= now {
                    *entry = (now.after(MINUTE), 0);
                }
                entry.1 = entry.1.saturating_add(1);
            }
        }
        if !limited {
            return Ok(());
        }
        metrics::counter!("control_logins_limited_total").increment(1);
        let text = "Too many requests: this client or address logs in too often. Keep the token until it ends, and try again in a minute.";
        Err(LoginError::new(429, "temporarily_unavailable", 90_055, text))
    }
}

/// What one host can choose of its addresses is one: a network of IPv6 has 2^64 of them.
fn home(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

fn told(event: &'static str, row: &CredentialRow, by: &Caller) -> Event {
    let kind = if row.certificate.is_some() { "certificate" } else { "secret" };
    let event = Event::new(event).by(by.principal).with("principal", row.principal.to_string()).with("credential", row.id.to_string());
    event.with("kind", kind).with("expiresMs", row.expires_ms)
}

/// Of what a client calls itself, what can stand in a message.
fn shown(client: &str) -> String {
    client.chars().filter(char::is_ascii_graphic).take(64).collect()
}

/// An assertion taken apart; not yet believed.
struct Signed<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    text: &'a [u8],
    signature: Vec<u8>,
    claims: Assertion,
}

impl<'a> Signed<'a> {
    fn read(jwt: &'a str) -> Option<Self> {
        let (text, signature) = jwt.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let algorithm = match header.alg.as_str() {
            "RS256" => RSA_PKCS1_2048_8192_SHA256,
            "PS256" => RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            _ => return None,
        };
        let claims = serde_json::from_slice(&decode(claims)?).ok()?;
        Some(Self { algorithm, text: text.as_bytes(), signature: decode(signature)?, claims })
    }

    fn is_by(&self, der: &[u8]) -> bool {
        let der = CertificateDer::from(der);
        EndEntityCert::try_from(&der).is_ok_and(|own| own.verify_signature(self.algorithm, self.text, &self.signature).is_ok())
    }
}

/// Until when a certificate is good, seconds since 1970; `None`: it cannot be read.
fn not_after(der: &[u8]) -> Option<i64> {
    let der = CertificateDer::from(der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    // Asked in the year 9999 whether it is still good, webpki says since when it is not: the one way to learn its end there.
    let then = UnixTime::since_unix_epoch(Duration::from_secs(253_402_300_799));
    match certificate.verify_for_usage(&[], &[], &[], then, KeyUsage::client_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => i64::try_from(not_after.as_secs()).ok(),
        _ => None,
    }
}

/// Whether a certificate's key is one that assertions may be signed with: what is wrong with an empty signature then is the signature.
fn is_rsa(der: &[u8]) -> bool {
    let der = CertificateDer::from(der);
    let refused = EndEntityCert::try_from(&der).map(|own| own.verify_signature(RSA_PKCS1_2048_8192_SHA256, b"", &[0; 256]));
    matches!(refused, Ok(Err(webpki::Error::InvalidSignatureForPublicKey)))
}
