//! Commits whose outcome gets lost. In a process of its own, for failpoints are global; without the feature (as the
//! `tests` package turns it on) there is nothing to tell: `cargo test -p strongroom-catalog --features fail/failpoints`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use strongroom_catalog::{
    AccountRow, Catalog, CatalogError, CompactionCommit, FlushCommit, LiveBlock, PendingBlock, WorkspaceRow, WriterEpoch,
};
use strongroom_model::{AccountId, AekId, Epoch, ErrorKind, ObjectId, Position, TableId, TimeRange, Window, WorkspaceId};
use strongroom_world::World;

struct Site {
    catalog: Catalog,
    writer: WriterEpoch,
    workspace: WorkspaceId,
    table: TableId,
    epoch: Epoch,
    world: World,
}

impl Site {
    async fn new() -> Self {
        let world = World::real();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let (ms, random) = world.id_seed();
        let account = AccountId::mint(ms, random);
        catalog.account_insert(&AccountRow { id: account, region: "here".to_owned(), cluster: None }).await.unwrap();
        let workspace = WorkspaceId::mint(ms, random);
        let row = WorkspaceRow {
            id: workspace,
            name: "shop".parse().unwrap(),
            account,
            subscription: String::new(),
            resource_group: "default".to_owned(),
            region: String::new(),
            created_ms: 0,
            retention_days: 30,
            link: None,
        };
        catalog.workspace_insert(&row).await.unwrap();
        let table = catalog.table_ensure(workspace, &"Logs".parse().unwrap()).await.unwrap().id;
        let writer = catalog.acquire_writer().await.unwrap();
        Self { catalog, writer, workspace, table, epoch: Epoch { account, aek: AekId::mint(ms, random) }, world }
    }

    async fn pend(&self) -> LiveBlock {
        let (ms, random) = self.world.id_seed();
        let object = ObjectId::mint(ms, random);
        let window = Window::of(0, 0);
        let (workspace, table, epoch) = (self.workspace, self.table, self.epoch);
        let row = PendingBlock { object, workspace, table, epoch, window, through: Position(1) };
        self.catalog.blocks_pend(self.writer, &[row]).await.unwrap();
        LiveBlock {
            object,
            window,
            time: TimeRange { start: 0, end: 9 },
            rows: 5,
            sealed_len: 10,
            plain_len: 5,
            sha256: [3; 32],
            level: 0,
            arrived_ms: 0,
            stats: vec![1],
        }
    }

    fn flush(&self, through: u64, block: &LiveBlock) -> FlushCommit {
        let (workspace, table, epoch) = (self.workspace, self.table, self.epoch);
        FlushCommit { table, workspace, epoch, through: Position(through), blocks: vec![block.clone()], batches: Vec::new() }
    }

    fn merge(&self, input: &LiveBlock, output: &LiveBlock) -> CompactionCommit {
        let (workspace, table, epoch) = (self.workspace, self.table, self.epoch);
        CompactionCommit { table, workspace, epoch, inputs: vec![input.object], outputs: vec![output.clone()] }
    }

    async fn live(&self) -> Vec<ObjectId> {
        self.catalog.snapshot(self.table, TimeRange::ALL).await.unwrap().blocks.into_iter().map(|block| block.object).collect()
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_out_and_never_done_twice() {
    if !fail::has_failpoints() {
        return;
    }
    let scenario = fail::FailScenario::setup();
    let site = Site::new().await;

    // Done, answer lost: the second look finds it done.
    let first = site.pend().await;
    fail::cfg("catalog.commit_unknown", "1*return->off").unwrap();
    site.catalog.flush_commit(site.writer, &site.flush(1, &first)).await.unwrap();
    assert_eq!(site.live().await, [first.object]);

    // Never arrived: the second look does it.
    let second = site.pend().await;
    fail::cfg("catalog.commit_unknown", "1*return(lost)->off").unwrap();
    site.catalog.flush_commit(site.writer, &site.flush(2, &second)).await.unwrap();
    assert_eq!(site.live().await.len(), 2);

    // Twice in a row: told to the caller, who asks again with the same content.
    let third = site.pend().await;
    fail::cfg("catalog.commit_unknown", "2*return(lost)->off").unwrap();
    let error = site.catalog.flush_commit(site.writer, &site.flush(3, &third)).await.unwrap_err();
    assert!(matches!(error, CatalogError::CommitUnknown { .. }) && error.kind() == ErrorKind::Unavailable);
    assert_eq!(site.live().await.len(), 2);
    site.catalog.flush_commit(site.writer, &site.flush(3, &third)).await.unwrap();

    let merged = site.pend().await;
    fail::cfg("catalog.commit_unknown", "1*return->off").unwrap();
    site.catalog.compaction_commit(site.writer, &site.merge(&third, &merged)).await.unwrap();
    let again = site.pend().await;
    fail::cfg("catalog.commit_unknown", "1*return(lost)->off").unwrap();
    site.catalog.compaction_commit(site.writer, &site.merge(&merged, &again)).await.unwrap();
    let mut live = site.live().await;
    live.sort();
    assert_eq!(live, [first.object, second.object, again.object]);

    // At the door of each transaction: refused, nothing changed.
    let fourth = site.pend().await;
    for point in ["flush.txn_a", "flush.txn_b", "compact.txn"] {
        fail::cfg(point, "return").unwrap();
    }
    assert!(matches!(site.catalog.blocks_pend(site.writer, &[]).await, Err(CatalogError::Failpoint { point: "flush.txn_a" })));
    assert!(site.catalog.flush_commit(site.writer, &site.flush(4, &fourth)).await.is_err());
    assert!(site.catalog.compaction_commit(site.writer, &site.merge(&again, &fourth)).await.is_err());
    assert_eq!(site.live().await.len(), 3);
    scenario.teardown();
    site.catalog.flush_commit(site.writer, &site.flush(4, &fourth)).await.unwrap();
    site.catalog.verify().await.unwrap();
}
