//! A key that leaves while something is under way that would bring it back.

use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_keys::provider::VaultError;
use strongroom_model::KeyClass;

use super::*;

/// A vault that has been asked, and answers when it may.
#[derive(Debug)]
struct Late {
    vault: MemoryVault,
    asked: Notify,
    go: Notify,
}

#[async_trait]
impl KeyVault for Late {
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
        self.asked.notify_one();
        self.go.notified().await;
        self.vault.unwrap_key(wrapped).await
    }
    async fn facts(&self) -> Result<KeyFacts, VaultError> {
        self.vault.facts().await
    }
    async fn newest(&self) -> Result<String, VaultError> {
        self.vault.newest().await
    }
    async fn fresh(&self) {}
}

impl House {
    /// Its cluster, of which nobody asks by themselves any more.
    async fn unpolled(&self) -> Arc<Watched> {
        self.watch.stop();
        let watched = self.watched();
        tokio::time::timeout(Duration::from_secs(20), watched.stop.closed()).await.unwrap();
        watched
    }
}

/// The key was disabled and is enabled again: the vault says yes to whom it was asked as. By then that is nobody.
#[tokio::test]
async fn an_answer_to_an_identity_that_was_taken_away_meanwhile_brings_no_key_back() {
    for revoked_before in [false, true] {
        let house = House::new(211).await;
        let watched = house.unpolled().await;
        if revoked_before {
            house.vault.set(Mood::Denies("KeyDisabled"));
            for _ in 0..2 {
                house.watch.turn(&watched, false).await;
            }
            assert_eq!(house.state(), KeyState::Revoked);
            house.vault.set(Mood::Well);
            house.sim.clock().advance(Duration::from_secs(30));
        }
        let late = Arc::new(Late { vault: house.vault.clone(), asked: Notify::new(), go: Notify::new() });
        let kek = watched.vault.read().0.clone();
        *watched.vault.write() = (kek, Arc::clone(&late) as _);
        let polling = {
            let (watch, watched) = (Arc::clone(&house.watch), Arc::clone(&watched));
            tokio::spawn(async move { watch.turn(&watched, false).await })
        };
        late.asked.notified().await;
        house.catalog.cluster_identity_remove(house.cluster.id, 5).await.unwrap();
        house.desk().remove_identity(&house.cluster).await.unwrap();
        house.rooms.take();
        late.go.notify_one();
        polling.await.unwrap();
        house.watch.settle(&watched).await;
        settle().await;
        assert_eq!((house.state(), house.pass_code().await), (KeyState::Revoked, Some("CustomerKeyRevoked")), "{revoked_before}");
        assert!(house.keys.customer_guards(house.account()).is_empty(), "{revoked_before}: what the answer brought is wiped");
        assert!(!house.rooms.take().iter().any(|call| call.starts_with("recall")), "{revoked_before}: no row is read back");
    }
}

/// The log is read back by a task of its own. If the keys are gone again when its turn comes, it would read back nothing; a key that is
/// given back in that moment would then open the gate to data without its newest rows.
#[tokio::test]
async fn a_log_whose_keys_are_not_there_is_not_taken_for_one_that_was_read_back() {
    let house = House::new(212).await;
    let watched = house.unpolled().await;
    house.vault.set(Mood::Denies("KeyDisabled"));
    for _ in 0..2 {
        house.watch.turn(&watched, false).await;
    }
    house.vault.set(Mood::Well);
    house.sim.clock().advance(Duration::from_secs(30));
    house.watch.turn(&watched, false).await;
    assert_eq!(house.state(), KeyState::Restoring);
    house.rooms.take();
    // Nothing is waited for in between: the task's turn comes after the keys went.
    house.watch.recall(&watched);
    house.keys.kill(house.account());
    while watched.recalling.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    settle().await;
    assert_eq!((house.rooms.take(), house.state()), (Vec::new(), KeyState::Restoring), "nothing was read, nothing is shown");
    assert_ne!(house.pass_code().await, None);
    // The next poll brings the keys, and then the rows.
    house.watch.turn(&watched, false).await;
    house.watch.settle(&watched).await;
    while house.state() != KeyState::Active {
        tokio::task::yield_now().await;
    }
    assert_eq!((house.rooms.take(), house.pass_code().await), (vec!["recall 1".to_owned()], None));
}
