use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use strongroom_catalog::WorkspaceRow;
use strongroom_envelope::{CellPlace, open_cell, seal_cell};
use strongroom_model::{ErrorKind, KeyClass, TableId};
use strongroom_world::sim::SimWorld;

use super::*;
use crate::records::copy_path;

const PRINCIPAL: PrincipalId = PrincipalId::from_bytes([9; 16]);

struct Site {
    world: World,
    catalog: Catalog,
    objects: Arc<InMemory>,
    root: [u8; 32],
}

impl Site {
    async fn new(seed: u64) -> Self {
        let world = SimWorld::new(seed).world();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let mut root = [0; 32];
        world.rng.fill(&mut root);
        Self { world, catalog, objects: Arc::new(InMemory::new()), root }
    }

    async fn try_open(&self) -> Result<Arc<KeyRing>, KeyError> {
        let objects = Arc::clone(&self.objects) as Arc<dyn ObjectStore>;
        KeyRing::open(self.world.clone(), self.catalog.clone(), objects, Arc::new(Mmk::from_bytes(self.root))).await
    }

    async fn open(&self) -> Arc<KeyRing> {
        self.try_open().await.unwrap()
    }

    async fn workspace(&self, ring: &KeyRing, name: &str) -> WorkspaceId {
        let (ms, random) = self.world.id_seed();
        let id = WorkspaceId::mint(ms, random);
        let row = WorkspaceRow {
            id,
            name: name.parse().unwrap(),
            account: ring.shared_account(),
            subscription: "subscription".to_owned(),
            resource_group: "default".to_owned(),
            region: REGION.to_owned(),
            created_ms: 0,
            retention_days: 30,
            link: None,
        };
        self.catalog.workspace_insert(&row).await.unwrap();
        id
    }

    async fn copy(&self, epoch: Epoch) -> Vec<u8> {
        self.objects.get(&copy_path(epoch.account, epoch.aek)).await.unwrap().bytes().await.unwrap().to_vec()
    }
}

#[tokio::test]
async fn the_first_start_makes_an_account_a_key_and_a_copy_beside_the_data_and_later_ones_find_them() {
    let site = Site::new(1).await;
    let first = site.open().await;
    let epoch = first.write_epoch(first.shared_account()).await.unwrap();
    let row = site.catalog.aek(epoch.aek).await.unwrap().unwrap();
    assert_eq!(site.copy(epoch).await, row.record);
    assert_eq!((row.class, row.generation, row.current), (KeyClass::Mmk, 1, true));

    let second = site.open().await;
    assert_eq!(second.epochs().await.unwrap(), [epoch]);
    assert_eq!(second.shared_account(), first.shared_account());
    assert_eq!(second.write_epoch(epoch.account).await.unwrap(), epoch);
    assert_eq!(site.catalog.accounts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_sealed_before_a_restart_opens_after_it() {
    let site = Site::new(2).await;
    let ring = site.open().await;
    let workspace = site.workspace(&ring, "shop").await;
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    let place = CellPlace { epoch, workspace, table: TableId::NIL, row: ObjectId::from_bytes([4; 16]) };
    let now = site.world.clock.boot();
    let guard = ring.guard(epoch, workspace, PRINCIPAL, Purpose::Ingest).await.unwrap();
    let cell = seal_cell(&guard, now, site.world.rng.as_ref(), &place, b"paid").unwrap();

    let ring = site.open().await;
    let guard = {
        let warrant = ring.warrant(PRINCIPAL, workspace, TableId::NIL).await.unwrap();
        ring.guard_for(epoch, &warrant).await.unwrap()
    };
    assert_eq!(open_cell(&guard, now, &place, &cell).unwrap(), b"paid");
    assert!(guard.check(BootTime(u64::MAX - 1)).is_ok(), "an MMK guard has no deadline");
}

#[tokio::test]
async fn only_ingest_makes_a_workspaces_secret_and_many_at_once_make_one() {
    let site = Site::new(3).await;
    let ring = site.open().await;
    let workspace = site.workspace(&ring, "shop").await;
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    let warrant = ring.warrant(PRINCIPAL, workspace, TableId::NIL).await.unwrap();
    for refused in [ring.guard(epoch, workspace, PRINCIPAL, Purpose::Maintain).await, ring.guard_for(epoch, &warrant).await] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, KeyError::NoSecret { .. }));
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::NotFound, "WorkspaceKeyNotFound"));
    }

    // Two rings are two processes that race for the first row.
    let rival = site.open().await;
    let (mine, theirs) =
        tokio::join!(ring.guard(epoch, workspace, PRINCIPAL, Purpose::Ingest), rival.guard(epoch, workspace, PRINCIPAL, Purpose::Ingest),);
    let place = CellPlace { epoch, workspace, table: TableId::NIL, row: ObjectId::from_bytes([4; 16]) };
    let now = site.world.clock.boot();
    let cell = seal_cell(&mine.unwrap(), now, site.world.rng.as_ref(), &place, b"one secret").unwrap();
    assert_eq!(open_cell(&theirs.unwrap(), now, &place, &cell).unwrap(), b"one secret");
}

