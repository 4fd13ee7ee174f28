//! The keys of one epoch behind a deadline: how a key that was taken away stops working everywhere at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use strongroom_model::{Epoch, KeyClass, WorkspaceId};
use strongroom_world::BootTime;

use crate::key::Key32;
use crate::secret::Purpose;
use crate::{Aek, GuardError, InfrastructureKey, WorkspaceSecret};

/// The deadline of a killed guard: before every boot.
const KILLED: u64 = 0;

/// The keys of one AEK while its lease holds. Clones share them; killing one wipes the keys of all, and those of every opener
/// and segment cipher made through them.
#[derive(Clone)]
pub struct KeyGuard {
    inner: Arc<Inner>,
}

struct Inner {
    epoch: Epoch,
    class: KeyClass,
    double: bool,
    /// Boot nanoseconds from which on no key is given; 0 once killed.
    deadline: AtomicU64,
    keys: RwLock<Option<Keys>>,
    shelters: Mutex<Shelters>,
}

/// What is derived from the AEK; the AEK itself is not kept.
pub(crate) struct Keys {
    epoch: Epoch,
    purposes: [Key32; Purpose::ALL.len()],
    infrastructure: Option<InfrastructureKey>,
    workspaces: HashMap<WorkspaceId, WorkspaceKeys>,
}

struct WorkspaceKeys {
    block: Key32,
    cell: Key32,
}

impl Keys {
    pub(crate) fn purpose(&self, purpose: Purpose) -> &Key32 {
        &self.purposes[purpose as usize]
    }

    /// The input key of a workspace's blocks.
    pub(crate) fn block(&self, workspace: WorkspaceId) -> Result<&Key32, GuardError> {
        Ok(&self.workspace(workspace)?.block)
    }

    /// The input key of a workspace's cells; the purpose key for a cell that belongs to no workspace.
    pub(crate) fn cell(&self, workspace: WorkspaceId) -> Result<&Key32, GuardError> {
        if workspace == WorkspaceId::NIL { Ok(self.purpose(Purpose::Cell)) } else { Ok(&self.workspace(workspace)?.cell) }
    }

    fn workspace(&self, workspace: WorkspaceId) -> Result<&WorkspaceKeys, GuardError> {
        self.workspaces.get(&workspace).ok_or(GuardError::NoWorkspace { epoch: self.epoch, workspace })
    }

    /// The input key of the outer layer.
    pub(crate) fn infrastructure(&self) -> Result<&Key32, GuardError> {
        self.infrastructure.as_ref().map(|key| &key.0).ok_or(GuardError::NoInfrastructureKey { epoch: self.epoch })
    }
}

impl KeyGuard {
    /// A guard that gives its keys until `deadline` ([`BootTime::NEVER`] for an MMK epoch).
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the guard spends the AEK: its derived keys are all that stays")]
    pub fn new(epoch: Epoch, class: KeyClass, aek: Aek, infrastructure: Option<InfrastructureKey>, deadline: BootTime) -> Self {
        let double = infrastructure.is_some();
        let purposes = Purpose::ALL.map(|purpose| aek.purpose_key(purpose));
        let keys = Keys { epoch, purposes, infrastructure, workspaces: HashMap::new() };
        Self {
            inner: Arc::new(Inner {
                epoch,
                class,
                double,
                deadline: AtomicU64::new(deadline.0.max(KILLED + 1)),
                keys: RwLock::new(Some(keys)),
                shelters: Mutex::default(),
            }),
        }
    }

    /// The epoch whose keys these are.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// Whether this is that very guard: one that was made anew for the same epoch is another.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Who can take them away.
    #[must_use]
    pub fn class(&self) -> KeyClass {
        self.inner.class
    }

    /// Whether the account has an infrastructure key: what it seals gets two layers ([`Header::double`](crate::Header)).
    #[must_use]
    pub fn is_double(&self) -> bool {
        self.inner.double
    }

    /// Whether the keys may be used at `now`. One atomic load.
    ///
    /// # Errors
    /// [`GuardError::Killed`], [`GuardError::Expired`].
    pub fn check(&self, now: BootTime) -> Result<(), GuardError> {
        match self.inner.deadline.load(Ordering::Acquire) {
            KILLED => Err(GuardError::Killed { epoch: self.inner.epoch }),
            deadline if deadline == BootTime::NEVER.0 || now.0 < deadline => Ok(()),
            _ => Err(GuardError::Expired { epoch: self.inner.epoch }),
        }
    }

    /// Moves the deadline. A killed guard stays dead.
    pub fn renew(&self, deadline: BootTime) {
        let renewed = |old| (old != KILLED).then_some(deadline.0.max(KILLED + 1));
        // `Err` is the killed one: nothing to renew.
        self.inner.deadline.fetch_update(Ordering::AcqRel, Ordering::Acquire, renewed).ok();
    }

    /// Wipes the keys for every holder; calls under way end before it returns or fail at their next chunk.
    pub fn kill(&self) {
        self.inner.deadline.store(KILLED, Ordering::Release);
        drop(self.inner.keys.write().take());
        self.inner.shelters.lock().wipe(|_| true);
    }

