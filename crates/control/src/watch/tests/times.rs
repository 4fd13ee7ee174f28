//! Time: outages, flaps, clocks that jump, pollers that hang. The watch is the real one; the clock is not.

use std::collections::BTreeMap;

use strongroom_keys::provider::Answer;
use strongroom_world::WallTime;

use super::*;

impl House {
    /// What a request would be told now, gate and key both.
    async fn served(&self) -> Result<(), &'static str> {
        self.keys.pass(self.account()).await.map_err(|error| error.code())?;
        let epoch = self.keys.write_epoch(self.account()).await.map_err(|error| error.code())?;
        let guard = self.keys.epoch_guard(epoch).await.map_err(|error| error.code())?;
        guard.check(self.now()).map_err(|error| error.code())
    }

    /// Requests every five seconds for so long; how many failed, by code.
    async fn requests(&self, time: Duration) -> BTreeMap<&'static str, usize> {
        let mut failed = BTreeMap::new();
        let end = self.now().after(time);
        while self.now() < end {
            self.pass(Duration::from_secs(5)).await;
            if let Err(code) = self.served().await {
                *failed.entry(code).or_default() += 1;
            }
        }
        failed
    }
}

#[tokio::test]
async fn an_outage_of_29_minutes_fails_no_request_and_one_of_31_is_told() {
    let house = House::new(400).await;
    house.vault.set(Mood::Silent("Timeout"));
    assert_eq!(house.requests(Duration::from_mins(29)).await, BTreeMap::new());
    assert_eq!(house.state(), KeyState::Degraded);
    house.vault.set(Mood::Well);
    assert_eq!(house.requests(Duration::from_mins(5)).await, BTreeMap::new());
    assert_eq!((house.state(), house.rooms.take()), (KeyState::Active, Vec::new()), "nobody noticed anything");

    house.vault.set(Mood::Silent("Timeout"));
    let failed = house.requests(Duration::from_mins(31)).await;
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&"KeyVaultUnavailable"], "{failed:?}");
    // The lease counts from a poll at most twelve seconds before the outage: at least 60 s of the last 72 s are refused.
    assert!((12..=15).contains(&failed["KeyVaultUnavailable"]), "{failed:?}");
    assert_eq!(house.state(), KeyState::Unavailable);
    house.vault.set(Mood::Well);
    house.until(KeyState::Active, Duration::from_secs(13)).await;
    assert_eq!(house.served().await, Ok(()));
}

/// D6: the other value of the lease's setting. An outage that half an hour would hide is told after five minutes.
#[tokio::test]
async fn a_shorter_lease_ends_sooner() {
    let house = House::with(401, true, StateConfig { lease: Duration::from_mins(5), ..STATES }).await;
    house.vault.set(Mood::Silent("Timeout"));
    assert_eq!(house.requests(Duration::from_mins(4)).await, BTreeMap::new());
    let failed = house.requests(Duration::from_mins(2)).await;
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&"KeyVaultUnavailable"], "{failed:?}");
    assert!((12..=15).contains(&failed["KeyVaultUnavailable"]), "{failed:?}");
    assert_eq!(house.state(), KeyState::Unavailable);
}

/// Whatever way a vault comes and goes, without a denial nothing is revoked, and within the lease nothing is noticed.
#[tokio::test]
async fn ten_thousand_flaps_revoke_nothing() {
    let house = House::new(410).await;
    for flap in 0..10_000 {
        let code = ["Reset", "Timeout", "Dns", "Tls", "Throttled", "Status503"][flap % 6];
        house.vault.set(if house.sim.below(2) == 0 { Mood::Silent(code) } else { Mood::Well });
        house.next_poll().await;
        assert!(matches!(house.state(), KeyState::Active | KeyState::Degraded), "flap {flap}: {}", house.state());
        if flap % 100 == 0 {
            assert_eq!(house.served().await, Ok(()), "flap {flap}");
        }
    }
    assert_eq!(house.rooms.take(), Vec::<String>::new());
}

/// The lease needs nobody to end it: no poll, no tick, no task has to run.
#[tokio::test]
async fn no_key_is_used_after_its_lease_whatever_becomes_of_poller_and_clocks() {
    const YEAR: i64 = 365 * 86_400 * 1_000_000_000;
    type Happens = fn(&House);
    let happens: [(&str, Happens); 6] = [
        ("the vault never answers", |house| house.vault.set(Mood::Hangs)),
        ("nobody polls any more", |house| house.watch.stop()),
        ("the clock is set back a year", |house| {
            let wall = house.sim.world().clock.wall();
            house.sim.clock().set_wall(WallTime(wall.0 - YEAR));
            house.vault.set(Mood::Silent("Timeout"));
        }),
        ("the clock is set ahead a year and back", |house| {
            let wall = house.sim.world().clock.wall();
            house.sim.clock().set_wall(WallTime(wall.0 + YEAR));
            house.sim.clock().set_wall(wall);
            house.vault.set(Mood::Silent("Timeout"));
        }),
        ("the vault flaps without unwrapping", |house| house.vault.set(Mood::Says(Answer::Transient("Status500")))),
        ("the poller holds the lock for ever", |house| {
            let watched = house.watched();
            tokio::spawn(async move {
                let _alone = watched.busy.lock().await;
                std::future::pending::<()>().await;
            });
        }),
    ];
    for (at, (what, happens)) in happens.into_iter().enumerate() {
        let house = House::new(420 + at as u64).await;
        house.next_poll().await;
        let good = house.watched().machine.lock().last_good().unwrap();
        let guard = house.keys.customer_guards(house.account()).remove(0);
        happens(&house);
        settle().await;
        // Up to just before its end it works, and from its end on it does not: whoever was or was not run in between.
        let end = good.boot.after(STATES.lease);
        let before = Duration::from_millis(1);
        house.sim.clock().advance(end.since(house.now()).saturating_sub(before));
        assert_eq!(guard.check(house.now()).err().map(|error| error.code()), None, "{what}");
        house.sim.clock().advance(before);
        assert_eq!(guard.check(house.now()).err().map(|error| error.code()), Some("KeyVaultUnavailable"), "{what}");
        assert!(!house.watched().machine.lock().may_use(Moment::now(&house.sim.world())), "{what}");
        let epoch = house.keys.write_epoch(house.account()).await.unwrap();
        assert!(house.keys.epoch_guard(epoch).await.is_err(), "{what}");
    }
}

