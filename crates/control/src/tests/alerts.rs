//! Alerts on a simulated clock: who is asked when, who is called, and what no restart and no absent key makes happen twice.

mod outside;

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use strongroom_catalog::{AlertRuleRow, Delivery};
use strongroom_keys::{KeyError, Shut};
use strongroom_model::{ErrorKind, PrincipalId, WorkspaceId};
use zeroize::Zeroizing;

use super::*;
use crate::alerts::{
    ActionGroup, ActionGroups, AlertAsk, AlertDeps, AlertRule, Alerts, AlertsConfig, AskedAlert, Evaluate, Kept, Measured, Post, Safe,
};
use crate::audit::{Emit, Event, NotTaken, Scribe};
use crate::{Place, Said};

const MINUTE: Duration = Duration::from_mins(1);

/// All the rooms that alerts stand on, as doubles.
#[derive(Debug, Default)]
struct Rooms {
    kept: Mutex<HashMap<(WorkspaceId, Kept, ObjectId), Vec<u8>>>,
    away: Mutex<bool>,
    /// The key leaves while the next question is being answered.
    leaves: Mutex<bool>,
    linked: Mutex<bool>,
    /// What the next questions are answered, each to the end of time.
    answer: Mutex<Vec<Measured>>,
    fails: Mutex<Option<&'static str>>,
    asked: Mutex<Vec<AskedAlert>>,
    posted: Mutex<Vec<(String, Value)>>,
    refuses: Mutex<usize>,
    rows: Mutex<Vec<Value>>,
    events: Mutex<Vec<Event>>,
    /// Whoever writes a text, or is called, waits until this is taken away.
    held: Mutex<Option<Kept>>,
    slow: Mutex<bool>,
    /// No memory is kept after a call was made.
    breaks: Mutex<bool>,
    called: Mutex<bool>,
}

fn shut() -> KeyError {
    KeyError::Shut { cluster: "c".to_owned(), why: Shut::Revoked, since_ms: 0 }
}

#[async_trait]
impl Safe for Rooms {
    async fn away(&self, _: &WorkspaceRow) -> Option<&'static str> {
        self.away.lock().then(|| shut().code())
    }
    async fn is_linked(&self, _: WorkspaceId) -> Result<bool, ControlError> {
        Ok(*self.linked.lock())
    }
    async fn put(&self, workspace: WorkspaceId, kept: Kept, rule: ObjectId, plain: &[u8]) -> Result<(), ControlError> {
        if *self.away.lock() {
            return Err(shut().into());
        }
        if kept == Kept::State && std::mem::take(&mut *self.called.lock()) && *self.breaks.lock() {
            return Err(ControlError::Damaged { what: "what an alert rule remembers" });
        }
        self.kept.lock().insert((workspace, kept, rule), plain.to_vec());
        if *self.held.lock() == Some(kept) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
    async fn get(&self, workspace: WorkspaceId, kept: Kept, rule: ObjectId) -> Result<Option<Zeroizing<Vec<u8>>>, ControlError> {
        if *self.away.lock() {
            return Err(shut().into());
        }
        Ok(self.kept.lock().get(&(workspace, kept, rule)).cloned().map(Zeroizing::new))
    }
    async fn delete(&self, workspace: WorkspaceId, id: ObjectId) -> Result<(), ControlError> {
        self.kept.lock().retain(|known, _| (known.0, known.2) != (workspace, id));
        Ok(())
    }
}

#[async_trait]
impl Evaluate for Rooms {
    async fn evaluate(&self, asked: AskedAlert) -> Result<Vec<Measured>, Said> {
        self.asked.lock().push(asked);
        if std::mem::take(&mut *self.leaves.lock()) {
            *self.away.lock() = true;
            return Err(Said { kind: ErrorKind::KeyRevoked, code: "CustomerKeyRevoked", message: String::new() });
        }
        match *self.fails.lock() {
            Some(code) => Err(Said { kind: ErrorKind::TimedOut, code, message: "canary of a row".to_owned() }),
            None => Ok(self.answer.lock().clone()),
        }
    }
}

