use strongroom_catalog::{Billing, ClusterRow, ClusterState, IdentityType, LockboxState, TablePlan};
use strongroom_keys::{Judge as _, KeyError, Verdict};
use strongroom_model::{ErrorKind, PrincipalId};

use super::*;
use crate::audit::{Audit, AuditConfig, AuditFilter, Event, name};
use crate::{CreatedPrincipal, Lockbox, LockboxConfig};

const HOUR: Duration = Duration::from_hours(1);

/// A customer with a linked workspace, and somebody of the provider's staff.
struct Shop {
    site: Site,
    audit: Arc<Audit>,
    lockbox: Arc<Lockbox>,
    linked: WorkspaceRow,
    table: TableId,
    operator: Caller,
    owner: Caller,
}

impl Shop {
    async fn new(config: LockboxConfig) -> Self {
        let site = Site::new().await;
        let principals = Arc::new(Principals::new(
            site.world.clone(),
            site.catalog.clone(),
            Arc::clone(&site.roles),
            ControlConfig { cache_ms: 0, ..ControlConfig::default() },
        ));
        let mmk = Arc::new(Mmk::generate(site.world.rng.as_ref()));
        let dir = PathBuf::from("/audit");
        let audit = Audit::open(site.world.clone(), site.catalog.clone(), mmk, dir, AuditConfig::default()).await.unwrap();
        let lockbox = Lockbox::new(site.world.clone(), site.catalog.clone(), principals, Arc::clone(&audit), config);
        let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
        let shop = link(&site, shop).await;
        let table = site.table(&shop, "Orders").await;
        let (operator, owner) = (site.caller("Operator", Scope::All).await, site.caller("Owner", Scope::All).await);
        Self { site, audit, lockbox, linked: shop, table, operator, owner }
    }

    async fn judge(&self, who: &Caller) -> Result<Verdict, KeyError> {
        self.lockbox.judge(who.principal, self.linked.id, self.table).await
    }

    /// The names of all events of Lockbox, oldest first.
    async fn told(&self) -> Vec<String> {
        // A marker behind which everything before is written.
        self.audit.record(Event::new(name::QUERY)).await.unwrap();
        let filter = AuditFilter { event: Some("lockbox.".to_owned()), limit: 100, ..AuditFilter::default() };
        self.audit.reader().read(filter).await.unwrap().into_iter().map(|record| record.event.event.into_owned()).collect()
    }

    async fn asked(&self) -> String {
        self.lockbox.request(&self.operator, &self.linked, "ticket 7", 2).await.unwrap().id.to_string()
    }
}

async fn link(site: &Site, row: WorkspaceRow) -> WorkspaceRow {
    let id = site.object();
    let (ms, random) = site.world.id_seed();
    let account = AccountId::mint(ms, random);
    site.catalog.account_insert(&AccountRow { id: account, region: "here".to_owned(), cluster: Some(id.to_string()) }).await.unwrap();
    let cluster = ClusterRow {
        id,
        name: format!("cluster-{id}"),
        subscription: row.subscription.clone(),
        resource_group: row.resource_group.clone(),
        region: "here".to_owned(),
        account: Some(account),
        state: ClusterState::Succeeded,
        identity_type: IdentityType::SystemAssigned,
        identity: None,
        user_identity: None,
        sku_name: "CapacityReservation".to_owned(),
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
    site.catalog.cluster_insert(&cluster).await.unwrap();
    site.catalog.workspace_move(row.id, account, Some((id, 1))).await.unwrap();
    site.catalog.workspace(row.id).await.unwrap().unwrap()
}

fn code(outcome: Result<Verdict, KeyError>) -> &'static str {
    match outcome {
        Ok(Verdict::Own) => "own",
        Ok(Verdict::Until(_)) => "approved",
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
            error.code()
        }
    }
}

