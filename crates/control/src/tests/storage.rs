//! Under whose key a storage account may come, where its objects may lie, and when a key of its own is let go of.

use std::collections::HashMap;

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use strongroom_catalog::{ClusterState, ContentKind, ContentObjectRow, ContentRow, IdentityType, StorageAccountRow, StorageLinkRow};
use strongroom_keys::KeyRing;

use super::desk::{VAULT, Works, key, mmk, place, refused, vault, with_key};
use super::*;
use crate::contents::{Contents, DataSource, NewEntry, Stores};
use crate::{
    AzureConfig, Compat, KeyProperties, LinkedStorage, Place, Refusal, StorageAsk, StorageKey, Storages, UserIdentities, UserIdentityAsk,
};

#[derive(Debug, Default)]
struct Shelves(Mutex<HashMap<ObjectId, Arc<InMemory>>>);

#[async_trait]
impl Stores for Shelves {
    async fn check(&self, url: &str) -> Result<String, ControlError> {
        Ok(url.trim_end_matches('/').to_owned())
    }
    async fn open(&self, account: ObjectId, _: Option<&str>) -> Result<Arc<dyn ObjectStore>, ControlError> {
        Ok(Arc::clone(self.0.lock().entry(account).or_default()) as _)
    }
}

/// A site with a desk, storage accounts and one identity, `id1`.
struct Depot {
    works: Works,
    keys: Arc<KeyRing>,
    storages: Arc<Storages>,
    identity: String,
}

impl Depot {
    async fn new() -> Self {
        let works = Works::new().await;
        let (world, catalog) = (works.site.world.clone(), works.site.catalog.clone());
        let keys = KeyRing::open(world.clone(), catalog.clone(), Arc::new(InMemory::new()), mmk(&world)).await.unwrap();
        let identities = UserIdentities::new(world, catalog, Arc::clone(&works.desk) as _);
        let mut paths = Vec::new();
        for name in ["id1", "id2"] {
            let row =
                identities.put(&place(name), UserIdentityAsk { region: "here".to_owned(), ..UserIdentityAsk::default() }).await.unwrap();
            paths.push(Place::of_identity(&row).identity_path());
        }
        Self { storages: Self::of_tenant(&works, &keys, ""), works, keys, identity: paths.remove(0) }
    }

    fn of_tenant(works: &Works, keys: &Arc<KeyRing>, tenant: &str) -> Arc<Storages> {
        Self::ruled(works, keys, tenant, &AzureConfig::default()).0
    }

    fn ruled(works: &Works, keys: &Arc<KeyRing>, tenant: &str, azure: &AzureConfig) -> (Arc<Storages>, Arc<Contents>) {
        let (world, catalog, rules) = (works.site.world.clone(), works.site.catalog.clone(), azure.rules());
        let stores = Arc::new(Shelves::default());
        let contents = Contents::new(world.clone(), catalog.clone(), Arc::clone(keys), Arc::clone(&stores) as _, rules.clone());
        let config = ControlConfig { tenant_id: tenant.to_owned(), ..ControlConfig::default() };
        (Storages::new(world, catalog, Arc::clone(&works.desk) as _, Arc::clone(&contents), stores, config, rules), contents)
    }

    async fn put(&self, name: &str, ask: StorageAsk) -> Result<StorageAccountRow, ControlError> {
        self.storages.put(&place(name), ask).await
    }

    fn own(&self, name: &str) -> StorageAsk {
        with(key(name, None), &self.identity.clone())
    }

    async fn holders(&self) -> usize {
        let all = self.works.site.catalog.key_holders().await.unwrap();
        all.iter().filter(|row| row.deleted_ms.is_none()).count()
    }
}

fn with(key: KeyProperties, identity: &str) -> StorageAsk {
    StorageAsk { key: Some(StorageKey::Own(key, identity.to_owned())), ..here() }
}

fn here() -> StorageAsk {
    StorageAsk { region: Some("here".to_owned()), ..StorageAsk::default() }
}

fn at(url: &str) -> StorageAsk {
    StorageAsk { url: Some(url.to_owned()), ..here() }
}

