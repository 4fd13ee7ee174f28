//! Carrying records on: into the tables of the workspaces they concern, once and in order, whenever their key is usable, and to
//! whoever is to be called.
//!
//! The catalog keeps what is still to be carried, written in the transaction that moved the chain's head. A record is struck off
//! after it was taken; one that a crash left in between is sent again under the same batch id, and the log knows it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use strongroom_catalog::{AuditSink, Catalog};
use strongroom_keys::KeyRing;
use strongroom_model::{ObjectId, WorkspaceId};
use strongroom_world::{BootTime, World};
use tokio::sync::watch;

use super::chain::Record;
use super::queries::open_text;
use super::{Audit, Event, name};
use crate::ControlError;
use crate::clusters::rfc3339;

/// The table of audit records in each workspace.
pub const AUDIT_TABLE: &str = "StrongroomAudit";
/// The table of notices in each workspace.
pub const NOTICES_TABLE: &str = "StrongroomNotices";

/// Records looked up at once for one target.
const GROUP: u32 = 256;
/// How long a key or a webhook that was away is left alone.
const REST: Duration = Duration::from_secs(5);
/// Calls about one record before it is given up, each twice as long after the one before.
const CALLS_MAX: u32 = 8;

/// Where records go, and to whom: a workspace, or a cluster.
type Target = (AuditSink, [u8; 16]);

/// Why a row was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Not now: the key is away, the disk is full. Later.
    Later,
    /// Never: the workspace is gone.
    Never,
}

/// Puts rows into a workspace's tables.
#[async_trait]
pub trait Emit: fmt::Debug + Send + Sync {
    /// Puts a row into a table of the server's own. The same `id` again is the same row and is not put twice. Does not wait for a
    /// key that is away.
    ///
    /// # Errors
    /// [`NotTaken`].
    async fn emit(&self, workspace: WorkspaceId, table: &'static str, id: &str, row: &Value) -> Result<(), NotTaken>;
}

/// Calls somebody outside.
#[async_trait]
pub trait Caller: fmt::Debug + Send + Sync {
    /// Hands a notice over.
    ///
    /// # Errors
    /// A code for the log.
    async fn call(&self, notice: &Value) -> Result<(), String>;
}

/// Carries the chain's records on.
#[derive(Debug)]
pub struct Carrier {
    audit: Arc<Audit>,
    world: World,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    emit: Arc<dyn Emit>,
    /// `None`: nobody is to be called.
    caller: Option<Arc<dyn Caller>>,
    /// Targets that were away, and until when they are left alone; for calls, how often it was tried.
    resting: Mutex<HashMap<Target, (BootTime, u32)>>,
}

impl Carrier {
    /// A carrier for a chain.
    #[must_use]
    pub fn new(audit: Arc<Audit>, keys: Arc<KeyRing>, emit: Arc<dyn Emit>, caller: Option<Arc<dyn Caller>>) -> Arc<Self> {
        let (world, catalog) = (audit.reader.world.clone(), audit.reader.catalog.clone());
        Arc::new(Self { audit, world, catalog, keys, emit, caller, resting: Mutex::default() })
    }

