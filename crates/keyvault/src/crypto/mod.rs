//! Keys, all of it aws-lc's: making them, taking them in, and what they do.
//!
//! RSA wraps, encrypts and signs; elliptic curves sign. A private key is here for one call: opened from its cell, used, wiped.
//! Signing takes a digest and not a message, as Key Vault's interface has it: what was hashed never comes here.

mod ec;
mod rsa;

use aws_lc_rs::digest::{self, Digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::key::KeyOp;
use crate::refusal::Refusal;

pub(crate) use ec::{Curve, EcParts, EcPublic};
pub(crate) use rsa::{Oaep, RsaParts, RsaPublic};

/// Bytes that are base64url without padding in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base64Url(pub(crate) Vec<u8>);

impl Serialize for Base64Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SecretBytes::deserialize(deserializer).map(|bytes| Self(bytes.0.to_vec()))
    }
}

/// The same of a secret: wiped on drop.
pub(crate) struct SecretBytes(pub(crate) Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SecretBytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("base64url without padding")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretBytes, E> {
                let text = text.trim_end_matches('=');
                // Never the library's text: it would quote bytes.
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| E::custom("not base64url"))?;
                Ok(SecretBytes(Zeroizing::new(bytes)))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// What kind of key is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 2048, 3072 or 4096 bits.
    Rsa(u32),
    Ec(Curve),
}

/// A key's public part. In a state it is told by its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Public {
    Rsa(RsaPublic),
    Ec(EcPublic),
}

/// A key's private parts as a JSON Web Key gives them (RFC 7518 §6).
pub(crate) enum PrivateParts {
    Rsa(RsaParts),
    Ec(EcParts),
}

/// A whole key on its way into its cell: PKCS#8, and what may be known of it.
pub(crate) struct NewKey {
    pub(crate) pkcs8: Zeroizing<Vec<u8>>,
    pub(crate) public: Public,
}

impl NewKey {
    /// A new key. RSA takes up to seconds.
    pub(crate) fn generate(kind: Kind) -> Result<Self, Refusal> {
        match kind {
            Kind::Rsa(bits) => rsa::generate(bits),
            Kind::Ec(curve) => ec::generate(curve),
        }
    }

    /// A key made elsewhere. aws-lc checks that its parts belong together.
    pub(crate) fn import(parts: &PrivateParts) -> Result<Self, Refusal> {
        match parts {
            PrivateParts::Rsa(parts) => rsa::import(parts),
            PrivateParts::Ec(parts) => ec::import(parts),
        }
    }
}

impl Public {
    /// What a further version of the same key is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Rsa(key) => Kind::Rsa(key.bits()),
            Self::Ec(key) => Kind::Ec(key.crv),
        }
    }

    /// What a key of this kind may do if nobody says otherwise: all that it can do.
    pub(crate) fn usual(&self) -> Vec<KeyOp> {
        match self {
            Self::Rsa(_) => vec![KeyOp::Encrypt, KeyOp::Decrypt, KeyOp::Sign, KeyOp::Verify, KeyOp::WrapKey, KeyOp::UnwrapKey],
            Self::Ec(_) => vec![KeyOp::Sign, KeyOp::Verify],
        }
    }

    /// Writes itself into a JSON Web Key.
    pub(crate) fn fill(&self, jwk: &mut Map<String, Value>) {
        let members = match self {
            Self::Rsa(key) => vec![("kty", json!("RSA")), ("n", json!(key.n)), ("e", json!(key.e))],
            Self::Ec(key) => vec![("kty", json!("EC")), ("crv", json!(key.crv)), ("x", json!(key.x)), ("y", json!(key.y))],
        };
        jwk.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }

    /// Encrypts under the public part.
    pub(crate) fn encrypt(&self, alg: &str, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.rsa()?.encrypt(Oaep::parse(alg)?, plain)
    }

    /// Reverses [`encrypt`](Self::encrypt) with the private key, which must be this one's.
    pub(crate) fn decrypt(&self, pkcs8: &[u8], alg: &str, cipher: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        self.rsa()?.decrypt(pkcs8, Oaep::parse(alg)?, cipher)
    }

    /// Signs a digest with the private key, which must be this one's.
    pub(crate) fn sign(&self, pkcs8: &[u8], alg: &str, digest: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Rsa(_) => rsa::sign(pkcs8, alg, digest),
            Self::Ec(key) => key.sign(pkcs8, alg, digest),
        }
    }

    /// Whether `signature` is one of this key for that digest.
    pub(crate) fn verify(&self, alg: &str, digest: &[u8], signature: &[u8]) -> Result<bool, Refusal> {
        match self {
            Self::Rsa(key) => key.verify(alg, digest, signature),
            Self::Ec(key) => key.verify(alg, digest, signature),
        }
    }

    fn rsa(&self) -> Result<&RsaPublic, Refusal> {
        match self {
            Self::Rsa(key) => Ok(key),
            Self::Ec(_) => Err(Refusal::bad("keys of elliptic curves sign and verify; they neither wrap nor encrypt")),
        }
    }
}

