use proptest::prelude::*;
use strongroom_world::sim::SimWorld;

use super::*;
use KeyState::{Active, Degraded, Held, Provisioning, Quarantined, Restoring, Revoked, Suspect, Unavailable};

const DENIED: Answer = Answer::Denied("KeyDisabled");
const FIREWALL: Answer = Answer::Ambiguous("ForbiddenByFirewall");
const TIMEOUT: Answer = Answer::Transient("Timeout");
const ANSWERS: [Answer; 6] = [Answer::Good, TIMEOUT, DENIED, FIREWALL, Answer::Integrity, Answer::Expired("KeyExpired")];

/// A machine with its clock: calls happen when the machine wants them.
struct Watch {
    sim: SimWorld,
    machine: Machine,
    /// When each call was begun, and whether it was a confirming one.
    calls: Vec<(BootTime, bool)>,
}

impl Watch {
    fn new(config: StateConfig) -> Self {
        let sim = SimWorld::new(7);
        let machine = Machine::new(config, Moment::now(&sim.world()));
        Self { sim, machine, calls: Vec::new() }
    }

    /// One that has just become Active.
    fn active() -> Self {
        let mut watch = Self::new(StateConfig::default());
        let _step = watch.poll(&Answer::Good);
        assert_eq!(watch.machine.on_restored(watch.now()), Step::Entered { from: Restoring, to: Active });
        watch
    }

    fn now(&self) -> Moment {
        Moment::now(&self.sim.world())
    }

    fn pass(&self, secs: u64) {
        self.sim.clock().advance(Duration::from_secs(secs));
    }

    /// Waits for the next call and gives it this answer, half a second later.
    fn poll(&mut self, answer: &Answer) -> Step {
        self.poll_taking(answer, Duration::from_millis(500))
    }

    fn poll_taking(&mut self, answer: &Answer, time: Duration) -> Step {
        let at = self.machine.next_call(self.sim.world().rng.as_ref());
        self.sim.clock().advance(at.since(self.now().boot));
        let asked = self.now();
        self.calls.push((asked.boot, self.machine.state() == Suspect));
        self.sim.clock().advance(time);
        let answered = self.now();
        self.machine.on_answer(asked, answered, answer)
    }

    /// Polls through `answers` and tells the state after each.
    fn states(&mut self, answers: &[Answer]) -> Vec<KeyState> {
        answers
            .iter()
            .map(|answer| {
                let before = self.machine.state();
                let step = self.poll(answer);
                let after = self.machine.state();
                assert_eq!(step, if before == after { Step::Stay } else { Step::Entered { from: before, to: after } });
                after
            })
            .collect()
    }

    /// A machine led into `state` by answers alone.
    fn in_state(state: KeyState) -> Self {
        let mut watch = Self::active();
        match state {
            Provisioning => watch.machine = Machine::provisioning(StateConfig::default(), watch.now()),
            Active => {}
            Degraded => drop(watch.states(&[TIMEOUT])),
            Suspect => drop(watch.states(&[DENIED])),
            Unavailable => watch.machine = Machine::new(StateConfig::default(), watch.now()),
            Held => drop(watch.states(&[FIREWALL, FIREWALL])),
            Revoked => drop(watch.states(&[DENIED, DENIED])),
            Restoring => drop(watch.states(&[DENIED, DENIED, Answer::Good])),
            Quarantined => drop(watch.states(&[Answer::Integrity])),
        }
        assert_eq!(watch.machine.state(), state);
        watch
    }
}

#[test]
fn the_way_of_a_key_that_is_taken_away_and_given_back() {
    let mut watch = Watch::active();
    let states = watch.states(&[Answer::Good, DENIED, DENIED, DENIED, TIMEOUT, FIREWALL, Answer::Good]);
    assert_eq!(states, [Active, Suspect, Revoked, Revoked, Revoked, Revoked, Restoring]);
    assert_eq!(watch.machine.on_restored(watch.now()), Step::Entered { from: Restoring, to: Active });
}

