//! Logging in: a signed assertion or a client secret for a token, the token for each call.
//!
//! Tokens are random, live in memory only and end with the identity they were given to. An assertion is good once; what was
//! seen before a restart cannot be remembered, so an assertion from before it is turned away as "try again".

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use strongroom_world::{BootTime, Rng, WallTime};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::state::{Login, State};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The longest that an assertion may be good for, and how far two clocks may differ. Seconds.
const ASSERTION_LIFE_S: i64 = 600;
const LEEWAY_S: i64 = 60;
const JTI_BYTES_MAX: usize = 128;
const ASSERTION_BYTES_MAX: usize = 8 << 10;
/// Of tokens that an admin chose: enough not to be guessed, little enough to hash at each request.
const ADMIN_TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// Why a login failed, in OAuth's words (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginError {
    /// The request is no login. 400.
    Request(&'static str),
    /// Unknown principal, wrong key, wrong or used assertion. 401; all look alike to the caller but for the sentence.
    Client(&'static str),
    /// Unknown principal or wrong secret. 401.
    Secret,
    /// True for now: too many logins, or the assertion is older than this process. 503.
    Later(&'static str),
}

/// What a client posts. It may hold a secret and an assertion, so it has no `Debug`.
#[derive(Default)]
pub(crate) struct LoginForm {
    pub(crate) grant_type: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) assertion_type: Option<String>,
    pub(crate) assertion: Option<String>,
    pub(crate) secret: Option<Zeroizing<String>>,
}

impl LoginForm {
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            let place = match &*name {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_assertion_type" => &mut form.assertion_type,
                "client_assertion" => &mut form.assertion,
                "client_secret" => {
                    form.secret = Some(Zeroizing::new(value.into_owned()));
                    continue;
                }
                _ => continue,
            };
            *place = Some(value.into_owned());
        }
        form
    }

    /// Adds what an `Authorization: Basic` header says (RFC 6749 §2.3.1).
    pub(crate) fn with_basic(mut self, header: Option<&str>) -> Self {
        let basic = header.and_then(|header| header.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        let text = basic.and_then(|(_, text)| STANDARD.decode(text.trim()).ok()).map(Zeroizing::new);
        let text = text.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        if let Some((id, secret)) = text.and_then(|text| text.split_once(':')) {
            self.client_id = Some(id.to_owned());
            self.secret = Some(Zeroizing::new(secret.to_owned()));
        }
        self
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    jti: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
}

#[derive(Debug)]
struct Token {
    principal: Uuid,
    registration: Uuid,
    until: BootTime,
}

/// What is remembered of one identity.
#[derive(Debug, Default)]
struct Seen {
    /// Assertions spent, with the time from which they are expired anyhow.
    spent: HashMap<[u8; 32], BootTime>,
    /// Its tokens, oldest first.
    tokens: VecDeque<[u8; 32]>,
}

/// Tokens given out and assertions spent.
#[derive(Debug)]
pub(crate) struct Logins {
    /// Seconds since 1970: nothing is known of assertions from before.
    started: i64,
    tokens: HashMap<[u8; 32], Token>,
    seen: HashMap<Uuid, Seen>,
}

/// Bounds of [`Logins`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginBounds {
    pub(crate) token_life: Duration,
    pub(crate) tokens_per_identity: usize,
    pub(crate) logins_per_identity: usize,
}

/// The clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: WallTime,
    pub(crate) boot: BootTime,
}

impl Logins {
    pub(crate) fn new(now: Now) -> Self {
        Self { started: now.wall.unix_secs(), tokens: HashMap::new(), seen: HashMap::new() }
    }

    /// Spends a checked assertion and gives a token.
    pub(crate) fn admit(&mut self, checked: &Checked, now: Now, rng: &dyn Rng, bounds: LoginBounds) -> Result<String, LoginError> {
        let Checked { principal, registration, claims } = checked;
        if claims.as_ref().is_some_and(|claims| claims.iat < self.started) {
            return Err(LoginError::Later("the assertion is older than this vault's last start; make a new one"));
        }
        let seen = self.seen.entry(*principal).or_default();
        if let Some(claims) = claims {
            seen.spent.retain(|_, until| *until > now.boot);
            let id: [u8; 32] = Sha256::digest(claims.jti.as_bytes()).into();
            if seen.spent.contains_key(&id) {
                return Err(LoginError::Client("this assertion was used before"));
            }
            if seen.spent.len() >= bounds.logins_per_identity {
                return Err(LoginError::Later("too many logins of this identity; wait until earlier assertions have expired"));
            }
            let left = u64::try_from(claims.exp + LEEWAY_S - now.wall.unix_secs()).unwrap_or(0);
            seen.spent.insert(id, now.boot.after(Duration::from_secs(left + 1)));
        }

        let token = mint("svt_", rng);
        let hash = sha256(&token);
        while seen.tokens.len() >= bounds.tokens_per_identity {
            if let Some(oldest) = seen.tokens.pop_front() {
                self.tokens.remove(&oldest);
            }
        }
        seen.tokens.push_back(hash);
        let until = now.boot.after(bounds.token_life);
        self.tokens.insert(hash, Token { principal: *principal, registration: *registration, until });
        Ok(token)
    }

    /// Who a token belongs to, if it still works.
    pub(crate) fn principal(&self, state: &State, token: &str, now: BootTime) -> Option<Uuid> {
        let token = self.tokens.get(&sha256(token)).filter(|token| now < token.until)?;
        let identity = state.identities.get(&token.principal)?;
        (identity.registration == token.registration).then_some(token.principal)
    }