#[tokio::test]
async fn staff_reads_what_was_approved_for_as_long_as_it_was_and_nothing_else() {
    let it = Shop::new(LockboxConfig::default()).await;
    assert_eq!(code(it.judge(&it.owner).await), "own");
    assert_eq!(code(it.judge(&it.operator).await), "LockboxApprovalRequired");
    let id = it.asked().await;
    assert_eq!(code(it.judge(&it.operator).await), "LockboxApprovalRequired", "asking is not enough");
    let again = it.lockbox.request(&it.operator, &it.linked, "again", 1).await.unwrap_err();
    assert_eq!((again.kind(), again.code()), (ErrorKind::Conflict, "LockboxRequestExists"));

    it.lockbox.decide(&it.owner, &id, true).await.unwrap();
    let Ok(Verdict::Until(approval)) = it.judge(&it.operator).await else { panic!("approved") };
    assert!(approval.lasts(it.site.world.clock.boot()));
    // For whom it was approved, where it was approved.
    let colleague = it.site.caller("Operator", Scope::All).await;
    assert_eq!(code(it.judge(&colleague).await), "LockboxApprovalRequired");
    let other = it.site.workspaces.create("other".parse().unwrap(), None).await.unwrap();
    let other = link(&it.site, other).await;
    let theirs = it.site.table(&other, "Orders").await;
    assert_eq!(code(it.lockbox.judge(it.operator.principal, other.id, theirs).await), "LockboxApprovalRequired");
    // A table of one workspace is not another's, whatever was approved there.
    assert_eq!(code(it.lockbox.judge(it.operator.principal, it.linked.id, theirs).await), "AuthorizationFailed");

    it.site.sim.clock().advance((2 * HOUR).saturating_sub(Duration::from_millis(1)));
    assert_eq!(code(it.judge(&it.operator).await), "approved");
    it.site.sim.clock().advance(Duration::from_millis(1));
    assert!(!approval.lasts(it.site.world.clock.boot()), "what was given out ends with it");
    assert_eq!(code(it.judge(&it.operator).await), "LockboxApprovalRequired");
    assert_eq!(it.lockbox.get(&it.owner, &id).await.unwrap().state, LockboxState::Expired);
    assert_eq!(it.lockbox.tidy().await.unwrap(), 1);
    assert_eq!(it.site.catalog.lockbox_get(id.parse().unwrap()).await.unwrap().unwrap().state, LockboxState::Expired);
    it.asked().await;

    // Each step is in the chain, in order, and what was read before a row of it was.
    let told = it.told().await;
    let expected =
        ["refused", "requested", "refused", "approved", "read", "refused", "refused", "refused", "read", "refused", "expired", "requested"];
    assert_eq!(told, expected.map(|step| format!("lockbox.{step}")));
}

#[tokio::test]
async fn an_approval_that_is_ended_early_ends_for_what_runs() {
    let it = Shop::new(LockboxConfig::default()).await;
    let id = it.asked().await;
    it.lockbox.decide(&it.owner, &id, true).await.unwrap();
    let Ok(Verdict::Until(approval)) = it.judge(&it.operator).await else { panic!("approved") };
    let ended = it.lockbox.end(&it.owner, &id).await.unwrap();
    assert_eq!(ended.state, LockboxState::Ended);
    assert!(!approval.lasts(it.site.world.clock.boot()));
    assert_eq!(code(it.judge(&it.operator).await), "LockboxApprovalRequired");
    let twice = it.lockbox.end(&it.owner, &id).await.unwrap_err();
    assert_eq!((twice.kind(), twice.code()), (ErrorKind::Conflict, "LockboxRequestSettled"));
    assert_eq!(twice.to_string(), format!("Lockbox request {id} is ended: it can't be ended."));
}

#[tokio::test]
async fn a_request_is_decided_on_the_subscription_once_and_not_by_who_made_it() {
    let it = Shop::new(LockboxConfig::default()).await;
    let id = it.asked().await;
    let local = it.site.caller("Owner", Scope::Workspace(it.linked.id)).await;
    let refused = it.lockbox.decide(&local, &id, true).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Forbidden, "AuthorizationFailed"));
    for role in ["Contributor", "Reader", "Operator"] {
        let caller = it.site.caller(role, Scope::All).await;
        assert!(matches!(it.lockbox.decide(&caller, &id, true).await, Err(ControlError::Forbidden { .. })), "{role}");
        assert!(it.lockbox.end(&caller, &id).await.is_err(), "{role}");
    }
    let own = it.lockbox.request(&it.owner, &it.linked, "my own", 1).await.unwrap().id.to_string();
    assert_eq!(
        it.lockbox.decide(&it.owner, &own, true).await.unwrap_err().to_string(),
        "A Lockbox request can't be decided by who made it."
    );
    let approver = it.site.caller("LockboxApprover", Scope::All).await;
    assert_eq!(it.lockbox.decide(&approver, &id, false).await.unwrap().state, LockboxState::Rejected);
    assert_eq!(it.lockbox.decide(&it.owner, &id, true).await.unwrap_err().code(), "LockboxRequestSettled");
    assert_eq!(code(it.judge(&it.operator).await), "LockboxApprovalRequired", "rejected");
    // Who asked may take it back, and somebody with one workspace sees nothing of another's.
    let id = it.asked().await;
    it.lockbox.end(&it.operator, &id).await.unwrap();
    let elsewhere = it.site.workspaces.create("elsewhere".parse().unwrap(), None).await.unwrap();
    let stranger = it.site.caller("Owner", Scope::Workspace(elsewhere.id)).await;
    assert!(it.lockbox.list(&stranger).await.unwrap().is_empty());
    assert_eq!(it.lockbox.get(&stranger, &id).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_request_about_a_foreign_workspace_looks_exactly_like_one_that_is_not_there() {
    let it = Shop::new(LockboxConfig::default()).await;
    let (foreign, absent) = (it.asked().await, it.site.object().to_string());
    let elsewhere = it.site.workspaces.create("elsewhere".parse().unwrap(), None).await.unwrap();
    for role in ["Owner", "Operator", "Reader", "LockboxApprover"] {
        let caller = it.site.caller(role, Scope::Workspace(elsewhere.id)).await;
        let look = async |id: &str| {
            let told = [it.lockbox.get(&caller, id).await, it.lockbox.decide(&caller, id, true).await, it.lockbox.end(&caller, id).await];
            told.map(|outcome| outcome.map_err(|error| format!("{error:?} {error}").replace(id, "IT")).unwrap_err())
        };
        assert_eq!(look(&foreign).await, look(&absent).await, "{role}");
    }
    assert_eq!(it.lockbox.get(&it.owner, &foreign).await.unwrap().state, LockboxState::Pending);
}

#[tokio::test]
async fn a_request_that_nobody_answers_expires_after_four_days() {
    let it = Shop::new(LockboxConfig::default()).await;
    let id = it.asked().await;
    it.site.sim.clock().advance(4 * DAY);
    assert_eq!(it.lockbox.list(&it.owner).await.unwrap()[0].state, LockboxState::Expired);
    assert_eq!(it.lockbox.decide(&it.owner, &id, true).await.unwrap_err().code(), "LockboxRequestSettled");
}

#[tokio::test]
async fn lockbox_covers_linked_workspaces_in_regions_that_have_it() {
    let it = Shop::new(LockboxConfig { unavailable_regions: vec!["China East".to_owned(), "Here".to_owned()], ..LockboxConfig::default() })
        .await;
    let refused = it.lockbox.request(&it.operator, &it.linked, "ticket", 1).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, "LockboxNotAvailable"));
    assert_eq!(refused.to_string(), "Lockbox is not available in region here.");

    let it = Shop::new(LockboxConfig::default()).await;
    let alone = it.site.workspaces.create("alone".parse().unwrap(), None).await.unwrap();
    let refused = it.lockbox.request(&it.operator, &alone, "ticket", 1).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, "LockboxNotApplicable"));
    let table = it.site.table(&alone, "Orders").await;
    assert_eq!(code(it.lockbox.judge(it.operator.principal, alone.id, table).await), "AuthorizationFailed");
    // Unlinking ends what was approved for the linked one.
    let id = it.asked().await;
    it.lockbox.decide(&it.owner, &id, true).await.unwrap();
    it.site.catalog.workspace_move(it.linked.id, it.site.account, None).await.unwrap();
    assert_eq!(code(it.judge(&it.operator).await), "AuthorizationFailed");
}

