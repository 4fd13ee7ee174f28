//! The watch on a simulated clock, with a vault in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use object_store::memory::InMemory;
use strongroom_catalog::{Billing, ClusterState, IdentityType};
use strongroom_envelope::{KeyGuard, Mmk};
use strongroom_keys::KeyError;
use strongroom_keys::provider::memory::{Call, MemoryVault, Mood};
use strongroom_model::{ErrorKind, WorkspaceId};
use strongroom_world::BootTime;
use strongroom_world::sim::SimWorld;

use super::*;
use crate::audit::{Event, name};
use crate::desk::{KeyDesk, RewriteStep};

mod answers;
mod figures;
mod nodes;
mod places;
mod planted;
mod quarantine;
mod shred;
mod times;

/// What the other rooms were asked to do, in order.
#[derive(Clone, Debug, Default)]
struct Rooms {
    log: Arc<Mutex<Vec<String>>>,
    /// What the audit chain was told.
    events: Arc<Mutex<Vec<Event>>>,
    /// Recalls that fail before one succeeds.
    recall_failures: Arc<AtomicU64>,
    /// Forgetting that fails before it succeeds.
    forget_failures: Arc<AtomicU64>,
    /// One more than the blocks that are to be rewritten.
    blocks: Arc<Mutex<u64>>,
    /// Tries to end a log before it works.
    log_left: Arc<AtomicU64>,
}

impl Rooms {
    fn note(&self, what: impl Into<String>) {
        self.log.lock().push(what.into());
    }
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock())
    }
}

