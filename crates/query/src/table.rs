//! A log table as the planner sees it: memtable rows and sealed blocks, pinned at one moment, as one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::DataSourceExec;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col, lit};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectStore;
use strongroom_catalog::{BlockRow, Catalog, CatalogError, Shelf};
use strongroom_envelope::KeyGuard;
use strongroom_model::{BlockStats, Epoch, ErrorKind, TIME_COLUMN, TableId, TableName, TableSchema, TimeRange};
use strongroom_store::BlockStore;

use crate::blk::{BLK_URL, BlkStore, stored};
use crate::context::QueryContext;
use crate::counted::{self, CountedBlock, Reads, Scan};
use crate::error::catalog_error;
use crate::explain::{Fate, Pruned};
use crate::footers::Footers;
use crate::lineage::Lineage;
use crate::memtable::MemtableExec;
use crate::prune::{self, Bounds};
use crate::readahead::Readahead;
use crate::terms::{self, Ask, Candidate, Filters, Slices};
use crate::{QueryError, output};

/// Read at once from a block's end: footers of blocks of some twenty columns fit.
pub(crate) const FOOTER_HINT_BYTES: usize = 64 << 10;

/// More chains of overlapping blocks than this are not merged in order but sorted: each chain holds a block open.
const CHAINS_MAX: usize = 16;

/// Blocks whose statistics are looked at together.
const STATS_STEP: usize = 4_096;
/// So many times as many blocks as may be read may be looked at, in case their counts say enough.
const LOOKED_AT: usize = 4;

/// What every table of one query shares.
pub(crate) struct Shared {
    pub(crate) context: Arc<QueryContext>,
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) blocks: Arc<BlockStore>,
    pub(crate) blk: Arc<BlkStore>,
    pub(crate) footers: Arc<Footers>,
    pub(crate) filters: Arc<Filters>,
    pub(crate) filter_blocks_max: usize,
    pub(crate) catalog: Catalog,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) blocks_max: usize,
    pub(crate) blocks_looked_at_max: u64,
    pub(crate) readahead_blocks: usize,
}

/// The moment a table is read as of.
pub(crate) struct Moment {
    /// Rows not in blocks yet, by epoch.
    pub(crate) memory: Vec<(Epoch, RecordBatch)>,
    /// The catalog's commit.
    pub(crate) seq: u64,
    /// How many blocks were live then.
    pub(crate) blocks: u64,
}

/// A table pinned for one query.
pub(crate) struct LogTable {
    id: TableId,
    name: TableName,
    schema: SchemaRef,
    moment: Moment,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for LogTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogTable").field("name", &self.name.as_str()).finish_non_exhaustive()
    }
}

/// A block that is read, and what is known of it.
struct Kept<'a> {
    /// Which of the blocks that were looked at.
    at: usize,
    row: &'a BlockRow,
    stats: Option<Arc<BlockStats>>,
    /// What its token filters leave, if they were asked.
    slices: Option<Slices>,
}

impl Kept<'_> {
    /// Whether only some of its rows are read.
    fn is_part(&self) -> bool {
        self.slices.as_ref().is_some_and(Slices::is_part)
    }
}

impl LogTable {
    pub(crate) fn new(id: TableId, name: TableName, columns: &TableSchema, moment: Moment, shared: Arc<Shared>) -> Self {
        let schema = columns.query_schema();
        Self { id, name, schema, moment, shared }
    }

    /// The blocks of the moment that may hold rows of the range; for EXPLAIN the others too, if they are not too many to tell of.
    async fn blocks(&self, span: Option<TimeRange>) -> Result<Vec<Arc<BlockRow>>, QueryError> {
        let shared = &self.shared;
        let most = shared.blocks_looked_at_max;
        let all = shared.context.explain && self.moment.blocks <= most;
        let range = if all { TimeRange::ALL } else { span.unwrap_or(TimeRange::ALL) };
        let found = shared.catalog.blocks_at(self.id, self.moment.seq, range, &shared.shelf, most).await;
        let found = found.map_err(|error| match error {
            CatalogError::TooMany { found, limit } => QueryError::new(
                ErrorKind::TooLarge,
                "TooManyBlocks",
                format!(
                    "the query's time range holds {found} blocks of table {}, at most {limit} are looked at; narrow it: a timespan, or where TimeGenerated > ago(1d)",
                    self.name
                ),
            ),
            CatalogError::SnapshotGone => {
                QueryError::new(error.kind(), error.code(), "blocks were removed while the query was planned; ask again")
            }
            other => catalog_error(&other),
        })?;
        shared.context.stats.catalog_rows.fetch_add(found.rows_read, Ordering::Relaxed);
        Ok(found.blocks)
    }

