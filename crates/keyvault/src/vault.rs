//! The vault as one value: what is open, and how it changes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use strongroom_world::World;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access_log::AccessLog;
use crate::auth::{self, LoginBounds, Logins, Now};
use crate::config::VaultConfig;
use crate::error::VaultServerError;
use crate::files;
use crate::issuer::Issuers;
use crate::listen;
use crate::making::PutOff;
use crate::refusal::Refusal;
use crate::rights::PermissionModel;
use crate::root::{self, DirLock};
use crate::state::{Login, State};
use crate::store::Store;
use crate::tls::{self, Tls};

/// RSA operations at a time, and keys being made at a time: the rest waits in order.
const USES_AT_ONCE: usize = 8;
const MAKING_AT_ONCE: usize = 2;

/// A key vault, open on its directory.
pub struct Vault {
    pub(crate) world: World,
    pub(crate) config: VaultConfig,
    pub(crate) store: Store,
    state: RwLock<Arc<State>>,
    /// One change at a time, from reading the state to the disk.
    changing: Mutex<()>,
    pub(crate) logins: Mutex<Logins>,
    pub(crate) issuers: Issuers,
    pub(crate) log: Mutex<AccessLog>,
    tls: Tls,
    /// Hosts that requests may name, with ports; known once there is a listener.
    hosts: OnceLock<Vec<(String, u16)>>,
    pub(crate) uses: Semaphore,
    pub(crate) making: Semaphore,
    /// Keys whose policies could not be followed, and when that is tried again.
    pub(crate) put_off: Mutex<PutOff>,
    _lock: DirLock,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("name", &self.config.name).finish_non_exhaustive()
    }
}

/// How a vault protects its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Deleted keys can be recovered.
    pub soft_delete: bool,
    /// Deleted keys cannot be destroyed before their time.
    pub purge_protection: bool,
    /// Rights are given by roles; else by access policies.
    pub rbac: bool,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Admin,
    Principal(Uuid),
    /// An issuer vouches for it, and nobody registered it here.
    Unregistered(Uuid),
}

impl Vault {
    /// Opens a vault, or makes one: root key, CA, an admin token. Blocking. Gives the admin token if it minted one, to be
    /// shown once; a token given becomes the only one. Either way a copy for the command line lies in the directory.
    ///
    /// # Errors
    /// [`VaultServerError`]: another vault has the directory, the root key is missing, open to others or another vault's, a
    /// file cannot be read.
    pub fn open(world: World, config: VaultConfig, admin_token: Option<String>) -> Result<(Arc<Self>, Option<String>), VaultServerError> {
        config.check().map_err(VaultServerError::Config)?;
        let dir = config.dir.clone();
        world.fs.create_dir_all(&dir).map_err(VaultServerError::directory(&dir))?;
        let lock = DirLock::take(&dir)?;
        let sealed_before = world.fs.metadata(&files::state(&dir)).is_ok();
        let root_path = config.root_path();
        let mmk = root::root_key(&world, &root_path, sealed_before)?;
        let store = Store::new(world.clone(), &dir, &root_path, mmk);
        let known = store.load()?;

        let is_new = known.is_none();
        if admin_token.as_ref().is_some_and(|token| !auth::is_admin_token(token)) {
            return Err(VaultServerError::AdminToken);
        }
        let minted = (admin_token.is_none() && is_new).then(|| auth::mint("sva_", &*world.rng));
        let token = admin_token.map(Zeroizing::new).or_else(|| minted.clone().map(Zeroizing::new));
        let mut state = known.unwrap_or_else(|| State::new(tenant(&world), [0; 32]));
        if is_new && config.access_policies_only {
            state.properties.permission_model = PermissionModel::AccessPolicy;
        }
        let token_path = files::admin_token_path(&dir);
        if let Some(token) = &token {
            world.fs.write_atomic(&token_path, token.as_bytes()).map_err(VaultServerError::directory(&token_path))?;
            state.admin_sha256 = auth::sha256(token);
        }
        if token.is_some() {
            store.save(&state).map_err(VaultServerError::directory(&dir))?;
        }
        store.sweep(&mut state).map_err(VaultServerError::directory(&files::keys(&dir)))?;
        let log = AccessLog::open(world.clone(), &dir, config.log_entries, config.log_file_bytes)
            .map_err(VaultServerError::directory(&files::log(&dir)))?;
        let tls = Tls::open(&world, &dir, &store, state.tenant, certified(&config))?;
        let issuers = Issuers::open(&world, &config.issuers)?;
        let logins = Logins::new(Now { wall: world.clock.wall(), boot: world.clock.boot() });
        let vault = Self {
            world,
            config,
            store,
            state: RwLock::new(Arc::new(state)),
            changing: Mutex::new(()),
            logins: Mutex::new(logins),
            issuers,
            log: Mutex::new(log),
            tls,
            hosts: OnceLock::new(),
            uses: Semaphore::new(USES_AT_ONCE),
            making: Semaphore::new(MAKING_AT_ONCE),
            put_off: Mutex::default(),
            _lock: lock,
        };
        Ok((Arc::new(vault), minted))
    }

    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant_id(&self) -> String {
        self.state.read().tenant.to_string()
    }

