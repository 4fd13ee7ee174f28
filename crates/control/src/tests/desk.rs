//! A desk that does to the catalog what the real one does, without vaults and barriers, and fails or waits when told to.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use strongroom_catalog::{AccountRow, AekRow, Catalog, ClusterRow, UserIdentityRow};
use strongroom_envelope::{Mmk, RecordIds, WrappedAek};
use strongroom_keys::provider::{KekRef, KeyFacts, Provider};
use strongroom_model::{AccountId, AekId, KeyClass, ObjectId, WorkspaceId};
use strongroom_world::World;
use tokio::sync::Semaphore;

use super::*;
use crate::desk::{IdentityParts, KeyDesk, KeyStatus, RewriteStep};
use crate::watch::Unflushed;
use crate::{Accepted, AzureConfig, ClusterAsk, Clusters, ControlError, KeyProperties, Place, VaultAsk, Vaults};

#[derive(Debug)]
pub(super) struct Desk {
    world: World,
    catalog: Catalog,
    shared: AccountId,
    /// What the next probe, and the next change, are refused with.
    pub(super) probe_fails: Mutex<Option<ControlError>>,
    pub(super) change_fails: Mutex<Option<ControlError>>,
    /// Every change takes one; without any it waits.
    pub(super) gate: Semaphore,
    pub(super) calls: Mutex<Vec<String>>,
    /// What the next steps of rewriting do, the last one first.
    pub(super) steps: Mutex<Vec<RewriteStep>>,
    pub(super) state: Mutex<&'static str>,
    pub(super) unflushed: Mutex<Unflushed>,
}

impl Desk {
    pub(super) fn new(site: &Site) -> Arc<Self> {
        Arc::new(Self {
            world: site.world.clone(),
            catalog: site.catalog.clone(),
            shared: site.account,
            probe_fails: Mutex::default(),
            change_fails: Mutex::default(),
            gate: Semaphore::new(1_000),
            calls: Mutex::default(),
            steps: Mutex::default(),
            state: Mutex::new("None"),
            unflushed: Mutex::default(),
        })
    }

    async fn change(&self, call: String) -> Result<(), ControlError> {
        self.gate.acquire().await.unwrap().forget();
        self.calls.lock().push(call);
        self.change_fails.lock().take().map_or(Ok(()), Err)
    }

    async fn step(&self, what: &str) -> Result<RewriteStep, ControlError> {
        self.change(what.to_owned()).await?;
        Ok(self.steps.lock().pop().unwrap_or(RewriteStep::Done))
    }

    pub(super) fn hold(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    pub(super) fn go_on(&self) {
        self.gate.add_permits(1_000);
    }

    /// A new AEK under `kek` takes over, as far as the catalog tells.
    pub(super) async fn switch(&self, cluster: &ClusterRow, kek: &KekRef) {
        let account = cluster.account.unwrap();
        let generation = self.catalog.aeks(account).await.unwrap().last().map_or(1, |row| row.generation + 1);
        let (ms, random) = self.world.id_seed();
        let aek = AekId::mint(ms, random);
        let record = WrappedAek {
            ids: RecordIds { cluster: cluster.id, account, aek, generation },
            provider: "azure".to_owned(),
            key_uri: kek.key_uri(),
            key_version: kek.key_version.clone().unwrap_or_else(|| "newest".to_owned()),
            algorithm: "RSA-OAEP-256".to_owned(),
            bytes: vec![1; 256],
            kcv: [2; 32],
        };
        let row = AekRow { aek, account, class: KeyClass::Cmk, generation, record: record.to_bytes(), current: true, created_ms: 1 };
        self.catalog.aek_insert(&row).await.unwrap();
    }
}

pub(super) fn facts(kek: &KekRef) -> KeyFacts {
    let used = kek.key_version.clone().unwrap_or_else(|| "newest".to_owned());
    KeyFacts {
        newest: "newest".to_owned(),
        used,
        key_type: "RSA".to_owned(),
        rsa_bits: 2_048,
        unfit: None,
        enabled: true,
        not_before_ms: None,
        expires_ms: None,
        recovery_level: "Recoverable".to_owned(),
        other_enabled: Vec::new(),
        newer_enabled: Vec::new(),
        versions_listed: true,
    }
}

#[async_trait]
impl KeyDesk for Desk {
    async fn open_account(&self, cluster: ObjectId, region: &str, double: bool) -> Result<AccountId, ControlError> {
        self.change(format!("open {double}")).await?;
        let owner = Some(cluster.to_string());
        if let Some(there) = self.catalog.accounts().await?.into_iter().find(|row| row.cluster == owner) {
            return Ok(there.id);
        }
        let (ms, random) = self.world.id_seed();
        let id = AccountId::mint(ms, random);
        self.catalog.account_insert(&AccountRow { id, region: region.to_owned(), cluster: owner }).await?;
        Ok(id)
    }

