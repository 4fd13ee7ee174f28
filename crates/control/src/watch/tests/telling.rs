//! What the audit chain is told of, and how often.

use super::*;

fn told(events: &[Event], event: &str) -> Vec<Event> {
    events.iter().filter(|told| told.event == event).cloned().collect()
}

#[tokio::test]
async fn the_chain_is_told_of_every_denial_and_change_and_of_what_was_taken_away_and_of_good_polls_by_the_hour() {
    let house = House::new(100).await;
    house.pass(Duration::from_mins(150)).await;
    let quiet = house.rooms.events.lock().split_off(0);
    let unwraps = told(&quiet, name::KEY_UNWRAPS);
    assert!((1..=3).contains(&unwraps.len()), "{unwraps:?}");
    assert!(unwraps.iter().map(|event| event.details["good"].as_u64().unwrap()).sum::<u64>() > 600);
    assert_eq!(told(&quiet, name::KEY_SET).len(), 1);
    assert!(told(&quiet, name::KEY_DENIED).is_empty());

    house.vault.set(Mood::Denies("KeyDisabled"));
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    let events = house.rooms.events.lock().split_off(0);
    let denied = told(&events, name::KEY_DENIED);
    assert_eq!(denied.iter().map(|event| event.code.as_deref()).collect::<Vec<_>>(), [Some("KeyDisabled"); 2]);
    let states = |events: &[Event]| {
        told(events, name::STATE_CHANGED).iter().map(|event| event.details["to"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&events), ["Suspect", "Revoked"]);
    let [taken] = told(&events, name::TAKEN_AWAY).try_into().unwrap();
    assert_eq!((taken.code.as_deref(), taken.cluster), (Some("KeyDisabled"), Some(house.cluster.id)));
    let steps: Vec<&str> = taken.details["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["gate", "queries", "keys", "caches", "memtables", "hot cache"]);
    let answers: Vec<&str> = taken.details["answers"].as_array().unwrap().iter().map(|answer| answer["code"].as_str().unwrap()).collect();
    assert_eq!(answers[answers.len() - 2..], ["KeyDisabled"; 2]);
    assert_eq!(
        (&taken.details["keysWiped"], &taken.details["why"], &taken.details["unfinished"]),
        (&1.into(), &"Revoked".into(), &false.into())
    );

    house.vault.set(Mood::Well);
    house.until(KeyState::Active, Duration::from_secs(30)).await;
    let events = house.rooms.events.lock().split_off(0);
    assert_eq!(states(&events), ["Restoring", "Active"]);
    assert_eq!(told(&events, name::KEY_UNWRAPS).len(), 1, "the first good one after a bad one is told");
    house.vault.set(Mood::Silent("Refused"));
    house.pass(Duration::from_mins(5)).await;
    assert_eq!(told(&house.rooms.events.lock().split_off(0), name::KEY_SILENT).len(), 1, "silence is told once, then counted");
    house.vault.set(Mood::Well);
    house.vault.rotate();
    house.pass(Duration::from_mins(1)).await;
    let [rotated] = told(&house.rooms.events.lock().split_off(0), name::KEY_ROTATED).try_into().unwrap();
    assert_eq!((&rotated.details["from"], &rotated.details["version"]), (&"v1".into(), &"v2".into()));
}

#[tokio::test]
async fn a_keys_end_and_a_pinned_keys_newer_version_are_told_once_each_even_over_a_restart() {
    const DAY: Duration = Duration::from_hours(24);
    let house = House::new(110).await;
    house.watch.stop();
    settle().await;
    let watched = house.watch.of(house.cluster.id).unwrap();
    let (_, client) = watched.vault.read().clone();
    let pinned = KekRef::new("https://vault.example/", "kek", Some("v1")).unwrap();
    *watched.vault.write() = (pinned, client);
    let end = house.sim.world().clock.wall().unix_ms() + 40 * 86_400_000;
    let facts = |newest: &str| KeyFacts {
        newest: newest.to_owned(),
        used: "v1".to_owned(),
        key_type: "RSA".to_owned(),
        rsa_bits: 2_048,
        unfit: None,
        enabled: true,
        not_before_ms: None,
        expires_ms: Some(end),
        recovery_level: "Recoverable".to_owned(),
        other_enabled: Vec::new(),
        newer_enabled: Vec::new(),
        versions_listed: true,
    };
    // As the writer of the chain does: what was told is kept along with it.
    let audit = crate::audit::Audit::open(
        house.sim.world(),
        house.catalog.clone(),
        Arc::new(Mmk::from_bytes(house.root)),
        "/audit".into(),
        crate::audit::AuditConfig::default(),
    );
    let audit = audit.await.unwrap();
    house.rooms.events.lock().clear();
    let heeded = async |newest: &str| {
        *watched.facts.lock() = Some(facts(newest));
        // A restart has forgotten what it saw; the catalog has not.
        watched.ledger.set("v1");
        house.watch.heed(&watched).await;
        house.watch.heed(&watched).await;
        let events = house.rooms.events.lock().split_off(0);
        let mut said = Vec::new();
        for event in events {
            let days = event.details.get("days").and_then(serde_json::Value::as_i64);
            said.push((event.event.to_string(), days, event.details.get("command").cloned()));
            audit.record(event).await.unwrap();
        }
        said
    };
    assert_eq!(heeded("v1").await, []);
    let mut told = Vec::new();
    for _ in 0..45 {
        house.sim.clock().advance(DAY);
        told.extend(heeded("v1").await.into_iter().map(|(event, days, _)| (event, days.unwrap())));
    }
    let expiring = name::KEY_EXPIRING.to_owned();
    assert_eq!(told, [(expiring.clone(), 30), (expiring.clone(), 7), (expiring, 1), (name::KEY_EXPIRED.to_owned(), 0)]);
    let newer = heeded("v2").await;
    let command = "strongroom cluster set-key shop --vault-uri https://vault.example --key-name kek --key-version v2";
    assert_eq!(newer, [(name::KEY_VERSION_AVAILABLE.to_owned(), None, Some(command.into()))]);
    assert_eq!(heeded("v2").await, []);
    assert_eq!(heeded("v3").await.len(), 1);
}
