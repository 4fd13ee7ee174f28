//! A key in quarantine: what puts it there, what does not end it, what does.

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
    // The vault would unwrap it; the release sees the same as the poll did.
    assert_eq!(house.desk().release(&house.cluster).await.unwrap_err().code(), "IntegrityError");
    assert_eq!(house.state(), KeyState::Quarantined);
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
