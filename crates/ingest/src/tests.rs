//! Walks over the whole write path: a simulated machine, real log, catalog, keys and store.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{ErrorKind as IoError, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use strongroom_buffer::{Buffer, BufferConfig, SealedConfig, SealedLog};
use strongroom_catalog::{BlockRow, Catalog, WorkspaceRow};
use strongroom_envelope::{CellPlace, Mmk, open, open_cell};
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::{
    BlockStats, ColumnType, ErrorKind, PrincipalId, StatValue, TIME_COLUMN, TableName, TableSchema, TimeRange, WorkspaceId,
};
use strongroom_store::{BlockStore, CacheConfig, HotCache, LocalObjects, Reader, StoredBlock};
use strongroom_world::sim::{SimOp, SimWorld};
use tokio::sync::watch;

use crate::decode::{DecodeOptions, decode};
use crate::encode::{Profile, arrange, merge};
use crate::publish::BlockPlace;
use crate::*;

mod away;
mod gate;
mod rules;
mod shred;

const MINUTE: Duration = Duration::from_mins(1);

struct Site {
    sim: SimWorld,
    catalog: Catalog,
    root: [u8; 32],
    config: IngestConfig,
    sealed: SealedConfig,
}

/// One life of the process.
struct Up {
    intake: Arc<Intake>,
    deps: IngestDeps,
    workspace: WorkspaceId,
}

impl Site {
    async fn new(seed: u64) -> Self {
        let sim = SimWorld::new(seed);
        let world = sim.world();
        world.fs.create_dir_all(Path::new("/data")).unwrap();
        world.fs.sync_dir(Path::new("/")).unwrap();
        let mut root = [0; 32];
        world.rng.fill(&mut root);
        let catalog = Catalog::memory(world).await.unwrap();
        Self { sim, catalog, root, config: IngestConfig::default(), sealed: SealedConfig::default() }
    }

    async fn up(&self) -> Up {
        let world = self.sim.world();
        let mmk = Arc::new(Mmk::from_bytes(self.root));
        let objects = LocalObjects::open(world.clone(), "/data/blocks").unwrap();
        let keys = KeyRing::open(world.clone(), self.catalog.clone(), objects.clone(), mmk.clone()).await.unwrap();
        let cache =
            HotCache::open(world.clone(), "/data/cache".into(), mmk.clone(), self.catalog.node(), CacheConfig::default()).await.unwrap();
        let workspace = self.workspace(&keys).await;
        let mut guards = HashMap::new();
        for epoch in keys.epochs().await.unwrap() {
            // A customer's comes when its vault has answered.
            if let Ok(guard) = keys.epoch_guard(epoch).await {
                guards.insert(epoch, guard);
            }
        }
        let flushed = self.catalog.flushed_all().await.unwrap().into_iter().map(|(table, epoch, at)| ((table, epoch), at)).collect();
        let config = BufferConfig { reserve_bytes: 1 << 20, reserve_percent: 0, ..BufferConfig::default() };
        let (buffer, recovery) = Buffer::recover(world.clone(), Path::new("/data/wal"), config, &guards, &flushed).unwrap();
        let deps = IngestDeps {
            catalog: self.catalog.clone(),
            keys,
            buffer,
            sealed: SealedLog::open(world.clone(), Path::new("/data/sealed"), mmk, self.sealed.clone()).unwrap(),
            blocks: BlockStore::new(world.clone(), objects, cache),
            writer: self.catalog.acquire_writer().await.unwrap(),
            world,
        };
        let intake = Intake::open(deps.clone(), self.config.clone(), recovery.marks).await.unwrap();
        Up { intake, deps, workspace }
    }

    async fn workspace(&self, keys: &KeyRing) -> WorkspaceId {
        let name = "shop".parse().unwrap();
        if let Some(row) = self.catalog.workspaces_named(&name).await.unwrap().first() {
            return row.id;
        }
        let (ms, random) = self.sim.world().id_seed();
        let id = WorkspaceId::mint(ms, random);
        let row = WorkspaceRow {
            id,
            name,
            account: keys.shared_account(),
            subscription: "subscription".to_owned(),
            resource_group: "default".to_owned(),
            region: "local".to_owned(),
            created_ms: 0,
            retention_days: 30,
            link: None,
        };
        self.catalog.workspace_insert(&row).await.unwrap();
        id
    }
}

impl Up {
    fn request(&self, table: &str, body: impl Into<Bytes>) -> IngestRequest {
        IngestRequest {
            workspace: self.workspace,
            principal: PrincipalId::NIL,
            table: table.parse().unwrap(),
            body: body.into(),
            encoding: Encoding::Identity,
            format: Format::Json,
            time_field: None,
            batch_id: None,
            on_error: OnError::Refuse,
            through: None,
        }
    }

