//! Calls about what happened: made at most so often, each at its time, whatever breaks in between.
//!
//! What is going to be called is remembered before it is called, as an attempt with a time for the next one: a memory that cannot be
//! kept afterwards, or a crash, repeats a call that many times at most. A trouble with one event keeps none of the others.

use std::time::Duration;

use strongroom_catalog::{AlertRow, AlertRuleRow, Delivery, WorkspaceRow};
use zeroize::Zeroizing;

use super::Alerts;
use super::rule::AlertRule;
use super::runner::Memory;
use super::state::{Happened, Monitor, Pending};
use super::tell::{ALERTS_TABLE, Telling, group_path};
use crate::audit::NotTaken;
use crate::{ControlError, Place};

/// Calls that are made at once, of all rules.
pub(super) const CALLS_AT_ONCE_MAX: usize = 32;
/// From a call that was not taken to the next one: twice as long after each.
const REST_MS: i64 = 10_000;
/// Calls that are older than that are given up.
const CALL_AGE_MAX_MS: i64 = 24 * 3_600_000;
/// After that a rule begins no more calls in one turn: its question may be due, and the rest is called for after it.
const TELLING_MAX: Duration = Duration::from_secs(30);

impl Alerts {
    /// Writes down what happened and calls whoever is to be called. What it could not do it remembers.
    pub(super) async fn tell(
        &self,
        row: &AlertRuleRow,
        rule: &AlertRule,
        workspace: &WorkspaceRow,
        mut memory: Memory,
    ) -> Result<(), ControlError> {
        let (began, now_ms) = (self.deps.world.clock.boot(), self.now_ms());
        let mut events = std::mem::take(&mut memory.state.events);
        let later = |event: &Happened| event.due_ms > now_ms;
        memory.state.events = events.extract_if(.., |event| later(event)).collect();
        if events.is_empty() {
            return Ok(());
        }
        let open = workspace.link.is_none() && !self.deps.safe.is_linked(workspace.id).await?;
        let mut trouble = None;
        for event in &mut events {
            // Until its calls are known and its row is taken.
            event.due_ms = now_ms;
            if let Err(error) = self.prepare(row, rule, event, now_ms).await {
                event.due_ms = now_ms + REST_MS;
                trouble.get_or_insert(error);
            }
        }
        let waiting = memory.state.events.len();
        memory.state.events.extend(events.iter().map(|event| attempt(event, now_ms)));
        if events.iter().any(|event| !event.pending().is_empty()) {
            self.deps.catalog.alert_rule_calls(row.id, memory.state.due_ms()).await?;
            self.keep(row, &memory).await?;
        }
        memory.state.events.truncate(waiting);
        for mut event in events {
            let in_time = self.deps.world.clock.boot().since(began) < TELLING_MAX;
            if in_time && let Err(error) = self.call(row, rule, &mut event, open).await {
                trouble.get_or_insert(error);
            }
            let written = self.write_down(row, &event).await;
            let over = written.is_ok() && event.told && event.calls.as_ref().is_some_and(Vec::is_empty);
            if let Err(error) = written {
                event.due_ms = event.due_ms.max(now_ms + REST_MS);
                trouble.get_or_insert(error);
            }
            if !over {
                memory.state.events.push(event);
            }
        }
        self.keep(row, &memory).await?;
        self.deps.catalog.alert_rule_calls(row.id, memory.state.due_ms()).await?;
        trouble.map_or(Ok(()), Err)
    }

    /// Looks up whom to call, and writes down in the workspace's own table what happened.
    async fn prepare(&self, row: &AlertRuleRow, rule: &AlertRule, event: &mut Happened, now_ms: i64) -> Result<(), ControlError> {
        if event.calls.is_none() {
            let whom = if event.muted { Ok(Vec::new()) } else { self.whom(rule).await };
            event.calls = match whom {
                Ok(whom) => Some(whom),
                Err(error) if is_late(event, now_ms) => {
                    tracing::warn!(rule = %row.id, alert = %event.alert, code = error.code(), "whom to call about an alert is not known");
                    event.given_up = true;
                    Some(Vec::new())
                }
                Err(error) => return Err(error),
            };
        }
        if !event.told {
            self.write_down(row, event).await?;
            let (id, line) = Telling { row, rule, event, now_ms }.line();
            match self.deps.emit.emit(row.workspace, ALERTS_TABLE, &id, &line).await {
                Ok(()) | Err(NotTaken::Never) => event.told = true,
                Err(NotTaken::Later) => event.due_ms = now_ms + REST_MS,
            }
        }
        Ok(())
    }

