//! RSA, all of it aws-lc's: making keys, taking them in, wrapping and unwrapping by RSA-OAEP-256.
//!
//! A private key is here for one call: opened from its cell, used, wiped.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::refusal::Refusal;

/// The algorithm that wraps here.
pub(crate) const RSA_OAEP_256: &str = "RSA-OAEP-256";
/// What OAEP takes of a block: two SHA-256 hashes and two bytes (RFC 8017 §7.1.1).
const OAEP_OVERHEAD: usize = 2 * 32 + 2;

/// A key's public part: big-endian, no leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Public {
    pub(crate) n: Base64Url,
    pub(crate) e: Base64Url,
}

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

/// A key's private parts as a JSON Web Key gives them (RFC 7518 §6.3).
pub(crate) struct PrivateParts {
    pub(crate) n: Base64Url,
    pub(crate) e: Base64Url,
    pub(crate) d: SecretBytes,
    pub(crate) p: SecretBytes,
    pub(crate) q: SecretBytes,
    pub(crate) dp: SecretBytes,
    pub(crate) dq: SecretBytes,
    pub(crate) qi: SecretBytes,
}

/// A whole key on its way into its cell: PKCS#8, and what may be known of it.
pub(crate) struct NewKey {
    pub(crate) pkcs8: Zeroizing<Vec<u8>>,
    pub(crate) public: Public,
}

impl Public {
    pub(crate) fn bits(&self) -> u32 {
        u32::try_from(self.n.0.len() * 8).expect("at most 4096 bits were taken in")
    }

    fn key(&self) -> Result<PublicEncryptingKey, Refusal> {
        PublicKeyComponents { n: &self.n.0, e: &self.e.0 }.try_into().map_err(|_| Refusal::internal("the key's public part is unusable"))
    }

    /// RSA-OAEP-256 under the public part.
    pub(crate) fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        let max = self.n.0.len() - OAEP_OVERHEAD;
        if plain.is_empty() || plain.len() > max {
            return Err(Refusal::bad(format!("value has {} bytes; with this key {RSA_OAEP_256} takes 1 to {max}", plain.len())));
        }
        let key = OaepPublicEncryptingKey::new(self.key()?).map_err(|_| Refusal::internal("the key's public part is unusable"))?;
        let mut out = vec![0; key.ciphertext_size()];
        let len =
            key.encrypt(&OAEP_SHA256_MGF1SHA256, plain, &mut out, None).map_err(|_| Refusal::internal("the encryption failed"))?.len();
        out.truncate(len);
        Ok(out)
    }

    /// Reverses [`encrypt`](Self::encrypt) with the private key, which must be this one's.
    pub(crate) fn decrypt(&self, pkcs8: &[u8], cipher: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let unusable = || Refusal::internal("the private key is unusable");
        if cipher.len() != self.n.0.len() {
            return Err(Refusal::bad(format!("value has {} bytes; this key's ciphertexts have {}", cipher.len(), self.n.0.len())));
        }
        let private = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| unusable())?;
        let key = OaepPrivateDecryptingKey::new(private).map_err(|_| unusable())?;
        let mut out = Zeroizing::new(vec![0; key.min_output_size()]);
        let len = key
            .decrypt(&OAEP_SHA256_MGF1SHA256, cipher, &mut out, None)
            .map_err(|_| Refusal::bad("value was not encrypted under this key version, or was changed"))?
            .len();
        out.truncate(len);
        Ok(out)
    }
}

impl NewKey {
    /// A new RSA key; 2048, 3072 or 4096 bits. Takes up to seconds.
    pub(crate) fn generate(bits: u32) -> Result<Self, Refusal> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(Refusal::bad("key_size must be 2048, 3072 or 4096")),
        };
        Self::of(&KeyPair::generate(size).map_err(|_| Refusal::internal("no key could be generated"))?)
    }

    /// An RSA key made elsewhere. aws-lc checks that the parts belong together.
    pub(crate) fn import(parts: &PrivateParts) -> Result<Self, Refusal> {
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
        Self::of(&pair)
    }

    fn of(pair: &KeyPair) -> Result<Self, Refusal> {
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Refusal::internal("the key could not be encoded"))?;
        Ok(Self { pkcs8: Zeroizing::new(der.as_ref().to_vec()), public: Public { n: Base64Url(public.n), e: Base64Url(public.e) } })
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len())..]
}