    /// Filters, timespan included, as one physical expression over the whole schema.
    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let all = conjunction(filters.iter().cloned().chain(self.timespan()));
        all.map(|expr| state.create_physical_expr(expr, &self.df_schema()?)).transpose()
    }

    fn df_schema(&self) -> Result<DFSchema> {
        DFSchema::try_from(Schema::clone(&self.schema))
    }

    fn timespan(&self) -> Option<Expr> {
        let span = self.shared.context.timespan.filter(|span| *span != TimeRange::ALL)?;
        let at = |ns| lit(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())));
        let time = || col(datafusion::common::Column::from_name(TIME_COLUMN));
        Some(time().gt_eq(at(span.start)).and(time().lt_eq(at(span.end))))
    }

    /// Blocks that may hold wanted rows, newest first, their guards touched; tells EXPLAIN about the others.
    async fn prune<'b>(
        &self,
        blocks: &'b [Arc<BlockRow>],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        ask: Option<&Ask>,
        projection: Option<&Vec<usize>>,
    ) -> Result<Vec<Kept<'b>>, QueryError> {
        let shared = &self.shared;
        let context = &shared.context;
        let mut fates: Vec<Option<Pruned>> = vec![None; blocks.len()];
        let mut left: Vec<usize> = (0..blocks.len()).collect();
        let pruning = predicate.and_then(|expr| prune::predicate(Arc::clone(expr), &self.schema));
        let mut sift = |left: &mut Vec<usize>, why: Pruned, bounds: Vec<Bounds>| {
            let Some(pruning) = &pruning else { return };
            let keep = prune::keep(pruning, &self.schema, &bounds);
            let mut at = 0;
            left.retain(|block| {
                at += 1;
                if !keep[at - 1] {
                    fates[*block] = Some(why);
                }
                keep[at - 1]
            });
        };
        // In the clear first: no key is asked for a block that its window or time range rules out.
        let clear = |time: TimeRange| Bounds { time, rows: None, stats: None };
        if context.explain {
            // What its window rules out, its time range rules out, too: only EXPLAIN asks which it was.
            let windows = left.iter().map(|i| clear(blocks[*i].window.range())).collect();
            sift(&mut left, Pruned::Window, windows);
        }
        let times = left.iter().map(|i| clear(blocks[*i].time)).collect();
        sift(&mut left, Pruned::Time, times);

        // In steps: of blocks that are ruled out nothing stays in memory but what the cache keeps.
        let mut kept: Vec<Kept<'b>> = Vec::with_capacity(left.len());
        for step in left.chunks(STATS_STEP) {
            let mut guarded: Vec<(&BlockRow, KeyGuard)> = Vec::with_capacity(step.len());
            for row in step.iter().map(|at| &*blocks[*at]) {
                let guard = match guarded.last() {
                    Some((last, guard)) if last.epoch == row.epoch => guard.clone(),
                    _ => shared.lineage.guard(context, self.id, row.epoch).await.map_err(|error| {
                        let (from, to) = (output::format_datetime(row.time.start), output::format_datetime(row.time.end));
                        error.with_hint(format!("it holds the rows of table {} from {from} to {to}", self.name))
                    })?,
                };
                guarded.push((row, guard));
            }
            let opened = shared.lineage.stats(context, self.id, &guarded).await?;
            let bounds = opened
                .iter()
                .zip(&guarded)
                .map(|(stats, (row, _))| Bounds { time: row.time, rows: stats.as_ref().map(|stats| stats.rows), stats: stats.clone() })
                .collect();
            let mut stays = step.to_vec();
            sift(&mut stays, Pruned::Statistics, bounds);
            let mut stays = stays.into_iter().peekable();
            let with_stats = step.iter().zip(opened).filter(|(at, _)| stays.next_if(|left| left == *at).is_some());
            kept.extend(with_stats.map(|(at, stats)| Kept { at: *at, row: &blocks[*at], stats, slices: None }));
        }
        kept.sort_by_key(|block| std::cmp::Reverse((block.row.time.end, block.row.time.start, block.row.object)));
        let told = self.sift_terms(ask, projection, &mut kept).await?;
        for (at, _) in told.iter().filter(|(_, slices)| slices.is_none()) {
            fates[*at] = Some(Pruned::Terms);
        }

        context.stats.blocks_seen.fetch_add(blocks.len() as u64, Ordering::Relaxed);
        context.stats.blocks_kept.fetch_add(kept.len() as u64, Ordering::Relaxed);
        if context.explain {
            self.tell(blocks, &fates, &told).await;
        }
        if kept.len() > shared.blocks_max.saturating_mul(LOOKED_AT) {
            return Err(Reads::new(&self.name, kept.len(), shared.blocks_max).too_many(kept.len()));
        }
        Ok(kept)
    }

    /// Takes blocks away that have none of the terms asked for, and notes which slices the others may have them in.
    /// Not of blocks of which every column that is needed was counted: either their counts answer, or there is little to read.
    async fn sift_terms(
        &self,
        ask: Option<&Ask>,
        projection: Option<&Vec<usize>>,
        kept: &mut Vec<Kept<'_>>,
    ) -> Result<HashMap<usize, Slices>, QueryError> {
        let shared = &self.shared;
        let Some(ask) = ask.filter(|_| shared.filter_blocks_max > 0) else { return Ok(HashMap::new()) };
        let needed = projection.map(|columns| columns.iter().map(|at| self.schema.field(*at).name().as_str()).collect::<Vec<_>>());
        let is_counted = |block: &Kept<'_>| needed.as_deref().is_some_and(|needed| counted::are_counted(block.stats.as_deref(), needed));
        let mut kept_of = Vec::with_capacity(kept.len());
        let mut candidates = Vec::with_capacity(kept.len());
        for (at, block) in kept.iter().enumerate().filter(|(_, block)| !is_counted(block)) {
            kept_of.push(at);
            let guard = shared.lineage.guard(&shared.context, self.id, block.row.epoch).await?;
            candidates.push(Candidate { row: block.row, stats: block.stats.clone(), guard });
        }
        let found = terms::sift(shared, ask, &candidates).await?;
        let mut told = HashMap::new();
        for (at, slices) in kept_of.into_iter().zip(found) {
            let block = &mut kept[at];
            told.extend(slices.clone().map(|slices| (block.at, slices)));
            block.slices = slices;
        }
        kept.retain(|block| !block.slices.as_ref().is_some_and(Slices::is_none));
        Ok(told)
    }

    async fn tell(&self, blocks: &[Arc<BlockRow>], fates: &[Option<Pruned>], slices: &HashMap<usize, Slices>) {
        let shared = &self.shared;
        let mut told = Vec::with_capacity(fates.len());
        for (at, (row, pruned)) in blocks.iter().zip(fates).enumerate() {
            let key = shared.lineage.guard(&shared.context, self.id, row.epoch).await.ok().map(|guard| (guard.class(), guard.is_double()));
            told.push(Fate::Block {
                table: self.name.to_string(),
                object: row.object,
                window: row.window,
                rows: row.rows,
                bytes: row.sealed_len,
                pruned: *pruned,
                key,
                epoch: row.epoch,
                hotness: shared.blocks.cache().contains(&stored(row)),
                slices: slices.get(&at).map(Slices::counts),
                grouped: slices.get(&at).is_some_and(Slices::is_grouped),
            });
        }
        shared.context.record_fates(told);
    }

    fn scan_blocks(&self, kept: &[Kept<'_>], projection: Option<&Vec<usize>>, partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let shared = &self.shared;
        let mut files = Vec::with_capacity(kept.len());
        let scan = Scan::new(&shared.context, Reads::new(&self.name, kept.len(), shared.blocks_max));
        for block in kept {
            let guard = shared
                .context
                .guard(block.row.epoch)
                .ok_or_else(|| DataFusionError::Internal("a block is read without a guard".to_owned()))?;
            shared.footers.admit(&guard);
            let path = shared.blk.admit(block.row, &guard);
            let mut file = PartitionedFile::new(path.to_string(), block.row.plain_len).with_metadata_size_hint(FOOTER_HINT_BYTES);
            file = file.with_statistics(Arc::new(file_statistics(block)));
            if let Some(selection) = block.slices.as_ref().and_then(Slices::selection) {
                file = file.with_extension(selection);
            }
            let (object, time, stats) = (block.row.object, block.row.time, block.stats.clone());
            file = file.with_extension(Arc::new(CountedBlock { object, time, stats, scan: Arc::clone(&scan) }));
            files.push((block.row.time, file));
        }
        let newest = shared.context.newest.get();
        let chains = newest.map(|_| chain(&files)).filter(|chains| chains.len() <= CHAINS_MAX);
        let mut builder = FileScanConfigBuilder::new(ObjectStoreUrl::parse(BLK_URL)?, Arc::new(self.source(&files)));
        if let (Some(chains), Some(options)) = (chains, newest) {
            let time = Arc::new(PhysicalColumn::new(TIME_COLUMN, 0));
            let ordering = LexOrdering::new([PhysicalSortExpr::new(time, *options)]);
            builder = builder.with_file_groups(chains).with_output_ordering(ordering.into_iter().collect());
        } else {
            builder = builder.with_file_groups(deal(files, partitions));
        }
        let config = builder.with_statistics(self.statistics_of(kept)).with_projection_indices(projection.cloned())?.build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn source(&self, files: &[(TimeRange, PartitionedFile)]) -> ParquetSource {
        let shared = &self.shared;
        let files = files.iter().map(|(_, file)| file.clone()).collect();
        let store: Arc<dyn ObjectStore> = Arc::clone(&shared.blk) as _;
        let footers: Arc<FileMetadataCache> = Arc::clone(&shared.footers) as _;
        ParquetSource::new(Arc::clone(&self.schema))
            .with_parquet_file_reader_factory(Readahead::over(store, footers, files, shared.readahead_blocks))
            .with_pushdown_filters(true)
            .with_reorder_filters(false)
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(true)
    }

    /// Rows in all; exact only if every block's sealed statistics say so.
    fn statistics_of(&self, kept: &[Kept<'_>]) -> Statistics {
        let mut whole = Statistics::new_unknown(&self.schema);
        let rows: Option<u64> = kept.iter().map(|block| block.stats.as_ref().map(|stats| stats.rows)).sum();
        if let Some(rows) = rows.and_then(|rows| usize::try_from(rows).ok()) {
            whole.num_rows = if kept.iter().any(Kept::is_part) { Precision::Inexact(rows) } else { Precision::Exact(rows) };
        }
        let bytes: u64 = kept.iter().map(|block| block.row.plain_len).sum();
        whole.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
        whole
    }

    /// Memtable batches that may hold wanted rows, in the shape that is wanted.
    async fn scan_memory(
        &self,
        span: Option<TimeRange>,
        projection: Option<&Vec<usize>>,
        partitions: usize,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>, QueryError> {
        let wanted: SchemaRef = match projection {
            Some(columns) => Arc::new(self.schema.project(columns).map_err(DataFusionError::from)?),
            None => Arc::clone(&self.schema),
        };
        let mut parts: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions.max(1)];
        let mut sizes = vec![0_usize; parts.len()];
        let (mut rows, mut all) = (0, 0);
        // Newest arrivals first, so that "newest n" soon knows what is old.
        for (epoch, batch) in self.moment.memory.iter().rev() {
            all += batch.num_rows() as u64;
            if let (Some(span), Some(times)) = (span, times(batch))
                && !times.overlaps(&span)
            {
                continue;
            }
            self.shared.lineage.guard(&self.shared.context, self.id, *epoch).await?;
            rows += batch.num_rows() as u64;
            let least = (0..sizes.len()).min_by_key(|i| sizes[*i]).unwrap_or(0);
            sizes[least] += batch.num_rows();
            parts[least].push(batch.clone());
        }
        self.shared.context.stats.memtable_rows.fetch_add(rows, Ordering::Relaxed);
        self.shared.context.record_fates([Fate::Memory { table: self.name.to_string(), rows, all }]);
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(MemtableExec::new(parts, wanted))))
    }

    /// The time range that the filters leave, as far as plain comparisons tell.
    fn span(&self, filters: &[Expr]) -> Option<TimeRange> {
        crate::span::of_filters(filters, self.shared.context.timespan)
    }
}

