//! What a rule remembers from one window to the next, and what follows from a window's answer. Pure: values in, events out.
//!
//! The values of dimensions are rows' values, so all of this is one sealed cell. An event stays in it until it was written down and
//! everybody was called; what was told before a crash is told again under the same id.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use strongroom_model::ObjectId;

use super::rule::AlertRule;

/// Events that wait to be told; the oldest go first.
const EVENTS_MAX: usize = 1_000;
/// Alerts that fire in one window of a rule; the others fire in the next.
const FIRED_AT_ONCE_MAX: usize = 100;
/// Combinations that are remembered. Past it those that are merely quiet are forgotten, whose mute time ends soonest first, then those
/// that hold and did not fire: they begin anew. An alert that lasts is never forgotten; somebody is to be told its end.
const SERIES_MAX: usize = 10_000;

/// A combination of dimension values, by name, and the number that its rows came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Names and values.
    pub dimensions: Vec<(String, String)>,
    /// `None`: of no rows.
    pub value: Option<f64>,
}

/// Whether an alert begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Monitor {
    Fired,
    Resolved,
}

impl Monitor {
    /// Azure's word for it.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "Fired",
            Self::Resolved => "Resolved",
        }
    }
}

/// A call that is still to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The action group's path.
    pub(super) group: String,
    /// Which of its receivers.
    pub(super) receiver: String,
    /// How often it was tried.
    pub(super) tries: u32,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Happened {
    /// The alert.
    pub(super) alert: ObjectId,
    /// Whether it begins or ends.
    pub(super) monitor: Monitor,
    /// When it fired.
    pub(super) fired_ms: i64,
    /// The window it is about.
    pub(super) window: (i64, i64),
    /// Names and values.
    pub(super) dimensions: Vec<(String, String)>,
    /// The number.
    pub(super) value: Option<f64>,
    /// Whether somebody is to be called.
    pub(super) muted: bool,
    /// It is written down; calls alone are left.
    pub(super) told: bool,
    /// Whom; `None`: the rule's groups were not looked up yet.
    pub(super) calls: Option<Vec<Pending>>,
    /// How many calls were made, and whether one was given up.
    pub(super) tries: u32,
    /// Whether one was given up.
    pub(super) given_up: bool,
    /// When the next is due.
    pub(super) due_ms: i64,
}

impl Happened {
    /// The calls that are to be made, as far as they are known.
    pub(super) fn pending(&self) -> &[Pending] {
        self.calls.as_deref().unwrap_or_default()
    }
}

/// One combination of dimension values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Series {
    dimensions: Vec<(String, String)>,
    /// Of the last windows, whether the condition held; the newest last.
    held: Vec<bool>,
    /// The alert that lasts: which, since when, and whether anybody was called.
    fired: Option<(ObjectId, i64, bool)>,
    /// Until when nobody is called again.
    quiet_until_ms: i64,
    /// Whether it fired in the window that is being looked at.
    #[serde(skip)]
    had_turn: bool,
}

/// What a rule remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RuleState {
    /// When the last window ended.
    ended_ms: i64,
    series: Vec<Series>,
    /// What is to be told.
    pub(super) events: Vec<Happened>,
}

impl RuleState {
    /// How many alerts last.
    #[cfg(test)]
    pub(super) fn firing(&self) -> usize {
        self.series.iter().filter(|series| series.fired.is_some()).count()
    }

    /// Whether there is nothing to remember and nothing to tell.
    pub(super) fn is_idle(&self) -> bool {
        self.series.is_empty() && self.events.is_empty()
    }

