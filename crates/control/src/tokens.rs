//! Access tokens: RS256 JWTs (RFC 7519, RFC 9068) that say who, for an hour; what they may do is looked up at each request.
//!
//! The newest key signs; its predecessors are believed until the last token they signed has ended. Private keys lie in the catalog as
//! cells under the root key. A token for this server says so (`aud` is one of the configured audiences, or this server's own address,
//! which is marked `own`); one for a vault or another service is signed as well, and not taken here.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::{Catalog, SigningKeyRow};
use strongroom_envelope::Mmk;
use strongroom_model::{ObjectId, PrincipalId};
use strongroom_world::{BootTime, World};
use zeroize::Zeroizing;

use crate::audit::{Event, Scribe, name};
use crate::principals::{Bearer, TokenReader};
use crate::{ControlError, DirectoryConfig, audit};

/// How far the clocks of two servers on one catalog may differ. Seconds.
const LEEWAY_S: i64 = 60;
/// Keys are looked up again if a token names one that nobody knows, at most this often. Seconds.
const LOOK_AGAIN_S: u64 = 5;
/// A key is replaced when it is this old. Days.
const ROTATE_DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;

/// What a token says of whoever logged in.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The principal.
    pub principal: PrincipalId,
    /// What it called itself.
    pub client: ObjectId,
    /// Its directory.
    pub tenant: &'a str,
    /// Who vouches for it: the address of this server and the tenant.
    pub issuer: &'a str,
    /// Whom the token is for.
    pub audience: &'a str,
    /// Whether that is this server under an address of its own.
    pub own: bool,
    /// Whether it logged in by certificate.
    pub by_certificate: bool,
}

struct SigningKey {
    id: ObjectId,
    pair: KeyPair,
    n: String,
    e: String,
    decoding: DecodingKey,
    created_ms: i64,
    retired_ms: Option<i64>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    oid: PrincipalId,
    aud: String,
    exp: i64,
    nbf: i64,
    #[serde(default)]
    own: bool,
}

/// Makes and reads access tokens.
#[derive(Debug)]
pub struct Tokens {
    world: World,
    catalog: Catalog,
    mmk: Arc<Mmk>,
    life_s: i64,
    audiences: Vec<String>,
    /// Newest first; and when they were last looked up.
    keys: RwLock<(Vec<Arc<SigningKey>>, BootTime)>,
    changing: tokio::sync::Mutex<()>,
    audit: audit::Desk,
}

/// An audience as it is compared: without slashes at its end.
#[must_use]
pub fn audience_name(text: &str) -> String {
    text.trim_end_matches('/').to_ascii_lowercase()
}

impl Tokens {
    /// The tokens of a catalog; makes a first key if there is none.
    ///
    /// # Errors
    /// [`ControlError::Damaged`] if a key does not open; what the catalog says.
    pub async fn open(world: World, catalog: Catalog, mmk: Arc<Mmk>, config: &DirectoryConfig) -> Result<Self, ControlError> {
        let tokens = Self {
            life_s: i64::try_from(config.token_life_s).unwrap_or(3_600),
            audiences: config.audiences.iter().map(|audience| audience_name(audience)).collect(),
            keys: RwLock::new((Vec::new(), world.clock.boot())),
            changing: tokio::sync::Mutex::default(),
            audit: audit::Desk::default(),
            world,
            catalog,
            mmk,
        };
        tokens.load().await?;
        if tokens.newest().is_none_or(|key| key.created_ms + ROTATE_DAYS * DAY_MS < tokens.now_ms()) {
            tokens.rotate().await?;
        }
        Ok(tokens)
    }

    /// Has every new key told to a scribe.
    pub fn audited_by(&self, scribe: Arc<dyn Scribe>) {
        self.audit.seat(scribe);
    }

    fn now_ms(&self) -> i64 {
        self.world.clock.wall().unix_ms()
    }

    fn newest(&self) -> Option<Arc<SigningKey>> {
        self.keys.read().0.first().filter(|key| key.retired_ms.is_none()).cloned()
    }

    async fn load(&self) -> Result<(), ControlError> {
        let now = self.world.clock.boot();
        let mut keys = Vec::new();
        for row in self.catalog.signing_keys().await? {
            keys.push(Arc::new(self.open_key(&row)?));
        }
        *self.keys.write() = (keys, now);
        Ok(())
    }

    fn open_key(&self, row: &SigningKeyRow) -> Result<SigningKey, ControlError> {
        let damaged = || ControlError::Damaged { what: "a key that access tokens are signed with" };
        let pkcs8 = Zeroizing::new(self.mmk.open_cell(row.id, &row.cell).map_err(|_| damaged())?);
        let pair = KeyPair::from_pkcs8(&pkcs8).map_err(|_| damaged())?;
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let (n, e) = (URL_SAFE_NO_PAD.encode(&public.n), URL_SAFE_NO_PAD.encode(&public.e));
        let decoding = DecodingKey::from_rsa_raw_components(&public.n, &public.e);
        Ok(SigningKey { id: row.id, pair, n, e, decoding, created_ms: row.created_ms, retired_ms: row.retired_ms })
    }