/// First and last instant in a batch.
fn times(batch: &RecordBatch) -> Option<TimeRange> {
    let column = batch.column_by_name(TIME_COLUMN)?.as_primitive_opt::<TimestampNanosecondType>()?;
    Some(TimeRange { start: arrow::compute::min(column)?, end: arrow::compute::max(column)? })
}

/// Statistics of one block: rows and `TimeGenerated` (column 0); the others were used in pruning already.
fn file_statistics(block: &Kept<'_>) -> Statistics {
    let at = |ns| Precision::Exact(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())));
    let time = ColumnStatistics {
        null_count: Precision::Exact(0),
        min_value: at(block.row.time.start),
        max_value: at(block.row.time.end),
        ..ColumnStatistics::new_unknown()
    };
    let rows = block.stats.as_ref().and_then(|stats| usize::try_from(stats.rows).ok());
    Statistics {
        num_rows: rows.map_or(Precision::Absent, if block.is_part() { Precision::Inexact } else { Precision::Exact }),
        total_byte_size: Precision::Absent,
        column_statistics: vec![time],
    }
}

/// Chains of blocks that follow each other without overlap, newest first in each.
fn chain(files: &[(TimeRange, PartitionedFile)]) -> Vec<FileGroup> {
    let mut chains: Vec<(i64, Vec<PartitionedFile>)> = Vec::new();
    for (time, file) in files {
        // The chain that ends closest above leaves the others for blocks that need them.
        match chains.iter_mut().filter(|(start, _)| *start > time.end).min_by_key(|(start, _)| *start) {
            Some((start, chain)) => {
                *start = time.start;
                chain.push(file.clone());
            }
            None => chains.push((time.start, vec![file.clone()])),
        }
    }
    chains.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
}

