//! An object store that counts what is asked of it, and answers no request before others had their chance.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<InMemory>,
    /// How long each read takes, milliseconds.
    pub(crate) slow_ms: AtomicU64,
    /// Reads so far.
    pub(crate) reads: AtomicU64,
    now: AtomicU64,
    /// Most reads at once.
    pub(crate) most: AtomicU64,
}

impl Watched {
    pub(crate) fn over(inner: Arc<InMemory>) -> Arc<Self> {
        Arc::new(Self { inner, slow_ms: AtomicU64::new(0), reads: AtomicU64::new(0), now: AtomicU64::new(0), most: AtomicU64::new(0) })
    }

    /// Forgets what it counted; answers reads, and most at once.
    pub(crate) fn told(&self) -> (u64, u64) {
        (self.reads.swap(0, Ordering::Relaxed), self.most.swap(0, Ordering::Relaxed))
    }

    async fn wait(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let slow = self.slow_ms.load(Ordering::Relaxed);
        if slow > 0 {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(slow)).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.wait().await;
        self.inner.get_opts(location, options).await
    }
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.wait().await;
        self.inner.get_ranges(location, ranges).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
