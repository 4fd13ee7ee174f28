use strongroom_catalog::TablePlan;
use strongroom_model::ErrorKind;

use super::*;
use crate::tables::{TableAsk, Tables};
use crate::{ControlError, WorkspacePages};

#[tokio::test]
async fn rows_are_kept_for_the_longer_of_two_times_and_what_is_not_named_stays() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(40)).await.unwrap();
    let table = site.table(&shop, "My_CL").await;
    let tables = Tables::new(site.world.clone(), site.catalog.clone());
    let name: TableName = "My_CL".parse().unwrap();
    let set = async |interactive, total, plan| {
        let ask = TableAsk { interactive_days: interactive, total_days: total, plan };
        tables.set(&shop, table, ask).await.map(|view| {
            assert_eq!(view.total_days, view.row.retention_days, "the longer one is what rows go by");
            (view.interactive_days, view.total_days)
        })
    };
    let fresh = tables.get(shop.id, &name).await.unwrap();
    assert_eq!((fresh.interactive_days, fresh.total_days, fresh.page.declared), (None, None, false));
    assert_eq!(set(Some(Some(30)), None, None).await.unwrap(), (Some(30), Some(30)));
    assert_eq!(set(None, Some(Some(90)), None).await.unwrap(), (Some(30), Some(90)));
    assert_eq!(set(Some(Some(60)), None, Some(TablePlan::Auxiliary)).await.unwrap(), (Some(60), Some(90)), "the other one stays");
    let shown = tables.get(shop.id, &name).await.unwrap();
    assert_eq!((shown.interactive_days, shown.total_days, shown.row.plan), (Some(60), Some(90), TablePlan::Auxiliary));
    assert_eq!(shown.page.plan_ms, Some(site.world.clock.wall().unix_ms()));
    let short = set(None, Some(Some(59)), None).await.unwrap_err();
    assert_eq!((short.kind(), short.to_string().contains("totalRetentionInDays")), (ErrorKind::Invalid, true));
    assert_eq!(set(None, Some(None), None).await.unwrap(), (Some(60), Some(60)), "-1: as long as they are at hand");
    assert_eq!(set(Some(None), None, None).await.unwrap(), (None, None), "-1: as the workspace says");
    assert_eq!(set(Some(None), Some(Some(50)), None).await.unwrap(), (Some(40), Some(50)));
    assert!(set(None, Some(Some(39)), None).await.is_err(), "the workspace's days count, too");
    for days in [0, 4_384] {
        assert!(matches!(set(Some(Some(days)), None, None).await, Err(ControlError::Setting { .. })), "{days}");
    }
    assert_eq!(site.catalog.table_get(shop.id, &name).await.unwrap().unwrap().retention_days, Some(50));
}

#[tokio::test]
async fn a_deleted_table_is_not_shown_until_it_is_declared_again_or_rows_come() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let table = site.table(&shop, "My_CL").await;
    let tables = Tables::new(site.world.clone(), site.catalog.clone());
    let name: TableName = "My_CL".parse().unwrap();
    tables.set(&shop, table, TableAsk { interactive_days: Some(Some(7)), ..TableAsk::default() }).await.unwrap();
    let hide = async || tables.hide(&tables.get(shop.id, &name).await.unwrap()).await.unwrap();
    hide().await;
    assert_eq!(tables.get(shop.id, &name).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(tables.views(site.catalog.tables(shop.id).await.unwrap()).await.unwrap().is_empty());
    let again = tables.set(&shop, table, TableAsk::default()).await.unwrap();
    assert_eq!((again.interactive_days, again.page.declared), (None, true), "nothing of before is left");
    hide().await;
    site.block(&shop, table, DAY).await;
    assert_eq!(tables.views(site.catalog.tables(shop.id).await.unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_said_of_a_workspace_is_kept_and_ends_the_use_of_shared_keys() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let pages = WorkspacePages::new(site.world.clone(), site.catalog.clone());
    let change = async |body: serde_json::Value| pages.change(shop.id, body.as_object().unwrap()).await;
    assert!(pages.takes_shared_keys(shop.id).await.unwrap());
    let first = change(serde_json::json!({"tags": {"a": "b"}})).await.unwrap();
    assert_eq!(first.modified_ms, site.world.clock.wall().unix_ms());
    site.sim.clock().advance(DAY);
    assert_eq!(change(serde_json::json!({"tags": {"a": "b"}})).await.unwrap().modified_ms, first.modified_ms, "no change is none");
    change(serde_json::json!({"properties": {"features": {"disableLocalAuth": true}}})).await.unwrap();
    assert!(!pages.takes_shared_keys(shop.id).await.unwrap());
    let kept = pages.get(shop.id).await.unwrap();
    assert_eq!((kept.tags["a"].as_str(), kept.modified_ms), (Some("b"), site.world.clock.wall().unix_ms()));
    let long = "x".repeat(40 << 10);
    assert_eq!(change(serde_json::json!({"tags": {"a": long}})).await.unwrap_err().kind(), ErrorKind::Invalid);
}
