//! Tokens of issuers that the configuration trusts: whose they are, and nothing of what they may do.
//!
//! The vault is the customer's side. An issuer says *who* calls, by a principal's id that somebody registered here together
//! with this issuer; roles and claims of a token are not looked at. Keys are fetched when a token names one that is not
//! known, and again when they are old, so that a key an issuer withdrew stops counting.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::RwLock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use strongroom_world::{BootTime, World};
use uuid::Uuid;

use crate::auth::Now;
use crate::config::{IssuerConfig, is_address};
use crate::error::VaultServerError;

/// Signatures that are taken. Never symmetric ones: a public key would be the secret.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256];
const TOKEN_BYTES_MAX: usize = 8 << 10;
const LEEWAY_S: i64 = 60;
/// Bytes of a set of keys, keys in it, time to fetch it.
const SET_BYTES_MAX: usize = 256 << 10;
const KEYS_MAX: usize = 100;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often keys are fetched at most; when they are fetched again; how long they count if that fails.
const FETCH_AGAIN: Duration = Duration::from_secs(10);
const FRESH: Duration = Duration::from_mins(10);
const STALE: Duration = Duration::from_hours(24);

/// Who a token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) issuer: String,
    /// The `oid` of a token, else its `sub`.
    pub(crate) principal: Uuid,
}

/// All issuers of one vault.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Vec<Issuer>);

struct Issuer {
    config: IssuerConfig,
    world: World,
    http: Option<reqwest::Client>,
    known: RwLock<Option<Arc<Known>>>,
    /// One at a time fetches; when it was last tried.
    fetching: tokio::sync::Mutex<Option<BootTime>>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("issuer", &self.config.issuer).finish_non_exhaustive()
    }
}

struct Known {
    keys: Vec<(Option<String>, DecodingKey)>,
    at: BootTime,
}

impl Known {
    /// The key of that name; the only one, if the token names none.
    fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        let named = |kid: &str| self.keys.iter().find(|(name, _)| name.as_deref() == Some(kid) || (name.is_none() && self.keys.len() == 1));
        let only = || self.keys.first().filter(|_| self.keys.len() == 1);
        kid.map_or_else(only, named).map(|(_, key)| key)
    }
}

#[derive(Deserialize)]
struct Unread {
    iss: String,
}

#[derive(Deserialize)]
struct Claims {
    oid: Option<String>,
    sub: Option<String>,
    exp: i64,
    nbf: Option<i64>,
    aud: Audience,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Some(Vec<String>),
}

impl Issuers {
    pub(crate) fn open(world: &World, configs: &[IssuerConfig]) -> Result<Self, VaultServerError> {
        let open = |config: &IssuerConfig| {
            let http = is_address(&config.keys).then(|| client(world, config)).transpose()?;
            let (config, world) = (config.clone(), world.clone());
            Ok(Issuer { config, world, http, known: RwLock::new(None), fetching: tokio::sync::Mutex::new(None) })
        };
        configs.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn has(&self, issuer: &str) -> bool {
        self.0.iter().any(|known| known.config.issuer == issuer)
    }

    /// Where a client without a token logs in, if not at the vault.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.0.first().map(|issuer| issuer.config.authority.trim_end_matches('/')).filter(|authority| !authority.is_empty())
    }

