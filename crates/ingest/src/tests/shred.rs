//! Rows taken away: what goes, what stays, and that nothing of it comes back.

use super::*;
use crate::encode::without;

const HOUR_S: i64 = 3_600;
const NS: i64 = 1_000_000_000;

/// `n` rows a minute apart from `from_s` on, numbered from `first`.
fn minutes(first: i64, n: i64, from_s: i64) -> String {
    (0..n).fold(String::new(), |mut body, i| {
        writeln!(body, "{{\"TimeGenerated\":{},\"n\":{}}}", from_s + 60 * i, first + i).unwrap();
        body
    })
}

fn number(row: &str) -> i64 {
    serde_json::from_str::<serde_json::Value>(row).unwrap()["n"].as_i64().unwrap()
}

fn numbers(rows: &[String]) -> Vec<i64> {
    let mut numbers: Vec<i64> = rows.iter().map(|row| number(row)).collect();
    numbers.sort_unstable();
    numbers
}

fn segments(site: &Site) -> usize {
    site.sim.fs().files().iter().filter(|(path, _)| path.to_string_lossy().ends_with(".wal")).count()
}

async fn table(up: &Up, name: &str) -> strongroom_model::TableId {
    up.deps.catalog.table_get(up.workspace, &name.parse().unwrap()).await.unwrap().unwrap().id
}

#[tokio::test]
async fn a_range_goes_from_blocks_memory_and_log_and_everything_else_stays() {
    let site = Site::new(31).await;
    let up = site.up().await;
    let now_s = site.sim.world().clock.wall().unix_secs();
    let hour = now_s - now_s.rem_euclid(HOUR_S);
    // Three hours in blocks, 60 rows each. More of the second hour in memory, and another table's rows.
    let start = hour - 4 * HOUR_S;
    up.send("T", minutes(0, 180, start)).await.unwrap();
    assert_eq!(up.flush().await.blocks, 3);
    up.send("T", minutes(1_000, 10, start + HOUR_S)).await.unwrap();
    up.send("U", minutes(5_000, 5, start + HOUR_S)).await.unwrap();
    let before: Vec<_> = up.deps.blocks.list().await.unwrap();

    // From the middle of the first hour up to the middle of the third, both ends included.
    let range = TimeRange { start: (start + 1_800) * NS, end: (start + 2 * HOUR_S + 1_800) * NS };
    let report = up.intake.shred(up.workspace, table(&up, "T").await, range).await.unwrap();
    // Minutes 30 to 59, 60 to 119, ten from memory, 120 to 150.
    assert_eq!((report.rows, report.deleted, report.rewritten), (30 + 60 + 10 + 31, 2, 2));
    assert_eq!((report.objects_left, report.segments_left), (0, 0));
    assert!(report.bytes > 0);
    let stays: Vec<i64> = (0..30).chain(151..180).collect();
    assert_eq!(numbers(&up.rows("T").await), stays);
    assert_eq!(numbers(&up.rows("U").await), [5_000, 5_001, 5_002, 5_003, 5_004]);

    // What was rewritten is another object, and the old ones are off the disk.
    let there: Vec<_> = up.deps.blocks.list().await.unwrap().into_iter().map(|(key, _)| key.object).collect();
    assert!(before.iter().all(|(key, _)| !there.contains(&key.object)));
    assert!(up.deps.catalog.tombstones(i64::MAX, 100).await.unwrap().is_empty());
    assert_eq!(segments(&site), 0, "the log went with the rows in it");
    up.deps.catalog.verify().await.unwrap();

    // Nothing is left to do, and nothing comes back.
    let again = up.intake.shred(up.workspace, table(&up, "T").await, range).await.unwrap();
    assert_eq!(again, ShredReport::default());
    drop(up);
    site.sim.fs().power_cut();
    let up = site.up().await;
    assert_eq!(numbers(&up.rows("T").await), stays);
    up.send("T", minutes(2_000, 1, start + HOUR_S)).await.unwrap();
    assert_eq!(up.rows("T").await.len(), stays.len() + 1, "the table takes rows as before");
}