    /// Whether this workspace's keys are in.
    #[must_use]
    pub fn has_workspace(&self, workspace: WorkspaceId) -> bool {
        self.inner.keys.read().as_ref().is_some_and(|keys| keys.workspaces.contains_key(&workspace))
    }

    /// Derives and keeps a workspace's keys; the secret is spent. Nothing happens on a killed guard.
    #[expect(clippy::needless_pass_by_value, reason = "the guard spends the secret: its derived keys are all that stays")]
    pub fn install_workspace(&self, workspace: WorkspaceId, secret: WorkspaceSecret) {
        if let Some(keys) = self.inner.keys.write().as_mut() {
            let derived = WorkspaceKeys {
                block: secret.workspace_key(keys.purpose(Purpose::Block), workspace),
                cell: secret.workspace_key(keys.purpose(Purpose::Cell), workspace),
            };
            keys.workspaces.insert(workspace, derived);
        }
    }

    /// Wipes a workspace's keys, also in openers made through this guard.
    pub fn forget_workspace(&self, workspace: WorkspaceId) {
        if let Some(keys) = self.inner.keys.write().as_mut() {
            keys.workspaces.remove(&workspace);
        }
        self.inner.shelters.lock().wipe(|of| of == workspace);
    }

    /// Whether the guard has been killed since a check; for the middle of long work.
    pub(crate) fn still_alive(&self) -> Result<(), GuardError> {
        self.check(BootTime(0)).map_err(|_| GuardError::Killed { epoch: self.inner.epoch })
    }

    /// Gives the keys to `derive` if they may be used at `now`.
    pub(crate) fn with<T, E: From<GuardError>>(&self, now: BootTime, derive: impl FnOnce(&Keys) -> Result<T, E>) -> Result<T, E> {
        self.check(now)?;
        match self.inner.keys.read().as_ref() {
            Some(keys) => derive(keys),
            None => Err(GuardError::Killed { epoch: self.inner.epoch }.into()),
        }
    }

    /// Keeps what was derived from the keys so that the guard can wipe it.
    pub(crate) fn shelter<T: Send + Sync + 'static>(&self, workspace: WorkspaceId, secret: T) -> Arc<Shelter<T>> {
        let shelter = Arc::new(Shelter { epoch: self.inner.epoch, workspace, secret: RwLock::new(Some(secret)) });
        let weak: Weak<dyn Wipe> = Arc::downgrade(&(Arc::clone(&shelter) as Arc<dyn Wipe>));
        self.inner.shelters.lock().push(workspace, weak);
        // Killed, or the workspace forgotten, between derivation and registration: nobody else will wipe it.
        if self.still_alive().is_err() || (workspace != WorkspaceId::NIL && !self.has_workspace(workspace)) {
            shelter.wipe();
        }
        shelter
    }
}

impl fmt::Debug for KeyGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyGuard").field("epoch", &self.inner.epoch).field("class", &self.inner.class).finish_non_exhaustive()
    }
}

/// A derived secret that outlives one call, within reach of the guard it came from.
pub(crate) struct Shelter<T> {
    epoch: Epoch,
    workspace: WorkspaceId,
    secret: RwLock<Option<T>>,
}

impl<T> Shelter<T> {
    /// Gives the secret to `work` if `guard`, which must be of the same epoch, allows it at `now`.
    pub(crate) fn with<R, E: From<GuardError>>(
        &self,
        guard: &KeyGuard,
        now: BootTime,
        work: impl FnOnce(&T) -> Result<R, E>,
    ) -> Result<R, E> {
        guard.check(now)?;
        match self.secret.read().as_ref() {
            Some(secret) if guard.epoch() == self.epoch => work(secret),
            _ if self.workspace != WorkspaceId::NIL && !guard.has_workspace(self.workspace) => {
                Err(GuardError::NoWorkspace { epoch: self.epoch, workspace: self.workspace }.into())
            }
            _ => Err(GuardError::Killed { epoch: self.epoch }.into()),
        }
    }
}

trait Wipe: Send + Sync {
    fn wipe(&self);
}

impl<T: Send + Sync> Wipe for Shelter<T> {
    fn wipe(&self) {
        drop(self.secret.write().take());
    }
}

/// All shelters of a guard. Dead ones are swept when the list has doubled, so it stays below twice the living (at least 64).
#[derive(Default)]
struct Shelters {
    list: Vec<(WorkspaceId, Weak<dyn Wipe>)>,
    sweep_at: usize,
}

impl Shelters {
    fn push(&mut self, workspace: WorkspaceId, shelter: Weak<dyn Wipe>) {
        if self.list.len() >= self.sweep_at {
            self.list.retain(|(_, shelter)| shelter.strong_count() > 0);
            self.sweep_at = (self.list.len() * 2).max(64);
        }
        self.list.push((workspace, shelter));
    }

    fn wipe(&mut self, which: impl Fn(WorkspaceId) -> bool) {
        self.list.retain(|(workspace, shelter)| {
            let wipe = which(*workspace);
            if wipe && let Some(shelter) = shelter.upgrade() {
                shelter.wipe();
            }
            !wipe
        });
    }
}