/// Deals blocks out to partitions by size, newest first in each.
pub(crate) fn deal(files: Vec<(TimeRange, PartitionedFile)>, partitions: usize) -> Vec<FileGroup> {
    let count = partitions.clamp(1, files.len().max(1));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
    for (_, file) in files {
        let group = groups.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("at least one");
        group.0 += file.object_meta.size;
        group.1.push(file);
    }
    groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // All are used to prune; the physical plan then pushes each into Parquet or leaves it where it is.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = state.config().target_partitions();
        let predicate = self.predicate(state, filters)?;
        let ask = Ask::of(filters, &self.schema);
        let span = self.span(filters);
        let blocks = self.blocks(span).await.map_err(|error| self.fault(error))?;
        let kept = self.prune(&blocks, predicate.as_ref(), ask.as_ref(), projection).await.map_err(|error| self.fault(error))?;
        // The timespan is ours to apply: its column must be read even if nobody asked for it.
        let timespan = self.timespan();
        let inner: Option<Vec<usize>> = match (projection, &timespan) {
            (Some(columns), Some(_)) if !columns.contains(&0) => Some(std::iter::once(0).chain(columns.iter().copied()).collect()),
            (columns, _) => columns.cloned(),
        };
        let mut parts = Vec::with_capacity(2);
        let memory = self.scan_memory(span, inner.as_ref(), partitions).await.map_err(|error| self.fault(error))?;
        parts.extend(memory);
        if !kept.is_empty() {
            parts.push(self.scan_blocks(&kept, inner.as_ref(), partitions)?);
        }
        let all = match parts.len() {
            0 => {
                let schema = match projection {
                    Some(columns) => Arc::new(self.schema.project(columns)?),
                    None => Arc::clone(&self.schema),
                };
                return Ok(Arc::new(EmptyExec::new(schema)));
            }
            1 => parts.remove(0),
            _ => UnionExec::try_new(parts)?,
        };
        let Some(timespan) = timespan else { return Ok(all) };
        let schema = DFSchema::try_from(Schema::clone(&all.schema()))?;
        let filter = FilterExecBuilder::new(state.create_physical_expr(timespan, &schema)?, all);
        let added = projection.is_some_and(|columns| !columns.contains(&0));
        let filter = if added {
            let width = projection.map_or(0, Vec::len);
            filter.apply_projection(Some((1..=width).collect()))?
        } else {
            filter
        };
        Ok(Arc::new(filter.build()?))
    }
}

impl LogTable {
    /// Keeps the typed error for the caller and gives DataFusion something to carry.
    fn fault(&self, error: QueryError) -> DataFusionError {
        let message = error.to_string();
        self.shared.context.fail(error);
        DataFusionError::External(message.into())
    }
}
