//! The keys of sealed things, derived a second time from what a customer's vault gives and what lies on disk: for whoever looks
//! for them where they must not be. No line of it is the server's; the format is `docs/formats/sealed-object.md`.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};

const HEADER: usize = 96;
const SALT: usize = 24;
const CHUNK: usize = 16_384 + 16;

/// HKDF-Expand-SHA256 to 32 bytes.
///
/// # Panics
/// Never: HMAC takes keys of any length.
#[must_use]
pub fn expand(key: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in info {
        mac.update(part);
    }
    mac.update(&[1]);
    mac.finalize().into_bytes().into()
}

/// Key and base nonce of a layer, by its name in the derivation.
fn layer_key(input: &[u8], name: &str, salt: &[u8], header: &[u8]) -> ([u8; 32], [u8; 12]) {
    // The first of the two blocks of HKDF-Expand-SHA512 holds both.
    let mut mac = Hmac::<Sha512>::new_from_slice(input).expect("a key of any length");
    for part in [b"c2sp.org/chunked-encryption@v1+", name.as_bytes(), &[0], salt, header, &[1]] {
        mac.update(part);
    }
    let derived = mac.finalize().into_bytes();
    (derived[..32].try_into().expect("32 bytes"), derived[32..44].try_into().expect("12 bytes"))
}

/// The first chunk of a layer.
fn first_chunk(name: &str, key: [u8; 32], nonce: [u8; 12], layer: &[u8]) -> Vec<u8> {
    let chunks = &layer[SALT + 32..];
    let chunk = &chunks[..chunks.len().min(CHUNK)];
    let opened = match name {
        AES => Aes256Gcm::new(&key.into()).decrypt(&nonce.into(), chunk),
        _ => ChaCha20Poly1305::new(&key.into()).decrypt(&nonce.into(), chunk),
    };
    opened.expect("the keys are the right ones")
}

const AES: &str = "AEAD_AES_256_GCM";
const CHACHA: &str = "AEAD_CHACHA20_POLY1305";

/// What is sealed by an inner key and, if its header says so, an infrastructure key around it: DEK of the inner layer and the plaintext
/// of its first chunk.
fn inner(sealed: &[u8], input: &[u8], infrastructure: &[u8]) -> ([u8; 32], Vec<u8>) {
    let (header, mut layer) = (&sealed[..HEADER], sealed[HEADER..].to_vec());
    if header[7] & 1 == 1 {
        let (key, nonce) = layer_key(infrastructure, CHACHA, &layer[..SALT], header);
        layer = first_chunk(CHACHA, key, nonce, &layer);
        // An outer chunk holds the inner salt, commitment, and the beginning of the first inner chunk: enough, if that is all.
    }
    let (key, nonce) = layer_key(input, AES, &layer[..SALT], header);
    let whole = sealed.len() < CHUNK;
    let plain = if whole { first_chunk(AES, key, nonce, &layer) } else { Vec::new() };
    (key, plain)
}

/// An account's infrastructure key, from its copy beside the data and the provider's root key.
#[must_use]
pub fn infrastructure_key(root: &[u8], copy: &[u8]) -> Vec<u8> {
    inner(copy, &expand(root, &[b"mmk/v1/wrap"]), &[]).1
}

/// A purpose key of an AEK.
#[must_use]
pub fn purpose_key(aek: &[u8], purpose: &str) -> [u8; 32] {
    expand(aek, &[b"aek/v1/", purpose.as_bytes()])
}

/// A workspace's secret, from its cell.
#[must_use]
pub fn workspace_secret(aek: &[u8], infrastructure: &[u8], cell: &[u8]) -> Vec<u8> {
    inner(cell, &purpose_key(aek, "cell"), infrastructure).1
}

/// The DEK of a block, from its stored bytes.
#[must_use]
pub fn block_dek(aek: &[u8], infrastructure: &[u8], secret: &[u8], block: &[u8]) -> [u8; 32] {
    let workspace = &block[40..56];
    inner(block, &expand(&purpose_key(aek, "block"), &[b"ws/v1/", workspace, secret]), infrastructure).0
}

/// The key of a segment of the log: its inner salt lies in clear.
#[must_use]
pub fn segment_key(aek: &[u8], segment: &[u8]) -> [u8; 32] {
    layer_key(&purpose_key(aek, "wal"), AES, &segment[HEADER..HEADER + SALT], &segment[..HEADER]).0
}

/// The AEK that a sealed thing's header names.
#[must_use]
pub fn aek_of(sealed: &[u8]) -> Option<&[u8]> {
    sealed.get(..HEADER).filter(|header| header.starts_with(b"STRG")).map(|header| &header[8..24])
}
