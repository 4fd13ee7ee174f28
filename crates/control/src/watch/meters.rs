//! What `/metrics` shows of keys, and the lines that the log has of vaults' answers.
//!
//! Codes are short words of ours, never a vault's text: they may be labels. A vault that says the same again is logged once.

use parking_lot::Mutex;
use strongroom_keys::provider::Answer;
use strongroom_keys::state::{KeyState, Moment};
use strongroom_model::ObjectId;
use strongroom_world::BootTime;

use super::Watch;

/// What one cluster's figures need to be remembered.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// When the vault first denied what it has not granted since.
    denied: Mutex<Option<BootTime>>,
    /// What it said last.
    said: Mutex<Option<Answer>>,
}

impl Meters {
    /// Counts an answer that came between these two moments.
    pub(super) fn answer(&self, cluster: ObjectId, answer: &Answer, asked: Moment, answered: Moment) {
        let (class, code) = (answer.class(), answer.code());
        metrics::counter!("control_key_polls_total", "class" => class, "code" => code).increment(1);
        metrics::histogram!("control_key_poll_seconds", "class" => class).record(answered.boot.since(asked.boot).as_secs_f64());
        let before = self.said.lock().replace(*answer);
        match answer {
            Answer::Good => {
                *self.denied.lock() = None;
                if before.is_some_and(|before| before != Answer::Good) {
                    tracing::info!(%cluster, "the vault unwraps again");
                }
            }
            _ if before == Some(*answer) => {}
            _ => tracing::warn!(%cluster, class, code, "the vault did not unwrap"),
        }
        if matches!(answer, Answer::Denied(_) | Answer::Ambiguous(_)) {
            self.denied.lock().get_or_insert(answered.boot);
        }
    }

    /// The gate was shut: how long after the first denial, if for one.
    pub(super) fn gate_shut(&self, now: BootTime) {
        if let Some(denied) = self.denied.lock().take() {
            metrics::histogram!("control_key_denial_to_gate_seconds").record(now.since(denied).as_secs_f64());
        }
    }
}

impl Watch {
    /// Brings the gauges up to now: for whoever is about to read them.
    #[expect(clippy::cast_precision_loss, reason = "nobody reads the 53rd bit of a gauge")]
    pub fn observe(&self) {
        let now = Moment::now(&self.deps.world);
        for watched in self.watched.read().values() {
            let cluster = watched.cluster.to_string();
            let machine = watched.machine.lock();
            for state in KeyState::ALL {
                let is = u32::from(machine.state() == state);
                metrics::gauge!("control_key_state", "cluster" => cluster.clone(), "state" => state.as_str()).set(f64::from(is));
            }
            let left = machine.lease_until().filter(|_| machine.may_use(now)).map_or(0.0, |until| until.since(now.boot).as_secs_f64());
            metrics::gauge!("control_key_lease_left_seconds", "cluster" => cluster.clone()).set(left);
            let since_good = machine.last_good().map_or(f64::INFINITY, |good| now.since(good).as_secs_f64());
            metrics::gauge!("control_key_since_good_seconds", "cluster" => cluster.clone()).set(since_good);
            let since_change = now.since(machine.since()).as_millis() as f64 / 1_000.0;
            metrics::gauge!("control_key_state_age_seconds", "cluster" => cluster).set(since_change);
        }
    }
}
