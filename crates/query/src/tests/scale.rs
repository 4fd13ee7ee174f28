//! What a question costs does not depend on what it does not ask for.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use strongroom_model::{ErrorKind, TimeRange};

use crate::output::{JsonOptions, format_datetime, json};
use crate::rig::{NOW, Rig};
use crate::{Language, QueryConfig, QueryRequest};

const HOUR: i64 = 3_600_000_000_000;

/// One row an hour for the last `hours`, and one a day for `days` before: each becomes a block of its own.
async fn spread(rig: &Rig, hours: i64, days: i64) {
    let mut body = String::new();
    for back in (0..hours).chain((1..=days).map(|day| 48 + 24 * day)) {
        writeln!(body, r#"{{"TimeGenerated":"{}","n":{back},"word":"w{back}"}}"#, format_datetime(NOW - back * HOUR)).unwrap();
    }
    rig.send("App", body).await;
    rig.flush().await;
}

/// Rows of the catalog read, statistics opened, blocks seen and kept, bytes of blocks read.
async fn cost(rig: &Rig, request: QueryRequest) -> [u64; 5] {
    let answer = rig.engine.run(request).await.unwrap();
    let stats = answer.stats.clone();
    json(answer, JsonOptions::default()).await.unwrap();
    [stats.catalog_rows(), stats.cells_opened(), stats.blocks_seen(), stats.blocks_kept(), stats.bytes_read()]
}

fn questions(rig: &Rig) -> Vec<QueryRequest> {
    let kql = |text: &str| rig.request(text, Language::Kql);
    vec![
        kql("App | where TimeGenerated > ago(3h) | count"),
        kql("App | where TimeGenerated between (ago(5h) .. ago(2h)) and n == 4 | project word"),
        kql("let recent = App | where TimeGenerated > ago(2h); recent | join kind=inner (recent | project n) on n | count"),
        kql("App | where TimeGenerated > ago(4h) | top 3 by TimeGenerated"),
        rig.request("select count(*) from App where \"TimeGenerated\" >= timestamp '2026-03-01 10:00:00'", Language::Sql),
        QueryRequest { timespan: Some(TimeRange { start: NOW - 2 * HOUR, end: NOW }), ..kql("App | where word == 'w1' | count") },
    ]
}

#[tokio::test]
async fn a_question_of_some_hours_costs_the_same_in_a_table_of_ten_and_of_many_hundred_blocks() {
    let (small, large) = (Rig::new().await, Rig::new().await);
    spread(&small, 10, 0).await;
    spread(&large, 40, 600).await;
    assert_eq!(large.blocks("App").await.len(), 640);
    for (few, many) in questions(&small).into_iter().zip(questions(&large)) {
        let text = few.text.clone();
        for round in ["cold", "again"] {
            let (few, many) = (cost(&small, few.clone()).await, cost(&large, many.clone()).await);
            // The bytes differ by those of names: `w1` here and `w100` there never lie in one block.
            assert_eq!(few[..4], many[..4], "{text}, {round}");
            assert!(few[2] <= 12 && many[4] <= few[4] + 4_096, "{text}, {round}: {few:?} {many:?}");
        }
    }
    // What the range holds was read once: from then on a number per window is.
    let [rows, cells, ..] = cost(&large, questions(&large).remove(0)).await;
    assert!(rows <= 28 && cells == 0, "{rows} {cells}");
}

#[tokio::test]
async fn a_question_without_a_time_range_over_too_many_blocks_is_refused_with_advice() {
    let config = QueryConfig { blocks_looked_at_max: 100, blocks_held_max: 50, ..QueryConfig::default() };
    let rig = Rig::with(config, false).await;
    spread(&rig, 10, 200).await;
    for text in ["App | count", "App | where n == 7", "search 'w7'", "App | top 5 by TimeGenerated"] {
        let error = rig.told(rig.request(text, Language::Kql)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::TooLarge, "TooManyBlocks"), "{text}: {error}");
        assert!(error.to_string().contains("210 blocks of table App") && error.to_string().contains("ago(1d)"), "{error}");
    }
    assert_eq!(rig.kql("App | where TimeGenerated > ago(5h) | count").await.rows()[0][0], 5);
    // EXPLAIN tells of what is in range alone, where the rest would be too much.
    let explained = QueryRequest { explain: true, ..rig.request("App | where TimeGenerated > ago(5h)", Language::Kql) };
    let items = rig.told(explained).await.unwrap().items();
    assert!((5..=6).contains(&items.iter().filter(|item| item["Item"] == "block").count()));
    // The list of tables counts nothing.
    let tables = rig.engine.tables(rig.workspace, strongroom_model::PrincipalId::NIL).await.unwrap();
    assert_eq!((tables[0].blocks, tables[0].rows_live), (210, 210));
}

/// 40 blocks, an engine that never saw them, and reads that take a while.
async fn cold(readahead_blocks: usize) -> Rig {
    let config = QueryConfig { readahead_blocks, ..QueryConfig::default() };
    let rig = Rig::with(config, false).await;
    spread(&rig, 40, 0).await;
    rig.watched.slow_ms.store(5, Ordering::Relaxed);
    rig.watched.told();
    rig
}

#[tokio::test]
async fn blocks_are_opened_ahead_of_the_scan_and_none_of_them_twice() {
    let text = "App | summarize sum(n)";
    let one_by_one = cold(0).await;
    assert_eq!(one_by_one.kql(text).await.rows()[0][0], 780);
    let (reads, most) = one_by_one.watched.told();
    // Two threads, each with the file it reads and the next.
    assert!(most <= 4, "{most}");
    let ahead = cold(16).await;
    assert_eq!(ahead.kql(text).await.rows()[0][0], 780);
    let (reads_ahead, most) = ahead.watched.told();
    assert!((8..=40).contains(&most), "{most}");
    assert_eq!(reads_ahead, reads, "what was read ahead is not read again");
    // The footers are in memory now: nothing is ahead.
    ahead.kql(text).await;
    assert!(ahead.watched.told().1 <= 4);
}

#[tokio::test]
async fn a_block_that_is_only_read_ahead_may_be_broken() {
    let rig = cold(16).await;
    let mut blocks = rig.blocks("App").await;
    blocks.sort_by_key(|block| block.time.end);
    rig.flip(&blocks[30], 10).await;
    // Newest first: 36 to 39 are wanted, 30 lies within what is ahead of them.
    let told = rig.kql("App | top 4 by TimeGenerated | summarize sum(n)").await;
    assert_eq!(told.rows()[0][0], 6);
    let error = rig.told(rig.request("App | summarize sum(n)", Language::Kql)).await.unwrap_err();
    assert_eq!((error.kind(), error.block()), (ErrorKind::Corrupt, Some(blocks[30].object)));
}