#[tokio::test]
async fn an_accounts_objects_lie_where_no_others_do_and_stay_there() {
    let depot = Depot::new().await;
    depot.put("one", at("file:///srv/one")).await.unwrap();
    for url in ["file:///srv/one", "file:///srv/one/", "file:///srv", "file:///srv/one/below"] {
        let error = depot.put("two", at(url)).await.unwrap_err();
        assert_eq!(error.to_string(), "another storage account has its objects there", "{url}");
    }
    depot.put("two", at("file:///srv/one-more")).await.unwrap();
    let (code, text) = refused(depot.put("one", at("file:///srv/elsewhere")).await);
    assert!(code == "InvalidParameter" && text.contains("can't be changed"), "{code}: {text}");
    depot.put("one", at("file:///srv/one/")).await.unwrap();
    let moved = StorageAsk { region: Some("there".to_owned()), ..StorageAsk::default() };
    assert!(refused(depot.put("one", moved).await).1.contains("another region"));
}

#[tokio::test]
async fn an_account_comes_under_a_clusters_key_in_its_region_once_that_is_ready() {
    let depot = Depot::new().await;
    let cluster = depot.works.cluster("contoso").await;
    let under = |region: &str| StorageAsk {
        region: Some(region.to_owned()),
        key: Some(StorageKey::Cluster(Place::of_cluster(&cluster).cluster_path())),
        ..StorageAsk::default()
    };
    assert_eq!(refused(depot.put("far", under("there")).await).0, "InvalidParameter");
    let mut updating = cluster.clone();
    updating.state = ClusterState::Updating;
    depot.works.site.catalog.cluster_update(&updating).await.unwrap();
    assert_eq!(refused(depot.put("one", under("here")).await).0, "ClusterNotReady");
    assert!(depot.storages.list("sub", None).await.unwrap().is_empty(), "refused, nothing is left behind");
    depot.works.site.catalog.cluster_update(&cluster).await.unwrap();
    assert_eq!(depot.put("one", under("here")).await.unwrap().holder, Some(cluster.id));
    // As long as it is, the cluster stays; and a deleted one takes no account.
    let held = depot.works.clusters.delete(&place("contoso"), true).await;
    assert_eq!(held.unwrap_err().kind(), strongroom_model::ErrorKind::Conflict);
    let provider = StorageAsk { key: Some(StorageKey::Provider), ..StorageAsk::default() };
    let row = depot.put("one", provider).await.unwrap();
    assert_eq!((row.holder, row.own), (None, false));
    depot.works.clusters.delete(&place("contoso"), true).await.unwrap();
    depot.works.clusters.idle().await;
    assert_eq!(refused(depot.put("one", under("here")).await).0, "ResourceNotFound");
    let late = StorageAccountRow { holder: Some(cluster.id), ..row };
    let error = depot.works.site.catalog.storage_account_put(&late).await.unwrap_err();
    assert_eq!(error.kind(), strongroom_model::ErrorKind::Conflict, "deleted a moment ago");
}

