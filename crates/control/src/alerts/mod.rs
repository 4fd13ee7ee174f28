//! Scheduled-query alerts: a question is asked on schedule, and somebody is called when its answer is a reason to.
//!
//! What a rule says and what it remembers of rows (which combinations of dimension values fired) are sealed under its workspace's
//! key ([`Safe`]); the schedule goes by a row in clear. While the key is away nothing is asked: the rules of the workspace are
//! suspended, with one notice, and go on with another. A window whose end nobody saw (the server was down, the key away) is never
//! looked at afterwards. A question that fails is a failure, told and counted, and never a condition that does not hold. What a
//! question means is not known here ([`Evaluate`]). Start at [`Alerts::put`] for rules, [`Alerts::run`] for what becomes of them.
//!
//! ```text
//! due ─claim─▶ open rule and memory ─▶ ask ─▶ RuleState::step ─▶ seal memory ─▶ write down ─▶ call ─▶ seal memory
//!   └─ key away ─▶ suspended, one notice           (pure)       └─ from here a crash tells again, under the same id
//! ```

mod calls;
mod groups;
mod locked;
mod ports;
mod rule;
mod runner;
mod state;
mod tell;
mod text;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strongroom_catalog::{AlertRow, AlertRuleRow, Catalog, WorkspaceRow};
use strongroom_model::{ErrorKind, ObjectId, PrincipalId};
use strongroom_world::{BootTime, World};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::audit::{Emit, Scribe};
use crate::{ControlError, Place};
pub use groups::{ActionGroup, ActionGroups, Receiver};
pub use locked::Locked;
pub use ports::{AskedAlert, Evaluate, Kept, Post, Safe};
pub use rule::{Aggregation, AlertRule, Condition, Dimension, Operator, Picked, iso_duration};
pub use state::Measured;
pub use tell::ALERTS_TABLE;

/// Characters of a name (Azure's limit).
const NAME_MAX: usize = 260;
const CHANGED: &str = "the alert rule was changed meanwhile";

/// How alerts are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Seconds between two questions of a rule at least.
    pub frequency_min_s: u64,
    /// Rules at most.
    pub rules_max: usize,
    /// Rules whose questions run at once.
    pub parallel_max: usize,
    /// Combinations of dimension values that one question may have; more is a failure.
    pub series_max: usize,
    /// Seconds that one question may take.
    pub query_time_max_s: u64,
    /// Calls about one alert to one webhook; each but the first waits, twice as long after each.
    pub calls_max: u32,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { frequency_min_s: 60, rules_max: 5_000, parallel_max: 4, series_max: 1_000, query_time_max_s: 30, calls_max: 8 }
    }
}

impl AlertsConfig {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`ControlError::Setting`], naming the first one out of bounds.
    pub fn check(&self) -> Result<(), ControlError> {
        for (name, value, min, max) in [
            ("frequency_min_s", self.frequency_min_s, 1, 86_400),
            ("rules_max", self.rules_max as u64, 0, 100_000),
            ("parallel_max", self.parallel_max as u64, 1, 64),
            ("series_max", self.series_max as u64, 1, 10_000),
            ("query_time_max_s", self.query_time_max_s, 1, 600),
            ("calls_max", u64::from(self.calls_max), 1, 20),
        ] {
            if !(min..=max).contains(&value) {
                return Err(ControlError::Setting { name, value, min, max });
            }
        }
        Ok(())
    }

    /// How often a rule may ask at most, ms.
    #[must_use]
    pub fn frequency_min_ms(&self) -> i64 {
        i64::try_from(self.frequency_min_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }
}

/// What alerts stand on.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its type")]
pub struct AlertDeps {
    pub world: World,
    pub catalog: Catalog,
    pub groups: Arc<ActionGroups>,
    pub safe: Arc<dyn Safe>,
    pub evaluate: Arc<dyn Evaluate>,
    pub post: Arc<dyn Post>,
    pub emit: Arc<dyn Emit>,
    /// Whom it is told that rules were suspended, went on, or failed.
    pub audit: Arc<dyn Scribe>,
}

impl fmt::Debug for AlertDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertDeps").finish_non_exhaustive()
    }
}

/// Alert rules and what becomes of them.
pub struct Alerts {
    deps: AlertDeps,
    config: AlertsConfig,
    /// Rules whose turn it is.
    running: Mutex<HashSet<ObjectId>>,
    places: Arc<Semaphore>,
    /// Calls that are being made; whoever waits for one holds no place.
    calls: Semaphore,
    /// Held while a rule is written.
    turn: tokio::sync::Mutex<()>,
    /// When keys were last looked at.
    looked: Mutex<Option<BootTime>>,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("running", &self.running.lock().len()).finish_non_exhaustive()
    }
}

/// Checks where a resource lies, and its name.
pub(crate) fn check_place(place: &Place) -> Result<(), ControlError> {
    place.check()?;
    let name = &place.name;
    let bad = |letter: char| letter.is_control() || r"/\<>*%&:?+#".contains(letter);
    if name.is_empty() || name.chars().count() > NAME_MAX || name.contains(bad) || name.ends_with(['.', ' ']) {
        let why = "1 to 260 characters are allowed, none of / \\ < > * % & : ? + #, and no point or space at the end";
        return Err(ControlError::Invalid { what: "name", why });
    }
    Ok(())
}

