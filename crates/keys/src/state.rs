//! The key state machine: what follows from what a vault answered.
//!
//! Pure and deterministic: moments and answers in, states out; it sleeps, calls and logs nothing. A poller asks
//! [`Machine::next_call`] when to unwrap, makes a fresh login and connection if [`Machine::wants_fresh`], and hands the outcome
//! to [`Machine::on_answer`]; a timer calls [`Machine::on_tick`] at [`Machine::next_tick`]. Start at [`Machine`].
//!
//! ```text
//!              transient           lease over
//!   Active ◀──────────▶ Degraded ─────────────▶ Unavailable ─┐
//!     │ ▲ ▲   good          │                        │ ▲     │ good
//!     │ │ └── restored ── Restoring ◀────────────────┼─┼─────┘
//!   deny│                   ▲  │ deny                │deny
//!     ▼ │ good              │  ▼                     ▼ │ transient
//!     Suspect ── second deny ─▶ Revoked (definitive twice) or Held (else) ── good ─▶ Restoring
//! ```
//!
//! The safety core is the lease: an unwrapped AEK works until the START of the last good unwrap plus the lease, on whichever
//! of the boot and wall clocks says more has passed. It needs nobody to run: [`Machine::may_use`] says no once it is over, even
//! if the poller hangs.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strongroom_world::{BootTime, Rng, WallTime, World};

use crate::Shut;
use crate::provider::Answer;

/// Between two vault calls there are at least these seconds, whatever is configured; the confirming call excepted.
const CALL_GAP_MIN: Duration = Duration::from_secs(6);
/// And at most these.
const CALL_GAP_MAX: Duration = Duration::from_mins(1);

/// What a customer's key is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyState {
    /// Being set on the cluster; nothing is sealed under it yet.
    Provisioning,
    /// The vault unwraps.
    Active,
    /// The vault does not answer; the lease holds and nobody notices.
    Degraded,
    /// One denial; requests are held until a second call confirms or refutes it.
    Suspect,
    /// The lease is over, or nothing was unwrapped since start.
    Unavailable,
    /// The vault refuses, and it may be about our login or network.
    Held,
    /// The customer took the key away.
    Revoked,
    /// The vault unwraps again; what was put aside is coming back.
    Restoring,
    /// The vault gave back another key than was wrapped. Only an operator ends this.
    Quarantined,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Provisioning,
        Self::Active,
        Self::Degraded,
        Self::Suspect,
        Self::Unavailable,
        Self::Held,
        Self::Revoked,
        Self::Restoring,
        Self::Quarantined,
    ];

    /// Its name, as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "Provisioning",
            Self::Active => "Active",
            Self::Degraded => "Degraded",
            Self::Suspect => "Suspect",
            Self::Unavailable => "Unavailable",
            Self::Held => "Held",
            Self::Revoked => "Revoked",
            Self::Restoring => "Restoring",
            Self::Quarantined => "Quarantined",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether unwrapped keys may be held and used in it, while the lease lasts.
    #[must_use]
    pub const fn uses_keys(self) -> bool {
        matches!(self, Self::Active | Self::Degraded | Self::Restoring)
    }

    /// Why the gate of its account is shut in it; `None` where it is open, held, or as the state before left it.
    #[must_use]
    pub const fn shut(self) -> Option<Shut> {
        match self {
            Self::Revoked => Some(Shut::Revoked),
            Self::Held => Some(Shut::AccessLost),
            Self::Unavailable => Some(Shut::Unavailable),
            Self::Quarantined => Some(Shut::Quarantined),
            Self::Provisioning | Self::Active | Self::Degraded | Self::Suspect | Self::Restoring => None,
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How patient the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// Between two polls, give or take a fifth; 8 to 24 s.
    pub poll_interval: Duration,
    /// How long an unwrapped AEK works; 1 to 55 min.
    pub lease: Duration,
    /// How long one call may take; 1 to 5 s.
    pub call_timeout: Duration,
    /// From a denial to the confirming call; 1 to 2 s.
    pub confirm_after: Duration,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(10),
            lease: Duration::from_mins(30),
            call_timeout: Duration::from_secs(5),
            confirm_after: Duration::from_secs(2),
        }
    }
}

/// A setting outside what the bounds on revocation allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be between {min:?} and {max:?}")]
pub struct StateConfigError {
    /// The setting.
    pub name: &'static str,
    /// Its least value.
    pub min: Duration,
    /// Its greatest value.
    pub max: Duration,
}

