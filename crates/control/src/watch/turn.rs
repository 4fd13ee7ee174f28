//! One poll and what follows from it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_catalog::KeyStateRow;
use strongroom_keys::provider::Answer;
use strongroom_keys::state::{KeyState, Moment, Step};
use strongroom_keys::{KeyError, Shut, Standing};
use tokio::sync::watch;

use super::{Gone, Watch, Watched};

/// How long following a key to a newer version may keep the next poll waiting: polls stay within 60 s of each other.
const FOLLOW_MAX: Duration = Duration::from_secs(20);

impl Watch {
    pub(super) fn spawn(self: &Arc<Self>, watched: Arc<Watched>) {
        let (this, stop) = (Arc::clone(self), watched.stop.subscribe());
        tokio::spawn(async move { this.run(&watched, stop).await });
    }

    async fn run(self: &Arc<Self>, watched: &Arc<Watched>, mut stop: watch::Receiver<bool>) {
        let clock = &self.deps.world.clock;
        loop {
            if watched.nameless.load(Ordering::Acquire) {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = watched.wake.notified() => {}
                    () = clock.sleep(self.config.poll_interval) => {}
                }
                {
                    let _alone = watched.busy.lock().await;
                    self.heed_row(watched).await;
                }
                self.settle(watched).await;
                continue;
            }
            let (call, tick) = {
                let mut machine = watched.machine.lock();
                (machine.next_call(self.deps.world.rng.as_ref()), machine.next_tick())
            };
            let until = tick.map_or(call, |tick| tick.min(call));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = watched.wake.notified() => continue,
                () = clock.sleep(until.since(clock.boot())) => {}
            }
            if clock.boot() >= call {
                self.turn(watched, true).await;
            } else {
                let ticked = watched.machine.lock().on_tick(Moment::now(&self.deps.world));
                self.act(watched, ticked).await;
            }
            self.settle(watched).await;
        }
    }

    /// Asks the vault once and acts on the answer; with `follow`, also after newer versions of the key.
    pub(super) async fn turn(self: &Arc<Self>, watched: &Arc<Watched>, follow: bool) {
        let _alone = watched.busy.lock().await;
        self.heed_row(watched).await;
        if watched.nameless.load(Ordering::Acquire) {
            self.revoke(watched).await;
            return;
        }
        let (kek, vault) = watched.vault.read().clone();
        if watched.machine.lock().wants_fresh() {
            vault.fresh().await;
        }
        let asked = Moment::now(&self.deps.world);
        let turn = watched.turn.fetch_add(1, Ordering::Relaxed);
        let polled = tokio::select! {
            polled = self.deps.keys.poll(watched.account, vault.as_ref(), turn, self.config.lease) => Some(polled),
            () = self.deps.world.clock.sleep(self.config.call_timeout) => None,
        };
        let (answer, retry_after) = match &polled {
            Some(Ok(polled)) => {
                watched.version.lock().clone_from(&polled.version);
                if !polled.returned.is_empty() {
                    watched.recall_due.store(true, Ordering::Release);
                }
                (Answer::Good, None)
            }
            Some(Err(KeyError::Vault(error))) => (error.answer(), error.retry_after()),
            // A record that is missing, put back or of another key is no denial: somebody has to look.
            Some(Err(error)) if error.code() == "IntegrityError" => (Answer::Integrity, None),
            Some(Err(error)) => (Answer::Transient(error.code()), None),
            None => (Answer::Transient("Timeout"), None),
        };
        if watched.nameless.load(Ordering::Acquire) {
            // It was asked with an identity that the cluster shows no more.
            self.revoke(watched).await;
            self.deps.keys.kill(watched.account);
            return;
        }
        let answered = Moment::now(&self.deps.world);
        watched.meters.answer(watched.cluster, &answer, asked, answered);
        self.note_answer(watched, &answer, polled.as_ref().and_then(|polled| polled.as_ref().ok()).map_or("", |polled| &polled.version));
        if matches!(answer, Answer::Denied(_) | Answer::Ambiguous(_)) {
            crash_point(if watched.machine.lock().state() == KeyState::Suspect { "second denial" } else { "first denial" });
        }
        let (step, deadline) = {
            let mut machine = watched.machine.lock();
            let step = machine.on_answer(asked, answered, &answer);
            if let Some(wait) = retry_after {
                machine.postpone(wait);
            }
            (step, machine.lease_until())
        };
        if let (Answer::Good, Some(deadline)) = (&answer, deadline) {
            // The wall clock may know of time that the boot clock missed.
            self.deps.keys.renew(watched.account, deadline);
        }
        self.act(watched, step).await;
        if watched.machine.lock().state().shut().is_some() {
            // Whatever this call brought in is not for use.
            self.deps.keys.kill(watched.account);
        } else if follow && matches!(answer, Answer::Good) {
            tokio::select! {
                () = self.follow(watched, &kek, vault.as_ref()) => {}
                () = self.deps.world.clock.sleep(FOLLOW_MAX) => tracing::warn!(cluster = %watched.cluster, "following the key took too long"),
            }
        }
    }

    /// Carries a change of state out.
    pub(super) async fn act(self: &Arc<Self>, watched: &Arc<Watched>, step: Step) {
        let Step::Entered { from, to } = step else { return };
        let code = {
            let machine = watched.machine.lock();
            // At once: whoever reads the state and asks next is served.
            if matches!(to, KeyState::Active | KeyState::Degraded) && machine.state().shut().is_none() {
                watched.gate.set(Standing::Open);
            }
            machine.code()
        };
        tracing::warn!(cluster = %watched.cluster, %from, %to, code, "key state changed");
        self.note_state(watched, from, to, code);
        metrics::counter!("control_key_state_changes_total", "to" => to.as_str()).increment(1);
        match to {
            KeyState::Suspect => {
                // A gate that is shut stays so; an open one lets nobody on before this is cleared up. Under the machine's lock, as
                // above: an identity may be taken away at any moment.
                let machine = watched.machine.lock();
                if machine.state() == KeyState::Suspect && watched.gate.standing() == Standing::Open {
                    watched.gate.set(Standing::Held);
                }
            }
            KeyState::Active | KeyState::Degraded | KeyState::Provisioning => {}
            KeyState::Restoring => crash_point("unwrapped"),
            KeyState::Unavailable | KeyState::Held | KeyState::Revoked | KeyState::Quarantined => {
                if let Some(why) = to.shut() {
                    self.shut(watched, why).await;
                }
            }
        }
        self.persist(watched).await;
    }

    /// Takes everything of a cluster away, memory before disk: nobody is served from the first line on.
    pub(super) async fn shut(&self, watched: &Watched, why: Shut) {
        let since_ms = watched.machine.lock().since().wall.unix_ms();
        let clock = &self.deps.world.clock;
        let mut last = clock.boot();
        let mut done = Vec::new();
        let mut note = |step: &'static str| {
            let now = clock.boot();
            done.push((step, now.since(last)));
            last = now;
        };
        fail::fail_point!("key.epoch");
        watched.gate.set(Standing::Shut(why, since_ms));
        watched.meters.gate_shut(clock.boot());
        note("gate");
        fail::fail_point!("key.gate");
        self.deps.cut.cut(watched.account, &watched.gate.error(why, since_ms));
        note("queries");
        fail::fail_point!("key.zeroize");
        let mut epochs = self.deps.keys.kill(watched.account);
        let keys_wiped = epochs.len();
        note("keys");
        epochs.extend(watched.epochs.lock().iter().copied());
        epochs.sort();
        epochs.dedup();
        let gone = Gone { account: watched.account, epochs, why, lost: Arc::default() };
        let mut unfinished = false;
        for step in &self.deps.forget {
            crash_point(step.name());
            if let Err(error) = step.forget(&gone).await {
                tracing::error!(cluster = %watched.cluster, step = step.name(), error, "a step of taking data away failed and will be tried again");
                unfinished = true;
            }
            note(step.name());
        }
        watched.unfinished.store(unfinished, Ordering::Release);
        fail::fail_point!("key.persist");
        for (step, took) in &done {
            tracing::info!(cluster = %watched.cluster, step, micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "taken away");
        }
        self.note_taken(watched, (why, since_ms), &done, keys_wiped, &gone.lost, unfinished);
        *watched.evidence.lock() = done;
    }

    /// What is due besides polling: a log to be read back, a step of taking away that failed.
    pub(super) async fn settle(self: &Arc<Self>, watched: &Arc<Watched>) {
        self.heed(watched).await;
        let state = watched.machine.lock().state();
        if state == KeyState::Restoring || (state.uses_keys() && watched.recall_due.load(Ordering::Acquire)) {
            self.recall(watched);
        }
        if watched.unfinished.load(Ordering::Acquire)
            && let Some(why) = state.shut()
        {
            self.shut(watched, why).await;
        }
        if watched.unwritten.load(Ordering::Acquire) {
            self.persist(watched).await;
        }
    }

    /// Reads the log back while polls go on; then the gate opens.
    pub(super) fn recall(self: &Arc<Self>, watched: &Arc<Watched>) {
        if watched.recalling.swap(true, Ordering::AcqRel) {
            return;
        }
        let (this, watched) = (Arc::clone(self), Arc::clone(watched));
        tokio::spawn(async move {
            fail::fail_point!("restore.replay", |_| ());
            watched.recall_due.store(false, Ordering::Release);
            let guards = this.deps.keys.customer_guards(watched.account);
            let missing = watched.epochs.lock().iter().any(|epoch| guards.iter().all(|guard| guard.epoch() != *epoch));
            let recalled = if missing { Err("a key of it has not come yet".to_owned()) } else { this.deps.recall.recall(&guards).await };
            fail::fail_point!("restore.gate", |_| ());
            if recalled.is_err() {
                watched.recall_due.store(true, Ordering::Release);
            }
            watched.recalling.store(false, Ordering::Release);
            match recalled {
                Ok(rows) => {
                    tracing::info!(cluster = %watched.cluster, rows, "log read back");
                    let step = watched.machine.lock().on_restored(Moment::now(&this.deps.world));
                    this.act(&watched, step).await;
                }
                // The key may be gone again; if not, the next turn tries once more.
                Err(error) => tracing::error!(cluster = %watched.cluster, error, "the log of a cluster could not be read back yet"),
            }
            watched.wake.notify_one();
        });
    }

    async fn persist(&self, watched: &Watched) {
        let row = {
            let machine = watched.machine.lock();
            KeyStateRow {
                cluster: watched.cluster,
                state: machine.state().as_str().to_owned(),
                since_ms: machine.since().wall.unix_ms(),
                code: Some(machine.code().to_owned()),
                last_good_ms: machine.last_good().map(|good| good.wall.unix_ms()),
            }
        };
        // Told and not relied on: a start asks the vault whatever stands here. A quarantine alone has to be there: it is tried again.
        let written = self.deps.catalog.key_state_put(&row).await;
        watched.unwritten.store(written.is_err(), Ordering::Release);
        if let Err(error) = written {
            tracing::warn!(cluster = %watched.cluster, code = error.code(), "a key's state could not be written down");
        }
    }
}

/// Where tests let the process die.
fn crash_point(step: &'static str) {
    match step {
        "first denial" => fail::fail_point!("key.deny1"),
        "second denial" => fail::fail_point!("key.deny2"),
        "unwrapped" => fail::fail_point!("restore.unwrap"),
        "caches" => fail::fail_point!("key.drop_caches"),
        "memtables" => fail::fail_point!("key.memtables"),
        "hot cache" => fail::fail_point!("key.cache_key"),
        _ => {}
    }
}
