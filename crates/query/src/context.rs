//! What one running query holds: its guards, its first failure, its counters, its off switch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use arrow_schema::SortOptions;
use parking_lot::Mutex;
use strongroom_envelope::KeyGuard;
use strongroom_keys::{Pass, Warrant};
use strongroom_model::{AccountId, Epoch, ObjectId, PrincipalId, TableId, TimeRange, WorkspaceId};
use strongroom_world::World;
use tokio_util::sync::CancellationToken;

use crate::counted::Reads;
use crate::error::{guard_error, shut_error};
use crate::explain::{Fate, Pruned};
use crate::{QueryError, QueryStats};

/// Shared by the tables, the block store and the gate of one query.
pub(crate) struct QueryContext {
    pub(crate) world: World,
    pub(crate) workspace: WorkspaceId,
    pub(crate) principal: PrincipalId,
    /// Leave of the account that the workspace is linked to.
    pass: Pass,
    /// Of those that other workspaces are linked to which the text names.
    more: Mutex<Vec<Pass>>,
    pub(crate) timespan: Option<TimeRange>,
    pub(crate) explain: bool,
    pub(crate) cancel: CancellationToken,
    pub(crate) stats: Arc<QueryStats>,
    /// How the newest rows are wanted, if that is what the query asks for: set between logical and physical planning.
    pub(crate) newest: OnceLock<SortOptions>,
    guards: Mutex<BTreeMap<Epoch, KeyGuard>>,
    /// Leave of the other accounts that rows come from: of clusters that the workspace was linked to once.
    others: Mutex<Vec<Pass>>,
    /// Leave to read each table named.
    warrants: Mutex<HashMap<TableId, Warrant>>,
    fault: Mutex<Option<QueryError>>,
    fates: Mutex<Vec<Fate>>,
    /// What each scan may read, until planning is done.
    reads: Mutex<Vec<Arc<Reads>>>,
}

impl std::fmt::Debug for QueryContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryContext").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

