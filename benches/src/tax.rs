//! The encryption tax: CPU time spent inside `envelope` over CPU time of the run.
//!
//! There is no build without encryption to compare with, and no clock inside `envelope`. So what a run sealed and opened
//! is done once more on its own, object by object in the same sizes through the same functions, under the thread's CPU
//! clock: copies and allocations that belong to sealing are counted with it.

use std::time::Duration;

use strongroom_catalog::BlockRow;
use strongroom_envelope::{CHUNK_LEN, CacheKey, Header, ObjectKind, ObjectOpener, SegmentCipher, TAG_LEN, open, seal};
use strongroom_model::{ObjectId, TableId, WorkspaceId};

use crate::House;
use crate::clock::on_thread;

/// Bytes of a hot-cache part.
const PART_LEN: usize = 1 << 20;

/// CPU time of `envelope` in a run, by what it was spent on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tax {
    /// Sealing log records.
    pub log: Duration,
    /// Sealing blocks.
    pub seal: Duration,
    /// Sealing hot-cache parts.
    pub cache: Duration,
    /// Opening whole blocks.
    pub open: Duration,
}

impl Tax {
    /// All of it that writing costs.
    #[must_use]
    pub fn of_writing(&self) -> Duration {
        self.log + self.seal + self.cache
    }
}

/// Seals so many log records of `len` bytes, chained as in a segment.
///
/// # Panics
/// If sealing is refused.
#[must_use]
pub fn log_records(house: &House, records: usize, len: usize) -> Duration {
    let block = house.live_blocks().pop().expect("a block");
    let guard = house.guard(&block);
    let (now, rng) = (house.world.clock.boot(), house.world.rng.as_ref());
    let header = Header {
        kind: ObjectKind::Wal,
        double: false,
        aek: block.epoch.aek,
        account: block.epoch.account,
        workspace: WorkspaceId::NIL,
        table: TableId::NIL,
        window_start: 30,
        object: minted(house),
    };
    let mut buffer = vec![7; len];
    let ((), took) = on_thread(|| {
        let (cipher, _) = SegmentCipher::create(&guard, now, rng, &header).expect("a segment");
        let mut previous = [0; TAG_LEN];
        for seq in 1..=records as u64 {
            previous = cipher.seal_record(&guard, now, seq, seq - 1, &previous, &mut buffer, 0).expect("a record");
        }
    });
    took
}

/// Opens, seals and caches these blocks once more.
///
/// # Panics
/// If one does not open.
#[must_use]
pub fn blocks(house: &House, blocks: &[BlockRow]) -> Tax {
    let mut tax = Tax::default();
    let (now, rng) = (house.world.clock.boot(), house.world.rng.as_ref());
    for block in blocks {
        let (guard, sealed) = (house.guard(block), house.sealed(block));
        let header = House::header(block, guard.is_double());
        let (plain, took) = on_thread(|| open(&guard, now, &header, &sealed).expect("a block opens"));
        tax.open += took;
        let fresh = Header { object: minted(house), ..header };
        let (again, took) = on_thread(|| seal(&guard, now, rng, &fresh, &plain).expect("a block"));
        tax.seal += took;
        let key = CacheKey::generate(rng).effective(Some(&guard), now).expect("a guard that lives");
        let ((), took) = on_thread(|| {
            for (part, bytes) in again.chunks(PART_LEN).enumerate() {
                let part = u32::try_from(part).expect("few parts");
                drop(key.seal_part(now, rng, fresh.object, part, bytes).expect("a part"));
            }
        });
        tax.cache += took;
    }
    tax
}

/// What opening `bytes` sealed bytes costs when they are read in ranges of a column chunk's size: measured over all
/// chunks of these blocks, scaled to `bytes`.
///
/// # Panics
/// If a block does not open.
#[must_use]
pub fn opening(house: &House, blocks: &[BlockRow], bytes: u64) -> Duration {
    const RANGE: u64 = 16 * CHUNK_LEN as u64;
    let now = house.world.clock.boot();
    let (mut spent, mut covered) = (Duration::ZERO, 0_u64);
    for block in blocks {
        let (guard, sealed) = (house.guard(block), house.sealed(block));
        let header = House::header(block, guard.is_double());
        let ((), took) = on_thread(|| {
            let prefix = usize::try_from(ObjectOpener::prefix_len(header.double)).expect("a few chunks").min(sealed.len());
            let opener = ObjectOpener::new(&guard, now, &header, &sealed[..prefix], block.sealed_len).expect("a block opens");
            for start in (0..block.plain_len).step_by(usize::try_from(RANGE).expect("a quarter MiB")) {
                let plain = start..(start + RANGE).min(block.plain_len);
                let range = opener.sealed_range(plain.clone());
                let part = &sealed[usize::try_from(range.start).expect("in memory")..usize::try_from(range.end).expect("in memory")];
                drop(opener.open_range(&guard, now, plain, part).expect("a range opens"));
            }
        });
        spent += took;
        covered += block.sealed_len;
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio of byte counts")]
    let share = bytes as f64 / covered.max(1) as f64;
    spent.mul_f64(share)
}

fn minted(house: &House) -> ObjectId {
    let (ms, random) = house.world.id_seed();
    ObjectId::mint(ms, random)
}
