//! Three watchers of one catalog, each with its own connections, login and clock: a key that is taken away, in each way that there
//! is, goes from all of them, and comes back to all of them.
//!
//! The watchers are the real ones, with the real client against a real vault process, in real time. What a node serves is a
//! reader of each cluster on each of them that opens sealed cells as fast as it may: the whole way of a row is for `lock_load`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use reqwest::Method;
use strongroom_catalog::{Billing, Catalog, ClusterRow, ClusterState, IdentityType, LinkRow, WorkspaceRow};
use strongroom_control::ControlError;
use strongroom_control::audit::{Event, Scribe};
use strongroom_control::desk::KeyDesk;
use strongroom_control::watch::{Cut, Desk, Recall, Rewrite, Still, Unflushed, Vaults, Watch, WatchDeps};
use strongroom_envelope::{CellPlace, KeyGuard, Mmk, open_cell, seal_cell};
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::outbound::{Outbound, OutboundConfig};
use strongroom_keys::provider::azure::AzureKeyVault;
use strongroom_keys::provider::{KekRef, KeyFacts, KeyVault};
use strongroom_keys::state::StateConfig;
use strongroom_keys::{KeyError, KeyRing, Purpose};
use strongroom_model::{AccountId, Epoch, ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_tests::lock::{BOUND, VaultSite};
use strongroom_world::World;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Keys taken away; `STRONGROOM_TEST_REVOCATIONS` by hand.
const SAMPLES: usize = 20;
/// Side by side.
const CLUSTERS: usize = 20;
const NODES: usize = 3;
/// Acked before: cells of each cluster.
const ROWS: u8 = 8;
const PRINCIPAL: PrincipalId = PrincipalId::from_bytes([9; 16]);

/// How a customer takes their key away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Disabled,
    Deleted,
    GrantRemoved,
    /// The one version that the cluster is pinned to.
    VersionDisabled,
    /// The login is refused, which may be about us: held, not revoked. Nothing is served all the same.
    IdentityDeleted,
    /// Identity None, asked of one node: that one acts at once, the others read it in the cluster's row. No vault is asked.
    IdentityNone,
}

const WAYS: [Way; 6] = [Way::Disabled, Way::Deleted, Way::GrantRemoved, Way::VersionDisabled, Way::IdentityDeleted, Way::IdentityNone];

/// Where a customer changes things: in the vault, and at one node's control plane.
#[derive(Clone)]
struct Hands {
    vault: Arc<VaultSite>,
    catalog: Catalog,
    node: Arc<Node>,
}

/// One cluster of the customer's.
struct Locked {
    at: usize,
    row: ClusterRow,
    workspace: WorkspaceId,
    key: String,
    version: String,
    principal: String,
    public_key: String,
    cells: Vec<(CellPlace, Vec<u8>)>,
}

impl Locked {
    fn way(&self) -> Way {
        WAYS[self.at % WAYS.len()]
    }

    fn take_away(&self, hands: &Hands) {
        let vault = &hands.vault;
        match self.way() {
            Way::Disabled => vault.enable(&self.key, "", false),
            Way::Deleted => drop(vault.call(Method::DELETE, &format!("/keys/{}", self.key), None)),
            Way::GrantRemoved => vault.revoke(&self.principal),
            Way::VersionDisabled => vault.enable(&self.key, &self.version, false),
            Way::IdentityDeleted => drop(vault.call(Method::DELETE, &format!("/vault/identities/{}", self.principal), None)),
            Way::IdentityNone => Handle::current().block_on(async {
                assert!(hands.catalog.cluster_identity_remove(self.row.id, 1).await.unwrap());
                Desk(Arc::clone(&hands.node.watch)).remove_identity(&self.row).await.unwrap();
            }),
        }
    }

    fn give_back(&self, hands: &Hands) {
        let vault = &hands.vault;
        match self.way() {
            Way::Disabled => vault.enable(&self.key, "", true),
            Way::Deleted => drop(vault.call(Method::POST, &format!("/deletedkeys/{}/recover", self.key), None)),
            Way::GrantRemoved => vault.grant(&self.principal),
            Way::VersionDisabled => vault.enable(&self.key, &self.version, true),
            Way::IdentityDeleted => {
                vault.register(&self.row.name, &self.principal, &self.public_key);
                vault.grant(&self.principal);
            }
            Way::IdentityNone => Handle::current().block_on(async {
                assert!(hands.catalog.cluster_identity_restore(self.row.id, 2).await.unwrap());
                Desk(Arc::clone(&hands.node.watch)).restore_identity(&self.row).await.unwrap();
            }),
        }
    }

