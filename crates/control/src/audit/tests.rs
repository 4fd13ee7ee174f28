//! The chain on a simulated disk: what is answered stays, what is changed shows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::path::Path;
use std::time::Duration;

use strongroom_model::{ErrorKind, PrincipalId};
use strongroom_world::sim::{SimOp, SimWorld};

use super::*;

mod carrying;

struct Site {
    sim: SimWorld,
    catalog: Catalog,
    config: AuditConfig,
}

const ROOT: [u8; 32] = [0x41; 32];

impl Site {
    async fn new(seed: u64) -> Self {
        let sim = SimWorld::new(seed);
        let catalog = Catalog::memory(sim.world()).await.unwrap();
        sim.world().fs.create_dir_all(Path::new("/data")).unwrap();
        sim.world().fs.sync_dir(Path::new("/")).unwrap();
        Self { sim, catalog, config: AuditConfig::default() }
    }
    fn dir() -> PathBuf {
        "/data/audit".into()
    }
    async fn open(&self) -> Result<Arc<Audit>, AuditError> {
        Audit::open(self.sim.world(), self.catalog.clone(), Arc::new(Mmk::from_bytes(ROOT)), Self::dir(), self.config.clone()).await
    }
    async fn written(&self, events: u64) -> Arc<Audit> {
        let audit = self.open().await.unwrap();
        for n in 0..events {
            audit.record(Event::new(name::KEY_SET).cluster(CLUSTER).with("n", n)).await.unwrap();
        }
        audit
    }
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.sim.fs().files().into_iter().filter(|(path, _)| path.starts_with("/data/audit")).collect()
    }
    fn put(&self, path: &Path, bytes: &[u8]) {
        self.sim.world().fs.write_atomic(path, bytes).unwrap();
    }
    async fn problems(&self) -> Vec<String> {
        AuditReader::new(self.sim.world(), self.catalog.clone(), Arc::new(Mmk::from_bytes(ROOT)), Self::dir())
            .verify()
            .await
            .unwrap()
            .problems
    }
}

const CLUSTER: ObjectId = ObjectId::from_bytes([7; 16]);

fn numbers(records: &[Record]) -> Vec<u64> {
    records.iter().filter_map(|record| record.event.details.get("n")?.as_u64()).collect()
}

/// Where each frame of a file begins and ends.
fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut at = 0;
    let mut found = Vec::new();
    while at < bytes.len() {
        let end = at + chain::FRAME_LEN + u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
        found.push(at..end);
        at = end;
    }
    found
}

