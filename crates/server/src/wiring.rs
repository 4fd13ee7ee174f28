//! Putting the house together, from the ground up: world, lock, root key, catalog, keys, store, log, and the three
//! planes on top.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom_buffer::{Buffer, SealedLog};
use strongroom_catalog::Catalog;
use strongroom_control::alerts::{ActionGroups, Alerts};
use strongroom_control::audit::{Audit, Carrier};
use strongroom_control::collection::Collection;
use strongroom_control::contents::{Contents, Stores};
use strongroom_control::documents::Documents;
use strongroom_control::personal::Personal;
use strongroom_control::watch::{Desk, Watch};
use strongroom_control::{
    Clusters, Lockbox, Principals, Retention, Roles, SharedKeys, ShredDeps, Shredder, Storages, Tables, UserIdentities, Vaults,
    WorkspacePages, Workspaces,
};
use strongroom_envelope::Mmk;
use strongroom_ingest::{IngestDeps, Intake};
use strongroom_keys::{KeyError, KeyRing};
use strongroom_query::{Engine, QueryDeps};
use strongroom_store::{BlockStore, HotCache, LocalObjects};
use strongroom_world::World;

use crate::collecting::Collecting;
use crate::config::{Config, admin_token_path, mmk_path};
use crate::dispose::Disposal;
use crate::gateway::azure::{Late, Meter};
use crate::identity::Identity;
use crate::linked_stores::LinkedStores;
use crate::lock_steps::{Rooms, key_watch};
use crate::notices::carrier;
use crate::openings::Openings;
use crate::shelf::Shelf;
use crate::{ServeError, alerting, lock};

/// Everything a running node holds.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) catalog: Catalog,
    pub(crate) blocks: Arc<BlockStore>,
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) workspaces: Arc<Workspaces>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) roles: Arc<Roles>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) clusters: Arc<Clusters>,
    pub(crate) vaults: Arc<Vaults>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) carrier: Arc<Carrier>,
    pub(crate) lockbox: Arc<Lockbox>,
    pub(crate) shredder: Arc<Shredder>,
    pub(crate) identities: UserIdentities,
    pub(crate) pages: WorkspacePages,
    pub(crate) tables: Tables,
    pub(crate) identity: Identity,
    pub(crate) shared_keys: SharedKeys,
    pub(crate) collection: Arc<Collection>,
    pub(crate) storages: Arc<Storages>,
    pub(crate) action_groups: Arc<ActionGroups>,
    pub(crate) alerts: Arc<Alerts>,
    pub(crate) personal: Personal,
    pub(crate) documents: Documents,
    pub(crate) meter: Meter,
    pub(crate) late: Late,
    stopping: AtomicBool,
    _lock: lock::DirLock,
}

/// Where things lie below the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout(PathBuf);

impl Layout {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self(data_dir.to_owned())
    }
    pub(crate) fn catalog(&self) -> PathBuf {
        self.0.join("catalog.sqlite")
    }
    pub(crate) fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }
    pub(crate) fn wal(&self) -> PathBuf {
        self.0.join("wal")
    }
    pub(crate) fn sealed(&self) -> PathBuf {
        self.0.join("sealed")
    }
    pub(crate) fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }
    pub(crate) fn audit(&self) -> PathBuf {
        self.0.join("audit")
    }
    pub(crate) fn storage(&self) -> PathBuf {
        self.0.join("storage")
    }
    pub(crate) fn spill(&self) -> PathBuf {
        self.0.join("spill")
    }
}

impl Site {
    /// Makes the directories and takes them for this process: before anything else, so that a second server is told who is there.
    pub(crate) fn claim(config: &Config) -> Result<lock::DirLock, ServeError> {
        let world = World::real();
        for dir in [&config.data_dir, &config.config_dir] {
            world.fs.create_dir_all(dir).map_err(|source| ServeError::directory(dir, source))?;
        }
        lock::DirLock::take(&config.data_dir)
    }