    /// How it protects its keys as of now.
    #[must_use]
    pub fn protection(&self) -> Protection {
        let properties = self.state.read().properties;
        Protection {
            soft_delete: properties.soft_delete,
            purge_protection: properties.purge_protection,
            rbac: properties.permission_model == PermissionModel::Rbac,
        }
    }

    /// The certificate that clients of this vault trust (PEM); `ca.pem` in the directory holds the same.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.tls.ca_pem()
    }

    /// Serves until `stopping` turns true, then lets what is under way finish within the configured time.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stopping: watch::Receiver<bool>) {
        let port = listener.local_addr().map_or(self.config.listen.port(), |address| address.port());
        self.hosts.get_or_init(|| hosts(&self.config, port));
        let tls = match self.tls.config() {
            Ok(tls) => tls,
            Err(error) => {
                tracing::error!(%error, "the vault cannot serve");
                return;
            }
        };
        let keeper = tokio::spawn(Arc::clone(&self).keep(stopping.clone()));
        listen::serve(listener, Arc::clone(&self), tls, stopping).await;
        // It ends by itself: cut off in the middle it would leave its work on a blocking thread, and that the vault's directory locked.
        drop(keeper.await);
        self.log.lock().sync();
    }

    /// What has to be done now and then.
    async fn keep(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut seconds = 0_u64;
        // By itself: keys take their time to be made, and what was logged and deleted does not wait for them.
        let mut following: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break,
                () = self.world.clock.sleep(Duration::from_secs(1)) => {}
            }
            let vault = Arc::clone(&self);
            // A panic in it is on record by the hook; the next second is another try.
            drop(tokio::task::spawn_blocking(move || vault.log.lock().sync()).await);
            seconds += 1;
            if seconds.is_multiple_of(60) {
                let state = self.state();
                self.logins.lock().tidy(&state, self.world.clock.boot());
                self.tls.renew(self.now());
                if state.deleted.values().any(|deleted| deleted.purge <= self.now())
                    && let Err(refusal) = self
                        .change(|state, vault| {
                            state.purge_due(vault.now());
                            Ok(())
                        })
                        .await
                {
                    tracing::error!(code = refusal.code, "keys whose time to be recovered is over could not be destroyed");
                }
                if following.as_ref().is_none_or(JoinHandle::is_finished) {
                    let (vault, stopping) = (Arc::clone(&self), stopping.clone());
                    following = Some(tokio::spawn(async move { vault.follow_policies(&stopping).await }));
                }
            }
        }
        // It begins nothing new from now on; a key that is being made has the vault's directory until it is there.
        if let Some(following) = following {
            drop(following.await);
        }
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.world.clock.wall().unix_secs()
    }

    pub(crate) fn clocks(&self) -> Now {
        Now { wall: self.world.clock.wall(), boot: self.world.clock.boot() }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    pub(crate) fn login_bounds(&self) -> LoginBounds {
        LoginBounds {
            token_life: Duration::from_secs(self.config.token_life_s),
            tokens_per_identity: self.config.tokens_per_identity,
            logins_per_identity: self.config.logins_per_identity,
        }
    }

    /// Whom a bearer token belongs to; one of an issuer must be for one of `audiences`.
    pub(crate) async fn caller(&self, token: &str, audiences: &[String]) -> Option<Caller> {
        let state = self.state();
        if bool::from(auth::sha256(token).ct_eq(&state.admin_sha256)) {
            return Some(Caller::Admin);
        }
        let own = self.logins.lock().principal(&state, token, self.world.clock.boot());
        if let Some(principal) = own {
            return Some(Caller::Principal(principal));
        }
        let holder = self.issuers.holder(token, audiences, self.clocks()).await?;
        // An id alone says nothing: it must have been registered for this very issuer.
        let registered = self.state().identities.get(&holder.principal).is_some_and(|known| known.login == Login::Issuer(holder.issuer));
        Some(if registered { Caller::Principal(holder.principal) } else { Caller::Unregistered(holder.principal) })
    }

    /// Whether a request may name this host: `host` or `host:port`.
    pub(crate) fn answers_for(&self, host: &str) -> bool {
        let (name, port) = split_port(host);
        let port = port.unwrap_or(443);
        self.hosts.get().is_some_and(|hosts| hosts.iter().any(|(known, at)| known.eq_ignore_ascii_case(name) && *at == port))
    }

    /// Changes the state: on disk first, then for all to see; then private keys that are doomed by it are destroyed. It
    /// finishes even if the caller goes away.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut State, &Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let vault = Arc::clone(self);
        let changed = tokio::task::spawn_blocking(move || {
            let _turn = vault.changing.lock();
            let mut next = State::clone(&vault.state());
            let told = change(&mut next, &vault)?;
            vault.store.save(&next).map_err(|error| disk(&error))?;
            *vault.state.write() = Arc::new(next.clone());
            if !next.doomed.is_empty() {
                vault.destroy(&mut next);
                *vault.state.write() = Arc::new(next);
            }
            Ok(told)
        });
        changed.await.unwrap_or_else(|_| Err(Refusal::internal("The change was broken off.")))
    }
}