#[tokio::test]
async fn a_workspaces_keys_do_not_open_anothers_cells() {
    let site = Site::new(4).await;
    let ring = site.open().await;
    let (mine, theirs) = (site.workspace(&ring, "mine").await, site.workspace(&ring, "theirs").await);
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    let now = site.world.clock.boot();
    let guard = ring.guard(epoch, mine, PRINCIPAL, Purpose::Ingest).await.unwrap();
    ring.guard(epoch, theirs, PRINCIPAL, Purpose::Ingest).await.unwrap();
    let place = |workspace| CellPlace { epoch, workspace, table: TableId::NIL, row: ObjectId::from_bytes([4; 16]) };
    let cell = seal_cell(&guard, now, site.world.rng.as_ref(), &place(mine), b"mine").unwrap();
    assert!(open_cell(&guard, now, &place(theirs), &cell).is_err());
}

#[tokio::test]
async fn another_root_key_is_refused_at_start() {
    let mut site = Site::new(5).await;
    drop(site.open().await);
    site.root[0] ^= 1;
    let refused = site.try_open().await.unwrap_err();
    assert!(matches!(refused, KeyError::Vault(VaultError::NotAuthentic { .. })));
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Corrupt, "IntegrityError"));
}

#[tokio::test]
async fn a_lost_or_damaged_copy_is_written_again_at_the_next_start() {
    let site = Site::new(6).await;
    let ring = site.open().await;
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    let path = copy_path(epoch.account, epoch.aek);
    let record = site.copy(epoch).await;
    site.objects.delete(&path).await.unwrap();
    drop(site.open().await);
    assert_eq!(site.copy(epoch).await, record);
    site.objects.put(&path, b"damaged".to_vec().into()).await.unwrap();
    drop(site.open().await);
    assert_eq!(site.copy(epoch).await, record);
}

#[tokio::test]
async fn a_record_older_than_its_copy_beside_the_data_is_refused() {
    let site = Site::new(7).await;
    let ring = site.open().await;
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    let mut newer = WrappedAek::from_bytes(&site.copy(epoch).await).unwrap();
    newer.ids.generation = 2;
    site.objects.put(&copy_path(epoch.account, epoch.aek), newer.to_bytes().into()).await.unwrap();
    let refused = site.try_open().await.unwrap_err();
    assert!(matches!(refused, KeyError::Stale { found: 1, highest: 2, .. }), "{refused}");
}

#[tokio::test]
async fn a_record_below_the_highest_generation_seen_is_refused() {
    let generations = Generations::default();
    let ids = |generation| RecordIds { cluster: ObjectId::NIL, account: AccountId::NIL, aek: AekId::NIL, generation };
    generations.admit(&ids(3)).unwrap();
    generations.admit(&ids(3)).unwrap();
    assert!(matches!(generations.admit(&ids(2)), Err(KeyError::Stale { found: 2, highest: 3, .. })));
    generations.admit(&ids(4)).unwrap();
}

