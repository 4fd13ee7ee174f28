use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::*;
use crate::SharedKeys;

fn sign(key: &str, text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[tokio::test]
async fn both_keys_count_until_they_are_replaced_and_nobody_elses_do() {
    let site = Site::new().await;
    let mine = site.workspaces.create("mine".parse().unwrap(), None).await.unwrap();
    let other = site.workspaces.create("other".parse().unwrap(), None).await.unwrap();
    let mmk = Arc::new(Mmk::generate(site.world.rng.as_ref()));
    let keys = SharedKeys::new(site.world.clone(), site.catalog.clone(), Arc::clone(&mmk));
    assert!(!keys.verify(mine.id, b"text", &sign("", b"text")).await.unwrap(), "no keys, no signatures");

    let pair = keys.get(mine.id).await.unwrap();
    assert_eq!([&*pair.primary, &*pair.secondary].map(|key| STANDARD.decode(key).unwrap().len()), [64, 64]);
    assert_ne!(*pair.primary, *pair.secondary);
    let again = SharedKeys::new(site.world.clone(), site.catalog.clone(), mmk).get(mine.id).await.unwrap();
    assert_eq!((&*again.primary, &*again.secondary), (&*pair.primary, &*pair.secondary), "they are kept");
    for key in [&pair.primary, &pair.secondary] {
        let signature = sign(key, b"text");
        assert!(keys.verify(mine.id, b"text", &signature).await.unwrap());
        assert!(!keys.verify(mine.id, b"test", &signature).await.unwrap());
        assert!(!keys.verify(mine.id, b"text", &signature[..20]).await.unwrap());
        keys.get(other.id).await.unwrap();
        assert!(!keys.verify(other.id, b"text", &signature).await.unwrap(), "a workspace has keys of its own");
    }

    let row = site.catalog.shared_keys(mine.id).await.unwrap().unwrap();
    let raw = STANDARD.decode(&*pair.primary).unwrap();
    assert!(!row.cell.windows(16).any(|part| part == &raw[..16]), "sealed");

    let fresh = keys.regenerate(mine.id).await.unwrap();
    assert!(!keys.verify(mine.id, b"text", &sign(&pair.primary, b"text")).await.unwrap());
    assert!(!keys.verify(mine.id, b"text", &sign(&pair.secondary, b"text")).await.unwrap());
    assert!(keys.verify(mine.id, b"text", &sign(&fresh.secondary, b"text")).await.unwrap());

    let stranger = SharedKeys::new(site.world.clone(), site.catalog.clone(), Arc::new(Mmk::generate(site.world.rng.as_ref())));
    assert_eq!(stranger.get(mine.id).await.unwrap_err().code(), "IntegrityError", "another root key opens nothing");
    assert_eq!(stranger.verify(mine.id, b"text", &sign(&fresh.primary, b"text")).await.unwrap_err().code(), "IntegrityError");
}