    async fn new_identity(&self, cluster: ObjectId) -> Result<IdentityParts, ControlError> {
        self.calls.lock().push("identity".to_owned());
        Ok(IdentityParts {
            principal: cluster.to_string(),
            tenant: "tenant-1".to_owned(),
            public_key_pem: "-----BEGIN PUBLIC KEY-----".to_owned(),
            cell: b"sealed".to_vec(),
        })
    }

    async fn lend_identity(&self, _cluster: ObjectId, user: &UserIdentityRow) -> Result<IdentityParts, ControlError> {
        Ok(user.identity.clone())
    }

    async fn probe_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.calls.lock().push(format!("try {}", cluster.identity.as_ref().unwrap().principal));
        self.probe_fails.lock().take().map_or(Ok(()), Err)
    }

    async fn show_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.change(format!("show {}", cluster.identity.as_ref().unwrap().principal)).await
    }

    async fn remove_identity(&self, _cluster: &ClusterRow) -> Result<(), ControlError> {
        self.calls.lock().push("remove".to_owned());
        Ok(())
    }

    async fn restore_identity(&self, _cluster: &ClusterRow) -> Result<(), ControlError> {
        self.calls.lock().push("restore".to_owned());
        Ok(())
    }

    async fn probe(&self, _cluster: &ClusterRow, kek: &KekRef) -> Result<KeyFacts, ControlError> {
        self.probe_fails.lock().take().map_or_else(|| Ok(facts(kek)), Err)
    }

    async fn set_key(&self, cluster: &ClusterRow, kek: KekRef) -> Result<KeyFacts, ControlError> {
        self.change(format!("set {kek}")).await?;
        self.switch(cluster, &kek).await;
        Ok(facts(&kek))
    }

    async fn link(&self, workspace: WorkspaceId, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.change("link".to_owned()).await?;
        Ok(self.catalog.workspace_move(workspace, cluster.account.unwrap(), Some((cluster.id, 7))).await?)
    }

    async fn relink(&self, workspace: WorkspaceId, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.change("relink".to_owned()).await?;
        Ok(self.catalog.workspace_move(workspace, cluster.account.unwrap(), Some((cluster.id, 8))).await?)
    }

    async fn unlink(&self, workspace: WorkspaceId) -> Result<(), ControlError> {
        self.change("unlink".to_owned()).await?;
        Ok(self.catalog.workspace_move(workspace, self.shared, None).await?)
    }

    fn unflushed(&self, _account: AccountId) -> Unflushed {
        self.unflushed.lock().clone()
    }

    async fn close_cluster(&self, _cluster: &ClusterRow) -> Result<(), ControlError> {
        self.change("close".to_owned()).await
    }

    async fn release(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.change(format!("release {}", cluster.name)).await
    }

    async fn begin_epoch(&self, _cluster: &ClusterRow, _old: &[AekId]) -> Result<(), ControlError> {
        self.change("epoch".to_owned()).await
    }

    async fn rekey_step(&self, _cluster: &ClusterRow, _old: &[AekId]) -> Result<RewriteStep, ControlError> {
        self.step("rekey").await
    }

    async fn reencrypt_step(&self, _cluster: &ClusterRow, _workspace: WorkspaceId) -> Result<RewriteStep, ControlError> {
        self.step("reencrypt").await
    }

    async fn status(&self, _cluster: &ClusterRow) -> Result<KeyStatus, ControlError> {
        Ok(KeyStatus {
            state: (*self.state.lock()).to_owned(),
            since_ms: None,
            code: None,
            last_good_ms: None,
            lease_left_s: None,
            kek: None,
            aeks: Vec::new(),
            infrastructure_key: true,
            evidence: Vec::new(),
        })
    }
}

/// A site with a desk and one registered vault, `https://vault.example`.
pub(super) struct Works {
    pub(super) site: Site,
    pub(super) desk: Arc<Desk>,
    pub(super) clusters: Arc<Clusters>,
    pub(super) vaults: Vaults,
}

