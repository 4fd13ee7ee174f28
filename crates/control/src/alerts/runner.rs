//! The schedule: whose turn it is, what is asked, what is remembered and told of it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use strongroom_catalog::{AlertRuleRow, WorkspaceRow};
use strongroom_model::{ErrorKind, ObjectId, TimeRange, WorkspaceId};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::ports::{AskedAlert, Kept};
use super::rule::AlertRule;
use super::state::RuleState;
use super::{Alerts, CHANGED, next_after};
use crate::ControlError;
use crate::audit::{Event, name};

/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether keys are there.
const LOOK: Duration = Duration::from_secs(5);
/// Rules that are looked up at once.
const DUE_MAX: u32 = 256;
/// How old the written outcome of a rule that works may be.
const OUTCOME_AGE_MAX_MS: i64 = 300_000;
/// A rule's memory as it is sealed.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Memory {
    /// What the condition was; of another nothing is remembered.
    of: String,
    pub(super) state: RuleState,
}

/// Takes a rule's turn back, however it ends.
struct Turn<'a>(&'a Alerts, ObjectId);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.running.lock().remove(&self.1);
    }
}

impl Alerts {
    /// Asks on schedule until told to stop. What was due before is passed over: nobody looked then, and nobody is called now.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut begun = false;
        loop {
            let done = if begun { self.round().await.map(drop) } else { self.begin().await };
            match done {
                Ok(()) => begun = true,
                Err(error) => tracing::warn!(code = error.code(), "alert rules could not be looked at"),
            }
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = self.deps.world.clock.sleep(TICK) => {}
            }
        }
    }

    /// Passes over what was due while the server was down.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn begin(&self) -> Result<(), ControlError> {
        let passed = self.deps.catalog.alert_rules_pass_over(self.now_ms()).await?;
        if passed > 0 {
            tracing::info!(rules = passed, "alert rules had been due while the server was down; those windows are passed over");
        }
        Ok(())
    }

    /// Looks once whose turn it is, and begins what is due. Each handle ends when its rule's turn does.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn round(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>, ControlError> {
        self.look_at_keys().await?;
        let mut begun = Vec::new();
        for row in self.deps.catalog.alert_rules_due(self.now_ms(), DUE_MAX).await? {
            if self.running.lock().contains(&row.id) {
                continue;
            }
            // Without a place it stays due, and is asked about the newest window when there is one.
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { break };
            let now_ms = self.now_ms();
            let mut slot = None;
            if row.enabled && row.next_ms <= now_ms {
                let next_ms = next_after(now_ms, row.frequency_ms);
                // Claimed before anything else: no window is asked about twice, whatever happens.
                if !self.deps.catalog.alert_rule_claim(&row, next_ms).await? {
                    continue;
                }
                slot = Some(next_ms - row.frequency_ms);
            }
            if row.suspended_ms.is_none() && self.running.lock().insert(row.id) {
                begun.push(tokio::spawn(Arc::clone(self).turn(row, slot, place)));
            }
        }
        Ok(begun)
    }

    /// Suspends the rules of workspaces whose key is away, and lets those go on whose key is back.
    async fn look_at_keys(&self) -> Result<(), ControlError> {
        let now = self.deps.world.clock.boot();
        if self.looked.lock().is_some_and(|last| now.since(last) < LOOK) {
            return Ok(());
        }
        for (workspace, suspended, awake) in self.deps.catalog.alert_workspaces().await? {
            let Some(row) = self.deps.catalog.workspace(workspace).await? else { continue };
            match self.deps.safe.away(&row).await {
                Some(code) if awake > 0 => self.suspend(&row, code).await?,
                None if suspended > 0 => self.resume(&row).await?,
                _ => {}
            }
        }
        *self.looked.lock() = Some(now);
        Ok(())
    }

    async fn suspend(&self, workspace: &WorkspaceRow, code: &'static str) -> Result<(), ControlError> {
        let (before, now) = self.deps.catalog.alert_rules_suspend(workspace.id, self.now_ms()).await?;
        if before == 0 && now > 0 {
            tracing::warn!(workspace = %workspace.id, rules = now, code, "alert rules are suspended: their key is away");
            let event = Event::new(name::ALERTS_SUSPENDED).workspace(workspace.id).code(code).with("rules", now);
            self.deps.audit.note(event.with("name", workspace.name.to_string()));
        }
        Ok(())
    }

    async fn resume(&self, workspace: &WorkspaceRow) -> Result<(), ControlError> {
        // The workspace's key is there; that of an account which its rules lie in may still be away.
        let first =
            self.deps.catalog.alert_rules().await?.into_iter().find(|row| row.workspace == workspace.id && row.suspended_ms.is_some());
        if let Some(first) = first
            && self.deps.safe.get(workspace.id, Kept::Rule, first.id).await.is_err_and(|error| is_away(&error))
        {
            return Ok(());
        }
        let rules = self.deps.catalog.alert_rules_resume(workspace.id, self.now_ms()).await?;
        if rules > 0 {
            tracing::info!(workspace = %workspace.id, rules, "alert rules go on: their key is back");
            let event = Event::new(name::ALERTS_RESUMED).workspace(workspace.id).with("rules", rules);
            self.deps.audit.note(event.with("name", workspace.name.to_string()));
        }
        Ok(())
    }

    /// A rule's turn: asks about the window that ended at `slot`, if one did, and tells what is to be told.
    async fn turn(self: Arc<Self>, row: AlertRuleRow, slot: Option<i64>, place: OwnedSemaphorePermit) {
        let _turn = Turn(&self, row.id);
        match self.take_turn(&row, slot, place).await {
            Ok(()) => {}
            // It is due again as it is now.
            Err(ControlError::Conflict { why }) if why == CHANGED => {}
            Err(error) if is_away(&error) => {
                let suspended = match self.deps.catalog.workspace(row.workspace).await {
                    Ok(Some(workspace)) => self.suspend(&workspace, error.code()).await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error.into()),
                };
                if let Err(error) = suspended {
                    tracing::warn!(rule = %row.id, code = error.code(), "alert rules could not be suspended");
                }
            }
            Err(error) => self.failed(&row, error.code(), error.kind()).await,
        }
    }

    /// A question without an answer: counted, written down, and told once in a row.
    async fn failed(&self, row: &AlertRuleRow, code: &str, kind: ErrorKind) {
        metrics::counter!("control_alert_evaluations_total", "outcome" => "failed").increment(1);
        tracing::warn!(rule = %row.id, code, ?kind, "an alert rule was not evaluated");
        match self.deps.catalog.alert_rule_outcome(row.id, code, self.now_ms()).await {
            Ok(0) => {
                let event = Event::new(name::ALERT_FAILED).workspace(row.workspace).code(code.to_owned());
                self.deps.audit.note(event.with("rule", row.name.as_str()).with("ruleId", row.id.to_string()));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(rule = %row.id, code = error.code(), "the outcome of an alert rule was not written down"),
        }
    }

    async fn take_turn(&self, row: &AlertRuleRow, slot: Option<i64>, place: OwnedSemaphorePermit) -> Result<(), ControlError> {
        let Some(workspace) = self.deps.catalog.workspace(row.workspace).await? else { return Ok(()) };
        let rule = self.open(row).await?;
        let mut memory = self.memory(row).await?;
        let of = fingerprint(&rule);
        if memory.of != of {
            memory.state.restart(self.now_ms(), rule.window_ms);
            memory.of = of;
        }
        if let Some(ended_ms) = slot {
            let known;
            let span_ms = rule.asked_ms.unwrap_or(rule.window_ms);
            let ns = |ms: i64| ms.saturating_mul(1_000_000);
            let asked = AskedAlert {
                workspace: row.workspace,
                principal: row.principal,
                condition: rule.condition.clone(),
                span: TimeRange { start: ns(ended_ms - span_ms), end: ns(ended_ms) - 1 },
                series_max: self.config.series_max,
            };
            match self.deps.evaluate.evaluate(asked).await {
                Ok(measured) => {
                    known = memory.state.is_idle();
                    memory.state.step(&rule, ended_ms, &measured, || self.mint());
                }
                Err(said) => {
                    // What cannot be asked because its key is away is no failure of the rule's.
                    if let Some(code) = self.deps.safe.away(&workspace).await {
                        return self.suspend(&workspace, code).await;
                    }
                    self.failed(row, said.code, said.kind).await;
                    drop(place);
                    return self.tell(row, &rule, &workspace, memory).await;
                }
            }
            // Of nothing before and nothing now there is nothing to remember.
            if !known || !memory.state.is_idle() {
                self.keep(row, &memory).await?;
            }
            metrics::counter!("control_alert_evaluations_total", "outcome" => "ok").increment(1);
            if row.outcome != "ok" || self.now_ms() - row.outcome_ms >= OUTCOME_AGE_MAX_MS {
                self.deps.catalog.alert_rule_outcome(row.id, "ok", self.now_ms()).await?;
            }
        }
        // Somebody who is slow to be called keeps no other rule from asking.
        drop(place);
        self.tell(row, &rule, &workspace, memory).await
    }

    async fn memory(&self, row: &AlertRuleRow) -> Result<Memory, ControlError> {
        let Some(plain) = self.deps.safe.get(row.workspace, Kept::State, row.memory).await? else { return Ok(Memory::default()) };
        serde_json::from_slice(&plain).map_err(|_| ControlError::Damaged { what: "what an alert rule remembers" })
    }

    pub(super) async fn keep(&self, row: &AlertRuleRow, memory: &Memory) -> Result<(), ControlError> {
        let plain = Zeroizing::new(serde_json::to_vec(memory).unwrap_or_default());
        self.deps.safe.put(row.workspace, Kept::State, row.memory, &plain).await
    }

    /// The rules of a workspace that are suspended now.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn suspended(&self, workspace: WorkspaceId) -> Result<usize, ControlError> {
        let all = self.deps.catalog.alert_rules().await?;
        Ok(all.iter().filter(|row| row.workspace == workspace && row.suspended_ms.is_some()).count())
    }
}

/// Whether an error is that of a key which is away.
fn is_away(error: &ControlError) -> bool {
    matches!(error, ControlError::Keys(_)) && matches!(error.kind(), ErrorKind::KeyRevoked | ErrorKind::Unavailable)
}

/// What is remembered holds for one condition; another name or another severity changes nothing.
fn fingerprint(rule: &AlertRule) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(&rule.properties.get("criteria")).unwrap_or_default());
    hash.update([u8::from(rule.stateful)]);
    hash.update(rule.window_ms.to_be_bytes());
    let bytes = hash.finalize();
    STANDARD.encode(bytes)
}
