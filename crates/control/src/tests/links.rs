use strongroom_model::{ErrorKind, WorkspaceName};

use super::desk::{Works, key, place, refused, with_key};
use super::*;
use crate::Refusal;
use crate::watch::Unflushed;

impl Works {
    async fn workspace(&self, name: &str) -> WorkspaceRow {
        self.site.workspaces.create(name.parse::<WorkspaceName>().unwrap(), None).await.unwrap()
    }

    async fn again(&self, row: &WorkspaceRow) -> WorkspaceRow {
        self.site.catalog.workspace(row.id).await.unwrap().unwrap()
    }

    async fn linked(&self, row: &WorkspaceRow, cluster: &str) -> WorkspaceRow {
        self.clusters.link(row.clone(), &place(cluster).cluster_path()).await.unwrap();
        self.clusters.idle().await;
        self.again(row).await
    }
}

#[tokio::test]
async fn a_workspace_is_linked_and_unlinked_and_each_is_done_once() {
    let works = Works::new().await;
    let (cluster, shop) = (works.cluster("contoso").await, works.workspace("shop").await);
    let path = place("contoso").cluster_path();
    let shop = works.linked(&shop, "contoso").await;
    assert_eq!((shop.link.unwrap().cluster, shop.account), (cluster.id, cluster.account.unwrap()));
    assert_eq!(works.clusters.link_of(&shop).await.unwrap().unwrap().cluster.id, cluster.id);
    let view = works.clusters.view(cluster).await.unwrap();
    assert_eq!(view.linked.iter().map(|row| row.id).collect::<Vec<_>>(), [shop.id]);
    // The same again, in another spelling: nothing to do.
    assert!(works.clusters.link(shop.clone(), &path.to_uppercase().replace("/SUB/", "/sub/")).await.unwrap().operation.is_none());

    works.clusters.unlink(shop.clone()).await.unwrap();
    works.clusters.idle().await;
    let shop = works.again(&shop).await;
    assert_eq!((shop.link, shop.account), (None, works.site.account));
    assert!(works.clusters.unlink(shop.clone()).await.unwrap().operation.is_none());
    assert!(works.clusters.link_of(&shop).await.unwrap().is_none());
    assert_eq!(*works.desk.calls.lock(), ["identity", "open true", "link", "unlink"]);
}

#[tokio::test]
async fn a_link_to_nothing_elsewhere_or_too_early_is_refused_with_what_is_missing() {
    let works = Works::new().await;
    let shop = works.workspace("shop").await;
    let text = "Cluster not found, the cluster you specified doesn't exist or was deleted.";
    works.cluster("deleted").await;
    works.clusters.delete(&place("deleted"), false).await.unwrap();
    works.clusters.idle().await;
    for target in [place("never").cluster_path(), place("deleted").cluster_path(), "nonsense".to_owned(), String::new()] {
        assert_eq!(refused(works.clusters.link(shop.clone(), &target).await), ("ClusterNotFound", text.to_owned()), "{target}");
    }
    works.cluster("contoso").await;
    works.cluster("fabrikam").await;
    let shop = works.linked(&shop, "contoso").await;
    let error = works.clusters.link(shop.clone(), &place("fabrikam").cluster_path()).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("WorkspaceLinkedElsewhere", ErrorKind::Conflict));
    assert!(error.to_string().contains("contoso"), "{error}");

    works.desk.hold();
    works.clusters.patch(&place("fabrikam"), with_key("kek", None)).await.unwrap();
    let other = works.workspace("other").await;
    let error = works.clusters.link(other, &place("fabrikam").cluster_path()).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("ClusterNotReady", ErrorKind::Conflict));
    assert!(error.to_string().contains("Updating"), "{error}");
    works.desk.go_on();
    works.clusters.idle().await;
}

#[tokio::test]
async fn a_second_link_or_unlink_waits_its_turn() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let shop = works.workspace("shop").await;
    works.desk.hold();
    let path = place("contoso").cluster_path();
    works.clusters.link(shop.clone(), &path).await.unwrap();
    let text = "Workspace link or unlink operation in process.";
    assert_eq!(refused(works.clusters.link(shop.clone(), &path).await), ("LinkOperationInProgress", text.to_owned()));
    let error = works.clusters.unlink(shop.clone()).await.unwrap_err();
    assert_eq!((error.code(), error.kind(), error.to_string()), ("LinkOperationInProgress", ErrorKind::Conflict, text.to_owned()));
    works.desk.go_on();
    works.clusters.idle().await;
    assert!(works.again(&shop).await.link.is_some());
}