    /// Whose token that is, if it is a good one for one of `audiences`.
    pub(crate) async fn holder(&self, token: &str, audiences: &[String], now: Now) -> Option<Holder> {
        if self.0.is_empty() || token.len() > TOKEN_BYTES_MAX || token.split('.').count() != 3 {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok().filter(|header| ALGORITHMS.contains(&header.alg))?;
        let unread: Unread = jsonwebtoken::dangerous::insecure_decode(token).ok()?.claims;
        let issuer = self.0.iter().find(|known| known.config.issuer == unread.iss || known.config.aliases.contains(&unread.iss))?;
        let key = issuer.key(header.kid.as_deref(), now.boot).await?;
        let mut validation = Validation::new(header.alg);
        // Times and audiences are compared below: by the vault's own clock, and without a slash at the end.
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        validation.set_issuer(&[&unread.iss]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        let claims: Claims = jsonwebtoken::decode(token, &key, &validation).ok()?.claims;
        let seconds = now.wall.unix_secs();
        if claims.exp.saturating_add(LEEWAY_S) <= seconds || claims.nbf.is_some_and(|nbf| nbf > seconds.saturating_add(LEEWAY_S)) {
            return None;
        }
        let named = match &claims.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Some(some) => some,
        };
        let takes = |audience: &String| {
            let same = |own: &String| own.trim_end_matches('/').eq_ignore_ascii_case(audience.trim_end_matches('/'));
            audiences.iter().chain(&issuer.config.audiences).any(same)
        };
        if !named.iter().any(takes) {
            return None;
        }
        let principal = Uuid::try_parse(&claims.oid.or(claims.sub)?).ok()?;
        Some(Holder { issuer: issuer.config.issuer.clone(), principal })
    }
}

impl Issuer {
    /// The key that a token names; fetched if it is not known, or known for too long. While another call fetches, one that is known
    /// only waits if it is too old to count.
    async fn key(&self, kid: Option<&str>, now: BootTime) -> Option<DecodingKey> {
        let at_hand = |life: Duration| {
            let known = self.known.read().clone().filter(|known| now < known.at.after(life))?;
            known.find(kid).cloned()
        };
        if let Some(key) = at_hand(FRESH) {
            return Some(key);
        }
        let mut last = match (self.fetching.try_lock(), at_hand(STALE)) {
            (Ok(last), _) => last,
            (Err(_), Some(key)) => return Some(key),
            (Err(_), None) => self.fetching.lock().await,
        };
        // Somebody may have fetched them while this one waited.
        if let Some(key) = at_hand(FRESH) {
            return Some(key);
        }
        if last.is_none_or(|last| now >= last.after(FETCH_AGAIN)) {
            *last = Some(now);
            match self.load().await {
                Ok(keys) => *self.known.write() = Some(Arc::new(Known { keys, at: now })),
                Err(problem) => tracing::warn!(issuer = self.config.issuer, problem, "the keys of a token issuer could not be had"),
            }
        }
        at_hand(STALE)
    }

    async fn load(&self) -> Result<Vec<(Option<String>, DecodingKey)>, &'static str> {
        let bytes = if let Some(http) = &self.http {
            fetch(http, &self.config.keys).await?
        } else {
            let (world, path) = (self.world.clone(), self.config.keys.clone());
            let read = tokio::task::spawn_blocking(move || world.fs.read(std::path::Path::new(&path), SET_BYTES_MAX as u64));
            read.await.map_err(|_| "broken off")?.map_err(|_| "the file cannot be read")?
        };
        keys(&bytes)
    }
}

/// A JSON Web Key Set, or one public key in PEM.
fn keys(bytes: &[u8]) -> Result<Vec<(Option<String>, DecodingKey)>, &'static str> {
    if bytes.starts_with(b"-----BEGIN") {
        let key = DecodingKey::from_rsa_pem(bytes).or_else(|_| DecodingKey::from_ec_pem(bytes));
        return key.map(|key| vec![(None, key)]).map_err(|_| "it is no RSA or EC public key");
    }
    let set: JwkSet = serde_json::from_slice(bytes).map_err(|_| "it is neither a JSON Web Key Set nor a public key in PEM")?;
    if set.keys.len() > KEYS_MAX {
        return Err("it holds too many keys");
    }
    let signs = |jwk: &&Jwk| {
        let symmetric = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        !symmetric && jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature)
    };
    let read = set.keys.iter().filter(signs).filter_map(|jwk| Some((jwk.common.key_id.clone(), DecodingKey::from_jwk(jwk).ok()?)));
    Ok(read.collect())
}

async fn fetch(http: &reqwest::Client, address: &str) -> Result<Vec<u8>, &'static str> {
    let broken = "the issuer did not answer";
    let mut response = http.get(address).send().await.map_err(|_| broken)?;
    if response.status() != 200 {
        return Err("the issuer's answer is not a 200");
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| broken)? {
        if bytes.len() + chunk.len() > SET_BYTES_MAX {
            return Err("the issuer's answer is too long");
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A client that trusts the configured certificates alone and follows no redirect.
fn client(world: &World, config: &IssuerConfig) -> Result<reqwest::Client, VaultServerError> {
    let path = &config.ca;
    let unusable = |problem| VaultServerError::Corrupt { path: path.clone(), problem };
    let pem = world.fs.read(path, SET_BYTES_MAX as u64).map_err(VaultServerError::directory(path))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.map_err(|_| ()).and_then(|certificate| roots.add(certificate).map_err(|_| ()));
        added.map_err(|()| unusable("it is not a certificate"))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it"));
    }
    let failed = |error: &dyn std::fmt::Display| VaultServerError::Tls(error.to_string());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder().use_preconfigured_tls(tls).no_proxy().redirect(reqwest::redirect::Policy::none());
    client.timeout(FETCH_TIMEOUT).build().map_err(|error| failed(&error))
}
