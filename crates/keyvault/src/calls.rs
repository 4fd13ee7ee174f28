//! What each call of Key Vault does, once it is known who calls and that they may.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::backup;
use crate::crypto::NewKey;
use crate::key::{Changes, KeyOp};
use crate::refusal::Refusal;
use crate::rotation::PolicyIn;
use crate::route::Keys;
use crate::serve::{Answer, Call, Content, ok};
use crate::vault::disk;
use crate::wire::{self, CreateIn, ImportIn, Page, RandomIn, RestoreIn, UpdateIn, UseIn};

/// Random bytes of one answer.
const RANDOM_MAX: usize = 128;

impl Call {
    pub(crate) async fn keys(&mut self, call: Keys, base: &str, page: &Page, content: Content) -> Answer {
        let vault = Arc::clone(&self.vault);
        let state = vault.state();
        let now = vault.now();
        match call {
            Keys::List => ok(wire::list(&state, base, page)?),
            Keys::Versions(name) => ok(wire::versions(&state, base, state.key(&name)?, page)?),
            Keys::DeletedList => ok(wire::deleted_list(&state, base, page)?),
            Keys::Get(name, version) => {
                let key = state.key(&name)?;
                let version = key.version(version.as_deref())?;
                self.entry.version = Some(version.id.to_string());
                ok(wire::bundle(state.properties, base, key, version))
            }
            Keys::DeletedGet(name) => {
                let deleted = state.deleted_key(&name)?;
                let mut answer = wire::bundle(state.properties, base, &deleted.key, deleted.key.newest());
                wire::deleted_members(base, deleted, &mut answer);
                ok(answer)
            }
            Keys::Create(name) => {
                let (kind, changes) = wire::read::<CreateIn>(&content.0)?.check()?;
                self.make(base, name, changes, move || NewKey::generate(kind)).await
            }
            Keys::Import(name) => {
                let (parts, changes) = wire::read::<ImportIn>(&content.0)?.check()?;
                drop(content);
                self.make(base, name, changes, move || NewKey::import(&parts)).await
            }
            Keys::Rotate(name) => {
                let (key, id) = vault.rotate(&name, |_| Ok(())).await?;
                self.entry.version = Some(id.to_string());
                ok(wire::bundle(vault.state().properties, base, &key, key.newest()))
            }
            Keys::Update(name, version) => {
                let changes = wire::read::<UpdateIn>(&content.0)?.check()?;
                let base = base.to_owned();
                let (answer, id) = vault
                    .change(move |state, _| {
                        state.update(&name, version.as_deref(), now, &changes)?;
                        let key = state.key(&name)?;
                        let version = key.version(version.as_deref())?;
                        Ok((wire::bundle(state.properties, &base, key, version), version.id))
                    })
                    .await?;
                self.entry.version = Some(id.to_string());
                ok(answer)
            }
            Keys::Delete(name) => {
                let base = base.to_owned();
                let change = vault.change(move |state, _| {
                    let key = state.delete(&name, now)?;
                    let mut answer = wire::bundle(state.properties, &base, &key, key.newest());
                    if let Ok(deleted) = state.deleted_key(&name) {
                        wire::deleted_members(&base, deleted, &mut answer);
                    }
                    Ok(answer)
                });
                ok(change.await?)
            }
            Keys::Recover(name) => {
                let base = base.to_owned();
                let change = vault.change(move |state, _| {
                    let properties = state.properties;
                    let key = state.recover(&name)?;
                    Ok(wire::bundle(properties, &base, key, key.newest()))
                });
                ok(change.await?)
            }
            Keys::Purge(name) => {
                vault.change(move |state, _| state.purge(&name)).await?;
                Ok((StatusCode::NO_CONTENT, Value::Null))
            }
            Keys::Policy(name) => {
                let key = state.key(&name)?;
                ok(key.policy().value(&format!("{base}/keys/{}", key.name)))
            }
            Keys::SetPolicy(name) => self.set_policy(base, name, &content).await,
            Keys::Backup(name) => {
                let key = state.key(&name)?.clone();
                let sealed = tokio::task::spawn_blocking(move || backup::seal(&vault.store, &key));
                let sealed = sealed.await.map_err(|_| Refusal::internal("The backup was broken off."))??;
                ok(json!({"value": URL_SAFE_NO_PAD.encode(sealed)}))
            }
            Keys::Restore => self.restore(base, &content).await,
            Keys::Random => self.random(&content),
            Keys::Use(op, name, version) => self.use_key(op, base, &name, version.as_deref(), content).await,
        }
    }

