//! Bytes written by the first build that had each format: every later build reads them. `testdata/keys.json` holds the keys, so
//! that the Python reader can be run over the same files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom_envelope::{
    BufferCipher, CHUNK_LEN, CacheKey, CellPlace, Header, ObjectKind, RecordIds, SegmentCipher, SpillKey, WorkspaceSecret, WrappedAek,
    open, open_cell, open_workspace_secret, seal, seal_cell, seal_workspace_secret,
};
use strongroom_envelope::{InfrastructureKey, Mmk};
use strongroom_model::{NodeId, ObjectId, TableId, WorkspaceId};

use crate::kit::{
    AEK_BYTES, EPOCH, Exactly, INFRASTRUCTURE_BYTES, NOW, OBJECT, ROOT_BYTES, SECRET_BYTES, Seeded, TABLE, WORKSPACE, aek, guard, header,
    plain,
};

const BLOCKS: [(&str, usize, bool); 6] = [
    ("block-empty", 0, false),
    ("block-small", 300, false),
    ("block-one-full-chunk", CHUNK_LEN, false),
    ("block-two-chunks", CHUNK_LEN + 4_096, false),
    ("block-double-small", 300, true),
    ("block-double-two-chunks", CHUNK_LEN + 4_096, true),
];
const PLACE: CellPlace = CellPlace { epoch: EPOCH, workspace: WORKSPACE, table: TABLE, row: OBJECT };
const IDS: RecordIds = RecordIds { cluster: ObjectId::NIL, account: EPOCH.account, aek: EPOCH.aek, generation: 1 };
const NODE: NodeId = NodeId::from_bytes([0x66; 16]);
const TEXT: &[u8] = b"small and known";

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(testdata().join(format!("{name}.bin"))).unwrap()
}

fn wal_header() -> Header {
    Header { kind: ObjectKind::Wal, workspace: WorkspaceId::NIL, table: TableId::NIL, window_start: 30, ..header(false) }
}

fn buffer_header() -> Header {
    Header { kind: ObjectKind::Buffered, double: true, ..wal_header() }
}

/// What a segment of the sealed buffer says beside its header.
const NOTE: [u8; 8] = *b"the note";

fn mmk() -> Mmk {
    Mmk::from_bytes(ROOT_BYTES)
}

fn cache_key() -> CacheKey {
    CacheKey::generate(&Exactly([0x77; 32]))
}

/// Everything this build writes, by file name. New ones go to the end: they share one stream of random bytes.
fn written() -> BTreeMap<&'static str, Vec<u8>> {
    let rng = Seeded::new(2_025);
    let mut files = BTreeMap::new();
    for (name, len, double) in BLOCKS {
        files.insert(name, seal(&guard(double), NOW, &rng, &header(double), &plain(len)).unwrap());
    }
    files.insert("cell", seal_cell(&guard(false), NOW, &rng, &PLACE, TEXT).unwrap());
    files.insert("cell-double", seal_cell(&guard(true), NOW, &rng, &PLACE, TEXT).unwrap());
    let secret = WorkspaceSecret::generate(&Exactly(SECRET_BYTES));
    files.insert("workspace-secret", seal_workspace_secret(&guard(false), NOW, &rng, WORKSPACE, OBJECT, &secret).unwrap());
    // Prefix, then two records as `ciphertext ‖ tag` at positions 1 and 2.
    let (cipher, prefix) = SegmentCipher::create(&guard(false), NOW, &rng, &wal_header()).unwrap();
    let mut segment = prefix.clone();
    let mut previous = [0; 16];
    for seq in [1, 2] {
        let start = segment.len();
        segment.extend_from_slice(TEXT);
        previous = cipher.seal_record(&guard(false), NOW, seq, seq - 1, &previous, &mut segment, start).unwrap();
        segment.extend_from_slice(&previous);
    }
    files.insert("wal-segment", segment);
    files.insert("wrapped-aek", mmk().wrap_aek(&rng, &aek(), &IDS).to_bytes());
    let infrastructure = InfrastructureKey::generate(&Exactly(INFRASTRUCTURE_BYTES));
    files.insert("infrastructure-key", mmk().wrap_infrastructure_key(&rng, EPOCH.account, &infrastructure));
    files.insert("cache-key", mmk().wrap_cache_key(&rng, NODE, WORKSPACE, EPOCH.aek, &cache_key()));
    files.insert("cache-part", cache_key().effective(Some(&guard(false)), NOW).unwrap().seal_part(NOW, &rng, OBJECT, 7, TEXT).unwrap());
    files.insert("mmk-cell", mmk().seal_cell(&rng, OBJECT, TEXT));
    let mut sealer = SpillKey::generate(&Exactly([0x88; 32])).sealer(&rng);
    let mut spill = Vec::new();
    sealer.push(TEXT, &mut spill);
    sealer.finish(&mut spill);
    files.insert("spill", spill);
    // Prefix, then two records as `ciphertext ‖ tag` at positions 1 and 2.
    let (cipher, mut buffered) = BufferCipher::create(&mmk(), &rng, &buffer_header(), &NOTE);
    let mut previous = [0; 16];
    for seq in [1, 2] {
        let start = buffered.len();
        buffered.extend_from_slice(TEXT);
        previous = cipher.seal_record(&rng, &aek().buffer_key(), seq, seq - 1, &previous, &mut buffered, start).unwrap();
        buffered.extend_from_slice(&previous);
    }
    files.insert("buffer-segment", buffered);
    files.insert("buffer-key", mmk().seal_buffer_key(&rng, EPOCH, &aek().buffer_key()));
    files
}

