//! What leaves, whom it reaches, and what waits for a key besides the workspace's.

use strongroom_catalog::{AccountRow, ActionGroupRow, Billing, ClusterRow, ClusterState, IdentityType};
use strongroom_model::AccountId;

use super::*;

/// The workspace's key is there; that of the account that its rules lie in is away.
#[derive(Debug)]
struct Half(Arc<Rooms>);

#[async_trait]
impl Safe for Half {
    async fn away(&self, _: &WorkspaceRow) -> Option<&'static str> {
        None
    }
    async fn is_linked(&self, _: WorkspaceId) -> Result<bool, ControlError> {
        Ok(true)
    }
    async fn put(&self, workspace: WorkspaceId, kept: Kept, rule: ObjectId, plain: &[u8]) -> Result<(), ControlError> {
        self.0.put(workspace, kept, rule, plain).await
    }
    async fn get(&self, workspace: WorkspaceId, kept: Kept, rule: ObjectId) -> Result<Option<Zeroizing<Vec<u8>>>, ControlError> {
        self.0.get(workspace, kept, rule).await
    }
    async fn delete(&self, workspace: WorkspaceId, id: ObjectId) -> Result<(), ControlError> {
        self.0.delete(workspace, id).await
    }
}

impl Watchman {
    /// Links the workspace to a cluster, as far as the catalog tells.
    async fn link(&self) {
        let (site, id) = (&self.site, self.site.object());
        let (ms, random) = site.world.id_seed();
        let account = AccountId::mint(ms, random);
        site.catalog.account_insert(&AccountRow { id: account, region: "here".to_owned(), cluster: Some(id.to_string()) }).await.unwrap();
        let row = ClusterRow {
            id,
            name: "contoso".to_owned(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: "here".to_owned(),
            account: Some(account),
            state: ClusterState::Succeeded,
            identity_type: IdentityType::SystemAssigned,
            identity: None,
            user_identity: None,
            sku_name: String::new(),
            sku_capacity: 100,
            billing: Billing::Cluster,
            double: true,
            tags: "{}".to_owned(),
            key: None,
            created_ms: 0,
            modified_ms: 0,
            deleted_ms: None,
            sku_ms: 0,
        };
        site.catalog.cluster_insert(&row).await.unwrap();
        site.catalog.workspace_move(self.workspace.id, account, Some((id, 7))).await.unwrap();
    }

    async fn group(&self, enabled: bool) {
        self.group_of("ops", "pager", enabled).await;
    }

    async fn group_of(&self, name: &str, receiver: &str, enabled: bool) -> ActionGroupRow {
        let hooks = json!([{"name": receiver, "serviceUri": format!("https://{receiver}.example/")}]);
        let group = json!({"groupShortName": name, "enabled": enabled, "webhookReceivers": hooks});
        let group = ActionGroup::read(group.as_object().unwrap().clone()).unwrap();
        self.groups().put(&place(name), "here", &serde_json::Map::new(), &group).await.unwrap().0
    }

    /// The same server with other doubles.
    fn with(&self, change: impl FnOnce(&mut AlertDeps)) -> Arc<Alerts> {
        let mmk = Arc::new(Mmk::from_bytes([9; 32]));
        let mut deps = AlertDeps {
            world: self.site.world.clone(),
            catalog: self.site.catalog.clone(),
            groups: Arc::new(ActionGroups::new(self.site.world.clone(), self.site.catalog.clone(), mmk)),
            safe: Arc::clone(&self.rooms) as _,
            evaluate: Arc::clone(&self.rooms) as _,
            post: Arc::clone(&self.rooms) as _,
            emit: Arc::clone(&self.rooms) as _,
            audit: Arc::clone(&self.rooms) as _,
        };
        change(&mut deps);
        Alerts::new(deps, AlertsConfig::default())
    }
}

#[tokio::test]
async fn a_linked_workspaces_number_stays_inside() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    site.answers(&[("a", 7321.0)]);
    assert_eq!(site.pass(MINUTE).await, [fired("a")]);
    assert!(site.rooms.posted.lock()[0].1.to_string().contains("7321"), "under the provider's key it is told");
    site.link().await;
    site.answers(&[("b", 7321.0)]);
    assert_eq!(site.pass(MINUTE).await, [resolved("a"), fired("b")]);
    for (_, body) in &site.rooms.posted.lock()[1..] {
        assert!(!body.to_string().contains("7321"), "{body}");
    }
    assert!(site.rooms.rows.lock().last().unwrap().to_string().contains("7321"), "the workspace's own table has it");
}

