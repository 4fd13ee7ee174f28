//! A file of version 1 opens in every later build.

use strongroom_model::TimeRange;

use super::*;

/// Rows and all, as text.
const V1: &str = include_str!("../../testdata/v1.sql");

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut conn = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql(V1).execute(&mut conn).await.unwrap();
    sqlx::Connection::close(conn).await.unwrap();

    let catalog = Catalog::open(&path, World::real()).await.unwrap();
    catalog.verify().await.unwrap();
    assert_eq!(catalog.node().as_bytes(), &[0x11; 16]);
    let workspaces = catalog.workspaces().await.unwrap();
    assert_eq!(workspaces.iter().map(|row| (row.name.as_str(), row.link)).collect::<Vec<_>>(), [("default", None)]);
    let table = catalog.tables(workspaces[0].id).await.unwrap().remove(0);
    let snapshot = catalog.snapshot(table.id, TimeRange::ALL).await.unwrap();
    assert_eq!((snapshot.blocks.len(), snapshot.blocks[0].rows), (2, 10));
    let held = catalog.holdings(workspaces[0].account).await.unwrap();
    assert_eq!(held.iter().map(|row| (row.blocks, row.rows, row.bytes)).collect::<Vec<_>>(), [(2, 20, 2_000)]);
    assert_eq!(catalog.expire(table.id, i64::MAX / 2).await.unwrap().len(), 2);
    assert!(catalog.holdings(workspaces[0].account).await.unwrap().is_empty());
    catalog.close().await;

    // A second start has nothing left to upgrade.
    Catalog::open(&path, World::real()).await.unwrap().verify().await.unwrap();
}
