//! Reading through the cache: which parts are here, which are worth keeping, which bytes are fetched.
//!
//! A part that is missing is fetched whole and kept if its block arrived within the hot window, or if an earlier
//! query has read that part already. Otherwise only the very bytes asked for are fetched: one look at an old block
//! neither pulls a megabyte for a footer nor drives out what is hot.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use strongroom_envelope::{GuardError, KeyGuard, OpenError, PartKey};
use strongroom_world::World;

use super::index::{Entry, PartId, file_of};
use super::slot::{Counters, Slot};
use super::{HotCache, PART_LEN, count_in};
use crate::{Reader, StoreError, StoredBlock};

/// Why a fill put nothing into the index.
enum NotKept {
    /// The bytes are here all the same.
    Bytes(Bytes),
    /// They are not; each waiter asks again for itself and gets its own error.
    Nothing,
}

/// What one read needs to know to fill a part.
pub(super) struct Fill {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) block: StoredBlock,
    pub(super) slot: Arc<Slot>,
    pub(super) key: Arc<PartKey>,
    pub(super) until_ms: i64,
}

/// Bytes of a part, or of as much of it as was asked for.
struct Piece {
    /// Where in the object they begin.
    start: u64,
    bytes: Bytes,
}

/// The bytes of the object that a part covers.
fn range_of(block: &StoredBlock, part: u32) -> Range<u64> {
    let start = u64::from(part) * PART_LEN;
    start..(start + PART_LEN).min(block.len)
}

/// The parts that a range of the object touches.
pub(super) fn parts_of(range: &Range<u64>) -> Range<u32> {
    if range.is_empty() {
        return 0..0;
    }
    let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
    number(range.start / PART_LEN)..number(range.end.div_ceil(PART_LEN))
}

/// The parts that these ranges touch, and what each is wanted for: from the first byte in it to the last.
fn spans_of(block: &StoredBlock, ranges: &[Range<u64>]) -> BTreeMap<u32, Range<u64>> {
    let mut spans: BTreeMap<u32, Range<u64>> = BTreeMap::new();
    for range in ranges {
        for part in parts_of(range) {
            let wanted = overlap(range, &range_of(block, part));
            let span = spans.entry(part).or_insert_with(|| wanted.clone());
            *span = span.start.min(wanted.start)..span.end.max(wanted.end);
        }
    }
    spans
}

/// `range` (of the object) out of the bytes that start at `base`.
fn cut(bytes: &Bytes, base: u64, range: Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset - base).expect("within bytes in memory");
    bytes.slice(at(range.start)..at(range.end))
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> Range<u64> {
    one.start.max(other.start)..one.end.min(other.end)
}

impl HotCache {
    /// Keeps a copy of a block that was just put, if it is young enough. Never fails its caller.
    pub(crate) async fn admit(&self, block: &StoredBlock, sealed: &Bytes, guard: &KeyGuard) {
        let now_ms = self.world.clock.wall().unix_ms();
        if !self.config.enabled || !self.is_young(block, now_ms) {
            return;
        }
        let Some(slot) = self.slot_for(block, guard).await else { return };
        let Ok(Some(key)) = slot.part_key(guard, &self.world) else { return };
        let until_ms = block.arrived_ms.saturating_add(self.hot_ms());
        let (world, config, block, sealed) = (self.world.clone(), self.config.clone(), *block, sealed.clone());
        let filled = tokio::task::spawn_blocking(move || {
            let mut entries = Vec::new();
            for part in parts_of(&(0..block.len)) {
                let bytes = cut(&sealed, 0, range_of(&block, part));
                let free_min = |total| config.free_min(total);
                match write_part(&world, free_min, &slot, &key, &block, part, &bytes, until_ms) {
                    Some(entry) => entries.push(entry),
                    None => break,
                }
            }
            entries
        });
        for (id, entry) in filled.await.unwrap_or_default() {
            let slot = Arc::clone(&entry.slot);
            self.insert(id.clone(), entry).await;
            self.drop_if_dead(&slot, &id).await;
        }
    }

