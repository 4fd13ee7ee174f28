//! `blk://`: the one place where sealed blocks become Parquet bytes.
//!
//! An [`ObjectStore`] that DataFusion reads from as from any other. Its paths are made of ids, it knows only the blocks that one
//! query may read, and it reads nothing of a block before the block's end is proved authentic.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::RwLock;
use strongroom_catalog::{BlockRow, GroupRow};
use strongroom_envelope::{CHUNK_LEN, Header, KeyGuard, ObjectKind, ObjectOpener, TAG_LEN};
use strongroom_model::{Epoch, ErrorKind};
use strongroom_store::{BlockStore, ObjectKey, Reader, StoreError, StoredBlock};
use tokio::sync::OnceCell;

use crate::QueryError;
use crate::context::QueryContext;
use crate::error::{guard_error, open_error};
use crate::openers::Openers;
use crate::readahead::is_ahead;

/// Scheme and host under which a query's blocks lie.
pub(crate) const BLK_URL: &str = "blk://blocks";

/// Plain ranges closer together than this are fetched and opened as one: a chunk or two is cheaper than a request.
const COALESCE_BYTES: u64 = 32 << 10;

/// The path of a block: account, AEK, workspace, table, window, object.
pub(crate) fn block_path(row: &BlockRow) -> Path {
    Path::from(format!("{}/{}/{}/{}/{}/{}", row.epoch.account, row.epoch.aek, row.workspace, row.table, row.window.start, row.object))
}

/// The epoch in such a path.
pub(crate) fn path_epoch(path: &Path) -> Option<Epoch> {
    let mut parts = path.as_ref().split('/');
    Some(Epoch { account: parts.next()?.parse().ok()?, aek: parts.next()?.parse().ok()? })
}

/// What the catalog's row says of where the block's bytes lie.
pub(crate) fn stored(row: &BlockRow) -> StoredBlock {
    StoredBlock {
        key: ObjectKey {
            account: row.epoch.account,
            workspace: row.workspace,
            table: row.table,
            window_start: row.window.start,
            object: row.object,
        },
        epoch: row.epoch,
        len: row.sealed_len,
        arrived_ms: row.arrived_ms,
    }
}

/// What a read of filters of several blocks fails with when they are gone: nobody needs them.
pub(crate) const GROUP_GONE: &str = "FiltersGone";

struct OpenBlock {
    stored: StoredBlock,
    header: Header,
    plain_len: u64,
    guard: KeyGuard,
    opener: OnceCell<ObjectOpener>,
}

/// The blocks of one query.
pub(crate) struct BlkStore {
    blocks: Arc<BlockStore>,
    openers: Arc<Openers>,
    context: Arc<QueryContext>,
    known: RwLock<HashMap<Path, Arc<OpenBlock>>>,
}

impl BlkStore {
    pub(crate) fn new(blocks: Arc<BlockStore>, openers: Arc<Openers>, context: Arc<QueryContext>) -> Arc<Self> {
        Arc::new(Self { blocks, openers, context, known: RwLock::new(HashMap::new()) })
    }

    /// Lets the query read a block under `guard`.
    pub(crate) fn admit(&self, row: &BlockRow, guard: &KeyGuard) -> Path {
        let path = block_path(row);
        self.known.write().entry(path.clone()).or_insert_with(|| {
            Arc::new(OpenBlock {
                stored: stored(row),
                header: Header {
                    kind: ObjectKind::Block,
                    double: guard.is_double(),
                    aek: row.epoch.aek,
                    account: row.epoch.account,
                    workspace: row.workspace,
                    table: row.table,
                    window_start: row.window.start,
                    object: row.object,
                },
                plain_len: row.plain_len,
                guard: guard.clone(),
                opener: OnceCell::new_with(self.openers.get(row.object, guard)),
            })
        });
        path
    }