#[async_trait]
impl Post for Rooms {
    async fn post(&self, url: &str, body: Zeroizing<String>) -> Result<(), String> {
        *self.called.lock() = true;
        if *self.slow.lock() {
            std::future::pending::<()>().await;
        }
        let mut refuses = self.refuses.lock();
        if *refuses > 0 {
            *refuses -= 1;
            return Err("HTTP 500".to_owned());
        }
        self.posted.lock().push((url.to_owned(), serde_json::from_str(&body).unwrap()));
        Ok(())
    }
}

#[async_trait]
impl Emit for Rooms {
    async fn emit(&self, _: WorkspaceId, table: &'static str, _: &str, row: &Value) -> Result<(), NotTaken> {
        assert_eq!(table, "StrongroomAlerts");
        self.rows.lock().push(row.clone());
        Ok(())
    }
}

impl Scribe for Rooms {
    fn note(&self, event: Event) {
        self.events.lock().push(event);
    }
}

struct Watchman {
    site: Site,
    rooms: Arc<Rooms>,
    alerts: Arc<Alerts>,
    workspace: WorkspaceRow,
    principal: PrincipalId,
}

fn place(name: &str) -> Place {
    Place { subscription: "s".to_owned(), resource_group: "g".to_owned(), name: name.to_owned() }
}

impl Watchman {
    async fn new() -> Self {
        let site = Site::new().await;
        site.sim.clock().advance(Duration::from_millis(60_000 - u64::try_from(site.world.clock.wall().unix_ms() % 60_000).unwrap()));
        let workspace = site.workspaces.create("w".parse().unwrap(), None).await.unwrap();
        let principal = site.caller("Owner", Scope::All).await.principal;
        let rooms = Arc::new(Rooms::default());
        let mut watchman = Self { alerts: Self::over(&site, &rooms), site, rooms, workspace, principal };
        watchman.restart().await;
        let hook = json!({"groupShortName": "ops", "webhookReceivers": [{"name": "pager", "serviceUri": "https://pager.example/"}]});
        let group = ActionGroup::read(hook.as_object().unwrap().clone()).unwrap();
        watchman.groups().put(&place("ops"), "here", &serde_json::Map::new(), &group).await.unwrap();
        watchman
    }

    fn over(site: &Site, rooms: &Arc<Rooms>) -> Arc<Alerts> {
        let mmk = Arc::new(Mmk::from_bytes([9; 32]));
        let deps = AlertDeps {
            world: site.world.clone(),
            catalog: site.catalog.clone(),
            groups: Arc::new(ActionGroups::new(site.world.clone(), site.catalog.clone(), mmk)),
            safe: Arc::clone(rooms) as _,
            evaluate: Arc::clone(rooms) as _,
            post: Arc::clone(rooms) as _,
            emit: Arc::clone(rooms) as _,
            audit: Arc::clone(rooms) as _,
        };
        Alerts::new(deps, AlertsConfig::default())
    }

    fn groups(&self) -> ActionGroups {
        ActionGroups::new(self.site.world.clone(), self.site.catalog.clone(), Arc::new(Mmk::from_bytes([9; 32])))
    }

    /// The server, started again.
    async fn restart(&mut self) {
        self.alerts = Self::over(&self.site, &self.rooms);
        self.alerts.begin().await.unwrap();
    }

    async fn put(&self, change: impl FnOnce(&mut Value)) -> AlertRuleRow {
        self.try_put(change).await.unwrap()
    }

    async fn try_put(&self, change: impl FnOnce(&mut Value)) -> Result<AlertRuleRow, ControlError> {
        let mut properties = json!({
            "severity": 1, "scopes": [Place::of_workspace(&self.workspace).workspace_path()],
            "evaluationFrequency": "PT1M", "windowSize": "PT5M",
            "criteria": {"allOf": [{
                "query": "Web | where note == 'canary of a query'", "timeAggregation": "Count", "operator": "GreaterThan", "threshold": 2,
                "dimensions": [
                    {"name": "host", "operator": "Include", "values": ["*"]}, {"name": "path", "operator": "Include", "values": ["*"]},
                ],
            }]},
            "actions": {"actionGroups": ["/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/actionGroups/ops"]},
        });
        change(&mut properties);
        let rule = AlertRule::read(properties.as_object().unwrap().clone(), 60_000).unwrap();
        let ask = AlertAsk { region: "here".to_owned(), tags: serde_json::Map::new() };
        self.put_as("too many", self.principal, &rule, ask).await
    }