    /// Drops what no longer works: nothing depends on it but memory.
    pub(crate) fn tidy(&mut self, state: &State, now: BootTime) {
        let Self { tokens, seen, .. } = self;
        tokens.retain(|_, token| {
            now < token.until && state.identities.get(&token.principal).is_some_and(|identity| identity.registration == token.registration)
        });
        seen.retain(|_, seen| {
            seen.spent.retain(|_, until| *until > now);
            seen.tokens.retain(|hash| tokens.contains_key(hash));
            !seen.spent.is_empty() || !seen.tokens.is_empty()
        });
    }
}

/// Who may have a token: with a secret now, with an assertion if that was not spent.
pub(crate) struct Checked {
    pub(crate) principal: Uuid,
    registration: Uuid,
    claims: Option<Claims>,
}

/// A client secret has 256 random bits, so that neither its hash nor its guessing needs to be made slow.
fn check_secret(state: &State, form: &LoginForm, secret: &str) -> Result<Checked, (Option<Uuid>, LoginError)> {
    let principal = form.client_id.as_deref().and_then(|id| Uuid::try_parse(id).ok()).ok_or((None, LoginError::Secret))?;
    let identity = state.identities.get(&principal).ok_or((None, LoginError::Secret))?;
    match &identity.login {
        Login::Secret(known) if bool::from(sha256(secret).ct_eq(known)) => {
            Ok(Checked { principal, registration: identity.registration, claims: None })
        }
        _ => Err((None, LoginError::Secret)),
    }
}

/// All that can be said of a login without knowing which assertions were spent. `audience` is the token endpoint as the client
/// named it, `now` seconds since 1970.
pub(crate) fn check(state: &State, form: &LoginForm, audience: &str, now: i64) -> Result<Checked, (Option<Uuid>, LoginError)> {
    let wrong = |text| (None, LoginError::Request(text));
    if form.grant_type.as_deref() != Some("client_credentials") {
        return Err((None, LoginError::Request("grant_type must be client_credentials")));
    }
    if let Some(secret) = &form.secret {
        return check_secret(state, form, secret);
    }
    if form.assertion_type.as_deref() != Some(ASSERTION_TYPE) {
        return Err(wrong("client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    }
    let assertion = form.assertion.as_deref().filter(|assertion| assertion.len() <= ASSERTION_BYTES_MAX);
    let assertion = assertion.ok_or_else(|| wrong("client_assertion is missing or too long"))?;

    let nobody = || (None, LoginError::Client("no identity is registered that signed this assertion"));
    let unread: Claims = jsonwebtoken::dangerous::insecure_decode(assertion).map_err(|_| nobody())?.claims;
    let principal = Uuid::try_parse(&unread.sub).map_err(|_| nobody())?;
    let identity = state.identities.get(&principal).ok_or_else(nobody)?;
    let Login::Key(pem) = &identity.login else { return Err(nobody()) };
    let key = verifying_key(pem).map_err(|_| nobody())?;
    let mut validation = Validation::new(Algorithm::ES256);
    // Times are compared below, by the vault's own clock.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let claims = match jsonwebtoken::decode::<Claims>(assertion, &key, &validation) {
        Ok(token) => token.claims,
        Err(error) => {
            let audience = matches!(error.kind(), jsonwebtoken::errors::ErrorKind::InvalidAudience);
            let text = "the assertion's aud is not this token endpoint's address";
            return Err(if audience { (Some(principal), LoginError::Client(text)) } else { nobody() });
        }
    };
    let failed = |text| Err((Some(principal), LoginError::Client(text)));
    if claims.iss != claims.sub || form.client_id.as_ref().is_some_and(|id| *id != claims.sub) {
        return failed("iss, sub and client_id must be the principal's id");
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
        return failed("jti must have 1 to 128 bytes");
    }
    if claims.exp.saturating_sub(claims.iat) > ASSERTION_LIFE_S || claims.exp <= claims.iat {
        return failed("an assertion is good for 600 seconds at most");
    }
    if claims.exp.saturating_add(LEEWAY_S) <= now {
        return failed("the assertion has expired");
    }
    if claims.iat > now + LEEWAY_S || claims.nbf.is_some_and(|nbf| nbf > now + LEEWAY_S) {
        return failed("the assertion is not valid yet");
    }
    Ok(Checked { principal, registration: identity.registration, claims: Some(claims) })
}

/// Reads a P-256 public key (PEM, SubjectPublicKeyInfo).
pub(crate) fn verifying_key(pem: &str) -> Result<DecodingKey, &'static str> {
    let wrong = "publicKeyPem must be an EC P-256 public key in PEM (BEGIN PUBLIC KEY)";
    let key = DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| wrong)?;
    let point = key.try_get_as_bytes().map_err(|_| wrong)?;
    // 65 bytes, uncompressed: of the curves there are, P-256 alone; and the point must be on it.
    if point.len() != 65 || ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_err() {
        return Err(wrong);
    }
    Ok(key)
}

/// A new token: 256 random bits after a prefix that secret scanners can look for.
pub(crate) fn mint(prefix: &str, rng: &dyn Rng) -> String {
    let mut random = Zeroizing::new([0; 32]);
    rng.fill(&mut *random);
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(*random))
}

pub(crate) fn sha256(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Whether somebody's choice can be an admin's token.
pub(crate) fn is_admin_token(token: &str) -> bool {
    ADMIN_TOKEN_BYTES.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}