    /// The bytes of `ranges`, all of which lie within the block.
    pub(crate) async fn read(
        self: &Arc<Self>,
        objects: &Arc<dyn ObjectStore>,
        block: &StoredBlock,
        guard: &KeyGuard,
        ranges: &[Range<u64>],
        by: Reader,
    ) -> Result<Vec<Bytes>, StoreError> {
        let counters = self.counters_of(block.key.workspace);
        let wanted = spans_of(block, ranges);
        let mut have = if self.config.enabled { self.on_disk(block, guard, &wanted, by, &counters).await? } else { BTreeMap::new() };
        let missing: Vec<u32> = wanted.into_keys().filter(|part| !have.contains_key(part)).collect();
        counters.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        metrics::counter!("store_cache_misses_total").increment(missing.len() as u64);

        let worth: Vec<u32> = match by {
            Reader::Query if self.config.enabled => missing.into_iter().filter(|part| self.is_worthwhile(block, *part)).collect(),
            _ => Vec::new(),
        };
        if !worth.is_empty() {
            have.append(&mut self.fill_all(objects, block, guard, worth, &counters).await?);
        }
        Self::fetch_rest(objects, block, ranges, &have, &counters).await
    }

    /// Whether a part that is not here is to be kept once it is fetched.
    fn is_worthwhile(&self, block: &StoredBlock, part: u32) -> bool {
        if self.is_young(block, self.world.clock.wall().unix_ms()) {
            return true;
        }
        let (key, now) = ((block.key.object, part), self.world.clock.boot());
        if let Some(first) = self.touched.get(&key) {
            return now.since(first) >= self.repeat_after();
        }
        self.touched.insert(key, now);
        false
    }