    /// Takes a window's answer in. Windows have to follow each other for several of them to count together.
    pub(super) fn step(&mut self, rule: &AlertRule, ended_ms: i64, measured: &[Measured], mut mint: impl FnMut() -> ObjectId) {
        if self.ended_ms != ended_ms - rule.frequency_ms {
            // Nobody looked in between.
            for series in &mut self.series {
                series.held.clear();
            }
        }
        self.ended_ms = ended_ms;
        let known: HashSet<_> = self.series.iter().map(|series| series.dimensions.clone()).collect();
        for one in measured.iter().filter(|one| !known.contains(&one.dimensions)) {
            let dimensions = one.dimensions.clone();
            self.series.push(Series { dimensions, held: Vec::new(), fired: None, quiet_until_ms: 0, had_turn: false });
        }
        let values: HashMap<_, _> = measured.iter().map(|one| (&one.dimensions, one.value)).collect();
        let window = (ended_ms - rule.window_ms, ended_ms);
        let mut room = FIRED_AT_ONCE_MAX;
        let mut waiting = false;
        for series in &mut self.series {
            series.had_turn = false;
            let value = values.get(&series.dimensions).copied().flatten();
            let condition = &rule.condition;
            series.held.push(value.is_some_and(|value| condition.operator.holds(value, condition.threshold)));
            let spare = series.held.len().saturating_sub(condition.periods);
            series.held.drain(..spare);
            let met = series.held.iter().filter(|held| **held).count() >= condition.failing;
            let happened = |alert, monitor, fired_ms, muted| Happened {
                alert,
                monitor,
                fired_ms,
                window,
                dimensions: series.dimensions.clone(),
                value,
                muted,
                told: false,
                calls: None,
                tries: 0,
                given_up: false,
                due_ms: 0,
            };
            match series.fired {
                Some((alert, fired_ms, called)) if !met => {
                    self.events.push(happened(alert, Monitor::Resolved, fired_ms, !called));
                    series.fired = None;
                }
                None if met && room > 0 => {
                    room -= 1;
                    series.had_turn = true;
                    let (alert, muted) = (mint(), ended_ms < series.quiet_until_ms);
                    self.events.push(happened(alert, Monitor::Fired, ended_ms, muted));
                    if rule.stateful {
                        series.fired = Some((alert, ended_ms, !muted));
                    }
                    if !muted {
                        series.quiet_until_ms = ended_ms.saturating_add(rule.mute_ms);
                    }
                }
                None if met => waiting = true,
                _ => {}
            }
        }
        if waiting {
            // Stable: who had no turn is first in the next window, and nobody waits for ever.
            self.series.sort_by_key(|series| series.had_turn);
        }
        self.series.retain(|series| series.fired.is_some() || series.quiet_until_ms > ended_ms || series.held.contains(&true));
        self.forget();
        let spare = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..spare);
    }

    /// Keeps what is remembered within its bound.
    fn forget(&mut self) {
        if self.series.len() <= SERIES_MAX {
            return;
        }
        let mut ranks: Vec<(u8, i64, usize)> = Vec::new();
        for (index, series) in self.series.iter().enumerate().filter(|(_, series)| series.fired.is_none()) {
            ranks.push((u8::from(series.held.contains(&true)), series.quiet_until_ms, index));
        }
        ranks.sort_unstable();
        let spare = self.series.len() - SERIES_MAX;
        let gone: HashSet<usize> = ranks.into_iter().take(spare).map(|(_, _, index)| index).collect();
        let mut index = 0;
        self.series.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
    }

    /// Begins anew for a condition that was changed: what lasted is over, and is told to be.
    pub(super) fn restart(&mut self, now_ms: i64, window_ms: i64) {
        for series in std::mem::take(&mut self.series) {
            if let Some((alert, fired_ms, called)) = series.fired {
                self.events.push(Happened {
                    alert,
                    monitor: Monitor::Resolved,
                    fired_ms,
                    window: (now_ms - window_ms, now_ms),
                    dimensions: series.dimensions,
                    value: None,
                    muted: !called,
                    told: false,
                    calls: None,
                    tries: 0,
                    given_up: false,
                    due_ms: 0,
                });
            }
        }
        self.ended_ms = 0;
    }

    /// When the next call is due; `None`: there is none to be made.
    #[must_use]
    pub(super) fn due_ms(&self) -> Option<i64> {
        self.events.iter().map(|event| event.due_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::read;
    use super::*;
    use serde_json::json;

    const MINUTE: i64 = 60_000;

    fn host(name: &str, value: f64) -> Measured {
        Measured { dimensions: vec![("host".to_owned(), name.to_owned())], value: Some(value) }
    }

    struct Told {
        rule: AlertRule,
        state: RuleState,
        now: i64,
        next: u16,
    }

    impl Told {
        fn of(rule: AlertRule) -> Self {
            Self { rule, state: RuleState::default(), now: 1_000 * MINUTE, next: 0 }
        }

        /// What a window brings: who fires or resolves, and whether that is muted.
        fn window(&mut self, measured: &[Measured]) -> Vec<(String, Monitor, bool)> {
            self.now += self.rule.frequency_ms;
            let (now, rule, next) = (self.now, &self.rule, &mut self.next);
            self.state.step(rule, now, measured, || {
                *next += 1;
                let [high, low] = next.to_be_bytes();
                ObjectId::from_bytes([high, low, high, low, high, low, high, low, high, low, high, low, high, low, high, low])
            });
            // As it is kept.
            let kept = serde_json::to_vec(&self.state).unwrap();
            self.state = serde_json::from_slice(&kept).unwrap();
            let named = |event: Happened| (event.dimensions.first().map_or(String::new(), |one| one.1.clone()), event.monitor, event.muted);
            std::mem::take(&mut self.state.events).into_iter().map(named).collect()
        }
    }

    fn fired(name: &str) -> (String, Monitor, bool) {
        (name.to_owned(), Monitor::Fired, false)
    }

    fn resolved(name: &str) -> (String, Monitor, bool) {
        (name.to_owned(), Monitor::Resolved, false)
    }

    #[test]
    fn each_combination_fires_once_and_resolves_once() {
        let mut told = Told::of(read(|_| ()).unwrap());
        assert_eq!(told.window(&[host("a", 2.0), host("b", 3.0)]), [fired("b")], "2 is not above 2");
        assert_eq!(told.window(&[host("a", 3.0), host("b", 9.0)]), [fired("a")], "b lasts");
        assert_eq!(told.state.firing(), 2);
        assert_eq!(told.window(&[host("a", 3.0)]), [resolved("b")], "no rows, no reason");
        assert_eq!(told.window(&[]), [resolved("a")]);
        assert_eq!(told.window(&[]), []);
        assert_eq!(told.state.series, [], "and nothing is remembered of them");
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
    }

    #[test]
    fn without_state_every_window_tells_but_for_the_mute_time() {
        let mut told = Told::of(read(|rule| rule["autoMitigate"] = json!(false)).unwrap());
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
        assert_eq!(told.window(&[]), [], "nothing is resolved");
        let mut told = Told::of(
            read(|rule| {
                rule["autoMitigate"] = json!(false);
                rule["muteActionsDuration"] = json!("PT2M");
            })
            .unwrap(),
        );
        let muted = ("a".to_owned(), Monitor::Fired, true);
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
        assert_eq!(told.window(&[host("a", 3.0), host("b", 3.0)]), [muted, fired("b")], "each has a mute time of its own");
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
    }

    #[test]
    fn nobody_is_told_the_end_of_what_they_were_not_told_of() {
        let mut told = Told::of(read(|rule| rule["muteActionsDuration"] = json!("PT1H")).unwrap());
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
        assert_eq!(told.window(&[]), [resolved("a")]);
        assert_eq!(told.window(&[host("a", 3.0)]), [("a".to_owned(), Monitor::Fired, true)]);
        assert_eq!(told.window(&[]), [("a".to_owned(), Monitor::Resolved, true)]);
    }

    #[test]
    fn so_many_of_so_many_windows_in_a_row_have_to_fail() {
        let rule = |rule: &mut serde_json::Value| {
            rule["criteria"]["allOf"][0]["failingPeriods"] = json!({"numberOfEvaluationPeriods": 3, "minFailingPeriodsToAlert": 2});
        };
        let mut told = Told::of(read(rule).unwrap());
        assert_eq!(told.window(&[host("a", 3.0)]), []);
        assert_eq!(told.window(&[]), []);
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
        assert_eq!(told.window(&[]), [resolved("a")], "one of the last three");
        // Windows that nobody looked at do not count together.
        let mut told = Told::of(read(rule).unwrap());
        assert_eq!(told.window(&[host("a", 3.0)]), []);
        told.now += told.rule.frequency_ms;
        assert_eq!(told.window(&[host("a", 3.0)]), []);
        assert_eq!(told.window(&[host("a", 3.0)]), [fired("a")]);
    }

    #[test]
    fn a_changed_condition_ends_what_lasted() {
        let mut told = Told::of(read(|_| ()).unwrap());
        told.window(&[host("a", 3.0)]);
        told.state.restart(told.now, told.rule.window_ms);
        assert_eq!((told.state.events.len(), told.state.events[0].monitor, told.state.firing()), (1, Monitor::Resolved, 0));
    }

    #[test]
    fn without_state_each_of_many_combinations_gets_its_turn() {
        let mut told = Told::of(read(|rule| rule["autoMitigate"] = json!(false)).unwrap());
        let hosts: Vec<_> = (0..=2 * FIRED_AT_ONCE_MAX).map(|n| host(&format!("h{n}"), 3.0)).collect();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let fired = told.window(&hosts);
            assert_eq!(fired.len(), FIRED_AT_ONCE_MAX);
            seen.extend(fired.into_iter().map(|(name, ..)| name));
        }
        assert_eq!(seen.len(), hosts.len());
    }

    #[test]
    fn a_long_mute_time_remembers_so_many_and_forgets_those_first_whose_time_ends_soonest() {
        let rule = read(|rule| rule["muteActionsDuration"] = json!("P1D")).unwrap();
        let quiet = |n: usize| Series {
            dimensions: vec![("host".to_owned(), format!("q{n}"))],
            held: Vec::new(),
            fired: None,
            quiet_until_ms: 100_000 * MINUTE + i64::try_from(n).unwrap(),
            had_turn: false,
        };
        let mut told = Told::of(rule);
        told.state.series = (0..SERIES_MAX).map(quiet).collect();
        assert_eq!(told.window(&[host("a", 3.0), host("b", 3.0)]), [fired("a"), fired("b")]);
        assert_eq!((told.state.series.len(), told.state.firing()), (SERIES_MAX, 2), "what lasts is kept");
        let known = |name: &str| told.state.series.iter().any(|series| series.dimensions[0].1 == name);
        assert!(!known("q0") && !known("q1") && known("q2"));
        assert_eq!(told.window(&[]), [resolved("a"), resolved("b")]);
    }
}