impl StateConfig {
    /// Whether every setting is within its bounds.
    ///
    /// # Errors
    /// [`StateConfigError`] names the first that is not.
    pub fn check(&self) -> Result<(), StateConfigError> {
        let rules = [
            ("poll_interval", self.poll_interval, 8, 24),
            ("lease", self.lease, 60, 55 * 60),
            ("call_timeout", self.call_timeout, 1, 5),
            ("confirm_after", self.confirm_after, 1, 2),
        ];
        for (name, value, min, max) in rules {
            let (min, max) = (Duration::from_secs(min), Duration::from_secs(max));
            if !(min..=max).contains(&value) {
                return Err(StateConfigError { name, min, max });
            }
        }
        Ok(())
    }
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The boot clock: never goes back, counts suspend.
    pub boot: BootTime,
    /// The wall clock: may be set, but also knows of time the boot clock missed (a restored snapshot).
    pub wall: WallTime,
}

impl Moment {
    /// This instant.
    #[must_use]
    pub fn now(world: &World) -> Self {
        Self { boot: world.clock.boot(), wall: world.clock.wall() }
    }

    /// How long from `earlier` to this: the larger of what the two clocks say.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let wall = u64::try_from(self.wall.0.saturating_sub(earlier.wall.0)).unwrap_or(0);
        self.boot.since(earlier.boot).max(Duration::from_nanos(wall))
    }
}

/// What a call or a tick changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a change of state has to be acted on"]
pub enum Step {
    /// Nothing.
    Stay,
    /// The state. On entering [`KeyState::Suspect`], `next_call` is the confirming call.
    Entered {
        /// What it was.
        from: KeyState,
        /// What it is.
        to: KeyState,
    },
}

/// One cluster's key, from one node's view.
#[derive(Debug)]
pub struct Machine {
    config: StateConfig,
    state: KeyState,
    since: Moment,
    code: &'static str,
    /// When the last good unwrap was begun.
    last_good: Option<Moment>,
    /// When the last call was begun.
    last_asked: Option<Moment>,
    /// When it is time to call again; drawn once per call.
    next_call: Option<BootTime>,
    /// What to fall back to from Suspect.
    before: KeyState,
    /// Definitive and ambiguous denials since the last good answer.
    definitive: u32,
    ambiguous: u32,
    /// Whether the last answer was good.
    well: bool,
    /// How much more than the boot clock the wall clock ever said has passed since the last good unwrap.
    skew: Duration,
}

impl Machine {
    /// A machine of a node that has just started: nothing is unwrapped, and what the catalog says of the key is not trusted.
    #[must_use]
    pub const fn new(config: StateConfig, now: Moment) -> Self {
        Self::starting(config, now, KeyState::Unavailable)
    }

    /// A machine of a key that is being set on its cluster: the first good answer makes it Active.
    #[must_use]
    pub const fn provisioning(config: StateConfig, now: Moment) -> Self {
        Self::starting(config, now, KeyState::Provisioning)
    }

    /// A machine of a key that was in quarantine when the node stopped: it still is. The one state that outlives a start, for it
    /// only ever forbids.
    #[must_use]
    pub const fn quarantined(config: StateConfig, now: Moment) -> Self {
        Self { code: "Integrity", ..Self::starting(config, now, KeyState::Quarantined) }
    }

    const fn starting(config: StateConfig, now: Moment, state: KeyState) -> Self {
        Self {
            config,
            state,
            since: now,
            code: "Started",
            last_good: None,
            last_asked: None,
            next_call: None,
            before: state,
            definitive: 0,
            ambiguous: 0,
            well: false,
            skew: Duration::ZERO,
        }
    }