impl Vault {
    /// Destroys what is doomed. What cannot be destroyed now stays doomed: the next change or the next start tries again.
    /// That it is done goes to disk with the next change; until then a start does it once more.
    fn destroy(&self, state: &mut State) {
        state.doomed.retain(|version| match self.store.destroy(*version) {
            Ok(()) => false,
            Err(error) => {
                tracing::error!(%version, kind = %error.kind(), "a private key could not be destroyed yet");
                true
            }
        });
    }
}

/// What a disk that fails is told as.
pub(crate) fn disk(error: &std::io::Error) -> Refusal {
    tracing::error!(kind = %error.kind(), "the vault's directory cannot be written");
    Refusal::internal("The vault could not write to its disk. Ask for it again; until then it is not said whether it was done.")
}

fn tenant(world: &World) -> Uuid {
    let mut random = [0; 16];
    world.rng.fill(&mut random);
    uuid::Builder::from_random_bytes(random).into_uuid()
}

/// Names and addresses of the certificate.
fn certified(config: &VaultConfig) -> Vec<String> {
    let mut hosts: Vec<String> = tls::loopback().into();
    let listens = config.listen.ip();
    if !listens.is_unspecified() && !listens.is_loopback() {
        hosts.push(bracketed(config.listen));
    }
    hosts.extend(config.names.iter().map(|name| split_port(name).0.to_owned()));
    hosts.dedup();
    hosts
}

fn hosts(config: &VaultConfig, port: u16) -> Vec<(String, u16)> {
    let named = config.names.iter().map(|name| {
        let (name, own) = split_port(name);
        (name.to_owned(), own.unwrap_or(port))
    });
    certified(config).into_iter().map(|host| (host, port)).chain(named).collect()
}

fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// `host:port`, `[::1]:port`, or a host alone.
pub(crate) fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            (name, port.parse().ok())
        }
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use strongroom_world::sim::SimWorld;

    use super::*;
    use crate::crypto::{Curve, Kind, NewKey};
    use crate::key::Changes;
    use crate::rotation::PolicyIn;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_is_being_made_holds_up_nothing_else() {
        let (sim, dir) = (SimWorld::new(5), tempfile::tempdir().unwrap());
        let world = World { clock: sim.world().clock, ..World::real() };
        let (vault, _) = Vault::open(world, VaultConfig::at(dir.path()), Some("an-admins-token-of-a-test".to_owned())).unwrap();
        for name in ["rotated", "deleted"] {
            let make = || NewKey::generate(Kind::Ec(Curve::P256));
            vault.make(name.to_owned(), Changes::default(), None, |_| Ok(()), make).await.unwrap();
        }
        let policy = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P7D"},"action":{"type":"Rotate"}}]}"#;
        let changed = vault.change(move |state, vault| {
            state.set_policy("rotated", serde_json::from_str::<PolicyIn>(policy).unwrap().check(None, vault.now())?)?;
            (state.properties.soft_delete, state.properties.retention_days) = (true, 7);
            // Its time is over an hour after the other one's.
            state.delete("deleted", vault.now() + 3_600).map(drop)
        });
        changed.await.unwrap();
        let busy = vault.making.acquire_many(u32::try_from(MAKING_AT_ONCE).unwrap()).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let keeper = tokio::spawn(Arc::clone(&vault).keep(stopping));
        sim.clock().advance(Duration::from_hours(7 * 24));
        for _ in 0..20_000 {
            if vault.state().deleted.is_empty() {
                break;
            }
            sim.clock().advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        assert!(vault.state().deleted.is_empty(), "what is to be destroyed is, whatever is being made");
        drop(busy);
        stop.send_replace(true);
        sim.clock().advance(Duration::from_secs(1));
        tokio::time::timeout(Duration::from_secs(20), keeper).await.unwrap().unwrap();
    }

    /// A key that its owner takes away while the new version is being made: that would give it back.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_rotation_that_its_policy_no_longer_wants_once_the_key_is_made_is_none() {
        let (sim, dir) = (SimWorld::new(6), tempfile::tempdir().unwrap());
        let world = World { clock: sim.world().clock, ..World::real() };
        let (vault, _) = Vault::open(world, VaultConfig::at(dir.path()), Some("an-admins-token-of-a-test".to_owned())).unwrap();
        let make = || NewKey::generate(Kind::Ec(Curve::P256));
        vault.make("k".to_owned(), Changes::default(), None, |_| Ok(()), make).await.unwrap();
        let policy = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P7D"},"action":{"type":"Rotate"}}]}"#;
        let set = vault
            .change(move |state, vault| state.set_policy("k", serde_json::from_str::<PolicyIn>(policy).unwrap().check(None, vault.now())?));
        set.await.unwrap();
        let enable = async |enabled: bool| {
            let changes = Changes { enabled: Some(enabled), ..Changes::default() };
            vault.change(move |state, vault| state.update("k", None, vault.now(), &changes)).await.unwrap();
        };
        sim.clock().advance(Duration::from_hours(7 * 24));
        let (_stop, stopping) = watch::channel(false);
        {
            let busy = vault.making.acquire_many(u32::try_from(MAKING_AT_ONCE).unwrap()).await.unwrap();
            let mut following = std::pin::pin!(vault.follow_policies(&stopping));
            tokio::select! {
                biased;
                () = &mut following => panic!("it waits for its turn to make a key"),
                () = std::future::ready(()) => {}
            }
            enable(false).await;
            drop(busy);
            following.await;
        }
        assert_eq!(vault.state().key("k").unwrap().versions.len(), 1);
        enable(true).await;
        sim.clock().advance(Duration::from_mins(2));
        vault.follow_policies(&stopping).await;
        assert_eq!(vault.state().key("k").unwrap().versions.len(), 2, "given back, it is due");
    }
}
