//! A cluster's own identity: a key pair whose public half the customer registers in their vault.
//!
//! There is no server-wide vault credential: each cluster logs in as itself, with a signed assertion (RFC 7523,
//! `private_key_jwt`), and so a customer's grant says which cluster may use which key. The private half is only ever in
//! wiped memory; at rest it is a cell under the MMK.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use strongroom_world::{Rng, WallTime};
use uuid::Uuid;
use zeroize::Zeroizing;

/// First byte of [`ClusterIdentity::to_secret_bytes`].
const FORMAT: u8 = 1;
/// The format byte, the principal and the tenant stand before the key.
const PREFIX: usize = 1 + 16 + 16;
/// How long an assertion is good for: vaults take 10 minutes at most.
const ASSERTION_LIFE_S: i64 = 300;

/// Who a cluster is towards a vault. `Debug` prints the principal alone.
pub struct ClusterIdentity {
    principal: Uuid,
    tenant: Uuid,
    /// PKCS #8.
    private: Zeroizing<Vec<u8>>,
}

/// Why an identity could not be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The crypto library made no key.
    #[error("no key pair could be made")]
    Generate,
    /// Not the bytes of an identity.
    #[error("these are not the bytes of a cluster identity")]
    Malformed,
    /// The crypto library did not sign.
    #[error("the login could not be signed")]
    Sign,
}

impl ClusterIdentity {
    /// A new identity with a new P-256 key. `rng` gives the ids; the key comes from the crypto library's own generator.
    ///
    /// # Errors
    /// [`IdentityError::Generate`].
    pub fn generate(rng: &dyn Rng) -> Result<Self, IdentityError> {
        let id = || {
            let mut random = [0; 16];
            rng.fill(&mut random);
            uuid::Builder::from_random_bytes(random).into_uuid()
        };
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let document = document.map_err(|_| IdentityError::Generate)?;
        Ok(Self { principal: id(), tenant: id(), private: Zeroizing::new(document.as_ref().to_vec()) })
    }

    /// The same identity, which logs in to `tenant`.
    #[must_use]
    pub fn in_tenant(self, tenant: Uuid) -> Self {
        Self { tenant, ..self }
    }

    /// The identity's principal id: what a customer grants.
    #[must_use]
    pub const fn principal(&self) -> Uuid {
        self.principal
    }

    /// The tenant it logs in to.
    #[must_use]
    pub const fn tenant(&self) -> Uuid {
        self.tenant
    }

    /// Everything, the private key included: for a sealed cell and nothing else.
    #[must_use]
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(PREFIX + self.private.len()));
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.principal.as_bytes());
        bytes.extend_from_slice(self.tenant.as_bytes());
        bytes.extend_from_slice(&self.private);
        bytes
    }

    /// Reads what [`ClusterIdentity::to_secret_bytes`] gave.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`].
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let (prefix, private) = bytes.split_at_checked(PREFIX).ok_or(IdentityError::Malformed)?;
        if prefix[0] != FORMAT {
            return Err(IdentityError::Malformed);
        }
        let id = |at: usize| Uuid::from_slice(&prefix[at..at + 16]).map_err(|_| IdentityError::Malformed);
        let identity = Self { principal: id(1)?, tenant: id(17)?, private: Zeroizing::new(private.to_vec()) };
        identity.key_pair()?;
        Ok(identity)
    }

    /// The public key as PEM (SubjectPublicKeyInfo): what the customer registers in the vault.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`], which an identity that was read does not give.
    pub fn public_key_pem(&self) -> Result<String, IdentityError> {
        let pair = self.key_pair()?;
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| IdentityError::Malformed)?;
        let text = STANDARD.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        // RFC 7468: 64 characters a line.
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(pem)
    }

    /// A signed login (ES256 JWT) for `audience`, the token endpoint's own address; good for five minutes, once.
    ///
    /// # Errors
    /// [`IdentityError::Sign`].
    pub fn assertion(&self, audience: &str, now: WallTime, rng: &dyn Rng) -> Result<Zeroizing<String>, IdentityError> {
        let mut once = [0; 16];
        rng.fill(&mut once);
        let issued = now.unix_secs();
        let header = json!({ "alg": "ES256", "typ": "JWT" });
        let claims = json!({
            "iss": self.principal,
            "sub": self.principal,
            "aud": audience,
            "iat": issued,
            "exp": issued.saturating_add(ASSERTION_LIFE_S),
            "jti": uuid::Builder::from_random_bytes(once).into_uuid(),
        });
        let mut jwt = Zeroizing::new(String::with_capacity(768));
        URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut jwt);
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut jwt);
        let signature = self.key_pair()?.sign(&SystemRandom::new(), jwt.as_bytes()).map_err(|_| IdentityError::Sign)?;
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(jwt)
    }

    fn key_pair(&self) -> Result<EcdsaKeyPair, IdentityError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.private).map_err(|_| IdentityError::Malformed)
    }
}

impl fmt::Debug for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterIdentity").field("principal", &self.principal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;
    use strongroom_world::sim::SimWorld;

    use super::*;

    const AUDIENCE: &str = "https://127.0.0.1:7701/tenant/oauth2/v2.0/token";

    fn claims(identity: &ClusterIdentity, jwt: &str) -> Value {
        let key = DecodingKey::from_ec_pem(identity.public_key_pem().unwrap().as_bytes()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_exp = false;
        jsonwebtoken::decode::<Value>(jwt, &key, &validation).unwrap().claims
    }

    #[test]
    fn an_assertion_verifies_under_the_public_key_and_is_short_lived() {
        let world = SimWorld::new(1).world();
        let identity = ClusterIdentity::generate(world.rng.as_ref()).unwrap();
        let now = world.clock.wall();
        let claims = claims(&identity, &identity.assertion(AUDIENCE, now, world.rng.as_ref()).unwrap());
        assert_eq!(claims["iss"], identity.principal().to_string());
        assert_eq!(claims["sub"], claims["iss"]);
        assert_eq!(claims["iat"], now.unix_secs());
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    }

    #[test]
    fn no_two_assertions_share_an_id() {
        let world = SimWorld::new(2).world();
        let identity = ClusterIdentity::generate(world.rng.as_ref()).unwrap();
        let ids: HashSet<String> = (0..100)
            .map(|_| identity.assertion(AUDIENCE, world.clock.wall(), world.rng.as_ref()).unwrap())
            .map(|jwt| claims(&identity, &jwt)["jti"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 100);
    }

    #[test]
    fn the_secret_bytes_give_the_same_identity_back() {
        let world = SimWorld::new(3).world();
        let identity = ClusterIdentity::generate(world.rng.as_ref()).unwrap();
        let bytes = identity.to_secret_bytes();
        let again = ClusterIdentity::from_secret_bytes(&bytes).unwrap();
        assert_eq!((again.principal(), again.tenant()), (identity.principal(), identity.tenant()));
        assert_eq!(again.public_key_pem().unwrap(), identity.public_key_pem().unwrap());
        for cut in [0, 1, 32, 33, 50, bytes.len() - 1] {
            assert_eq!(ClusterIdentity::from_secret_bytes(&bytes[..cut]).unwrap_err(), IdentityError::Malformed, "{cut}");
        }
    }

    #[test]
    fn debug_prints_the_principal_and_nothing_else() {
        let identity = ClusterIdentity::generate(SimWorld::new(4).world().rng.as_ref()).unwrap();
        assert_eq!(format!("{identity:?}"), format!("ClusterIdentity {{ principal: {:?}, .. }}", identity.principal()));
    }
}