    /// What the key is to us.
    #[must_use]
    pub const fn state(&self) -> KeyState {
        self.state
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Moment {
        self.since
    }

    /// The word for why: the code of the answer, or of the clock, that led here.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// When the last good unwrap was begun.
    #[must_use]
    pub const fn last_good(&self) -> Option<Moment> {
        self.last_good
    }

    /// Until when unwrapped keys work, on the boot clock: what guards take as their deadline. `None` if nothing was unwrapped.
    #[must_use]
    pub fn lease_until(&self) -> Option<BootTime> {
        self.last_good.map(|good| good.boot.after(self.config.lease.saturating_sub(self.skew)))
    }

    /// Whether keys may be used now: says no at the lease's end with nobody's help.
    #[must_use]
    pub fn may_use(&self, now: Moment) -> bool {
        self.state.uses_keys() && self.lease_holds(now)
    }

    /// When to call the vault next; the same until the next answer. Poll interval ± 20 %, counted from when the last call was
    /// begun; in Suspect, the confirming call.
    pub fn next_call(&mut self, rng: &dyn Rng) -> BootTime {
        let Some(asked) = self.last_asked else { return self.since.boot };
        *self.next_call.get_or_insert_with(|| {
            let mut random = [0; 4];
            rng.fill(&mut random);
            // From four to six fifths of the interval.
            let part = 0.8 + 0.4 * f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
            asked.boot.after(self.config.poll_interval.mul_f64(part).clamp(CALL_GAP_MIN, CALL_GAP_MAX))
        })
    }

    /// Puts the next call off by what a vault asked for (`Retry-After`), never beyond 60 s from the last one. A confirming call
    /// is not put off.
    pub fn postpone(&mut self, wait: Duration) {
        if let (Some(asked), false) = (self.last_asked, self.state == KeyState::Suspect) {
            let until = asked.boot.after(wait.clamp(CALL_GAP_MIN, CALL_GAP_MAX));
            // What `next_call` would draw at the latest.
            let usual = asked.boot.after(self.config.poll_interval.mul_f64(0.8).max(CALL_GAP_MIN));
            self.next_call = Some(self.next_call.unwrap_or(usual).max(until));
        }
    }

    /// Whether the next call needs a new connection and a fresh login: while a denial is neither confirmed nor refuted.
    #[must_use]
    pub const fn wants_fresh(&self) -> bool {
        let settled = matches!(self.state, KeyState::Held | KeyState::Revoked | KeyState::Quarantined);
        !settled && (self.definitive > 0 || self.ambiguous > 0)
    }

    /// When [`Machine::on_tick`] will have something to do at the latest, on the boot clock.
    #[must_use]
    pub fn next_tick(&self) -> Option<BootTime> {
        match self.state {
            KeyState::Suspect => Some(self.suspect_until()),
            state if state.uses_keys() => self.lease_until(),
            _ => None,
        }
    }

    /// Takes what a call showed: every call's outcome has to come here, one that was given up as a timeout. `asked` is from before the call was begun (a login it needed included), `answered` from after.
    pub fn on_answer(&mut self, asked: Moment, answered: Moment, answer: &Answer) -> Step {
        if self.last_asked.is_none_or(|last| asked.boot >= last.boot) {
            self.last_asked = Some(asked);
            self.next_call = None;
        }
        match *answer {
            Answer::Good => self.good(asked, answered),
            Answer::Transient(code) | Answer::Expired(code) => self.transient(answered, code),
            Answer::Denied(code) => {
                self.definitive = self.definitive.saturating_add(1);
                self.denied(answered, code)
            }
            Answer::Ambiguous(code) => {
                self.ambiguous = self.ambiguous.saturating_add(1);
                self.denied(answered, code)
            }
            Answer::Integrity => self.distrusted(answered),
        }
    }

    /// Looks at the clocks: ends a lease, and a suspicion that nobody confirmed in time.
    pub fn on_tick(&mut self, now: Moment) -> Step {
        self.note_skew(now);
        if self.state == KeyState::Suspect {
            return if now.boot < self.suspect_until() { Step::Stay } else { self.unconfirmed(now, "ConfirmTimeout") };
        }
        if self.state.uses_keys() && !self.lease_holds(now) { self.enter(KeyState::Unavailable, now, "LeaseOver") } else { Step::Stay }
    }

    /// What was put aside is back: Restoring is over.
    pub fn on_restored(&mut self, now: Moment) -> Step {
        let to = if self.well { KeyState::Active } else { KeyState::Degraded };
        match self.state {
            KeyState::Restoring if self.lease_holds(now) => self.enter(to, now, "Restored"),
            KeyState::Restoring => self.enter(KeyState::Unavailable, now, "LeaseOver"),
            KeyState::Suspect if self.before == KeyState::Restoring => {
                self.before = KeyState::Active;
                Step::Stay
            }
            _ => Step::Stay,
        }
    }

    /// The cluster's identity was taken off it: nobody need be asked.
    pub fn on_identity_removed(&mut self, now: Moment) -> Step {
        self.well = false;
        match self.state {
            KeyState::Revoked | KeyState::Quarantined => Step::Stay,
            _ => self.enter(KeyState::Revoked, now, "IdentityNone"),
        }
    }

    /// An operator looked into it and lets the key back in: it has to be unwrapped anew first.
    pub fn on_released(&mut self, now: Moment) -> Step {
        if self.state != KeyState::Quarantined {
            return Step::Stay;
        }
        (self.definitive, self.ambiguous) = (0, 0);
        self.enter(KeyState::Unavailable, now, "Released")
    }

    fn good(&mut self, asked: Moment, now: Moment) -> Step {
        let denied = matches!(self.state, KeyState::Suspect | KeyState::Held | KeyState::Revoked);
        // A call that was under way when the key was taken away says nothing of now.
        if self.state == KeyState::Quarantined || denied && asked.boot < self.since.boot {
            return Step::Stay;
        }
        // An answer that took so long that its own lease is over gives nothing.
        if now.since(asked) >= self.config.lease {
            return self.transient(now, "AnswerTooOld");
        }
        if self.last_good.is_none_or(|last| asked.boot > last.boot) {
            self.last_good = Some(asked);
            self.skew = Duration::ZERO;
            self.note_skew(now);
        }
        (self.definitive, self.ambiguous, self.well) = (0, 0, true);
        match self.state {
            KeyState::Active | KeyState::Restoring | KeyState::Quarantined => Step::Stay,
            KeyState::Provisioning | KeyState::Degraded => self.enter(KeyState::Active, now, "Good"),
            KeyState::Suspect if matches!(self.before, KeyState::Active | KeyState::Degraded) => self.enter(KeyState::Active, now, "Good"),
            // Keys were wiped, or not all is back: what was put aside comes first.
            KeyState::Suspect | KeyState::Unavailable | KeyState::Held | KeyState::Revoked => self.enter(KeyState::Restoring, now, "Good"),
        }
    }

    fn transient(&mut self, now: Moment, code: &'static str) -> Step {
        self.well = false;
        match self.state {
            KeyState::Active if self.lease_holds(now) => self.enter(KeyState::Degraded, now, code),
            KeyState::Active | KeyState::Degraded | KeyState::Restoring => self.on_tick(now),
            KeyState::Suspect => self.unconfirmed(now, code),
            KeyState::Provisioning | KeyState::Unavailable | KeyState::Held | KeyState::Revoked | KeyState::Quarantined => Step::Stay,
        }
    }

    /// Two definitive denials revoke; two of which one is ambiguous hold. Transient answers between them refute nothing.
    fn denied(&mut self, now: Moment, code: &'static str) -> Step {
        self.well = false;
        let confirmed = if self.definitive >= 2 { KeyState::Revoked } else { KeyState::Held };
        match self.state {
            KeyState::Provisioning | KeyState::Revoked | KeyState::Quarantined => Step::Stay,
            KeyState::Held if confirmed == KeyState::Held => Step::Stay,
            _ if self.definitive.saturating_add(self.ambiguous) >= 2 => self.enter(confirmed, now, code),
            state => {
                self.before = state;
                self.next_call = Some(now.boot.after(self.config.confirm_after));
                self.enter(KeyState::Suspect, now, code)
            }
        }
    }

    fn distrusted(&mut self, now: Moment) -> Step {
        self.well = false;
        match self.state {
            KeyState::Provisioning | KeyState::Quarantined => Step::Stay,
            _ => self.enter(KeyState::Quarantined, now, "Integrity"),
        }
    }

    /// Leaves Suspect with the denial neither confirmed nor refuted: the next denial, whenever it comes, is the second.
    fn unconfirmed(&mut self, now: Moment, code: &'static str) -> Step {
        let to = match self.before {
            KeyState::Active | KeyState::Degraded if self.lease_holds(now) => KeyState::Degraded,
            KeyState::Restoring if self.lease_holds(now) => KeyState::Restoring,
            _ => KeyState::Unavailable,
        };
        self.enter(to, now, code)
    }

    fn enter(&mut self, to: KeyState, now: Moment, code: &'static str) -> Step {
        let from = std::mem::replace(&mut self.state, to);
        (self.since, self.code) = (now, code);
        if from == to { Step::Stay } else { Step::Entered { from, to } }
    }

    /// By when a confirming call must have answered.
    fn suspect_until(&self) -> BootTime {
        self.since.boot.after(self.config.confirm_after + self.config.call_timeout)
    }

    fn lease_holds(&self, now: Moment) -> bool {
        self.last_good.is_some_and(|good| now.since(good).max(now.boot.since(good.boot) + self.skew) < self.config.lease)
    }

    /// A wall clock that was ahead stays believed until the next good unwrap, even if it is set back.
    fn note_skew(&mut self, now: Moment) {
        if let Some(good) = self.last_good {
            self.skew = self.skew.max(now.since(good).saturating_sub(now.boot.since(good.boot)));
        }
    }
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;