    async fn send(&self, table: &str, body: impl Into<Bytes>) -> Result<IngestReply, IngestError> {
        self.intake.ingest(self.request(table, body)).await
    }

    async fn send_batch(&self, id: &str, body: &'static str) -> Result<IngestReply, IngestError> {
        self.intake.ingest(IngestRequest { batch_id: Some(id.to_owned()), ..self.request("T", body) }).await
    }

    async fn flush(&self) -> FlushReport {
        self.intake.flush(self.workspace, None).await.unwrap()
    }

    async fn blocks(&self, table: &str) -> Vec<BlockRow> {
        let Some(row) = self.deps.catalog.table_get(self.workspace, &table.parse().unwrap()).await.unwrap() else { return Vec::new() };
        self.deps.catalog.snapshot(row.id, TimeRange::ALL).await.unwrap().blocks
    }

    async fn read_block(&self, row: &BlockRow) -> (Vec<RecordBatch>, BlockStats) {
        let guard = self.deps.keys.guard(row.epoch, row.workspace, PrincipalId::NIL, Purpose::Maintain).await.unwrap();
        let place = BlockPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, window: row.window, object: row.object };
        let stored = StoredBlock { key: place.key(), epoch: row.epoch, len: row.sealed_len, arrived_ms: row.arrived_ms };
        let sealed =
            self.deps.blocks.read(&stored, &guard, std::slice::from_ref(&(0..row.sealed_len)), Reader::Query).await.unwrap().remove(0);
        let now = self.deps.world.clock.boot();
        let plain = open(&guard, now, &place.header(guard.is_double()), &sealed).unwrap();
        assert_eq!(plain.len() as u64, row.plain_len);
        let stats = open_cell(&guard, now, &place.cell(), &row.stats).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(plain)).unwrap().build().unwrap();
        (reader.map(Result::unwrap).collect(), serde_json::from_slice(&stats).unwrap())
    }

    /// Every row of a table in the order a reader has to look: memory, then catalog. As JSON, sorted.
    async fn rows(&self, table: &str) -> Vec<String> {
        let Some(row) = self.deps.catalog.table_get(self.workspace, &table.parse().unwrap()).await.unwrap() else { return Vec::new() };
        let memory = self.deps.buffer.snapshot(row.id);
        let snapshot = self.deps.catalog.snapshot(row.id, TimeRange::ALL).await.unwrap();
        let flushed: HashMap<_, _> = snapshot.flushed.into_iter().collect();
        let mut rows = Vec::new();
        for memtable in memory {
            let through = flushed.get(&memtable.epoch).copied().unwrap_or_default();
            rows.extend(memtable.rows.iter().filter(|(at, _)| *at > through).flat_map(|(_, batch)| lines(batch)));
        }
        for block in &snapshot.blocks {
            let (batches, stats) = self.read_block(block).await;
            assert_eq!(stats.rows, block.rows);
            rows.extend(batches.iter().flat_map(lines));
        }
        rows.sort();
        rows
    }
}

/// A batch as JSON lines without the times, keys sorted.
fn lines(batch: &RecordBatch) -> Vec<String> {
    assert_eq!(batch.schema().field(0).name(), TIME_COLUMN);
    assert_eq!(batch.column(0).null_count(), 0, "a row without a time");
    if batch.num_columns() == 1 {
        return vec!["{}".to_owned(); batch.num_rows()];
    }
    let mut out = arrow::json::LineDelimitedWriter::new(Vec::new());
    out.write(&batch.project(&(1..batch.num_columns()).collect::<Vec<_>>()).unwrap()).unwrap();
    out.finish().unwrap();
    let text = String::from_utf8(out.into_inner()).unwrap();
    text.lines()
        .map(|line| {
            let row: BTreeMap<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            serde_json::to_string(&row).unwrap()
        })
        .collect()
}

