//! What SQLite would do: the queries that run for every request walk an index, whatever the number of blocks.

use sqlx::Row as _;

use super::*;
use crate::{
    ContentKind, ageing, clusters, contents, groups, lockbox, mergeable, operations, pinned, resources, rewriting, snapshot, vaults,
};

async fn plan(site: &Site, sql: &str) -> Vec<String> {
    let mut reader = site.catalog.reader().await.unwrap();
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut *reader).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(3)).collect()
}

async fn walks_an_index(sql: &str) {
    let site = Site::new().await;
    for step in plan(&site, sql).await {
        assert!(step.starts_with("SEARCH"), "{step}: {sql}");
    }
}

#[tokio::test]
async fn a_snapshot_is_a_range_of_keys_in_the_order_wanted() {
    let site = Site::new().await;
    let plan = plan(&site, snapshot::SNAPSHOT).await;
    assert_eq!(
        plan,
        [
            "SEARCH blocks USING PRIMARY KEY (table_id=? AND window_start>? AND window_start<?)",
            "SEARCH block_stats USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"
        ]
    );
}

#[tokio::test]
async fn what_runs_often_scans_no_table_and_sorts_nothing() {
    for sql in [
        rewriting::UNDER,
        snapshot::ARRIVED,
        snapshot::BLOCKS_IN,
        snapshot::ONE_BLOCK,
        snapshot::FLUSHED,
        ageing::EXPIRED,
        ageing::PENDINGS,
        ageing::TOMBSTONES,
        groups::AT,
        groups::END,
        groups::PENDINGS,
        groups::TOMBSTONES,
        mergeable::MOST,
        mergeable::NEXT,
        pinned::FORGOTTEN,
        pinned::WINDOWS,
        pinned::OF_WINDOWS,
        pinned::CELLS,
        clusters::BY_NAME,
        contents::OF_KIND,
        contents::ONE,
        contents::COUNTS,
        contents::COUNT,
        clusters::HELD_BY_ACCOUNT,
        clusters::HELD_BY_WORKSPACE,
        lockbox::OVER,
        resources::LINKED,
        operations::RUNNING_ON,
        operations::FORGET,
        vaults::BY_URI,
    ] {
        walks_an_index(sql).await;
    }
    for sql in [
        "SELECT id FROM principals WHERE token_sha256 = x''",
        "SELECT id FROM workspaces WHERE name = 'a' AND deleted_ms IS NULL AND shredded_ms IS NULL",
        "SELECT id FROM tables WHERE workspace = x'' AND name = 'a'",
        "SELECT aek, max(version), id, cell FROM schemas WHERE table_id = x'' GROUP BY aek",
        "SELECT reply FROM batches WHERE at_ms >= 1 ORDER BY at_ms",
        "DELETE FROM batches WHERE at_ms < 1",
        "SELECT id FROM operations WHERE id = x''",
        "SELECT count(*) FROM workspaces WHERE cluster = x''",
    ] {
        walks_an_index(sql).await;
    }
}

#[tokio::test]
async fn a_day_of_a_large_table_is_found_among_many_blocks() {
    let site = Site::new().await;
    many_blocks(&site, 5_000).await;
    let from = MIDNIGHT + 2_000 * 3_600;
    let found = site.catalog.snapshot(site.table, seconds(from, from + 86_399)).await.unwrap();
    assert_eq!(found.blocks.len(), 24);
    assert!(found.blocks.iter().all(|row| row.window.start >= from && row.window.start < from + 86_400));
}