    async fn make(
        &mut self,
        base: &str,
        name: String,
        changes: Changes,
        make: impl FnOnce() -> Result<NewKey, Refusal> + Send + 'static,
    ) -> Answer {
        self.vault.state().has_room(&name, &self.vault.config)?;
        let (key, id) = self.vault.make(name, changes, None, |_| Ok(()), make).await?;
        self.entry.version = Some(id.to_string());
        ok(wire::bundle(self.vault.state().properties, base, &key, key.version(Some(&id.to_string()))?))
    }

    async fn set_policy(&self, base: &str, name: String, content: &Content) -> Answer {
        let asked = wire::read::<PolicyIn>(&content.0)?;
        let (base, now) = (base.to_owned(), self.vault.now());
        let change = self.vault.change(move |state, _| {
            let policy = asked.check(state.key(&name)?.rotation.as_ref(), now)?;
            state.set_policy(&name, policy)?;
            let key = state.key(&name)?;
            Ok(key.policy().value(&format!("{base}/keys/{}", key.name)))
        });
        ok(change.await?)
    }

    fn random(&self, content: &Content) -> Answer {
        let RandomIn { count } = wire::read(&content.0)?;
        if !(1..=RANDOM_MAX).contains(&count) {
            return Err(Refusal::bad(format!("count must be between 1 and {RANDOM_MAX}")));
        }
        let mut random = Zeroizing::new(vec![0; count]);
        self.vault.world.rng.fill(&mut random);
        ok(json!({"value": URL_SAFE_NO_PAD.encode(&*random)}))
    }

    /// Private keys first, then the state that names them.
    async fn restore(&mut self, base: &str, content: &Content) -> Answer {
        let sealed = wire::read::<RestoreIn>(&content.0)?.value.0;
        let backup = backup::open(&self.vault.store, &sealed)?;
        self.entry.key = Some(backup.key.name.clone());
        let base = base.to_owned();
        let change = self.vault.change(move |state, vault| {
            let properties = state.properties;
            let key = state.restore(backup.key, &vault.config)?;
            for (version, pkcs8) in &backup.private {
                vault.store.save_key(*version, pkcs8).map_err(|error| disk(&error))?;
            }
            Ok(wire::bundle(properties, &base, key, key.newest()))
        });
        ok(change.await?)
    }

    async fn use_key(&mut self, op: KeyOp, base: &str, name: &str, version: Option<&str>, content: Content) -> Answer {
        let vault = Arc::clone(&self.vault);
        let state = vault.state();
        let key = state.key(name)?;
        let version = key.version(version)?;
        self.entry.version = Some(version.id.to_string());
        let UseIn { alg, value, digest } = wire::read(&content.0)?;
        drop(content);
        version.may(op, vault.now())?;
        let kid = format!("{base}/keys/{}/{}", key.name, version.id);
        let (id, public, value) = (version.id, version.public.clone(), value.0);
        let _turn = vault.uses.acquire().await.expect("the semaphore is never closed");
        let used = {
            let vault = Arc::clone(&vault);
            tokio::task::spawn_blocking(move || match op {
                KeyOp::Encrypt | KeyOp::WrapKey => public.encrypt(&alg, &value).map(|bytes| bytes_of(&bytes)),
                KeyOp::Sign => public.sign(&vault.store.key(id)?, &alg, &value).map(|bytes| bytes_of(&bytes)),
                KeyOp::Verify => {
                    let digest = digest.ok_or_else(|| Refusal::bad("to verify takes a digest, and the signature as value"))?;
                    public.verify(&alg, &digest.0, &value).map(Value::from)
                }
                _ => public.decrypt(&vault.store.key(id)?, &alg, &value).map(|bytes| bytes_of(&bytes)),
            })
        };
        let result = used.await.map_err(|_| Refusal::internal("The operation was broken off."))??;
        // Of a verification nothing but its outcome is told.
        ok(if op == KeyOp::Verify { json!({"value": result}) } else { json!({"kid": kid, "value": result}) })
    }
}

fn bytes_of(bytes: &[u8]) -> Value {
    URL_SAFE_NO_PAD.encode(bytes).into()
}