/// One table of the first answer in every state.
#[test]
fn each_state_takes_each_answer_as_the_contract_says() {
    // Good, transient, denied, ambiguous, integrity, expired.
    let table = [
        (Provisioning, [Active, Provisioning, Provisioning, Provisioning, Provisioning, Provisioning]),
        (Active, [Active, Degraded, Suspect, Suspect, Quarantined, Degraded]),
        (Degraded, [Active, Degraded, Suspect, Suspect, Quarantined, Degraded]),
        (Suspect, [Active, Degraded, Revoked, Held, Quarantined, Degraded]),
        (Unavailable, [Restoring, Unavailable, Suspect, Suspect, Quarantined, Unavailable]),
        (Held, [Restoring, Held, Held, Held, Quarantined, Held]),
        (Revoked, [Restoring, Revoked, Revoked, Revoked, Quarantined, Revoked]),
        (Restoring, [Restoring, Restoring, Suspect, Suspect, Quarantined, Restoring]),
        (Quarantined, [Quarantined; 6]),
    ];
    assert_eq!(table.map(|(state, _)| state).as_slice().len(), KeyState::ALL.len());
    for (state, after) in table {
        for (answer, expected) in ANSWERS.iter().zip(after) {
            assert_eq!(Watch::in_state(state).states(std::slice::from_ref(answer)), [expected], "{state} {answer:?}");
        }
    }
}

#[test]
fn two_denials_hold_if_one_is_ambiguous_and_revoke_once_two_are_definitive() {
    assert_eq!(Watch::active().states(&[DENIED, FIREWALL, DENIED]), [Suspect, Held, Revoked]);
    assert_eq!(Watch::active().states(&[FIREWALL, DENIED, DENIED]), [Suspect, Held, Revoked]);
    assert_eq!(Watch::active().states(&[FIREWALL, FIREWALL, DENIED, TIMEOUT, DENIED]), [Suspect, Held, Held, Held, Revoked]);
    assert_eq!(Watch::active().states(&[DENIED, Answer::Good, DENIED]), [Suspect, Active, Suspect]);
}

/// Whoever cuts the confirming call off gains one poll, not a lease.
#[test]
fn a_denial_nobody_refuted_is_confirmed_by_the_next_one() {
    let mut watch = Watch::active();
    assert_eq!(watch.states(&[DENIED, TIMEOUT]), [Suspect, Degraded]);
    assert!(watch.machine.wants_fresh());
    assert_eq!(watch.states(&[DENIED]), [Revoked]);
    assert!(!watch.machine.wants_fresh());
}

#[test]
fn a_suspicion_lasts_seven_seconds_at_most() {
    let mut watch = Watch::active();
    let _step = watch.poll(&DENIED);
    let entered = watch.now().boot;
    assert_eq!(watch.machine.next_call(watch.sim.world().rng.as_ref()), entered.after(Duration::from_secs(2)));
    assert_eq!(watch.machine.next_tick(), Some(entered.after(Duration::from_secs(7))));
    watch.pass(6);
    assert_eq!(watch.machine.on_tick(watch.now()), Step::Stay);
    watch.pass(1);
    assert_eq!(watch.machine.on_tick(watch.now()), Step::Entered { from: Suspect, to: Degraded });
    assert_eq!(watch.machine.code(), "ConfirmTimeout");
    let before = Watch::in_state(Unavailable).states(&[DENIED, TIMEOUT, DENIED]);
    assert_eq!(before, [Suspect, Unavailable, Revoked]);
}

#[test]
fn no_key_is_used_in_a_state_that_has_none() {
    for state in KeyState::ALL {
        let watch = Watch::in_state(state);
        assert_eq!(watch.machine.may_use(watch.now()), matches!(state, Active | Degraded | Restoring), "{state}");
    }
}

#[test]
fn the_lease_counts_from_the_start_of_the_good_call() {
    let mut watch = Watch::active();
    let asked = watch.machine.next_call(watch.sim.world().rng.as_ref());
    let _step = watch.poll_taking(&Answer::Good, Duration::from_secs(4));
    assert_eq!(watch.machine.last_good().map(|good| good.boot), Some(asked));
    assert_eq!(watch.machine.lease_until(), Some(asked.after(Duration::from_mins(30))));
    watch.pass(30 * 60 - 5);
    assert!(watch.machine.may_use(watch.now()));
    watch.pass(1);
    assert!(!watch.machine.may_use(watch.now()));
}