#[tokio::test]
async fn a_whole_table_goes_and_the_table_stays() {
    let site = Site::new(32).await;
    let up = site.up().await;
    up.send("T", "{\"n\":1}").await.unwrap();
    up.flush().await;
    up.send("T", "{\"n\":2}").await.unwrap();
    let report = up.intake.shred(up.workspace, table(&up, "T").await, TimeRange::ALL).await.unwrap();
    assert_eq!((report.rows, report.rewritten), (2, 0));
    assert!(up.rows("T").await.is_empty());
    assert!(up.deps.blocks.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_shredding_that_fails_changes_nothing_and_the_next_one_does_it() {
    let site = Site::new(33).await;
    let up = site.up().await;
    let now_s = site.sim.world().clock.wall().unix_secs();
    let hour = now_s - now_s.rem_euclid(HOUR_S) - HOUR_S;
    up.send("T", minutes(0, 60, hour)).await.unwrap();
    up.flush().await;
    let id = table(&up, "T").await;
    let range = TimeRange { start: (hour + 600) * NS, end: i64::MAX };
    let before = up.rows("T").await;
    site.sim.fs().fail_next(SimOp::Rename, IoError::Other);
    assert!(up.intake.shred(up.workspace, id, range).await.is_err());
    site.sim.fs().heal();
    assert_eq!(up.rows("T").await, before);
    let report = up.intake.shred(up.workspace, id, range).await.unwrap();
    assert_eq!((report.rows, report.rewritten, report.objects_left), (50, 1, 0));
    assert_eq!(numbers(&up.rows("T").await), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_deleted_workspaces_rows_leave_memory_and_log_without_becoming_blocks() {
    let site = Site::new(34).await;
    let up = site.up().await;
    up.send("T", "{\"n\":1}").await.unwrap();
    up.flush().await;
    up.send("T", "{\"n\":2}").await.unwrap();
    let blocks = up.blocks("T").await.len();
    let now_ms = site.sim.world().clock.wall().unix_ms();
    up.deps.catalog.workspace_delete(up.workspace, now_ms, now_ms).await.unwrap();
    assert!(segments(&site) > 0);
    assert!(up.intake.discard(up.workspace).await.unwrap(), "the log is clear");
    assert_eq!(segments(&site), 0);
    assert_eq!(up.send("T", "{\"n\":3}").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(up.deps.catalog.workspace_shred(up.workspace).await.unwrap(), (1, blocks as u64));
    up.deps.keys.forget_workspace(up.workspace);
    let epoch = up.deps.keys.epochs().await.unwrap()[0];
    let refused = up.deps.keys.guard(epoch, up.workspace, PrincipalId::NIL, Purpose::Maintain).await.unwrap_err();
    assert_eq!(refused.code(), "WorkspaceKeyNotFound");
    up.deps.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn rows_in_a_log_whose_key_is_away_are_not_passed_over() {
    let site = Site::new(36).await;
    let up = site.up().await;
    up.send("T", "{\"n\":1}").await.unwrap();
    up.flush().await;
    up.send("T", "{\"n\":2}").await.unwrap();
    let (id, blocks) = (table(&up, "T").await, up.blocks("T").await.len());
    let epoch = up.deps.keys.epochs().await.unwrap()[0];
    let buffer = up.deps.buffer.clone();
    tokio::task::spawn_blocking(move || buffer.forget(epoch)).await.unwrap();
    // They would come back with the key.
    let refused = up.intake.shred(up.workspace, id, TimeRange::ALL).await.unwrap_err();
    assert_eq!((refused.kind(), up.blocks("T").await.len()), (ErrorKind::Unavailable, blocks), "and nothing was changed");
    assert_eq!(up.intake.unflushed(epoch.account), (vec![id], false));
    let now_ms = site.sim.world().clock.wall().unix_ms();
    up.deps.catalog.workspace_delete(up.workspace, now_ms, now_ms).await.unwrap();
    assert!(!up.intake.discard(up.workspace).await.unwrap(), "a workspace is not shredded over them either");
}

#[tokio::test]
async fn an_epochs_log_is_not_taken_away_while_rows_of_it_are_in_no_block() {
    let site = Site::new(37).await;
    let up = site.up().await;
    up.send("T", "{\"n\":1}").await.unwrap();
    let epoch = up.deps.keys.epochs().await.unwrap()[0];
    assert_eq!(up.intake.unflushed(epoch.account), (vec![table(&up, "T").await], false));
    assert!(!up.intake.discard_epochs(&[epoch]).await.unwrap());
    assert!(segments(&site) > 0 && up.rows("T").await.len() == 1);
    up.flush().await;
    assert_eq!(up.intake.unflushed(epoch.account), (Vec::new(), false));
    assert!(up.intake.discard_epochs(&[epoch]).await.unwrap());
    assert_eq!((segments(&site), up.rows("T").await.len()), (0, 1));
}

#[test]
fn rows_outside_the_range_keep_their_order_and_their_values() {
    let body: String = (0..10_000_i64).fold(String::new(), |mut body, n| {
        let text = "x".repeat(usize::try_from(n % 50).unwrap());
        writeln!(body, "{{\"TimeGenerated\":{},\"n\":{n},\"text\":\"{text}\"}}", 1_700_000_000 + n).unwrap();
        body
    });
    let (schema, limits) = (TableSchema::new(), RequestLimits::default());
    let arrival = 1_700_000_000 * NS;
    let options = DecodeOptions { format: Format::Json, time_field: None, arrival, on_error: OnError::Refuse, limits: &limits };
    let decoded = decode(&Bytes::from(body), &schema, &options).unwrap();
    let range = TimeRange { start: 1_700_000_100 * NS, end: 1_700_003_000 * NS };
    for one in arrange(&[(0, decoded.batch)]).unwrap() {
        let file = Bytes::from(one.encode(Profile::Flush).unwrap().parquet);
        let rows = |file: Bytes| -> Vec<String> {
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().flat_map(|batch| lines(&batch.unwrap())).collect()
        };
        let all = rows(file.clone());
        let expected: Vec<String> = all.iter().filter(|row| !(100..=3_000).contains(&number(row))).cloned().collect();
        let (left, gone) = without(file.clone(), range).unwrap();
        assert_eq!(gone, (all.len() - expected.len()) as u64);
        assert_eq!(left.map_or_else(Vec::new, |left| rows(left.parquet.into())), expected);
        assert!(without(file, TimeRange::ALL).unwrap().0.is_none());
    }
}
