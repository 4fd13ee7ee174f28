//! The object store of a single machine: what is put is on disk, whole, when `put` returns.
//!
//! The stock local backend of `object_store` never calls fsync. Here every object is written to a file of its own in
//! `.staging`, synced, renamed to its place and the directories that are new are synced up to the root; after a power
//! cut an object is there whole or not at all, and there for certain once its `put` has returned. A name is a path of
//! ids below the root; `object_store::path::Path` cannot spell `..`, and [`Disk::place`] checks again.

mod disk;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use strongroom_world::World;

use self::disk::Disk;
use crate::StoreError;

/// One read of a whole object goes in pieces of this many bytes, so that memory stays bounded.
const PIECE_LEN: u64 = 1 << 20;
/// So many names wait between the walk of a listing and its reader.
const LISTED_AHEAD: usize = 1_024;
/// So many deletions of one stream run at once.
const DELETES_AT_ONCE: usize = 8;

/// Objects as files below one directory. All blocking calls run on the blocking pool.
#[derive(Clone, Debug)]
pub struct LocalObjects {
    disk: Arc<Disk>,
}

impl LocalObjects {
    /// Opens (or makes) the store below `dir` and removes what an interrupted `put` left behind. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if the directory cannot be made, listed or synced.
    pub fn open(world: World, dir: impl Into<PathBuf>) -> std::result::Result<Arc<Self>, StoreError> {
        let disk = Disk::open(world, dir.into()).map_err(|source| StoreError::Disk { doing: "opening the object store", source })?;
        Ok(Arc::new(Self { disk: Arc::new(disk) }))
    }

    /// Looks at the store below `dir` without making or removing anything: another process may be writing to it.
    /// Only reading works then.
    #[must_use]
    pub fn peek(world: World, dir: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self { disk: Arc::new(Disk::peek(world, dir.into())) })
    }

    /// Runs `work` on the blocking pool; it goes on to its end even if the caller stops waiting.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Disk) -> Result<T> + Send + 'static) -> Result<T> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk)).await?
    }
}

impl fmt::Display for LocalObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalObjects")
    }
}

fn refused<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented { operation: operation.to_owned(), implementer: "LocalObjects".to_owned() })
}

#[async_trait]
impl ObjectStore for LocalObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let replace = match opts.mode {
            PutMode::Create => false,
            PutMode::Overwrite => true,
            PutMode::Update(_) => return refused("put of a named version"),
        };
        if !opts.attributes.is_empty() {
            return refused("put with attributes");
        }
        let location = location.clone();
        let meta = self
            .blocking(move |disk| {
                disk.put(&location, replace, |file| {
                    let mut at = 0;
                    for chunk in &payload {
                        file.write_all_at(&[std::io::IoSlice::new(chunk)], at)?;
                        at += chunk.len() as u64;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(PutResult { e_tag: meta.e_tag, version: None })
    }

    /// Refused: a block is put whole, and a half-done upload would be one more thing to clean.
    async fn put_multipart_opts(&self, _location: &Path, _opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        refused("multipart upload")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            return refused("get of a version");
        }
        let path = location.clone();
        let (file, meta) = self.blocking(move |disk| disk.open_object(&path)).await?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|source| Error::Generic { store: disk::STORE, source: Box::new(source) })?,
            None => 0..meta.size,
        };
        let read = if options.head { range.start..range.start } else { range.clone() };
        let file: Arc<dyn strongroom_world::FsFile> = Arc::from(file);
        let pieces = stream::try_unfold((file, read, location.clone()), |(file, rest, location)| async move {
            if rest.is_empty() {
                return Ok(None);
            }
            let end = rest.end.min(rest.start + PIECE_LEN);
            let (from, opened) = (rest.start, Arc::clone(&file));
            let named = location.clone();
            let piece = tokio::task::spawn_blocking(move || disk::read_exact(opened.as_ref(), &named, &(from..end))).await??;
            Ok(Some((piece, (file, end..rest.end, location))))
        });
        Ok(GetResult { payload: GetResultPayload::Stream(pieces.boxed()), meta, range, attributes: object_store::Attributes::default() })
    }

    /// Reads exactly these ranges: a local read gains nothing from fetching the gaps between them.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (location, ranges) = (location.clone(), ranges.to_vec());
        self.blocking(move |disk| {
            let (file, meta) = disk.open_object(&location)?;
            ranges
                .iter()
                .map(|range| {
                    if range.is_empty() {
                        return Ok(Bytes::new());
                    }
                    let range = object_store::GetRange::Bounded(range.clone())
                        .as_range(meta.size)
                        .map_err(|source| Error::Generic { store: disk::STORE, source: Box::new(source) })?;
                    disk::read_exact(file.as_ref(), &location, &range)
                })
                .collect()
        })
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let path = location.clone();
                    store.blocking(move |disk| disk.delete(&path)).await?;
                    Ok(location)
                }
            })
            .buffered(DELETES_AT_ONCE)
            .boxed()
    }

    /// Walks the tree in name order while the stream is read, so a long listing costs little memory.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (disk, prefix) = (Arc::clone(&self.disk), prefix.cloned());
        let (send, mut listed) = tokio::sync::mpsc::channel(LISTED_AHEAD);
        // Only started when polled first: a listing nobody reads walks nothing.
        let mut walk = Some(move || {
            let outcome = disk.walk(prefix.as_ref(), &mut |meta| send.blocking_send(Ok(meta)).is_ok());
            if let Err(error) = outcome {
                // A reader that has gone wants no error either.
                drop(send.blocking_send(Err(error)));
            }
        });
        stream::poll_fn(move |context| {
            if let Some(walk) = walk.take() {
                tokio::task::spawn_blocking(walk);
            }
            listed.poll_recv(context)
        })
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned();
        self.blocking(move |disk| disk.list_one(prefix.as_ref())).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let replace = options.mode == CopyMode::Overwrite;
        let (from, to) = (from.clone(), to.clone());
        self.blocking(move |disk| {
            let (source, meta) = disk.open_object(&from)?;
            disk.put(&to, replace, |file| {
                let mut at = 0;
                while at < meta.size {
                    let piece =
                        disk::read_exact(source.as_ref(), &from, &(at..meta.size.min(at + PIECE_LEN))).map_err(std::io::Error::other)?;
                    file.write_all_at(&[std::io::IoSlice::new(&piece)], at)?;
                    at += piece.len() as u64;
                }
                Ok(())
            })
        })
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