#[tokio::test]
async fn a_group_that_is_switched_off_is_called_no_more() {
    let site = Watchman::new().await;
    let rule = site.put(|_| ()).await;
    site.answers(&[("a", 3.0)]);
    *site.rooms.refuses.lock() = 1;
    assert_eq!(site.pass(MINUTE).await, [], "the first call was not taken");
    site.group(false).await;
    site.answers(&[("a", 3.0), ("b", 3.0)]);
    assert_eq!(site.pass(MINUTE * 2).await, []);
    let mut told: Vec<_> = site.alerts.alerts(&rule).await.unwrap().iter().map(|alert| alert.delivery).collect();
    told.sort_by_key(|delivery| delivery.as_str());
    assert_eq!(told, [Delivery::Failed, Delivery::None]);
    site.group(true).await;
    site.answers(&[("b", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, [resolved("a")]);
}

#[tokio::test]
async fn rules_go_on_once_the_key_of_what_they_say_is_back_too() {
    let mut site = Watchman::new().await;
    site.put(|_| ()).await;
    site.answers(&[("a", 1.0)]);
    site.pass(MINUTE).await;
    *site.rooms.away.lock() = true;
    site.pass(MINUTE).await;
    assert!(site.row().await.suspended_ms.is_some());
    site.alerts = site.with(|deps| deps.safe = Arc::new(Half(Arc::clone(&site.rooms))));
    let asked = site.asked();
    site.pass(MINUTE * 3).await;
    assert_eq!((site.asked(), site.told("alerts.suspended"), site.told("alerts.resumed")), (asked, 1, 0));
    *site.rooms.away.lock() = false;
    site.pass(MINUTE).await;
    assert_eq!((site.asked() > asked, site.told("alerts.resumed")), (true, 1));
}

#[tokio::test]
async fn windows_that_nobody_saw_count_with_none_that_somebody_did() {
    let site = Watchman::new().await;
    let twice = json!({"numberOfEvaluationPeriods": 2, "minFailingPeriodsToAlert": 2});
    site.put(|rule| rule["criteria"]["allOf"][0]["failingPeriods"] = twice).await;
    site.answers(&[("a", 3.0)]);
    assert_eq!(site.pass(MINUTE).await, [], "once");
    *site.rooms.away.lock() = true;
    site.pass(MINUTE * 3).await;
    *site.rooms.away.lock() = false;
    assert_eq!(site.pass(MINUTE).await, [], "once again, and nobody knows what was between");
    assert_eq!(site.pass(MINUTE).await, [fired("a")]);
}

#[tokio::test]
async fn a_rule_stays_with_its_workspace() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    let other = site.site.workspaces.create("other".parse().unwrap(), None).await.unwrap();
    let elsewhere = Watchman { workspace: other, ..site };
    assert_eq!(elsewhere.try_put(|_| ()).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn rules_are_suspended_when_their_key_leaves_and_not_at_their_next_turn() {
    let site = Watchman::new().await;
    site.put(|rule| (rule["evaluationFrequency"], rule["windowSize"]) = (json!("PT1H"), json!("PT1H"))).await;
    site.pass(Duration::from_secs(10)).await;
    *site.rooms.away.lock() = true;
    site.pass(Duration::from_secs(10)).await;
    assert_eq!((site.asked(), site.told("alerts.suspended"), site.row().await.suspended_ms.is_some()), (0, 1, true));
}

/// As after a sleep of the machine: nobody looked for some windows, and the key is back by then.
#[tokio::test]
async fn a_key_that_is_back_lets_no_window_be_asked_about_that_ended_while_it_was_away() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    site.answers(&[("a", 1.0)]);
    site.pass(MINUTE).await;
    *site.rooms.away.lock() = true;
    site.pass(MINUTE).await;
    site.site.sim.clock().advance(Duration::from_secs(630));
    *site.rooms.away.lock() = false;
    site.answers(&[("b", 9.0)]);
    let before = site.asked();
    assert_eq!(site.pass(Duration::from_secs(5)).await, []);
    assert_eq!((site.asked(), site.told("alerts.resumed")), (before, 1));
    assert_eq!(site.pass(MINUTE).await, [fired("b")]);
    assert_eq!(site.asked(), before + 1);
}

#[tokio::test]
async fn a_question_whose_key_leaves_meanwhile_is_no_failure_of_its_rule() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    *site.rooms.leaves.lock() = true;
    site.pass(MINUTE).await;
    let row = site.row().await;
    assert_eq!((site.asked(), site.told("alerts.suspended"), site.told("alerts.failed")), (1, 1, 0));
    assert_eq!((row.suspended_ms.is_some(), row.failures), (true, 0));
}

#[tokio::test]
async fn of_two_that_see_a_rule_due_one_asks() {
    let site = Watchman::new().await;
    site.put(|_| ()).await;
    let other = Watchman::over(&site.site, &site.rooms);
    for round in 1..=30 {
        site.site.sim.clock().advance(MINUTE);
        let (first, second) = tokio::join!(site.alerts.round(), other.round());
        for turn in first.unwrap().into_iter().chain(second.unwrap()) {
            turn.await.unwrap();
        }
        assert_eq!(site.asked(), round);
    }
}

/// Takes the first call; by then the group of the second is damaged.
#[derive(Debug)]
struct Between {
    rooms: Arc<Rooms>,
    catalog: Catalog,
    then: Mutex<Option<ActionGroupRow>>,
}

#[async_trait]
impl Post for Between {
    async fn post(&self, url: &str, body: Zeroizing<String>) -> Result<(), String> {
        let taken = self.rooms.post(url, body).await;
        let then = self.then.lock().take();
        if let Some(row) = then {
            self.catalog.action_group_put(&row).await.unwrap();
        }
        taken
    }
}

#[tokio::test]
async fn an_error_between_two_calls_leaves_the_rest_to_be_called_and_calls_nobody_twice() {
    let mut site = Watchman::new().await;
    let whole = site.group_of("night", "shift", true).await;
    let groups =
        ["ops", "night", "day"].map(|name| format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/actionGroups/{name}"));
    site.group_of("day", "desk", true).await;
    let rule = site.put(|rule| rule["actions"]["actionGroups"] = json!(groups)).await;
    let damaged = ActionGroupRow { cell: vec![7; whole.cell.len()], ..whole.clone() };
    let between = Between { rooms: Arc::clone(&site.rooms), catalog: site.site.catalog.clone(), then: Mutex::new(Some(damaged)) };
    site.alerts = site.with(|deps| deps.post = Arc::new(between));
    site.answers(&[("a", 3.0)]);
    let called = || site.rooms.posted.lock().iter().map(|(url, _)| url.clone()).collect::<Vec<_>>();
    site.pass(MINUTE).await;
    assert_eq!(called(), ["https://pager.example/", "https://desk.example/"], "the one behind it is not kept waiting");
    assert_eq!(site.alerts.alerts(&rule).await.unwrap()[0].delivery, Delivery::Pending);
    site.pass(Duration::from_secs(25)).await;
    assert_eq!(called().len(), 2, "nobody twice while it lasts");
    site.site.catalog.action_group_put(&whole).await.unwrap();
    site.pass(MINUTE * 2).await;
    assert_eq!(called(), ["https://pager.example/", "https://desk.example/", "https://shift.example/"]);
    let alert = site.alerts.alerts(&rule).await.unwrap().remove(0);
    assert_eq!((alert.delivery, alert.tries), (Delivery::Delivered, 3));
}
