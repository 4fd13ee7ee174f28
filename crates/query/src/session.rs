//! Sessions: one template, one session per query, nothing in them that reaches outside.

use std::sync::Arc;

use datafusion::config::Dialect;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::{CacheManagerConfig, FileMetadataCache};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::prelude::SessionConfig;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

use crate::QueryConfig;
use crate::blk::{BlkStore, OnlyBlocks};
use crate::counted::AnswerFromCounts;
use crate::kql::KqlPlanner;
use crate::spill::SpillFiles;
use crate::thin::ThinBeforeGroups;

/// What all sessions share.
pub(crate) struct Sessions {
    template: SessionState,
    pool: Arc<dyn MemoryPool>,
    footers: Arc<FileMetadataCache>,
    footers_bytes: usize,
    spill: bool,
}

impl Sessions {
    pub(crate) fn new(config: &QueryConfig, footers: Arc<FileMetadataCache>) -> Self {
        let top = std::num::NonZeroUsize::new(3).expect("three");
        let pool: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(FairSpillPool::new(config.memory_bytes), top));
        Self { template: template(config), pool, footers, footers_bytes: config.metadata_cache_bytes, spill: config.spill_bytes > 0 }
    }

    /// Bytes that operators hold now.
    pub(crate) fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    /// A session that can read these blocks and spill to these files.
    pub(crate) fn session(&self, blk: Arc<BlkStore>, spill: Arc<SpillFiles>) -> Result<SessionState> {
        let caches = CacheManagerConfig::default()
            .with_file_metadata_cache(Some(Arc::clone(&self.footers)))
            .with_metadata_cache_limit(self.footers_bytes)
            .with_file_statistics_cache_limit(0)
            .with_list_files_cache_limit(0);
        let mode = if self.spill { DiskManagerMode::Custom(spill) } else { DiskManagerMode::Disabled };
        let runtime: Arc<RuntimeEnv> = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(&self.pool))
            .with_cache_manager(caches)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .with_object_store_registry(Arc::new(OnlyBlocks(blk)))
            .build_arc()?;
        let mut state = SessionStateBuilder::new_from_existing(self.template.clone()).with_runtime_env(runtime).build();
        // Without it `now()` stays unresolved until it runs, and fails there.
        state.mark_start_execution();
        Ok(state)
    }
}

fn template(config: &QueryConfig) -> SessionState {
    let mut session = SessionConfig::new()
        .with_target_partitions(config.threads.max(1))
        .with_batch_size(config.batch_rows)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_collect_statistics(false);
    let options = session.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = false;
    options.execution.parquet.schema_force_view_types = true;
    options.execution.parquet.bloom_filter_on_read = true;
    // What a sort keeps aside for merging its spill: the default of 10 MiB would be all of a small pool.
    options.execution.sort_spill_reservation_bytes = (config.memory_bytes / 8).min(10 << 20);
    options.execution.sort_pushdown_buffer_capacity = 16 << 20;
    // The hundred rows that a `top` leaves are not worth spreading over threads again, and sorting once more.
    options.execution.use_row_number_estimates_to_optimize_partitioning = true;
    // Pushing struct members down fails where the struct is an aggregate ("duplicate unqualified field name").
    options.optimizer.enable_leaf_expression_pushdown = false;
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.dialect = Dialect::PostgreSQL;
    let mut rules = PhysicalOptimizer::new().rules;
    if config.counts {
        // First: below an aggregate there are then only filters, projections and scans, each where it was planned.
        rules.insert(0, Arc::new(AnswerFromCounts));
    }
    rules.push(Arc::new(ThinBeforeGroups));
    rules.push(Arc::new(JoinsYield));
    SessionStateBuilder::new()
        .with_config(session)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_query_planner(Arc::new(KqlPlanner))
        .with_physical_optimizer_rules(rules)
        .build()
}

/// Makes joins give way. A join makes any number of rows out of one batch without ever waiting, so a dropped query would run on
/// and hold its thread (apache/datafusion#19358); behind a cooperative step it yields every so many batches.
#[derive(Debug)]
struct JoinsYield;

impl PhysicalOptimizerRule for JoinsYield {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let is_join = plan.name().ends_with("JoinExec") || matches!(plan.name(), "UnnestExec" | "ExpandExec");
            Ok(if is_join {
                Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>)
            } else {
                Transformed::no(plan)
            })
        })
        .map(|done| done.data)
    }

    fn name(&self) -> &'static str {
        "joins_yield"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