    /// Opens everything; replays the log. Returns the site and, on the first start, the admin token to print once.
    /// `allowed` are addresses that may be called although they are private, besides those of the configuration.
    #[expect(clippy::too_many_lines, reason = "the house from the ground up, in one order")]
    pub(crate) async fn open(
        mut config: Config,
        lock: lock::DirLock,
        admin_token: Option<String>,
        allowed: Vec<String>,
    ) -> Result<(Arc<Self>, Option<String>), ServeError> {
        config.follow_regions();
        config.control.check().map_err(ServeError::start("control"))?;
        config.azure.check().map_err(ServeError::start("azure"))?;
        config.lockbox.check().map_err(ServeError::start("lockbox"))?;
        config.alerts.check().map_err(ServeError::start("alerts"))?;
        let world = World::real();
        let layout = Layout::new(&config.data_dir);
        warn_of_one_filesystem(&config)?;
        let mmk = Arc::new(root_key(&world, &config.config_dir, layout.catalog().exists())?);
        let catalog = Catalog::open(&layout.catalog(), world.clone()).await.map_err(ServeError::start("catalog"))?;
        let objects: Arc<dyn object_store::ObjectStore> =
            LocalObjects::open(world.clone(), layout.objects()).map_err(ServeError::start("object store"))?;
        let (audit, keys) = chain_and_keys(&config, &world, &catalog, &mmk, &objects).await?;
        let writer = catalog.acquire_writer().await.map_err(ServeError::start("catalog"))?;
        let cache = HotCache::open(world.clone(), layout.cache(), Arc::clone(&mmk), catalog.node(), config.hot_cache())
            .await
            .map_err(ServeError::start("hot cache"))?;
        let blocks = BlockStore::new(world.clone(), objects, cache);

        let workspaces = Arc::new(Workspaces::new(world.clone(), catalog.clone(), keys.shared_account(), config.control.clone()));
        workspaces.ensure_defaults().await.map_err(ServeError::start("workspaces"))?;
        let roles = Arc::new(Roles::built_in());
        let principals = Arc::new(Principals::new(world.clone(), catalog.clone(), Arc::clone(&roles), config.control.clone()));
        let lockbox = Lockbox::new(world.clone(), catalog.clone(), Arc::clone(&principals), Arc::clone(&audit), config.lockbox.clone());
        keys.obey(Arc::clone(&lockbox) as _);
        let identity = Identity::open(&config, (&world, &catalog, &mmk), (&roles, &principals), &workspaces, &audit).await?;
        let printed = admin(&world, &config.config_dir, &principals, admin_token).await?;

        let (sealed_dir, sealed_config, of) = (layout.sealed(), config.keys.sealed(&config.buffer), (world.clone(), Arc::clone(&mmk)));
        let sealed = tokio::task::spawn_blocking(move || SealedLog::open(of.0, &sealed_dir, of.1, sealed_config))
            .await
            .map_err(|_| ServeError::Panicked("sealed buffer"))?
            .map_err(ServeError::start("sealed buffer"))?;
        let (buffer, recovery) = recover(&world, &layout, &config, &catalog, &keys).await?;
        let intake = Intake::open(
            IngestDeps {
                world: world.clone(),
                catalog: catalog.clone(),
                keys: Arc::clone(&keys),
                buffer: Arc::clone(&buffer),
                sealed: Arc::clone(&sealed),
                blocks: Arc::clone(&blocks),
                writer,
            },
            config.ingest.clone(),
            recovery.marks,
        )
        .await
        .map_err(ServeError::start("ingest"))?;
        let stores = LinkedStores { world: world.clone(), own: layout.storage(), roots: config.storage.roots.clone() };
        let (stores, azure): (Arc<dyn Stores>, _) = (Arc::new(stores), config.azure.rules());
        let contents = Contents::new(world.clone(), catalog.clone(), Arc::clone(&keys), Arc::clone(&stores), azure.clone());
        let engine = Engine::open(
            QueryDeps {
                world: world.clone(),
                catalog: catalog.clone(),
                keys: Arc::clone(&keys),
                buffer: Arc::clone(&buffer),
                blocks: Arc::clone(&blocks),
                texts: Arc::new(Shelf(Arc::clone(&contents))),
                spill_dir: layout.spill(),
            },
            config.query.clone(),
        )
        .await
        .map_err(ServeError::start("query engine"))?;
        let ahead = Duration::from_nanos(u64::try_from(config.ingest.limits.future_max_ns).unwrap_or(0));
        let retention = Retention::new(world.clone(), catalog.clone(), Arc::clone(&blocks), config.control.clone());
        let retention = Arc::new(retention.with_log(Arc::clone(&buffer), ahead).with_sealed(sealed, ahead));
        let rooms = Rooms { engine: &engine, intake: &intake, buffer: &buffer, blocks: &blocks, contents: &contents, audit: &audit };
        let watch = key_watch(&config, &world, &catalog, &keys, &rooms, allowed)?;
        let carrier = carrier(&config, &world, &audit, &keys, &catalog, &intake)?;
        let desk = Arc::new(Desk(Arc::clone(&watch)));
        let identities = UserIdentities::new(world.clone(), catalog.clone(), Arc::clone(&desk) as _);
        let control = config.control.clone();
        let storages = Storages::new(
            world.clone(),
            catalog.clone(),
            Arc::clone(&desk) as _,
            Arc::clone(&contents),
            stores,
            control.clone(),
            azure.clone(),
        );
        let clusters = Clusters::new(world.clone(), catalog.clone(), desk, Arc::clone(&workspaces), control, azure);
        clusters.audited_by(audit.scribe());
        retention.audited_by(audit.scribe());
        intake.witnessed_by(Arc::new(Openings { scribe: audit.scribe(), keys: Arc::clone(&keys) }));
        principals.audited_by(audit.scribe());
        let shred = ShredDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: Arc::clone(&keys),
            blocks: Arc::clone(&blocks),
            watch: Arc::clone(&watch),
            workspaces: Arc::clone(&workspaces),
            clusters: Arc::clone(&clusters),
            dispose: Arc::new(Disposal { intake: Arc::clone(&intake), engine: Arc::clone(&engine) }),
            audit: Arc::clone(&audit),
        };
        let shredder = Shredder::new(shred, &config.control);
        let vaults = Arc::new(Vaults::new(world.clone(), catalog.clone(), Arc::clone(keys.mmk())));
        let pages = WorkspacePages::new(world.clone(), catalog.clone());
        let tables = Tables::new(world.clone(), catalog.clone()).in_memory(Arc::clone(&buffer));
        let shared_keys = SharedKeys::new(world.clone(), catalog.clone(), Arc::clone(keys.mmk()));
        let collection = Arc::new(Collection::new(world.clone(), catalog.clone(), Arc::clone(&keys)));
        intake.shaped_by(Arc::new(Collecting { rules: Arc::clone(&collection), engine: Arc::clone(&engine) }));
        let rooms = alerting::Rooms { keys: &keys, contents: &contents, engine: &engine, intake: &intake, audit: &audit };
        let (action_groups, alerts) = alerting::open(&config, &world, &catalog, &rooms)?;
        let documents = Documents::new(world.clone(), catalog.clone(), Arc::clone(keys.mmk()), Arc::clone(&contents));
        let personal = Personal::new(world.clone(), Arc::clone(&keys), Arc::clone(&contents));
        let site = Self {
            config,
            world,
            catalog,
            blocks,
            buffer,
            intake,
            engine,
            workspaces,
            principals,
            roles,
            retention,
            watch,
            clusters,
            vaults,
            keys,
            audit,
            carrier,
            lockbox,
            shredder,
            identities,
            pages,
            tables,
            identity,
            shared_keys,
            collection,
            storages,
            action_groups,
            alerts,
            personal,
            documents,
            meter: Meter::default(),
            late: Late::default(),
            stopping: AtomicBool::new(false),
            _lock: lock,
        };
        Ok((Arc::new(site), printed))
    }

    /// Why no request should be sent here now, if so.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        self.is_stopping().then_some("stopping")
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

