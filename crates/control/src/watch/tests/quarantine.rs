//! A key in quarantine: what puts it there, what does not end it, what does.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use strongroom_catalog::ClusterKeyRow;
use strongroom_keys::provider::Answer;

use super::places::TwoVaults;
use super::*;

impl House {
    /// The same machine after a restart: another ring, another watch, the same catalog.
    async fn restart(&mut self) {
        let vaults = TwoVaults { first: self.vault.clone(), second: self.vault.clone(), client: |vault| Arc::new(vault) };
        self.anew(Arc::new(vaults)).await;
    }

    async fn written(&self) -> String {
        self.catalog.key_state_get(self.cluster.id).await.unwrap().unwrap().state
    }
}

/// The vault says success and gives 32 bytes; they are not what was wrapped.
#[tokio::test]
async fn a_faked_success_is_quarantined_and_a_restart_does_not_end_it() {
    let mut house = House::new(300).await;
    house.vault.set(Mood::Lies);
    house.next_poll().await;
    assert_eq!((house.state(), house.written().await), (KeyState::Quarantined, "Quarantined".to_owned()));
    house.vault.set(Mood::Well);
    for restarts in 0..3 {
        house.pass(Duration::from_mins(40)).await;
        assert_eq!((house.state(), house.pass_code().await), (KeyState::Quarantined, Some("KeyQuarantined")), "{restarts}");
        assert!(house.keys.customer_guards(house.account()).is_empty());
        let epoch = house.keys.write_epoch(house.account()).await.unwrap();
        assert_eq!(house.keys.epoch_guard(epoch).await.unwrap_err().code(), "KeyQuarantined");
        house.restart().await;
        assert_eq!(house.watched().machine.lock().code(), "Integrity", "it says why");
    }
    // Nor is it evaded by a command that reads a stopped server's blocks, or by setting a key.
    let vaults = OneVault(house.vault.clone());
    let missing = fetch_keys(&house.catalog, &house.keys, &vaults, STATES.lease).await.unwrap();
    assert_eq!(missing.iter().map(|(name, error)| (name.as_str(), error.code())).collect::<Vec<_>>(), [("shop", "KeyQuarantined")]);
    let kek = KekRef::new("https://vault.example/", "kek", None).unwrap();
    assert_eq!(house.desk().set_key(&house.cluster, kek).await.unwrap_err().code(), "Conflict");
    assert_eq!(house.state(), KeyState::Quarantined);

    house.desk().release(&house.cluster).await.unwrap();
    house.until(KeyState::Active, Duration::from_secs(1)).await;
    assert_eq!((house.pass_code().await, house.written().await), (None, "Active".to_owned()));
    house.restart().await;
    assert_eq!(house.state(), KeyState::Active, "and it was ended for good");
}

#[tokio::test]
async fn a_record_that_was_put_back_is_quarantined() {
    let house = House::new(310).await;
    let old = house.catalog.aek_current(house.account()).await.unwrap().unwrap();
    house.vault.rotate();
    house.next_poll().await;
    house.next_poll().await;
    assert_eq!(house.versions().await, ["v2"]);
    // The catalog takes no older generation; whoever can write past that still has to say which one the record is.
    assert!(house.catalog.aek_rewrap(&old).await.is_err());
    house.catalog.aek_rewrap(&strongroom_catalog::AekRow { generation: old.generation + 2, ..old }).await.unwrap();
    house.next_poll().await;
    assert_eq!((house.state(), house.pass_code().await), (KeyState::Quarantined, Some("KeyQuarantined")));
    // The vault would unwrap it; the release sees the same as the poll did. The copy that would mend it is away.
    let epoch = house.keys.write_epoch(house.account()).await.unwrap();
    let place = Path::from_iter(["keys".to_owned(), epoch.account.to_string(), epoch.aek.to_string()]);
    let copy = house.objects.get(&place).await.unwrap().bytes().await.unwrap();
    house.objects.delete(&place).await.unwrap();
    assert_eq!(house.desk().release(&house.cluster).await.unwrap_err().code(), "IntegrityError");
    assert_eq!(house.state(), KeyState::Quarantined);
    // With it, what is put right is what the vault proves.
    house.objects.put(&place, copy.into()).await.unwrap();
    house.desk().release(&house.cluster).await.unwrap();
    house.until(KeyState::Active, Duration::from_secs(1)).await;
    assert_eq!((house.versions().await, house.pass_code().await), (vec!["v2".to_owned()], None));
    assert!(house.rooms.events.lock().iter().any(|event| event.event == name::KEY_RELEASED && event.details["mended"] == 1));
}

