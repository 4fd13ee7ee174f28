//! Leading the house into each state, and on from it, by what the vault answers.

use strongroom_keys::provider::Answer;

use super::*;

/// Two vaults: the customer's, and another that they might move to. What stands before a vault may be told to be a bad client.
pub(super) struct TwoVaults {
    pub(super) first: MemoryVault,
    pub(super) second: MemoryVault,
    pub(super) client: fn(MemoryVault) -> Arc<dyn KeyVault>,
}

impl fmt::Debug for TwoVaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TwoVaults")
    }
}

impl TwoVaults {
    fn of(&self, kek: &KekRef) -> MemoryVault {
        if kek.key_name == "second" { self.second.clone() } else { self.first.clone() }
    }
}

#[async_trait]
impl Vaults for TwoVaults {
    async fn validate(&self, kek: &KekRef, _: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError> {
        Ok(self.of(kek).facts().await.map_err(KeyError::from)?)
    }
    async fn client(&self, kek: &KekRef, _: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError> {
        Ok((self.client)(self.of(kek)))
    }
}

pub(super) fn second_kek() -> KekRef {
    KekRef::new("https://vault.example/", "second", None).unwrap()
}

impl House {
    pub(super) fn watched(&self) -> Arc<Watched> {
        self.watch.of(self.cluster.id).unwrap()
    }

    pub(super) fn desk(&self) -> Desk {
        Desk(Arc::clone(&self.watch))
    }

    pub(super) fn account(&self) -> AccountId {
        self.cluster.account.unwrap()
    }

    /// To the moment of the next call, and what follows from it.
    pub(super) async fn next_poll(&self) {
        self.quiet().await;
        let call = self.watched().machine.lock().next_call(self.sim.world().rng.as_ref());
        self.sim.clock().advance(call.since(self.now()));
        self.quiet().await;
        // One that hangs is ended by the clock.
        while self.watched().busy.try_lock().is_err() {
            let next = self.sim.clock().next_wake().unwrap();
            self.sim.clock().advance(next.since(self.now()));
            self.quiet().await;
        }
    }

    /// From Active into a state. Nothing is read back until [`recover`](Self::recover).
    pub(super) async fn enter(&self, state: KeyState) {
        assert_eq!(self.state(), KeyState::Active);
        self.rooms.recall_failures.store(u64::MAX, Ordering::Relaxed);
        let polls = match state {
            KeyState::Active | KeyState::Provisioning => 0,
            KeyState::Degraded => {
                self.vault.set(Mood::Silent("Timeout"));
                1
            }
            KeyState::Unavailable => {
                self.vault.set(Mood::Silent("Timeout"));
                self.quiet().await;
                self.sim.clock().advance(STATES.lease);
                self.quiet().await;
                0
            }
            KeyState::Suspect => {
                self.vault.set(Mood::Denies("KeyDisabled"));
                1
            }
            KeyState::Held => {
                self.vault.set(Mood::Refuses("ForbiddenByFirewall"));
                2
            }
            KeyState::Revoked | KeyState::Restoring => {
                self.vault.set(Mood::Denies("KeyDisabled"));
                2
            }
            KeyState::Quarantined => {
                self.vault.set(Mood::Lies);
                1
            }
        };
        for _ in 0..polls {
            self.next_poll().await;
        }
        if state == KeyState::Restoring {
            self.vault.set(Mood::Well);
            self.next_poll().await;
        }
        if state == KeyState::Provisioning {
            // Only ever between the key's being wrapped and its first poll.
            let now = Moment::now(&self.sim.world());
            let watched = self.watched();
            let mut fresh = Machine::provisioning(STATES, now);
            let _stay = fresh.on_answer(now, now, &Answer::Transient("Timeout"));
            *watched.machine.lock() = fresh;
            watched.wake.notify_one();
            self.quiet().await;
        }
        assert_eq!(self.state(), state);
        self.rooms.take();
    }

    /// Back to Active, from wherever.
    pub(super) async fn recover(&self) {
        self.vault.set(Mood::Well);
        self.vault.script([]);
        self.rooms.recall_failures.store(0, Ordering::Relaxed);
        if self.state() == KeyState::Quarantined {
            self.desk().release(&self.cluster).await.unwrap();
        }
        self.until(KeyState::Active, Duration::from_mins(1)).await;
        self.rooms.take();
    }

    /// Another process on the same catalog, with these vaults; started.
    pub(super) async fn anew(&mut self, vaults: Arc<dyn Vaults>) {
        self.watch.stop();
        let (keys, other) = open(&self.sim, &self.catalog, &self.objects, self.root, &self.vault, &self.rooms).await;
        let deps = WatchDeps { vaults, ..other.deps.clone() };
        self.keys = keys;
        self.watch = Watch::new(deps, STATES);
        self.begin().await;
    }

    /// Starts the watch; the clock moves only while everybody waits for it.
    pub(super) async fn begin(&self) {
        let watch = Arc::clone(&self.watch);
        let starting = tokio::spawn(async move { watch.start().await });
        for _ in 0..PATIENCE {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            if starting.is_finished() {
                starting.await.unwrap().unwrap();
                return;
            }
            let at_work = |watched: Arc<Watched>| watched.busy.try_lock().is_err() || watched.recalling.load(Ordering::Acquire);
            if self.sim.clock().sleeping() > 0 && !self.watch.of(self.cluster.id).is_some_and(at_work) {
                self.sim.clock().advance(Duration::from_millis(10));
            } else {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        }
        panic!("the start does not end");
    }

    pub(super) async fn versions(&self) -> Vec<String> {
        self.keys.customer_records(self.account()).await.unwrap().into_iter().map(|record| record.key_version).collect()
    }
}