    /// Lets the query read filters of several blocks under `guard`.
    pub(crate) fn admit_group(&self, row: &GroupRow, guard: &KeyGuard) -> Path {
        let (epoch, GroupRow { workspace, table, day, object, .. }) = (row.epoch, *row);
        let path = Path::from(format!("{}/{}/{workspace}/{table}/{day}/{object}", epoch.account, epoch.aek));
        let key = ObjectKey { account: epoch.account, workspace, table, window_start: day, object };
        self.known.write().entry(path.clone()).or_insert_with(|| {
            Arc::new(OpenBlock {
                stored: StoredBlock { key, epoch, len: row.sealed_len, arrived_ms: row.arrived_ms },
                header: Header {
                    kind: ObjectKind::Filters,
                    double: guard.is_double(),
                    aek: epoch.aek,
                    account: epoch.account,
                    workspace,
                    table,
                    window_start: day,
                    object,
                },
                plain_len: row.plain_len,
                guard: guard.clone(),
                opener: OnceCell::new_with(self.openers.get(object, guard)),
            })
        });
        path
    }

    fn find(&self, path: &Path) -> Result<Arc<OpenBlock>> {
        self.known
            .read()
            .get(path)
            .cloned()
            .ok_or_else(|| Error::NotFound { path: path.to_string(), source: "not a block of this query".into() })
    }

    /// Remembers why, and tells DataFusion that something failed.
    fn fail(&self, error: QueryError) -> Error {
        let message = error.to_string();
        if !is_ahead() {
            self.context.fail(error);
        }
        Error::Generic { store: "blk", source: message.into() }
    }

    async fn fetch(&self, block: &OpenBlock, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, QueryError> {
        let object = block.stored.key.object;
        let found = self.blocks.read(&block.stored, &block.guard, ranges, Reader::Query).await.map_err(|error| {
            let gone = block.header.kind == ObjectKind::Filters && matches!(error, StoreError::Missing { .. });
            let code = if gone { GROUP_GONE } else { error.code() };
            QueryError::new(error.kind(), code, error.to_string()).with_block(object)
        })?;
        self.context.stats.reads.fetch_add(1, Ordering::Relaxed);
        self.context.stats.bytes_read.fetch_add(found.iter().map(|b| b.len() as u64).sum(), Ordering::Relaxed);
        Ok(found)
    }

    /// The block's opener, its length and end proved.
    async fn opener<'a>(&self, block: &'a OpenBlock) -> Result<&'a ObjectOpener, QueryError> {
        block
            .opener
            .get_or_try_init(|| async {
                let (object, len) = (block.stored.key.object, block.stored.len);
                let failed = |error| open_error(&error, object);
                let prefix = 0..ObjectOpener::prefix_len(block.header.double).min(len);
                // The final chunk is at most this long under one layer: one trip brings both.
                let tail = len.saturating_sub((CHUNK_LEN + TAG_LEN) as u64)..len;
                let ends = self.fetch(block, &[prefix, tail.clone()]).await?;
                let now = self.context.world.clock.boot();
                let opener = ObjectOpener::new(&block.guard, now, &block.header, &ends[0], len).map_err(failed)?;
                let last = opener.final_range();
                let sealed = if last.start >= tail.start && last.end <= tail.end {
                    ends[1].slice(index(last.start - tail.start)..index(last.end - tail.start))
                } else {
                    self.fetch(block, std::slice::from_ref(&last)).await?.remove(0)
                };
                opener.prove_end(&block.guard, self.context.world.clock.boot(), &sealed).map_err(failed)?;
                if opener.plain_len() != block.plain_len {
                    return Err(QueryError::new(
                        ErrorKind::Corrupt,
                        "IntegrityError",
                        format!("block {object} holds {} bytes, its record says {}", opener.plain_len(), block.plain_len),
                    )
                    .with_block(object));
                }
                self.openers.put(object, &block.guard, opener.clone());
                Ok(opener)
            })
            .await
    }

    /// Opened ranges of a block that was admitted.
    pub(crate) async fn read_plain(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, QueryError> {
        let block = self.find(path).map_err(|_| QueryError::internal("a block is read that was not admitted"))?;
        self.read(&block, ranges).await
    }

    async fn read(&self, block: &OpenBlock, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, QueryError> {
        let clock = &self.context.world.clock;
        self.context.check_warrants()?;
        block.guard.check(clock.boot()).map_err(|error| guard_error(&error))?;
        let opener = self.opener(block).await?;
        let merged = coalesce(ranges);
        let sealed: Vec<_> = merged.iter().map(|plain| opener.sealed_range(plain.clone())).collect();
        let fetched = self.fetch(block, &sealed).await?;
        let mut plains = Vec::with_capacity(merged.len());
        for (plain, sealed) in merged.iter().zip(&fetched) {
            let bytes = opener
                .open_range(&block.guard, clock.boot(), plain.clone(), sealed)
                .map_err(|error| open_error(&error, block.stored.key.object))?;
            plains.push((plain.clone(), Bytes::from(bytes)));
        }
        ranges
            .iter()
            .map(|wanted| {
                plains
                    .iter()
                    .find(|(plain, _)| plain.start <= wanted.start && wanted.end <= plain.end)
                    .and_then(|(plain, bytes)| {
                        let slice = index(wanted.start - plain.start)..index(wanted.end - plain.start);
                        (slice.end <= bytes.len()).then(|| bytes.slice(slice))
                    })
                    .ok_or_else(|| {
                        QueryError::new(ErrorKind::Corrupt, "IntegrityError", format!("block {} ends early", block.stored.key.object))
                            .with_block(block.stored.key.object)
                    })
            })
            .collect()
    }

    fn meta(path: &Path, block: &OpenBlock) -> ObjectMeta {
        ObjectMeta { location: path.clone(), last_modified: DateTime::<Utc>::UNIX_EPOCH, size: block.plain_len, e_tag: None, version: None }
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at).expect("a range within memory")
}

/// The ranges in order, near ones as one.
fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(COALESCE_BYTES) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

impl fmt::Debug for BlkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlkStore")
    }
}
impl fmt::Display for BlkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blk")
    }
}