    /// Carries until told to stop: at once what is new, every few seconds what waits.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut written = self.audit.shared.written.subscribe();
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(code = error.code(), "audit records could not be carried on");
            }
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                _ = written.changed() => {}
                () = self.world.clock.sleep(REST) => {}
            }
            self.audit.tell_counts(false);
        }
    }

    /// Carries what can be carried now.
    ///
    /// # Errors
    /// What catalog and chain say.
    pub async fn round(&self) -> Result<(), ControlError> {
        for (sink, target) in self.catalog.audit_targets().await? {
            let now = self.world.clock.boot();
            if self.resting.lock().get(&(sink, target)).is_some_and(|(until, _)| now < *until) {
                continue;
            }
            self.carry(sink, target).await?;
        }
        Ok(())
    }

    async fn carry(&self, sink: AuditSink, target: [u8; 16]) -> Result<(), ControlError> {
        let given_up = self.catalog.audit_give_up(sink, &target, self.audit.config.waiting_max).await?;
        self.not_carried(sink, target, given_up);
        loop {
            let group = self.catalog.audit_waiting(sink, &target, GROUP).await?;
            let mut done = None;
            let mut outcome = Ok(());
            for waiting in &group {
                // A file that was let go takes what nobody fetched with it.
                if let Some(record) = self.audit.reader.record(waiting.seq, waiting.file, waiting.start).await? {
                    outcome = self.hand_over(sink, target, &record).await;
                    if outcome.is_err() {
                        break;
                    }
                }
                done = Some(waiting.seq);
            }
            if let Some(seq) = done {
                self.catalog.audit_carried(sink, &target, seq).await?;
            }
            match outcome {
                Ok(()) if group.len() < GROUP as usize => {
                    self.resting.lock().remove(&(sink, target));
                    return Ok(());
                }
                Ok(()) => {}
                Err(NotTaken::Later) => return self.rest(sink, target, group.first().map(|first| first.seq)).await,
                Err(NotTaken::Never) => {
                    self.catalog.audit_give_up(sink, &target, 0).await?;
                    return Ok(());
                }
            }
        }
    }

    async fn hand_over(&self, sink: AuditSink, target: [u8; 16], record: &Record) -> Result<(), NotTaken> {
        let workspace = WorkspaceId::from_bytes(target);
        match sink {
            AuditSink::Audit => {
                let row = self.row(workspace, record).await;
                self.emit.emit(workspace, AUDIT_TABLE, &format!("audit-{}", id(record)), &row).await
            }
            AuditSink::Notice => {
                let notice = self.notice(record).await;
                self.emit.emit(workspace, NOTICES_TABLE, &format!("notice-{}", id(record)), &notice).await
            }
            AuditSink::Call => {
                let Some(caller) = &self.caller else { return Ok(()) };
                let notice = self.notice(record).await;
                caller.call(&notice).await.map_err(|code| {
                    metrics::counter!("control_notice_calls_total", "outcome" => "failed").increment(1);
                    tracing::warn!(seq = record.seq, code, "a notice was not taken by the webhook");
                    NotTaken::Later
                })?;
                metrics::counter!("control_notice_calls_total", "outcome" => "taken").increment(1);
                Ok(())
            }
        }
    }

    /// Leaves a target alone for a while; gives a call up that was tried often enough.
    async fn rest(&self, sink: AuditSink, target: [u8; 16], first: Option<u64>) -> Result<(), ControlError> {
        let tries = self.resting.lock().get(&(sink, target)).map_or(0, |(_, tries)| *tries) + 1;
        if sink == AuditSink::Call && tries >= CALLS_MAX {
            self.resting.lock().remove(&(sink, target));
            if let Some(seq) = first {
                self.catalog.audit_carried(sink, &target, seq).await?;
                self.not_carried(sink, target, 1);
            }
            return Ok(());
        }
        let rest = if sink == AuditSink::Call { REST * 2_u32.saturating_pow(tries - 1) } else { REST };
        self.resting.lock().insert((sink, target), (self.world.clock.boot().after(rest), tries));
        Ok(())
    }

    fn not_carried(&self, sink: AuditSink, target: [u8; 16], records: u64) {
        if records > 0 {
            metrics::counter!("control_audit_not_carried_total").increment(records);
            let target = ObjectId::from_bytes(target).to_string();
            self.audit.note(Event::new(name::NOT_CARRIED).with("to", format!("{sink:?}")).with("target", target).with("records", records));
        }
    }

    async fn row(&self, workspace: WorkspaceId, record: &Record) -> Value {
        let event = &record.event;
        let mut row = json!({
            "TimeGenerated": rfc3339(record.at_ms),
            "Position": record.seq,
            "Event": event.event,
            "Actor": event.actor,
            "Cluster": event.cluster,
            "Account": event.account,
            "Aek": event.aek,
            "Code": event.code,
            "Details": event.details,
        });
        if let Some(text) = &event.text
            && let Ok(text) = open_text(&self.keys, &self.world, workspace, text).await
        {
            row["QueryText"] = text.into();
        }
        row
    }

    /// What a customer is told: the event in a sentence, and what to do where there is something to do.
    async fn notice(&self, record: &Record) -> Value {
        let event = &record.event;
        let cluster = match event.cluster {
            Some(cluster) => self.catalog.cluster_get(cluster).await.ok().flatten().map(|row| row.name),
            None => None,
        };
        json!({
            "TimeGenerated": rfc3339(record.at_ms),
            "Position": record.seq,
            "Event": event.event,
            "Cluster": cluster,
            "ClusterId": event.cluster,
            "Code": event.code,
            "Text": sentence(event, cluster.as_deref().unwrap_or_default()),
            "Details": event.details,
        })
    }
}

/// Names a record among all that a workspace was ever sent: numbers begin anew when a damaged chain was put aside.
fn id(record: &Record) -> String {
    format!("{}-{}", record.seq, super::chain::hex(&record.hash[..8]))
}

/// A notice in words.
fn sentence(event: &Event, cluster: &str) -> String {
    let text = |detail: &str| event.details.get(detail).and_then(Value::as_str).unwrap_or_default().to_owned();
    match event.event.as_ref() {
        name::KEY_EXPIRING => format!(
            "Version {} of the key of cluster {cluster} expires in {} days, at {}. It then still opens what it wrapped; updates of the \
             key are refused. Make a new version in the vault.",
            text("version"),
            event.details.get("days").and_then(Value::as_i64).unwrap_or_default(),
            text("expires"),
        ),
        name::KEY_EXPIRED => format!(
            "Version {} of the key of cluster {cluster} expired at {}. It still opens what it wrapped; updates of the key are refused. \
             Make a new version in the vault.",
            text("version"),
            text("expires"),
        ),
        name::KEY_VERSION_AVAILABLE => format!(
            "The key of cluster {cluster} has a newer version {}; the cluster stays with {} until its key identifier is updated: {}",
            text("newest"),
            text("version"),
            text("command"),
        ),
        name::ALERTS_SUSPENDED => format!(
            "The alert rules of workspace {} are suspended: their key is away ({}). Nothing is asked until it is back, and what happens \
             meanwhile is not looked at afterwards.",
            text("name"),
            event.code.as_deref().unwrap_or_default()
        ),
        name::ALERTS_RESUMED => format!("The alert rules of workspace {} go on: their key is back.", text("name")),
        name::ALERT_FAILED => format!(
            "The question of alert rule {} failed ({}): whether its condition holds is not known. There is no further notice until one was \
             answered.",
            text("rule"),
            event.code.as_deref().unwrap_or_default()
        ),
        name::KEY_ROTATED => format!("Cluster {cluster} follows its key to version {}.", text("version")),
        _ => format!(
            "The key of cluster {cluster} went from {} to {} ({}).",
            text("from"),
            text("to"),
            event.code.as_deref().unwrap_or_default()
        ),
    }
}
