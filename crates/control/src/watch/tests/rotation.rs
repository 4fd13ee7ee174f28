//! Newer versions of a key: followed, waited for, asked about.

use super::*;

#[tokio::test]
async fn a_versionless_key_is_followed_within_two_polls_and_no_data_is_touched() {
    let house = House::new(50).await;
    let account = house.cluster.account.unwrap();
    let epoch = house.keys.write_epoch(account).await.unwrap();
    house.vault.rotate();
    house.pass(Duration::from_secs(24)).await;
    let records = house.keys.customer_records(account).await.unwrap();
    assert_eq!(records.iter().map(|record| record.key_version.as_str()).collect::<Vec<_>>(), ["v2"]);
    assert_eq!(house.keys.write_epoch(account).await.unwrap(), epoch, "a new version is no new epoch");
    assert_eq!(house.rooms.take(), Vec::<String>::new());
}

fn kek(version: &str) -> KekRef {
    KekRef::new("https://vault.example/", "kek", Some(version)).unwrap()
}

#[tokio::test]
async fn a_pinned_version_that_is_disabled_revokes_and_the_next_one_brings_the_data_back_with_it_still_disabled() {
    let house = House::new(51).await;
    let (account, desk) = (house.cluster.account.unwrap(), Desk(Arc::clone(&house.watch)));
    desk.set_key(&house.cluster, kek("v1")).await.unwrap();
    house.vault.rotate();
    house.pass(Duration::from_secs(100)).await;
    let versions = async || {
        let records = house.keys.customer_records(account).await.unwrap();
        records.iter().map(|record| record.key_version.clone()).collect::<Vec<_>>()
    };
    assert_eq!(versions().await, ["v1"], "pinned: the version in use stays");
    assert_eq!(house.keys.standbys(account).await.unwrap().len(), 1, "and one waits");
    house.vault.disable("v1", true);
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    house.pass(Duration::from_mins(5)).await;
    assert_eq!((house.state(), versions().await), (KeyState::Revoked, vec!["v1".to_owned()]), "what waits lets nobody in");
    house.rooms.take();
    desk.set_key(&house.cluster, kek("v2")).await.unwrap();
    house.until(KeyState::Active, Duration::from_mins(1)).await;
    assert_eq!((house.rooms.take(), versions().await), (vec!["recall 1".to_owned()], vec!["v2".to_owned()]));
    assert!(house.keys.standbys(account).await.unwrap().is_empty());
    assert_eq!(house.pass_code().await, None);
}

#[tokio::test]
async fn records_wait_under_every_newer_version_that_is_enabled_and_each_is_a_way_back() {
    let house = House::new(58).await;
    let (account, desk) = (house.cluster.account.unwrap(), Desk(Arc::clone(&house.watch)));
    desk.set_key(&house.cluster, kek("v1")).await.unwrap();
    for _ in 0..3 {
        house.vault.rotate();
    }
    house.vault.disable("v3", true);
    house.pass(Duration::from_secs(100)).await;
    let waiting = async || {
        let mut versions: Vec<String> = house.keys.standbys(account).await.unwrap().into_iter().map(|(_, version)| version).collect();
        versions.sort();
        versions
    };
    assert_eq!(waiting().await, ["v2", "v4"], "not under one that is disabled");
    house.vault.disable("v3", false);
    house.pass(Duration::from_secs(100)).await;
    assert_eq!(waiting().await, ["v2", "v3", "v4"]);
    // The way back is neither the newest nor the next.
    for gone in ["v1", "v2", "v4"] {
        house.vault.disable(gone, true);
    }
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    desk.set_key(&house.cluster, kek("v3")).await.unwrap();
    house.until(KeyState::Active, Duration::from_mins(1)).await;
    assert_eq!((house.versions().await, waiting().await), (vec!["v3".to_owned()], Vec::new()));
}

/// A vault of many versions costs a bounded number of records, and those are the newest.
#[tokio::test]
async fn records_wait_under_the_eight_newest_versions_at_most() {
    let house = House::new(59).await;
    let account = house.cluster.account.unwrap();
    Desk(Arc::clone(&house.watch)).set_key(&house.cluster, kek("v1")).await.unwrap();
    for _ in 0..11 {
        house.vault.rotate();
    }
    house.pass(Duration::from_secs(100)).await;
    let mut versions: Vec<u32> =
        house.keys.standbys(account).await.unwrap().iter().map(|(_, version)| version.trim_start_matches('v').parse().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (5..=12).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_waiting_records_the_update_names_the_version_to_enable_again() {
    let house = House::without_standby(52).await;
    let (account, desk) = (house.cluster.account.unwrap(), Desk(Arc::clone(&house.watch)));
    desk.set_key(&house.cluster, kek("v1")).await.unwrap();
    house.vault.rotate();
    house.pass(Duration::from_secs(100)).await;
    assert!(house.keys.standbys(account).await.unwrap().is_empty());
    house.vault.disable("v1", true);
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    let refused = desk.set_key(&house.cluster, kek("v2")).await.unwrap_err();
    let (problem, why) = refused.detail().unwrap();
    assert_eq!((refused.code(), problem), ("KeyValidationFailed", "PreviousVersionUnusable"));
    assert!(why.contains("enable version v1 again") && why.contains("version v2"), "{why}");
    house.vault.disable("v1", false);
    house.until(KeyState::Active, Duration::from_secs(15)).await;
    desk.set_key(&house.cluster, kek("v2")).await.unwrap();
    house.vault.disable("v1", true);
    house.pass(Duration::from_mins(1)).await;
    assert_eq!(house.state(), KeyState::Active);
}

#[tokio::test]
async fn a_pinned_keys_versions_are_asked_for_at_most_once_a_minute_and_only_while_it_is_active() {
    let house = House::new(53).await;
    Desk(Arc::clone(&house.watch)).set_key(&house.cluster, kek("v1")).await.unwrap();
    house.pass(Duration::from_secs(15)).await;
    let asked = || house.vault.calls().into_iter().filter(|(_, call)| *call == Call::Facts).count();
    let before = asked();
    house.pass(Duration::from_mins(10)).await;
    let minutes = asked() - before;
    assert!((8..=10).contains(&minutes), "{minutes} in ten minutes");
    house.vault.disable("v1", true);
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    let before = asked();
    house.pass(Duration::from_mins(10)).await;
    assert_eq!(asked(), before);
}