/// The audit chain and, after it, the keys: the chain remembers which of their records were kept.
async fn chain_and_keys(
    config: &Config,
    world: &World,
    catalog: &Catalog,
    mmk: &Arc<Mmk>,
    objects: &Arc<dyn object_store::ObjectStore>,
) -> Result<(Arc<Audit>, Arc<KeyRing>), ServeError> {
    let dir = Layout::new(&config.data_dir).audit();
    let audit = Audit::open(world.clone(), catalog.clone(), Arc::clone(mmk), dir, config.audit.clone()).await;
    let audit = audit.map_err(ServeError::start("audit chain"))?;
    let keys = KeyRing::open_with(world.clone(), catalog.clone(), Arc::clone(objects), Arc::clone(mmk), Arc::clone(&audit) as _).await;
    Ok((audit, keys.map_err(ServeError::start("keys"))?))
}

async fn recover(
    world: &World,
    layout: &Layout,
    config: &Config,
    catalog: &Catalog,
    keys: &Arc<KeyRing>,
) -> Result<(Arc<Buffer>, strongroom_buffer::Recovery), ServeError> {
    let mut guards = HashMap::new();
    for epoch in keys.epochs().await.map_err(ServeError::start("keys"))? {
        match keys.epoch_guard(epoch).await {
            Ok(guard) => drop(guards.insert(epoch, guard)),
            // A customer's: its log is read back when its vault has answered.
            Err(KeyError::NotLoaded { .. }) => {}
            Err(error) if keys.is_distrusted(epoch.account) => {
                tracing::error!(aek = %epoch.aek, account = %epoch.account, %error, "the log of a quarantined cluster is not read back");
            }
            Err(error) => return Err(ServeError::start("keys")(error)),
        }
    }
    let flushed = catalog.flushed_all().await.map_err(ServeError::start("catalog"))?;
    let flushed = flushed.into_iter().map(|(table, epoch, through)| ((table, epoch), through)).collect();
    let (world, dir, buffer_config) = (world.clone(), layout.wal(), config.buffer.clone());
    let (buffer, recovery) = tokio::task::spawn_blocking(move || Buffer::recover(world, &dir, buffer_config, &guards, &flushed))
        .await
        .map_err(|_| ServeError::Panicked("log recovery"))?
        .map_err(ServeError::start("log"))?;
    tracing::info!(
        segments = recovery.segments,
        records = recovery.records,
        rows = recovery.rows,
        cut = recovery.cut.len(),
        "log replayed"
    );
    for damage in &recovery.salvaged {
        tracing::error!(damage, "log damage passed over, as asked");
    }
    Ok((buffer, recovery))
}