/// A catalog with an old record, found at a start: that cluster is shut and the ring opens for all others.
#[tokio::test]
async fn a_record_that_was_put_back_before_a_start_quarantines_its_cluster_alone() {
    let mut house = House::new(311).await;
    let old = house.catalog.aek_current(house.account()).await.unwrap().unwrap();
    house.vault.rotate();
    house.next_poll().await;
    house.next_poll().await;
    assert_eq!(house.versions().await, ["v2"]);
    let key = ClusterKeyRow { vault_uri: "https://vault.example/".to_owned(), name: "kek".to_owned(), version: None, rsa_bits: None };
    house.catalog.cluster_update(&ClusterRow { key: Some(key), ..house.cluster.clone() }).await.unwrap();
    house.catalog.aek_mend(&old).await.unwrap();
    for _ in 0..2 {
        house.restart().await;
        assert_eq!((house.state(), house.pass_code().await), (KeyState::Quarantined, Some("KeyQuarantined")));
        assert_eq!(house.written().await, "Quarantined");
        let asked = house.unwraps().len();
        house.pass(Duration::from_mins(5)).await;
        assert_eq!((house.unwraps().len(), house.state()), (asked, KeyState::Quarantined), "no vault is asked for it");
        assert!(house.keys.customer_guards(house.account()).is_empty());
    }
    let shared = house.keys.write_epoch(house.keys.shared_account()).await.unwrap();
    house.keys.epoch_guard(shared).await.unwrap();
    let missing = fetch_keys(&house.catalog, &house.keys, &OneVault(house.vault.clone()), STATES.lease).await.unwrap();
    assert_eq!(missing.iter().map(|(name, error)| (name.as_str(), error.code())).collect::<Vec<_>>(), [("shop", "IntegrityError")]);
    house.vault.set(Mood::Denies("KeyDisabled"));
    assert_eq!(house.desk().release(&house.cluster).await.unwrap_err().code(), "KeyValidationFailed", "the vault does not prove it");
    assert_eq!(house.state(), KeyState::Quarantined);
    house.vault.set(Mood::Well);
    house.desk().release(&house.cluster).await.unwrap();
    house.until(KeyState::Active, Duration::from_secs(1)).await;
    assert_eq!(house.versions().await, ["v2"]);
    house.restart().await;
    assert_eq!((house.state(), house.written().await), (KeyState::Active, "Active".to_owned()));
}

#[tokio::test]
async fn a_release_needs_a_vault_that_proves_every_key() {
    let house = House::new(320).await;
    let none = house.desk().release(&house.cluster).await.unwrap_err();
    assert_eq!((none.code(), house.state()), ("Conflict", KeyState::Active), "there is nothing to release");
    house.vault.set(Mood::Lies);
    house.next_poll().await;
    for (mood, code) in [
        (Mood::Lies, "IntegrityError"),
        (Mood::Denies("KeyDisabled"), "KeyValidationFailed"),
        (Mood::Refuses("ForbiddenByFirewall"), "KeyValidationFailed"),
        (Mood::Silent("Dns"), "KeyValidationFailed"),
        (Mood::WrapsOnly, "KeyValidationFailed"),
        (Mood::Says(Answer::Expired("KeyExpired")), "KeyValidationFailed"),
    ] {
        house.vault.set(mood);
        assert_eq!(house.desk().release(&house.cluster).await.unwrap_err().code(), code, "{mood:?}");
        assert_eq!((house.state(), house.written().await), (KeyState::Quarantined, "Quarantined".to_owned()), "{mood:?}");
        assert_eq!(house.pass_code().await, Some("KeyQuarantined"), "{mood:?}");
    }
    // One that never answers does not keep the operator, or the next poll, for ever.
    house.vault.set(Mood::Hangs);
    let (desk, cluster) = (house.desk(), house.cluster.clone());
    let asking = tokio::spawn(async move { desk.release(&cluster).await });
    for _ in 0..60 {
        settle().await;
        house.sim.clock().advance(Duration::from_millis(500));
    }
    assert_eq!(asking.await.unwrap().unwrap_err().code(), "Conflict");
    assert_eq!(house.state(), KeyState::Quarantined);
}

/// What verified for the operator and not a moment later is where it was.
#[tokio::test]
async fn a_vault_that_lies_again_after_the_release_is_quarantined_again() {
    let house = House::new(330).await;
    house.vault.set(Mood::Lies);
    house.next_poll().await;
    // The proof, and then the poll.
    house.vault.script([(Call::Unwrap, Mood::Well)]);
    house.desk().release(&house.cluster).await.unwrap();
    assert_eq!((house.state(), house.written().await), (KeyState::Quarantined, "Quarantined".to_owned()));
    assert!(house.keys.customer_guards(house.account()).is_empty());
}
