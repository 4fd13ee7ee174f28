//! Lockbox: the provider's staff sees a customer's rows when the customer said so, of one workspace, for a time.
//!
//! A role may run the service without a right to read (`Operator`). What such a caller asks is judged here each time keys are
//! asked for ([`Judge`]): a table of the Auxiliary plan is not covered and may be read; any other takes a request that a role on
//! the subscription approved, and only until its time is over or the customer ends it. What nobody linked to a dedicated
//! cluster is not covered either: there roles decide, and the role has no right. Each step is told.
//!
//! ```text
//! request ─▶ Pending ─approve─▶ Approved ─time over─▶ Expired
//!               ├─reject─▶ Rejected   └─end─▶ Ended
//!               └─nobody answers in time─▶ Expired
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use strongroom_catalog::{Catalog, LockboxRow, LockboxState, TablePlan, WorkspaceRow};
use strongroom_keys::{Approval, Judge, KeyError, Refused, Verdict};
use strongroom_model::{ErrorKind, ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_world::World;

use crate::audit::{Audit, Event, name};
use crate::clusters::rfc3339;
use crate::tables::alone;
use crate::{Caller, ControlError, Principals, Refusal, ScopePath, action};

const HOUR_MS: i64 = 3_600_000;
/// Characters of a reason.
const REASON_MAX: usize = 1_000;
/// Workspaces whose place is remembered.
const PLACES_MAX: usize = 10_000;
/// Requests shown at most, the newest.
const LIST_MAX: u32 = 1_000;

/// Lockbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LockboxConfig {
    /// Hours that a customer has to answer a request; then it expires.
    pub answer_hours: u32,
    /// Hours that one approval can last at most.
    pub hours_max: u32,
    /// Regions where Lockbox is not available: requests there are refused.
    pub unavailable_regions: Vec<String>,
}

impl Default for LockboxConfig {
    fn default() -> Self {
        Self { answer_hours: 96, hours_max: 24, unavailable_regions: Vec::new() }
    }
}

impl LockboxConfig {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`ControlError::Setting`], naming the first one out of bounds.
    pub fn check(&self) -> Result<(), ControlError> {
        for (name, value, max) in [("lockbox.answer_hours", self.answer_hours, 720), ("lockbox.hours_max", self.hours_max, 168)] {
            if !(1..=max).contains(&value) {
                return Err(ControlError::Setting { name, value: u64::from(value), min: 1, max: u64::from(max) });
            }
        }
        Ok(())
    }

    fn excludes(&self, region: &str) -> bool {
        self.unavailable_regions.iter().any(|name| crate::clusters::region_name(name) == crate::clusters::region_name(region))
    }
}

/// The requests of a catalog, and the judge of who may read.
#[derive(Debug)]
pub struct Lockbox {
    world: World,
    catalog: Catalog,
    principals: Arc<Principals>,
    audit: Arc<Audit>,
    config: LockboxConfig,
    /// Approvals that somebody read under since the start; each until it is over.
    approvals: Mutex<HashMap<ObjectId, Arc<Approval>>>,
    /// Where workspaces are: that never changes.
    places: Mutex<HashMap<WorkspaceId, ScopePath>>,
}