/// The path of an alert in a subscription.
#[must_use]
pub fn alert_path(subscription: &str, alert: ObjectId) -> String {
    format!("/subscriptions/{subscription}/providers/Microsoft.AlertsManagement/alerts/{alert}")
}

/// What is said of a rule besides its properties.
#[derive(Clone, Debug)]
pub struct AlertAsk {
    /// The region.
    pub region: String,
    /// The tags.
    pub tags: Map<String, Value>,
}

impl Alerts {
    /// Over these rooms.
    #[must_use]
    pub fn new(deps: AlertDeps, config: AlertsConfig) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(config.parallel_max.max(1)));
        Arc::new(Self {
            deps,
            config,
            running: Mutex::default(),
            places,
            calls: Semaphore::new(calls::CALLS_AT_ONCE_MAX),
            turn: tokio::sync::Mutex::default(),
            looked: Mutex::default(),
        })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &AlertsConfig {
        &self.config
    }

    /// Makes a rule, or writes one anew. Whether it is new. Its query was bound before, and the caller's rights were looked at.
    ///
    /// # Errors
    /// `AlertsStorageNotLinked` if it asks for storage that is not linked; `ActionGroupNotFound`; [`ControlError::Conflict`] if it is
    /// of another workspace; [`ControlError::Invalid`]; [`ControlError::TooMany`]; [`ControlError::Keys`] while the key is away.
    pub async fn put(
        &self,
        place: &Place,
        ask: AlertAsk,
        rule: &AlertRule,
        workspace: &WorkspaceRow,
        principal: PrincipalId,
    ) -> Result<(AlertRuleRow, bool), ControlError> {
        check_place(place)?;
        let _turn = self.turn.lock().await;
        let catalog = &self.deps.catalog;
        if catalog.principal(principal).await?.is_none() {
            let message = "a rule asks as whoever wrote it, later too: this caller is of another directory and not known then";
            return Err(said(ErrorKind::Forbidden, "AuthorizationFailed", message.to_owned()));
        }
        if rule.needs_linked_storage && !self.deps.safe.is_linked(workspace.id).await? {
            let message = "checkWorkspaceAlertsStorageConfigured is set, and the workspace has no storage account linked for Alerts";
            return Err(said(ErrorKind::Invalid, "AlertsStorageNotLinked", message.to_owned()));
        }
        for group in &rule.groups {
            if catalog.action_group(&group.subscription, &group.resource_group, &group.name).await?.is_none() {
                let message = format!("there is no action group {}, or you may not see it", group.name);
                return Err(said(ErrorKind::Invalid, "ActionGroupNotFound", message));
            }
        }
        let there = catalog.alert_rule(&place.subscription, &place.resource_group, &place.name).await?;
        if there.as_ref().is_some_and(|row| row.workspace != workspace.id) {
            return Err(ControlError::Conflict { why: "a rule stays with its workspace: delete it, or make another" });
        }
        if there.is_none() && catalog.alert_rules().await?.len() >= self.config.rules_max {
            return Err(ControlError::TooMany { what: "alert rules", max: self.config.rules_max });
        }
        let now_ms = self.now_ms();
        let row = AlertRuleRow {
            id: there.as_ref().map_or_else(|| self.mint(), |row| row.id),
            name: there.as_ref().map_or_else(|| place.name.clone(), |row| row.name.clone()),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: there.as_ref().map_or(ask.region, |row| row.region.clone()),
            tags: json!(ask.tags).to_string(),
            workspace: workspace.id,
            principal,
            enabled: rule.enabled,
            severity: rule.severity,
            frequency_ms: rule.frequency_ms,
            memory: there.as_ref().map_or_else(|| self.mint(), |row| row.memory),
            etag: self.mint(),
            next_ms: next_after(now_ms, rule.frequency_ms),
            calls_ms: there.as_ref().and_then(|row| row.calls_ms),
            outcome: there.as_ref().map_or_else(String::new, |row| row.outcome.clone()),
            outcome_ms: there.as_ref().map_or(0, |row| row.outcome_ms),
            failures: there.as_ref().map_or(0, |row| row.failures),
            suspended_ms: there.as_ref().and_then(|row| row.suspended_ms),
            created_ms: there.as_ref().map_or(now_ms, |row| row.created_ms),
            changed_ms: now_ms,
        };
        let before = match &there {
            Some(there) => {
                self.text(there).await?.and_then(|plain| text::decode(&plain, there.etag).ok().flatten()).map(|was| (there.etag, was))
            }
            None => None,
        };
        // The row that counts, whichever it is, finds the text that it was written with.
        self.keep_text(&row, &text::encode(row.etag, &rule.properties, before.clone())).await?;
        if let Err(error) = catalog.alert_rule_put(&row, there.as_ref().map(|row| row.etag)).await {
            let undone = match before {
                _ if there.is_none() => self.deps.safe.delete(workspace.id, row.id).await,
                Some((etag, was)) => self.keep_text(&row, &text::encode(etag, &was, None)).await,
                None => Ok(()),
            };
            if let Err(left) = undone {
                tracing::warn!(rule = %row.id, code = left.code(), "the text of an alert rule that was not written was left");
            }
            return Err(match error.kind() {
                ErrorKind::Conflict => ControlError::Conflict { why: CHANGED },
                _ => error.into(),
            });
        }
        if before.is_some()
            && let Err(error) = self.keep_text(&row, &text::encode(row.etag, &rule.properties, None)).await
        {
            tracing::warn!(rule = %row.id, code = error.code(), "the text before an alert rule's is kept until it is written again");
        }
        tracing::info!(rule = %row.id, workspace = %workspace.id, "alert rule written");
        Ok((row, there.is_none()))
    }

    /// One rule, without its texts.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn get(&self, place: &Place) -> Result<AlertRuleRow, ControlError> {
        let row = self.deps.catalog.alert_rule(&place.subscription, &place.resource_group, &place.name).await?;
        row.ok_or_else(|| ControlError::NotFound { what: "alert rule", name: place.name.clone() })
    }

    /// All rules, without their texts.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self) -> Result<Vec<AlertRuleRow>, ControlError> {
        Ok(self.deps.catalog.alert_rules().await?)
    }

    /// What a rule says: the text that was written along with this row, and no other.
    ///
    /// # Errors
    /// [`ControlError::Keys`] while its key is away; [`ControlError::NotFound`] if its text is gone; [`ControlError::Conflict`] if it was
    /// written anew since the row was read; `AlertRuleTextMismatch` if its text is of another writing; [`ControlError::Damaged`].
    pub async fn open(&self, row: &AlertRuleRow) -> Result<AlertRule, ControlError> {
        let damaged = || ControlError::Damaged { what: "the alert rule" };
        // Linking storage may have removed it (`azure.linked_storage_existing`).
        let gone = || ControlError::NotFound { what: "text of the alert rule", name: row.name.clone() };
        let plain = self.text(row).await?.ok_or_else(gone)?;
        if let Some(properties) = text::decode(&plain, row.etag).map_err(|_| damaged())? {
            // The setting may have changed since it was written.
            return AlertRule::read(properties, 1).map_err(|_| damaged());
        }
        match self.deps.catalog.alert_rule_by_id(row.id).await? {
            Some(now) if now.etag == row.etag => {
                let message = "the text of this alert rule was not written along with it, so it is not run: write the rule again";
                Err(said(ErrorKind::NotFound, "AlertRuleTextMismatch", message.to_owned()))
            }
            _ => Err(ControlError::Conflict { why: CHANGED }),
        }
    }

    async fn text(&self, row: &AlertRuleRow) -> Result<Option<Zeroizing<Vec<u8>>>, ControlError> {
        self.deps.safe.get(row.workspace, Kept::Rule, row.id).await
    }

    async fn keep_text(&self, row: &AlertRuleRow, plain: &[u8]) -> Result<(), ControlError> {
        self.deps.safe.put(row.workspace, Kept::Rule, row.id, plain).await
    }

    /// Whether what rules of a workspace say lies in an account that the customer linked.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn is_linked(&self, row: &AlertRuleRow) -> Result<bool, ControlError> {
        self.deps.safe.is_linked(row.workspace).await
    }

    /// Takes a rule away, with its texts and what is known of its alerts. Takes no key. Whether it was there.
    ///
    /// # Errors
    /// What catalog and store say.
    pub async fn delete(&self, row: &AlertRuleRow) -> Result<bool, ControlError> {
        let _turn = self.turn.lock().await;
        // Texts first: a rule without them is seen to be damaged, texts without a rule are seen by nobody.
        for id in [row.id, row.memory] {
            self.deps.safe.delete(row.workspace, id).await?;
        }
        Ok(self.deps.catalog.alert_rule_delete(row.id).await?)
    }

    /// The alerts of a rule, newest first.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn alerts(&self, rule: &AlertRuleRow) -> Result<Vec<AlertRow>, ControlError> {
        Ok(self.deps.catalog.alerts(rule.id).await?)
    }

    /// An alert and its rule; `None`: there is none.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn alert(&self, id: ObjectId) -> Result<Option<(AlertRow, AlertRuleRow)>, ControlError> {
        let Some(alert) = self.deps.catalog.alert_by_id(id).await? else { return Ok(None) };
        Ok(self.deps.catalog.alert_rule_by_id(alert.rule).await?.map(|rule| (alert, rule)))
    }

    fn now_ms(&self) -> i64 {
        self.deps.world.clock.wall().unix_ms()
    }

    fn mint(&self) -> ObjectId {
        let (ms, random) = self.deps.world.id_seed();
        ObjectId::mint(ms, random)
    }
}

/// The first multiple of `every` after `now`: when a rule is due.
fn next_after(now_ms: i64, every_ms: i64) -> i64 {
    (now_ms.div_euclid(every_ms) + 1) * every_ms
}

fn said(kind: ErrorKind, code: &'static str, message: String) -> ControlError {
    ControlError::Elsewhere(crate::Said { kind, code, message })
}