pub(super) const VAULT: &str = "https://vault.example";

pub(super) fn place(name: &str) -> Place {
    Place { subscription: "sub".to_owned(), resource_group: "default".to_owned(), name: name.to_owned() }
}

pub(super) fn new_cluster() -> ClusterAsk {
    ClusterAsk {
        identity: Some(strongroom_catalog::IdentityType::SystemAssigned),
        sku_name: Some("CapacityReservation".to_owned()),
        sku_capacity: Some(100),
        ..ClusterAsk::default()
    }
}

pub(super) fn key(name: &str, version: Option<&str>) -> KeyProperties {
    KeyProperties { vault_uri: VAULT.to_owned(), name: name.to_owned(), version: version.map(str::to_owned) }
}

pub(super) fn with_key(name: &str, version: Option<&str>) -> ClusterAsk {
    ClusterAsk { key: Some(key(name, version)), ..ClusterAsk::default() }
}

pub(super) fn mmk(world: &World) -> Arc<Mmk> {
    Arc::new(Mmk::generate(world.rng.as_ref()))
}

pub(super) fn vault(uri: &str) -> VaultAsk {
    VaultAsk {
        provider: Provider::Azure,
        access: None,
        region: "here".to_owned(),
        tenant: "tenant-1".to_owned(),
        uri: uri.to_owned(),
        private_link: false,
        ca_pem: None,
        protection: crate::Protection::default(),
    }
}

impl Works {
    pub(super) async fn new() -> Self {
        let site = Site::new().await;
        let desk = Desk::new(&site);
        let clusters = Self::on(&site, &desk);
        let vaults = Vaults::new(site.world.clone(), site.catalog.clone(), mmk(&site.world));
        vaults.put(&place("vault1"), vault(VAULT)).await.unwrap();
        Self { site, desk, clusters, vaults }
    }

    /// The same clusters in a service of that tenant.
    pub(super) fn of_tenant(&self, tenant: &str) -> Arc<Clusters> {
        Self::with(&self.site, &self.desk, tenant, &AzureConfig::default())
    }

    fn on(site: &Site, desk: &Arc<Desk>) -> Arc<Clusters> {
        Self::with(site, desk, "", &AzureConfig::default())
    }

    /// The same clusters under other rules.
    pub(super) fn ruled(&self, azure: &AzureConfig) -> Arc<Clusters> {
        Self::with(&self.site, &self.desk, "", azure)
    }

    fn with(site: &Site, desk: &Arc<Desk>, tenant: &str, azure: &AzureConfig) -> Arc<Clusters> {
        let config = ControlConfig { clusters_max: 3, tenant_id: tenant.to_owned(), ..ControlConfig::default() };
        let workspaces = Arc::new(Workspaces::new(site.world.clone(), site.catalog.clone(), site.account, config.clone()));
        Clusters::new(site.world.clone(), site.catalog.clone(), Arc::clone(desk) as Arc<dyn KeyDesk>, workspaces, config, azure.rules())
    }

    /// The process ends in mid-change and another one starts.
    pub(super) async fn restart(&mut self) {
        self.clusters.stop().await;
        self.clusters = Self::on(&self.site, &self.desk);
        self.clusters.resume().await.unwrap();
    }

    pub(super) async fn cluster(&self, name: &str) -> ClusterRow {
        self.clusters.put(&place(name), new_cluster()).await.unwrap();
        self.clusters.idle().await;
        self.clusters.get(&place(name)).await.unwrap()
    }

    pub(super) async fn patched(&self, name: &str, ask: ClusterAsk) -> Result<ClusterRow, ControlError> {
        self.clusters.patch(&place(name), ask).await?;
        self.clusters.idle().await;
        self.clusters.get(&place(name)).await
    }

    /// How the operation of an answer ended: nothing, or the code.
    pub(super) async fn end(&self, accepted: &Accepted) -> Result<(), String> {
        let id = accepted.operation.as_ref().unwrap().id;
        self.clusters.idle().await;
        let row = self.clusters.operation(id).await.unwrap().unwrap();
        assert!(row.end_ms.is_some(), "{row:?}");
        row.error.map_or(Ok(()), |error| Err(error.code))
    }
}

pub(super) fn refused<T: std::fmt::Debug>(outcome: Result<T, ControlError>) -> (&'static str, String) {
    let error = outcome.unwrap_err();
    (error.code(), error.to_string())
}