    /// What is wanted of the parts that are on disk, opened. One that does not open is dropped and counted.
    async fn on_disk(
        &self,
        block: &StoredBlock,
        guard: &KeyGuard,
        wanted: &BTreeMap<u32, Range<u64>>,
        by: Reader,
        counters: &Counters,
    ) -> Result<BTreeMap<u32, Piece>, StoreError> {
        let Some(slot) = self.slot(block.key.workspace, block.epoch.aek) else { return Ok(BTreeMap::new()) };
        let Some(key) = slot.part_key(guard, &self.world)? else { return Ok(BTreeMap::new()) };
        let now_ms = self.world.clock.wall().unix_ms();
        let mut found = Vec::new();
        for (&part, span) in wanted {
            let Some(name) = slot.part_name(block.key.object, part) else { break };
            let id = PartId::new(&slot, &name);
            match self.index.get(&id).await {
                Some(entry) if entry.is_over(now_ms) => self.index.invalidate(&id).await,
                Some(entry) => found.push((part, span.clone(), id, entry)),
                None => {}
            }
        }
        if found.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (world, block) = (self.world.clone(), *block);
        let read = move || {
            let open = |(part, span, id, entry): (u32, Range<u64>, PartId, Arc<Entry>)| {
                let bytes = read_part(&world, &key, &block, part, &span, &entry);
                (part, id, bytes.map(|bytes| bytes.map(|bytes| Piece { start: span.start, bytes })))
            };
            found.into_iter().map(open).collect::<Vec<_>>()
        };
        let opened = match by {
            // Queries run on threads of their own, which would only wait: from an SSD, or mostly from memory, handing over
            // costs more than reading.
            Reader::Query => read(),
            Reader::Maintain => {
                tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Stopped { doing: "reading the hot cache" })?
            }
        };
        let mut have = BTreeMap::new();
        for (part, id, piece) in opened {
            if let Some(piece) = piece? {
                have.insert(part, piece);
            } else {
                self.index.invalidate(&id).await;
            }
        }
        counters.hits.fetch_add(have.len() as u64, Ordering::Relaxed);
        metrics::counter!("store_cache_hits_total").increment(have.len() as u64);
        Ok(have)
    }

    async fn fill_all(
        self: &Arc<Self>,
        objects: &Arc<dyn ObjectStore>,
        block: &StoredBlock,
        guard: &KeyGuard,
        parts: Vec<u32>,
        counters: &Arc<Counters>,
    ) -> Result<BTreeMap<u32, Piece>, StoreError> {
        let Some(slot) = self.slot_for(block, guard).await else { return Ok(BTreeMap::new()) };
        let Some(key) = slot.part_key(guard, &self.world)? else { return Ok(BTreeMap::new()) };
        let now_ms = self.world.clock.wall().unix_ms();
        let queried = now_ms.saturating_add(i64::from(self.config.queried_hours) * 3_600_000);
        let until_ms = block.arrived_ms.saturating_add(self.hot_ms()).max(queried);
        let fill = Arc::new(Fill { objects: Arc::clone(objects), block: *block, slot, key: Arc::new(key), until_ms });
        futures::stream::iter(parts)
            .map(|part| {
                let (cache, fill, counters) = (Arc::clone(self), Arc::clone(&fill), Arc::clone(counters));
                // A task of its own: a caller that stops waiting leaves no half-known file behind.
                let filling = tokio::spawn(async move { cache.fill(&fill, part, &counters).await });
                async move {
                    let bytes = filling.await.map_err(|_| StoreError::Stopped { doing: "filling the hot cache" })??;
                    Ok((part, Piece { start: u64::from(part) * PART_LEN, bytes }))
                }
            })
            .buffer_unordered(self.config.fetch_concurrency.max(1))
            .try_collect()
            .await
    }

    /// Fetches one part and keeps it; everybody who asks for it meanwhile waits for this one fetch.
    pub(super) async fn fill(&self, fill: &Fill, part: u32, counters: &Counters) -> Result<Bytes, StoreError> {
        let Some(name) = fill.slot.part_name(fill.block.key.object, part) else {
            return fetch(fill, part, counters).await;
        };
        let id = PartId::new(&fill.slot, &name);
        let (mut own, mut failed) = (None, None);
        let outcome = self
            .index
            .try_get_with(id.clone(), async {
                let bytes = match fetch(fill, part, counters).await {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        failed = Some(error);
                        return Err(NotKept::Nothing);
                    }
                };
                own = Some(bytes.clone());
                self.keep(fill, part, &bytes).await.ok_or(NotKept::Bytes(bytes))
            })
            .await;
        if let Some(error) = failed {
            return Err(error);
        }
        self.drop_if_dead(&fill.slot, &id).await;
        if let Some(bytes) = own {
            return Ok(bytes);
        }
        match outcome {
            Ok(entry) => {
                let (world, key, block) = (self.world.clone(), Arc::clone(&fill.key), fill.block);
                let read =
                    tokio::task::spawn_blocking(move || read_part(&world, &key, &block, part, &range_of(&block, part), &entry)).await;
                match read.map_err(|_| StoreError::Stopped { doing: "reading the hot cache" })?? {
                    Some(bytes) => Ok(bytes),
                    None => fetch(fill, part, counters).await,
                }
            }
            Err(not_kept) => match not_kept.as_ref() {
                NotKept::Bytes(bytes) => Ok(bytes.clone()),
                NotKept::Nothing => fetch(fill, part, counters).await,
            },
        }
    }

    async fn keep(&self, fill: &Fill, part: u32, bytes: &Bytes) -> Option<Arc<Entry>> {
        let (world, config, bytes) = (self.world.clone(), self.config.clone(), bytes.clone());
        let (slot, key, block, until_ms) = (Arc::clone(&fill.slot), Arc::clone(&fill.key), fill.block, fill.until_ms);
        let write = move || write_part(&world, |total| config.free_min(total), &slot, &key, &block, part, &bytes, until_ms);
        let (_, entry) = tokio::task::spawn_blocking(write).await.ok()??;
        count_in(&entry);
        Some(entry)
    }

    /// A part filled while its slot was being erased goes at once.
    async fn drop_if_dead(&self, slot: &Slot, id: &PartId) {
        if slot.is_dead() {
            self.index.invalidate(id).await;
        }
    }

    /// Fetches exactly the bytes of `ranges` that `have` lacks, and puts the answers together.
    async fn fetch_rest(
        objects: &Arc<dyn ObjectStore>,
        block: &StoredBlock,
        ranges: &[Range<u64>],
        have: &BTreeMap<u32, Piece>,
        counters: &Counters,
    ) -> Result<Vec<Bytes>, StoreError> {
        // Each range as a row of pieces: bytes we have, or the place in the list of gaps to fetch.
        let mut gaps: Vec<Range<u64>> = Vec::new();
        let mut rows: Vec<Vec<Result<Bytes, usize>>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            let mut row: Vec<Result<Bytes, usize>> = Vec::new();
            for part in parts_of(range) {
                let wanted = overlap(range, &range_of(block, part));
                match (have.get(&part), row.last()) {
                    (Some(piece), _) => row.push(Ok(cut(&piece.bytes, piece.start, wanted))),
                    (None, Some(Err(gap))) => gaps[*gap].end = wanted.end,
                    (None, _) => {
                        row.push(Err(gaps.len()));
                        gaps.push(wanted);
                    }
                }
            }
            rows.push(row);
        }
        let fetched = if gaps.is_empty() { Vec::new() } else { fetch_exact(objects, block, &gaps).await? };
        for (gap, bytes) in gaps.iter().zip(&fetched) {
            check_len(block, gap, bytes)?;
            count_fetched(counters, bytes);
        }
        let piece = |piece: Result<Bytes, usize>| piece.unwrap_or_else(|gap| fetched[gap].clone());
        Ok(rows.into_iter().map(|row| join(row.into_iter().map(piece).collect())).collect())
    }
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}

