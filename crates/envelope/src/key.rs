//! 32 secret bytes, and the two ways keys come from keys.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Sha256, Sha512};
use strongroom_world::Rng;
use zeroize::{Zeroize, Zeroizing};

/// 32 secret bytes on the heap, wiped on drop.
pub(crate) struct Key32(SecretBox<[u8; 32]>);

impl Key32 {
    pub(crate) fn random(rng: &dyn Rng) -> Self {
        Self(SecretBox::init_with_mut(|out: &mut [u8; 32]| rng.fill(out)))
    }

    /// Takes the bytes over; the argument's copy is wiped.
    pub(crate) fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = Self(SecretBox::init_with_mut(|out: &mut [u8; 32]| out.copy_from_slice(&bytes)));
        bytes.zeroize();
        key
    }

    /// `None` unless there are exactly 32 bytes. The slice is the caller's to wipe.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        Some(Self(SecretBox::init_with_mut(|out: &mut [u8; 32]| out.copy_from_slice(bytes))))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// HKDF-Expand-SHA256 (RFC 5869 §2.3) of this key, 32 bytes; `info` is the parts one after the other.
    pub(crate) fn expand(&self, info: &[&[u8]]) -> Self {
        let root = Hkdf::<Sha256>::from_prk(self.expose()).expect("32 bytes are SHA-256's own length");
        Self(SecretBox::init_with_mut(|out: &mut [u8; 32]| {
            root.expand_multi_info(info, out).expect("32 bytes are within HKDF's limit");
        }))
    }

    /// HMAC-SHA256 under this key over the parts one after the other.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.expose()).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac
    }

    /// HKDF-Expand-SHA512 to 76 bytes, as two HMAC calls: `Hkdf::from_prk` refuses a PRK shorter than the hash, which the
    /// scheme prescribes. `T(1) = HMAC(prk, info ‖ 1)`, `T(2) = HMAC(prk, T(1) ‖ info ‖ 2)`.
    pub(crate) fn expand_sha512(&self, info: &[&[u8]]) -> Zeroizing<[u8; 76]> {
        let block = |previous: &[u8], counter: u8| {
            let mut mac = Hmac::<Sha512>::new_from_slice(self.expose()).expect("HMAC takes keys of any length");
            mac.update(previous);
            for part in info {
                mac.update(part);
            }
            mac.update(&[counter]);
            Zeroizing::new(<[u8; 64]>::from(mac.finalize().into_bytes()))
        };
        let first = block(&[], 1);
        let second = block(first.as_slice(), 2);
        let mut out = Zeroizing::new([0; 76]);
        out[..64].copy_from_slice(first.as_slice());
        out[64..].copy_from_slice(&second[..12]);
        out
    }
}