#[tokio::test]
async fn a_key_of_its_own_lies_in_a_known_vault_of_region_and_tenant_and_works() {
    let depot = Depot::new().await;
    let elsewhere = |host: &str| KeyProperties { vault_uri: format!("https://{host}.example"), ..key("kek", None) };
    let vaults = &depot.works.vaults;
    let far = crate::VaultAsk { region: "there".to_owned(), ..vault("https://far.example") };
    vaults.put(&place("far"), far).await.unwrap();
    let private = crate::VaultAsk { private_link: true, ..vault("https://private.example") };
    vaults.put(&place("private"), private).await.unwrap();
    let identity = depot.identity.clone();
    for (host, code) in [("unknown", "VaultUnknown"), ("far", "InvalidParameter"), ("private", "PrivateLinkNeedsSystemAssigned")] {
        let error = depot.put("one", with(elsewhere(host), &identity)).await.unwrap_err();
        assert!(error.code() == code || host == "unknown", "{host}: {} {error}", error.code());
    }
    let tenant = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    let foreign = Depot::of_tenant(&depot.works, &depot.keys, tenant);
    assert_eq!(refused(foreign.put(&place("one"), depot.own("kek")).await).0, "TenantMismatch");
    let ours = crate::VaultAsk { tenant: tenant.to_uppercase(), ..vault("https://ours.example") };
    vaults.put(&place("ours"), ours).await.unwrap();
    foreign.put(&place("ours"), with(elsewhere("ours"), &identity)).await.unwrap();
    let before = depot.holders().await;
    // What does not work is told at once, and leaves neither account nor key.
    *depot.works.desk.probe_fails.lock() = Some(Refusal::KeyNotRecoverable.into());
    assert_eq!(refused(depot.put("one", depot.own("kek")).await).0, "KeyNotRecoverable");
    *depot.works.desk.change_fails.lock() = Some(Refusal::Interrupted.into());
    depot.put("one", depot.own("kek")).await.unwrap_err();
    assert_eq!((depot.holders().await, depot.storages.list("sub", None).await.unwrap().len()), (before, 1));
    let row = depot.put("one", depot.own("kek")).await.unwrap();
    assert!(row.own && row.holder.is_some());
    assert_eq!(depot.holders().await, before + 1);
    assert!(depot.works.clusters.list(None, None).await.unwrap().is_empty(), "what holds it is in no list of clusters");
}

#[tokio::test]
async fn an_accounts_identity_and_key_do_not_change_together() {
    let depot = Depot::new().await;
    depot.put("one", depot.own("kek")).await.unwrap();
    let other = depot.identity.replace("id1", "id2");
    let both = with(key("kek2", None), &other);
    assert_eq!(refused(depot.put("one", both).await).0, "IdentityAndKeyInOneUpdate");
    let holder = async || {
        let row = depot.storages.get(&place("one")).await.unwrap();
        depot.works.site.catalog.cluster_get(row.holder.unwrap()).await.unwrap().unwrap()
    };
    let before = holder().await;
    assert_eq!((before.key.as_ref().unwrap().name.as_str(), before.identity_type), ("kek", IdentityType::UserAssigned));
    depot.put("one", with(key("kek2", None), &depot.identity.clone())).await.unwrap();
    depot.put("one", with(key("kek2", None), &other)).await.unwrap();
    let after = holder().await;
    assert_eq!((after.id, after.key.unwrap().name.as_str()), (before.id, "kek2"));
    assert_ne!(after.user_identity, before.user_identity);
}

#[tokio::test]
async fn a_key_that_no_account_is_under_is_let_go_of_once_nothing_is_sealed_under_it() {
    let depot = Depot::new().await;
    let row = depot.put("one", depot.own("kek")).await.unwrap();
    let catalog = &depot.works.site.catalog;
    let holder = catalog.cluster_get(row.holder.unwrap()).await.unwrap().unwrap();
    let aek = catalog.aeks(holder.account.unwrap()).await.unwrap().remove(0).aek;
    let workspace = depot.works.site.workspaces.create("w".parse().unwrap(), None).await.unwrap();
    let entry = ContentRow {
        id: depot.works.site.object(),
        workspace: workspace.id,
        kind: ContentKind::Query,
        rev: depot.works.site.object(),
        format: 1,
        aek,
        storage: None,
        cell: Some(vec![1]),
        sealed_len: 1,
        changed_ms: 0,
    };
    catalog.content_put(&entry, None).await.unwrap();
    let provider = || StorageAsk { key: Some(StorageKey::Provider), ..StorageAsk::default() };
    depot.put("one", provider()).await.unwrap();
    depot.put("one", provider()).await.unwrap();
    assert_eq!(depot.holders().await, 1, "an entry is sealed under it");
    catalog.content_delete(workspace.id, entry.id).await.unwrap();
    depot.put("one", provider()).await.unwrap();
    assert_eq!(depot.holders().await, 0);
}

