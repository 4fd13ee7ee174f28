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
mod collection;
mod figures;
mod leaving;
mod nodes;
mod places;
mod planted;
mod quarantine;
mod rotation;
mod shred;
mod telling;
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
        Self::with(seed, true, STATES).await
    }

    /// No record is made of a pinned key's newer versions.
    async fn without_standby(seed: u64) -> Self {
        Self::with(seed, false, STATES).await
    }

    async fn with(seed: u64, standby_wrap: bool, states: StateConfig) -> Self {
        let sim = SimWorld::new(seed);
        let world = sim.world();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let objects = Arc::new(InMemory::new());
        let mut root = [0; 32];
        world.rng.fill(&mut root);
        let vault = MemoryVault::new(world.clone(), KekRef::new("https://vault.example/", "kek", None).unwrap());
        let rooms = Rooms::default();
        let (keys, watch) = open_with(&sim, &catalog, &objects, root, &vault, &rooms, standby_wrap, states).await;
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
            sku_ms: 0,
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
    open_with(sim, catalog, objects, root, vault, rooms, true, STATES).await
}

#[expect(clippy::too_many_arguments, reason = "a house has many parts")]
async fn open_with(
    sim: &SimWorld,
    catalog: &Catalog,
    objects: &Arc<InMemory>,
    root: [u8; 32],
    vault: &MemoryVault,
    rooms: &Rooms,
    standby_wrap: bool,
    states: StateConfig,
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
    let watch = Watch::new(deps, states);
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