#[tokio::test]
async fn a_stop_in_mid_link_goes_on() {
    let mut works = Works::new().await;
    works.cluster("contoso").await;
    let shop = works.workspace("shop").await;
    works.desk.hold();
    works.clusters.link(shop.clone(), &place("contoso").cluster_path()).await.unwrap();
    works.clusters.stop().await;
    assert!(works.again(&shop).await.link.is_none());
    works.desk.go_on();
    works.restart().await;
    works.clusters.idle().await;
    assert!(works.again(&shop).await.link.is_some());
}

#[tokio::test]
async fn a_cluster_that_holds_data_is_deleted_only_by_force_and_lets_its_workspaces_go() {
    let works = Works::new().await;
    let row = works.cluster("contoso").await;
    let (shop, quiet) = (works.workspace("shop").await, works.workspace("quiet").await);
    works.linked(&quiet, "contoso").await;
    let shop = works.linked(&shop, "contoso").await;
    works.desk.switch(&row, &key("kek", None).kek().unwrap()).await;
    let aek = works.site.catalog.aek_current(row.account.unwrap()).await.unwrap().unwrap();
    let table = works.site.table(&shop, "Logs").await;
    let site = &works.site;
    let window = Window::of(0, 0);
    let object = site.object();
    let epoch = Epoch { account: row.account.unwrap(), aek: aek.aek };
    let pending = PendingBlock { object, workspace: shop.id, table, epoch, window, through: Position(1) };
    site.catalog.blocks_pend(site.writer, &[pending]).await.unwrap();
    let block = LiveBlock {
        object,
        window,
        time: TimeRange { start: 0, end: 0 },
        rows: 5,
        sealed_len: 1_234,
        plain_len: 50,
        sha256: [1; 32],
        level: 0,
        arrived_ms: 0,
        stats: vec![1],
    };
    let commit = FlushCommit { table, workspace: shop.id, epoch, through: Position(1), blocks: vec![block], batches: Vec::new() };
    site.catalog.flush_commit(site.writer, &commit).await.unwrap();

    // Unlinked or not: what counts is whose data is there.
    works.clusters.unlink(shop.clone()).await.unwrap();
    works.clusters.idle().await;
    let error = works.clusters.delete(&place("contoso"), false).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("ClusterHoldsData", ErrorKind::Conflict));
    assert!(error.to_string().contains("shop (1234 bytes)") && !error.to_string().contains("quiet"), "{error}");
    // Rows in memory and log count as well, and so do those of which nobody can tell whose they are.
    let own = works.site.table(&quiet, "Logs").await;
    *works.desk.unflushed.lock() = Unflushed { tables: vec![own, table], unread: true };
    let error = works.clusters.delete(&place("contoso"), false).await.unwrap_err().to_string();
    for part in [
        "shop (1234 bytes and rows that are in no block yet)",
        "quiet (linked, 0 bytes and rows that are in no block yet)",
        "; and rows that came in and that only its key can tell whose they are.",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }

    let deleted = works.clusters.delete(&place("contoso"), true).await.unwrap();
    works.end(&deleted).await.unwrap();
    assert_eq!(works.again(&quiet).await.link, None);
    assert!(works.site.catalog.aek(aek.aek).await.unwrap().is_some());
    assert_eq!(works.desk.calls.lock().last().unwrap(), "close");
}

#[tokio::test]
async fn a_deletion_that_fails_can_be_asked_for_again() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let shop = works.workspace("shop").await;
    works.linked(&shop, "contoso").await;
    *works.desk.change_fails.lock() = Some(Refusal::Interrupted.into());
    let failed = works.clusters.delete(&place("contoso"), false).await.unwrap();
    assert_eq!(works.end(&failed).await, Err("OperationInterrupted".to_owned()));
    let again = works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.end(&again).await.unwrap();
    assert_eq!(works.again(&shop).await.link, None);
}

