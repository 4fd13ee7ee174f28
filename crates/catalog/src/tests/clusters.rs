use strongroom_model::ErrorKind;

use super::*;
use crate::{
    Billing, CatalogError, ClusterKeyRow, ClusterRow, ClusterState, IdentityRow, IdentityType, InfrastructureRow, KeyStateRow, LinkRow,
    OperationErrorRow, OperationRow, OperationStatus, UserIdentityRow, VaultAccessRow, VaultRefRow,
};

fn cluster(name: &str) -> ClusterRow {
    ClusterRow {
        id: object(),
        name: name.to_owned(),
        subscription: "sub".to_owned(),
        resource_group: "default".to_owned(),
        region: "here".to_owned(),
        account: None,
        state: ClusterState::Creating,
        identity_type: IdentityType::SystemAssigned,
        user_identity: None,
        identity: None,
        sku_name: "CapacityReservation".to_owned(),
        sku_capacity: 100,
        billing: Billing::Cluster,
        double: true,
        tags: "{}".to_owned(),
        key: None,
        created_ms: 1,
        modified_ms: 1,
        deleted_ms: None,
        sku_ms: 0,
    }
}

fn operation(resource: &str) -> OperationRow {
    OperationRow {
        id: object(),
        resource: resource.to_owned(),
        region: "here".to_owned(),
        kind: "Create".to_owned(),
        input: "{}".to_owned(),
        status: OperationStatus::InProgress,
        start_ms: 5,
        end_ms: None,
        error: None,
    }
}

fn vault(name: &str, uri: &str) -> VaultRefRow {
    VaultRefRow {
        name: name.to_owned(),
        subscription: "sub".to_owned(),
        resource_group: "default".to_owned(),
        uri: uri.to_owned(),
        region: "here".to_owned(),
        tenant: "t".to_owned(),
        private_link: false,
        ca_pem: Some("pem".to_owned()),
        created_ms: 3,
        provider: "transit".to_owned(),
        access: Some(VaultAccessRow { id: ObjectId::from_bytes([8; 16]), cell: vec![1, 2] }),
        soft_delete: Some(true),
        purge_protection: Some(false),
        rbac: None,
    }
}

async fn dedicated(site: &Site, row: &mut ClusterRow) {
    let own = AccountRow { cluster: Some(row.id.to_string()), ..account() };
    site.catalog.account_insert(&own).await.unwrap();
    row.account = Some(own.id);
}

