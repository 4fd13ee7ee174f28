//! What every vault must do, whoever keeps the key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_keys::provider::{Answer, KeyVault, VaultError, validate};
use strongroom_model::{AccountId, AekId, ObjectId};
use strongroom_world::World;

/// How long a server may take to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// A vault with two keys, and the hands of its owner.
#[async_trait]
pub(crate) trait Rig: Send + Sync {
    fn world(&self) -> World;
    /// A client of the key.
    fn client(&self) -> Arc<dyn KeyVault>;
    /// A client of another key in the same vault.
    fn other(&self) -> Arc<dyn KeyVault>;
    /// The key gets another version; `false` if this kind of vault shows none.
    async fn rotate(&self) -> bool;
    /// The owner takes the key away; `false` if this server does not refuse it all the same (the denials then come from
    /// recorded answers, in the provider's own tests).
    async fn take_away(&self) -> bool;
    async fn give_back(&self);
    /// The server is gone, and comes back.
    async fn stop(&mut self);
    async fn start(&mut self);
    /// Where a wrapped key may be damaged so that the server sees it as its own kind would.
    fn damaged_at(&self, len: usize) -> Vec<usize> {
        vec![0, len / 2, len - 1]
    }
    /// Whether the server says of another key's ciphertext what its kind says.
    fn knows_its_own(&self) -> bool {
        true
    }
}

/// A new AEK and a place for its record.
pub(crate) fn fresh_aek(world: &World) -> (Aek, RecordIds) {
    let (ms, random) = world.id_seed();
    let aek = Aek::generate(AekId::mint(ms, random), world.rng.as_ref());
    let ids = RecordIds { cluster: ObjectId::from_bytes([1; 16]), account: AccountId::from_bytes([2; 16]), aek: aek.id(), generation: 3 };
    (aek, ids)
}

pub(crate) async fn ask(vault: &dyn KeyVault, record: &WrappedAek) -> Answer {
    vault.unwrap_key(record).await.map_or_else(|error| error.answer(), |_| Answer::Good)
}