    /// Signs with a new key from now on. What the old one signed is believed until it has ended.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn rotate(&self) -> Result<ObjectId, ControlError> {
        let _alone = self.changing.lock().await;
        let failed = || ControlError::Damaged { what: "the generator of keys" };
        // RSA takes its time; other requests go on.
        let made = tokio::task::spawn_blocking(|| {
            let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
            let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            Some(Zeroizing::new(der.as_ref().to_vec()))
        });
        let pkcs8 = made.await.ok().flatten().ok_or_else(failed)?;
        let (ms, random) = self.world.id_seed();
        let id = ObjectId::mint(ms, random);
        let cell = self.mmk.seal_cell(self.world.rng.as_ref(), id, &pkcs8);
        let created_ms = self.now_ms();
        self.catalog.signing_key_insert(&SigningKeyRow { id, cell, created_ms, retired_ms: None }).await?;
        self.catalog.signing_keys_forget(created_ms - (self.life_s + 2 * LEEWAY_S) * 1_000).await?;
        self.load().await?;
        self.audit.note(|| Event::new(name::SIGNING_KEY_ROTATED).with("key", id.to_string()));
        tracing::info!(key = %id, "access tokens are signed with a new key");
        Ok(id)
    }

    /// A token, and how many seconds it works.
    ///
    /// # Errors
    /// [`ControlError::Damaged`] if it cannot be signed.
    pub fn issue(&self, subject: &Subject<'_>) -> Result<(String, i64), ControlError> {
        let failed = || ControlError::Damaged { what: "a key that access tokens are signed with" };
        let key = self.newest().ok_or_else(failed)?;
        let now = self.world.clock.wall().unix_secs();
        let (ms, random) = self.world.id_seed();
        let client = subject.client.to_string();
        let mut claims = json!({
            "iss": subject.issuer,
            "aud": subject.audience,
            "iat": now,
            "nbf": now - LEEWAY_S,
            "exp": now + self.life_s,
            "sub": subject.principal.to_string(),
            "oid": subject.principal.to_string(),
            "tid": subject.tenant,
            "appid": client,
            "azp": client,
            "appidacr": if subject.by_certificate { "2" } else { "1" },
            "azpacr": if subject.by_certificate { "2" } else { "1" },
            "idtyp": "app",
            "ver": "2.0",
            "jti": ObjectId::mint(ms, random).to_string(),
        });
        if subject.own {
            claims["own"] = true.into();
        }
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": key.id.to_string()});
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut token = format!("{}.{}", text(&header), text(&claims));
        let mut signature = vec![0; key.pair.public_modulus_len()];
        key.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature).map_err(|_| failed())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(&signature));
        Ok((token, self.life_s))
    }

    /// The public keys that tokens may be signed with (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        let mut keys = self.keys.read().0.clone();
        keys.retain(|key| self.is_believed(key));
        let key =
            |key: &Arc<SigningKey>| json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.id.to_string(), "n": key.n, "e": key.e});
        json!({"keys": keys.iter().map(key).collect::<Vec<_>>()})
    }

    /// The keys there are: id, birth, and since when they sign nothing more.
    #[must_use]
    pub fn keys(&self) -> Vec<(ObjectId, i64, Option<i64>)> {
        self.keys.read().0.iter().map(|key| (key.id, key.created_ms, key.retired_ms)).collect()
    }

    /// Whether tokens of this key may still be alive: until one that it signed last has ended. Whoever got hold of a key that was replaced
    /// could else go on signing with it, for any time.
    fn is_believed(&self, key: &SigningKey) -> bool {
        key.retired_ms.is_none_or(|retired| self.now_ms() < retired + (self.life_s + 2 * LEEWAY_S) * 1_000)
    }

    async fn key(&self, kid: &str) -> Result<Option<Arc<SigningKey>>, ControlError> {
        let Ok(id) = kid.parse::<ObjectId>() else { return Ok(None) };
        let find = || self.keys.read().0.iter().find(|key| key.id == id).cloned();
        if let Some(known) = find() {
            return Ok(Some(known));
        }
        let looked = self.keys.read().1;
        if self.world.clock.boot() < looked.after(std::time::Duration::from_secs(LOOK_AGAIN_S)) {
            return Ok(None);
        }
        self.load().await?;
        Ok(find())
    }
}

#[async_trait]
impl TokenReader for Tokens {
    async fn read(&self, token: &str) -> Result<Option<(Bearer, i64)>, ControlError> {
        let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
        let Some(kid) = header.kid.as_deref() else { return Ok(None) };
        let Some(key) = self.key(kid).await? else { return Ok(None) };
        let mut validation = Validation::new(Algorithm::RS256);
        // Times are compared below, by the server's own clock; the audience as it is written may end in a slash.
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        validation.set_required_spec_claims(&["exp", "aud"]);
        let wrong = |_| ControlError::Unauthenticated;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation).map_err(wrong)?.claims;
        let now = self.world.clock.wall().unix_secs();
        let here = claims.own || self.audiences.contains(&audience_name(&claims.aud));
        let in_time = claims.exp > now && claims.nbf <= now + LEEWAY_S;
        // A retired key signs nothing: what says that it was signed later, was not signed by us; and what it did sign has ended by now.
        let signed_in_time = key.retired_ms.is_none_or(|retired| claims.nbf.saturating_mul(1_000) <= retired + 2 * LEEWAY_S * 1_000);
        if !(here && in_time && signed_in_time && self.is_believed(&key)) {
            return Err(ControlError::Unauthenticated);
        }
        Ok(Some((Bearer::Known(claims.oid), claims.exp.saturating_mul(1_000))))
    }
}