#[tokio::test]
async fn what_is_recorded_is_read_again_in_order_and_nothing_of_it_stands_in_clear() {
    let site = Site::new(1).await;
    let audit = site.written(5).await;
    audit.note(Event::new(name::STATE_CHANGED).cluster(CLUSTER).code("KeyDisabled").with("n", 5));
    audit.close().await;
    assert_eq!(audit.record(Event::new(name::KEY_SET)).await.unwrap_err().code(), "AuditUnavailable");
    let audit = site.open().await.unwrap();
    audit.record(Event::new(name::LINKED).with("n", 6)).await.unwrap();
    let all = audit.reader().read(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(numbers(&all), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(all[0].event.event, name::CHAIN_BEGUN);
    assert_eq!(all.iter().map(|record| record.seq).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    let of = |filter| async { numbers(&audit.reader().read(filter).await.unwrap()) };
    assert_eq!(of(AuditFilter { cluster: Some(CLUSTER), limit: 2, ..AuditFilter::default() }).await, [4, 5]);
    assert_eq!(of(AuditFilter { event: Some("state.".into()), limit: 9, ..AuditFilter::default() }).await, [5]);
    assert_eq!(of(AuditFilter { since_ms: Some(i64::MAX), limit: 9, ..AuditFilter::default() }).await, Vec::<u64>::new());
    let report = audit.reader().verify().await.unwrap();
    assert_eq!((report.records, report.first, report.last, report.head, report.problems.len()), (8, 1, 8, 8, 0));
    assert_eq!(report.hash, chain::hex(&all[7].hash));
    for (_, bytes) in site.files() {
        assert!(!bytes.windows(7).any(|part| part == b"key.set" || part == b"KeyDisa"));
    }
}

#[tokio::test]
async fn a_byte_turned_a_record_moved_taken_or_put_back_is_found_and_refused() {
    let site = Site::new(2).await;
    site.written(6).await.close().await;
    let (path, whole) = site.files().pop().unwrap();
    let frames = frames(&whole);
    let without = |n: usize| [&whole[..frames[n].start], &whole[frames[n].end..]].concat();
    let mut swapped = whole[..frames[2].start].to_vec();
    swapped.extend_from_slice(&whole[frames[3].clone()]);
    swapped.extend_from_slice(&whole[frames[2].clone()]);
    swapped.extend_from_slice(&whole[frames[3].end..]);
    let mut flipped = whole.clone();
    flipped[frames[4].start + 200] ^= 1;
    // With its checksum made good: the seal says it.
    let mut forged = flipped.clone();
    let sum = crc32c::crc32c(&forged[frames[4].start + 8..frames[4].end]);
    forged[frames[4].start + 4..frames[4].start + 8].copy_from_slice(&sum.to_le_bytes());
    let changes = [
        ("cut", whole[..frames[6].start].to_vec(), "7"),
        ("half a record", whole[..frames[6].start + 30].to_vec(), "7"),
        ("first", without(0), "1"),
        ("middle", without(3), "4"),
        ("swapped", swapped, "3"),
        ("flipped", flipped, "5"),
        ("forged", forged, "5"),
        ("empty", Vec::new(), "7"),
    ];
    for (what, bytes, at) in changes {
        site.put(&path, &bytes);
        let problems = site.problems().await.join("\n");
        assert!(problems.contains(&format!("record {at} ")) || problems.contains(&format!("to {at} ")), "{what}: {problems}");
        let error = site.open().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("AuditDamaged", ErrorKind::Corrupt), "{what}: {error}");
    }
    site.put(&path, &whole);
    assert!(site.problems().await.is_empty());
    // Another chain of the same length, by the same key: put in this one's place.
    let other = Site::new(3).await;
    other.written(6).await.close().await;
    site.put(&path, &other.files().pop().unwrap().1);
    assert!(site.problems().await.join("\n").contains("not the one that the catalog vouches for"));
    assert!(site.open().await.unwrap_err().to_string().contains("record 7 is not the one that was written"));
    // All of it taken away, and a catalog without its head.
    site.sim.world().fs.remove_file(&path).unwrap();
    assert!(site.open().await.unwrap_err().to_string().contains("none of its files"));
    assert!(!site.problems().await.is_empty());
    let bare = Site { catalog: Catalog::memory(site.sim.world()).await.unwrap(), ..site };
    bare.put(&path, &whole);
    assert!(bare.open().await.unwrap_err().to_string().contains("catalog knows of none"));
}

#[tokio::test]
async fn a_crash_at_any_step_costs_nothing_that_was_answered_and_is_not_taken_for_tampering() {
    for seed in 0..40 {
        let mut site = Site::new(seed).await;
        site.config.file_max_bytes = 4 << 10;
        let audit = site.written(3).await;
        site.sim.fs().power_cut_after(site.sim.below(14));
        let mut answered = vec![0, 1, 2];
        for n in 3..20 {
            if audit.record(Event::new(name::KEY_SET).with("n", n)).await.is_ok() {
                answered.push(n);
            }
        }
        drop(audit);
        site.sim.fs().power_cut();
        let audit = site.open().await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        audit.record(Event::new(name::KEY_SET).with("n", 99)).await.unwrap();
        answered.push(99);
        let found = numbers(&audit.reader().read(AuditFilter { limit: 1_000, ..AuditFilter::default() }).await.unwrap());
        assert!(answered.iter().all(|n| found.contains(n)), "seed {seed}: {answered:?} in {found:?}");
        assert_eq!(audit.reader().verify().await.unwrap().problems, Vec::<String>::new(), "seed {seed}");
    }
}

#[tokio::test]
async fn without_room_what_must_be_seen_is_refused_and_the_rest_is_counted() {
    let site = Site::new(5).await;
    let audit = site.written(2).await;
    for op in [SimOp::Write, SimOp::Sync] {
        site.sim.fs().fail_next(op, io::ErrorKind::StorageFull);
        let error = audit.record(Event::new(name::KEY_SET)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Full, "AuditUnavailable"));
    }
    site.sim.fs().fail_next(SimOp::Write, io::ErrorKind::StorageFull);
    audit.note(Event::new(name::STATE_CHANGED));
    tokio::time::timeout(Duration::from_secs(5), async {
        while audit.shared.lost.load(Ordering::Acquire) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    audit.record(Event::new(name::KEY_SET).with("n", 2)).await.unwrap();
    let all = audit.reader().read(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(numbers(&all), [0, 1, 2]);
    let lost = all.iter().find(|record| record.event.event == name::LOST).unwrap();
    assert_eq!(lost.event.details["events"], 1);
    assert_eq!(audit.reader().verify().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn files_are_bounded_in_size_and_number_and_carry_the_chain_over() {
    let mut site = Site::new(6).await;
    (site.config.file_max_bytes, site.config.files_max) = (4 << 10, 3);
    let aek = AekId::from_bytes([9; 16]);
    let audit = site.written(1).await;
    audit.record(Event::new(name::KEY_WRAPPED).aek(aek, 41)).await.unwrap();
    for n in 1..60 {
        audit.record(Event::new(name::KEY_SET).with("n", n)).await.unwrap();
    }
    assert_eq!(site.files().len(), 3);
    let report = audit.reader().verify().await.unwrap();
    assert!(report.first > 2 && report.problems.is_empty(), "{report:?}");
    audit.close().await;
    // What was in a file that is gone is known all the same.
    assert_eq!(site.open().await.unwrap().generations().get(&aek), Some(&41));
    let (oldest, _) = site.files().remove(0);
    site.sim.world().fs.remove_file(&oldest).unwrap();
    assert!(site.problems().await.join("\n").contains("its oldest file is not there"));
    let (middle, _) = site.files().remove(0);
    let bytes = site.files().remove(0).1;
    site.sim.world().fs.remove_file(&middle).unwrap();
    assert!(!bytes.is_empty() && !site.problems().await.is_empty());
}

/// Records sealed under the same root key for the same places, out of another history: each opens, and does not follow.
#[tokio::test]
async fn records_of_another_history_do_not_follow() {
    let history = async |seed: u64, file_max_bytes: u64, events: u64| {
        let mut site = Site::new(seed).await;
        site.config.file_max_bytes = file_max_bytes;
        let audit = site.open().await.unwrap();
        for n in 0..events {
            audit.record(Event::new(name::KEY_SET).cluster(CLUSTER).with("n", seed * 100 + n)).await.unwrap();
        }
        audit.close().await;
        site
    };
    let (mine, other) = (history(40, 4 << 10, 40).await, history(41, 4 << 10, 40).await);
    let ((first, good), theirs) = (mine.files().remove(0), other.files().remove(0).1);
    assert!(mine.files().len() > 1 && frames(&theirs).len() == frames(&good).len());
    mine.put(&first, &theirs);
    assert!(mine.problems().await.join("\n").contains("does not follow the one before it"), "{:?}", mine.problems().await);
    mine.put(&first, &good);
    assert_eq!(mine.problems().await, Vec::<String>::new());

    // Behind the head, where a crash may leave what was torn: what opens there and does not follow was left by no crash.
    let (mine, other) = (history(42, 1 << 20, 3).await, history(43, 1 << 20, 6).await);
    let ((path, good), theirs) = (mine.files().remove(0), other.files().remove(0).1);
    let next = frames(&theirs)[frames(&good).len()].clone();
    mine.put(&path, &[good.as_slice(), &theirs[next]].concat());
    assert!(mine.open().await.unwrap_err().to_string().contains("does not follow the one before it"));
    mine.put(&path, &good);
    mine.open().await.unwrap();
}

#[tokio::test]
async fn a_head_of_another_number_is_refused_and_what_the_catalog_was_not_told_is_not_answered() {
    let site = Site::new(44).await;
    let audit = site.written(3).await;
    let head = site.catalog.audit_head().await.unwrap().unwrap();
    let moved = strongroom_catalog::AuditHeadRow { seq: head.seq + 1, cell: head.cell.clone() };
    site.catalog.audit_advance(&moved, &[]).await.unwrap();
    assert!(site.open().await.unwrap_err().to_string().contains("is not for this chain"));
    site.catalog.close().await;
    let refused = audit.record(Event::new(name::KEY_SET)).await.unwrap_err();
    assert!(matches!(refused, AuditError::Disk { .. }), "{refused}");
}

/// The catalog is put back from before a key was wrapped, and the file that tells of it was let go since: the newest file knows.
#[tokio::test]
async fn each_file_knows_what_the_ones_before_it_told_of_keys() {
    let mut site = Site::new(45).await;
    (site.config.file_max_bytes, site.config.files_max) = (4 << 10, 3);
    let aek = AekId::from_bytes([9; 16]);
    let audit = site.written(1).await;
    let old = site.catalog.audit_head().await.unwrap().unwrap();
    audit.record(Event::new(name::KEY_WRAPPED).aek(aek, 41)).await.unwrap();
    for n in 1..60 {
        audit.record(Event::new(name::KEY_SET).with("n", n)).await.unwrap();
    }
    assert!(audit.reader().verify().await.unwrap().first > 3);
    audit.close().await;
    site.catalog.audit_advance(&old, &[]).await.unwrap();
    assert_eq!(site.open().await.unwrap().generations().get(&aek), Some(&41));
}

#[tokio::test]
async fn an_older_catalog_put_back_is_found_by_the_chain() {
    let site = Site::new(8).await;
    let audit = site.written(1).await;
    let old = site.catalog.audit_head().await.unwrap().unwrap();
    for n in 0..=AHEAD_MAX {
        audit.note(Event::new(name::KEY_WRAPPED).aek(AekId::from_bytes([3; 16]), n));
    }
    audit.record(Event::new(name::KEY_SET)).await.unwrap();
    audit.close().await;
    site.catalog.audit_advance(&old, &[]).await.unwrap();
    let audit = site.open().await.unwrap();
    assert_eq!(audit.generations().get(&AekId::from_bytes([3; 16])), Some(&AHEAD_MAX));
    audit.record(Event::new(name::KEY_SET)).await.unwrap();
    let found = audit.reader().read(AuditFilter { event: Some("chain.cat".into()), limit: 9, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn events_name_whoever_is_being_served() {
    let somebody = PrincipalId::from_bytes([1; 16]);
    let event = acting(Some(somebody), async { Event::new(name::KEY_SET) }).await;
    assert_eq!((event.actor, Event::new(name::KEY_SET).actor), (Some(somebody), None));
    let long = event.with("text", "x".repeat(100_000)).to_json();
    assert!(long.len() < 1_000 && String::from_utf8(long).unwrap().contains("leftOut"));
}

/// Four records as the first build wrote them.
const GOLDEN: &[u8] = include_bytes!("../../testdata/chain-v1.audit");

fn golden() -> Vec<u8> {
    let sim = SimWorld::new(2_026);
    let (mmk, world) = (Mmk::from_bytes(ROOT), sim.world());
    let mut text = Event::new(name::QUERY).workspace(strongroom_model::WorkspaceId::from_bytes([2; 16])).code("ok");
    text.text = Some(SealedText {
        account: strongroom_model::AccountId::from_bytes([3; 16]),
        aek: AekId::from_bytes([9; 16]),
        row: ObjectId::from_bytes([8; 16]),
        cell: "AAECAw==".to_owned(),
    });
    let events = [
        Event::new(name::CHAIN_BEGUN).with("generations", serde_json::json!({})),
        Event::new(name::KEY_WRAPPED).cluster(CLUSTER).aek(AekId::from_bytes([9; 16]), 7).with("provider", "mmk"),
        Event::new(name::KEY_EXPIRING).by(PrincipalId::from_bytes([1; 16])).once("expiry/v1/1/30"),
        text,
    ];
    let (mut bytes, mut hash) = (Vec::new(), [0; 32]);
    for (event, seq) in events.iter().zip(1..) {
        let at_ms = 1_767_225_600_000 + i64::try_from(seq).unwrap();
        hash = chain::write_record(&mmk, world.rng.as_ref(), &mut bytes, seq, &hash, at_ms, event);
    }
    bytes
}

/// Run once for a new format, by hand: `cargo test -p strongroom-control -- --ignored write_the_golden_chain`. Never overwrites.
#[test]
#[ignore = "writes testdata"]
fn write_the_golden_chain() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/chain-v1.audit");
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() == 0) {
        std::fs::write(path, golden()).unwrap();
    }
}

#[test]
fn a_chain_of_the_first_build_reads_and_is_still_written_so() {
    assert!(GOLDEN == golden(), "the bytes of the chain changed");
    let mut records = Vec::new();
    let walked = chain::walk(&Mmk::from_bytes(ROOT), GOLDEN, 1, Some([0; 32]), |record| records.push(record));
    assert_eq!((walked.seq, walked.end, walked.broken), (4, GOLDEN.len() as u64, None));
    assert_eq!((records[1].at_ms, records[1].event.generation), (1_767_225_600_002, Some(7)));
    assert_eq!(records[2].event.once.as_deref(), Some("expiry/v1/1/30"));
    assert_eq!(records[3].event.text.as_ref().unwrap().cell, "AAECAw==");
}

#[test]
fn whatever_bytes_come_what_is_read_is_a_beginning_of_what_was_written() {
    let sim = SimWorld::new(77);
    let mmk = Mmk::from_bytes(ROOT);
    let read = |bytes: &[u8]| {
        let mut records = Vec::new();
        chain::walk(&mmk, bytes, 1, Some([0; 32]), |record| records.push(record));
        records
    };
    let whole = read(GOLDEN);
    for _ in 0..400 {
        let mut bytes = GOLDEN.to_vec();
        let at = usize::try_from(sim.below(bytes.len() as u64)).unwrap();
        match sim.below(4) {
            0 => bytes[at] ^= 1 << sim.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..(at + 40).min(GOLDEN.len()))),
            _ => bytes.splice(at..at, [0xff; 9]).for_each(drop),
        }
        let found = read(&bytes);
        assert!(found.len() < whole.len() && whole.starts_with(&found));
    }
    assert!(read(&[0xff; 64]).is_empty());
}
