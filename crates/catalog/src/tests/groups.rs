use strongroom_model::ErrorKind;

use super::*;
use crate::{BlockState, CompactionCommit, GroupCommit, LonelyDay, RewriteCommit, ShredCommit};

const DAY: i64 = 86_400;

impl Site {
    /// One block in each of so many hours of a day.
    async fn hours(&self, midnight: i64, count: i64) -> Vec<ObjectId> {
        let mut blocks = Vec::new();
        for at in 0..count {
            blocks.push(self.flush(hour(midnight + at * 3_600), fresh().0).await);
        }
        blocks
    }

    fn lonely(&self, midnight: i64, blocks: u64) -> LonelyDay {
        LonelyDay { table: self.table, workspace: self.workspace, epoch: self.epoch, day: midnight, blocks }
    }

    async fn found(&self) -> Vec<LonelyDay> {
        self.catalog.lonely_days(1, i64::MAX, 0, 100).await.unwrap()
    }

    /// A group of these blocks, announced.
    async fn announced(&self, midnight: i64, blocks: &[ObjectId]) -> GroupCommit {
        let group = GroupCommit { object: object(), sealed_len: 500, plain_len: 400, arrived_ms: 7, blocks: blocks.to_vec() };
        self.catalog.group_pend(self.writer, group.object, &self.lonely(midnight, 0)).await.unwrap();
        group
    }

    async fn group(&self, midnight: i64, blocks: &[ObjectId]) -> ObjectId {
        let group = self.announced(midnight, blocks).await;
        self.catalog.group_commit(self.writer, &group).await.unwrap();
        group.object
    }

    /// The groups there are: which, whether live, and whether as good as gone.
    async fn groups(&self) -> Vec<(ObjectId, bool, bool)> {
        self.catalog.verify().await.unwrap();
        let groups = self.catalog.groups().await.unwrap();
        groups.into_iter().map(|row| (row.object, row.state == BlockState::Live, row.since_ms == 0)).collect()
    }
}