    /// Makes an event's calls; those that were not taken are left, each with a time for the next attempt.
    async fn call(&self, row: &AlertRuleRow, rule: &AlertRule, event: &mut Happened, open: bool) -> Result<(), ControlError> {
        let now_ms = self.now_ms();
        let body = Telling { row, rule, event, now_ms }.call(open).to_string();
        let Some(calls) = event.calls.take() else { return Ok(()) };
        let (mut left, mut trouble, mut again_ms) = (Vec::new(), None, i64::MAX);
        for call in calls {
            let (tries, mut spent) = (call.tries + 1, call.tries >= self.config.calls_max);
            let code = match self.address(&call).await {
                // A stop after its last attempt left it.
                Ok(_) if spent => "TooManyCalls".to_owned(),
                Ok(Some(url)) => {
                    event.tries += 1;
                    let place = self.calls.acquire().await;
                    let outcome = self.deps.post.post(&url, Zeroizing::new(body.clone())).await;
                    drop(place);
                    metrics::counter!("control_alert_calls_total", "outcome" => if outcome.is_ok() { "taken" } else { "failed" })
                        .increment(1);
                    let Err(code) = outcome else { continue };
                    code
                }
                // Its receiver is gone, or its group was switched off.
                Ok(None) => {
                    event.given_up = true;
                    continue;
                }
                Err(error) => {
                    let code = error.code().to_owned();
                    trouble.get_or_insert(error);
                    code
                }
            };
            tracing::warn!(rule = %row.id, alert = %event.alert, code, tries, "a webhook did not take an alert");
            spent |= tries >= self.config.calls_max || is_late(event, now_ms);
            if spent {
                event.given_up = true;
                continue;
            }
            again_ms = again_ms.min(now_ms + rest_ms(tries));
            left.push(Pending { tries, ..call });
        }
        if !left.is_empty() {
            event.due_ms = again_ms;
        }
        event.calls = Some(left);
        trouble.map_or(Ok(()), Err)
    }

    /// The webhooks of a rule's groups, as they are now.
    async fn whom(&self, rule: &AlertRule) -> Result<Vec<Pending>, ControlError> {
        let mut found = Vec::new();
        for place in &rule.groups {
            let row = match self.deps.groups.get(place).await {
                Ok(row) => row,
                Err(ControlError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let group = self.deps.groups.open(&row)?;
            if group.enabled {
                let receivers = group.receivers.into_iter();
                found.extend(receivers.map(|receiver| Pending { group: group_path(place), receiver: receiver.name, tries: 0 }));
            }
        }
        Ok(found)
    }

    async fn address(&self, call: &Pending) -> Result<Option<String>, ControlError> {
        let Some(place) = Place::read(&call.group, "Microsoft.Insights", "actionGroups") else { return Ok(None) };
        let row = match self.deps.groups.get(&place).await {
            Ok(row) => row,
            Err(ControlError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let group = self.deps.groups.open(&row)?;
        Ok(group.receivers.into_iter().find(|receiver| group.enabled && receiver.name == call.receiver).map(|receiver| receiver.url))
    }

    async fn write_down(&self, row: &AlertRuleRow, event: &Happened) -> Result<(), ControlError> {
        let waits = event.calls.as_ref().is_none_or(|calls| !calls.is_empty());
        let delivery = match () {
            () if event.muted => Delivery::Muted,
            () if waits => Delivery::Pending,
            () if event.given_up => Delivery::Failed,
            () if event.tries > 0 => Delivery::Delivered,
            () => Delivery::None,
        };
        let row = AlertRow {
            id: event.alert,
            rule: row.id,
            severity: row.severity,
            fired_ms: event.fired_ms,
            resolved_ms: (event.monitor == Monitor::Resolved).then_some(event.window.1),
            delivery,
            tries: event.tries,
        };
        Ok(self.deps.catalog.alert_put(&row).await?)
    }
}

/// What is remembered of an event while its calls are made: that they were.
fn attempt(event: &Happened, now_ms: i64) -> Happened {
    let mut event = event.clone();
    for call in event.calls.iter_mut().flatten() {
        call.tries += 1;
    }
    if let Some(tries) = event.pending().iter().map(|call| call.tries).max() {
        event.due_ms = event.due_ms.max(now_ms + rest_ms(tries));
    }
    event
}

fn rest_ms(tries: u32) -> i64 {
    REST_MS << tries.saturating_sub(1).min(10)
}

fn is_late(event: &Happened, now_ms: i64) -> bool {
    now_ms.saturating_sub(event.window.1) > CALL_AGE_MAX_MS
}
