//! A vault in memory, for tests: wraps truly, answers as it is told, remembers when it was asked.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use strongroom_envelope::{Aek, Mmk, RecordIds, WrappedAek};
use strongroom_model::KeyClass;
use strongroom_world::{BootTime, World};

use super::{Answer, KekRef, KeyFacts, KeyVault, VaultError};

/// How a [`MemoryVault`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As a vault should.
    Well,
    /// As if the customer had taken the key away.
    Denies(&'static str),
    /// As if it refused us and not the key.
    Refuses(&'static str),
    /// As if nobody were there.
    Silent(&'static str),
    /// Never.
    Hangs,
    /// With another key than was wrapped.
    Lies,
    /// As a disabled key does: it wraps and is shown, and does not unwrap.
    WrapsOnly,
    /// As such an answer of a real vault's is understood.
    Says(Answer),
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `wrapKey`.
    Wrap,
    /// `unwrapKey`.
    Unwrap,
    /// Reading the key.
    Facts,
}

/// A customer's vault in memory. Clones are the same vault.
#[derive(Clone)]
pub struct MemoryVault {
    inner: Arc<Inner>,
    /// The version that this client stays with.
    pinned: Option<String>,
}

struct Inner {
    world: World,
    kek: KekRef,
    key: Mmk,
    mood: Mutex<Mood>,
    /// What the next calls of a kind get instead, in order.
    script: Mutex<VecDeque<(Call, Mood)>>,
    newest: Mutex<u32>,
    expires_ms: Mutex<Option<i64>>,
    disabled: Mutex<BTreeSet<String>>,
    calls: Mutex<Vec<(BootTime, Call)>>,
}

impl MemoryVault {
    /// A vault with one version of one key.
    #[must_use]
    pub fn new(world: World, kek: KekRef) -> Self {
        let key = Mmk::generate(world.rng.as_ref());
        let pinned = kek.key_version.clone();
        let inner = Inner {
            world,
            kek,
            key,
            mood: Mutex::new(Mood::Well),
            script: Mutex::default(),
            newest: Mutex::new(1),
            expires_ms: Mutex::default(),
            disabled: Mutex::default(),
            calls: Mutex::default(),
        };
        Self { inner: Arc::new(inner), pinned }
    }

    /// The same vault, asked by a client of a key that stays with a version, or follows the newest.
    #[must_use]
    pub fn pinned(&self, version: Option<&str>) -> Self {
        Self { inner: Arc::clone(&self.inner), pinned: version.map(str::to_owned) }
    }

    /// One version of the key, `v1` and so on, is disabled or enabled again.
    pub fn disable(&self, version: &str, disabled: bool) {
        let mut all = self.inner.disabled.lock();
        if disabled {
            all.insert(version.to_owned())
        } else {
            all.remove(version)
        };
    }

    /// From now on it answers so.
    pub fn set(&self, mood: Mood) {
        *self.inner.mood.lock() = mood;
    }

    /// The next calls are answered so, each kind in order; then as it is set.
    pub fn script(&self, script: impl IntoIterator<Item = (Call, Mood)>) {
        *self.inner.script.lock() = script.into_iter().collect();
    }

    /// The key says that it expires then, milliseconds since 1970; past it, it wraps no more and unwraps on.
    pub fn expire(&self, at_ms: i64) {
        *self.inner.expires_ms.lock() = Some(at_ms);
    }

    /// The key gets another version.
    pub fn rotate(&self) {
        *self.inner.newest.lock() += 1;
    }

    /// When it was asked for what.
    #[must_use]
    pub fn calls(&self) -> Vec<(BootTime, Call)> {
        self.inner.calls.lock().clone()
    }

    /// Whether the answer is to be true.
    async fn answer(&self, call: Call) -> Result<bool, VaultError> {
        let inner = &self.inner;
        inner.calls.lock().push((inner.world.clock.boot(), call));
        let scripted = {
            let mut script = inner.script.lock();
            let at = script.iter().position(|(of, _)| *of == call);
            at.and_then(|at| script.remove(at)).map(|(_, mood)| mood)
        };
        let mood = scripted.unwrap_or(*inner.mood.lock());
        let expired = inner.expires_ms.lock().is_some_and(|at| inner.world.clock.wall().unix_ms() >= at);
        match mood {
            Mood::Well if expired && call == Call::Wrap => Err(VaultError::Expired { code: "KeyExpired" }),
            Mood::WrapsOnly if call == Call::Unwrap => Err(VaultError::Denied { code: "KeyDisabled" }),
            Mood::Well | Mood::WrapsOnly | Mood::Says(Answer::Good) => Ok(true),
            Mood::Lies | Mood::Says(Answer::Integrity) => Ok(false),
            Mood::Says(Answer::Expired(code)) => Err(VaultError::Expired { code }),
            Mood::Denies(code) | Mood::Says(Answer::Denied(code)) => Err(VaultError::Denied { code }),
            Mood::Refuses(code) | Mood::Says(Answer::Ambiguous(code)) => Err(VaultError::Refused { code }),
            Mood::Silent(code) | Mood::Says(Answer::Transient(code)) => Err(VaultError::Unreachable { code, retry_after: None }),
            Mood::Hangs => {
                inner.world.clock.sleep(Duration::from_hours(1)).await;
                Err(VaultError::Unreachable { code: "Timeout", retry_after: None })
            }
        }
    }

    fn version(&self) -> String {
        self.pinned.clone().unwrap_or_else(|| format!("v{}", self.inner.newest.lock()))
    }
}

impl fmt::Debug for MemoryVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryVault").field("kek", &self.inner.kek).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyVault for MemoryVault {
    fn class(&self) -> KeyClass {
        KeyClass::Cmk
    }
    fn provider(&self) -> &'static str {
        "memory"
    }
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        self.answer(Call::Wrap).await?;
        let wrapped = self.inner.key.wrap_aek(self.inner.world.rng.as_ref(), aek, ids);
        let (provider, key_uri) = (self.provider().to_owned(), self.inner.kek.key_uri());
        Ok(WrappedAek { provider, key_uri, key_version: self.version(), ..wrapped })
    }
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        let truly = self.answer(Call::Unwrap).await?;
        let aek = wrapped.ids.aek;
        if self.inner.disabled.lock().contains(&wrapped.key_version) {
            return Err(VaultError::Denied { code: "KeyDisabled" });
        }
        if wrapped.key_uri != self.inner.kek.key_uri() {
            return Err(VaultError::OtherKey { aek });
        }
        if !truly {
            // Success, and 32 bytes; what a client does with them decides.
            let given = Aek::generate(aek, self.inner.world.rng.as_ref());
            let wrong = VaultError::NotAuthentic { aek, code: "WrongCheckValue", source: None };
            return if given.has_check_value(&wrapped.ids, &wrapped.kcv) { Ok(given) } else { Err(wrong) };
        }
        let own = WrappedAek { provider: "mmk".to_owned(), key_uri: String::new(), key_version: String::new(), ..wrapped.clone() };
        self.inner.key.unwrap_aek(&own).map_err(|source| VaultError::NotAuthentic { aek, code: "WrongCheckValue", source: Some(source) })
    }
    async fn facts(&self) -> Result<KeyFacts, VaultError> {
        self.answer(Call::Facts).await?;
        let (newest, disabled) = (*self.inner.newest.lock(), self.inner.disabled.lock().clone());
        let used = self.version();
        let other = (1..=newest).map(|version| format!("v{version}")).filter(|version| *version != used && !disabled.contains(version));
        let other: Vec<String> = other.collect();
        let number = |version: &str| version.trim_start_matches('v').parse().unwrap_or(0_u32);
        Ok(KeyFacts {
            newer_enabled: other.iter().filter(|version| number(version) > number(&used)).cloned().collect(),
            other_enabled: other,
            newest: format!("v{newest}"),
            key_type: "RSA".to_owned(),
            rsa_bits: 2_048,
            unfit: None,
            enabled: !disabled.contains(&used),
            used,
            not_before_ms: None,
            expires_ms: *self.inner.expires_ms.lock(),
            recovery_level: "Recoverable".to_owned(),
            versions_listed: true,
        })
    }
    async fn newest(&self) -> Result<String, VaultError> {
        self.answer(Call::Facts).await?;
        Ok(format!("v{}", self.inner.newest.lock()))
    }
    async fn fresh(&self) {}
}
