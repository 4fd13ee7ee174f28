//! RSA: OAEP there and back, PKCS#1 v1.5 and PSS signatures.

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaParameters,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Base64Url, NewKey, Public, SecretBytes, digest_of, without_zeros};
use crate::refusal::Refusal;

/// Big-endian, no leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RsaPublic {
    pub(crate) n: Base64Url,
    pub(crate) e: Base64Url,
}

/// RFC 7518 §6.3.
pub(crate) struct RsaParts {
    pub(crate) n: Base64Url,
    pub(crate) e: Base64Url,
    pub(crate) d: SecretBytes,
    pub(crate) p: SecretBytes,
    pub(crate) q: SecretBytes,
    pub(crate) dp: SecretBytes,
    pub(crate) dq: SecretBytes,
    pub(crate) qi: SecretBytes,
}

/// How it encrypts. PKCS#1 v1.5 is broken and not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oaep {
    Sha1,
    Sha256,
}

impl Oaep {
    pub(crate) fn parse(alg: &str) -> Result<Self, Refusal> {
        match alg {
            "RSA-OAEP" => Ok(Self::Sha1),
            "RSA-OAEP-256" => Ok(Self::Sha256),
            "RSA1_5" => Err(Refusal::bad("alg RSA1_5 is broken and refused: use RSA-OAEP-256")),
            _ => Err(Refusal::bad("alg must be RSA-OAEP-256 or RSA-OAEP")),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "RSA-OAEP",
            Self::Sha256 => "RSA-OAEP-256",
        }
    }

    const fn algorithm(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha1 => &OAEP_SHA1_MGF1SHA1,
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
        }
    }

    /// What it takes of a block: two hashes and two bytes (RFC 8017 §7.1.1).
    const fn overhead(self) -> usize {
        match self {
            Self::Sha1 => 2 * 20 + 2,
            Self::Sha256 => 2 * 32 + 2,
        }
    }
}

/// One way of signing: what is signed, and the two names that aws-lc has for it.
struct Scheme {
    digest: &'static digest::Algorithm,
    signs: &'static dyn RsaEncoding,
    verifies: &'static RsaParameters,
}

fn scheme(alg: &str) -> Result<Scheme, Refusal> {
    let (digest, signs, verifies): (_, &'static dyn RsaEncoding, _) = match alg {
        "RS256" => (&digest::SHA256, &RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
        "RS384" => (&digest::SHA384, &RSA_PKCS1_SHA384, &RSA_PKCS1_2048_8192_SHA384),
        "RS512" => (&digest::SHA512, &RSA_PKCS1_SHA512, &RSA_PKCS1_2048_8192_SHA512),
        "PS256" => (&digest::SHA256, &RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
        "PS384" => (&digest::SHA384, &RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
        "PS512" => (&digest::SHA512, &RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
        _ => return Err(Refusal::bad("an RSA key signs by RS256, RS384, RS512, PS256, PS384 or PS512")),
    };
    Ok(Scheme { digest, signs, verifies })
}

impl RsaPublic {
    pub(crate) fn bits(&self) -> u32 {
        u32::try_from(self.n.0.len() * 8).expect("at most 4096 bits were taken in")
    }

    fn components(&self) -> PublicKeyComponents<&[u8]> {
        PublicKeyComponents { n: &self.n.0, e: &self.e.0 }
    }

    pub(crate) fn encrypt(&self, oaep: Oaep, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        let unusable = || Refusal::internal("the key's public part is unusable");
        let max = self.n.0.len() - oaep.overhead();
        if plain.is_empty() || plain.len() > max {
            return Err(Refusal::bad(format!("value has {} bytes; with this key {} takes 1 to {max}", plain.len(), oaep.name())));
        }
        let key: PublicEncryptingKey = self.components().try_into().map_err(|_| unusable())?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| unusable())?;
        let mut out = vec![0; key.ciphertext_size()];
        let len = key.encrypt(oaep.algorithm(), plain, &mut out, None).map_err(|_| Refusal::internal("the encryption failed"))?.len();
        out.truncate(len);
        Ok(out)
    }

    pub(crate) fn decrypt(&self, pkcs8: &[u8], oaep: Oaep, cipher: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let unusable = || Refusal::internal("the private key is unusable");
        if cipher.len() != self.n.0.len() {
            return Err(Refusal::bad(format!("value has {} bytes; this key's ciphertexts have {}", cipher.len(), self.n.0.len())));
        }
        let private = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| unusable())?;
        let key = OaepPrivateDecryptingKey::new(private).map_err(|_| unusable())?;
        let mut out = Zeroizing::new(vec![0; key.min_output_size()]);
        let len = key
            .decrypt(oaep.algorithm(), cipher, &mut out, None)
            .map_err(|_| Refusal::bad("value was not encrypted under this key version, or was changed"))?
            .len();
        out.truncate(len);
        Ok(out)
    }

    pub(crate) fn verify(&self, alg: &str, bytes: &[u8], signature: &[u8]) -> Result<bool, Refusal> {
        let scheme = scheme(alg)?;
        let digest = digest_of(bytes, scheme.digest)?;
        let key = self.components().to_parsed_public_key(scheme.verifies);
        let key = key.map_err(|_| Refusal::internal("the key's public part is unusable"))?;
        Ok(key.verify_digest_sig(&digest, signature).is_ok())
    }
}

pub(super) fn sign(pkcs8: &[u8], alg: &str, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let scheme = scheme(alg)?;
    let digest = digest_of(bytes, scheme.digest)?;
    let key = KeyPair::from_pkcs8(pkcs8).map_err(|_| Refusal::internal("the private key is unusable"))?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign_digest(scheme.signs, &digest, &mut signature).map_err(|_| Refusal::internal("the signature failed"))?;
    Ok(signature)
}

pub(super) fn generate(bits: u32) -> Result<NewKey, Refusal> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        _ => return Err(Refusal::bad("key_size must be 2048, 3072 or 4096")),
    };
    of(&KeyPair::generate(size).map_err(|_| Refusal::internal("no key could be generated"))?)
}

pub(super) fn import(parts: &RsaParts) -> Result<NewKey, Refusal> {
    let (n, e) = (without_zeros(&parts.n.0), without_zeros(&parts.e.0));
    if ![256, 384, 512].contains(&n.len()) || n[0] & 0x80 == 0 {
        return Err(Refusal::bad("the modulus n must have 2048, 3072 or 4096 bits"));
    }
    if e.len() < 3 || e.len() > 4 || (e.len() == 3 && e < [1, 0, 1].as_slice()) {
        return Err(Refusal::bad("the public exponent e must be at least 65537 and have at most 32 bits"));
    }
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d: parts.d.0.as_slice(),
        p: parts.p.0.as_slice(),
        q: parts.q.0.as_slice(),
        dP: parts.dp.0.as_slice(),
        dQ: parts.dq.0.as_slice(),
        qInv: parts.qi.0.as_slice(),
    };
    let pair = KeyPair::from_components(&components).map_err(|_| Refusal::bad("the parts of the key do not belong together"))?;
    of(&pair)
}

fn of(pair: &KeyPair) -> Result<NewKey, Refusal> {
    let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Refusal::internal("the key could not be encoded"))?;
    let public = Public::Rsa(RsaPublic { n: Base64Url(public.n), e: Base64Url(public.e) });
    Ok(NewKey { pkcs8: Zeroizing::new(der.as_ref().to_vec()), public })
}
