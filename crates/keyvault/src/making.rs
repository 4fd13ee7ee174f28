//! New versions: made off the lock, their private key on disk first, then the state that names them. And what policies want
//! done by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use uuid::Uuid;

use crate::access_log::Entry;
use crate::crypto::NewKey;
use crate::key::{Changes, Key, Version, VersionId};
use crate::refusal::Refusal;
use crate::rotation::{Due, Span};
use crate::state::State;
use crate::vault::{Vault, disk};

/// Who the access log says did what a policy wanted.
const POLICY: &str = "rotation policy";

impl Vault {
    /// A new version of `name` from what `make` gives, if `fits` still holds once it is there; it expires after `life`, if that
    /// is said. The key as it is then, and which version is new.
    pub(crate) async fn make(
        self: &Arc<Self>,
        name: String,
        changes: Changes,
        life: Option<Span>,
        fits: impl FnOnce(&State) -> Result<(), Refusal> + Send + 'static,
        make: impl FnOnce() -> Result<NewKey, Refusal> + Send + 'static,
    ) -> Result<(Key, VersionId), Refusal> {
        let _turn = self.making.acquire().await.expect("the semaphore is never closed");
        let new = tokio::task::spawn_blocking(make).await.map_err(|_| Refusal::internal("No key could be made."))??;
        let id = VersionId::mint(&*self.world.rng);
        let change = self.change(move |state, vault| {
            fits(state)?;
            let now = vault.now();
            let exp = life.and_then(|life| life.after(now)).or(changes.exp);
            let version = Version::new(id, new.public.clone(), now, &Changes { exp, ..changes })?;
            let key = state.add(&name, version, &vault.config)?.clone();
            vault.store.save_key(id, &new.pkcs8).map_err(|error| disk(&error))?;
            Ok(key)
        });
        Ok((change.await?, id))
    }

    /// A new version of a key, of the kind and for the uses of its newest, as long as its policy says.
    pub(crate) async fn rotate(
        self: &Arc<Self>,
        name: &str,
        fits: impl FnOnce(&State) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<(Key, VersionId), Refusal> {
        let state = self.state();
        let key = state.key(name)?;
        let newest = key.newest();
        let changes = Changes { key_ops: Some(newest.key_ops.clone()), tags: Some(newest.tags.clone()), ..Changes::default() };
        state.has_room(name, &self.config)?;
        let kind = newest.public.kind();
        self.make(name.to_owned(), changes, key.policy().expiry, fits, move || NewKey::generate(kind)).await
    }

    /// Does what policies want done by now, until the vault stops. Each goes into the access log.
    pub(crate) async fn follow_policies(self: &Arc<Self>, stopping: &watch::Receiver<bool>) {
        let now = self.now();
        let due = self.state().due(now);
        self.put_off.lock().0.retain(|name, _| due.iter().any(|(due, _)| due == name));
        for (name, due) in due {
            if *stopping.borrow() {
                return;
            }
            match due {
                Due::Rotate if self.put_off.lock().is_waiting(&name, now) => {}
                Due::Rotate => {
                    let named = name.clone();
                    let still_due = move |state: &State| match state.key(&named)?.due(now) {
                        Some(Due::Rotate) => Ok(()),
                        _ => Err(Refusal::conflict(None, "The key was changed meanwhile.")),
                    };
                    let rotated = self.rotate(&name, still_due).await;
                    let mut put_off = self.put_off.lock();
                    match &rotated {
                        Ok(_) => put_off.done(&name),
                        Err(refusal) => {
                            let seconds = put_off.failed(&name, now);
                            tracing::error!(
                                key = name,
                                code = refusal.code,
                                seconds,
                                "a key's policy wants it rotated, and that failed; it is tried again"
                            );
                        }
                    }
                    drop(put_off);
                    self.log.lock().append(entry("KeyRotate", &name, rotated.map(|(_, id)| id)));
                }
                // Said before it is noted that it was said: a crash between the two says it twice, and never not at all.
                Due::Tell => {
                    let newest = self.state().key(&name).map(|key| (key.newest().id, key.newest().exp));
                    let Ok((version, exp)) = newest else { continue };
                    tracing::warn!(key = name, %version, "a key expires soon");
                    if self.log.lock().append_synced(entry("KeyNearExpiry", &name, Ok(version)))
                        && let Err(refusal) = self.change(move |state, _| state.told(&name, version, exp)).await
                    {
                        tracing::error!(code = refusal.code, "that a key expires soon will be told again");
                    }
                }
            }
        }
    }
}

/// A line of the access log about what a policy wanted.
fn entry(operation: &str, key: &str, outcome: Result<VersionId, Refusal>) -> Entry {
    let (version, status, code) = match outcome {
        Ok(version) => (Some(version.to_string()), 200, None),
        Err(refusal) => (None, refusal.status.as_u16(), Some(refusal.finest().to_owned())),
    };
    Entry {
        principal: Some(POLICY.to_owned()),
        principal_id: Some(Uuid::nil().to_string()),
        operation: operation.to_owned(),
        key: Some(key.to_owned()),
        version,
        status,
        code,
        ..Entry::default()
    }
}

/// Keys that could not be rotated when their policy wanted it, a full one for instance: tried again after a minute, then after twice as
/// long each time, up to a day. A restart tries each at once.
#[derive(Debug, Default)]
pub(crate) struct PutOff(BTreeMap<String, Wait>);

#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Seconds since 1970.
    until: i64,
    seconds: i64,
}

/// Seconds before the first try again, and at most.
const WAIT_FIRST_S: i64 = 60;
const WAIT_MAX_S: i64 = 86_400;

impl PutOff {
    fn is_waiting(&self, name: &str, now: i64) -> bool {
        self.0.get(name).is_some_and(|wait| now < wait.until)
    }

    /// How many seconds it waits now.
    fn failed(&mut self, name: &str, now: i64) -> i64 {
        let seconds = self.0.get(name).map_or(WAIT_FIRST_S, |wait| (wait.seconds * 2).min(WAIT_MAX_S));
        self.0.insert(name.to_owned(), Wait { until: now + seconds, seconds });
        seconds
    }

    fn done(&mut self, name: &str) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_less_and_less_often_up_to_once_a_day() {
        let mut put_off = PutOff::default();
        let (mut now, mut tries) = (0, 0);
        while now < 30 * 86_400 {
            if !put_off.is_waiting("k", now) {
                tries += 1;
                put_off.failed("k", now);
            }
            now += 60;
        }
        assert!((35..=45).contains(&tries), "{tries}");
        assert!(!put_off.is_waiting("other", now));
        put_off.done("k");
        assert!(!put_off.is_waiting("k", now));
    }
}