/// Run once for a new format, by hand: `cargo test -p strongroom-envelope -- --ignored write_golden`. Never overwrites.
#[test]
#[ignore = "writes testdata"]
fn write_golden_files_that_are_missing() {
    fs::create_dir_all(testdata()).unwrap();
    for (name, bytes) in written() {
        let path = testdata().join(format!("{name}.bin"));
        if !path.exists() {
            fs::write(path, bytes).unwrap();
        }
    }
    let keys = serde_json::json!({
        "aek": hex::encode(AEK_BYTES),
        "workspace_secret": hex::encode(SECRET_BYTES),
        "infrastructure": hex::encode(INFRASTRUCTURE_BYTES),
        "mmk": hex::encode(ROOT_BYTES),
        "plain": "byte i of a block is (i ^ i >> 8 ^ i >> 14) & 255",
        "blocks": BLOCKS.map(|(name, len, double)| serde_json::json!({ "file": format!("{name}.bin"), "len": len, "double": double })),
    });
    fs::write(testdata().join("keys.json"), serde_json::to_string_pretty(&keys).unwrap() + "\n").unwrap();
}

#[test]
fn this_build_still_writes_the_same_bytes() {
    for (name, bytes) in written() {
        assert!(golden(name) == bytes, "{name}");
    }
}

#[test]
fn blocks_of_every_build_open() {
    for (name, len, double) in BLOCKS {
        assert!(open(&guard(double), NOW, &header(double), &golden(name)).unwrap() == plain(len), "{name}");
    }
}

#[test]
fn cells_of_every_build_open() {
    assert_eq!(open_cell(&guard(false), NOW, &PLACE, &golden("cell")).unwrap(), TEXT);
    assert_eq!(open_cell(&guard(true), NOW, &PLACE, &golden("cell-double")).unwrap(), TEXT);
    assert_eq!(mmk().open_cell(OBJECT, &golden("mmk-cell")).unwrap(), TEXT);
    let fresh = guard(false);
    fresh.forget_workspace(WORKSPACE);
    fresh.install_workspace(WORKSPACE, open_workspace_secret(&fresh, NOW, WORKSPACE, OBJECT, &golden("workspace-secret")).unwrap());
    assert_eq!(open_cell(&fresh, NOW, &PLACE, &golden("cell")).unwrap(), TEXT);
}

#[test]
fn segments_of_every_build_replay() {
    let segment = golden("wal-segment");
    let (prefix, mut rest) = segment.split_at(SegmentCipher::prefix_len(false));
    let (cipher, found) = SegmentCipher::reopen(&guard(false), NOW, EPOCH, prefix).unwrap();
    assert_eq!(found, wal_header());
    let mut previous = [0; 16];
    for seq in [1, 2] {
        let (record, more) = rest.split_at(TEXT.len());
        let (tag, more) = more.split_first_chunk().unwrap();
        let mut text = record.to_vec();
        cipher.open_record(&guard(false), NOW, seq, seq - 1, &previous, &mut text, tag).unwrap();
        assert_eq!(text, TEXT);
        (previous, rest) = (*tag, more);
    }
    assert!(rest.is_empty());
}