    async fn put_as(&self, name: &str, principal: PrincipalId, rule: &AlertRule, ask: AlertAsk) -> Result<AlertRuleRow, ControlError> {
        self.alerts.put(&place(name), ask, rule, &self.workspace, principal).await.map(|(row, _)| row)
    }

    /// The same rule with another text.
    async fn rule(&self, query: &str) -> AlertRule {
        let row = self.row().await;
        let mut properties = self.alerts.open(&row).await.unwrap().properties;
        properties["criteria"]["allOf"][0]["query"] = query.into();
        AlertRule::read(properties, 60_000).unwrap()
    }

    fn ask() -> AlertAsk {
        AlertAsk { region: "here".to_owned(), tags: serde_json::Map::new() }
    }

    fn answers(&self, hosts: &[(&str, f64)]) {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let measured =
            hosts.iter().map(|(host, value)| Measured { dimensions: vec![pair("host", host), pair("path", "/a")], value: Some(*value) });
        *self.rooms.answer.lock() = measured.collect();
        *self.rooms.fails.lock() = None;
    }

    /// Time goes by, second by second, and the schedule with it. Who was called with what meanwhile: the first dimension's value.
    async fn pass(&self, time: Duration) -> Vec<(String, String)> {
        let from = self.rooms.posted.lock().len();
        for _ in 0..time.as_secs() {
            self.site.sim.clock().advance(Duration::from_secs(1));
            for turn in self.alerts.round().await.unwrap() {
                turn.await.unwrap();
            }
        }
        let posted = self.rooms.posted.lock();
        let told = posted[from..].iter().map(|(_, body)| {
            let of = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap().to_owned();
            (of("/data/alertContext/condition/allOf/0/dimensions/0/value"), of("/data/essentials/monitorCondition"))
        });
        told.collect()
    }

    async fn row(&self) -> AlertRuleRow {
        self.alerts.get(&place("too many")).await.unwrap()
    }

    fn asked(&self) -> usize {
        self.rooms.asked.lock().len()
    }

    fn told(&self, event: &str) -> usize {
        self.rooms.events.lock().iter().filter(|one| one.event == event).count()
    }
}

fn fired(host: &str) -> (String, String) {
    (host.to_owned(), "Fired".to_owned())
}

fn resolved(host: &str) -> (String, String) {
    (host.to_owned(), "Resolved".to_owned())
}

#[tokio::test]
async fn a_rule_asks_on_schedule_and_calls_once_for_each_combination() {
    let site = Watchman::new().await;
    let rule = site.put(|_| ()).await;
    site.answers(&[("a", 3.0), ("b", 1.0)]);
    assert_eq!(site.pass(MINUTE * 3).await, [fired("a")]);
    assert_eq!(site.asked(), 3);
    {
        let asked = site.rooms.asked.lock();
        let span = asked[0].span;
        assert_eq!(span.end - span.start + 1, 300 * 1_000_000_000, "the window, and no more");
        assert_eq!((span.end + 1) % 60_000_000_000, 0, "windows end on the minute");
        assert_eq!(asked[1].span.start - span.start, 60_000_000_000);
    }
    site.answers(&[("a", 3.0), ("b", 7.0)]);
    assert_eq!(site.pass(MINUTE).await, [fired("b")]);
    site.answers(&[("b", 7.0)]);
    assert_eq!(site.pass(MINUTE).await, [resolved("a")]);
    let (_, body) = site.rooms.posted.lock()[1].clone();
    assert_eq!(body["schemaId"], "azureMonitorCommonAlertSchema");
    let essentials = &body["data"]["essentials"];
    assert_eq!((&essentials["alertRule"], &essentials["severity"]), (&json!("too many"), &json!("Sev1")));
    let of = &body["data"]["alertContext"]["condition"]["allOf"][0];
    assert_eq!(of["dimensions"], json!([{"name": "host", "value": "b"}, {"name": "path", "value": "/a"}]));
    assert_eq!((&of["metricValue"], &of["operator"], &of["threshold"]), (&json!(7.0), &json!("GreaterThan"), &json!(2.0)));
    // What is kept in clear of it: that, when, how bad, and whether it was delivered.
    let alerts = site.alerts.alerts(&rule).await.unwrap();
    assert_eq!(
        alerts.iter().map(|alert| (alert.resolved_ms.is_some(), alert.delivery)).collect::<Vec<_>>(),
        [(false, Delivery::Delivered), (true, Delivery::Delivered)]
    );
    assert_eq!(site.rooms.rows.lock().len(), 3, "and a row each in the workspace's own table");
    let row = site.row().await;
    assert_eq!((row.outcome.as_str(), row.failures), ("ok", 0));
}