#[tokio::test]
async fn days_of_merged_blocks_that_no_group_names_are_found_without_a_scan() {
    let site = Site::new().await;
    let (first, second) = (site.hours(MIDNIGHT, 8).await, site.hours(MIDNIGHT + DAY, 9).await);
    site.hours(MIDNIGHT - DAY, 7).await;
    assert_eq!(site.found().await, [site.lonely(MIDNIGHT, 8), site.lonely(MIDNIGHT + DAY, 9)]);
    // A day that is not over, a table too small.
    assert_eq!(site.catalog.lonely_days(1, MIDNIGHT + 1, 0, 9).await.unwrap().len(), 1);
    assert!(site.catalog.lonely_days(25, i64::MAX, 0, 9).await.unwrap().is_empty());
    assert_eq!(site.catalog.lonely_days(24, i64::MAX, 0, 1).await.unwrap().len(), 1);
    // Kept for 30 days: the first rows of the first may go from now on.
    let found = site.catalog.lonely_days(1, i64::MAX, MIDNIGHT + 30 * DAY, 9).await.unwrap();
    assert_eq!(found, [site.lonely(MIDNIGHT + DAY, 9)]);
    // Two blocks of one window wait for their merge.
    let again = site.flush(hour(MIDNIGHT), fresh().0).await;
    assert_eq!(site.found().await, [site.lonely(MIDNIGHT + DAY, 9)]);
    let output = LiveBlock { rows: 20, ..site.pend(hour(MIDNIGHT), 0).await };
    let merge = CompactionCommit {
        table: site.table,
        workspace: site.workspace,
        epoch: site.epoch,
        inputs: vec![first[0], again],
        outputs: vec![output.clone()],
    };
    site.catalog.compaction_commit(site.writer, &merge).await.unwrap();
    assert_eq!(site.found().await.len(), 2);
    let alone = site.catalog.blocks_alone(site.table, site.epoch, MIDNIGHT, 99).await.unwrap();
    assert_eq!(alone.iter().map(|row| row.object).collect::<Vec<_>>(), [&[output.object], &first[1..]].concat());
    let group = site.group(MIDNIGHT + DAY, &second).await;
    assert_eq!(site.found().await, [site.lonely(MIDNIGHT, 8)]);
    let rows = site.catalog.groups_at(site.table, MIDNIGHT, MIDNIGHT + DAY).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.object, row.day, row.sealed_len, row.plain_len)).collect::<Vec<_>>(),
        [(group, MIDNIGHT + DAY, 500, 400)]
    );
    assert!(site.catalog.groups_at(site.table, MIDNIGHT, MIDNIGHT).await.unwrap().is_empty());
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_group_names_live_blocks_of_its_day_that_no_other_names() {
    let site = Site::new().await;
    let blocks = site.hours(MIDNIGHT, 9).await;
    let other = site.hours(MIDNIGHT + DAY, 1).await;
    let group = site.announced(MIDNIGHT, &blocks[..8]).await;
    site.catalog.group_commit(site.writer, &group).await.unwrap();
    site.catalog.group_commit(site.writer, &group).await.expect("a commit whose answer was lost is asked for again");
    for wrong in [&blocks[7..], &other, &[object()]] {
        let group = site.announced(MIDNIGHT, wrong).await;
        assert_eq!(site.catalog.group_commit(site.writer, &group).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    let unknown = GroupCommit { object: object(), ..group.clone() };
    assert_eq!(site.catalog.group_commit(site.writer, &unknown).await.unwrap_err().kind(), ErrorKind::Conflict);
    let none = GroupCommit { blocks: Vec::new(), ..site.announced(MIDNIGHT, &[]).await };
    assert_eq!(site.catalog.group_commit(site.writer, &none).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(site.groups().await.iter().filter(|(_, live, _)| *live).count(), 1);
    // Whoever announced and died is swept.
    assert_eq!(site.catalog.groups_abandon(i64::MAX, 3).await.unwrap(), 3);
    assert_eq!(site.catalog.groups_abandon(i64::MAX, 3).await.unwrap(), 1);
    let dead = site.catalog.group_tombstones(i64::MAX, 9).await.unwrap();
    assert_eq!(dead.len(), 4);
    let dead: Vec<ObjectId> = dead.into_iter().map(|row| row.object).chain([group.object]).collect();
    site.catalog.group_forget(&dead).await.unwrap();
    assert_eq!(site.groups().await, [(group.object, true, false)], "what is live is not forgotten");
}

#[tokio::test]
async fn a_group_goes_with_its_last_block_and_at_once_with_rows_of_its_day() {
    let site = Site::new().await;
    let blocks = site.hours(MIDNIGHT, 9).await;
    let group = site.group(MIDNIGHT, &blocks).await;
    let elsewhere = site.group(MIDNIGHT + DAY, &site.hours(MIDNIGHT + DAY, 2).await).await;
    let moved = async |input: ObjectId, at: i64| {
        let next = site.pend(hour(MIDNIGHT + at * 3_600), 0).await;
        let next = LiveBlock { rows: 10, ..next };
        let merge = CompactionCommit {
            table: site.table,
            workspace: site.workspace,
            epoch: site.epoch,
            inputs: vec![input],
            outputs: vec![next.clone()],
        };
        site.catalog.compaction_commit(site.writer, &merge).await.unwrap();
        next.object
    };
    // Merged: the others are still told of. The merge's block is not named, but what it was made of is in the group.
    let merged = moved(blocks[0], 0).await;
    assert_eq!(site.groups().await.iter().filter(|(_, live, _)| *live).count(), 2);
    let waiting = site.announced(MIDNIGHT, &[merged]).await;
    let shred = ShredCommit { gone: vec![merged], replaced: Vec::new() };
    site.catalog.shred_commit(site.writer, site.table, &shred).await.unwrap();
    let mut found = site.groups().await;
    found.sort_by_key(|(_, live, _)| *live);
    assert_eq!(found.last(), Some(&(elsewhere, true, false)));
    assert!(found[..2].iter().all(|(object, live, gone)| [group, waiting.object].contains(object) && !live && *gone), "{found:?}");
    assert_eq!(site.catalog.group_commit(site.writer, &waiting).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(site.found().await, [site.lonely(MIDNIGHT, 8)], "its blocks are alone again");
    site.catalog.group_forget(&[group, waiting.object, elsewhere]).await.unwrap();

    // Expired: one block of the day is enough.
    let group = site.group(MIDNIGHT, &blocks[1..]).await;
    site.catalog.expire(site.table, MIDNIGHT + 2 * 3_600).await.unwrap();
    assert!(site.groups().await.contains(&(group, false, false)));
    site.catalog.group_forget(&[group]).await.unwrap();

    // Merged away, all of them: with the last.
    let group = site.group(MIDNIGHT, &blocks[2..]).await;
    let mut now = Vec::new();
    for (at, block) in (2..).zip(&blocks[2..]) {
        assert!(site.groups().await.contains(&(group, true, false)));
        now.push(moved(*block, at).await);
    }
    assert!(site.groups().await.contains(&(group, false, false)));
    assert_eq!(site.catalog.leftovers(site.epoch.aek).await.unwrap().live, 7 + 2);
    // A workspace takes them along, those that wait for a reader, too.
    site.group(MIDNIGHT, &now).await;
    site.catalog.workspace_delete(site.workspace, 1, 2).await.unwrap();
    site.catalog.workspace_shred(site.workspace).await.unwrap();
    let found = site.groups().await;
    assert!(found.len() == 3 && found.iter().all(|(_, live, gone)| !live && *gone), "{found:?}");
}

#[tokio::test]
async fn an_epoch_ends_after_its_groups() {
    let site = Site::new().await;
    let next = aek(site.epoch.account, 2, true);
    site.catalog.aek_insert(&next).await.unwrap();
    let to = Epoch { account: site.epoch.account, aek: next.aek };
    let blocks = site.hours(MIDNIGHT, 2).await;
    let group = site.group(MIDNIGHT, &blocks).await;
    for (at, input) in (0..).zip(&blocks) {
        let row = PendingBlock { epoch: to, ..site.pending(hour(MIDNIGHT + at * 3_600), 0) };
        site.catalog.blocks_pend(site.writer, std::slice::from_ref(&row)).await.unwrap();
        let output = live(row.object, row.window, 10);
        let rewrite = RewriteCommit { table: site.table, workspace: site.workspace, to, input: *input, output };
        assert!(site.groups().await.contains(&(group, true, false)));
        site.catalog.rewrite_commit(site.writer, &rewrite).await.unwrap();
    }
    assert!(site.groups().await.contains(&(group, false, false)));
    site.catalog.block_forget(&blocks).await.unwrap();
    let left = site.catalog.leftovers(site.epoch.aek).await.unwrap();
    assert_eq!((left.live, left.others), (0, 1));
    assert_eq!(site.catalog.aek_end(site.epoch).await.unwrap_err().kind(), ErrorKind::Conflict, "its object waits for a reader");
    site.catalog.group_forget(&[group]).await.unwrap();
    assert!(site.catalog.aek_end(site.epoch).await.unwrap());
    site.catalog.verify().await.unwrap();
}
