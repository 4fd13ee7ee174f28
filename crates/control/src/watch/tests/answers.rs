//! Every known answer, in every state, to a poll, a start, a rotation, a new key: what it is taken for and what follows.
//!
//! What follows depends on the answer's meaning alone, so each distinct meaning is led through the watch once a cell, and every
//! sample is looked up in what that showed.

use std::collections::HashMap;

use KeyState::{Active, Degraded, Held, Provisioning, Quarantined, Restoring, Revoked, Suspect, Unavailable};
use strongroom_keys::provider::Answer;
use strongroom_keys::provider::classify::{classify, samples};

use super::places::{TwoVaults, second_kek};
use super::*;

/// What came instead of an answer.
const NETWORK: [&str; 8] =
    ["AddressBlocked", "Dns", "ConnectionRefused", "ConnectionReset", "Timeout", "Tls", "AnswerTooLarge", "Malformed"];

/// Every sample's meaning, as the classification has it.
fn answers() -> Vec<(String, Answer)> {
    let told = samples::all().map(|sample| {
        let name = format!("{:?} {:?} {:?}", sample.provider, sample.asked, sample.said);
        let taken = classify(sample.provider, sample.asked, sample.said);
        assert_eq!(taken, sample.answer, "{name}");
        (name, taken)
    });
    told.chain(NETWORK.map(|code| (code.to_owned(), Answer::Transient(code)))).collect()
}

/// The distinct ones.
fn meanings() -> Vec<Answer> {
    let mut seen = std::collections::HashSet::new();
    answers().into_iter().map(|(_, answer)| answer).filter(|answer| seen.insert(*answer)).collect()
}

/// The contract (`reliability.md` §B2): the state after one answer to a poll in each state.
fn after_poll(state: KeyState, answer: Answer) -> KeyState {
    // Good, no answer, denied, refused, another key.
    let row = match state {
        Provisioning => [Active, Provisioning, Provisioning, Provisioning, Provisioning],
        Active | Degraded => [Active, Degraded, Suspect, Suspect, Quarantined],
        Suspect => [Active, Degraded, Revoked, Held, Quarantined],
        Unavailable => [Restoring, Unavailable, Suspect, Suspect, Quarantined],
        Held => [Restoring, Held, Held, Held, Quarantined],
        Revoked => [Restoring, Revoked, Revoked, Revoked, Quarantined],
        Restoring => [Restoring, Restoring, Suspect, Suspect, Quarantined],
        Quarantined => [Quarantined; 5],
    };
    match answer {
        Answer::Good => row[0],
        Answer::Transient(_) | Answer::Expired(_) => row[1],
        Answer::Denied(_) => row[2],
        Answer::Ambiguous(_) => row[3],
        Answer::Integrity => row[4],
    }
}

/// And after a start, whatever the catalog says but one thing.
fn after_start(before: KeyState, answer: Answer) -> KeyState {
    match answer {
        _ if before == Quarantined => Quarantined,
        Answer::Good => Active,
        Answer::Transient(_) | Answer::Expired(_) => Unavailable,
        Answer::Denied(_) | Answer::Ambiguous(_) => Suspect,
        Answer::Integrity => Quarantined,
    }
}

/// The calls that setting or following a key makes of its vault.
const CALLS: [Call; 3] = [Call::Facts, Call::Wrap, Call::Unwrap];

/// Which of them an answer is given to: each in turn, but another key than was wrapped can only come of an unwrap.
fn meets(answer: Answer, turn: usize) -> usize {
    if answer == Answer::Integrity { 2 } else { turn % CALLS.len() }
}

/// What the gate says, without since when.
fn standing(house: &House) -> Option<Shut> {
    match house.keys.standing(house.account()) {
        Some(Standing::Shut(why, _)) => Some(why),
        Some(Standing::Open | Standing::Held) => None,
        None => panic!("it has a gate"),
    }
}

fn is_held(house: &House) -> bool {
    house.keys.standing(house.account()) == Some(Standing::Held)
}

