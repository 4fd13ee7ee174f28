//! Issuers of other directories whose tokens are believed: by configuration alone, with their keys fetched through the one hardened
//! client. What a token says becomes rights by the rules of its issuer; nothing is written down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use strongroom_catalog::Catalog;
use strongroom_control::{Bearer, Caller, ControlError, Grant, IssuerConfig, Roles, ScopePath, TokenReader};
use strongroom_keys::outbound::{Body, Call, Outbound};
use strongroom_model::PrincipalId;
use strongroom_world::{BootTime, World};
use tokio::sync::Mutex;
use url::Url;

use crate::Config;

/// Keys are fetched anew after this, and if a token names one that is not known, no sooner than after that.
const KEEP: Duration = Duration::from_mins(10);
const AGAIN: Duration = Duration::from_secs(30);
/// How far two clocks may differ. Seconds.
const LEEWAY_S: i64 = 60;
/// Characters of a guest's name.
const NAME_MAX: usize = 128;

/// Keys of one issuer, as they were fetched.
#[derive(Debug, Default)]
struct Fetched {
    keys: HashMap<String, (DecodingKey, Vec<Algorithm>)>,
    /// When they were last asked for, whatever came.
    asked: Option<BootTime>,
    got: Option<BootTime>,
}

#[derive(Debug)]
struct Issuer {
    config: IssuerConfig,
    fetched: Mutex<Fetched>,
}

/// The issuers of a configuration.
#[derive(Debug)]
pub(crate) struct Issuers {
    world: World,
    catalog: Catalog,
    roles: Arc<Roles>,
    outbound: Arc<Outbound>,
    known: Vec<Issuer>,
}

impl Issuers {
    pub(crate) fn open(config: &Config, world: &World, catalog: &Catalog, roles: &Arc<Roles>) -> Result<Self, ControlError> {
        let outbound = Outbound::open(world, &config.outbound, &[])
            .map_err(|_| ControlError::Invalid { what: "[outbound]", why: "the client for issuers cannot be made from it" })?;
        let issuer = |config: &IssuerConfig| Issuer { config: config.clone(), fetched: Mutex::default() };
        Ok(Self {
            world: world.clone(),
            catalog: catalog.clone(),
            roles: Arc::clone(roles),
            outbound: Arc::new(outbound),
            known: config.directory.issuers.iter().map(issuer).collect(),
        })
    }

    async fn get(&self, url: &str) -> Option<Value> {
        let url = Url::parse(url).ok()?;
        let reply = self.outbound.send(Call::new(&url, Body::None)).await.ok()?;
        (reply.status == 200).then(|| serde_json::from_slice(&reply.body).ok())?
    }

    async fn fetch(&self, config: &IssuerConfig) -> Option<JwkSet> {
        let url = if config.jwks_url.is_empty() {
            let at = format!("{}/.well-known/openid-configuration", config.issuer.trim_end_matches('/'));
            let told = self.get(&at).await?;
            // OpenID Connect Discovery §4.3: what speaks for another issuer is not believed.
            (told["issuer"] == config.issuer.as_str()).then(|| told["jwks_uri"].as_str().map(str::to_owned))??
        } else {
            config.jwks_url.clone()
        };
        serde_json::from_value(self.get(&url).await?).ok()
    }

    /// The key of that name, asked for if it is not known or known for long.
    async fn key(&self, issuer: &Issuer, kid: &str) -> Option<(DecodingKey, Vec<Algorithm>)> {
        let now = self.world.clock.boot();
        // Held while it is asked: of many requests at once, one asks.
        let mut fetched = issuer.fetched.lock().await;
        let fresh = fetched.got.is_some_and(|at| now < at.after(KEEP));
        let may_ask = fetched.asked.is_none_or(|at| at.after(AGAIN) <= now);
        if (!fresh || !fetched.keys.contains_key(kid)) && may_ask {
            fetched.asked = Some(now);
            if let Some(set) = self.fetch(&issuer.config).await {
                fetched.keys = set.keys.iter().filter_map(usable).collect();
                fetched.got = Some(now);
            } else {
                // What was known is believed until it is old; then an issuer that does not answer vouches for nobody.
                tracing::warn!(issuer = issuer.config.issuer, "the keys of an issuer could not be fetched");
            }
        }
        if fetched.got.is_none_or(|at| at.after(KEEP + AGAIN) <= now) {
            fetched.keys.clear();
        }
        fetched.keys.get(kid).cloned()
    }