fn refused(what: &str) -> Error {
    Error::NotSupported { source: format!("{what}: a query only reads").into() }
}

#[async_trait]
impl ObjectStore for BlkStore {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(refused("put"))
    }
    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(refused("put"))
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let block = self.find(location)?;
        let meta = Self::meta(location, &block);
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|error| Error::Generic { store: "blk", source: Box::new(error) })?,
            None => 0..meta.size,
        };
        let bytes = if options.head || range.is_empty() {
            Bytes::new()
        } else {
            self.read(&block, std::slice::from_ref(&range)).await.map_err(|error| self.fail(error))?.remove(0)
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(Box::pin(stream::once(async move { Ok(bytes) }))),
            meta,
            range,
            attributes: object_store::Attributes::default(),
        })
    }
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let block = self.find(location)?;
        self.read(&block, ranges).await.map_err(|error| self.fail(error))
    }
    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        Box::pin(stream::once(async { Err(refused("delete")) }))
    }
    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        Box::pin(stream::once(async { Err(refused("list")) }))
    }
    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(refused("list"))
    }
    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(refused("copy"))
    }
}

/// Knows `blk://blocks` and nothing else: no file, no URL.
pub(crate) struct OnlyBlocks(pub(crate) Arc<BlkStore>);

impl fmt::Debug for OnlyBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnlyBlocks")
    }
}

impl ObjectStoreRegistry for OnlyBlocks {
    fn register_store(&self, _: &url::Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }
    fn get_store(&self, url: &url::Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        if url.as_str().trim_end_matches('/') == BLK_URL {
            return Ok(Arc::clone(&self.0) as _);
        }
        Err(datafusion::error::DataFusionError::Plan("queries read tables, not files or addresses".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_become_one_and_far_ones_stay_apart() {
        assert_eq!(coalesce(&[100..200, 0..50, 150..160]), vec![0..200]);
        assert_eq!(coalesce(&[0..10, 1_000_000..1_000_010]), vec![0..10, 1_000_000..1_000_010]);
        assert!(coalesce(&[]).is_empty());
    }
}
