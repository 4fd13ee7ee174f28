use std::path::Path;

use strongroom_model::{ErrorKind, Position, TimeRange};

use super::*;
use crate::CatalogError;

async fn open(dir: &Path) -> Catalog {
    Catalog::open(&dir.join("catalog.db"), World::real()).await.unwrap()
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    let block = site.flush(hour(MIDNIGHT), 9).await;
    let node = site.catalog.node();
    site.catalog.close().await;
    assert_eq!(site.catalog.workspaces().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(site.catalog.acquire_writer().await.unwrap_err().kind(), ErrorKind::Unavailable);

    let again = open(dir.path()).await;
    assert_eq!(again.node(), node);
    assert_eq!(again.snapshot(site.table, TimeRange::ALL).await.unwrap().blocks[0].object, block);
    assert!(again.acquire_writer().await.unwrap() > site.writer);
    again.verify().await.unwrap();
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_and_what_was_not_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    let block = site.flush(hour(MIDNIGHT), 9).await;
    let lost = site.pend(hour(MIDNIGHT), 12).await;
    // The files as a kill in mid-transaction leaves them: journal not folded in, lock held, nothing closed.
    let mut writer = site.catalog.writer().await.unwrap();
    let mut tx = writer.begin_as(site.writer, "a flush").await.unwrap();
    sqlx::query("UPDATE flushed SET through = 12").execute(&mut *tx).await.unwrap();
    let after = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(file.path(), after.path().join(file.file_name())).unwrap();
        }
    }
    drop(tx);
    drop(writer);

    let revived = open(after.path()).await;
    let snapshot = revived.snapshot(site.table, TimeRange::ALL).await.unwrap();
    assert_eq!(snapshot.blocks.iter().map(|row| row.object).collect::<Vec<_>>(), [block]);
    assert_eq!(snapshot.flushed, [(site.epoch, Position(9))]);
    assert_eq!(revived.pending(i64::MAX, 9).await.unwrap()[0].object, lost.object);
    revived.verify().await.unwrap();
}

#[tokio::test]
async fn a_reader_sees_blocks_and_positions_of_one_commit_whatever_the_writer_does() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    let (catalog, table) = (site.catalog.clone(), site.table);
    let reader = tokio::spawn(async move {
        loop {
            let snapshot = catalog.snapshot(table, TimeRange::ALL).await.unwrap();
            let through = snapshot.flushed.first().map_or(0, |flushed| flushed.1.0);
            // Flush n adds the n-th block, so the two numbers agree in every commit.
            assert_eq!(snapshot.blocks.len() as u64, through);
            assert_eq!(snapshot.seq, through);
            if through == 20 {
                return;
            }
        }
    });
    for through in 1..=20 {
        site.flush(hour(MIDNIGHT), through).await;
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn readers_go_on_while_a_transaction_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    let mut writer = site.catalog.writer().await.unwrap();
    let mut tx = writer.begin("a test").await.unwrap();
    sqlx::query("UPDATE state SET seq = 99").execute(&mut *tx).await.unwrap();
    let (one, two, three) = tokio::join!(
        site.catalog.snapshot(site.table, TimeRange::ALL),
        site.catalog.snapshot(site.table, TimeRange::ALL),
        site.catalog.workspaces()
    );
    assert_eq!((one.unwrap().seq, two.unwrap().seq, three.unwrap().len()), (0, 0, 1));
}

#[tokio::test]
async fn a_caller_who_gives_up_in_mid_commit_leaves_a_catalog_that_works() {
    let site = Site::new().await;
    for through in 1..=30 {
        let block = site.pend(hour(MIDNIGHT), through).await;
        let commit = site.commit(through, vec![block]);
        let mut attempt = Box::pin(site.catalog.flush_commit(site.writer, &commit));
        // Polled a few times, more each round, then dropped wherever it stands.
        for _ in 0..through {
            tokio::select! {
                biased;
                done = &mut attempt => { done.unwrap(); break; }
                () = tokio::task::yield_now() => {}
            }
        }
        drop(attempt);
        site.catalog.flush_commit(site.writer, &commit).await.unwrap();
        assert_eq!(site.live(TimeRange::ALL).await.len() as u64, through);
    }
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone_and_syncs_every_commit() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    for file in ["catalog.db", "catalog.db-wal"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let mut writer = site.catalog.writer().await.unwrap();
    for (pragma, expected) in [("PRAGMA synchronous", 2_i64), ("PRAGMA secure_delete", 1), ("PRAGMA foreign_keys", 1)] {
        let value: i64 = sqlx::query_scalar(pragma).fetch_one(writer.conn()).await.unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(writer.conn()).await.unwrap();
    assert_eq!(journal, "wal");
}

#[tokio::test]
async fn a_file_of_a_newer_build_or_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    site.sql("PRAGMA user_version = 900").await;
    site.catalog.close().await;
    let path = dir.path().join("catalog.db");
    let error = Catalog::open(&path, World::real()).await.unwrap_err();
    assert!(matches!(error, CatalogError::NewerFormat { found: 900, .. }), "{error}");

    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "this is no database, however long it may be; ".repeat(200)).unwrap();
    assert!(Catalog::open(&text, World::real()).await.unwrap_err().kind() == ErrorKind::Corrupt);

    let other = dir.path().join("other.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&other).create_if_missing(true);
    let mut conn = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (x)").execute(&mut conn).await.unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    assert!(matches!(Catalog::open(&other, World::real()).await.unwrap_err(), CatalogError::NotACatalog { .. }));
}

#[tokio::test]
async fn a_broken_rule_stops_the_start_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    site.catalog.aek_insert(&aek(site.epoch.account, 2, true)).await.unwrap();
    site.sql("DROP INDEX aeks_current; UPDATE aeks SET current = 1").await;
    site.catalog.close().await;
    let error = Catalog::open(&dir.path().join("catalog.db"), World::real()).await.unwrap_err();
    assert!(matches!(error, CatalogError::Broken { rule: "an account has at most one current AEK", count: 1 }), "{error}");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Corrupt, "CatalogCorrupt"));
}

#[tokio::test]
async fn a_rollback_that_sqlite_did_itself_does_not_stop_the_writer_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(open(dir.path()).await).await;
    {
        let mut writer = site.catalog.writer().await.unwrap();
        let mut tx = writer.begin("a test").await.unwrap();
        // As an i/o error in mid-transaction does.
        sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await.unwrap();
    }
    let first = site.catalog.acquire_writer().await;
    let second = site.catalog.acquire_writer().await;
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
}