#[test]
fn a_hung_poller_ends_with_the_lease() {
    for state in [Active, Degraded, Restoring] {
        let mut watch = Watch::in_state(state);
        let until = watch.machine.lease_until().unwrap();
        assert_eq!(watch.machine.next_tick(), Some(until));
        watch.sim.clock().advance(until.since(watch.now().boot));
        // Nobody ticked yet: no key is used all the same.
        assert!(!watch.machine.may_use(watch.now()), "{state}");
        assert_eq!(watch.machine.on_tick(watch.now()), Step::Entered { from: state, to: Unavailable });
        assert_eq!(watch.states(&[Answer::Good]), [Restoring]);
    }
}

#[test]
fn an_answer_older_than_the_lease_gives_nothing() {
    let mut watch = Watch::in_state(Unavailable);
    assert_eq!(watch.poll_taking(&Answer::Good, Duration::from_mins(31)), Step::Stay);
    assert_eq!(watch.machine.state(), Unavailable);
}

#[test]
fn a_wall_clock_set_back_a_year_prolongs_nothing() {
    let watch = Watch::active();
    watch.sim.clock().set_wall(WallTime(watch.now().wall.0 - 365 * 86_400 * 1_000_000_000));
    watch.pass(30 * 60 - 1);
    assert!(watch.machine.may_use(watch.now()), "the boot clock alone counts now");
    watch.pass(1);
    assert!(!watch.machine.may_use(watch.now()));
}

#[test]
fn time_that_only_the_wall_clock_saw_counts_and_costs_one_poll() {
    let mut watch = Watch::active();
    let before = watch.now().wall;
    watch.sim.clock().set_wall(WallTime(before.0 + 31 * 60 * 1_000_000_000));
    assert!(!watch.machine.may_use(watch.now()));
    assert_eq!(watch.machine.on_tick(watch.now()), Step::Entered { from: Active, to: Unavailable });
    assert_eq!(watch.states(&[Answer::Good]), [Restoring]);
    assert!(watch.machine.may_use(watch.now()));

    // Twenty minutes ahead, seen, and set back again: they stay counted.
    let mut watch = Watch::active();
    let before = watch.now().wall;
    watch.sim.clock().set_wall(WallTime(before.0 + 20 * 60 * 1_000_000_000));
    assert_eq!(watch.machine.on_tick(watch.now()), Step::Stay);
    watch.sim.clock().set_wall(before);
    watch.pass(11 * 60);
    assert!(!watch.machine.may_use(watch.now()));
    assert!(watch.machine.lease_until().unwrap() < watch.now().boot);
}

#[test]
fn a_call_under_way_when_the_key_was_taken_away_gives_nothing_back() {
    let mut watch = Watch::active();
    let asked = watch.now();
    watch.pass(1);
    assert_eq!(watch.machine.on_identity_removed(watch.now()), Step::Entered { from: Active, to: Revoked });
    watch.pass(1);
    assert_eq!(watch.machine.on_answer(asked, watch.now(), &Answer::Good), Step::Stay);
    assert_eq!(watch.states(&[Answer::Good]), [Restoring]);
}

#[test]
fn what_is_restored_while_in_doubt_is_not_restored_twice() {
    let mut watch = Watch::in_state(Restoring);
    assert_eq!(watch.states(&[DENIED]), [Suspect]);
    assert_eq!(watch.machine.on_restored(watch.now()), Step::Stay);
    assert_eq!(watch.states(&[Answer::Good]), [Active]);
    assert_eq!(Watch::in_state(Restoring).states(&[DENIED, Answer::Good]), [Suspect, Restoring]);
    assert_eq!(Watch::in_state(Restoring).states(&[DENIED, TIMEOUT]), [Suspect, Restoring]);
    let mut watch = Watch::in_state(Restoring);
    assert_eq!(watch.states(&[TIMEOUT]), [Restoring]);
    assert_eq!(watch.machine.on_restored(watch.now()), Step::Entered { from: Restoring, to: Degraded });
}

#[test]
fn only_an_operator_ends_quarantine_and_only_a_good_unwrap_uses_the_key_again() {
    let mut watch = Watch::in_state(Quarantined);
    assert_eq!(watch.states(&[Answer::Good, DENIED, DENIED, TIMEOUT]), [Quarantined; 4]);
    assert_eq!(watch.machine.on_released(watch.now()), Step::Entered { from: Quarantined, to: Unavailable });
    assert_eq!(watch.states(&[DENIED, Answer::Good]), [Suspect, Restoring]);
    for state in KeyState::ALL.into_iter().filter(|state| *state != Quarantined) {
        let mut watch = Watch::in_state(state);
        assert_eq!(watch.machine.on_released(watch.now()), Step::Stay);
    }
}