fn count_fetched(counters: &Counters, bytes: &Bytes) {
    counters.fetched_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    metrics::counter!("store_fetched_bytes_total").increment(bytes.len() as u64);
}

/// Bytes of a block; the object's own length is checked on the way, for bytes hung on at its end would else go unseen.
async fn fetch_range(objects: &Arc<dyn ObjectStore>, block: &StoredBlock, range: &Range<u64>) -> Result<Bytes, StoreError> {
    let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
    let got = match objects.get_opts(&block.key.path(), options).await {
        Ok(got) => got,
        Err(error) => return Err(diagnose(objects, block, error).await),
    };
    if got.meta.size != block.len {
        return Err(StoreError::OutOfRange {
            key: block.key.to_string(),
            start: got.meta.size.min(block.len),
            end: block.len.max(got.meta.size),
        });
    }
    got.bytes().await.map_err(StoreError::objects(&block.key))
}

/// Several ranges; the one with the object's end, which every reader proves first, checks its length.
async fn fetch_exact(objects: &Arc<dyn ObjectStore>, block: &StoredBlock, gaps: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
    let is_end = |gap: &&Range<u64>| gap.end == block.len;
    let inner: Vec<_> = gaps.iter().filter(|gap| !is_end(gap)).cloned().collect();
    let mut fetched = if inner.is_empty() {
        Vec::new()
    } else {
        match objects.get_ranges(&block.key.path(), &inner).await {
            Ok(fetched) => fetched,
            Err(error) => return Err(diagnose(objects, block, error).await),
        }
    }
    .into_iter();
    let mut all = Vec::with_capacity(gaps.len());
    for gap in gaps {
        all.push(if is_end(&gap) { fetch_range(objects, block, gap).await? } else { fetched.next().unwrap_or_default() });
    }
    Ok(all)
}

/// An object that is shorter or longer than it was when it was put is damage, not an outage of the store.
async fn diagnose(objects: &Arc<dyn ObjectStore>, block: &StoredBlock, error: object_store::Error) -> StoreError {
    match objects.head(&block.key.path()).await {
        Ok(meta) if meta.size != block.len => {
            StoreError::OutOfRange { key: block.key.to_string(), start: meta.size.min(block.len), end: block.len }
        }
        _ => StoreError::objects(&block.key)(error),
    }
}

fn check_len(block: &StoredBlock, range: &Range<u64>, bytes: &Bytes) -> Result<(), StoreError> {
    if bytes.len() as u64 == range.end - range.start {
        return Ok(());
    }
    Err(StoreError::OutOfRange { key: block.key.to_string(), start: range.start, end: range.end })
}