/// By hand (`--ignored --nocapture`): what a million blocks cost.
#[tokio::test]
#[ignore = "a measurement of a minute"]
async fn a_million_blocks_stay_quick() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(Catalog::open(&dir.path().join("catalog.db"), World::real()).await.unwrap()).await;
    many_blocks(&site, 1_000_000).await;
    let at = |what: &str, start: std::time::Instant| println!("{what}: {:?}", start.elapsed());
    for days in [1, 1, 30, 365] {
        let start = std::time::Instant::now();
        let from = MIDNIGHT + 500_000 * 3_600;
        let found = site.catalog.snapshot(site.table, seconds(from, from + days * 86_400 - 1)).await.unwrap();
        at(&format!("snapshot of {days} d, {} blocks", found.blocks.len()), start);
    }
    let start = std::time::Instant::now();
    site.flush(hour(MIDNIGHT), 5).await;
    at("announce and flush one block", start);
    let start = std::time::Instant::now();
    assert!(site.catalog.compaction_candidates(2, 100).await.unwrap().len() <= 100);
    at("candidates", start);
    let start = std::time::Instant::now();
    assert_eq!(site.catalog.expire(site.table, MIDNIGHT + 10_000 * 3_600).await.unwrap().len(), 10_001);
    at("expire 10,000", start);
    site.catalog.close().await;
    let start = std::time::Instant::now();
    Catalog::open(&dir.path().join("catalog.db"), World::real()).await.unwrap();
    at("open", start);
}

/// One live block an hour, made live as a flush makes them: so that what is kept by triggers is there.
pub(super) async fn many_blocks(site: &Site, count: i64) {
    let mut writer = site.catalog.writer().await.unwrap();
    let mut tx = writer.begin("many blocks").await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?5)
         INSERT INTO blocks (table_id, window_start, id, window_len, workspace, account, aek, state, since_ms, writer, through)
         SELECT ?1, ?6 + i * 3600, randomblob(16), 3600, ?2, ?3, ?4, 0, 0, 1, i FROM n",
    )
    .bind(&site.table.as_bytes()[..])
    .bind(&site.workspace.as_bytes()[..])
    .bind(&site.epoch.account.as_bytes()[..])
    .bind(&site.epoch.aek.as_bytes()[..])
    .bind(count)
    .bind(MIDNIGHT)
    .execute(&mut *tx)
    .await
    .unwrap();
    for sql in [
        "INSERT INTO block_stats (n, cell) SELECT through + 1, zeroblob(160) FROM blocks WHERE state = 0",
        "UPDATE blocks SET state = 1, time_min = window_start * 1000000000, time_max = (window_start + 3599) * 1000000000, rows = 5,
                           sealed_len = 1000, plain_len = 900, sha256 = randomblob(32), added_seq = 0, stats = through + 1 WHERE state = 0",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// A row that cannot be read is in nobody's way who asked for another: it was not looked at.
#[tokio::test]
async fn what_is_asked_of_saved_content_reads_no_other_row() {
    let site = Site::new().await;
    let row = |kind| crate::ContentRow {
        id: object(),
        workspace: site.workspace,
        kind,
        rev: object(),
        format: 1,
        aek: site.epoch.aek,
        storage: None,
        cell: Some(vec![1]),
        sealed_len: 1,
        changed_ms: 1,
    };
    let (first, second, bad) = (row(ContentKind::Functions), row(ContentKind::Functions), row(ContentKind::History));
    for row in [&second, &first, &bad] {
        site.catalog.content_put(row, None).await.unwrap();
    }
    {
        let mut writer = site.catalog.writer().await.unwrap();
        let changed = sqlx::query("UPDATE contents SET kind = 'of a newer build' WHERE id = ?");
        changed.bind(&bad.id.as_bytes()[..]).execute(writer.conn()).await.unwrap();
    }
    let catalog = &site.catalog;
    assert!(catalog.contents(site.workspace).await.is_err(), "all of them cannot be read");
    assert_eq!(catalog.contents_of(site.workspace, ContentKind::Functions).await.unwrap(), [first.clone(), second], "oldest first");
    assert_eq!(catalog.contents_count(site.workspace, ContentKind::Functions).await.unwrap(), 2);
    assert_eq!(catalog.contents_count(site.workspace, ContentKind::History).await.unwrap(), 0);
    assert_eq!(catalog.content(site.workspace, ContentKind::Functions, first.id).await.unwrap().as_ref(), Some(&first));
    assert_eq!(catalog.content(site.workspace, ContentKind::Query, first.id).await.unwrap(), None, "of another kind");
    assert!(catalog.content_counts(first.rev).await.unwrap());
    assert!(!catalog.content_counts(first.id).await.unwrap());
}