impl Lockbox {
    /// The requests of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, principals: Arc<Principals>, audit: Arc<Audit>, config: LockboxConfig) -> Arc<Self> {
        Arc::new(Self { world, catalog, principals, audit, config, approvals: Mutex::default(), places: Mutex::default() })
    }

    /// Asks the customer for leave to read a workspace's rows for some hours.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`]; [`ControlError::Invalid`] and [`ControlError::Setting`] for reason and hours; B2, B4; one that
    /// is open already.
    pub async fn request(&self, caller: &Caller, workspace: &WorkspaceRow, reason: &str, hours: u32) -> Result<LockboxRow, ControlError> {
        caller.check(action::LOCKBOX_REQUEST, &ScopePath::workspace(workspace))?;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control) {
            return Err(ControlError::Invalid { what: "reason", why: "1 to 1000 characters, none of them a control character" });
        }
        if !(1..=self.config.hours_max).contains(&hours) {
            return Err(ControlError::Setting { name: "hours", value: u64::from(hours), min: 1, max: u64::from(self.config.hours_max) });
        }
        let name = workspace.name.to_string();
        let Some(link) = workspace.link else {
            return Err(Refusal::LockboxNotCovered { workspace: name }.into());
        };
        let cluster = self.catalog.cluster_get(link.cluster).await?.ok_or(ControlError::Damaged { what: "the cluster of a link" })?;
        for region in [&cluster.region, &workspace.region] {
            if self.config.excludes(region) {
                return Err(Refusal::LockboxNotAvailable { region: region.clone() }.into());
            }
        }
        let now_ms = self.now_ms();
        let mine = |row: &LockboxRow| row.workspace == workspace.id && row.requester == caller.principal;
        let known = self.catalog.lockbox_list(LIST_MAX).await?;
        let open = known.into_iter().filter(mine).map(|row| seen(row, now_ms));
        if let Some(row) = open.into_iter().find(|row| matches!(row.state, LockboxState::Pending | LockboxState::Approved)) {
            return Err(Refusal::LockboxAsked { workspace: name, id: row.id.to_string(), state: row.state.as_str() }.into());
        }
        let (ms, random) = self.world.id_seed();
        let row = LockboxRow {
            id: ObjectId::mint(ms, random),
            workspace: workspace.id,
            cluster: cluster.id,
            requester: caller.principal,
            requester_name: caller.name.clone(),
            reason: reason.to_owned(),
            hours,
            state: LockboxState::Pending,
            asked_ms: now_ms,
            answer_by_ms: now_ms + i64::from(self.config.answer_hours) * HOUR_MS,
            decided: None,
            until_ms: None,
            ended_ms: None,
        };
        self.audit.record(told(name::LOCKBOX_REQUESTED, &row).by(caller.principal)).await?;
        self.catalog.lockbox_insert(&row).await?;
        Ok(row)
    }

    /// The requests about workspaces that a caller sees, newest first.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<LockboxRow>, ControlError> {
        let now_ms = self.now_ms();
        let mut shown = Vec::new();
        for row in self.catalog.lockbox_list(LIST_MAX).await? {
            if caller.may(action::LOCKBOX_READ, &self.place(row.workspace).await?) {
                shown.push(seen(row, now_ms));
            }
        }
        Ok(shown)
    }

    /// Where a workspace is, deleted or not; everything, of one that is gone: only who may see everything sees what is left of it.
    async fn place(&self, workspace: WorkspaceId) -> Result<ScopePath, ControlError> {
        if let Some(known) = self.places.lock().get(&workspace) {
            return Ok(known.clone());
        }
        let found = match self.catalog.workspace(workspace).await? {
            Some(row) => Some(row),
            None => self.catalog.workspaces_kept().await?.into_iter().find(|row| row.id == workspace),
        };
        let Some(row) = found else { return Ok(ScopePath::root()) };
        let place = ScopePath::workspace(&row);
        let mut places = self.places.lock();
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert(workspace, place.clone());
        Ok(place)
    }

    /// One request.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`]; [`ControlError::NotFound`], also for one about a workspace that the caller does not see.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<LockboxRow, ControlError> {
        let row = self.find(caller, id).await?;
        caller.check(action::LOCKBOX_READ, &self.place(row.workspace).await?)?;
        Ok(row)
    }

    async fn find(&self, caller: &Caller, id: &str) -> Result<LockboxRow, ControlError> {
        let absent = || ControlError::NotFound { what: "Lockbox request", name: id.to_owned() };
        let row = self.catalog.lockbox_get(id.parse().map_err(|_| absent())?).await?.ok_or_else(absent)?;
        let place = self.place(row.workspace).await?;
        // Of a workspace that is gone there is no place left: what is everywhere, each would see.
        let sees = if place.is_root() { caller.may(action::LOCKBOX_READ, &place) } else { caller.sees(&place) };
        if sees { Ok(seen(row, self.now_ms())) } else { Err(absent()) }
    }

    /// The customer's answer: yes, for as long as was asked for and from now on; or no.
    ///
    /// # Errors
    /// B3; [`ControlError::Forbidden`]; one that is settled; one's own.
    pub async fn decide(&self, caller: &Caller, id: &str, approve: bool) -> Result<LockboxRow, ControlError> {
        let mut row = self.find(caller, id).await?;
        self.subscription(caller, row.workspace).await?;
        if row.requester == caller.principal {
            return Err(Refusal::LockboxOwnRequest.into());
        }
        let wanted = if approve { "approved" } else { "rejected" };
        let settled =
            |row: &LockboxRow| ControlError::from(Refusal::LockboxSettled { id: row.id.to_string(), state: word(row.state), wanted });
        if row.state != LockboxState::Pending {
            return Err(settled(&row));
        }
        let now_ms = self.now_ms();
        row.state = if approve { LockboxState::Approved } else { LockboxState::Rejected };
        row.decided = Some((caller.principal, caller.name.clone(), now_ms));
        row.until_ms = approve.then(|| now_ms + i64::from(row.hours) * HOUR_MS);
        // In the chain before it holds: nobody is let in unseen.
        let event = if approve { name::LOCKBOX_APPROVED } else { name::LOCKBOX_REJECTED };
        self.audit.record(told(event, &row).by(caller.principal)).await?;
        if !self.catalog.lockbox_move(&row, LockboxState::Pending).await? {
            return Err(settled(&self.find(caller, id).await?));
        }
        Ok(row)
    }

    /// Ends an approval early, or takes a request back: nothing leaves under it from here on. The customer may, and who asked.
    ///
    /// # Errors
    /// B3; [`ControlError::Forbidden`]; one that is settled.
    pub async fn end(&self, caller: &Caller, id: &str) -> Result<LockboxRow, ControlError> {
        let mut row = self.find(caller, id).await?;
        let own = row.requester == caller.principal && caller.may(action::LOCKBOX_REQUEST, &self.place(row.workspace).await?);
        if !own {
            self.subscription(caller, row.workspace).await?;
        }
        let settled = |row: &LockboxRow| {
            ControlError::from(Refusal::LockboxSettled { id: row.id.to_string(), state: word(row.state), wanted: "ended" })
        };
        let from = row.state;
        if !matches!(from, LockboxState::Pending | LockboxState::Approved) {
            return Err(settled(&row));
        }
        row.state = LockboxState::Ended;
        row.ended_ms = Some(self.now_ms());
        if !self.catalog.lockbox_move(&row, from).await? {
            return Err(settled(&self.find(caller, id).await?));
        }
        // Written down first: whoever is judged from now on finds it so.
        if let Some(approval) = self.approvals.lock().remove(&row.id) {
            approval.end();
        }
        self.audit.record(told(name::LOCKBOX_ENDED, &row).by(caller.principal)).await?;
        Ok(row)
    }

    /// Writes down, and tells, which requests are over by now. Nobody is let in by one that it has not come to yet.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn tidy(&self) -> Result<usize, ControlError> {
        let now_ms = self.now_ms();
        let mut done = 0;
        for mut row in self.catalog.lockbox_over(now_ms).await? {
            let from = row.state;
            row.state = LockboxState::Expired;
            row.ended_ms = Some(now_ms);
            if self.catalog.lockbox_move(&row, from).await? {
                self.approvals.lock().remove(&row.id);
                self.audit.note(told(name::LOCKBOX_EXPIRED, &row));
                done += 1;
            }
        }
        Ok(done)
    }

    /// B3: refuses unless the caller may approve on the workspace's whole subscription.
    async fn subscription(&self, caller: &Caller, workspace: WorkspaceId) -> Result<(), ControlError> {
        let place = self.place(workspace).await?;
        caller.check(action::LOCKBOX_APPROVE, &place)?;
        if caller.may(action::LOCKBOX_APPROVE, &place.of_subscription()) {
            return Ok(());
        }
        Err(Refusal::LockboxNeedsSubscription { role: caller.roles_at(&place) }.into())
    }

    /// What a principal without a right of its own may read.
    async fn staff(&self, caller: &Caller, place: &ScopePath, workspace: WorkspaceId, table: TableId) -> Result<Verdict, KeyError> {
        let home = self.catalog.workspace(workspace).await?;
        let row = self.catalog.table(table).await?.filter(|row| row.workspace == workspace);
        let (Some(home), Some(row)) = (home, row) else {
            return Err(refused("AuthorizationFailed", "there is no such table, or you may not see it"));
        };
        if home.link.is_none() {
            let why = format!(
                "{}, and Lockbox does not cover workspace {}: it is not linked to a dedicated cluster",
                caller.forbidden(action::QUERY, place),
                home.name
            );
            return Err(refused("AuthorizationFailed", &why));
        }
        if row.plan == TablePlan::Auxiliary {
            return Ok(Verdict::Own);
        }
        let now_ms = self.now_ms();
        if let Some(found) = self.catalog.lockbox_approved(workspace, caller.principal, now_ms).await?
            && let Some(until_ms) = found.until_ms
        {
            let left = Duration::from_millis(u64::try_from(until_ms - now_ms).unwrap_or(0));
            let fresh = || Approval::new(found.id, self.world.clock.boot().after(left));
            let approval = Arc::clone(self.approvals.lock().entry(found.id).or_insert_with(fresh));
            // Looked at again now that whoever ends it finds it: of the two, one sees the other.
            if self.catalog.lockbox_get(found.id).await?.is_some_and(|row| row.state == LockboxState::Approved) {
                return Ok(Verdict::Until(approval));
            }
            approval.end();
            self.approvals.lock().remove(&found.id);
        }
        let why = format!(
            "reading workspace {} takes a Lockbox request that its customer approved, for you and for now: strongroom lockbox request",
            home.name
        );
        Err(refused("LockboxApprovalRequired", &why))
    }

    fn now_ms(&self) -> i64 {
        self.world.clock.wall().unix_ms()
    }

    /// What the provider's staff read is in the chain before a row of it is; a refusal is noted.
    async fn tell_read(
        &self,
        caller: &Caller,
        workspace: WorkspaceId,
        table: TableId,
        outcome: &Result<Verdict, KeyError>,
    ) -> Result<(), KeyError> {
        let event = match outcome {
            Ok(Verdict::Until(_)) => name::LOCKBOX_READ,
            Ok(Verdict::Own) => name::LOCKBOX_READ_AUXILIARY,
            Err(_) => name::LOCKBOX_REFUSED,
        };
        let event = Event::new(event).by(caller.principal).workspace(workspace).with("table", table.to_string());
        match outcome {
            Err(error) => self.audit.note(event.code(error.code())),
            Ok(verdict) => {
                let event =
                    if let Verdict::Until(approval) = verdict { event.with("request", approval.request().to_string()) } else { event };
                let written = self.audit.record(event).await;
                written.map_err(|_| {
                    refused("AuditUnavailable", "what you read is to be written down first, and that failed; try again later")
                })?;
            }
        }
        Ok(())
    }
}

