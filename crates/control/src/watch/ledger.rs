//! What of a cluster's key goes into the audit chain: answers of its vault, changes of state, the evidence of each taking away,
//! and what its customer is to be told of in time.
//!
//! Good polls come every ten seconds and are counted; every denial and every change stands for itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use strongroom_keys::Shut;
use strongroom_keys::provider::{Answer, KeyFacts};
use strongroom_keys::state::KeyState;
use strongroom_world::BootTime;

use super::{Watch, Watched};
use crate::audit::{Event, name};
use crate::clusters::rfc3339;

/// How often counted answers are told.
const EVERY: Duration = Duration::from_hours(1);
/// Answers of the vault kept for the evidence.
const ANSWERS: usize = 16;
/// How long before its end a key's customer is told, days; 0 is the end itself.
const DAYS: [i64; 4] = [30, 7, 1, 0];
const DAY_MS: i64 = 86_400_000;

/// What steps of taking away count as they go.
#[derive(Debug, Default)]
pub struct Lost {
    /// Rows that were in memory.
    pub rows: AtomicU64,
    /// Parts of the hot cache.
    pub files: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
}

/// What is kept of one cluster.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// When, class, code.
    answers: VecDeque<(i64, &'static str, &'static str)>,
    good: u64,
    silent: u64,
    /// The last answer was not a good one.
    bad: bool,
    /// When counts were told last.
    told: Option<BootTime>,
    /// The version that the records are wrapped under.
    version: String,
    /// The last notice of the key's end and of a newer version that was seen to.
    heeded: Option<(KeyFacts, i64)>,
}

impl Ledger {
    /// The key was set: what follows from that is no rotation.
    pub(super) fn set(&self, version: &str) {
        let mut inner = self.0.lock();
        version.clone_into(&mut inner.version);
        inner.heeded = None;
    }
}

impl Watch {
    /// An answer of the vault came, with the version that the record it unwrapped was wrapped under.
    pub(super) fn note_answer(&self, watched: &Watched, answer: &Answer, version: &str) {
        let (class, code) = (answer.class(), answer.code());
        let now_ms = self.deps.world.clock.wall().unix_ms();
        let now = self.deps.world.clock.boot();
        let of = |event| Event::new(event).cluster(watched.cluster).account(watched.account);
        let note = |event| self.deps.audit.note(event);
        let mut inner = watched.ledger.0.lock();
        if inner.answers.len() == ANSWERS {
            inner.answers.pop_front();
        }
        inner.answers.push_back((now_ms, class, code));
        let since = *inner.told.get_or_insert(now);
        let due = now.since(since) >= EVERY;
        let first_of_its_kind = inner.bad == (class == "good");
        let counted = (std::mem::take(&mut inner.good), std::mem::take(&mut inner.silent));
        match class {
            "good" if first_of_its_kind || due => {
                let event = of(name::KEY_UNWRAPS).with("good", counted.0 + 1).with("silent", counted.1);
                note(event.with("keyVersion", version));
                inner.told = Some(now);
            }
            "good" => (inner.good, inner.silent) = (counted.0 + 1, counted.1),
            "transient" | "expired" if first_of_its_kind || due => {
                note(of(name::KEY_SILENT).code(code).with("good", counted.0).with("silent", counted.1 + 1));
                inner.told = Some(now);
            }
            "transient" | "expired" => (inner.good, inner.silent) = (counted.0, counted.1 + 1),
            _ => {
                let event = if class == "integrity" { name::INTEGRITY } else { name::KEY_DENIED };
                note(of(event).code(code).with("class", class).with("good", counted.0).with("silent", counted.1));
                inner.told = Some(now);
            }
        }
        inner.bad = class != "good";
        if class == "good" && inner.version != version {
            if !inner.version.is_empty() {
                metrics::counter!("control_notices_total", "event" => name::KEY_ROTATED).increment(1);
                note(of(name::KEY_ROTATED).with("from", inner.version.as_str()).with("version", version));
            }
            version.clone_into(&mut inner.version);
        }
    }

    /// The key's state changed.
    pub(super) fn note_state(&self, watched: &Watched, from: KeyState, to: KeyState, code: &'static str) {
        metrics::counter!("control_notices_total", "event" => name::STATE_CHANGED).increment(1);
        let event = Event::new(name::STATE_CHANGED).cluster(watched.cluster).account(watched.account).code(code);
        self.deps.audit.note(event.with("from", from.as_str()).with("to", to.as_str()));
    }