#[tokio::test]
async fn rows_are_the_same_in_memory_in_blocks_and_after_a_restart() {
    let site = Site::new(1).await;
    let up = site.up().await;
    let reply = up.send("T", "{\"a\":1,\"s\":\"x\"}\n{\"a\":2.5,\"o\":{\"k\":[1]}}").await.unwrap();
    let names: Vec<_> = reply.columns_added.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    assert_eq!((reply.accepted, reply.rejected, reply.duplicate), (2, 0, false));
    assert_eq!(names, [("a", ColumnType::Real), ("s", ColumnType::String), ("o", ColumnType::Dynamic)]);
    assert!(up.send("T", r#"{"a":"late","b":true}"#).await.unwrap().columns_added.iter().any(|column| column.name == "a_s"));
    let before = up.rows("T").await;
    assert_eq!(before, [r#"{"a":1.0,"s":"x"}"#, r#"{"a":2.5,"o":"{\"k\":[1]}"}"#, r#"{"a_s":"late","b":true}"#]);

    let up = {
        drop(up);
        site.sim.fs().kill();
        site.up().await
    };
    assert_eq!(up.rows("T").await, before);
    let report = up.flush().await;
    assert_eq!((report.blocks, report.rows), (1, 3));
    assert!(up.deps.buffer.snapshot(up.blocks("T").await[0].table).iter().all(|memtable| memtable.rows.is_empty()));
    assert_eq!(up.rows("T").await, before);
    assert_eq!(up.flush().await, FlushReport::default());

    drop(up);
    site.sim.fs().power_cut();
    assert_eq!(site.up().await.rows("T").await, before);
}

#[tokio::test]
async fn a_block_is_sorted_newest_first_described_by_its_statistics_and_split_by_window() {
    let site = Site::new(2).await;
    let up = site.up().await;
    let now_s = site.sim.world().clock.wall().unix_secs();
    let hour = now_s - now_s.rem_euclid(3_600);
    let mut body = String::new();
    for n in [5, 1, 4, 2, 3] {
        writeln!(body, "{{\"TimeGenerated\":{},\"n\":{n}}}", hour - 3_600 + n).unwrap();
    }
    writeln!(body, "{{\"TimeGenerated\":{},\"n\":6}}", hour - 100 * 3_600).unwrap();
    up.send("T", body).await.unwrap();
    assert_eq!(up.flush().await.blocks, 2);
    let blocks = up.blocks("T").await;
    let (batches, stats) = up.read_block(&blocks[0]).await;
    let order: Vec<_> = batches.iter().flat_map(lines).collect();
    assert_eq!(order, [5, 4, 3, 2, 1].map(|n| format!("{{\"n\":{n}}}")));
    assert_eq!(blocks[0].time, TimeRange { start: (hour - 3_599) * 1_000_000_000, end: (hour - 3_595) * 1_000_000_000 });
    let n = stats.columns.iter().find(|column| column.name == "n").unwrap();
    assert_eq!((n.min.clone(), n.max.clone()), (Some(StatValue::Long(1)), Some(StatValue::Long(5))));
    assert_eq!(blocks[1].window.length.seconds(), 86_400);
}

#[tokio::test]
async fn the_same_batch_is_taken_once_whatever_happens_between() {
    let site = Site::new(3).await;
    let up = site.up().await;
    let first = up.send_batch("b1", "{\"n\":1}").await.unwrap();
    let again = up.send_batch("b1", "{\"n\":1}").await.unwrap();
    assert_eq!(again, IngestReply { duplicate: true, ..first.clone() });
    assert_eq!(up.send_batch("b1", "{\"n\":2}").await.unwrap_err().kind(), ErrorKind::Conflict);

    drop(up);
    site.sim.fs().kill();
    let up = site.up().await;
    assert!(up.send_batch("b1", "{\"n\":1}").await.unwrap().duplicate, "known from the log");
    up.flush().await;
    drop(up);
    site.sim.fs().kill();
    let up = site.up().await;
    assert!(up.send_batch("b1", "{\"n\":1}").await.unwrap().duplicate, "known from the catalog");
    assert_eq!(up.rows("T").await, ["{\"n\":1}"]);

    site.sim.clock().advance(Duration::from_hours(24));
    assert!(!up.send_batch("b1", "{\"n\":1}").await.unwrap().duplicate, "a day later it is a new one");
}

#[tokio::test]
async fn ten_senders_of_one_batch_are_all_answered_and_it_is_taken_once() {
    let site = Site::new(4).await;
    let up = site.up().await;
    let replies = futures::future::join_all((0..10).map(|_| up.send_batch("b", "{\"n\":1}\n{\"n\":2}"))).await;
    let fresh = replies.iter().filter(|reply| !reply.as_ref().unwrap().duplicate).count();
    assert_eq!(fresh, 1);
    assert_eq!(up.rows("T").await, ["{\"n\":1}", "{\"n\":2}"]);
}

#[tokio::test]
async fn a_batch_that_was_refused_may_be_sent_again_corrected() {
    let site = Site::new(5).await;
    let up = site.up().await;
    assert_eq!(up.send_batch("b", "nonsense").await.unwrap_err().code(), "InvalidRecord");
    assert!(!up.send_batch("b", "{\"n\":1}").await.unwrap().duplicate);
}

#[tokio::test]
async fn a_refused_request_leaves_nothing_and_a_skipping_one_keeps_the_bad_records() {
    let site = Site::new(6).await;
    let up = site.up().await;
    let body = "{\"n\":1}\nnonsense\n[2]\n{\"n\":3}";
    let error = up.send("T", body).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, "record 2 at byte 8 was not accepted: it is not JSON"));
    assert!(up.deps.catalog.tables(up.workspace).await.unwrap().is_empty(), "not even a table");

    let reply = up.intake.ingest(IngestRequest { on_error: OnError::Skip, ..up.request("T", body) }).await.unwrap();
    assert_eq!((reply.accepted, reply.rejected), (2, 2));
    assert_eq!(up.rows("T").await, ["{\"n\":1}", "{\"n\":3}"]);
    assert_eq!(
        up.rows(REJECTED_TABLE).await,
        [
            r#"{"Code":"NotAnObject","Line":3,"Offset":17,"RawData":"[2]","Reason":"it is JSON but not an object","Table":"T"}"#,
            r#"{"Code":"NotJson","Line":2,"Offset":8,"RawData":"nonsense","Reason":"it is not JSON","Table":"T"}"#,
        ]
    );
    let only_bad = IngestRequest { on_error: OnError::Skip, batch_id: Some("b".to_owned()), ..up.request("T", "x") };
    assert_eq!(up.intake.ingest(only_bad.clone()).await.unwrap().rejected, 1);
    assert!(up.intake.ingest(only_bad).await.unwrap().duplicate);
    assert_eq!(up.rows(REJECTED_TABLE).await.len(), 3);
}

#[tokio::test]
async fn no_table_is_made_that_looks_like_another_or_like_the_servers_own() {
    let site = Site::new(8).await;
    let up = site.up().await;
    up.send("Mine_CL", "{\"n\":1}").await.unwrap();
    let declared = async |name: &str| up.intake.declare(up.workspace, &name.parse().unwrap(), &[]).await;
    for (name, there) in [("mine_CL", "Mine_CL"), ("strongroomalerts", "StrongroomAlerts"), ("rejected", REJECTED_TABLE)] {
        for error in [up.send(name, "{\"n\":1}").await.unwrap_err(), declared(name).await.unwrap_err()] {
            assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "TableNameConflict"), "{name}");
            assert!(error.to_string().contains(name) && error.to_string().contains(there), "{error}");
        }
    }
    // A name like the server's own that an older build let be does not keep the server from its table.
    up.deps.catalog.table_ensure(up.workspace, &"rejected".parse().unwrap()).await.unwrap();
    let bad = IngestRequest { on_error: OnError::Skip, ..up.request("Mine_CL", "nonsense") };
    assert_eq!(up.intake.ingest(bad).await.unwrap().rejected, 1);
    assert_eq!(up.rows(REJECTED_TABLE).await.len(), 1);
}

