//! New versions: made off the lock, their private key on disk first, then the state that names them. And what policies want
//! done by themselves.

use std::sync::Arc;

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

    /// Does what policies want done by now. Each goes into the access log.
    pub(crate) async fn follow_policies(self: &Arc<Self>) {
        let now = self.now();
        for (name, due) in self.state().due(now) {
            match due {
                Due::Rotate => {
                    let named = name.clone();
                    let still_due = move |state: &State| match state.key(&named)?.due(now) {
                        Some(Due::Rotate) => Ok(()),
                        _ => Err(Refusal::conflict(None, "The key was changed meanwhile.")),
                    };
                    let rotated = self.rotate(&name, still_due).await;
                    if let Err(refusal) = &rotated {
                        tracing::error!(key = name, code = refusal.code, "a key's policy wants it rotated, and that failed");
                    }
                    self.note("KeyRotate", &name, rotated.map(|(_, id)| id));
                }
                Due::Tell => {
                    let named = name.clone();
                    if let Ok(Some(version)) = self.change(move |state, _| state.tell(&named, now)).await {
                        tracing::warn!(key = name, %version, "a key expires soon");
                        self.note("KeyNearExpiry", &name, Ok(version));
                    }
                }
            }
        }
    }

    fn note(&self, operation: &str, key: &str, outcome: Result<VersionId, Refusal>) {
        let (version, status, code) = match outcome {
            Ok(version) => (Some(version.to_string()), 200, None),
            Err(refusal) => (None, refusal.status.as_u16(), Some(refusal.finest().to_owned())),
        };
        self.log.lock().append(Entry {
            principal: Some(POLICY.to_owned()),
            principal_id: Some(Uuid::nil().to_string()),
            operation: operation.to_owned(),
            key: Some(key.to_owned()),
            version,
            status,
            code,
            ..Entry::default()
        });
    }
}