/// The gate, the keys, the rooms and the catalog after an answer that led from one state to another.
async fn consequences(house: &House, from: KeyState, shut_before: Option<Shut>, to: KeyState, told: &str) {
    let (guards, rooms) = (house.keys.customer_guards(house.account()), house.rooms.take());
    let taken_away = |code: &str| {
        vec![format!("cut {code}"), "forget caches of 1".into(), "forget memtables of 1".into(), "forget hot cache of 1".into()]
    };
    if let Some(why) = to.shut() {
        assert_eq!(standing(house), Some(why), "{told}");
        assert!(guards.is_empty(), "{told}: no key is left");
        let code = house.pass_code().await.unwrap();
        let expected = if from == to { Vec::new() } else { taken_away(code) };
        assert_eq!(rooms.iter().filter(|what| !what.starts_with("recall")).cloned().collect::<Vec<_>>(), expected, "{told}");
    } else {
        let forgotten = rooms.iter().any(|what| !what.starts_with("recall"));
        assert!(!forgotten, "{told}: nothing is taken away: {rooms:?}");
        // Only a log that is read back opens a gate; and a suspicion holds an open one.
        let open = matches!(to, Active | Degraded | Provisioning);
        assert_eq!(standing(house), if open { None } else { shut_before }, "{told}");
        assert_eq!(is_held(house), to == Suspect && shut_before.is_none(), "{told}");
        let uses = house.watched().machine.lock().may_use(Moment::now(&house.sim.world()));
        assert_eq!(uses, to.uses_keys(), "{told}");
        let kept = guards.iter().filter(|guard| guard.check(house.now()).is_ok()).count();
        assert!(kept == 1 || to == Suspect || to == Provisioning, "{told}: {kept} keys");
    }
    if from != to {
        let row = house.catalog.key_state_get(house.cluster.id).await.unwrap().unwrap();
        assert_eq!(row.state, to.as_str(), "{told}: as the catalog has it");
    }
}

/// Looks every sample up in what its meaning led to; gives how many cells were looked at.
fn look_up(found: &HashMap<(KeyState, Answer), KeyState>, expected: fn(KeyState, Answer) -> KeyState) -> usize {
    let mut cells = 0;
    for (name, answer) in answers() {
        for state in KeyState::ALL {
            assert_eq!(found.get(&(state, answer)), Some(&expected(state, answer)), "{state}: {name}");
            cells += 1;
        }
    }
    assert!(cells >= 80 * KeyState::ALL.len(), "{cells}");
    cells
}

#[tokio::test]
async fn every_answer_to_a_poll_in_every_state() {
    let mut found = HashMap::new();
    for (at, state) in KeyState::ALL.into_iter().enumerate() {
        let house = House::new(200 + at as u64).await;
        for answer in meanings() {
            house.enter(state).await;
            let shut_before = standing(&house);
            house.vault.set(Mood::Says(answer));
            house.next_poll().await;
            let told = format!("{state} {answer:?}");
            assert_eq!(house.state(), after_poll(state, answer), "{told}");
            consequences(&house, state, shut_before, house.state(), &told).await;
            found.insert((state, answer), house.state());
            house.recover().await;
        }
    }
    println!("{} cells", look_up(&found, after_poll));
}

#[tokio::test]
async fn every_answer_to_a_start_in_every_state_that_the_catalog_may_tell_of() {
    let mut found = HashMap::new();
    let mut house = House::new(220).await;
    for state in KeyState::ALL {
        for answer in meanings() {
            house.watch.stop();
            let row = strongroom_catalog::KeyStateRow {
                cluster: house.cluster.id,
                state: state.as_str().to_owned(),
                since_ms: 0,
                code: None,
                last_good_ms: None,
            };
            house.catalog.key_state_put(&row).await.unwrap();
            house.vault.set(Mood::Says(answer));
            let opened = open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &house.rooms).await;
            (house.keys, house.watch) = opened;
            house.begin().await;
            house.rooms.take();
            let (told, now) = (format!("{state} {answer:?}"), house.state());
            assert_eq!(now, after_start(state, answer), "{told}");
            // Served or taken is nothing before the vault unwrapped, whatever the catalog says.
            let shut = if now == Suspect { Some(Shut::Unavailable) } else { now.shut() };
            assert_eq!(standing(&house), shut, "{told}");
            assert_eq!(house.keys.customer_guards(house.account()).is_empty(), now != Active, "{told}");
            found.insert((state, answer), now);
        }
    }
    println!("{} cells", look_up(&found, after_start));
}

