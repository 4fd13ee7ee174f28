//! The states in `docs/keys.md`, written from the machine: every transition is one that the machine made here, driven with
//! every answer, clock and command from everything it can be in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use strongroom_model::ErrorKind;
use strongroom_world::sim::SimWorld;

use super::*;
use crate::KeyError;

/// What may happen to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The next call is due and answered so.
    Poll(Answer),
    /// The same, after the lease.
    Late(Answer),
    /// A good answer to a call that was begun longer ago than a lease lasts.
    Stale,
    /// Time passes until the machine has something to do.
    Tick,
    Restored,
    IdentityRemoved,
    Released,
}

const ANSWERS: [Answer; 6] = [
    Answer::Good,
    Answer::Transient("no answer"),
    Answer::Denied("denied"),
    Answer::Ambiguous("refused"),
    Answer::Integrity,
    Answer::Expired("no answer"),
];

fn events() -> Vec<Event> {
    let answers = ANSWERS.into_iter().flat_map(|answer| [Event::Poll(answer), Event::Late(answer)]);
    answers.chain([Event::Stale, Event::Tick, Event::Restored, Event::IdentityRemoved, Event::Released]).collect()
}

/// How a machine comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Birth {
    Start,
    KeySet,
    StartQuarantined,
}

/// A machine with its clock, brought where it is by a way that can be gone again.
struct Driven {
    sim: SimWorld,
    machine: Machine,
}

impl Driven {
    fn new(birth: Birth) -> Self {
        let sim = SimWorld::new(3);
        let (config, now) = (StateConfig::default(), Moment::now(&sim.world()));
        let machine = match birth {
            Birth::Start => Machine::new(config, now),
            Birth::KeySet => Machine::provisioning(config, now),
            Birth::StartQuarantined => Machine::quarantined(config, now),
        };
        Self { sim, machine }
    }

    fn now(&self) -> Moment {
        Moment::now(&self.sim.world())
    }

    fn until(&self, at: BootTime) {
        self.sim.clock().advance(at.since(self.now().boot));
    }

    fn go(&mut self, event: Event) -> Step {
        let lease = self.machine.config.lease;
        match event {
            Event::Poll(answer) | Event::Late(answer) => {
                let call = self.machine.next_call(self.sim.world().rng.as_ref());
                self.until(call);
                if matches!(event, Event::Late(_)) {
                    self.sim.clock().advance(lease);
                }
                let asked = self.now();
                self.sim.clock().advance(Duration::from_millis(100));
                self.machine.on_answer(asked, self.now(), &answer)
            }
            Event::Stale => {
                let asked = self.now();
                self.sim.clock().advance(lease);
                self.machine.on_answer(asked, self.now(), &Answer::Good)
            }
            Event::Tick => {
                self.until(self.machine.next_tick().unwrap_or(self.now().boot.after(Duration::from_secs(1))));
                self.machine.on_tick(self.now())
            }
            Event::Restored => self.machine.on_restored(self.now()),
            Event::IdentityRemoved => self.machine.on_identity_removed(self.now()),
            Event::Released => self.machine.on_released(self.now()),
        }
    }

    /// Everything that decides what it does next, moments left aside.
    fn essence(&self) -> String {
        let Machine { state, before, definitive, ambiguous, well, .. } = &self.machine;
        let before = if *state == KeyState::Suspect { before } else { state };
        let denials = (*definitive.min(&2), *ambiguous.min(&2));
        format!("{state} {before} {denials:?} {well} {}", self.machine.lease_holds(self.now()))
    }
}

/// From, to, and by what: all there are. And how many situations were seen.
fn transitions() -> (BTreeMap<(KeyState, KeyState), BTreeSet<&'static str>>, usize) {
    let mut found: BTreeMap<(KeyState, KeyState), BTreeSet<&'static str>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut ways: VecDeque<(Birth, Vec<Event>)> =
        [Birth::Start, Birth::KeySet, Birth::StartQuarantined].map(|birth| (birth, Vec::new())).into();
    while let Some((birth, way)) = ways.pop_front() {
        for event in events() {
            let mut driven = Driven::new(birth);
            for event in &way {
                let _step = driven.go(*event);
            }
            if way.is_empty() {
                seen.insert(driven.essence());
            }
            let before = driven.machine.state();
            let step = driven.go(event);
            let after = driven.machine.state();
            assert_eq!(step, if before == after { Step::Stay } else { Step::Entered { from: before, to: after } }, "{way:?} {event:?}");
            if before != after {
                found.entry((before, after)).or_default().insert(driven.machine.code());
            }
            if seen.insert(driven.essence()) {
                ways.push_back((birth, [way.as_slice(), &[event]].concat()));
            }
        }
    }
    (found, seen.len())
}

/// A word of the machine's as people read it.
fn words(code: &'static str) -> &'static str {
    match code {
        "Good" => "unwraps",
        "LeaseOver" => "lease over",
        "AnswerTooOld" => "answer too old",
        "ConfirmTimeout" => "not confirmed in time",
        "Integrity" => "another key came back",
        "Restored" => "log read back",
        "IdentityNone" => "identity None",
        "Released" => "operator",
        other => other,
    }
}

fn labels(codes: &BTreeSet<&'static str>) -> String {
    codes.iter().map(|code| words(code)).collect::<Vec<_>>().join(", ")
}

fn entered(state: KeyState) -> &'static str {
    match state {
        KeyState::Provisioning => "the key is being set on its cluster",
        KeyState::Active => "the vault unwraps",
        KeyState::Degraded => "it does not answer; the lease holds",
        KeyState::Suspect => "one denial; confirmed over a new connection and login",
        KeyState::Unavailable => "the lease is over, or nothing was unwrapped since the start",
        KeyState::Held => "two denials of which one may be about login or network",
        KeyState::Revoked => "two definitive denials: disabled, deleted, permission gone; or identity None",
        KeyState::Restoring => "the vault unwraps again",
        KeyState::Quarantined => "the vault gives another key than was wrapped, or an old record was put back; outlives a restart",
    }
}

