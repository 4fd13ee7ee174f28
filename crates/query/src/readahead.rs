//! Footers ahead of the scan: DataFusion opens one file after the other, and each costs a few trips to the object store.
//!
//! Whoever opens a block has the ends of the next few read meanwhile, so many and no more: a scan that stops early has read that
//! much for nothing. What is ahead only fills the caches; if it fails, nobody hears of it, until the scan itself comes there.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::ParquetMetaData;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

tokio::task_local! {
    /// Set while something is read that may never be asked for.
    static AHEAD: ();
}

/// What is done so fails nobody's query.
pub(crate) async fn ahead<T>(what: impl Future<Output = T>) -> T {
    AHEAD.scope((), what).await
}

/// Whether the task reads ahead: what fails then is no failure of the query.
pub(crate) fn is_ahead() -> bool {
    AHEAD.try_with(|()| ()).is_ok()
}

/// Makes readers that have the blocks after theirs opened.
pub(crate) struct Readahead {
    stock: CachedParquetFileReaderFactory,
    footers: Arc<FileMetadataCache>,
    /// In the order in which they will be wanted.
    files: Vec<PartitionedFile>,
    places: HashMap<Path, usize>,
    ahead: usize,
    state: Mutex<State>,
    /// For the readers, which outlive the plan's hold on this by nothing.
    me: Weak<Self>,
}

#[derive(Default)]
struct State {
    /// The first that was not looked at.
    next: usize,
    /// Under way or done; ended with the scan.
    tasks: JoinSet<()>,
    begun: HashMap<usize, Arc<OnceCell<()>>>,
}

impl fmt::Debug for Readahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readahead").field("files", &self.files.len()).field("ahead", &self.ahead).finish_non_exhaustive()
    }
}

impl Readahead {
    /// Over these files, at most `ahead` of them further than the scan is; 0: none.
    pub(crate) fn over(
        store: Arc<dyn ObjectStore>,
        footers: Arc<FileMetadataCache>,
        files: Vec<PartitionedFile>,
        ahead: usize,
    ) -> Arc<Self> {
        let places = files.iter().enumerate().map(|(at, file)| (file.object_meta.location.clone(), at)).collect();
        let stock = CachedParquetFileReaderFactory::new(store, Arc::clone(&footers));
        Arc::new_cyclic(|me| Self { stock, footers, files, places, ahead, state: Mutex::default(), me: me.clone() })
    }

    /// Begins with what lies after `at`, and tells what was begun of `at` itself.
    fn begin(&self, at: usize, options: Option<&ArrowReaderOptions>) -> Option<Arc<OnceCell<()>>> {
        let mut state = self.state.lock();
        while state.tasks.try_join_next().is_some() {}
        let end = (at + 1).saturating_add(self.ahead).min(self.files.len());
        for next in state.next.max(at + 1)..end {
            if self.footers.contains_key(&self.files[next].object_meta.location) {
                continue;
            }
            let cell = Arc::new(OnceCell::new());
            state.begun.insert(next, Arc::clone(&cell));
            let (me, options) = (self.me.clone(), options.cloned());
            let one = async move {
                let Some(mut reader) = me.upgrade().and_then(|me| me.reader(next)) else { return };
                cell.get_or_init(|| async {
                    drop(reader.get_metadata(options.as_ref()).await);
                })
                .await;
            };
            state.tasks.spawn(AHEAD.scope((), one));
        }
        state.next = state.next.max(end);
        state.begun.remove(&at)
    }

    fn reader(&self, at: usize) -> Option<Box<dyn AsyncFileReader + Send>> {
        let file = &self.files[at];
        self.stock.create_reader(0, file.clone(), file.metadata_size_hint, &ExecutionPlanMetricsSet::new()).ok()
    }
}

impl ParquetFileReaderFactory for Readahead {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let at = self.places.get(&file.object_meta.location).copied();
        let stock = self.stock.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(match (at, self.me.upgrade()) {
            (Some(at), Some(ahead)) if self.ahead > 0 => Box::new(AheadReader { stock, at, ahead }),
            _ => stock,
        })
    }
}

/// The stock reader, which first sees to those after it.
struct AheadReader {
    stock: Box<dyn AsyncFileReader + Send>,
    at: usize,
    ahead: Arc<Readahead>,
}

impl AsyncFileReader for AheadReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.stock.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        self.stock.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            if let Some(begun) = self.ahead.begin(self.at, options) {
                // Under way: one trip serves both. Not begun yet: it need not be any more.
                begun.get_or_init(|| async {}).await;
            }
            self.stock.get_metadata(options).await
        }
        .boxed()
    }
}