/// A step of a request.
fn told(event: &'static str, row: &LockboxRow) -> Event {
    let event = Event::new(event).workspace(row.workspace).cluster(row.cluster).code(row.state.as_str());
    let event = event.with("request", row.id.to_string()).with("requester", row.requester.to_string()).with("hours", row.hours);
    row.until_ms.map_or(event.clone(), |until_ms| event.with("until", rfc3339(until_ms)))
}

#[async_trait]
impl Judge for Lockbox {
    async fn judge(&self, principal: PrincipalId, workspace: WorkspaceId, table: TableId) -> Result<Verdict, KeyError> {
        let unknown = || refused("AuthorizationFailed", "whoever asks is not known here");
        let caller = match self.principals.by_id(principal).await {
            Ok(caller) => caller,
            Err(ControlError::Catalog(error)) => return Err(error.into()),
            Err(_) => return Err(unknown()),
        };
        if caller.may(action::QUERY, &ScopePath::root()) {
            return Ok(Verdict::Own);
        }
        let place = match self.place(workspace).await {
            Ok(place) => place,
            Err(ControlError::Catalog(error)) => return Err(error.into()),
            Err(_) => return Err(unknown()),
        };
        if !caller.sees(&place) {
            return Err(unknown());
        }
        if caller.may(action::QUERY, &place) {
            return Ok(Verdict::Own);
        }
        // A right on a table alone.
        if caller.may_within(action::QUERY, &place)
            && let Some(row) = self.catalog.table(table).await?.filter(|row| row.workspace == workspace)
            && caller.may(action::QUERY, &place.table(row.name.as_str()))
            && alone(&self.catalog, workspace, &row.name).await?
        {
            return Ok(Verdict::Own);
        }
        if !caller.may(action::QUERY_APPROVED, &place) {
            let why = caller.forbidden(action::QUERY, &place).to_string();
            return Err(refused("AuthorizationFailed", &why));
        }
        let outcome = self.staff(&caller, &place, workspace, table).await;
        // A catalog that does not answer is no refusal.
        if !outcome.as_ref().is_err_and(|error| error.kind() != ErrorKind::Forbidden) {
            self.tell_read(&caller, workspace, table, &outcome).await?;
        }
        outcome
    }
}

fn refused(code: &'static str, why: &str) -> KeyError {
    KeyError::NotAllowed(Refused { code, why: why.to_owned() })
}

/// As it stands at `now_ms`: its time may be over and nobody has written it down yet.
fn seen(mut row: LockboxRow, now_ms: i64) -> LockboxRow {
    let over = match row.state {
        LockboxState::Pending => row.answer_by_ms <= now_ms,
        LockboxState::Approved => row.until_ms.is_some_and(|until_ms| until_ms <= now_ms),
        _ => false,
    };
    if over {
        row.state = LockboxState::Expired;
    }
    row
}

/// A state in a sentence.
const fn word(state: LockboxState) -> &'static str {
    match state {
        LockboxState::Pending => "pending",
        LockboxState::Approved => "approved",
        LockboxState::Rejected => "rejected",
        LockboxState::Ended => "ended",
        LockboxState::Expired => "expired",
    }
}