/// The check: a catalog from before a key was wrapped again, put back under a running data store, is not accepted.
async fn an_old_catalog_is_refused(seed: u64, compared: bool) -> Result<(), String> {
    let site = Site::new(seed).await;
    let ring = site.open().await;
    let account = ring.shared_account();
    let old = site.catalog.aek_current(account).await.unwrap().unwrap();
    let record = WrappedAek::from_bytes(&old.record).unwrap();
    let aek = ring.provider.unwrap_key(&record).await.unwrap();
    let newer = ring.provider.wrap_key(&aek, &RecordIds { generation: 2, ..record.ids }).await.unwrap();
    site.catalog.aek_rewrap(&AekRow { generation: 2, record: newer.to_bytes(), ..old.clone() }).await.unwrap();
    ring.kept_record(&newer).await;

    let catalog = Catalog::memory(site.world.clone()).await.unwrap();
    catalog.account_insert(&AccountRow { id: account, region: REGION.to_owned(), cluster: None }).await.unwrap();
    catalog.aek_insert(&old).await.unwrap();
    // The bug: nothing is compared with the copies beside the data.
    let objects = if compared { Arc::clone(&site.objects) } else { Arc::new(InMemory::new()) };
    match (Site { catalog, objects, ..site }).try_open().await {
        Err(KeyError::Stale { found: 1, highest: 2, .. }) => Ok(()),
        other => Err(format!("an old record: {:?}", other.map(drop))),
    }
}

/// One of the planted bugs; `strongroom-control` has the list.
#[tokio::test]
async fn accepting_an_old_record_is_found_out() {
    an_old_catalog_is_refused(15, true).await.unwrap();
    assert_eq!(an_old_catalog_is_refused(16, false).await.unwrap_err(), "an old record: Ok(())");
}

#[tokio::test]
async fn unknown_epochs_and_foreign_accounts_have_no_guard() {
    let site = Site::new(8).await;
    let ring = site.open().await;
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    let other = AccountId::from_bytes([7; 16]);
    assert!(matches!(ring.epoch_guard(Epoch { aek: AekId::NIL, ..epoch }).await, Err(KeyError::NoKey { .. })));
    assert!(matches!(ring.epoch_guard(Epoch { account: other, ..epoch }).await, Err(KeyError::WrongRecord { .. })));
    assert!(matches!(ring.write_epoch(other).await, Err(KeyError::NoAccount { .. })));
}

#[tokio::test]
async fn a_killed_guard_stays_killed_for_all_who_ask_again() {
    let site = Site::new(9).await;
    let ring = site.open().await;
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    ring.epoch_guard(epoch).await.unwrap().kill();
    let refused = ring.epoch_guard(epoch).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::KeyRevoked, "CustomerKeyRevoked"));
}

mod customers {
    use std::time::Duration;

    use super::*;
    use crate::provider::KekRef;
    use crate::provider::memory::{Call, MemoryVault, Mood};
    use crate::{Shut, Standing};

    const LEASE: Duration = Duration::from_mins(30);
    const CLUSTER: ObjectId = ObjectId::from_bytes([4; 16]);

    struct Customer {
        site: Site,
        ring: Arc<KeyRing>,
        vault: MemoryVault,
        account: AccountId,
    }

    impl Customer {
        async fn new(seed: u64, double: bool) -> Self {
            let site = Site::new(seed).await;
            let ring = site.open().await;
            let vault = MemoryVault::new(site.world.clone(), KekRef::new("https://vault.example/", "kek", None).unwrap());
            let account = ring.open_account("local", CLUSTER, double).await.unwrap();
            ring.gate(account, CLUSTER, "shop", Standing::Open);
            Self { site, ring, vault, account }
        }
    }