    /// All of it was taken away: what, when, how long each step took, and what else in the vault would still open it.
    pub(super) fn note_taken(
        &self,
        watched: &Watched,
        (why, since_ms): (Shut, i64),
        steps: &[(&'static str, Duration)],
        keys_wiped: usize,
        lost: &Lost,
        unfinished: bool,
    ) {
        let answers: Vec<Value> = {
            let inner = watched.ledger.0.lock();
            inner.answers.iter().map(|(at_ms, class, code)| json!({"atMs": at_ms, "class": class, "code": code})).collect()
        };
        let micros = |took: &Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let steps: Vec<Value> = steps.iter().map(|(step, took)| json!({"step": step, "micros": micros(took)})).collect();
        let (kek, _) = watched.vault.read().clone();
        let facts = watched.facts.lock().clone();
        let event = Event::new(name::TAKEN_AWAY).cluster(watched.cluster).account(watched.account).code(watched.machine.lock().code());
        let event = event
            .with("why", format!("{why:?}"))
            .with("sinceMs", since_ms)
            .with("keyUri", kek.key_uri())
            .with("keyVersion", watched.version.lock().as_str())
            .with("answers", answers)
            .with("steps", steps)
            .with("keysWiped", keys_wiped)
            .with("memoryRowsDropped", lost.rows.load(Ordering::Relaxed))
            .with("cacheFilesErased", lost.files.load(Ordering::Relaxed))
            .with("cacheBytesErased", lost.bytes.load(Ordering::Relaxed))
            .with("unfinished", unfinished)
            .with("otherEnabledVersions", facts.as_ref().map(|facts| facts.other_enabled.clone()))
            .with("versionsListed", facts.is_some_and(|facts| facts.versions_listed));
        self.deps.audit.note(event);
    }

    /// Looks at what is known of the key: whether it ends soon, and whether a pinned one has a newer version. Each is told once.
    pub(super) async fn heed(&self, watched: &Watched) {
        let Some(facts) = watched.facts.lock().clone() else { return };
        let now_ms = self.deps.world.clock.wall().unix_ms();
        let mark = facts.expires_ms.and_then(|end| due(end, now_ms)).unwrap_or(i64::MAX);
        {
            let inner = watched.ledger.0.lock();
            if inner.heeded.as_ref().is_some_and(|(seen, before)| *seen == facts && *before == mark) {
                return;
            }
        }
        let mut told = true;
        if let Some(end) = facts.expires_ms.filter(|_| mark != i64::MAX) {
            let event = Event::new(if mark == 0 { name::KEY_EXPIRED } else { name::KEY_EXPIRING });
            let left = (end - now_ms).max(0).div_euclid(DAY_MS) + i64::from((end - now_ms).max(0) % DAY_MS > 0);
            let event = event.with("version", facts.used.as_str()).with("expires", rfc3339(end)).with("days", left);
            told &= self.tell_once(watched, format!("expiry/{}/{end}/{mark}", facts.used), event).await;
        }
        if let Some(end) = facts.expires_ms {
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            metrics::gauge!("control_key_expires_days", "cluster" => watched.cluster.to_string())
                .set((end - now_ms) as f64 / DAY_MS as f64);
        }
        let (kek, _) = watched.vault.read().clone();
        if kek.key_version.is_some() && facts.newest != facts.used {
            let event = Event::new(name::KEY_VERSION_AVAILABLE).with("version", facts.used.as_str()).with("newest", facts.newest.as_str());
            let cluster = match self.deps.catalog.cluster_get(watched.cluster).await {
                Ok(Some(row)) => row.name,
                _ => watched.cluster.to_string(),
            };
            let command = format!(
                "strongroom cluster set-key {cluster} --vault-uri {} --key-name {} --key-version {}",
                crate::vault_uri(&kek),
                kek.key_name,
                facts.newest
            );
            told &= self.tell_once(watched, format!("version/{}", facts.newest), event.with("command", command)).await;
        }
        if told {
            watched.ledger.0.lock().heeded = Some((facts, mark));
        }
    }

    /// Whether it is told, now or before.
    async fn tell_once(&self, watched: &Watched, mark: String, event: Event) -> bool {
        match self.deps.catalog.audit_told(watched.cluster, &mark).await {
            Ok(true) => true,
            Ok(false) => {
                metrics::counter!("control_notices_total", "event" => event.event.clone().into_owned()).increment(1);
                self.deps.audit.note(event.cluster(watched.cluster).account(watched.account).once(mark));
                true
            }
            Err(error) => {
                tracing::warn!(cluster = %watched.cluster, code = error.code(), "whether a notice was given is not known yet");
                false
            }
        }
    }
}

/// The tightest of the marks before a key's end that has been reached; `None`: none yet.
fn due(end_ms: i64, now_ms: i64) -> Option<i64> {
    DAYS.into_iter().rev().find(|days| now_ms >= end_ms - days * DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_end_is_told_at_thirty_seven_and_one_days_and_when_it_comes() {
        let end = 1_000 * DAY_MS;
        let at = |days: i64, ms: i64| due(end, end - days * DAY_MS + ms);
        assert_eq!((at(31, 0), at(30, -1), at(30, 0), at(8, 0)), (None, None, Some(30), Some(30)));
        assert_eq!((at(7, 0), at(1, -1), at(1, 0), at(0, -1)), (Some(7), Some(7), Some(1), Some(1)));
        assert_eq!((at(0, 0), at(-400, 0)), (Some(0), Some(0)));
    }
}