    fn code(&self) -> &'static str {
        if self.way() == Way::IdentityDeleted { "KeyAccessLost" } else { "CustomerKeyRevoked" }
    }
}

fn ca(vault: &VaultSite) -> String {
    std::fs::read_to_string(vault.dir().join("ca.pem")).unwrap()
}

/// Clients of the one vault; each has its connections for itself.
struct Clients {
    world: World,
    outbound: Outbound,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    fn make(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> AzureKeyVault {
        AzureKeyVault::new(self.outbound.fresh(), identity, kek.clone(), self.world.clone()).unwrap()
    }
}

#[async_trait]
impl Vaults for Clients {
    async fn validate(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError> {
        Ok(self.make(kek, identity).facts().await.map_err(KeyError::from)?)
    }
    async fn client(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError> {
        Ok(Arc::new(self.make(kek, identity)))
    }
}

/// What a node did with each account.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<BTreeMap<AccountId, Told>>>);

#[derive(Debug, Default)]
struct Told {
    /// When its gate was shut, and with what.
    gates: Vec<(Instant, &'static str)>,
    /// When a reader had an answer.
    served: Vec<Instant>,
    /// What refusals said.
    codes: BTreeSet<&'static str>,
}

impl Seen {
    fn with<T>(&self, account: AccountId, look: impl FnOnce(&mut Told) -> T) -> T {
        look(self.0.lock().unwrap().entry(account).or_default())
    }
}

impl Cut for Seen {
    fn cut(&self, account: AccountId, error: &KeyError) {
        let code = error.code();
        self.with(account, |told| told.gates.push((Instant::now(), code)));
    }
}

#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Recall for Nothing {
    async fn recall(&self, _: &[KeyGuard]) -> Result<u64, String> {
        Ok(0)
    }
}

#[async_trait]
impl Rewrite for Nothing {
    async fn carry(&self, _: Epoch, _: Epoch, _: Option<WorkspaceId>) -> Result<(), String> {
        Ok(())
    }
    async fn next(&self, _: Epoch, _: Epoch, _: Option<WorkspaceId>) -> Result<Option<u64>, String> {
        Ok(None)
    }
    async fn flush(&self, _: WorkspaceId) -> Result<(), String> {
        Ok(())
    }
    async fn retire(&self, _: Epoch) -> Result<bool, String> {
        Ok(true)
    }
}

#[async_trait]
impl Still for Nothing {
    async fn still(&self, _: WorkspaceId) -> Box<dyn std::any::Any + Send> {
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

/// The chain has one writer; these three would be nodes of a cluster.
impl Scribe for Nothing {
    fn note(&self, _: Event) {}
}

struct Node {
    world: World,
    keys: Arc<KeyRing>,
    watch: Arc<Watch>,
    seen: Seen,
}

impl Node {
    async fn open(path: &Path, objects: &Arc<InMemory>, root: [u8; 32], vault: &VaultSite) -> Self {
        let world = World::real();
        let catalog = Catalog::open(path, world.clone()).await.unwrap();
        let mmk = Arc::new(Mmk::from_bytes(root));
        let keys = KeyRing::open(world.clone(), catalog.clone(), Arc::clone(objects) as Arc<dyn ObjectStore>, mmk).await.unwrap();
        let config = OutboundConfig { allow: vec!["127.0.0.1/32".to_owned()], ..OutboundConfig::default() };
        let outbound = Outbound::open(&world, &config, &[&ca(vault)]).unwrap();
        let seen = Seen::default();
        let deps = WatchDeps {
            world: world.clone(),
            catalog,
            keys: Arc::clone(&keys),
            vaults: Arc::new(Clients { world: world.clone(), outbound }),
            cut: Arc::new(seen.clone()),
            forget: Vec::new(),
            recall: Arc::new(Nothing),
            still: Arc::new(Nothing),
            audit: Arc::new(Nothing),
            rewrite: Arc::new(Nothing),
            standby_wrap: true,
            tenant: None,
        };
        let brisk = StateConfig { poll_interval: Duration::from_secs(8), confirm_after: Duration::from_secs(1), ..StateConfig::default() };
        Self { world, watch: Watch::new(deps, brisk), keys, seen }
    }

    /// One answer: a cell opened, under a pass that was still good when it was done.
    async fn serve(&self, locked: &Locked, at: usize) -> Result<Instant, &'static str> {
        let account = locked.row.account.unwrap();
        let pass = self.keys.pass(account).await.map_err(|error| error.code())?;
        let (place, cell) = &locked.cells[at % locked.cells.len()];
        let warrant = self.keys.warrant(PRINCIPAL, locked.workspace, place.table).await.map_err(|error| error.code())?;
        let guard = self.keys.guard_for(place.epoch, &warrant).await.map_err(|error| error.code())?;
        let opened = open_cell(&guard, self.world.clock.boot(), place, cell).map_err(|error| error.code())?;
        let done = Instant::now();
        pass.check().map_err(|error| error.code())?;
        assert_eq!(opened, row_text(locked.at, at % locked.cells.len()), "a row is what it was");
        Ok(done)
    }

    /// Reads one cluster for ever.
    async fn read(&self, locked: &Locked) {
        let account = locked.row.account.unwrap();
        for at in 0.. {
            let answer = self.serve(locked, at).await;
            self.seen.with(account, |told| match answer {
                Ok(done) => told.served.push(done),
                Err(code) => drop(told.codes.insert(code)),
            });
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
}

fn row_text(cluster: usize, at: usize) -> Vec<u8> {
    format!("cluster {cluster}, row {at}, acked before").into_bytes()
}

/// A cluster under a key of its own, with rows, made on the first node.
async fn locked_cluster(at: usize, node: &Node, catalog: &Catalog, vault: &VaultSite) -> Locked {
    let desk = Desk(Arc::clone(&node.watch));
    let mint = || node.world.id_seed();
    let (ms, random) = mint();
    let id = ObjectId::mint(ms, random);
    let identity = desk.new_identity(id).await.unwrap();
    let (principal, public_key) = (identity.principal.clone(), identity.public_key_pem.clone());
    let (name, key) = (format!("watched-{at}"), format!("kek-{at}"));
    let version = tokio::task::block_in_place(|| {
        vault.create_key(&key);
        vault.register(&name, &principal, &public_key);
        vault.grant(&principal);
        vault.newest(&key)
    });
    let mut row = ClusterRow {
        id,
        name,
        subscription: "subscription".to_owned(),
        resource_group: "default".to_owned(),
        region: "local".to_owned(),
        account: None,
        state: ClusterState::Succeeded,
        identity_type: IdentityType::SystemAssigned,
        identity: Some(identity),
        user_identity: None,
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
    let account = desk.open_account(id, "local", true).await.unwrap();
    row.account = Some(account);
    catalog.cluster_insert(&row).await.unwrap();
    let pinned = (WAYS[at % WAYS.len()] == Way::VersionDisabled).then_some(version.as_str());
    desk.set_key(&row, KekRef::new(vault.base(), &key, pinned).unwrap()).await.unwrap();

    let (ms, random) = mint();
    let workspace = WorkspaceId::mint(ms, random);
    let home = WorkspaceRow {
        id: workspace,
        name: format!("shop-{at}").parse().unwrap(),
        account,
        subscription: "subscription".to_owned(),
        resource_group: "default".to_owned(),
        region: "local".to_owned(),
        created_ms: 0,
        retention_days: 30,
        link: Some(LinkRow { cluster: id, linked_ms: 0 }),
    };
    catalog.workspace_insert(&home).await.unwrap();
    let epoch = node.keys.write_epoch(account).await.unwrap();
    let guard = node.keys.guard(epoch, workspace, PRINCIPAL, Purpose::Ingest).await.unwrap();
    let cells = (0..ROWS).map(|n| {
        let place = CellPlace { epoch, workspace, table: TableId::NIL, row: ObjectId::from_bytes([n + 1; 16]) };
        let now = node.world.clock.boot();
        (place, seal_cell(&guard, now, node.world.rng.as_ref(), &place, &row_text(at, usize::from(n))).unwrap())
    });
    Locked { at, workspace, key, version, principal, public_key, cells: cells.collect(), row }
}

/// Waits until something holds of every cluster on every node.
async fn until(what: &str, since: Instant, mut holds: impl FnMut() -> bool) {
    while !holds() {
        assert!(since.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn p50_p100(took: &mut [Duration]) -> String {
    took.sort_unstable();
    format!("{:.1} s | {:.1} s", took[took.len() / 2].as_secs_f64(), took[took.len() - 1].as_secs_f64())
}

#[test]
fn each_way_of_taking_a_key_away_reaches_three_watchers_within_a_minute_and_so_does_its_return() {
    let samples = std::env::var("STRONGROOM_TEST_REVOCATIONS").map_or(SAMPLES, |n| n.parse().expect("a number"));
    strongroom_tests::choose_ciphers();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(watched(samples));
}

async fn watched(samples: usize) {
    let vault = Arc::new(tokio::task::spawn_blocking(VaultSite::start).await.unwrap());
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("catalog.sqlite");
    let (objects, root) = (Arc::new(InMemory::new()), [7; 32]);
    let mut nodes = vec![Arc::new(Node::open(&path, &objects, root, &vault).await)];
    let catalog = Catalog::open(&path, World::real()).await.unwrap();
    let mut all = Vec::new();
    for at in 0..CLUSTERS.min(samples) {
        let (node, catalog, vault) = (Arc::clone(&nodes[0]), catalog.clone(), Arc::clone(&vault));
        all.push(Arc::new(tokio::spawn(async move { locked_cluster(at, &node, &catalog, &vault).await }).await.unwrap()));
    }
    while nodes.len() < NODES {
        let node = Node::open(&path, &objects, root, &vault).await;
        node.watch.start().await.unwrap();
        nodes.push(Arc::new(node));
    }
    for (node, locked) in nodes.iter().flat_map(|node| all.iter().map(move |locked| (node, locked))) {
        let (node, locked) = (Arc::clone(node), Arc::clone(locked));
        tokio::spawn(async move { node.read(&locked).await });
    }
    let told = |node: &Node, locked: &Locked, look: &dyn Fn(&Told) -> bool| node.seen.with(locked.row.account.unwrap(), |told| look(told));
    let everywhere = |look: &dyn Fn(&Locked, &Told) -> bool| {
        nodes.iter().all(|node| all.iter().all(|locked| told(node, locked, &|told| look(locked, told))))
    };
    let hands = Hands { vault: Arc::clone(&vault), catalog: catalog.clone(), node: Arc::clone(&nodes[0]) };
    let start = Instant::now();
    until("everything is served everywhere", start, || everywhere(&|_, told| told.served.len() > 5)).await;

    let (mut to_gate, mut to_return) = (BTreeMap::<Way, Vec<Duration>>::new(), BTreeMap::<Way, Vec<Duration>>::new());
    for round in 0..samples.div_ceil(CLUSTERS) {
        for node in &nodes {
            node.seen.0.lock().unwrap().values_mut().for_each(|told| *told = Told::default());
        }
        let change = async |back: bool| {
            let (hands, all) = (hands.clone(), all.clone());
            let changed = tokio::task::spawn_blocking(move || {
                let change = |locked: &Arc<Locked>| {
                    // A change at a control plane is made once it is answered, with everything shut on that node.
                    let began = Instant::now();
                    if back {
                        locked.give_back(&hands);
                    } else {
                        locked.take_away(&hands);
                    }
                    let at = if locked.way() == Way::IdentityNone { began } else { Instant::now() };
                    // Spread over a poll, as customers' decisions are.
                    std::thread::sleep(Duration::from_millis(150));
                    at
                };
                all.iter().map(change).collect::<Vec<_>>()
            });
            changed.await.unwrap()
        };
        let taken = change(false).await;
        until("every gate is shut", Instant::now(), || everywhere(&|_, told| !told.gates.is_empty())).await;
        // Long enough for whatever would still come.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for (node, locked) in nodes.iter().flat_map(|node| all.iter().map(move |locked| (node, locked))) {
            node.seen.with(locked.row.account.unwrap(), |told| {
                let name = format!("round {round}, {} ({:?})", locked.row.name, locked.way());
                let (gate, code) = told.gates[0];
                assert_eq!((told.gates.len(), code), (1, locked.code()), "{name}: {:?}", told.gates);
                let late = told.served.iter().filter(|at| **at > gate).count();
                assert_eq!(late, 0, "{name}: answers after the gate was shut");
                assert!(told.codes.contains(locked.code()), "{name}: {:?}", told.codes);
                let took = gate.duration_since(taken[locked.at]);
                assert!(took <= BOUND, "{name}: {took:?}");
                to_gate.entry(locked.way()).or_default().push(took);
                told.served.clear();
            });
        }
        let given = change(true).await;
        until("everything is served again", Instant::now(), || everywhere(&|_, told| told.served.len() > 2 * usize::from(ROWS))).await;
        for (node, locked) in nodes.iter().flat_map(|node| all.iter().map(move |locked| (node, locked))) {
            // Each of the rows in turn was among what was served.
            let first = node.seen.with(locked.row.account.unwrap(), |told| told.served[0]);
            let took = first.saturating_duration_since(given[locked.at]);
            assert!(took <= BOUND, "round {round}, {}: back after {took:?}", locked.row.name);
            to_return.entry(locked.way()).or_default().push(took);
        }
    }
    println!("| way | watchers × keys | taken away → last gate p50 | p100 | given back → served p50 | p100 |\n|---|---|---|---|---|---|");
    for way in WAYS {
        let (Some(gate), Some(back)) = (to_gate.get_mut(&way), to_return.get_mut(&way)) else { continue };
        println!("| {way:?} | {} | {} | {} |", gate.len(), p50_p100(gate), p50_p100(back));
    }
    for node in &nodes {
        node.watch.stop();
    }
}