    #[tokio::test]
    async fn a_customer_epoch_reigns_from_its_proof_on_and_is_never_unwrapped_for_a_request() {
        let it = Customer::new(21, true).await;
        let before = it.ring.write_epoch(it.account).await.unwrap();
        assert_eq!(it.ring.epoch_guard(before).await.unwrap().class(), KeyClass::Mmk);
        let epoch = it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        assert_eq!(it.ring.write_epoch(it.account).await.unwrap(), epoch);
        let guard = it.ring.epoch_guard(epoch).await.unwrap();
        assert_eq!((guard.class(), guard.is_double()), (KeyClass::Cmk, true));
        assert!(it.ring.epoch_guard(before).await.unwrap().is_double(), "both layers from the account's first day");
        let asked = it.vault.calls().len();
        let again = it.site.open().await;
        let refused = again.epoch_guard(epoch).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unavailable, "KeyVaultUnavailable"));
        assert_eq!(it.vault.calls().len(), asked, "no request and no start asks a vault");
        let polled = again.poll(it.account, &it.vault, 0, LEASE).await.unwrap();
        assert_eq!(polled.returned.len(), 1);
        assert!(again.epoch_guard(epoch).await.is_ok());
    }

    /// A vault that wraps and does not unwrap (a disabled key does that) is given nothing: no epoch begins, no record is replaced.
    #[tokio::test]
    async fn what_a_vault_does_not_give_back_is_not_kept() {
        let it = Customer::new(36, true).await;
        let before = it.ring.write_epoch(it.account).await.unwrap();
        it.vault.set(Mood::WrapsOnly);
        assert!(it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.is_err());
        assert_eq!(it.ring.write_epoch(it.account).await.unwrap(), before);
        assert!(it.ring.customer_records(it.account).await.unwrap().is_empty());
        it.vault.set(Mood::Well);
        it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        let records = it.ring.customer_records(it.account).await.unwrap();
        it.vault.rotate();
        // The live record still unwraps; what the newer version wrapped does not.
        it.vault.script([(Call::Unwrap, Mood::Well), (Call::Unwrap, Mood::Denies("KeyDisabled"))]);
        let uri = records[0].key_uri.clone();
        assert!(it.ring.rewrap(it.account, &it.vault, &it.vault, &uri, "v2").await.is_err());
        assert_eq!(it.ring.customer_records(it.account).await.unwrap(), records, "the one before is still there");
        it.vault.script([(Call::Unwrap, Mood::Well), (Call::Unwrap, Mood::Denies("KeyDisabled"))]);
        assert!(it.ring.supersede(it.account, CLUSTER, &it.vault, &it.vault, LEASE).await.is_err());
        assert_eq!(it.ring.customer_records(it.account).await.unwrap(), records);
    }

    #[tokio::test]
    async fn a_clusters_old_record_shuts_that_cluster_and_the_ring_opens_for_all_others() {
        let it = Customer::new(37, true).await;
        let epoch = it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        let old = it.site.catalog.aek_current(it.account).await.unwrap().unwrap();
        it.vault.rotate();
        let uri = it.ring.customer_records(it.account).await.unwrap()[0].key_uri.clone();
        assert_eq!(it.ring.rewrap(it.account, &it.vault, &it.vault, &uri, "v2").await.unwrap(), 1);
        let copy = it.site.copy(epoch).await;
        it.site.catalog.aek_mend(&old).await.unwrap();

        let again = it.site.open().await;
        assert!(again.is_distrusted(it.account) && !again.is_distrusted(again.shared_account()));
        assert!(matches!(again.standing(it.account), Some(Standing::Shut(Shut::Quarantined, _))), "before anybody watches it");
        assert_eq!(again.pass(it.account).await.unwrap_err().code(), "KeyQuarantined");
        let asked = it.vault.calls().len();
        assert_eq!(again.poll(it.account, &it.vault, 0, LEASE).await.unwrap_err().code(), "IntegrityError");
        assert_eq!(it.vault.calls().len(), asked, "no vault is asked for it");
        again.epoch_guard(again.write_epoch(again.shared_account()).await.unwrap()).await.unwrap();
        // An older copy mends nothing; the right one does.
        let path = copy_path(it.account, epoch.aek);
        it.site.objects.put(&path, old.record.into()).await.unwrap();
        assert_eq!(again.mend_records(it.account).await.unwrap(), 0);
        it.site.objects.put(&path, copy.into()).await.unwrap();
        assert_eq!(again.mend_records(it.account).await.unwrap(), 1);
        assert_eq!(again.prove(it.account, &it.vault).await.unwrap(), 1);
        assert_eq!(again.customer_records(it.account).await.unwrap()[0].key_version, "v2");
    }

    #[tokio::test]
    async fn a_guard_ends_with_its_lease_whoever_hangs() {
        let sim = SimWorld::new(22);
        let catalog = Catalog::memory(sim.world()).await.unwrap();
        let mmk = Arc::new(Mmk::generate(sim.world().rng.as_ref()));
        let ring = KeyRing::open(sim.world(), catalog, Arc::new(InMemory::new()), mmk).await.unwrap();
        let vault = MemoryVault::new(sim.world(), KekRef::new("https://vault.example/", "kek", None).unwrap());
        let account = ring.open_account("local", CLUSTER, false).await.unwrap();
        let epoch = ring.begin_customer_epoch(account, CLUSTER, &vault, LEASE).await.unwrap();
        sim.clock().advance(Duration::from_secs(1_799));
        let guard = ring.epoch_guard(epoch).await.unwrap();
        sim.clock().advance(Duration::from_secs(1));
        assert_eq!(ring.epoch_guard(epoch).await.unwrap_err().code(), "KeyVaultUnavailable");
        assert!(guard.check(sim.world().clock.boot()).is_err(), "whoever held it has nothing either");
        ring.poll(account, &vault, 0, LEASE).await.unwrap();
        assert!(ring.epoch_guard(epoch).await.is_ok(), "a good poll renews it");
    }

    #[tokio::test]
    async fn a_shut_gate_answers_for_the_account_and_voids_what_was_given_out() {
        let it = Customer::new(23, true).await;
        let epoch = it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        let (pass, guard) = (it.ring.pass(it.account).await.unwrap(), it.ring.epoch_guard(epoch).await.unwrap());
        let gate = it.ring.gate(it.account, CLUSTER, "shop", Standing::Open);
        gate.set(Standing::Shut(Shut::Revoked, 7));
        assert_eq!(it.ring.kill(it.account), [epoch]);
        for refused in
            [pass.check().unwrap_err(), it.ring.pass(it.account).await.unwrap_err(), it.ring.epoch_guard(epoch).await.unwrap_err()]
        {
            assert_eq!((refused.kind(), refused.code()), (ErrorKind::KeyRevoked, "CustomerKeyRevoked"), "{refused}");
            assert!(refused.to_string().contains("cluster shop"), "{refused}");
        }
        assert!(guard.check(it.site.world.clock.boot()).is_err());
        assert!(it.ring.pass(it.ring.shared_account()).await.is_ok(), "others are not touched");
        it.vault.set(Mood::Denies("KeyDisabled"));
        assert!(it.ring.poll(it.account, &it.vault, 0, LEASE).await.is_err());
        it.vault.set(Mood::Well);
        it.ring.poll(it.account, &it.vault, 0, LEASE).await.unwrap();
        gate.set(Standing::Open);
        assert!(it.ring.epoch_guard(epoch).await.is_ok());
        assert!(pass.check().is_err(), "an old pass stays void");
    }

    #[tokio::test]
    async fn a_new_version_wraps_again_and_another_key_starts_an_epoch() {
        let it = Customer::new(24, true).await;
        let uri = "https://vault.example/keys/kek";
        let epoch = it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        it.vault.rotate();
        assert_eq!(it.ring.rewrap(it.account, &it.vault, &it.vault, uri, "v2").await.unwrap(), 1);
        assert_eq!(it.ring.rewrap(it.account, &it.vault, &it.vault, uri, "v2").await.unwrap(), 0, "once is enough");
        assert_eq!(it.ring.customer_records(it.account).await.unwrap()[0].key_version, "v2");
        let other = MemoryVault::new(it.site.world.clone(), KekRef::new("https://other.example/", "kek", None).unwrap());
        let next = it.ring.supersede(it.account, CLUSTER, &it.vault, &other, LEASE).await.unwrap();
        assert_ne!(next, epoch);
        assert_eq!(it.ring.write_epoch(it.account).await.unwrap(), next);
        let records = it.ring.customer_records(it.account).await.unwrap();
        assert!(records.iter().all(|record| record.key_uri == "https://other.example/keys/kek"), "one key in use: {records:?}");
        let again = it.site.open().await;
        assert_eq!(again.poll(it.account, &other, 0, LEASE).await.unwrap().returned.len(), 2);
        assert!(again.poll(it.account, &it.vault, 0, LEASE).await.is_err(), "the old key opens nothing");
        assert_eq!(
            it.copy(next).await,
            again.customer_records(it.account).await.unwrap().iter().find(|r| r.ids.aek == next.aek).unwrap().to_bytes()
        );
    }

    #[tokio::test]
    async fn what_rows_are_sealed_to_is_known_without_a_vault_and_compared_at_each_unwrap() {
        let it = Customer::new(25, false).await;
        let epoch = it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        let (of, key) = it.ring.buffer_key(it.account).await.unwrap();
        assert_eq!(of, epoch);
        // Another start, whose vault says nothing.
        it.vault.set(Mood::Silent("Timeout"));
        assert_eq!(it.site.open().await.buffer_key(it.account).await.unwrap(), (epoch, key));
        it.vault.set(Mood::Well);

        // The same catalog but for that key: one that nobody vouches for, and one that the provider itself put there.
        let mmk = Mmk::from_bytes(it.site.root);
        let rng = it.site.world.rng.as_ref();
        let foreign = Aek::generate(epoch.aek, rng).buffer_key();
        let (stranger, provider) = (Mmk::generate(rng), mmk);
        for cell in [stranger.seal_buffer_key(rng, epoch, &key), provider.seal_buffer_key(rng, epoch, &foreign)] {
            let catalog = Catalog::memory(it.site.world.clone()).await.unwrap();
            for account in it.site.catalog.accounts().await.unwrap() {
                catalog.account_insert(&account).await.unwrap();
                for aek in it.site.catalog.aeks(account.id).await.unwrap() {
                    catalog.aek_insert(&aek).await.unwrap();
                }
            }
            catalog.buffer_key_put(epoch.aek, &cell).await.unwrap();
            let objects = Arc::clone(&it.site.objects) as Arc<dyn ObjectStore>;
            let other = KeyRing::open(it.site.world.clone(), catalog, objects, Arc::new(Mmk::from_bytes(it.site.root))).await.unwrap();
            let refused = other.poll(it.account, &it.vault, 0, LEASE).await.unwrap_err();
            assert_eq!((refused.code(), refused.kind()), ("IntegrityError", ErrorKind::Corrupt), "{refused}");
            assert!(other.epoch_guard(epoch).await.is_err(), "and no guard is made");
        }
        // One from before there were such keys gets its own at the first unwrap.
        let none = Catalog::memory(it.site.world.clone()).await.unwrap();
        for account in it.site.catalog.accounts().await.unwrap() {
            none.account_insert(&account).await.unwrap();
            for aek in it.site.catalog.aeks(account.id).await.unwrap() {
                none.aek_insert(&aek).await.unwrap();
            }
        }
        let objects = Arc::clone(&it.site.objects) as Arc<dyn ObjectStore>;
        let other = KeyRing::open(it.site.world.clone(), none, objects, Arc::new(Mmk::from_bytes(it.site.root))).await.unwrap();
        assert!(other.buffer_key(it.account).await.is_err());
        other.poll(it.account, &it.vault, 0, LEASE).await.unwrap();
        assert_eq!(other.buffer_key(it.account).await.unwrap(), (epoch, key));
    }

    #[tokio::test]
    async fn a_waiting_record_opens_nothing_until_the_key_is_moved_to_its_version_and_then_saves_the_data() {
        let it = Customer::new(25, true).await;
        let uri = "https://vault.example/keys/kek";
        let (one, two) = (it.vault.pinned(Some("v1")), it.vault.pinned(Some("v2")));
        let first = it.ring.begin_customer_epoch(it.account, CLUSTER, &one, LEASE).await.unwrap();
        it.vault.rotate();
        assert_eq!(it.ring.stand_by(it.account, &one, &two, "v2").await.unwrap(), 1);
        assert_eq!(it.ring.stand_by(it.account, &one, &two, "v2").await.unwrap(), 0, "once is enough");
        // A younger AEK, and a generation above the record that waits.
        let second = it.ring.begin_customer_epoch(it.account, CLUSTER, &one, LEASE).await.unwrap();
        assert_eq!(it.ring.stand_by(it.account, &one, &two, "v2").await.unwrap(), 1);
        assert_eq!(it.waiting().await.len(), 2, "copies beside the data");
        it.vault.disable("v1", true);
        // A poll and a start go by the live records alone.
        assert!(it.ring.poll(it.account, &two, 0, LEASE).await.is_err());
        let again = it.site.open().await;
        assert!(again.poll(it.account, &one, 0, LEASE).await.is_err());
        assert_eq!(again.rewrap(it.account, &one, &two, uri, "v2").await.unwrap(), 2);
        let records = again.customer_records(it.account).await.unwrap();
        assert!(records.iter().all(|record| record.key_version == "v2"), "{records:?}");
        assert_eq!(again.poll(it.account, &two, 0, LEASE).await.unwrap().returned.len(), 2);
        assert!(again.epoch_guard(first).await.is_ok() && again.epoch_guard(second).await.is_ok());
        assert!(it.waiting().await.is_empty() && it.ring.standbys(it.account).await.unwrap().is_empty());
        drop(it.site.open().await);
    }

    #[tokio::test]
    async fn without_a_waiting_record_nothing_changes_until_the_old_version_is_back() {
        let it = Customer::new(26, true).await;
        let uri = "https://vault.example/keys/kek";
        let (one, two) = (it.vault.pinned(Some("v1")), it.vault.pinned(Some("v2")));
        for _ in 0..2 {
            it.ring.begin_customer_epoch(it.account, CLUSTER, &one, LEASE).await.unwrap();
        }
        it.vault.rotate();
        it.ring.stand_by(it.account, &one, &two, "v2").await.unwrap();
        it.ring.begin_customer_epoch(it.account, CLUSTER, &one, LEASE).await.unwrap();
        it.vault.disable("v1", true);
        let before = it.ring.customer_records(it.account).await.unwrap();
        let refused = it.ring.rewrap(it.account, &one, &two, uri, "v2").await.unwrap_err();
        assert!(matches!(refused, KeyError::Vault(VaultError::Denied { code: "KeyDisabled" })), "{refused}");
        assert_eq!(it.ring.customer_records(it.account).await.unwrap(), before, "all or nothing");
        it.vault.disable("v1", false);
        assert_eq!(it.ring.rewrap(it.account, &one, &two, uri, "v2").await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_waiting_record_of_another_place_or_that_does_not_open_is_not_believed() {
        let it = Customer::new(27, true).await;
        let uri = "https://vault.example/keys/kek";
        let (one, two) = (it.vault.pinned(Some("v1")), it.vault.pinned(Some("v2")));
        let epoch = it.ring.begin_customer_epoch(it.account, CLUSTER, &one, LEASE).await.unwrap();
        it.ring.begin_customer_epoch(it.account, CLUSTER, &one, LEASE).await.unwrap();
        it.vault.rotate();
        it.ring.stand_by(it.account, &one, &two, "v2").await.unwrap();
        // The other AEK's record in this one's place.
        let mut rows = it.site.catalog.standbys(it.account).await.unwrap();
        let other = rows.iter().find(|row| row.aek != epoch.aek).unwrap().record.clone();
        let mut own = rows.remove(rows.iter().position(|row| row.aek == epoch.aek).unwrap());
        own.record = other;
        let live = it.ring.customer_records(it.account).await.unwrap();
        let generation = live.iter().find(|record| record.ids.aek == epoch.aek).unwrap().ids.generation;
        assert!(it.site.catalog.standby_put(&own, generation).await.unwrap());
        it.vault.disable("v1", true);
        assert!(it.ring.rewrap(it.account, &one, &two, uri, "v2").await.is_err(), "what waits is not this AEK");
        it.vault.disable("v1", false);
        assert_eq!(it.ring.rewrap(it.account, &one, &two, uri, "v2").await.unwrap(), 2, "the live record is");
        assert_eq!(it.ring.poll(it.account, &two, 0, LEASE).await.unwrap().version, "v2");
    }

    #[tokio::test]
    async fn another_vault_erases_what_waited() {
        let it = Customer::new(28, true).await;
        let (one, two) = (it.vault.pinned(Some("v1")), it.vault.pinned(Some("v2")));
        it.ring.begin_customer_epoch(it.account, CLUSTER, &one, LEASE).await.unwrap();
        it.vault.rotate();
        it.ring.stand_by(it.account, &one, &two, "v2").await.unwrap();
        let other = MemoryVault::new(it.site.world.clone(), KekRef::new("https://other.example/", "kek", None).unwrap());
        it.ring.supersede(it.account, CLUSTER, &one, &other, LEASE).await.unwrap();
        assert!(it.waiting().await.is_empty() && it.ring.standbys(it.account).await.unwrap().is_empty());
        // A copy that a stop left behind goes at the next start.
        let stray = object_store::path::Path::from(format!("keys/{}/standby/stray.v2", it.account));
        it.site.objects.put(&stray, b"old".to_vec().into()).await.unwrap();
        drop(it.site.open().await);
        assert!(it.waiting().await.is_empty());
    }

    #[tokio::test]
    async fn an_epoch_that_nothing_names_ends_for_good_and_one_in_use_does_not() {
        let it = Customer::new(29, true).await;
        let old = it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        let guard = it.ring.epoch_guard(old).await.unwrap();
        assert_eq!(it.ring.end_epoch(old).await.unwrap_err().kind(), ErrorKind::Conflict, "it reigns");
        let new = it.ring.begin_customer_epoch(it.account, CLUSTER, &it.vault, LEASE).await.unwrap();
        // A stop after the copy went: the next start makes it again, and the end is asked for again.
        it.site.objects.delete(&copy_path(old.account, old.aek)).await.unwrap();
        drop(it.site.open().await);
        assert!(!it.copy(old).await.is_empty());
        it.ring.end_epoch(old).await.unwrap();
        assert!(it.site.objects.get(&copy_path(old.account, old.aek)).await.is_err());
        assert!(it.site.catalog.aek(old.aek).await.unwrap().is_none());
        assert!(guard.check(it.site.world.clock.boot()).is_err() && it.ring.epoch_guard(old).await.is_err());
        assert!(it.ring.epoch_guard(new).await.is_ok());
        let again = it.site.open().await;
        assert_eq!(again.poll(it.account, &it.vault, 0, LEASE).await.unwrap().returned.len(), 1);
        again.end_epoch(old).await.unwrap();
    }

    impl Customer {
        async fn waiting(&self) -> Vec<object_store::path::Path> {
            let dir = object_store::path::Path::from(format!("keys/{}/standby", self.account));
            let listed = self.site.objects.list_with_delimiter(Some(&dir)).await.unwrap();
            listed.objects.into_iter().map(|meta| meta.location).collect()
        }

        async fn copy(&self, epoch: Epoch) -> Vec<u8> {
            self.site.copy(epoch).await
        }
    }
}

#[derive(Debug)]
struct Strict(Arc<crate::Approval>);

#[async_trait::async_trait]
impl crate::Judge for Strict {
    async fn judge(&self, principal: PrincipalId, _: WorkspaceId, table: TableId) -> Result<crate::Verdict, KeyError> {
        match (principal, table) {
            (PRINCIPAL, _) => Ok(crate::Verdict::Own),
            (_, TableId::NIL) => Ok(crate::Verdict::Until(Arc::clone(&self.0))),
            _ => Err(KeyError::NotAllowed(crate::Refused { code: "LockboxApprovalRequired", why: "no approval".to_owned() })),
        }
    }
}

#[tokio::test]
async fn keys_to_read_are_given_against_a_warrant_that_still_holds() {
    let site = Site::new(11).await;
    let ring = site.open().await;
    let workspace = site.workspace(&ring, "shop").await;
    let epoch = ring.write_epoch(ring.shared_account()).await.unwrap();
    ring.guard(epoch, workspace, PRINCIPAL, Purpose::Ingest).await.unwrap();
    let approval = crate::Approval::new(ObjectId::from_bytes([3; 16]), BootTime(u64::MAX - 1));
    ring.obey(Arc::new(Strict(Arc::clone(&approval))));

    let stranger = PrincipalId::from_bytes([8; 16]);
    let refused = ring.warrant(stranger, workspace, TableId::from_bytes([1; 16])).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Forbidden, "LockboxApprovalRequired"));
    let (own, lent) =
        (ring.warrant(PRINCIPAL, workspace, TableId::NIL).await.unwrap(), ring.warrant(stranger, workspace, TableId::NIL).await.unwrap());
    ring.guard_for(epoch, &lent).await.unwrap();
    approval.end();
    assert_eq!(ring.guard_for(epoch, &lent).await.unwrap_err().code(), "LockboxApprovalOver");
    ring.guard_for(epoch, &own).await.unwrap();
}