async fn fetch(fill: &Fill, part: u32, counters: &Counters) -> Result<Bytes, StoreError> {
    let range = range_of(&fill.block, part);
    let bytes = fetch_range(&fill.objects, &fill.block, &range).await?;
    check_len(&fill.block, &range, &bytes)?;
    count_fetched(counters, &bytes);
    Ok(bytes)
}

/// Reads what holds `span` (of the object) from a part's file and opens it. `None` if it is gone or does not open: then the
/// part is to be dropped and fetched again.
fn read_part(
    world: &World,
    key: &PartKey,
    block: &StoredBlock,
    part: u32,
    span: &Range<u64>,
    entry: &Entry,
) -> Result<Option<Bytes>, GuardError> {
    let range = range_of(block, part);
    let len = range.end - range.start;
    let plain = span.start - range.start..span.end - range.start;
    let lies = PartKey::sealed_range(len, &plain);
    let Ok((prefix, sealed)) = read_chunks(world, &entry.path(), PartKey::file_len(len), &lies) else {
        metrics::counter!("store_cache_unreadable_total", "why" => "file").increment(1);
        return Ok(None);
    };
    match key.open_part_range(world.clock.boot(), block.key.object, part, len, &plain, &prefix, &sealed) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(OpenError::Guard(error)) => Err(error),
        Err(_) => {
            metrics::counter!("store_cache_unreadable_total", "why" => "tag").increment(1);
            tracing::warn!(object = %block.key.object, part, "a cached part does not open; it is fetched again");
            Ok(None)
        }
    }
}

/// A part's prefix and some of its chunks; an error if the file is not as long as it must be.
fn read_chunks(world: &World, path: &Path, file_len: u64, lies: &Range<u64>) -> io::Result<([u8; PartKey::PREFIX_LEN], Vec<u8>)> {
    let file = world.fs.open_read(path)?;
    let mut prefix = [0; PartKey::PREFIX_LEN];
    let mut sealed = vec![0; usize::try_from(lies.end - lies.start).map_err(io::Error::other)?];
    let whole =
        file.len()? == file_len && file.read_at(&mut prefix, 0)? == prefix.len() && file.read_at(&mut sealed, lies.start)? == sealed.len();
    if whole { Ok((prefix, sealed)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Seals a part and writes its file. Not synced: after a power cut a torn file fails its tag and is fetched again.
/// `None` if there is no room or the disk fails.
#[expect(clippy::too_many_arguments, reason = "one call of two callers; a struct would only rename them")]
fn write_part(
    world: &World,
    free_min: impl Fn(u64) -> u64,
    slot: &Arc<Slot>,
    key: &PartKey,
    block: &StoredBlock,
    part: u32,
    bytes: &[u8],
    until_ms: i64,
) -> Option<(PartId, Arc<Entry>)> {
    fail::fail_point!("cache.fill", |_| None);
    let space = world.fs.space(&slot.dir).ok()?;
    if space.free < free_min(space.total) {
        metrics::counter!("store_cache_no_room_total").increment(1);
        return None;
    }
    let name = slot.part_name(block.key.object, part)?;
    let sealed = key.seal_part(world.clock.boot(), world.rng.as_ref(), block.key.object, part, bytes).ok()?;
    let file = file_of(&name, until_ms, world);
    let (path, temporary) = (slot.dir.join(&file), slot.dir.join(format!("{file}.tmp")));
    let written = world.fs.create_new(&temporary).and_then(|out| {
        out.write_all_at(&[IoSlice::new(&sealed)], 0)?;
        world.fs.rename(&temporary, &path)
    });
    if let Err(error) = written {
        tracing::debug!(kind = ?error.kind(), "a part could not be cached");
        drop(world.fs.remove_file(&temporary));
        return None;
    }
    let len = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
    let entry = Entry { slot: Arc::clone(slot), file, len, until_ms: AtomicI64::new(until_ms) };
    Some((PartId::new(slot, &name), Arc::new(entry)))
}