/// A digest as it came in: its length is all that can be checked.
fn digest_of(bytes: &[u8], algorithm: &'static digest::Algorithm) -> Result<Digest, Refusal> {
    let wrong = || Refusal::bad(format!("the digest has {} bytes; this alg signs digests of {}", bytes.len(), algorithm.output_len()));
    Digest::import_less_safe(bytes, algorithm).map_err(|_| wrong())
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_signs_what_it_says_and_nothing_else() {
        let kinds: [(Kind, &[(&str, usize)]); 5] = [
            (Kind::Rsa(2048), &[("RS256", 32), ("RS384", 48), ("RS512", 64), ("PS256", 32), ("PS384", 48), ("PS512", 64)]),
            (Kind::Ec(Curve::P256), &[("ES256", 32)]),
            (Kind::Ec(Curve::P384), &[("ES384", 48)]),
            (Kind::Ec(Curve::P521), &[("ES512", 64)]),
            (Kind::Ec(Curve::P256K), &[("ES256K", 32)]),
        ];
        let all = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "HS256", "none", ""];
        for (kind, own) in kinds {
            let key = NewKey::generate(kind).unwrap();
            assert_eq!(key.public.kind(), kind);
            for (alg, len) in own {
                let digest = vec![7; *len];
                let signature = key.public.sign(&key.pkcs8, alg, &digest).unwrap();
                assert!(key.public.verify(alg, &digest, &signature).unwrap(), "{alg}");
                assert!(!key.public.verify(alg, &vec![8; *len], &signature).unwrap(), "{alg}: another digest");
                let mut changed = signature.clone();
                changed[9] ^= 1;
                assert!(!key.public.verify(alg, &digest, &changed).unwrap(), "{alg}: a changed signature");
                assert!(!key.public.verify(alg, &digest, b"short").unwrap(), "{alg}: no signature");
                assert!(key.public.sign(&key.pkcs8, alg, &digest[1..]).is_err(), "{alg}: a digest too short");
                let other = NewKey::generate(kind).unwrap();
                assert!(!other.public.verify(alg, &digest, &signature).unwrap(), "{alg}: another key");
            }
            for alg in all.iter().filter(|alg| !own.iter().any(|(known, _)| known == *alg)) {
                for len in [32, 48, 64] {
                    assert!(key.public.sign(&key.pkcs8, alg, &vec![7; len]).is_err(), "{kind:?} {alg}");
                    assert!(key.public.verify(alg, &vec![7; len], &[1; 64]).is_err(), "{kind:?} {alg}");
                }
            }
        }
    }

    #[test]
    fn what_one_padding_closed_another_does_not_open() {
        let key = NewKey::generate(Kind::Rsa(2048)).unwrap();
        for (alg, other, max) in [("RSA-OAEP", "RSA-OAEP-256", 214), ("RSA-OAEP-256", "RSA-OAEP", 190)] {
            let plain = vec![9; max];
            let closed = key.public.encrypt(alg, &plain).unwrap();
            assert_eq!(*key.public.decrypt(&key.pkcs8, alg, &closed).unwrap(), plain);
            assert!(key.public.decrypt(&key.pkcs8, other, &closed).is_err());
            assert!(key.public.encrypt(alg, &vec![9; max + 1]).is_err());
        }
        let curve = NewKey::generate(Kind::Ec(Curve::P256)).unwrap();
        assert!(curve.public.encrypt("RSA-OAEP-256", b"a").is_err());
        assert!(curve.public.decrypt(&curve.pkcs8, "RSA-OAEP-256", &[0; 256]).is_err());
    }

    #[test]
    fn a_public_part_is_told_by_its_members() {
        for kind in [Kind::Rsa(2048), Kind::Ec(Curve::P521)] {
            let public = NewKey::generate(kind).unwrap().public;
            let text = serde_json::to_string(&public).unwrap();
            assert_eq!(serde_json::from_str::<Public>(&text).unwrap(), public);
        }
    }
}