fn once(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

impl Scribe for Rooms {
    fn note(&self, event: Event) {
        self.events.lock().push(event);
    }
}

impl Cut for Rooms {
    fn cut(&self, _: AccountId, error: &KeyError) {
        self.note(format!("cut {}", error.code()));
    }
}

#[derive(Debug)]
struct Step(&'static str, Rooms);

#[async_trait]
impl Forget for Step {
    fn name(&self) -> &'static str {
        self.0
    }
    async fn forget(&self, gone: &Gone) -> Result<(), String> {
        self.1.note(format!("forget {} of {}", self.0, gone.epochs.len()));
        if self.0 == "hot cache" && once(&self.1.forget_failures) { Err("the disk is in the way".to_owned()) } else { Ok(()) }
    }
}

#[async_trait]
impl Recall for Rooms {
    async fn recall(&self, guards: &[KeyGuard]) -> Result<u64, String> {
        self.note(format!("recall {}", guards.len()));
        if once(&self.recall_failures) { Err("not yet".to_owned()) } else { Ok(7) }
    }
}

#[async_trait]
impl Still for Rooms {
    async fn still(&self, _: WorkspaceId) -> Box<dyn Any + Send> {
        Box::new(())
    }
    async fn flush_account(&self, _: AccountId) -> Result<(), String> {
        Ok(())
    }
    fn flush(&self, _: WorkspaceId) {}
    fn unflushed(&self, _: AccountId) -> Unflushed {
        Unflushed::default()
    }
}

#[async_trait]
impl Rewrite for Rooms {
    async fn carry(&self, _: Epoch, _: Epoch, _: Option<WorkspaceId>) -> Result<(), String> {
        Ok(())
    }
    async fn next(&self, _: Epoch, _: Epoch, _: Option<WorkspaceId>) -> Result<Option<u64>, String> {
        let mut left = self.blocks.lock();
        *left = left.saturating_sub(1);
        Ok((*left > 0).then_some(1_000))
    }
    async fn flush(&self, _: WorkspaceId) -> Result<(), String> {
        Ok(())
    }
    async fn retire(&self, _: Epoch) -> Result<bool, String> {
        self.note("retire");
        Ok(!once(&self.log_left))
    }
}

#[derive(Debug)]
struct OneVault(MemoryVault);

#[async_trait]
impl Vaults for OneVault {
    async fn validate(&self, kek: &KekRef, _: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError> {
        Ok(self.0.pinned(kek.key_version.as_deref()).facts().await.map_err(KeyError::from)?)
    }
    async fn client(&self, kek: &KekRef, _: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError> {
        Ok(Arc::new(self.0.pinned(kek.key_version.as_deref())))
    }
}

struct House {
    sim: SimWorld,
    catalog: Catalog,
    objects: Arc<InMemory>,
    root: [u8; 32],
    vault: MemoryVault,
    rooms: Rooms,
    keys: Arc<KeyRing>,
    watch: Arc<Watch>,
    cluster: ClusterRow,
    /// Requests that wait at the gate: they wait for the clock too.
    held: AtomicUsize,
}

const STATES: StateConfig = StateConfig {
    poll_interval: Duration::from_secs(10),
    lease: Duration::from_mins(30),
    call_timeout: Duration::from_secs(5),
    confirm_after: Duration::from_secs(2),
};

impl House {
    /// A cluster whose key is set and Active.
    async fn new(seed: u64) -> Self {
        Self::with(seed, true).await
    }

    /// No record is made of a pinned key's newer versions.
    async fn without_standby(seed: u64) -> Self {
        Self::with(seed, false).await
    }

    async fn with(seed: u64, standby_wrap: bool) -> Self {
        let sim = SimWorld::new(seed);
        let world = sim.world();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let objects = Arc::new(InMemory::new());
        let mut root = [0; 32];
        world.rng.fill(&mut root);
        let vault = MemoryVault::new(world.clone(), KekRef::new("https://vault.example/", "kek", None).unwrap());
        let rooms = Rooms::default();
        let (keys, watch) = open_with(&sim, &catalog, &objects, root, &vault, &rooms, standby_wrap).await;
        let desk = Desk(Arc::clone(&watch));
        let id = ObjectId::from_bytes([5; 16]);
        let mut cluster = ClusterRow {
            id,
            name: "shop".to_owned(),
            subscription: "subscription".to_owned(),
            resource_group: "default".to_owned(),
            region: "local".to_owned(),
            account: None,
            state: ClusterState::Succeeded,
            identity_type: IdentityType::SystemAssigned,
            user_identity: None,
            identity: Some(desk.new_identity(id).await.unwrap()),
            sku_name: "CapacityReservation".to_owned(),
            sku_capacity: 100,
            billing: Billing::Cluster,
            double: true,
            tags: "{}".to_owned(),
            key: None,
            created_ms: 0,
            modified_ms: 0,
            deleted_ms: None,
        };
        cluster.account = Some(desk.open_account(id, "local", true).await.unwrap());
        catalog.cluster_insert(&cluster).await.unwrap();
        desk.set_key(&cluster, KekRef::new("https://vault.example/", "kek", None).unwrap()).await.unwrap();
        let house = Self { sim, catalog, objects, root, vault, rooms, keys, watch, cluster, held: AtomicUsize::new(0) };
        assert_eq!(house.state(), KeyState::Active);
        house
    }

    fn state(&self) -> KeyState {
        self.watch.of(self.cluster.id).unwrap().machine.lock().state()
    }

    /// Lets time pass, from one thing that waits for the clock to the next, everybody getting their turn.
    async fn pass(&self, time: Duration) {
        let end = self.now().after(time);
        loop {
            self.quiet().await;
            let next = self.sim.clock().next_wake().filter(|next| *next < end);
            self.sim.clock().advance(next.unwrap_or(end).since(self.now()));
            if next.is_none() {
                self.quiet().await;
                return;
            }
        }
    }

    fn now(&self) -> BootTime {
        self.sim.world().clock.boot()
    }

    /// Waits until all that is left to wait for is the clock. The catalog works on a thread of its own.
    async fn quiet(&self) {
        let watched = self.watch.of(self.cluster.id).unwrap();
        let mut quiet = 0;
        for turn in 0..PATIENCE {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            // Who asks the vault waits with a bound, which is one that waits for the clock; if the vault does too, there are two.
            let waiting = self.sim.clock().sleeping();
            let still = if watched.busy.try_lock().is_ok() { waiting >= 1 } else { waiting >= 2 + self.held.load(Ordering::Relaxed) };
            quiet = if still && !watched.recalling.load(Ordering::Acquire) { quiet + 1 } else { 0 };
            if quiet == 2 {
                return;
            }
            if quiet == 0 && turn > 2 {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        }
        panic!("the watch does not come to rest");
    }

    async fn until(&self, state: KeyState, at_most: Duration) {
        let start = self.now();
        loop {
            self.quiet().await;
            if self.state() == state {
                return;
            }
            let waited = self.now().since(start);
            assert!(waited <= at_most, "still {} after {waited:?}", self.state());
            let next = self.sim.clock().next_wake().map_or(Duration::from_secs(1), |next| next.since(self.now()));
            self.sim.clock().advance(next);
        }
    }

    /// Unwraps as the vault saw them.
    fn unwraps(&self) -> Vec<BootTime> {
        self.vault.calls().into_iter().filter(|(_, call)| *call == Call::Unwrap).map(|(at, _)| at).collect()
    }

    async fn pass_code(&self) -> Option<&'static str> {
        let account = self.cluster.account.unwrap();
        self.keys.pass(account).await.err().map(|error| error.code())
    }
}

/// Looks at whether the watch is still at work before time goes on; a loaded machine has many to do.
const PATIENCE: usize = 100_000;

async fn settle() {
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_micros(50)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

async fn open(
    sim: &SimWorld,
    catalog: &Catalog,
    objects: &Arc<InMemory>,
    root: [u8; 32],
    vault: &MemoryVault,
    rooms: &Rooms,
) -> (Arc<KeyRing>, Arc<Watch>) {
    open_with(sim, catalog, objects, root, vault, rooms, true).await
}

async fn open_with(
    sim: &SimWorld,
    catalog: &Catalog,
    objects: &Arc<InMemory>,
    root: [u8; 32],
    vault: &MemoryVault,
    rooms: &Rooms,
    standby_wrap: bool,
) -> (Arc<KeyRing>, Arc<Watch>) {
    let world = sim.world();
    let keys = KeyRing::open(world.clone(), catalog.clone(), Arc::clone(objects) as _, Arc::new(Mmk::from_bytes(root))).await.unwrap();
    let step = |name| Arc::new(Step(name, rooms.clone())) as Arc<dyn Forget>;
    let deps = WatchDeps {
        world,
        catalog: catalog.clone(),
        keys: Arc::clone(&keys),
        vaults: Arc::new(OneVault(vault.clone())),
        cut: Arc::new(rooms.clone()),
        forget: vec![step("caches"), step("memtables"), step("hot cache")],
        recall: Arc::new(rooms.clone()),
        still: Arc::new(rooms.clone()),
        audit: Arc::new(rooms.clone()),
        rewrite: Arc::new(rooms.clone()),
        standby_wrap,
        tenant: None,
    };
    let watch = Watch::new(deps, STATES);
    (keys, watch)
}

#[tokio::test]
async fn a_disabled_key_is_taken_away_in_order_and_given_back_by_itself() {
    let house = House::new(1).await;
    house.pass(Duration::from_secs(30)).await;
    assert_eq!((house.state(), house.pass_code().await), (KeyState::Active, None));
    house.rooms.take();
    house.vault.set(Mood::Denies("KeyDisabled"));
    // Twelve seconds to the next poll, two to the confirming one.
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    let expected = ["cut CustomerKeyRevoked", "forget caches of 1", "forget memtables of 1", "forget hot cache of 1"];
    assert_eq!(house.rooms.take(), expected);
    assert_eq!(house.pass_code().await, Some("CustomerKeyRevoked"));
    let account = house.cluster.account.unwrap();
    let epoch = house.keys.write_epoch(account).await.unwrap();
    assert_eq!(house.keys.epoch_guard(epoch).await.unwrap_err().kind(), ErrorKind::KeyRevoked);
    let row = house.catalog.key_state_get(house.cluster.id).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.code.as_deref()), ("Revoked", Some("KeyDisabled")));

    house.pass(Duration::from_hours(1)).await;
    assert_eq!(house.state(), KeyState::Revoked, "however long it lasts");
    house.vault.set(Mood::Well);
    house.until(KeyState::Active, Duration::from_secs(15)).await;
    assert_eq!(house.rooms.take(), ["recall 1"]);
    assert!(house.keys.epoch_guard(epoch).await.is_ok());
    assert_eq!(house.pass_code().await, None);
}

#[tokio::test]
async fn what_a_vault_must_not_be_mistaken_in_never_revokes() {
    for (at, code) in ["Status429", "Status500", "Timeout", "Reset", "Dns", "Tls"].into_iter().enumerate() {
        let house = House::new(10 + at as u64).await;
        house.vault.set(Mood::Silent(code));
        house.pass(Duration::from_mins(25)).await;
        assert_eq!((house.state(), house.pass_code().await), (KeyState::Degraded, None), "{code}: nothing is visible");
        house.rooms.take();
        house.until(KeyState::Unavailable, Duration::from_mins(6)).await;
        assert_eq!(house.pass_code().await, Some("KeyVaultUnavailable"), "{code}");
        house.vault.set(Mood::Well);
        house.until(KeyState::Active, Duration::from_secs(15)).await;
    }
}

#[tokio::test]
async fn a_call_that_hangs_keeps_no_key_beyond_the_lease() {
    let house = House::new(20).await;
    house.vault.set(Mood::Hangs);
    let epoch = house.keys.write_epoch(house.cluster.account.unwrap()).await.unwrap();
    let guard = house.keys.epoch_guard(epoch).await.unwrap();
    house.pass(Duration::from_mins(31)).await;
    assert_eq!(house.state(), KeyState::Unavailable);
    assert!(guard.check(house.sim.world().clock.boot()).is_err());
}

#[tokio::test]
async fn one_denial_alone_holds_requests_and_lets_them_go_on() {
    let house = House::new(30).await;
    house.vault.set(Mood::Denies("AccessDenied"));
    house.until(KeyState::Suspect, Duration::from_secs(13)).await;
    house.vault.set(Mood::Well);
    let (keys, account) = (Arc::clone(&house.keys), house.cluster.account.unwrap());
    let waiting = tokio::spawn(async move { keys.pass(account).await.map(drop) });
    house.held.store(1, Ordering::Relaxed);
    settle().await;
    assert!(!waiting.is_finished(), "held while it is not clear");
    house.until(KeyState::Active, Duration::from_secs(4)).await;
    waiting.await.unwrap().unwrap();
    assert_eq!(house.rooms.take(), Vec::<String>::new(), "nothing was taken away");
}

#[tokio::test]
async fn every_interval_between_calls_lies_within_6_to_60_s_in_every_state() {
    let house = House::new(40).await;
    let mut seen = std::collections::BTreeSet::new();
    let script = [
        (Mood::Well, 300),
        (Mood::Silent("Timeout"), 2_000),
        (Mood::Denies("KeyDisabled"), 600),
        (Mood::Well, 100),
        (Mood::Refuses("ForbiddenByFirewall"), 300),
        (Mood::Well, 100),
        (Mood::Hangs, 400),
        (Mood::Well, 100),
    ];
    for (mood, seconds) in script {
        house.vault.set(mood);
        for _ in 0..seconds * 2 {
            house.pass(Duration::from_millis(500)).await;
            seen.insert(house.state());
        }
    }
    let all = [KeyState::Active, KeyState::Degraded, KeyState::Suspect, KeyState::Unavailable, KeyState::Held, KeyState::Revoked];
    assert!(all.iter().all(|state| seen.contains(state)), "{seen:?}");
    let calls = house.unwraps();
    let gaps: Vec<Duration> = calls.windows(2).skip(2).map(|pair| pair[1].since(pair[0])).collect();
    // A confirming call comes two seconds after a denial was answered.
    let (confirming, polls): (Vec<_>, Vec<_>) = gaps.into_iter().partition(|gap| *gap < Duration::from_secs(6));
    assert!(confirming.iter().all(|gap| *gap >= Duration::from_secs(2) && *gap <= Duration::from_secs(3)), "{confirming:?}");
    assert!(confirming.len() <= 3, "one for each denial: {confirming:?}");
    assert!(polls.iter().all(|gap| *gap <= Duration::from_mins(1)), "{polls:?}");
}

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

#[tokio::test]
async fn an_identity_that_is_taken_away_revokes_at_once_and_nobody_is_asked_until_it_is_back() {
    let house = House::new(54).await;
    let desk = Desk(Arc::clone(&house.watch));
    house.watch.spawn(house.watch.of(house.cluster.id).unwrap());
    house.pass(Duration::from_secs(30)).await;
    house.rooms.take();
    house.catalog.cluster_identity_remove(house.cluster.id, 5).await.unwrap();
    desk.remove_identity(&house.cluster).await.unwrap();
    assert_eq!((house.state(), house.pass_code().await), (KeyState::Revoked, Some("CustomerKeyRevoked")));
    assert_eq!(house.rooms.take().first().map(String::as_str), Some("cut CustomerKeyRevoked"));
    let row = house.catalog.key_state_get(house.cluster.id).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.code.as_deref()), ("Revoked", Some("IdentityNone")));
    house.pass(Duration::from_secs(15)).await;
    let asked = house.unwraps().len();
    house.pass(Duration::from_mins(10)).await;
    assert_eq!((house.unwraps().len(), house.state()), (asked, KeyState::Revoked), "the vault would say yes, and is not asked");

    // A start does not ask either.
    let rooms = Rooms::default();
    let (keys, watch) = open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &rooms).await;
    watch.start().await.unwrap();
    assert_eq!(watch.of(house.cluster.id).unwrap().machine.lock().state(), KeyState::Revoked);
    assert_eq!(keys.pass(house.cluster.account.unwrap()).await.unwrap_err().code(), "CustomerKeyRevoked");
    let missing = fetch_keys(&house.catalog, &keys, &OneVault(house.vault.clone()), STATES.lease).await.unwrap();
    assert_eq!(missing.iter().map(|(name, error)| (name.as_str(), error.code())).collect::<Vec<_>>(), [("shop", "CustomerKeyRevoked")]);
    watch.stop();
    assert_eq!(house.unwraps().len(), asked);

    house.catalog.cluster_identity_restore(house.cluster.id, 6).await.unwrap();
    desk.restore_identity(&house.cluster).await.unwrap();
    house.until(KeyState::Active, Duration::from_secs(15)).await;
    assert_eq!(house.pass_code().await, None);
}