#[tokio::test]
async fn requests_that_disagree_about_a_column_at_once_all_land_typed() {
    let site = Site::new(7).await;
    let up = site.up().await;
    let bodies = (0..40).map(|n| match n % 4 {
        0 => format!("{{\"v\":{n},\"only{n}\":1}}"),
        1 => format!("{{\"v\":\"text {n}\"}}"),
        2 => format!("{{\"v\":{n}.5}}"),
        _ => format!("{{\"v\":[{n}]}}"),
    });
    let replies = futures::future::join_all(bodies.map(|body| up.send("T", body))).await;
    assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|reply| reply.accepted == 1)));
    assert_eq!(up.rows("T").await.len(), 40);
    up.flush().await;
    assert_eq!(up.rows("T").await.len(), 40);
    let schema = up.intake.schema(up.workspace, &"T".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(schema.columns.iter().filter(|column| column.name.starts_with("only")).count(), 10);
}

#[tokio::test]
async fn two_processes_that_evolve_one_lineage_agree_by_compare_and_swap() {
    let site = Site::new(8).await;
    let up = site.up().await;
    let other = Intake::open(up.deps.clone(), site.config.clone(), Vec::new()).await.unwrap();
    up.send("T", r#"{"a":1}"#).await.unwrap();
    other.ingest(up.request("T", r#"{"a":2}"#)).await.unwrap();
    up.send("T", r#"{"b":"x"}"#).await.unwrap();
    // The other one still believes there is no column b, and would make it a long.
    other.ingest(up.request("T", r#"{"b":7}"#)).await.unwrap();
    assert_eq!(up.rows("T").await, [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"b":"x"}"#, r#"{"b_d":7}"#]);
    let row = up.deps.catalog.table_get(up.workspace, &"T".parse().unwrap()).await.unwrap().unwrap();
    let cells = up.deps.catalog.schema_cells(row.id).await.unwrap();
    let guard =
        up.deps.keys.guard(up.deps.keys.epochs().await.unwrap()[0], up.workspace, PrincipalId::NIL, Purpose::Maintain).await.unwrap();
    let place = CellPlace { epoch: guard.epoch(), workspace: up.workspace, table: row.id, row: cells[0].row };
    let schema: TableSchema =
        serde_json::from_slice(&open_cell(&guard, up.deps.world.clock.boot(), &place, &cells[0].cell).unwrap()).unwrap();
    let names: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((cells[0].version, names), (3, vec![TIME_COLUMN, "a", "b", "b_d"]));
}

#[tokio::test]
async fn a_flush_that_fails_keeps_the_rows_and_the_next_one_writes_them_once() {
    let site = Site::new(9).await;
    let up = site.up().await;
    up.send("T", "{\"n\":1}").await.unwrap();
    for op in [SimOp::Write, SimOp::Rename] {
        site.sim.fs().fail_next(op, IoError::StorageFull);
        let error = up.intake.flush(up.workspace, None).await.unwrap_err();
        assert!(error.kind().is_transient(), "{error}");
        assert_eq!(up.rows("T").await, ["{\"n\":1}"]);
        assert!(up.blocks("T").await.is_empty());
    }
    up.send("T", "{\"n\":2}").await.unwrap();
    assert_eq!(up.flush().await.rows, 2);
    assert_eq!(up.rows("T").await, ["{\"n\":1}", "{\"n\":2}"]);
}

#[tokio::test]
async fn compaction_keeps_every_row_through_changes_of_the_schema() {
    let site = Site::new(10).await;
    let up = site.up().await;
    for n in 0..9 {
        let body = match n {
            0..3 => format!("{{\"n\":{n},\"v\":{n}}}\n{{\"n\":{n}}}"),
            3..6 => format!("{{\"n\":{n},\"v\":{n}.5}}"),
            _ => format!("{{\"n\":{n},\"v\":\"x\",\"late\":true}}"),
        };
        up.send("T", body).await.unwrap();
        up.flush().await;
    }
    // Once a long column has widened, what reads old and new together sees reals.
    let widened = |rows: Vec<String>| {
        rows.into_iter()
            .map(|row| row.replace("\"v\":0}", "\"v\":0.0}").replace("\"v\":1}", "\"v\":1.0}").replace("\"v\":2}", "\"v\":2.0}"))
            .collect::<Vec<_>>()
    };
    let before = widened(up.rows("T").await);
    let (count, windows) = (
        up.blocks("T").await.len(),
        up.blocks("T").await.iter().map(|block| block.window).collect::<std::collections::BTreeSet<_>>().len(),
    );
    assert_eq!((count, before.len()), (9, 12));
    let report = up.intake.compact(up.workspace, None).await.unwrap();
    assert_eq!((report.inputs, report.outputs, report.rows), (9, windows as u64, 12));
    let blocks = up.blocks("T").await;
    assert_eq!((blocks.len(), blocks[0].level), (windows, 1));
    assert_eq!(up.rows("T").await, before);
    let (batches, stats) = up.read_block(&blocks[0]).await;
    assert_eq!(stats.columns.iter().find(|column| column.name == "v").unwrap().kind, ColumnType::Real);
    let times: Vec<i64> = batches.iter().flat_map(|batch| batch.column(0).to_data().buffers()[0].typed_data::<i64>().to_vec()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b));
    assert_eq!(up.intake.compact(up.workspace, None).await.unwrap(), CompactReport::default());

    let now_ms = site.sim.world().clock.wall().unix_ms();
    assert_eq!(up.deps.catalog.tombstones(now_ms + 1, 100).await.unwrap().len(), 9, "the inputs wait for their last readers");
}

#[tokio::test]
async fn a_compaction_that_fails_changes_nothing() {
    let site = Site::new(11).await;
    let up = site.up().await;
    for n in 0..2 {
        up.send("T", format!("{{\"n\":{n}}}")).await.unwrap();
        up.flush().await;
    }
    let before = up.blocks("T").await;
    site.sim.fs().fail_next(SimOp::Write, IoError::StorageFull);
    assert!(up.intake.compact(up.workspace, None).await.is_err());
    assert_eq!(up.blocks("T").await, before);
    assert_eq!(up.intake.compact(up.workspace, None).await.unwrap().inputs, 2);
}

#[tokio::test]
async fn memtables_are_flushed_by_age_and_small_blocks_merged_when_their_window_is_over() {
    let site = Site::new(12).await;
    let up = site.up().await;
    let (stop, stopped) = watch::channel(false);
    let upkeep = tokio::spawn(up.intake.clone().maintain(stopped));
    for n in 0..2 {
        up.send("T", format!("{{\"n\":{n},\"TimeGenerated\":{}}}", site.sim.world().clock.wall().unix_secs())).await.unwrap();
        up.send("Other", "{}").await.unwrap();
        assert_eq!(up.blocks("T").await.len(), n);
        let mut turns = 0;
        while up.blocks("T").await.len() == n {
            site.sim.clock().advance(MINUTE);
            tokio::time::sleep(Duration::from_millis(2)).await;
            turns += 1;
            assert!(turns < 2_000, "never flushed by age");
        }
        assert!(turns >= 14, "flushed after {turns} minutes");
    }
    let mut turns = 0;
    while up.blocks("Other").await.len() > 2 || up.blocks("T").await.iter().any(|block| block.level == 0) {
        let windows: std::collections::BTreeSet<_> = up.blocks("T").await.iter().map(|block| block.window).collect();
        if windows.len() == up.blocks("T").await.len() {
            break; // the clock happened to cross the hour: nothing to merge
        }
        site.sim.clock().advance(MINUTE);
        tokio::time::sleep(Duration::from_millis(2)).await;
        turns += 1;
        assert!(turns < 5_000, "never merged");
    }
    assert_eq!(up.rows("T").await, ["{\"n\":0}", "{\"n\":1}"]);
    stop.send(true).unwrap();
    upkeep.await.unwrap();
}

#[tokio::test]
async fn past_hours_are_merged_however_many_tables_are_busy() {
    let mut site = Site::new(18).await;
    site.config.compact.candidates_max = 4;
    let up = site.up().await;
    let past = site.sim.world().clock.wall().unix_secs() - 3 * 3_600;
    for table in 0..9 {
        for n in 0..3 {
            up.send(&format!("Busy{table}"), format!("{{\"n\":{n}}}")).await.unwrap();
            if table % 4 == 0 && n > 0 {
                up.send(&format!("Busy{table}"), format!("{{\"n\":{n},\"TimeGenerated\":{past}}}")).await.unwrap();
            }
            up.flush().await;
        }
    }
    let (stop, stopped) = watch::channel(false);
    let upkeep = tokio::spawn(up.intake.clone().maintain(stopped));
    site.sim.clock().advance(2 * MINUTE);
    for table in ["Busy0", "Busy4", "Busy8"] {
        let old =
            async || up.blocks(table).await.iter().filter(|block| block.window.start <= past).map(|block| block.level).collect::<Vec<_>>();
        let mut turns = 0;
        while old().await != [1] {
            site.sim.clock().advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(2)).await;
            turns += 1;
            assert!(turns < 1_000, "never merged: {:?}", old().await);
        }
    }
    assert!(up.blocks("Busy0").await.iter().any(|block| block.level == 0), "those of the hour under way wait for more");
    stop.send(true).unwrap();
    upkeep.await.unwrap();
}

#[tokio::test]
async fn bombs_and_oversized_bodies_are_refused_with_a_4xx() {
    let site = Site::new(13).await;
    let up = site.up().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..20 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = IngestRequest { encoding: Encoding::Gzip, ..up.request("T", gzip.finish().unwrap()) };
    assert_eq!(up.intake.ingest(bomb).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(up.send("T", vec![b'x'; (32 << 20) + 1]).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let line = format!("{{\"a\":\"{}\"}}", "x".repeat(30 << 20));
    assert_eq!(up.send("T", line).await.unwrap_err().code(), "InvalidRecord");
    assert_eq!(up.send("T", "[".repeat(100_000)).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(up.send("T", format!("{{\"a\":{}", "[".repeat(100_000))).await.unwrap_err().code(), "InvalidRecord");
    let deflate = "br".parse::<Encoding>().unwrap_err();
    assert_eq!(deflate.kind(), ErrorKind::Unsupported);
    assert!(up.rows("T").await.is_empty());
}

#[tokio::test]
async fn a_request_beyond_the_budget_or_to_nowhere_is_told_so() {
    let mut site = Site::new(14).await;
    site.config.in_flight_bytes_max = 100;
    let up = site.up().await;
    let error = up.send("T", format!("{{\"a\":\"{}\"}}", "x".repeat(200))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after_s()), (ErrorKind::Overloaded, Some(1)));
    up.send("T", "{}").await.unwrap();
    let nowhere = IngestRequest { workspace: WorkspaceId::NIL, ..up.request("T", "{}") };
    assert_eq!(up.intake.ingest(nowhere).await.unwrap_err().code(), "WorkspaceNotFound");
    let unnamed: TableName = "Nobody".parse().unwrap();
    assert_eq!(up.intake.flush(up.workspace, Some(unnamed.clone())).await.unwrap_err().code(), "TableNotFound");
    assert_eq!(up.intake.schema(up.workspace, &unnamed).await.unwrap(), None);
}

#[tokio::test]
async fn a_body_without_records_is_accepted_and_changes_nothing() {
    let site = Site::new(15).await;
    let up = site.up().await;
    for body in ["", "\n\n", "[]"] {
        assert_eq!(up.send("T", body).await.unwrap(), IngestReply::default());
    }
    assert!(up.rows("T").await.is_empty());
}

#[tokio::test]
async fn a_packed_body_of_many_rows_comes_back_whole_through_flush_and_compaction() {
    let site = Site::new(16).await;
    let up = site.up().await;
    for part in 0..3 {
        let mut body = String::new();
        for n in 0..3_000 {
            writeln!(body, "{{\"part\":{part},\"n\":{n},\"id\":\"{:032x}\"}}", n * 7_919 + part).unwrap();
        }
        let packed = zstd::encode_all(body.as_bytes(), 1).unwrap();
        let request = IngestRequest { encoding: Encoding::Zstd, ..up.request("T", packed) };
        assert_eq!(up.intake.ingest(request).await.unwrap().accepted, 3_000);
        up.flush().await;
    }
    let before = up.rows("T").await;
    assert_eq!(before.len(), 9_000);
    assert_eq!(up.intake.compact(up.workspace, Some("T".parse().unwrap())).await.unwrap().rows, 9_000);
    assert!(up.rows("T").await == before);
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9_f64).prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        any::<bool>().prop_map(Into::into),
        Just(serde_json::json!({"k": [1, "x", null]})),
    ]
}

/// A record: seconds before its arrival, a column that every type comes to, and one that seldom comes.
fn any_record() -> impl Strategy<Value = (i64, serde_json::Value, Option<i64>)> {
    (0..200_000_i64, any_value(), proptest::option::weighted(0.1, any::<i64>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_survives_arranging_encoding_and_merging(bodies in proptest::collection::vec(proptest::collection::vec(any_record(), 1..30), 1..5)) {
        const ARRIVAL: i64 = 1_772_359_200_000_000_000;
        let limits = RequestLimits::default();
        let mut schema = TableSchema::new();
        let mut rows = Vec::new();
        for (n, body) in (0_i64..).zip(&bodies) {
            let mut text = String::new();
            for (ago, value, seldom) in body {
                let time = ARRIVAL / 1_000_000_000 - ago;
                writeln!(text, "{}", serde_json::json!({TIME_COLUMN: time, "v": value, "seldom": seldom})).unwrap();
            }
            let options = DecodeOptions { format: Format::Json, time_field: None, arrival: ARRIVAL + n, on_error: OnError::Refuse, limits: &limits };
            let decoded = decode(text.as_bytes(), &schema, &options).unwrap();
            schema = decoded.schema;
            rows.push((options.arrival, decoded.batch));
        }
        let whole = schema.storage_schema();
        let all = |batches: &[RecordBatch]| {
            let mut all: Vec<String> = batches.iter().flat_map(|batch| lines(&strongroom_buffer::conform(batch, &whole).unwrap())).collect();
            all.sort();
            all
        };
        let expected = all(&rows.iter().map(|(_, batch)| batch.clone()).collect::<Vec<_>>());
        let blocks_of = |rows: &[(i64, RecordBatch)]| {
            arrange(rows).unwrap().into_iter().map(|block| (block.window, block.encode(Profile::Flush).unwrap())).collect::<Vec<_>>()
        };
        let read = |file: Vec<u8>| ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap().map(Result::unwrap).collect::<Vec<_>>();

        let together: Vec<_> = blocks_of(&rows).into_iter().flat_map(|(_, block)| read(block.parquet)).collect();
        prop_assert_eq!(&all(&together), &expected);

        // Each body flushed for itself, then each window merged.
        let mut windows: BTreeMap<_, Vec<Bytes>> = BTreeMap::new();
        for row in &rows {
            for (window, block) in blocks_of(std::slice::from_ref(row)) {
                windows.entry(window).or_default().push(block.parquet.into());
            }
        }
        let merged: Vec<_> = windows.into_iter().map(|(window, files)| (window, merge(files).unwrap())).collect();
        for (window, block) in &merged {
            prop_assert!(window.range().contains(block.time.start) && window.range().contains(block.time.end));
        }
        let merged: Vec<_> = merged.into_iter().flat_map(|(_, block)| read(block.parquet)).map(|batch| as_text(&batch)).collect();
        prop_assert_eq!(&all(&merged), &expected);
    }
}

/// Views of a merged file as plain texts again.
fn as_text(batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, values)| {
        let kind = ColumnType::of_field(field).unwrap();
        (kind.storage_field(field.name()), arrow::compute::cast(values, &kind.storage_type()).unwrap())
    });
    let (fields, values): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(arrow_schema::Schema::new(fields).into(), values).unwrap()
}

#[tokio::test]
async fn a_workspace_has_so_many_tables_and_a_request_so_many_windows() {
    let mut site = Site::new(3).await;
    site.config.tables_per_workspace_max = 2;
    site.config.limits.windows_max = 3;
    let up = site.up().await;
    up.send("A", "{}").await.unwrap();
    up.send("B", "{}").await.unwrap();
    let error = up.send("C", "{}").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("TooManyTables", ErrorKind::Conflict));
    up.send("A", "{}").await.expect("tables that are there take rows");
    let skipping = IngestRequest { on_error: OnError::Skip, ..up.request("A", "{}\nno\n") };
    assert_eq!(up.intake.ingest(skipping).await.expect("the server's own table is no user's").rejected, 1);
    let days = |count: i64| (0..count).map(|day| format!("{{\"TimeGenerated\":{}}}", 86_400 * (1 + day))).collect::<Vec<_>>().join("\n");
    up.send("A", days(3)).await.unwrap();
    let error = up.send("A", days(4)).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("TooManyWindows", ErrorKind::Invalid));
    let error = up.send("Rejected", "{}").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("ReservedTable", ErrorKind::Invalid));
}

#[tokio::test]
async fn blocks_move_to_another_epoch_with_every_row_column_and_bound_and_the_old_log_ends() {
    let site = Site::new(60).await;
    let up = site.up().await;
    let (keys, account) = (&up.deps.keys, up.deps.keys.shared_account());
    let old = keys.write_epoch(account).await.unwrap();
    up.send("T", "{\"a\":1,\"s\":\"x\"}\n{\"a\":2.5}").await.unwrap();
    up.flush().await;
    up.send("T", "{\"TimeGenerated\":\"2020-01-01T00:00:00Z\",\"late\":true}").await.unwrap();
    up.send("Other", "{\"only\":\"here\"}").await.unwrap();
    let (before, other) = (up.rows("T").await, up.rows("Other").await);
    // Another key reigns from now on.
    let kek = strongroom_keys::provider::KekRef::new("https://vault.example/", "kek", None).unwrap();
    let vault = strongroom_keys::provider::memory::MemoryVault::new(site.sim.world(), kek);
    let cluster = strongroom_model::ObjectId::from_bytes([4; 16]);
    let new = keys.begin_customer_epoch(account, cluster, &vault, Duration::from_hours(1)).await.unwrap();
    assert!(!up.deps.buffer.retire(old).unwrap(), "rows are in memory");
    up.send("T", "{\"a\":7,\"fresh\":1}").await.unwrap();
    up.flush().await;
    let before_new = up.rows("T").await;
    assert_eq!(before_new.len(), before.len() + 1);

    let mut bytes = 0;
    up.intake.carry_columns(old, new, None).await.unwrap();
    while let Some(one) = up.intake.rewrite_next(old, new, None).await.unwrap() {
        bytes += one;
    }
    assert!(bytes > 0);
    let blocks: Vec<BlockRow> = [up.blocks("T").await, up.blocks("Other").await].concat();
    assert_eq!(blocks.len(), 4);
    assert!(blocks.iter().all(|block| block.epoch == new));
    assert_eq!((up.rows("T").await, up.rows("Other").await), (before_new, other), "bounds are checked as they are read");
    let table = blocks[0].table;
    let lineage = up.deps.catalog.schema_cells(table).await.unwrap().into_iter().find(|row| row.aek == new.aek).unwrap();
    let guard = keys.guard(new, up.workspace, PrincipalId::NIL, Purpose::Maintain).await.unwrap();
    let place = CellPlace { epoch: new, workspace: up.workspace, table, row: lineage.row };
    let schema: TableSchema =
        serde_json::from_slice(&open_cell(&guard, up.deps.world.clock.boot(), &place, &lineage.cell).unwrap()).unwrap();
    let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    for name in ["a", "s", "late", "fresh"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(up.deps.buffer.retire(old).unwrap(), "nothing of the old log is needed");
    assert!(up.deps.buffer.retire(old).unwrap(), "again: nothing is left");
    let left = up.deps.catalog.leftovers(old.aek).await.unwrap();
    assert_eq!((left.live, left.others), (0, 3));
    assert_eq!(up.intake.rewrite_next(old, new, None).await.unwrap(), None);
}
