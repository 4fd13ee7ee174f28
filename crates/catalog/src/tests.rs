//! The rules of the catalog, told as stories. Most run on the double; what is about files runs on one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blocks;
mod clusters;
mod files;
mod groups;
mod keys;
mod pinned;
mod plans;
mod shred;
mod upgrade;

use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_model::{
    AccountId, AekId, Epoch, KeyClass, ObjectId, Position, TableId, TableName, TimeRange, Window, WindowLength, WorkspaceId,
};
use strongroom_world::World;

use crate::{AccountRow, AekRow, BatchRow, Catalog, FlushCommit, LiveBlock, PendingBlock, WorkspaceRow, WriterEpoch};

const NS: i64 = 1_000_000_000;
/// A round hour that is also a midnight: 2023-11-15T00:00:00Z.
const MIDNIGHT: i64 = 1_700_006_400;

fn fresh() -> (u64, [u8; 10]) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    (1_700_000_000_000 + NEXT.fetch_add(1, Ordering::Relaxed), [7; 10])
}

fn object() -> ObjectId {
    let (ms, random) = fresh();
    ObjectId::mint(ms, random)
}

fn account() -> AccountRow {
    let (ms, random) = fresh();
    AccountRow { id: AccountId::mint(ms, random), region: "here".to_owned(), cluster: None }
}

fn aek(account: AccountId, generation: u64, current: bool) -> AekRow {
    let (ms, random) = fresh();
    AekRow {
        aek: AekId::mint(ms, random),
        account,
        class: KeyClass::Mmk,
        generation,
        record: vec![generation.to_le_bytes()[0]; 60],
        current,
        created_ms: 5,
    }
}

fn workspace(name: &str, account: AccountId) -> WorkspaceRow {
    let (ms, random) = fresh();
    WorkspaceRow {
        id: WorkspaceId::mint(ms, random),
        name: name.parse().unwrap(),
        account,
        subscription: "sub".to_owned(),
        resource_group: "default".to_owned(),
        region: "here".to_owned(),
        created_ms: 1,
        retention_days: 30,
        link: None,
    }
}

fn hour(start: i64) -> Window {
    Window { start, length: WindowLength::Hour }
}

fn day(start: i64) -> Window {
    Window { start, length: WindowLength::Day }
}

/// A catalog with one of everything a block needs.
struct Site {
    catalog: Catalog,
    workspace: WorkspaceId,
    table: TableId,
    epoch: Epoch,
    writer: WriterEpoch,
}

impl Site {
    async fn new() -> Self {
        Self::on(Catalog::memory(World::real()).await.unwrap()).await
    }

    async fn on(catalog: Catalog) -> Self {
        let account = account();
        catalog.account_insert(&account).await.unwrap();
        let aek = aek(account.id, 1, true);
        catalog.aek_insert(&aek).await.unwrap();
        let workspace = workspace("shop", account.id);
        catalog.workspace_insert(&workspace).await.unwrap();
        let table = catalog.table_ensure(workspace.id, &"Logs".parse::<TableName>().unwrap()).await.unwrap();
        let writer = catalog.acquire_writer().await.unwrap();
        Self { catalog, workspace: workspace.id, table: table.id, epoch: Epoch { account: account.id, aek: aek.aek }, writer }
    }

    fn pending(&self, window: Window, through: u64) -> PendingBlock {
        PendingBlock {
            object: object(),
            workspace: self.workspace,
            table: self.table,
            epoch: self.epoch,
            window,
            through: Position(through),
        }
    }

    async fn pend(&self, window: Window, through: u64) -> LiveBlock {
        let pending = self.pending(window, through);
        self.catalog.blocks_pend(self.writer, std::slice::from_ref(&pending)).await.unwrap();
        live(pending.object, window, 10)
    }

    fn commit(&self, through: u64, blocks: Vec<LiveBlock>) -> FlushCommit {
        FlushCommit {
            table: self.table,
            workspace: self.workspace,
            epoch: self.epoch,
            through: Position(through),
            blocks,
            batches: Vec::new(),
        }
    }

    /// Pends and commits one block.
    async fn flush(&self, window: Window, through: u64) -> ObjectId {
        let block = self.pend(window, through).await;
        let object = block.object;
        self.catalog.flush_commit(self.writer, &self.commit(through, vec![block])).await.unwrap();
        object
    }

    async fn live(&self, range: TimeRange) -> Vec<ObjectId> {
        self.catalog.snapshot(self.table, range).await.unwrap().blocks.into_iter().map(|block| block.object).collect()
    }

    async fn sql(&self, sql: &'static str) {
        let mut writer = self.catalog.writer().await.unwrap();
        sqlx::raw_sql(sql).execute(writer.conn()).await.unwrap();
    }
}

fn live(object: ObjectId, window: Window, rows: u64) -> LiveBlock {
    LiveBlock {
        object,
        window,
        time: TimeRange { start: (window.start + 60).saturating_mul(NS), end: (window.start + 120).saturating_mul(NS) },
        rows,
        sealed_len: 1_000,
        plain_len: 900,
        sha256: [object.as_bytes()[5]; 32],
        level: 0,
        arrived_ms: 77,
        stats: b"sealed statistics".to_vec(),
    }
}

fn batch(workspace: WorkspaceId, id: u8, at_ms: i64) -> BatchRow {
    BatchRow { workspace, id_sha256: [id; 32], key_sha256: [id; 32], reply: vec![id], at_ms }
}

fn seconds(from: i64, to: i64) -> TimeRange {
    TimeRange { start: from * NS, end: to * NS }
}