#[test]
fn sealed_buffers_of_every_build_open() {
    let segment = golden("buffer-segment");
    let (prefix, mut rest) = segment.split_at(BufferCipher::prefix_len(NOTE.len()));
    let (cipher, found) = BufferCipher::reopen(&mmk(), prefix).unwrap();
    assert_eq!((found, &prefix[Header::LEN..][..NOTE.len()]), (buffer_header(), &NOTE[..]));
    let mut previous = [0; 16];
    for seq in [1, 2] {
        let (record, more) = rest.split_at(TEXT.len() + 48);
        let (tag, more) = more.split_first_chunk().unwrap();
        let mut text = record.to_vec();
        cipher.prove_record(seq, seq - 1, &previous, &mut text, tag).unwrap();
        cipher.open_proved(&guard(false), NOW, seq, seq - 1, &previous, &mut text).unwrap();
        assert_eq!(text, TEXT);
        (previous, rest) = (*tag, more);
    }
    assert!(rest.is_empty());
    assert_eq!(mmk().open_buffer_key(EPOCH, &golden("buffer-key")).unwrap(), aek().buffer_key());
}

#[test]
fn key_records_and_cache_parts_of_every_build_open() {
    let record = WrappedAek::from_bytes(&golden("wrapped-aek")).unwrap();
    assert_eq!(mmk().unwrap_aek(&record).unwrap().key_check_value(&IDS), aek().key_check_value(&IDS));
    mmk().unwrap_infrastructure_key(EPOCH.account, &golden("infrastructure-key")).unwrap();
    let key = mmk().unwrap_cache_key(NODE, WORKSPACE, EPOCH.aek, &golden("cache-key")).unwrap();
    let part = key.effective(None, NOW).unwrap();
    assert_eq!(part.open_part(NOW, OBJECT, 7, &golden("cache-part")).unwrap(), TEXT);
}

/// The interpreter to run the second reader with: the one that is asked for, the one that `cargo xtask ci` sets up below the
/// target directory, the system's.
fn python() -> PathBuf {
    let below_target = || {
        // <target dir>/<profile>/deps/<this test>
        let executable = std::env::current_exe().expect("a test knows its own path");
        executable.ancestors().nth(3).map(|target| target.join("python/bin/python"))
    };
    std::env::var_os("STRONGROOM_PYTHON")
        .map(PathBuf::from)
        .or_else(|| below_target().filter(|python| python.exists()))
        .unwrap_or_else(|| PathBuf::from("python3"))
}

/// The second implementation, which shares no line with the first.
#[test]
fn an_independent_reader_opens_blocks_and_refuses_damaged_ones() {
    let python = python();
    let usable = Command::new(&python).args(["-c", "import cryptography"]).output();
    assert!(
        usable.is_ok_and(|output| output.status.success()),
        "{} cannot import `cryptography`: run `cargo xtask ci` (it makes an interpreter with it below the target directory), or \
         `pip install cryptography`, or name an interpreter that has it in STRONGROOM_PYTHON",
        python.display()
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/read_block.py");
    let read = |sealed: &[u8], aek: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let (file, out) = (dir.path().join("block"), dir.path().join("plain"));
        fs::write(&file, sealed).unwrap();
        let (aek, secret, infrastructure) = (hex::encode(aek), hex::encode(SECRET_BYTES), hex::encode(INFRASTRUCTURE_BYTES));
        let keys = ["--aek", &aek, "--workspace-secret", &secret, "--infrastructure", &infrastructure];
        let output = Command::new(&python).arg(&script).arg(&file).args(keys).arg("-o").arg(&out).output().unwrap();
        output.status.success().then(|| fs::read(&out).unwrap())
    };
    for (name, len, _) in BLOCKS {
        assert!(read(&golden(name), &AEK_BYTES).as_deref() == Some(&plain(len)), "{name}");
    }
    let good = golden("block-one-full-chunk");
    assert_eq!(read(&good, &[1; 32]), None, "another key");
    assert_eq!(read(&good[..good.len() - 16], &AEK_BYTES), None, "without its empty final chunk");
    for at in [5, 50, 100, 130, 200] {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        assert_eq!(read(&flipped, &AEK_BYTES), None, "byte {at}");
    }
}
