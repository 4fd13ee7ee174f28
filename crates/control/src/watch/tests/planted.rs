//! Bugs planted on purpose: each check of ours has to find the bug that it is there for.
//!
//! A double stands in for the code that would have the bug; the same check passes without it and fails with it. Two more are
//! where their code is: an old record accepted in `strongroom-keys`, a cache key not erased in `strongroom-store`.

use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_keys::provider::VaultError;
use strongroom_model::KeyClass;

use super::places::{TwoVaults, second_kek};
use super::*;

/// A client that polls by wrapping: "it still wraps, so it is there". The key it gives back it kept from before.
#[derive(Debug)]
struct PollsByWrapping {
    vault: MemoryVault,
    kept: Mutex<Option<[u8; 32]>>,
}

#[async_trait]
impl KeyVault for PollsByWrapping {
    fn class(&self) -> KeyClass {
        self.vault.class()
    }
    fn provider(&self) -> &'static str {
        self.vault.provider()
    }
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        self.vault.wrap_key(aek, ids).await
    }
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        let kept = *self.kept.lock();
        let Some(kept) = kept else {
            let aek = self.vault.unwrap_key(wrapped).await?;
            *self.kept.lock() = Some(aek.expose(|key| *key));
            return Ok(aek);
        };
        let aek = Aek::from_bytes(wrapped.ids.aek, kept);
        self.vault.wrap_key(&aek, &wrapped.ids).await?;
        Ok(aek)
    }
    async fn facts(&self) -> Result<KeyFacts, VaultError> {
        self.vault.facts().await
    }
    async fn newest(&self) -> Result<String, VaultError> {
        self.vault.newest().await
    }
    async fn fresh(&self) {
        self.vault.fresh().await;
    }
}

/// The check: a key that is disabled as real vaults disable it is out of use within a minute.
async fn a_disabled_key_goes(seed: u64, client: fn(MemoryVault) -> Arc<dyn KeyVault>) -> Result<(), String> {
    let mut house = House::new(seed).await;
    let second = MemoryVault::new(house.sim.world(), second_kek());
    let vaults = TwoVaults { first: house.vault.clone(), second, client };
    house.anew(Arc::new(vaults)).await;
    house.pass(Duration::from_secs(30)).await;
    house.vault.set(Mood::WrapsOnly);
    house.pass(Duration::from_mins(1)).await;
    match (house.state(), house.pass_code().await) {
        (KeyState::Revoked, Some("CustomerKeyRevoked")) => Ok(()),
        (state, code) => Err(format!("a minute after it was disabled: {state}, {code:?}")),
    }
}

#[tokio::test]
async fn polling_by_wrapping_is_found_out() {
    a_disabled_key_goes(600, |vault| Arc::new(vault)).await.unwrap();
    let found = a_disabled_key_goes(601, |vault| Arc::new(PollsByWrapping { vault, kept: Mutex::default() })).await;
    assert_eq!(found.unwrap_err(), "a minute after it was disabled: Active, None");
}

/// The check: a start serves nothing that its vault has not unwrapped since, whatever the catalog says.
async fn a_start_asks_first(seed: u64, planted: bool) -> Result<(), String> {
    let mut house = House::new(seed).await;
    house.watch.stop();
    house.vault.set(Mood::Silent("ConnectionRefused"));
    assert_eq!(house.catalog.key_state_get(house.cluster.id).await.unwrap().unwrap().state, "Active");
    let opened = open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &house.rooms).await;
    (house.keys, house.watch) = opened;
    house.begin().await;
    if planted {
        trust_the_catalog(&house).await;
    }
    match house.pass_code().await {
        Some("KeyVaultUnavailable") => Ok(()),
        code => Err(format!("after a start with a silent vault: {code:?}")),
    }
}

/// The bug: the state on disk is taken for the state.
async fn trust_the_catalog(house: &House) {
    let row = house.catalog.key_state_get(house.cluster.id).await.unwrap().unwrap();
    if KeyState::from_name(&row.state).is_some_and(KeyState::uses_keys) {
        house.watched().gate.set(Standing::Open);
    }
}

#[tokio::test]
async fn trusting_the_state_on_disk_is_found_out() {
    a_start_asks_first(610, false).await.unwrap();
    assert_eq!(a_start_asks_first(611, true).await.unwrap_err(), "after a start with a silent vault: None");
}