#[tokio::test]
async fn a_cluster_is_kept_changed_and_found_whatever_the_case_of_its_name() {
    let site = Site::new().await;
    let mut row = cluster("Contoso");
    site.catalog.cluster_insert(&row).await.unwrap();
    assert_eq!(site.catalog.cluster_by_name("SUB", "Default", "contoso").await.unwrap().as_ref(), Some(&row));
    assert_eq!(site.catalog.cluster_by_name("sub", "default", "fabrikam").await.unwrap(), None);
    dedicated(&site, &mut row).await;
    row.state = ClusterState::Succeeded;
    row.identity =
        Some(IdentityRow { principal: "p".to_owned(), tenant: "t".to_owned(), public_key_pem: "pem".to_owned(), cell: b"sealed".to_vec() });
    row.key = Some(ClusterKeyRow { vault_uri: "https://v".to_owned(), name: "kek".to_owned(), version: None, rsa_bits: Some(2048) });
    row.billing = Billing::Workspaces;
    row.modified_ms = 9;
    site.catalog.cluster_update(&row).await.unwrap();
    assert_eq!(site.catalog.cluster_get(row.id).await.unwrap().as_ref(), Some(&row));
    assert_eq!(site.catalog.cluster_list().await.unwrap(), [row.clone()]);
    let absent = site.catalog.cluster_update(&cluster("absent")).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    let mut thief = cluster("thief");
    thief.account = row.account;
    assert_eq!(site.catalog.cluster_insert(&thief).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!format!("{row:?}").contains("sealed"));
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_deleted_cluster_is_remembered_and_gives_its_name_free() {
    let site = Site::new().await;
    let row = cluster("contoso");
    site.catalog.cluster_insert(&row).await.unwrap();
    assert_eq!(site.catalog.cluster_insert(&cluster("CONTOSO")).await.unwrap_err().kind(), ErrorKind::Conflict);
    site.catalog.cluster_delete(row.id, 77).await.unwrap();
    assert_eq!(site.catalog.cluster_delete(row.id, 78).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(site.catalog.cluster_by_name("sub", "default", "contoso").await.unwrap(), None);
    assert!(site.catalog.cluster_list().await.unwrap().is_empty());
    let gone = site.catalog.cluster_list_deleted().await.unwrap();
    assert_eq!((gone[0].id, gone[0].state, gone[0].deleted_ms), (row.id, ClusterState::Deleting, Some(77)));
    site.catalog.cluster_insert(&cluster("contoso")).await.unwrap();
}

#[tokio::test]
async fn a_link_moves_a_workspace_to_the_clusters_account_and_holds_the_cluster() {
    let site = Site::new().await;
    let mut row = cluster("contoso");
    dedicated(&site, &mut row).await;
    site.catalog.cluster_insert(&row).await.unwrap();
    let account = row.account.unwrap();
    site.catalog.workspace_move(site.workspace, account, Some((row.id, 42))).await.unwrap();
    let linked = site.catalog.workspace(site.workspace).await.unwrap().unwrap();
    assert_eq!((linked.account, linked.link), (account, Some(LinkRow { cluster: row.id, linked_ms: 42 })));
    assert_eq!(site.catalog.workspaces_linked(row.id).await.unwrap(), [linked]);
    assert_eq!(site.catalog.cluster_delete(row.id, 50).await.unwrap_err().kind(), ErrorKind::Conflict);
    site.catalog.verify().await.unwrap();

    site.catalog.workspace_move(site.workspace, site.epoch.account, None).await.unwrap();
    assert_eq!(site.catalog.workspace(site.workspace).await.unwrap().unwrap().link, None);
    assert!(site.catalog.workspaces_linked(row.id).await.unwrap().is_empty());
    site.catalog.cluster_delete(row.id, 50).await.unwrap();
    let late = site.catalog.workspace_move(site.workspace, account, Some((row.id, 60))).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    let nowhere = site.catalog.workspace_move(WorkspaceId::NIL, account, None).await.unwrap_err();
    assert!(matches!(nowhere, CatalogError::NotFound { .. }));
    assert_eq!(site.catalog.workspace_move(site.workspace, AccountId::NIL, None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_link_beside_the_clusters_account_stops_the_start() {
    let site = Site::new().await;
    let mut row = cluster("contoso");
    dedicated(&site, &mut row).await;
    site.catalog.cluster_insert(&row).await.unwrap();
    site.catalog.workspace_move(site.workspace, site.epoch.account, Some((row.id, 1))).await.unwrap();
    let error = site.catalog.verify().await.unwrap_err();
    assert!(matches!(error, CatalogError::Broken { rule: "a linked workspace writes to its cluster's account", count: 1 }), "{error}");
}

#[tokio::test]
async fn one_operation_at_a_time_runs_on_a_resource_and_its_end_is_told_once() {
    let site = Site::new().await;
    let first = operation("/clusters/contoso");
    site.catalog.operation_insert(&first).await.unwrap();
    assert_eq!(site.catalog.operation_insert(&operation("/Clusters/Contoso")).await.unwrap_err().kind(), ErrorKind::Conflict);
    let other = operation("/clusters/fabrikam");
    site.catalog.operation_insert(&other).await.unwrap();
    assert_eq!(site.catalog.operation_running_on("/CLUSTERS/contoso").await.unwrap().as_ref(), Some(&first));
    assert_eq!(site.catalog.operation_list_running().await.unwrap(), [first.clone(), other.clone()]);

    site.catalog.operation_finish(first.id, 9, None).await.unwrap();
    assert_eq!(site.catalog.operation_finish(first.id, 10, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    let done = site.catalog.operation_get(first.id).await.unwrap().unwrap();
    assert_eq!((done.status, done.end_ms, done.error), (OperationStatus::Succeeded, Some(9), None));
    let why = OperationErrorRow { code: "C".to_owned(), message: "m".to_owned(), details: "[]".to_owned() };
    site.catalog.operation_finish(other.id, 20, Some(&why)).await.unwrap();
    let failed = site.catalog.operation_get(other.id).await.unwrap().unwrap();
    assert_eq!((failed.status, failed.error), (OperationStatus::Failed, Some(why)));
    assert_eq!(site.catalog.operation_running_on("/clusters/contoso").await.unwrap(), None);
    site.catalog.operation_insert(&operation("/clusters/contoso")).await.unwrap();

    assert_eq!(site.catalog.operation_forget(20).await.unwrap(), 1);
    assert_eq!(site.catalog.operation_get(first.id).await.unwrap(), None);
    assert!(site.catalog.operation_get(other.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_vault_has_one_reference_which_stays_while_a_key_lies_in_it() {
    let site = Site::new().await;
    let mut row = vault("Vault1", "https://v1");
    site.catalog.vault_ref_put(&row).await.unwrap();
    row.region = "there".to_owned();
    site.catalog.vault_ref_put(&VaultRefRow { created_ms: 99, ..row.clone() }).await.unwrap();
    assert_eq!(site.catalog.vault_ref_get("sub", "DEFAULT", "vault1").await.unwrap().as_ref(), Some(&row));
    assert_eq!(site.catalog.vault_ref_by_uri("HTTPS://V1").await.unwrap().as_ref(), Some(&row));
    assert_eq!(site.catalog.vault_ref_by_uri("https://v2").await.unwrap(), None);
    assert_eq!(site.catalog.vault_ref_put(&vault("other", "https://v1")).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(site.catalog.vault_ref_list().await.unwrap(), [row]);
    let mut using = cluster("contoso");
    using.key = Some(ClusterKeyRow { vault_uri: "https://v1".to_owned(), name: "k".to_owned(), version: None, rsa_bits: None });
    site.catalog.cluster_insert(&using).await.unwrap();
    assert_eq!(site.catalog.vault_ref_delete("sub", "default", "vault1").await.unwrap_err().kind(), ErrorKind::Conflict);
    site.catalog.cluster_delete(using.id, 5).await.unwrap();
    assert!(site.catalog.vault_ref_delete("sub", "default", "vault1").await.unwrap());
    assert!(!site.catalog.vault_ref_delete("sub", "default", "vault1").await.unwrap());
}

#[tokio::test]
async fn the_last_key_state_is_kept_and_the_first_infrastructure_key() {
    let site = Site::new().await;
    let owner = cluster("contoso");
    site.catalog.cluster_insert(&owner).await.unwrap();
    assert_eq!(site.catalog.key_state_get(owner.id).await.unwrap(), None);
    let mut row = KeyStateRow { cluster: owner.id, state: "Active".to_owned(), since_ms: 1, code: None, last_good_ms: Some(1) };
    site.catalog.key_state_put(&row).await.unwrap();
    row = KeyStateRow { state: "Revoked".to_owned(), since_ms: 2, code: Some("KeyDisabled".to_owned()), ..row };
    site.catalog.key_state_put(&row).await.unwrap();
    assert_eq!(site.catalog.key_state_get(owner.id).await.unwrap(), Some(row.clone()));
    let orphan = site.catalog.key_state_put(&KeyStateRow { cluster: ObjectId::NIL, ..row }).await.unwrap_err();
    assert_eq!(orphan.kind(), ErrorKind::NotFound);

    let first = InfrastructureRow { account: site.epoch.account, cell: b"first".to_vec() };
    let second = InfrastructureRow { cell: b"second".to_vec(), ..first.clone() };
    assert_eq!(site.catalog.infrastructure_get(first.account).await.unwrap(), None);
    assert_eq!(site.catalog.infrastructure_put(&first).await.unwrap(), first);
    assert_eq!(site.catalog.infrastructure_put(&second).await.unwrap(), first);
    assert_eq!(site.catalog.infrastructure_get(first.account).await.unwrap(), Some(first));
}

#[tokio::test]
async fn a_rewrapped_aek_keeps_its_reign_and_no_older_record_comes_back() {
    let site = Site::new().await;
    let account = site.epoch.account;
    let second = aek(account, 2, true);
    site.catalog.aek_insert(&second).await.unwrap();
    let old = site.catalog.aek(site.epoch.aek).await.unwrap().unwrap();
    let again = AekRow { generation: 3, record: b"wrapped anew".to_vec(), ..old.clone() };
    site.catalog.aek_rewrap(&again).await.unwrap();
    assert_eq!(site.catalog.aek(old.aek).await.unwrap(), Some(again.clone()));
    assert_eq!(site.catalog.aek_current(account).await.unwrap().unwrap().aek, second.aek);
    assert_eq!(site.catalog.aek_rewrap(&again).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(site.catalog.aek_rewrap(&old).await.unwrap_err().kind(), ErrorKind::Conflict);
    for stranger in [AekRow { class: KeyClass::Cmk, generation: 9, ..old.clone() }, aek(account, 9, false)] {
        assert_eq!(site.catalog.aek_rewrap(&stranger).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn another_key_takes_over_all_records_and_the_reign_or_nothing() {
    let site = Site::new().await;
    let account = site.epoch.account;
    let old = site.catalog.aek(site.epoch.aek).await.unwrap().unwrap();
    let rewrapped = AekRow { generation: 2, record: b"anew".to_vec(), ..old.clone() };
    let late = site.catalog.aek_supersede(std::slice::from_ref(&rewrapped), &aek(account, 2, true)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    assert_eq!(site.catalog.aeks(account).await.unwrap(), [old]);
    let next = aek(account, 3, true);
    site.catalog.aek_supersede(std::slice::from_ref(&rewrapped), &next).await.unwrap();
    assert_eq!(site.catalog.aeks(account).await.unwrap(), [AekRow { current: false, ..rewrapped }, next]);
    assert_eq!(site.catalog.aek_supersede(&[], &aek(account, 9, false)).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn holdings_say_whose_blocks_hang_on_which_key() {
    let site = Site::new().await;
    let first = site.flush(hour(MIDNIGHT), 1).await;
    site.flush(hour(MIDNIGHT), 2).await;
    let held = site.catalog.holdings(site.epoch.account).await.unwrap();
    assert_eq!(
        held.iter().map(|row| (row.aek, row.workspace, row.blocks, row.rows, row.bytes)).collect::<Vec<_>>(),
        [(site.epoch.aek, site.workspace, 2, 20, 2_000)]
    );
    assert_eq!(site.catalog.holdings_of(site.workspace).await.unwrap(), held);
    site.catalog.verify().await.unwrap();
    let gone = site.catalog.expire(site.table, MIDNIGHT + 7_200).await.unwrap();
    assert!(gone.iter().any(|row| row.object == first));
    assert!(site.catalog.holdings(site.epoch.account).await.unwrap().is_empty());
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_shows_no_identity_goes_on_doing_so_whoever_writes_it() {
    let site = Site::new().await;
    let parts = |name: &str| IdentityRow {
        principal: name.to_owned(),
        tenant: "t".to_owned(),
        public_key_pem: "pem".to_owned(),
        cell: name.as_bytes().to_vec(),
    };
    let row = ClusterRow { identity: Some(parts("own")), ..cluster("contoso") };
    site.catalog.cluster_insert(&row).await.unwrap();
    let kind = async || site.catalog.cluster_get(row.id).await.unwrap().unwrap().identity_type;
    assert!(site.catalog.cluster_identity_remove(row.id, 9).await.unwrap());
    assert!(!site.catalog.cluster_identity_remove(row.id, 9).await.unwrap(), "once");
    // A change that began before.
    site.catalog.cluster_update(&ClusterRow { sku_capacity: 200, ..row.clone() }).await.unwrap();
    let after = site.catalog.cluster_get(row.id).await.unwrap().unwrap();
    assert_eq!((after.identity_type, after.sku_capacity, after.modified_ms), (IdentityType::None, 200, 1));
    assert!(site.catalog.cluster_identity_restore(row.id, 10).await.unwrap());
    assert_eq!(kind().await, IdentityType::SystemAssigned);
    assert!(!site.catalog.cluster_identity_restore(row.id, 10).await.unwrap());

    let user = UserIdentityRow {
        id: object(),
        name: "Reader".to_owned(),
        subscription: "sub".to_owned(),
        resource_group: "default".to_owned(),
        region: "here".to_owned(),
        tags: "{}".to_owned(),
        identity: parts("user"),
        created_ms: 2,
    };
    site.catalog.user_identity_insert(&user).await.unwrap();
    let twin = UserIdentityRow { id: object(), name: "READER".to_owned(), ..user.clone() };
    assert_eq!(site.catalog.user_identity_insert(&twin).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(site.catalog.user_identity_by_name("SUB", "Default", "reader").await.unwrap(), Some(user.clone()));
    assert_eq!(site.catalog.user_identities().await.unwrap(), std::slice::from_ref(&user));
    site.catalog.own_identity_keep(row.id, &parts("own")).await.unwrap();
    site.catalog.own_identity_keep(row.id, &parts("another")).await.unwrap();
    assert_eq!(site.catalog.own_identity(row.id).await.unwrap(), Some(parts("own")), "the first one kept stays");
    let shown = ClusterRow {
        identity_type: IdentityType::UserAssigned,
        identity: Some(parts("lent")),
        user_identity: Some(user.id),
        ..site.catalog.cluster_get(row.id).await.unwrap().unwrap()
    };
    site.catalog.cluster_update(&shown).await.unwrap();
    assert_eq!(site.catalog.cluster_get(row.id).await.unwrap(), Some(shown.clone()));
    assert!(matches!(site.catalog.user_identity_delete(user.id).await.unwrap_err(), CatalogError::Orphan { .. }));
    site.catalog.cluster_identity_remove(row.id, 11).await.unwrap();
    site.catalog.cluster_identity_restore(row.id, 12).await.unwrap();
    assert_eq!(kind().await, IdentityType::UserAssigned, "what it showed before");
    site.catalog.cluster_update(&ClusterRow { user_identity: None, identity_type: IdentityType::SystemAssigned, ..shown }).await.unwrap();
    assert!(site.catalog.user_identity_delete(user.id).await.unwrap());
    assert!(!site.catalog.user_identity_delete(user.id).await.unwrap());
}