#[test]
fn a_vault_that_asks_for_rest_gets_a_minute_at_most() {
    for (wait, least, most) in [(0, 6, 12), (20, 20, 20), (3_600, 60, 60)] {
        let mut watch = Watch::active();
        let _step = watch.poll(&TIMEOUT);
        let asked = watch.calls.last().unwrap().0;
        watch.machine.postpone(Duration::from_secs(wait));
        let gap = watch.machine.next_call(watch.sim.world().rng.as_ref()).since(asked).as_secs();
        assert!((least..=most).contains(&gap), "{wait}: {gap}");
    }
    let mut watch = Watch::in_state(Suspect);
    watch.machine.postpone(Duration::from_mins(1));
    let next = watch.machine.next_call(watch.sim.world().rng.as_ref());
    assert_eq!(next, watch.now().boot.after(Duration::from_secs(2)), "a confirming call is not put off");
}

/// 10,000 polls that keep each state, at each end of what may be configured.
#[test]
fn calls_are_six_to_sixty_seconds_apart_in_every_state() {
    for state in KeyState::ALL {
        for secs in [8, 10, 24] {
            let mut watch = Watch::in_state(state);
            watch.machine.config.poll_interval = Duration::from_secs(secs);
            watch.calls.clear();
            for _ in 0..10_000 {
                let _step = match state {
                    Active | Restoring | Quarantined => watch.poll(&Answer::Good),
                    // Good once in a while, so that the lease goes on.
                    Degraded if watch.calls.len().is_multiple_of(8) => watch.poll(&Answer::Good),
                    // In and out of it: the confirming call is not counted.
                    Suspect if watch.machine.state() == Suspect => watch.poll(&Answer::Good),
                    Suspect | Revoked => watch.poll(&DENIED),
                    Held => watch.poll(&FIREWALL),
                    Degraded | Unavailable | Provisioning => watch.poll_taking(&TIMEOUT, Duration::from_secs(5)),
                };
                if state != Suspect && state != Degraded {
                    assert_eq!(watch.machine.state(), state);
                }
            }
            assert_eq!(watch.calls.len(), 10_000);
            let mut confirming = 0;
            for pair in watch.calls.windows(2) {
                let gap = pair[1].0.since(pair[0].0);
                if pair[1].1 {
                    confirming += 1;
                    assert!(gap <= Duration::from_secs(7));
                } else {
                    assert!((CALL_GAP_MIN..=CALL_GAP_MAX).contains(&gap), "{state} {secs}: {gap:?}");
                }
            }
            assert_eq!(confirming > 0, state == Suspect);
        }
    }
}

/// Any config in bounds, any answers, calls of any length up to the timeout: what must hold always does.
fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![6 => Just(Answer::Good), 6 => Just(TIMEOUT), 2 => Just(DENIED), 1 => Just(FIREWALL)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn ten_thousand_flaps_never_revoke(flaps in prop::collection::vec(any::<bool>(), 250)) {
        let mut watch = Watch::active();
        for good in flaps {
            let answer = if good { Answer::Good } else { TIMEOUT };
            let _step = watch.poll(&answer);
            let _step = watch.machine.on_tick(watch.now());
            prop_assert!(matches!(watch.machine.state(), Active | Degraded | Unavailable | Restoring));
            let _step = watch.machine.on_restored(watch.now());
        }
    }

    #[test]
    fn whatever_a_vault_answers_the_rules_hold(
        interval in 8_000_u64..=24_000,
        lease in 60_u64..=3_300,
        turns in prop::collection::vec((any_answer(), 0_u64..5_000, any::<bool>(), 0_i64..3), 1..400),
    ) {
        let config = StateConfig {
            poll_interval: Duration::from_millis(interval),
            lease: Duration::from_secs(lease),
            ..StateConfig::default()
        };
        config.check().unwrap();
        let mut watch = Watch::new(config);
        let (mut definitive, mut good_at) = (0, None);
        for (answer, took, restored, wall) in turns {
            let jump = [0, -86_400, 86_400][usize::try_from(wall).unwrap()] * 1_000_000_000;
            watch.sim.clock().set_wall(WallTime(watch.now().wall.0 + jump));
            let _step = watch.machine.on_tick(watch.now());
            let _step = watch.poll_taking(&answer, Duration::from_millis(took));
            match answer {
                Answer::Good => (definitive, good_at) = (0, watch.calls.last().map(|call| call.0)),
                Answer::Denied(_) => definitive += 1,
                _ => {}
            }
            if restored {
                let _step = watch.machine.on_restored(watch.now());
            }
            let state = watch.machine.state();
            prop_assert!(state != Revoked || definitive >= 2);
            prop_assert!(definitive < 2 || state == Revoked);
            let within = good_at.is_some_and(|at| watch.now().boot.since(at) < config.lease);
            prop_assert!(within || !watch.machine.may_use(watch.now()));
            prop_assert!(!watch.machine.may_use(watch.now()) || watch.machine.lease_until().unwrap() > watch.now().boot);
        }
        for pair in watch.calls.windows(2) {
            let gap = pair[1].0.since(pair[0].0);
            prop_assert!(pair[1].1 || (CALL_GAP_MIN..=CALL_GAP_MAX).contains(&gap), "{gap:?}");
        }
    }
}