#[tokio::test]
async fn no_query_and_under_a_customers_key_or_storage_no_number_leaves() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    *site.rooms.linked.lock() = true;
    site.answers(&[("a", 7321.0)]);
    assert_eq!(site.pass(MINUTE).await, [fired("a")]);
    let body = site.rooms.posted.lock()[0].1.to_string();
    assert!(!body.contains("canary") && !body.contains("7321"), "{body}");
    let clear = format!("{:?}", site.rooms.events.lock());
    assert!(!clear.contains("canary") && !clear.contains("7321"));
}

#[tokio::test]
async fn after_a_restart_nothing_is_called_twice_and_no_missed_window_is_asked_about() {
    let mut site = Watchman::new().await;
    site.put(|_| ()).await;
    site.answers(&[("a", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, [fired("a")]);
    site.restart().await;
    assert_eq!(site.pass(MINUTE).await, [], "it lasts, and that is known");
    assert_eq!(site.asked(), 2);
    // Down for ten windows and a half.
    site.sim_down(Duration::from_secs(630)).await;
    let before = site.asked();
    assert_eq!(site.pass(Duration::from_secs(29)).await, []);
    assert_eq!(site.asked(), before, "the windows that ended meanwhile are passed over, the newest as well");
    site.answers(&[("b", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, [resolved("a"), fired("b")]);
    assert_eq!(site.asked(), before + 1);
}

impl Watchman {
    async fn sim_down(&mut self, time: Duration) {
        self.site.sim.clock().advance(time);
        self.restart().await;
    }
}

#[tokio::test]
async fn while_the_key_is_away_rules_are_suspended_with_one_notice_and_go_on_with_one() {
    let mut site = Watchman::new().await;
    site.put(|_| ()).await;
    site.answers(&[("a", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, [fired("a")]);
    *site.rooms.away.lock() = true;
    site.answers(&[("a", 3.0), ("b", 9.0)]);
    assert_eq!(site.pass(MINUTE * 10).await, []);
    assert_eq!((site.asked(), site.told("alerts.suspended"), site.told("alerts.resumed")), (1, 1, 0));
    assert!(site.row().await.suspended_ms.is_some());
    // A restart tells it no second time.
    site.restart().await;
    assert_eq!(site.pass(MINUTE * 2).await, []);
    assert_eq!((site.told("alerts.suspended"), site.told("alerts.failed")), (1, 0));
    *site.rooms.away.lock() = false;
    site.answers(&[("a", 3.0)]);
    let before = site.asked();
    assert_eq!(site.pass(MINUTE).await, [], "b held while nobody could look, and is not called for; a lasts");
    assert_eq!((site.asked() - before, site.told("alerts.suspended"), site.told("alerts.resumed")), (1, 1, 1));
    let row = site.row().await;
    assert_eq!((row.suspended_ms, row.outcome.as_str()), (None, "ok"));
    let first = site.rooms.asked.lock()[before].span.end + 1;
    assert!(first > site.site.world.clock.wall().0 - 60_000_000_000, "the first window asked about ended after the key was back");
}

#[tokio::test]
async fn a_question_that_fails_is_no_condition_that_does_not_hold() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    site.answers(&[("a", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, [fired("a")]);
    *site.rooms.fails.lock() = Some("QueryTimeout");
    assert_eq!(site.pass(MINUTE * 3).await, [], "nothing is resolved by an answer that was not given");
    let row = site.row().await;
    assert_eq!((row.outcome.as_str(), row.failures, site.told("alerts.failed")), ("QueryTimeout", 3, 1));
    site.answers(&[("a", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, []);
    assert_eq!((site.row().await.failures, site.told("alerts.failed")), (0, 1));
    *site.rooms.fails.lock() = Some("TooManyQueries");
    site.pass(MINUTE).await;
    assert_eq!(site.told("alerts.failed"), 2, "the first of a new row");
}

#[tokio::test]
async fn calls_that_are_not_taken_are_made_again_later_and_later_and_given_up() {
    let mut site = Watchman::new().await;
    let rule = site.put(|_| ()).await;
    site.answers(&[("a", 3.0)]);
    *site.rooms.refuses.lock() = 2;
    assert_eq!(site.pass(MINUTE).await, []);
    assert_eq!(site.alerts.alerts(&rule).await.unwrap()[0].delivery, Delivery::Pending);
    // Also by a server that was started again.
    site.restart().await;
    assert_eq!(site.pass(Duration::from_secs(35)).await, [fired("a")], "after 10 s and 20 s more");
    let alert = site.alerts.alerts(&rule).await.unwrap().remove(0);
    assert_eq!((alert.delivery, alert.tries), (Delivery::Delivered, 3));
    *site.rooms.refuses.lock() = 100;
    site.answers(&[("b", 3.0)]);
    assert_eq!(site.pass(MINUTE * 60).await, []);
    let failed = site.alerts.alerts(&rule).await.unwrap();
    assert!(failed.iter().all(|alert| alert.delivery == Delivery::Failed && alert.tries == 8), "{failed:?}");
    assert_eq!(*site.rooms.refuses.lock(), 100 - 16, "eight calls for b's beginning, eight for a's end");
}

#[tokio::test]
async fn a_rule_is_checked_changed_and_taken_away() {
    let site = Watchman::new().await;
    let error = site.try_put(|rule| rule["checkWorkspaceAlertsStorageConfigured"] = json!(true)).await.unwrap_err();
    assert_eq!(error.code(), "AlertsStorageNotLinked");
    let absent = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/actionGroups/nobody";
    let error = site.try_put(|rule| rule["actions"]["actionGroups"] = json!([absent])).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("ActionGroupNotFound", ErrorKind::Invalid));
    let row = site.put(|_| ()).await;
    assert_eq!(site.alerts.open(&row).await.unwrap().severity, 1);
    // Disabled it asks nothing; changed, what lasted is over.
    site.answers(&[("a", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, [fired("a")]);
    let again = site.put(|rule| rule["criteria"]["allOf"][0]["threshold"] = json!(1)).await;
    assert_eq!((again.id, again.created_ms), (row.id, row.created_ms));
    assert_eq!(site.pass(MINUTE).await, [resolved("a"), fired("a")]);
    site.put(|rule| rule["enabled"] = json!(false)).await;
    let before = site.asked();
    site.pass(MINUTE * 3).await;
    assert_eq!(site.asked(), before);
    assert!(site.alerts.delete(&row).await.unwrap() && !site.alerts.delete(&row).await.unwrap());
    assert!(site.rooms.kept.lock().is_empty() && site.alerts.alerts(&row).await.unwrap().is_empty());
    // Whoever is not in this directory cannot be asked for later.
    let stranger = Watchman { principal: PrincipalId::from_bytes([5; 16]), ..site };
    assert_eq!(stranger.try_put(|_| ()).await.unwrap_err().code(), "AuthorizationFailed");
}

/// Between its text and its row, and when the row is never written, a rule is what it was; afterwards it is the new one, as the other.
#[tokio::test]
async fn a_text_is_asked_as_whoever_wrote_it_and_as_nobody_else() {
    let site = Watchman::new().await;
    let first = site.put(|_| ()).await;
    let old = site.rooms.kept.lock().get(&(site.workspace.id, Kept::Rule, first.id)).unwrap().clone();
    let other = site.site.caller("Reader", Scope::All).await.principal;
    assert_ne!(other, site.principal);
    let theirs = site.rule("Secret").await;
    *site.rooms.held.lock() = Some(Kept::Rule);
    let stopped = tokio::time::timeout(Duration::from_millis(200), site.put_as("too many", other, &theirs, Watchman::ask())).await;
    assert!(stopped.is_err(), "its text lies there, its row was not written");
    *site.rooms.held.lock() = None;
    site.pass(MINUTE).await;
    site.put_as("too many", other, &theirs, Watchman::ask()).await.unwrap();
    site.pass(MINUTE).await;
    let asked: Vec<_> = site.rooms.asked.lock().iter().map(|one| (one.principal, one.condition.query == "Secret")).collect();
    assert_eq!(asked, [(site.principal, false), (other, true)]);
    // A row that finds the text of another writing only is not run, says so, and is mended by being written.
    let text = (site.workspace.id, Kept::Rule, first.id);
    site.rooms.kept.lock().insert(text, old);
    site.pass(MINUTE).await;
    assert_eq!((site.asked(), site.row().await.outcome.as_str()), (2, "AlertRuleTextMismatch"));
    assert_eq!(site.alerts.open(&site.row().await).await.unwrap_err().code(), "AlertRuleTextMismatch");
    site.put_as("too many", other, &theirs, Watchman::ask()).await.unwrap();
    // And one from before texts were bound is run.
    let bare = serde_json::to_vec(&theirs.properties).unwrap();
    site.rooms.kept.lock().insert(text, bare);
    site.pass(MINUTE).await;
    assert_eq!((site.asked(), site.row().await.outcome.as_str()), (3, "ok"));
}

#[tokio::test]
async fn whoever_is_slow_to_be_called_keeps_no_other_rule_from_asking() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    let rule = site.rule("Web").await;
    for n in 0..AlertsConfig::default().parallel_max {
        site.put_as(&format!("other {n}"), site.principal, &rule, Watchman::ask()).await.unwrap();
    }
    site.answers(&[("a", 3.0)]);
    *site.rooms.slow.lock() = true;
    site.site.sim.clock().advance(MINUTE);
    let all = AlertsConfig::default().parallel_max + 1;
    let asked = tokio::time::timeout(Duration::from_secs(10), async {
        let mut turns = Vec::new();
        while site.asked() < all {
            turns.extend(site.alerts.round().await.unwrap());
            tokio::task::yield_now().await;
        }
        turns.iter().for_each(tokio::task::JoinHandle::abort);
    });
    assert!(asked.await.is_ok(), "{} of {all} rules asked", site.asked());
}

#[tokio::test]
async fn what_cannot_be_remembered_after_a_call_does_not_repeat_it_for_ever() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    site.answers(&[("a", 3.0)]);
    *site.rooms.breaks.lock() = true;
    let called = site.pass(MINUTE * 120).await;
    assert_eq!(called.len(), AlertsConfig::default().calls_max as usize, "so many attempts, and no more");
}

#[tokio::test]
async fn a_group_that_several_make_at_once_is_one() {
    let watchman = Watchman::new().await;
    let groups = watchman.groups();
    let group = ActionGroup::read(json!({"groupShortName": "night", "enabled": true}).as_object().unwrap().clone()).unwrap();
    let (at, tags) = (place("night"), serde_json::Map::new());
    let made = futures::future::join_all((0..8).map(|_| groups.put(&at, "here", &tags, &group))).await;
    let (rows, new): (Vec<_>, Vec<_>) = made.into_iter().map(Result::unwrap).unzip();
    assert_eq!(new.iter().filter(|new| **new).count(), 1);
    let kept = groups.get(&at).await.unwrap();
    assert!(rows.iter().all(|row| row.id == kept.id));
}