#[tokio::test]
async fn a_table_of_the_auxiliary_plan_is_not_covered() {
    let it = Shop::new(LockboxConfig::default()).await;
    let name: TableName = "Orders".parse().unwrap();
    it.site.workspaces.set_table_plan(it.linked.id, &name, TablePlan::Auxiliary).await.unwrap();
    assert_eq!(code(it.judge(&it.operator).await), "own");
    for plan in [TablePlan::Analytics, TablePlan::Basic] {
        it.site.workspaces.set_table_plan(it.linked.id, &name, plan).await.unwrap();
        assert_eq!(code(it.judge(&it.operator).await), "LockboxApprovalRequired", "{plan}");
    }
}

#[tokio::test]
async fn the_judge_knows_nobody_but_principals_and_goes_by_what_they_may_now() {
    let it = Shop::new(LockboxConfig::default()).await;
    for (role, expected) in
        [("Reader", "own"), ("Contributor", "own"), ("Ingest", "AuthorizationFailed"), ("LockboxApprover", "AuthorizationFailed")]
    {
        let caller = it.site.caller(role, Scope::Workspace(it.linked.id)).await;
        assert_eq!(code(it.judge(&caller).await), expected, "{role}");
    }
    let other = it.site.workspaces.create("other".parse().unwrap(), None).await.unwrap();
    for role in ["Reader", "Owner", "Operator"] {
        let caller = it.site.caller(role, Scope::Workspace(other.id)).await;
        assert_eq!(code(it.judge(&caller).await), "AuthorizationFailed", "{role} of another workspace");
    }
    assert_eq!(code(it.lockbox.judge(PrincipalId::NIL, it.linked.id, it.table).await), "AuthorizationFailed");
    let CreatedPrincipal { id, .. } = it.site.principals.create("gone".to_owned(), "Reader", Scope::All, None).await.unwrap();
    it.site.principals.delete(id).await.unwrap();
    assert_eq!(code(it.lockbox.judge(id, it.linked.id, it.table).await), "AuthorizationFailed");
}

#[tokio::test]
async fn reasons_and_hours_have_bounds() {
    let it = Shop::new(LockboxConfig::default()).await;
    for (reason, hours) in [("", 1), ("  ", 1), ("two\nlines", 1), ("fine", 0), ("fine", 25)] {
        assert_eq!(
            it.lockbox.request(&it.operator, &it.linked, reason, hours).await.unwrap_err().code(),
            "InvalidParameter",
            "{reason:?} {hours}"
        );
    }
    assert!(it.lockbox.request(&it.site.caller("Reader", Scope::All).await, &it.linked, "fine", 1).await.is_err());
    assert!(LockboxConfig { hours_max: 0, ..LockboxConfig::default() }.check().is_err());
}
