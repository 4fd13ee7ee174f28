//! Elliptic curves: ECDSA with the one digest that belongs to each curve, signatures as r and s side by side (RFC 7518 §3.4).

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED, ECDSA_P256K1_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Base64Url, NewKey, Public, SecretBytes, digest_of, without_zeros};
use crate::refusal::Refusal;

/// The curves of Key Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "P-521")]
    P521,
    /// secp256k1.
    #[serde(rename = "P-256K")]
    P256K,
}

/// A point: both coordinates in the curve's full length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EcPublic {
    pub(crate) crv: Curve,
    pub(crate) x: Base64Url,
    pub(crate) y: Base64Url,
}

/// RFC 7518 §6.2.
pub(crate) struct EcParts {
    pub(crate) crv: Curve,
    pub(crate) x: Base64Url,
    pub(crate) y: Base64Url,
    pub(crate) d: SecretBytes,
}

impl Curve {
    pub(crate) fn parse(name: &str) -> Result<Self, Refusal> {
        match name {
            "P-256" => Ok(Self::P256),
            "P-384" => Ok(Self::P384),
            "P-521" => Ok(Self::P521),
            "P-256K" | "SECP256K1" => Ok(Self::P256K),
            _ => Err(Refusal::bad("crv must be P-256, P-384, P-521 or P-256K")),
        }
    }

    /// The one by name, or that of a size.
    pub(crate) fn of(name: Option<&str>, bits: Option<u32>) -> Result<Self, Refusal> {
        match (name, bits) {
            (Some(name), _) => Self::parse(name),
            (None, None | Some(256)) => Ok(Self::P256),
            (None, Some(384)) => Ok(Self::P384),
            (None, Some(521)) => Ok(Self::P521),
            (None, Some(_)) => Err(Refusal::bad("key_size of an EC key is 256, 384 or 521; crv says it better")),
        }
    }

    /// Bytes of a coordinate.
    const fn len(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn alg(self) -> (&'static str, &'static digest::Algorithm) {
        match self {
            Self::P256 => ("ES256", &digest::SHA256),
            Self::P384 => ("ES384", &digest::SHA384),
            Self::P521 => ("ES512", &digest::SHA512),
            Self::P256K => ("ES256K", &digest::SHA256),
        }
    }

    const fn signs(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
            Self::P256K => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
        }
    }

    const fn verifies(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
            Self::P256K => &ECDSA_P256K1_SHA256_FIXED,
        }
    }
}

impl EcPublic {
    /// The digest that `alg` signs, if that is this curve's.
    fn digest(&self, alg: &str, bytes: &[u8]) -> Result<digest::Digest, Refusal> {
        let (own, algorithm) = self.crv.alg();
        if alg != own {
            return Err(Refusal::bad(format!("a key on this curve signs by {own}")));
        }
        digest_of(bytes, algorithm)
    }

    pub(super) fn sign(&self, pkcs8: &[u8], alg: &str, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let digest = self.digest(alg, bytes)?;
        let key = EcdsaKeyPair::from_pkcs8(self.crv.signs(), pkcs8).map_err(|_| Refusal::internal("the private key is unusable"))?;
        let signature = key.sign_digest(&digest).map_err(|_| Refusal::internal("the signature failed"))?;
        Ok(signature.as_ref().to_vec())
    }

    pub(super) fn verify(&self, alg: &str, bytes: &[u8], signature: &[u8]) -> Result<bool, Refusal> {
        let digest = self.digest(alg, bytes)?;
        let point = [[4].as_slice(), &self.x.0, &self.y.0].concat();
        Ok(UnparsedPublicKey::new(self.crv.verifies(), point).verify_digest(&digest, signature).is_ok())
    }
}

pub(super) fn generate(curve: Curve) -> Result<NewKey, Refusal> {
    of(curve, &EcdsaKeyPair::generate(curve.signs()).map_err(|_| Refusal::internal("no key could be generated"))?)
}

pub(super) fn import(parts: &EcParts) -> Result<NewKey, Refusal> {
    let len = parts.crv.len();
    let padded = |bytes: &[u8]| {
        let bytes = without_zeros(bytes);
        let missing = len.checked_sub(bytes.len()).ok_or_else(|| Refusal::bad(format!("x, y and d of this curve have {len} bytes")))?;
        Ok::<_, Refusal>(Zeroizing::new([vec![0; missing].as_slice(), bytes].concat()))
    };
    let point = [[4].as_slice(), &padded(&parts.x.0)?, &padded(&parts.y.0)?].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(parts.crv.signs(), &padded(&parts.d.0)?, &point);
    of(parts.crv, &pair.map_err(|_| Refusal::bad("the parts of the key do not belong together"))?)
}

fn of(crv: Curve, pair: &EcdsaKeyPair) -> Result<NewKey, Refusal> {
    let document = pair.to_pkcs8v1().map_err(|_| Refusal::internal("the key could not be encoded"))?;
    // Uncompressed: a byte that says so, then both coordinates.
    let (x, y) = pair.public_key().as_ref()[1..].split_at(crv.len());
    let public = Public::Ec(EcPublic { crv, x: Base64Url(x.to_vec()), y: Base64Url(y.to_vec()) });
    Ok(NewKey { pkcs8: Zeroizing::new(document.as_ref().to_vec()), public })
}