pub(crate) async fn conforms(rig: &mut dyn Rig) {
    let (world, vault) = (rig.world(), rig.client());
    let facts = validate(vault.as_ref(), &world).await.unwrap();
    assert!(facts.enabled && facts.unfit.is_none(), "{facts:?}");

    let (aek, ids) = fresh_aek(&world);
    let record = vault.wrap_key(&aek, &ids).await.unwrap();
    assert_eq!((record.provider.as_str(), &record.ids, &record.key_version), (vault.provider(), &ids, &facts.used));
    assert_eq!(WrappedAek::from_bytes(&record.to_bytes()).unwrap(), record, "a record is read as it was written");
    aek.expose(|key| assert!(!record.to_bytes().windows(32).any(|window| window == key), "a record does not hold the key"));
    let back = vault.unwrap_key(&record).await.unwrap();
    assert!(back.expose(|one| aek.expose(|other| one == other)), "the key that was wrapped comes back");

    only_its_own_record_opens(rig, vault.as_ref(), &record).await;
    newer_versions_wrap_and_older_ones_unwrap(rig, vault.as_ref(), &record).await;

    if rig.take_away().await {
        for _ in 0..2 {
            let answer = ask(vault.as_ref(), &record).await;
            assert!(matches!(answer, Answer::Denied(_)), "taken away: {answer:?}");
            // The confirming call.
            vault.fresh().await;
        }
        let refused = validate(vault.as_ref(), &world).await.unwrap_err();
        assert!(!refused.detail().starts_with("Vault"), "a key that was taken away is told as such: {}", refused.detail());
        rig.give_back().await;
        assert_eq!(ask(vault.as_ref(), &record).await, Answer::Good, "given back");
    }

    vault.fresh().await;
    rig.stop().await;
    let answer = ask(vault.as_ref(), &record).await;
    assert!(matches!(answer, Answer::Transient(_)), "a server that is gone denies nothing: {answer:?}");
    rig.start().await;
    let since = Instant::now();
    loop {
        match ask(vault.as_ref(), &record).await {
            Answer::Good => break,
            Answer::Transient(code) => assert!(since.elapsed() < PATIENCE, "the server does not come back: {code}"),
            other => panic!("while it comes back: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(vault.unwrap_key(&record).await.unwrap().key_check_value(&ids), record.kcv);
}

async fn only_its_own_record_opens(rig: &dyn Rig, vault: &dyn KeyVault, record: &WrappedAek) {
    let is_refused = |answer: Answer, what: &str| assert_eq!(answer, Answer::Integrity, "{what}");
    let mut moved = record.clone();
    moved.ids.generation += 1;
    is_refused(ask(vault, &moved).await, "another generation");
    let mut moved = record.clone();
    moved.ids.account = AccountId::from_bytes([9; 16]);
    is_refused(ask(vault, &moved).await, "another account");
    let mut moved = record.clone();
    moved.ids.cluster = ObjectId::from_bytes([9; 16]);
    is_refused(ask(vault, &moved).await, "another cluster");

    let (aek, ids) = fresh_aek(&rig.world());
    let second = vault.wrap_key(&aek, &ids).await.unwrap();
    assert_ne!(second.bytes, record.bytes);
    let swapped = WrappedAek { bytes: second.bytes.clone(), ..record.clone() };
    is_refused(ask(vault, &swapped).await, "another AEK's wrapped bytes");

    for at in rig.damaged_at(record.bytes.len()) {
        let mut damaged = record.clone();
        damaged.bytes[at] ^= 1;
        is_refused(ask(vault, &damaged).await, &format!("damaged at byte {at} of {}", record.bytes.len()));
    }
    let wrong = WrappedAek { algorithm: "RSA-OAEP".to_owned(), ..record.clone() };
    if vault.provider() != "memory" {
        is_refused(ask(vault, &wrong).await, "another algorithm");
        let wrong = WrappedAek { provider: "mmk".to_owned(), ..record.clone() };
        assert!(matches!(vault.unwrap_key(&wrong).await, Err(VaultError::UnknownProvider { .. })), "another provider");
    }

    let foreign = rig.other().wrap_key(&aek, &ids).await.unwrap();
    assert!(matches!(vault.unwrap_key(&foreign).await, Err(VaultError::OtherKey { .. })), "another key's record");
    if rig.knows_its_own() {
        let relabelled = WrappedAek { key_uri: record.key_uri.clone(), key_version: record.key_version.clone(), ..foreign };
        is_refused(ask(vault, &relabelled).await, "another key's record under this key's name");
    }
    assert_eq!(ask(vault, record).await, Answer::Good, "and the record itself still opens");
}

async fn newer_versions_wrap_and_older_ones_unwrap(rig: &dyn Rig, vault: &dyn KeyVault, record: &WrappedAek) {
    let before = vault.newest().await.unwrap();
    if !rig.rotate().await {
        assert_eq!(vault.newest().await.unwrap(), before);
        return;
    }
    let newest = vault.newest().await.unwrap();
    assert_ne!(newest, before, "rotated");
    let (aek, ids) = fresh_aek(&rig.world());
    let second = vault.wrap_key(&aek, &ids).await.unwrap();
    assert_eq!(second.key_version, newest, "the newest version wraps");
    for record in [record, &second] {
        assert_eq!(ask(vault, record).await, Answer::Good, "{}", record.key_version);
    }
    let facts = vault.facts().await.unwrap();
    assert_eq!((&facts.newest, &facts.used), (&newest, &newest));
    assert!(facts.newer_enabled.is_empty(), "nothing is newer than the newest");
    if facts.versions_listed && vault.provider() != "memory" {
        assert_eq!(facts.other_enabled, std::slice::from_ref(&record.key_version));
    }
}
