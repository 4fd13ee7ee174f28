//! The data ciphers, behind one private trait: the only file that knows them.

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
}

macro_rules! chunk_aead {
    ($cipher:ty, $name:literal) => {
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

chunk_aead!(Aes256Gcm, b"AEAD_AES_256_GCM");
chunk_aead!(ChaCha20Poly1305, b"AEAD_CHACHA20_POLY1305");

/// The inner layer's cipher.
pub(crate) type Inner = Aes256Gcm;
/// The outer layer's cipher.
pub(crate) type Outer = ChaCha20Poly1305;