#[tokio::test]
async fn another_identity_is_tried_first_and_shown_without_a_gap() {
    let house = House::new(55).await;
    let desk = Desk(Arc::clone(&house.watch));
    let guard = house.keys.customer_guards(house.cluster.account.unwrap()).remove(0);
    let another = ClusterRow { identity: Some(desk.new_identity(house.cluster.id).await.unwrap()), ..house.cluster.clone() };
    house.vault.set(Mood::Denies("AccessDenied"));
    let refused = desk.show_identity(&another).await.unwrap_err();
    assert_eq!((refused.code(), refused.detail().unwrap().0), ("KeyValidationFailed", "PermissionMissing(unwrapKey)"));
    house.vault.set(Mood::Well);
    desk.show_identity(&another).await.unwrap();
    assert_eq!((house.state(), house.pass_code().await), (KeyState::Active, None));
    assert!(guard.check(house.sim.world().clock.boot()).is_ok());
    assert_eq!(house.rooms.take(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rekey_takes_a_new_epoch_once_and_destroys_the_old_record_when_nothing_is_left_of_it() {
    let house = House::new(56).await;
    let (account, desk) = (house.cluster.account.unwrap(), Desk(Arc::clone(&house.watch)));
    let old = house.keys.write_epoch(account).await.unwrap();
    let guard = house.keys.epoch_guard(old).await.unwrap();
    *house.rooms.blocks.lock() = 3;
    house.rooms.log_left.store(1, Ordering::Relaxed);
    assert_eq!(desk.rekey_step(&house.cluster, &[old.aek]).await.unwrap_err().kind(), ErrorKind::Conflict, "it reigns");
    for _ in 0..2 {
        desk.begin_epoch(&house.cluster, &[old.aek]).await.unwrap();
    }
    let new = house.keys.write_epoch(account).await.unwrap();
    assert_ne!(new, old);
    assert_eq!(house.keys.customer_records(account).await.unwrap().len(), 2, "one more, however often it is asked");
    let step = async || desk.rekey_step(&house.cluster, &[old.aek]).await;
    assert_eq!([step().await.unwrap(), step().await.unwrap()], [RewriteStep::Wrote(1_000); 2]);
    // The key away in the middle: nothing is done, and it goes on afterwards.
    house.vault.set(Mood::Denies("KeyDisabled"));
    house.watch.spawn(house.watch.of(house.cluster.id).unwrap());
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    assert_eq!(step().await.unwrap_err().code(), "CustomerKeyRevoked");
    assert_eq!(desk.begin_epoch(&house.cluster, &[new.aek]).await.unwrap_err().kind(), ErrorKind::Conflict, "no epoch without the key");
    house.vault.set(Mood::Well);
    house.until(KeyState::Active, Duration::from_secs(15)).await;
    assert_eq!(step().await.unwrap(), RewriteStep::Waits("rows in the log"));
    assert!(house.keys.epoch_guard(old).await.is_ok());
    house.rooms.take();
    assert_eq!(step().await.unwrap(), RewriteStep::Done);
    assert_eq!(house.rooms.take(), ["retire", "forget caches of 1", "forget memtables of 1", "forget hot cache of 1"]);
    assert!(house.catalog.aek(old.aek).await.unwrap().is_none());
    assert!(house.keys.epoch_guard(old).await.is_err() && guard.check(house.sim.world().clock.boot()).is_err());
    assert!(house.keys.epoch_guard(new).await.is_ok());
    assert_eq!(step().await.unwrap(), RewriteStep::Done, "again: nothing to do");
    // Polls and a start know of the new one alone.
    house.pass(Duration::from_secs(30)).await;
    assert_eq!(house.state(), KeyState::Active);
    let (keys, _) = open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &house.rooms).await;
    assert_eq!(keys.customer_records(account).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_failed_half_way_is_tried_again() {
    let house = House::new(60).await;
    house.rooms.forget_failures.store(2, Ordering::Relaxed);
    house.rooms.recall_failures.store(1, Ordering::Relaxed);
    house.vault.set(Mood::Denies("KeyNotFound"));
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    house.pass(Duration::from_secs(30)).await;
    let erased = house.rooms.take().iter().filter(|step| step.starts_with("forget hot cache")).count();
    assert_eq!(erased, 3, "until it worked, and no more");
    house.vault.set(Mood::Well);
    house.until(KeyState::Active, Duration::from_secs(30)).await;
    assert_eq!(house.rooms.take(), ["recall 1", "recall 1"]);
}

#[tokio::test]
async fn a_start_believes_the_vault_and_nothing_else() {
    let house = House::new(70).await;
    house.vault.set(Mood::Denies("KeyDisabled"));
    // The catalog says Active. The vault says no: before any request is served it is Suspect at least.
    let rooms = Rooms::default();
    let (keys, watch) = open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &rooms).await;
    let epoch = keys.write_epoch(house.cluster.account.unwrap()).await.unwrap();
    watch.start().await.unwrap();
    assert!(keys.epoch_guard(epoch).await.is_err());
    assert_ne!(watch.of(house.cluster.id).unwrap().machine.lock().state(), KeyState::Active);
    // And with the vault silent: everything stays shut, nothing is erased.
    house.vault.set(Mood::Silent("Refused"));
    let (keys, watch) = open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &rooms).await;
    watch.start().await.unwrap();
    assert_eq!(keys.epoch_guard(epoch).await.unwrap_err().code(), "KeyVaultUnavailable");
    // Well again: served as soon as the start is over.
    house.vault.set(Mood::Well);
    let (keys, watch) = open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &rooms).await;
    let (clock, starting) = (house.sim.clock(), tokio::spawn(async move { watch.start().await }));
    for _ in 0..20 {
        clock.advance(Duration::from_millis(10));
        settle().await;
    }
    starting.await.unwrap().unwrap();
    assert!(keys.epoch_guard(epoch).await.is_ok());
}

#[tokio::test]
async fn a_vault_that_gives_another_key_is_put_in_quarantine() {
    let house = House::new(80).await;
    house.vault.set(Mood::Lies);
    house.until(KeyState::Quarantined, Duration::from_secs(13)).await;
    assert_eq!(house.pass_code().await, Some("KeyQuarantined"));
    house.vault.set(Mood::Well);
    house.pass(Duration::from_mins(5)).await;
    assert_eq!(house.state(), KeyState::Quarantined, "only an operator ends it");
}

#[tokio::test]
async fn flaps_of_a_vault_never_revoke() {
    let house = House::new(90).await;
    for flap in 0..300 {
        house.vault.set(if flap % 2 == 0 { Mood::Silent("Reset") } else { Mood::Well });
        house.pass(Duration::from_secs(10)).await;
        assert!(matches!(house.state(), KeyState::Active | KeyState::Degraded), "{}", house.state());
        assert_eq!(house.pass_code().await, None);
    }
}

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
