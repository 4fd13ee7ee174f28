//! The data ciphers, behind one private trait: the only file that knows them.
//!
//! Two libraries implement the same two algorithms, and tests hold them equal byte for byte: RustCrypto's, which need nothing but
//! Rust, and with the feature `aws-lc` (on by default) AWS-LC's, which seal and open about twice as fast where the processor has
//! VAES (`docs/adr/0005`). Which one wrote an object cannot be told from it.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;

use crate::TAG_LEN;

/// The tag did not fit: wrong key, nonce, associated data or bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// An AEAD with a 32-byte key, a 12-byte nonce and a 16-byte tag. Implementations wipe their key on drop.
pub(crate) trait ChunkAead: Send + Sync + 'static {
    /// Its name in the key derivation (RFC 5116's registry).
    const NAME: &'static [u8];

    fn with_key(key: &[u8; 32]) -> Self;
    fn seal(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN];
    /// On failure `data` is left as it was.
    fn open(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), NotAuthentic>;
    /// As [`open`](Self::open), from `sealed` to `out` of the same length; after a failure `out` means nothing.
    fn open_into(
        &self,
        nonce: &[u8; 12],
        associated: &[u8],
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        out.copy_from_slice(sealed);
        self.open(nonce, associated, out, tag)
    }
}

const AES_256_GCM: &[u8] = b"AEAD_AES_256_GCM";
const CHACHA20_POLY1305: &[u8] = b"AEAD_CHACHA20_POLY1305";

macro_rules! chunk_aead {
    ($cipher:ty, $name:expr) => {
        impl ChunkAead for $cipher {
            const NAME: &'static [u8] = $name;

            fn with_key(key: &[u8; 32]) -> Self {
                <$cipher>::new(key.into())
            }
            fn seal(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
                self.encrypt_inout_detached(nonce.into(), associated, data.into())
                    .expect("a chunk or record is far below the cipher's limit")
                    .into()
            }
            fn open(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), NotAuthentic> {
                self.decrypt_inout_detached(nonce.into(), associated, data.into(), tag.into()).map_err(|_| NotAuthentic)
            }
        }
    };
}

chunk_aead!(Aes256Gcm, AES_256_GCM);
chunk_aead!(ChaCha20Poly1305, CHACHA20_POLY1305);

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{AES_256_GCM, CHACHA20_POLY1305, ChunkAead, NotAuthentic, TAG_LEN};

    macro_rules! chunk_aead {
        ($cipher:ident, $algorithm:expr, $name:expr) => {
            /// The library's context wipes its memory when it is freed.
            pub(crate) struct $cipher(LessSafeKey);

            impl ChunkAead for $cipher {
                const NAME: &'static [u8] = $name;

                fn with_key(key: &[u8; 32]) -> Self {
                    Self(LessSafeKey::new(UnboundKey::new($algorithm, key).expect("the cipher's keys are 32 bytes")))
                }
                fn seal(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
                    let nonce = Nonce::assume_unique_for_key(*nonce);
                    let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(associated), data);
                    let tag = tag.expect("a chunk or record is far below the cipher's limit");
                    tag.as_ref().try_into().expect("tags are 16 bytes")
                }
                fn open(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), NotAuthentic> {
                    let sealed = data.to_vec();
                    let opened = self.open_into(nonce, associated, &sealed, tag, data);
                    if opened.is_err() {
                        data.copy_from_slice(&sealed);
                    }
                    opened
                }
                fn open_into(
                    &self,
                    nonce: &[u8; 12],
                    associated: &[u8],
                    sealed: &[u8],
                    tag: &[u8; TAG_LEN],
                    out: &mut [u8],
                ) -> Result<(), NotAuthentic> {
                    let nonce = Nonce::assume_unique_for_key(*nonce);
                    self.0.open_separate_gather(nonce, Aad::from(associated), sealed, tag, out).map_err(|_| NotAuthentic)
                }
            }
        };
    }

    chunk_aead!(AwsLcAes256Gcm, &aead::AES_256_GCM, AES_256_GCM);
    chunk_aead!(AwsLcChaCha20Poly1305, &aead::CHACHA20_POLY1305, CHACHA20_POLY1305);
}

#[cfg(feature = "aws-lc")]
pub(crate) use aws_lc::{AwsLcAes256Gcm as Inner, AwsLcChaCha20Poly1305 as Outer};

/// The inner layer's cipher.
#[cfg(not(feature = "aws-lc"))]
pub(crate) type Inner = Aes256Gcm;
/// The outer layer's cipher.
#[cfg(not(feature = "aws-lc"))]
pub(crate) type Outer = ChaCha20Poly1305;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What one library seals the other opens, and both say the same of what was touched.
    fn agree<A: ChunkAead, B: ChunkAead>(key: [u8; 32], nonce: [u8; 12], associated: &[u8], plain: &[u8], touched: usize) {
        let (a, b) = (A::with_key(&key), B::with_key(&key));
        let (mut by_a, mut by_b) = (plain.to_vec(), plain.to_vec());
        let tag = a.seal(&nonce, associated, &mut by_a);
        assert_eq!(tag, b.seal(&nonce, associated, &mut by_b));
        assert_eq!(by_a, by_b);
        let mut out = vec![0; plain.len()];
        b.open_into(&nonce, associated, &by_a, &tag, &mut out).unwrap();
        assert_eq!(out, plain);
        let mut wrong = tag;
        wrong[touched % TAG_LEN] ^= 1;
        for cipher in [&a as &dyn Opens, &b] {
            let mut data = by_a.clone();
            assert_eq!(cipher.opens(&nonce, associated, &mut data, &wrong), Err(NotAuthentic));
            assert_eq!(data, by_a, "left as it was");
            cipher.opens(&nonce, associated, &mut data, &tag).unwrap();
            assert_eq!(data, plain);
        }
    }

    trait Opens {
        fn opens(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), NotAuthentic>;
    }
    impl<A: ChunkAead> Opens for A {
        fn opens(&self, nonce: &[u8; 12], associated: &[u8], data: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), NotAuthentic> {
            self.open(nonce, associated, data, tag)
        }
    }

    proptest! {
        #[test]
        fn both_libraries_make_the_same_bytes(
            key: [u8; 32], nonce: [u8; 12], associated: Vec<u8>, touched: usize,
            plain in proptest::collection::vec(any::<u8>(), 0..5_000),
        ) {
            agree::<Aes256Gcm, Inner>(key, nonce, &associated, &plain, touched);
            agree::<ChaCha20Poly1305, Outer>(key, nonce, &associated, &plain, touched);
        }
    }
}