/// What becomes of new rows.
fn ingest(state: KeyState) -> &'static str {
    match state {
        KeyState::Provisioning | KeyState::Active | KeyState::Degraded => "taken",
        KeyState::Suspect => "held; as before where the gate was shut",
        KeyState::Unavailable | KeyState::Held => "kept sealed up to 6 h, 200 `x-ingest-state: buffered`; then 503",
        KeyState::Revoked => "as the workspace says: 503 and not taken, kept sealed, or dropped",
        KeyState::Quarantined => "503, the same code, not taken",
        KeyState::Restoring => "as before, until the log is read back",
    }
}

/// What a question meets.
fn query(state: KeyState) -> String {
    match state.shut() {
        Some(why) => {
            let error = KeyError::Shut { cluster: String::new(), why, since_ms: 0 };
            let status = match error.kind() {
                ErrorKind::KeyRevoked => 403,
                ErrorKind::Unavailable => 503,
                other => unreachable!("{other:?}"),
            };
            format!("{status} `{}`", error.code())
        }
        None if state == KeyState::Restoring => "as before, until the log is read back".to_owned(),
        None if state == KeyState::Suspect => "held; refused where they were before".to_owned(),
        None => "answered".to_owned(),
    }
}

/// How long after a call the next one is made, of a thousand draws.
fn pace(state: KeyState) -> String {
    let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
    for seed in 0..1_000 {
        let sim = SimWorld::new(seed);
        let now = Moment::now(&sim.world());
        let mut machine = Machine::starting(StateConfig::default(), now, state);
        machine.last_asked = Some(now);
        if state == KeyState::Suspect {
            let mut active = Machine::starting(StateConfig::default(), now, KeyState::Active);
            let _suspect = active.on_answer(now, now, &Answer::Denied("denied"));
            machine = active;
        }
        let gap = machine.next_call(sim.world().rng.as_ref()).since(now.boot);
        (least, most) = (least.min(gap), most.max(gap));
    }
    let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
    if most - least < 0.1 { format!("{least:.0} s") } else { format!("{least:.0} to {most:.0} s") }
}

fn page() -> String {
    let (transitions, _) = transitions();
    let mut page = String::from(
        "| state | entered when | queries of linked workspaces | their new rows | next call after | leaves to |\n|---|---|---|---|---|---|\n",
    );
    for state in KeyState::ALL {
        let to: Vec<&str> = transitions.keys().filter(|(from, _)| *from == state).map(|(_, to)| to.as_str()).collect();
        let row = [entered(state).to_owned(), query(state), ingest(state).to_owned(), pace(state), to.join(", ")];
        writeln!(page, "| {state} | {} |", row.join(" | ")).unwrap();
    }
    page.push_str("\n```mermaid\nstateDiagram-v2\n    [*] --> Unavailable: start\n    [*] --> Provisioning: key set\n    [*] --> Quarantined: start, if it was\n");
    for ((from, to), codes) in &transitions {
        writeln!(page, "    {from} --> {to}: {}", labels(codes)).unwrap();
    }
    page.push_str("```\n");
    page
}

/// `STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-keys` rewrites what stands between the marks.
#[test]
fn the_page_shows_the_states_and_transitions_of_the_machine() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/keys.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, rest) = text.split_once("<!-- states -->\n").expect("the mark");
    let (found, tail) = rest.split_once("<!-- /states -->").expect("the mark");
    let expected = page();
    if std::env::var_os("STRONGROOM_UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{head}<!-- states -->\n{expected}<!-- /states -->{tail}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "run the command in this test's comment");
}

/// What the contract (`reliability.md` §B2) says of leaving, told once more by hand: nothing leads into Active but a good unwrap, and
/// nothing out of Quarantined but an operator.
#[test]
fn no_way_leads_where_the_contract_has_none() {
    let (transitions, situations) = transitions();
    assert!(situations > 40, "{situations}: the machine was not led far");
    let into = |to: KeyState| -> BTreeSet<&str> {
        transitions.iter().filter(|((_, at), _)| *at == to).flat_map(|(_, by)| by.iter().copied()).collect()
    };
    assert_eq!(into(KeyState::Active), BTreeSet::from(["Good", "Restored"]));
    assert_eq!(into(KeyState::Restoring), BTreeSet::from(["Good", "no answer", "ConfirmTimeout"]));
    assert_eq!(into(KeyState::Revoked), BTreeSet::from(["denied", "IdentityNone"]));
    assert_eq!(into(KeyState::Quarantined), BTreeSet::from(["Integrity"]));
    assert_eq!(into(KeyState::Provisioning), BTreeSet::new());
    let out: Vec<_> = transitions.iter().filter(|((from, _), _)| *from == KeyState::Quarantined).collect();
    assert_eq!(out, [(&(KeyState::Quarantined, KeyState::Unavailable), &BTreeSet::from(["Released"]))]);
}