    async fn guest(&self, issuer: &IssuerConfig, claims: &Map<String, Value>) -> Result<Caller, ControlError> {
        let subject = claims.get("sub").and_then(Value::as_str).ok_or(ControlError::Unauthenticated)?;
        let name = claims.get(&issuer.name_claim).and_then(Value::as_str).unwrap_or(subject);
        let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
        let mut grants = Vec::new();
        for rule in &issuer.rules {
            let held = match claims.get(&rule.claim) {
                Some(Value::String(text)) => *text == rule.value,
                Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(&rule.value)),
                _ => false,
            };
            if !held {
                continue;
            }
            if let Some((role, scope)) = self.roles.named(&self.catalog, &rule.role).await?.zip(ScopePath::read(&rule.scope)) {
                grants.push(Grant { role, scope });
            } else {
                tracing::warn!(role = rule.role, "a rule of an issuer names no role that is there");
            }
        }
        let mut hash = Sha256::new();
        hash.update(issuer.issuer.as_bytes());
        hash.update([0]);
        hash.update(subject.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Ok(Caller::new(PrincipalId::from_bytes(id), name, grants))
    }
}

/// A key and what it may have signed with: that is the key's to say, never the token's.
fn usable(jwk: &jsonwebtoken::jwk::Jwk) -> Option<(String, (DecodingKey, Vec<Algorithm>))> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![ES384],
        AlgorithmParameters::OctetKeyPair(_) => vec![EdDSA],
        _ => return None,
    };
    let encrypts = jwk.common.public_key_use.as_ref().is_some_and(|used| *used != jsonwebtoken::jwk::PublicKeyUse::Signature);
    if encrypts {
        return None;
    }
    Some((jwk.common.key_id.clone()?, (DecodingKey::from_jwk(jwk).ok()?, algorithms)))
}

#[async_trait]
impl TokenReader for Issuers {
    async fn read(&self, token: &str) -> Result<Option<(Bearer, i64)>, ControlError> {
        let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
        let Ok(unread) = jsonwebtoken::dangerous::insecure_decode::<Map<String, Value>>(token) else { return Ok(None) };
        let named = unread.claims.get("iss").and_then(Value::as_str);
        let Some(issuer) = self.known.iter().find(|issuer| named == Some(issuer.config.issuer.as_str())) else { return Ok(None) };
        let wrong = || ControlError::Unauthenticated;
        let (key, algorithms) = self.key(issuer, header.kid.as_deref().ok_or_else(wrong)?).await.ok_or_else(wrong)?;
        if !algorithms.contains(&header.alg) {
            return Err(wrong());
        }
        let mut validation = Validation::new(header.alg);
        // Times are compared below, by the server's own clock.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.set_audience(&[&issuer.config.audience]);
        validation.set_issuer(&[&issuer.config.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation).map_err(|_| wrong())?.claims;
        let now = self.world.clock.wall().unix_secs();
        let exp = claims.get("exp").and_then(Value::as_i64).ok_or_else(wrong)?;
        let nbf = claims.get("nbf").and_then(Value::as_i64).unwrap_or(now);
        if exp <= now || nbf > now + LEEWAY_S {
            return Err(wrong());
        }
        let guest = self.guest(&issuer.config, &claims).await?;
        Ok(Some((Bearer::Guest(guest), exp.saturating_mul(1_000))))
    }
}