#[tokio::test]
async fn a_check_tells_beforehand_what_would_be_refused() {
    let works = Works::new().await;
    let row = works.cluster("contoso").await;
    let bad = |checks: &[crate::Check]| checks.iter().filter(|check| !check.ok).map(|check| check.name).collect::<Vec<_>>();
    assert_eq!(bad(&works.clusters.check(&row, None, None).await.unwrap()), ["key"]);
    let stranger = crate::KeyProperties { vault_uri: "https://other.example".to_owned(), ..key("kek", None) };
    assert_eq!(bad(&works.clusters.check(&row, Some(stranger), None).await.unwrap()), ["vault"]);
    let shop = works.workspace("shop").await;
    let good = works.clusters.check(&row, Some(key("kek", None)), Some(&shop)).await.unwrap();
    assert!(bad(&good).is_empty(), "{good:?}");
    let names: Vec<_> = good.iter().map(|check| check.name).collect();
    assert!(
        ["permissions", "recoverable", "vault region", "workspace region", "link"].iter().all(|name| names.contains(name)),
        "{names:?}"
    );
    *works.desk.probe_fails.lock() = Some(Refusal::KeyNotRecoverable.into());
    assert_eq!(bad(&works.clusters.check(&row, Some(key("kek", None)), None).await.unwrap()), ["recoverable"]);
    let problem = Refusal::KeyNotValid { problem: "PermissionMissing(unwrapKey)".to_owned(), why: "no unwrapKey".to_owned() };
    *works.desk.probe_fails.lock() = Some(problem.into());
    let checks = works.clusters.check(&row, Some(key("kek", Some("v1"))), None).await.unwrap();
    assert_eq!(bad(&checks), ["key"]);
    assert!(checks.iter().any(|check| check.text.contains("PermissionMissing(unwrapKey): no unwrapKey")), "{checks:?}");
    works.cluster("fabrikam").await;
    let shop = works.linked(&shop, "fabrikam").await;
    let elsewhere = WorkspaceRow { region: "there".to_owned(), ..shop };
    assert_eq!(bad(&works.clusters.check(&row, Some(key("kek", None)), Some(&elsewhere)).await.unwrap()), ["workspace region", "link"]);
    assert!(works.site.catalog.operation_list_running().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cluster_with_no_block_and_rows_in_its_log_is_deleted_only_by_force() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    *works.desk.unflushed.lock() = Unflushed { tables: Vec::new(), unread: true };
    let error = works.clusters.delete(&place("contoso"), false).await.unwrap_err();
    assert_eq!(error.code(), "ClusterHoldsData");
    assert!(error.to_string().starts_with("Cluster contoso holds rows that came in"), "{error}");
    *works.desk.unflushed.lock() = Unflushed::default();
    let deleted = works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.end(&deleted).await.unwrap();
}

#[tokio::test]
async fn a_workspace_is_not_taken_away_while_its_link_changes() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let shop = works.workspace("shop").await;
    works.desk.hold();
    works.clusters.link(shop.clone(), &place("contoso").cluster_path()).await.unwrap();
    for for_good in [false, true] {
        assert_eq!(refused(works.clusters.detach(&shop, for_good).await).0, "LinkOperationInProgress", "{for_good}");
    }
    works.desk.go_on();
    works.clusters.idle().await;
    let shop = works.again(&shop).await;
    assert!(shop.link.is_some(), "what had begun was not torn apart");
    works.clusters.detach(&shop, false).await.unwrap();
    assert!(works.again(&shop).await.link.is_none());
}

#[tokio::test]
async fn a_workspace_that_comes_back_after_its_cluster_went_is_linked_once_that_is_back_too() {
    let works = Works::new().await;
    let cluster = works.cluster("contoso").await;
    let shop = works.workspace("shop").await;
    let shop = works.linked(&shop, "contoso").await;
    works.clusters.detach(&shop, false).await.unwrap();
    let catalog = &works.site.catalog;
    let now_ms = works.site.world.clock.wall().unix_ms();
    catalog.workspace_delete(shop.id, now_ms, now_ms + 1).await.unwrap();
    works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.clusters.idle().await;
    assert!(catalog.workspace_recover(shop.id, now_ms).await.unwrap());
    works.clusters.relink(shop.id).await.unwrap();
    let back = works.again(&shop).await;
    assert_eq!((back.link, back.account), (None, works.site.account), "a deleted cluster gets no rows");
    assert!(!works.desk.calls.lock().contains(&"relink".to_owned()));
    let azure = crate::AzureConfig { compat: crate::Compat::Y2021, ..crate::AzureConfig::default() };
    works.ruled(&azure).recover("contoso").await.unwrap();
    assert_eq!(works.again(&shop).await.link.map(|link| link.cluster), Some(cluster.id));
}

/// Taken on while the cluster was there for it; its turn comes when that is on its way out.
#[tokio::test]
async fn a_link_whose_turn_comes_too_late_is_refused_and_counts_for_none() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let (early, late) = (works.workspace("early").await, works.workspace("late").await);
    works.desk.hold();
    let mut operations = Vec::new();
    for row in [&early, &late] {
        let accepted = works.clusters.link(row.clone(), &place("contoso").cluster_path()).await.unwrap();
        operations.push(accepted.operation.unwrap().id);
        // It is counted, and then waits for its turn.
        while works.site.catalog.link_times(row.id, 0).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }
    let deleted = works.clusters.delete(&place("contoso"), true).await.unwrap();
    works.desk.go_on();
    works.end(&deleted).await.unwrap();
    let mut ends = Vec::new();
    for id in operations {
        ends.push(works.clusters.operation(id).await.unwrap().unwrap().error.map(|error| error.code));
    }
    assert_eq!(ends, [None, Some("ClusterNotReady".to_owned())]);
    assert_eq!(works.desk.calls.lock().iter().filter(|call| *call == "link").count(), 1);
    assert!(works.site.catalog.link_times(late.id, 0).await.unwrap().is_empty());
}
