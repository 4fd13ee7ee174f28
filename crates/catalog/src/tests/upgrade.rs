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
    // Besides the admin: somebody with one workspace, and somebody with a role that nobody knows.
    sqlx::raw_sql(
        "INSERT INTO principals VALUES (X'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', 'agent', zeroblob(32), 'ingest', X'04040404040404040404040404040404', 9, 10);
         INSERT INTO principals VALUES (X'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 'ghost', randomblob(32), 'Emperor', NULL, 9, NULL);",
    )
    .execute(&mut conn)
    .await
    .unwrap();
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
    let rights: Vec<_> = catalog
        .assignments()
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.principal.as_bytes()[0], row.role.to_string(), row.scope))
        .collect();
    let place = "/subscriptions/0192f0c4-0000-7000-8000-000000000001/resourcegroups/default/providers/microsoft.operationalinsights/workspaces/default";
    let right = |who: u8, role: &str, scope: &str| (who, role.to_owned(), scope.to_owned());
    let expected = [right(8, "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "/"), right(10, "5f0c3b1e-6d2a-4b7f-9c5e-1a2d4e6f8091", place)];
    assert_eq!(rights, expected, "everybody has what they had");
    let known: Vec<_> =
        catalog.principals().await.unwrap().into_iter().map(|row| (row.name, row.token_sha256.is_some(), row.expires_ms)).collect();
    let principal = |name: &str, expires_ms| (name.to_owned(), true, expires_ms);
    assert_eq!(known, [principal("admin", None), principal("agent", Some(10)), principal("ghost", None)]);
    catalog.close().await;

    // A second start has nothing left to upgrade.
    Catalog::open(&path, World::real()).await.unwrap().verify().await.unwrap();
}