/// While a newer version is followed only the poll itself decides on the state; what went wrong leaves the old record in use.
#[tokio::test]
async fn every_answer_to_a_rotation_in_every_state() {
    let mut found = HashMap::new();
    for (at, state) in KeyState::ALL.into_iter().enumerate() {
        let house = House::new(240 + at as u64).await;
        for (turn, answer) in meanings().into_iter().enumerate() {
            house.enter(state).await;
            let before = house.versions().await;
            house.vault.set(Mood::Well);
            house.vault.rotate();
            // The answer meets the question for the newest version, the wrapping, or its proof by an unwrap.
            let scripts = [
                vec![(Call::Facts, Mood::Says(answer))],
                vec![(Call::Wrap, Mood::Says(answer))],
                vec![(Call::Unwrap, Mood::Well), (Call::Unwrap, Mood::Well), (Call::Unwrap, Mood::Says(answer))],
            ];
            house.vault.script(scripts[meets(answer, turn)].clone());
            house.next_poll().await;
            let told = format!("{state} {answer:?} {}", meets(answer, turn));
            assert_eq!(house.state(), after_poll(state, Answer::Good), "{told}: the poll was good");
            let followed = answer == Answer::Good && state != Quarantined;
            assert_eq!(house.versions().await != before, followed, "{told}");
            found.insert((state, answer), house.state());
            house.recover().await;
            house.next_poll().await;
            assert_ne!(house.versions().await, before, "{told}: followed once nothing is in the way");
            assert_eq!(house.state(), Active, "{told}");
        }
    }
    println!("{} cells", look_up(&found, |state, _| after_poll(state, Answer::Good)));
}

/// Setting another key: done whole if its vault does everything, else as if it had not been asked for.
#[tokio::test]
async fn every_answer_to_a_new_key_in_every_state() {
    let mut found = HashMap::new();
    for (at, state) in KeyState::ALL.into_iter().enumerate() {
        let mut house = House::new(260 + at as u64).await;
        let second = MemoryVault::new(house.sim.world(), second_kek());
        let vaults = TwoVaults { first: house.vault.clone(), second: second.clone(), client: |vault| Arc::new(vault) };
        house.anew(Arc::new(vaults)).await;
        // What works comes last: from then on the cluster is under the other key.
        let mut meanings = meanings();
        meanings.sort_by_key(|answer| *answer == Answer::Good);
        for (turn, answer) in meanings.into_iter().enumerate() {
            house.enter(state).await;
            let (before, versions) = (standing(&house), house.versions().await);
            house.vault.set(Mood::Well);
            let call = CALLS[meets(answer, turn)];
            second.script([(call, Mood::Says(answer))]);
            let set = house.desk().set_key(&house.cluster, second_kek()).await;
            let told = format!("{state} {answer:?} {call:?}");
            let records = house.keys.customer_records(house.account()).await.unwrap();
            let moved = records.iter().filter(|record| record.key_uri == second_kek().key_uri()).count();
            // A vault that says it is expired when asked to show a key, or to unwrap, is no vault; either way it is refused.
            if answer == Answer::Good && state != Quarantined {
                set.unwrap();
                assert_eq!((moved, records.len()), (2, 2), "{told}: every AEK, and a new one");
                let expected = after_poll(state, Answer::Good);
                assert_eq!(house.state(), expected, "{told}");
            } else {
                assert!(set.is_err(), "{told}");
                assert_eq!((moved, house.versions().await), (0, versions), "{told}: nothing is under the other key");
                assert_eq!((house.state(), standing(&house)), (state, before), "{told}");
                house.recover().await;
            }
            second.script([]);
            found.insert((state, answer), state);
        }
    }
    println!("{} cells", look_up(&found, |state, _| state));
}

/// A cluster's first key that does not work leaves the cluster as it was.
#[tokio::test]
async fn every_answer_to_a_first_key() {
    let mut house = House::new(280).await;
    let second = MemoryVault::new(house.sim.world(), second_kek());
    let vaults = TwoVaults { first: house.vault.clone(), second: second.clone(), client: |vault| Arc::new(vault) };
    house.anew(Arc::new(vaults)).await;
    let desk = house.desk();
    let id = ObjectId::from_bytes([6; 16]);
    let mut cluster = ClusterRow { id, name: "other".to_owned(), account: None, ..house.cluster.clone() };
    cluster.identity = Some(desk.new_identity(id).await.unwrap());
    cluster.account = Some(desk.open_account(id, "local", true).await.unwrap());
    house.catalog.cluster_insert(&cluster).await.unwrap();
    for (turn, answer) in meanings().into_iter().filter(|answer| *answer != Answer::Good).enumerate() {
        let call = CALLS[meets(answer, turn)];
        second.script([(call, Mood::Says(answer))]);
        assert!(desk.set_key(&cluster, second_kek()).await.is_err(), "{answer:?}");
        assert!(house.keys.customer_records(cluster.account.unwrap()).await.unwrap().is_empty(), "{answer:?}");
        assert!(house.watch.of(id).is_none(), "{answer:?}: nothing to watch");
    }
    second.script([]);
    desk.set_key(&cluster, second_kek()).await.unwrap();
    assert_eq!(house.watch.of(id).unwrap().machine.lock().state(), Active);
}