#[tokio::test]
async fn a_cluster_whose_key_comes_later_takes_an_account_all_the_same() {
    let depot = Depot::new().await;
    let cluster = depot.works.cluster("contoso").await;
    assert_eq!(depot.works.patched("contoso", with_key("kek", None)).await.unwrap().key.unwrap().vault_uri, VAULT);
    let path = Place::of_cluster(&cluster).cluster_path().to_uppercase();
    let row = depot.put("one", StorageAsk { key: Some(StorageKey::Cluster(path)), ..here() }).await.unwrap();
    assert_eq!(row.holder, Some(cluster.id));
    let nonsense = StorageAsk { key: Some(StorageKey::Cluster("contoso".to_owned())), ..here() };
    assert_eq!(refused(depot.put("two", nonsense).await).0, "InvalidParameter");
}

/// As Azure did in 2021, linking removes what there is: what went to the account since is not that.
#[tokio::test]
async fn the_same_link_again_removes_nothing() {
    let depot = Depot::new().await;
    let azure = AzureConfig { compat: Compat::Y2021, ..AzureConfig::default() };
    let (storages, contents) = Depot::ruled(&depot.works, &depot.keys, "", &azure);
    let workspace = depot.works.site.workspaces.create("w".parse().unwrap(), None).await.unwrap();
    storages.put(&place("one"), here()).await.unwrap();
    let put = async || {
        let new = NewEntry {
            workspace: workspace.id,
            kind: ContentKind::Query,
            id: contents.mint(),
            replaces: None,
            value: b"Web | take 1",
            by: strongroom_model::PrincipalId::NIL,
        };
        contents.put(new).await.unwrap();
    };
    let count = async || contents.count(workspace.id, &[ContentKind::Query]).await.unwrap();
    let ask = LinkedStorage { source: DataSource::Query, place: place("one") };
    put().await;
    storages.link(&workspace, &ask).await.unwrap();
    assert_eq!(count().await, 0, "the first time it does");
    put().await;
    storages.link(&workspace, &ask).await.unwrap();
    assert_eq!(count().await, 1);
    // Linked, and still in the workspace: what is on its way is not what a link finds there.
    storages.unlink(&workspace, DataSource::Query).await.unwrap();
    let storage = storages.get(&place("one")).await.unwrap().id;
    let link = StorageLinkRow { workspace: workspace.id, source: "Query".to_owned(), storage, at_ms: 0 };
    depot.works.site.catalog.storage_link_put(&link, &[]).await.unwrap();
    storages.link(&workspace, &ask).await.unwrap();
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn an_account_stays_while_anything_of_a_workspace_is_linked_to_it_or_lies_in_it() {
    let depot = Depot::new().await;
    let site = &depot.works.site;
    let workspace = site.workspaces.create("w".parse().unwrap(), None).await.unwrap().id;
    let aek = depot.keys.write_epoch(depot.keys.shared_account()).await.unwrap().aek;
    let account = depot.put("one", depot.own("kek")).await.unwrap();
    let refused = async || depot.storages.delete(&place("one")).await.unwrap_err();
    let told = async |why: &'static str| {
        let error = refused().await;
        assert_eq!((error.kind(), error.to_string()), (strongroom_model::ErrorKind::Conflict, why.to_owned()));
        assert_eq!(depot.holders().await, 1, "{why}: its key stays with it");
    };
    let link = StorageLinkRow { workspace, source: "Query".to_owned(), storage: account.id, at_ms: 0 };
    site.catalog.storage_link_put(&link, &[]).await.unwrap();
    told("a workspace is linked to it").await;
    site.catalog.storage_link_delete(workspace, "Query").await.unwrap();

    let (rev, kind, storage) = (site.object(), ContentKind::Query, Some(account.id));
    let announced = ContentObjectRow { rev, storage: account.id, workspace, kind };
    site.catalog.content_object_announce(&announced).await.unwrap();
    told("objects in it are still to be deleted").await;
    let entry = ContentRow { id: site.object(), workspace, kind, rev, format: 1, aek, storage, cell: None, sealed_len: 1, changed_ms: 0 };
    site.catalog.content_put(&entry, None).await.unwrap();
    assert!(site.catalog.content_objects().await.unwrap().is_empty());
    told("saved content lies in it").await;
    site.catalog.content_delete(workspace, entry.id).await.unwrap();
    site.catalog.content_object_gone(rev).await.unwrap();
    assert!(depot.storages.delete(&place("one")).await.unwrap());
    assert_eq!(depot.holders().await, 0);
}
