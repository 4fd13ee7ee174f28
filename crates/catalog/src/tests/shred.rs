use std::path::Path;

use strongroom_model::ErrorKind;

use super::*;
use crate::{SecretRow, ShredCommit};

/// Whether any file of the catalog holds these bytes.
fn on_disk(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|file| {
        let text = std::fs::read(file.unwrap().path()).unwrap();
        text.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn a_shredded_workspaces_secret_is_in_no_file_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::on(Catalog::open(&dir.path().join("catalog.db"), World::real()).await.unwrap()).await;
    let cell = b"the sealed secret of a workspace, found nowhere else".to_vec();
    let row = SecretRow { row: object(), cell: cell.clone() };
    site.catalog.workspace_secret_insert(site.workspace, site.epoch.aek, &row).await.unwrap();
    site.flush(hour(MIDNIGHT), 9).await;
    assert!(on_disk(dir.path(), &cell));
    assert_eq!(site.catalog.workspace_shred(site.workspace).await.unwrap_err().kind(), ErrorKind::NotFound, "it is not deleted");

    site.catalog.workspace_delete(site.workspace, 1, 2).await.unwrap();
    assert_eq!(site.catalog.workspace_delete(site.workspace, 1, 2).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(site.catalog.workspace(site.workspace).await.unwrap().is_none());
    assert!(site.catalog.workspaces().await.unwrap().is_empty());
    assert_eq!(site.catalog.workspaces_kept().await.unwrap().len(), 1);
    assert_eq!(site.catalog.workspace_shred(site.workspace).await.unwrap(), (1, 1));
    assert!(site.catalog.scrub().await.unwrap());
    assert!(!on_disk(dir.path(), &cell), "neither in the file nor in its journal");
    assert_eq!(site.catalog.workspace_shred(site.workspace).await.unwrap(), (0, 0), "twice is no harm");
    site.catalog.workspace_shredded(site.workspace, 3).await.unwrap();
    assert!(site.catalog.workspaces_kept().await.unwrap().is_empty());
    assert!(!site.catalog.workspace_recover(site.workspace, 0).await.unwrap());
    site.catalog.verify().await.unwrap();
    site.catalog.close().await;
    assert!(!on_disk(dir.path(), &cell));
}

#[tokio::test]
async fn rows_are_taken_away_whole_or_not_at_all() {
    let site = Site::new().await;
    let (one, two) = (site.flush(hour(MIDNIGHT), 9).await, site.flush(hour(MIDNIGHT), 12).await);
    let left = |from: &LiveBlock, rows: u64| LiveBlock { rows, ..from.clone() };
    let pend = site.pend(hour(MIDNIGHT), 0).await;
    let too_many = ShredCommit { gone: vec![one], replaced: vec![(two, left(&pend, 1_000_000))] };
    assert_eq!(site.catalog.shred_commit(site.writer, site.table, &too_many).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap().blocks.len(), 2, "nothing was changed");
    let shred = ShredCommit { gone: vec![one], replaced: vec![(two, left(&pend, 1))] };
    let buried = site.catalog.shred_commit(site.writer, site.table, &shred).await.unwrap();
    assert_eq!(buried.iter().map(|row| row.object).collect::<Vec<_>>(), [one, two]);
    let live = site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap().blocks;
    assert_eq!(live.iter().map(|row| (row.object, row.rows)).collect::<Vec<_>>(), [(pend.object, 1)]);
    // A commit whose answer was lost is asked for again.
    assert_eq!(site.catalog.shred_commit(site.writer, site.table, &shred).await.unwrap().len(), 2);
    assert_eq!(site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap().blocks.len(), 1);
    let stale = ShredCommit { gone: Vec::new(), replaced: vec![(one, left(&site.pend(hour(MIDNIGHT), 0).await, 1))] };
    assert_eq!(site.catalog.shred_commit(site.writer, site.table, &stale).await.unwrap_err().kind(), ErrorKind::Conflict);
    site.catalog.verify().await.unwrap();
}
