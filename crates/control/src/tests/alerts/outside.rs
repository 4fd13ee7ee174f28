//! What leaves, whom it reaches, and what waits for a key besides the workspace's.

use strongroom_catalog::{AccountRow, Billing, ClusterRow, ClusterState, IdentityType};
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
        let hooks = json!([{"name": "pager", "serviceUri": "https://pager.example/"}]);
        let group = json!({"groupShortName": "ops", "enabled": enabled, "webhookReceivers": hooks});
        let group = ActionGroup::read(group.as_object().unwrap().clone()).unwrap();
        self.groups().put(&place("ops"), "here", &serde_json::Map::new(), &group).await.unwrap();
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
    let mmk = Arc::new(Mmk::from_bytes([9; 32]));
    let deps = AlertDeps {
        world: site.site.world.clone(),
        catalog: site.site.catalog.clone(),
        groups: Arc::new(ActionGroups::new(site.site.world.clone(), site.site.catalog.clone(), mmk)),
        safe: Arc::new(Half(Arc::clone(&site.rooms))),
        evaluate: Arc::clone(&site.rooms) as _,
        post: Arc::clone(&site.rooms) as _,
        emit: Arc::clone(&site.rooms) as _,
        audit: Arc::clone(&site.rooms) as _,
    };
    site.alerts = Alerts::new(deps, AlertsConfig::default());
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