/// As `SIGSTOP`, a suspended laptop, a paused virtual machine: nobody runs, then everybody does.
#[tokio::test]
async fn a_node_that_slept_through_its_lease_uses_no_key_when_it_wakes() {
    for (at, boot_saw_it) in [true, false].into_iter().enumerate() {
        let house = House::new(430 + at as u64).await;
        house.next_poll().await;
        let guard = house.keys.customer_guards(house.account()).remove(0);
        house.vault.set(Mood::Silent("Timeout"));
        let slept = Duration::from_hours(3);
        if boot_saw_it {
            house.sim.clock().advance(slept);
            // Before anything of ours has run again:
            assert!(guard.check(house.now()).is_err());
        } else {
            // A snapshot restored: only the wall clock knows. The next call finds out, at the latest.
            let wall = house.sim.world().clock.wall();
            house.sim.clock().set_wall(WallTime(wall.0 + i64::try_from(slept.as_nanos()).unwrap()));
            assert!(!house.watched().machine.lock().may_use(Moment::now(&house.sim.world())));
            house.next_poll().await;
        }
        house.quiet().await;
        assert_eq!((house.state(), house.served().await), (KeyState::Unavailable, Err("KeyVaultUnavailable")));
        assert!(guard.check(house.now()).is_err());
        // What it costs is one poll.
        house.vault.set(Mood::Well);
        house.until(KeyState::Active, Duration::from_secs(13)).await;
    }
}

/// The vault's own log of unwraps, in each of the nine states: never closer than 6 s, never further apart than 60 s, but for
/// the call that confirms a denial.
#[tokio::test]
async fn calls_keep_their_pace_in_each_of_the_nine_states() {
    for (at, state) in KeyState::ALL.into_iter().enumerate() {
        let house = House::new(440 + at as u64).await;
        house.enter(state).await;
        let before = house.unwraps().len();
        for poll in 0..200 {
            house.vault.set(match state {
                KeyState::Active | KeyState::Restoring | KeyState::Quarantined => Mood::Well,
                // A good answer now and then, so that the lease goes on.
                KeyState::Degraded if poll % 50 == 49 => Mood::Well,
                KeyState::Suspect if poll % 2 == 1 => Mood::Well,
                KeyState::Suspect | KeyState::Revoked => Mood::Denies("KeyDisabled"),
                KeyState::Held => Mood::Refuses("ForbiddenByFirewall"),
                // The slowest there is: every call takes as long as it may.
                KeyState::Degraded | KeyState::Unavailable | KeyState::Provisioning => Mood::Hangs,
            });
            house.next_poll().await;
            if state == KeyState::Suspect && poll == 0 {
                continue;
            }
            if !matches!(state, KeyState::Suspect | KeyState::Degraded) {
                assert_eq!(house.state(), state, "poll {poll}");
            }
        }
        house.pass(Duration::from_secs(6)).await;
        let calls = house.unwraps().split_off(before);
        assert!(calls.len() >= 200, "{state}: {} calls", calls.len());
        let gaps: Vec<Duration> = calls.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        let (confirming, polls): (Vec<_>, Vec<_>) = gaps.into_iter().partition(|gap| *gap < Duration::from_secs(6));
        assert!(polls.iter().all(|gap| *gap <= Duration::from_mins(1)), "{state}: {polls:?}");
        assert!(confirming.iter().all(|gap| *gap == STATES.confirm_after), "{state}: {confirming:?}");
        assert_eq!(!confirming.is_empty(), state == KeyState::Suspect, "{state}");
    }
}

/// An expired key wraps no more and unwraps on: an hour of it at the watch. A month is driven through the machine, in
/// `strongroom-keys`.
#[tokio::test]
async fn an_expired_key_stays_active_with_its_date_shown_and_fails_no_request() {
    let house = House::new(460).await;
    let expires = house.sim.world().clock.wall().unix_ms() + 60_000;
    house.vault.expire(expires);
    house.vault.rotate();
    house.next_poll().await;
    assert_eq!(house.versions().await, ["v2"], "followed while it could still be wrapped under");
    house.pass(Duration::from_mins(2)).await;
    house.vault.rotate();
    let before = house.unwraps().len();
    assert_eq!(house.requests(Duration::from_hours(1)).await, BTreeMap::new());
    assert!(house.unwraps().len() - before >= 300, "each of them with a real unwrap behind it");
    assert_eq!((house.state(), house.versions().await), (KeyState::Active, vec!["v2".to_owned()]), "and nothing new is wrapped");
    let facts = house.desk().status(&house.cluster).await.unwrap().kek.unwrap().facts.unwrap();
    assert_eq!((facts.expires_ms, facts.newest.as_str()), (Some(expires), "v3"));
    assert_eq!(house.rooms.take(), Vec::<String>::new());
}