/// The provider's root key: made at the first start, never replaced while there is data that needs the old one.
pub(crate) fn root_key(world: &World, config_dir: &Path, data_exists: bool) -> Result<Mmk, ServeError> {
    let path = mmk_path(config_dir);
    match world.fs.read(&path, 32) {
        Ok(bytes) => {
            let bytes: [u8; 32] =
                bytes.try_into().map_err(|_| ServeError::RootKey { path: path.clone(), problem: "it is not 32 bytes long" })?;
            refuse_open_mode(&path)?;
            Ok(Mmk::from_bytes(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && data_exists => Err(ServeError::RootKey {
            path,
            problem: "it is missing, but there is data sealed under it; bring the file back, a new key opens nothing",
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            world.rng.fill(&mut bytes);
            world.fs.write_atomic(&path, &bytes).map_err(|source| ServeError::directory(&path, source))?;
            Ok(Mmk::from_bytes(bytes))
        }
        Err(source) => Err(ServeError::directory(&path, source)),
    }
}

fn refuse_open_mode(path: &Path) -> Result<(), ServeError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_err(|source| ServeError::directory(path, source))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(ServeError::RootKey { path: path.to_owned(), problem: "others may read it; set its mode to 0600" });
    }
    Ok(())
}

/// Sets or mints the admin token; gives it back if it is to be printed.
async fn admin(world: &World, config_dir: &Path, principals: &Principals, given: Option<String>) -> Result<Option<String>, ServeError> {
    let path = admin_token_path(config_dir);
    if let Some(token) = given {
        principals.ensure_admin(Some(token.clone())).await.map_err(ServeError::start("admin token"))?;
        world.fs.write_atomic(&path, token.as_bytes()).map_err(|source| ServeError::directory(&path, source))?;
        return Ok(None);
    }
    let minted = principals.ensure_admin(None).await.map_err(ServeError::start("admin token"))?;
    if let Some(token) = &minted {
        world.fs.write_atomic(&path, token.as_bytes()).map_err(|source| ServeError::directory(&path, source))?;
    }
    Ok(minted)
}

fn warn_of_one_filesystem(config: &Config) -> Result<(), ServeError> {
    use std::os::unix::fs::MetadataExt;
    let device = |dir: &Path| std::fs::metadata(dir).map(|meta| meta.dev()).map_err(|source| ServeError::directory(dir, source));
    if device(&config.data_dir)? == device(&config.config_dir)? {
        if config.require_separate_root {
            return Err(ServeError::RootKey {
                path: config.config_dir.clone(),
                problem: "the config directory lies on the filesystem of the data, and require_separate_root is set",
            });
        }
        tracing::warn!("the root key lies on the filesystem of the data: who takes the disk takes both; see doctor");
    }
    Ok(())
}