/// Expiry is a flag and no state: a vault unwraps with an expired key and only refuses to wrap. Should one call it that when asked to
/// unwrap, now and then, it is an outage that the next good answer ends.
#[test]
fn a_month_with_an_expired_key_fails_no_use_of_it() {
    let mut watch = Watch::active();
    let start = watch.now().boot;
    let mut polls = 0;
    while watch.now().boot.since(start) < Duration::from_hours(30 * 24) {
        polls += 1;
        let expired = polls % 100 == 0;
        let _step = watch.poll(&if expired { Answer::Expired("KeyExpired") } else { Answer::Good });
        assert_eq!(watch.machine.state(), if expired { Degraded } else { Active }, "poll {polls}");
        assert!(watch.machine.may_use(watch.now()), "poll {polls}");
    }
    assert!(polls > 200_000, "{polls}");
}

#[test]
fn settings_beyond_their_bounds_are_refused() {
    let base = StateConfig::default();
    base.check().unwrap();
    let secs = Duration::from_secs;
    for (config, name) in [
        (StateConfig { lease: secs(56 * 60), ..base }, "lease"),
        (StateConfig { lease: secs(59), ..base }, "lease"),
        (StateConfig { poll_interval: secs(7), ..base }, "poll_interval"),
        (StateConfig { poll_interval: secs(25), ..base }, "poll_interval"),
        (StateConfig { call_timeout: secs(6), ..base }, "call_timeout"),
        (StateConfig { confirm_after: secs(3), ..base }, "confirm_after"),
    ] {
        assert_eq!(config.check().unwrap_err().name, name);
    }
}

#[test]
fn names_read_back_and_are_what_is_stored() {
    for state in KeyState::ALL {
        assert_eq!(KeyState::from_name(state.as_str()), Some(state));
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
    }
    assert_eq!(KeyState::from_name("active"), None);
}

#[test]
fn thirty_days_revoked_are_asked_through_and_end_with_the_first_good_answer() {
    let mut watch = Watch::active();
    let start = watch.now();
    watch.states(&[DENIED, DENIED]);
    assert_eq!(watch.machine.state(), Revoked);
    // What a vault that is closed to us says in a month, the odd outage among it.
    let mut polls = 0_u64;
    while watch.now().since(start) < Duration::from_hours(30 * 24) {
        let answer = if polls.is_multiple_of(97) { TIMEOUT } else { DENIED };
        assert_eq!(watch.poll(&answer), Step::Stay);
        assert!(!watch.machine.may_use(watch.now()), "after {polls} polls");
        polls += 1;
    }
    let within = |pair: &[(BootTime, bool)]| {
        let apart = pair[1].0.since(pair[0].0);
        pair[1].1 || (Duration::from_secs(6)..=Duration::from_mins(1)).contains(&apart)
    };
    assert!(watch.calls.windows(2).all(within), "every interval lies within 6 to 60 s");
    assert!(polls > 30 * 24 * 60, "{polls}");
    assert_eq!(watch.poll(&Answer::Good), Step::Entered { from: Revoked, to: Restoring });
}