impl QueryContext {
    pub(crate) fn new(
        world: World,
        workspace: WorkspaceId,
        principal: PrincipalId,
        pass: Pass,
        timespan: Option<TimeRange>,
        explain: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            world,
            workspace,
            principal,
            pass,
            more: Mutex::default(),
            timespan,
            explain,
            cancel: CancellationToken::new(),
            stats: Arc::new(QueryStats::default()),
            newest: OnceLock::new(),
            guards: Mutex::new(BTreeMap::new()),
            others: Mutex::default(),
            warrants: Mutex::default(),
            fault: Mutex::new(None),
            fates: Mutex::new(Vec::new()),
            reads: Mutex::default(),
        })
    }

    /// The guard of an epoch this query already touched.
    pub(crate) fn guard(&self, epoch: Epoch) -> Option<KeyGuard> {
        self.guards.lock().get(&epoch).cloned()
    }

    /// From now on no batch leaves unless this warrant still holds.
    pub(crate) fn entitle(&self, warrant: Warrant) {
        self.warrants.lock().insert(warrant.table(), warrant);
    }

    /// The account that the workspace is linked to.
    pub(crate) fn account(&self) -> AccountId {
        self.pass.account()
    }

    /// Leave to read a table, if it was given.
    pub(crate) fn warrant(&self, table: TableId) -> Result<Warrant, QueryError> {
        self.warrants.lock().get(&table).cloned().ok_or_else(|| QueryError::internal("a table is read without a warrant"))
    }

    /// Whether every table may still be read by who asked.
    pub(crate) fn check_warrants(&self) -> Result<(), QueryError> {
        let now = self.world.clock.boot();
        self.warrants
            .lock()
            .values()
            .try_for_each(|warrant| warrant.check(now))
            .map_err(|error| QueryError::new(error.kind(), error.code(), format!("{error}; the query was under way and was stopped")))
    }

    /// From now on no batch leaves unless this leave still holds.
    pub(crate) fn admit(&self, pass: Pass) {
        self.more.lock().push(pass);
    }

    /// From now on no batch leaves unless this guard still holds, nor while a denial of its account's key is being confirmed.
    pub(crate) fn touch(&self, guard: KeyGuard, pass: Option<Pass>) {
        if let Some(pass) = pass.filter(|pass| pass.account() != self.pass.account()) {
            let mut others = self.others.lock();
            if others.iter().all(|known| known.account() != pass.account()) {
                others.push(pass);
            }
        }
        self.guards.lock().insert(guard.epoch(), guard);
    }

    pub(crate) fn touches(&self, epoch: Epoch) -> bool {
        self.guards.lock().contains_key(&epoch)
    }

    /// Whether rows of this account's keys, or of a workspace that is linked to it, may be in the answer.
    pub(crate) fn concerns(&self, account: AccountId) -> bool {
        let passes = std::iter::once(self.pass.account()).chain(self.more.lock().iter().map(Pass::account)).any(|known| known == account);
        passes || self.guards.lock().keys().any(|epoch| epoch.account == account)
    }

    /// Remembers the first failure: what DataFusion makes of it on the way up loses kind and block.
    pub(crate) fn fail(&self, error: QueryError) {
        self.fault.lock().get_or_insert(error);
    }

    /// The first failure. It stays the first, whoever has been told: a key that goes fails a query at several places.
    pub(crate) fn fault(&self) -> Option<QueryError> {
        self.fault.lock().clone()
    }

    /// The egress gate: whether rows may still leave.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        if let Some(error) = self.fault() {
            return Err(error);
        }
        self.pass.check().map_err(|error| shut_error(&error))?;
        self.more.lock().iter().try_for_each(Pass::check).map_err(|error| shut_error(&error))?;
        self.check_warrants()?;
        let now = self.world.clock.boot();
        for guard in self.guards.lock().values() {
            guard.check(now).map_err(|error| guard_error(&error))?;
        }
        Ok(())
    }

    /// As [`check`](Self::check), after waiting while a denial is being confirmed.
    pub(crate) async fn hold(&self) -> Result<(), QueryError> {
        let others: Vec<Pass> = self.more.lock().iter().chain(self.others.lock().iter()).cloned().collect();
        for pass in std::iter::once(&self.pass).chain(&others) {
            pass.hold(&self.world).await.map_err(|error| self.fault().unwrap_or_else(|| shut_error(&error)))?;
        }
        self.check()
    }

    pub(crate) fn record_fates(&self, fates: impl IntoIterator<Item = Fate>) {
        if self.explain {
            self.fates.lock().extend(fates);
        }
    }

    /// These blocks are not read but answered by their counts, each as often as it is here.
    pub(crate) fn counted(&self, blocks: impl Iterator<Item = ObjectId>) {
        if !self.explain {
            return;
        }
        let mut left: HashMap<ObjectId, usize> = HashMap::new();
        blocks.for_each(|block| *left.entry(block).or_default() += 1);
        for fate in self.fates.lock().iter_mut() {
            let Fate::Block { object, pruned: pruned @ None, .. } = fate else { continue };
            if let Some(times) = left.get_mut(object).filter(|times| **times > 0) {
                *times -= 1;
                *pruned = Some(Pruned::Counts);
            }
        }
    }

    /// A scan tells how many blocks it would read, before it is known which need not be.
    pub(crate) fn expect(&self, reads: Arc<Reads>) {
        self.reads.lock().push(reads);
    }

    /// Whether no scan reads too many blocks, now that planning is done.
    pub(crate) fn check_reads(&self) -> Result<(), QueryError> {
        std::mem::take(&mut *self.reads.lock()).iter().try_for_each(|reads| reads.check())
    }

    pub(crate) fn take_fates(&self) -> Vec<Fate> {
        std::mem::take(&mut *self.fates.lock())
    }
}
