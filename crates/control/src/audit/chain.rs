//! The bytes of the chain: frames in files, each a record sealed under the MMK that carries the hash of the one before
//! (`docs/formats/audit.md`). Pure: bytes in, records out.
//!
//! ```text
//! file  = frame frame …                                   named by its first record
//! frame = length 4 │ CRC-32C 4 │ sealed cell               row id = "audit/v1" ‖ number of the record
//! plain = version 1 │ hash of the record before 32 │ time 8 │ event (JSON)
//! hash  = SHA-256("strongroom/audit/v1" ‖ number ‖ sealed cell)
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use strongroom_catalog::AuditHeadRow;
use strongroom_envelope::Mmk;
use strongroom_model::{AekId, ObjectId};
use strongroom_world::Rng;

use super::{AuditError, Event};

/// Length and checksum before each sealed record.
pub(super) const FRAME_LEN: usize = 8;
/// A sealed record at most: an event with a query's text.
const SEALED_MAX: usize = 4 << 20;
const VERSION: u8 = 1;
const PLAIN_HEAD: usize = 1 + 32 + 8;

/// SHA-256 of a sealed record.
pub(super) type Hash = [u8; 32];

/// One record of the chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its number: 1 is the first.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// SHA-256 of the record as it is sealed: the next one carries it.
    #[serde(serialize_with = "as_hex")]
    pub hash: Hash,
    /// SHA-256 of the record before.
    #[serde(serialize_with = "as_hex")]
    pub previous: Hash,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// Where it begins in its file, bytes.
    #[serde(skip)]
    pub start: u64,
}

fn as_hex<S: serde::Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex(hash))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes everything");
        text
    })
}

fn row_id(seq: u64) -> ObjectId {
    let mut bytes = *b"audit/v1........";
    bytes[8..].copy_from_slice(&seq.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

fn hash_of(seq: u64, sealed: &[u8]) -> Hash {
    Sha256::new().chain_update(b"strongroom/audit/v1").chain_update(seq.to_le_bytes()).chain_update(sealed).finalize().into()
}

/// Appends the frame of a record; its hash.
pub(super) fn write_record(mmk: &Mmk, rng: &dyn Rng, out: &mut Vec<u8>, seq: u64, previous: &Hash, at_ms: i64, event: &Event) -> Hash {
    let json = event.to_json();
    let mut plain = Vec::with_capacity(PLAIN_HEAD + json.len());
    plain.push(VERSION);
    plain.extend_from_slice(previous);
    plain.extend_from_slice(&at_ms.to_le_bytes());
    plain.extend_from_slice(&json);
    let sealed = mmk.seal_cell(rng, row_id(seq), &plain);
    out.extend_from_slice(&u32::try_from(sealed.len()).expect("an event is short").to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&sealed).to_le_bytes());
    out.extend_from_slice(&sealed);
    hash_of(seq, &sealed)
}

/// Why a file does not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The frame is cut off, or its checksum is wrong: what a crash in the middle of a write leaves, or a damaged disk.
    Torn,
    /// A whole frame that does not open as the record of that number: changed, moved, or of another root key.
    Forged,
    /// It opens, but it was not written after the one before it.
    Unchained,
}

impl Broken {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Torn => "is cut off or damaged",
            Self::Forged => "does not open: it was changed, moved here, or sealed under another root key",
            Self::Unchained => "does not follow the one before it",
        }
    }
}

/// How far a file reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Walked {
    /// Its last good record; the one before the file if there is none.
    pub(super) seq: u64,
    /// That record's hash; `None` if the file has no good record and nobody said what came before.
    pub(super) hash: Option<Hash>,
    /// Bytes up to its end.
    pub(super) end: u64,
    /// Why it does not read on, if there are more bytes.
    pub(super) broken: Option<Broken>,
}

/// Reads a file's records in order, each checked against the one before. `previous`: the hash that the first must carry, if known.
pub(super) fn walk(mmk: &Mmk, bytes: &[u8], first: u64, previous: Option<Hash>, mut each: impl FnMut(Record)) -> Walked {
    let mut walked = Walked { seq: first.saturating_sub(1), hash: previous, end: 0, broken: None };
    let mut at = 0;
    while at < bytes.len() {
        match read_record(mmk, bytes, at, walked.seq + 1) {
            Err(broken) => {
                walked.broken = Some(broken);
                return walked;
            }
            Ok((record, next)) => {
                if walked.hash.is_some_and(|hash| hash != record.previous) {
                    walked.broken = Some(Broken::Unchained);
                    return walked;
                }
                at = next;
                walked = Walked { seq: record.seq, hash: Some(record.hash), end: next as u64, broken: None };
                each(record);
            }
        }
    }
    walked
}

/// The record that begins at `at` and where it ends.
pub(super) fn read_record(mmk: &Mmk, bytes: &[u8], at: usize, seq: u64) -> Result<(Record, usize), Broken> {
    let frame = bytes.get(at..).unwrap_or_default();
    let (Some(len), Some(crc)) = (frame.first_chunk::<4>(), frame.get(4..8)) else { return Err(Broken::Torn) };
    let len = u32::from_le_bytes(*len) as usize;
    if len == 0 || len > SEALED_MAX {
        return Err(Broken::Torn);
    }
    let sealed = frame.get(FRAME_LEN..FRAME_LEN + len).ok_or(Broken::Torn)?;
    if crc != crc32c::crc32c(sealed).to_le_bytes() {
        return Err(Broken::Torn);
    }
    let plain = mmk.open_cell(row_id(seq), sealed).map_err(|_| Broken::Forged)?;
    let (head, json) = plain.split_at_checked(PLAIN_HEAD).ok_or(Broken::Forged)?;
    if head[0] != VERSION {
        return Err(Broken::Forged);
    }
    let event = serde_json::from_slice(json).map_err(|_| Broken::Forged)?;
    let record = Record {
        seq,
        at_ms: i64::from_le_bytes(*head[33..].first_chunk().expect("eight bytes are left")),
        hash: hash_of(seq, sealed),
        previous: *head[1..].first_chunk().expect("thirty-two bytes are there"),
        event,
        start: at as u64,
    };
    Ok((record, at + FRAME_LEN + len))
}

/// The highest generation seen of each AEK.
pub(super) type Generations = BTreeMap<AekId, u64>;

/// Takes up what an event says of an AEK's record.
pub(super) fn raise(generations: &mut Generations, event: &Event) {
    if let (Some(aek), Some(generation)) = (event.aek, event.generation) {
        let highest = generations.entry(aek).or_default();
        *highest = generation.max(*highest);
    }
    // A file's first record tells what the files before it told.
    if let Some(carried) = event.details.get("generations").and_then(serde_json::Value::as_object) {
        for (aek, generation) in carried {
            if let (Ok(aek), Some(generation)) = (aek.parse::<AekId>(), generation.as_u64()) {
                let highest = generations.entry(aek).or_default();
                *highest = generation.max(*highest);
            }
        }
    }
}

pub(super) fn generations_json(generations: &Generations) -> serde_json::Value {
    generations.iter().map(|(aek, generation)| (aek.to_string(), (*generation).into())).collect::<serde_json::Map<_, _>>().into()
}

/// Where the chain ends, as the catalog keeps it: a cell under the MMK, so that nobody else can move it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The last record; 0: there is none.
    pub(super) seq: u64,
    /// Its hash.
    pub(super) hash: Hash,
    /// The first record of the oldest file kept.
    pub(super) oldest: u64,
    /// The highest generation seen of each AEK.
    pub(super) generations: Generations,
}

impl Head {
    fn row_id() -> ObjectId {
        ObjectId::from_bytes(*b"audit/v1/head...")
    }

    /// `seq 8 │ hash 32 │ oldest 8 │ then for each AEK: id 16 │ generation 8`.
    pub(super) fn seal(&self, mmk: &Mmk, rng: &dyn Rng) -> AuditHeadRow {
        let mut plain = Vec::with_capacity(48 + 24 * self.generations.len());
        plain.extend_from_slice(&self.seq.to_le_bytes());
        plain.extend_from_slice(&self.hash);
        plain.extend_from_slice(&self.oldest.to_le_bytes());
        for (aek, generation) in &self.generations {
            plain.extend_from_slice(aek.as_bytes());
            plain.extend_from_slice(&generation.to_le_bytes());
        }
        AuditHeadRow { seq: self.seq, cell: mmk.seal_cell(rng, Self::row_id(), &plain) }
    }

    pub(super) fn open(mmk: &Mmk, row: &AuditHeadRow) -> Result<Self, AuditError> {
        let damaged = || AuditError::damaged("the catalog's head of it does not open, or is not for this chain");
        let plain = mmk.open_cell(Self::row_id(), &row.cell).map_err(|_| damaged())?;
        let (fixed, rest) = plain.split_at_checked(48).ok_or_else(damaged)?;
        let number = |at: usize| u64::from_le_bytes(*fixed[at..].first_chunk().expect("the head is 48 bytes"));
        let mut generations = Generations::new();
        let (entries, odd) = rest.as_chunks::<24>();
        if !odd.is_empty() || number(0) != row.seq {
            return Err(damaged());
        }
        for entry in entries {
            let (aek, generation) = entry.split_at(16);
            let aek = AekId::from_bytes(*aek.first_chunk().expect("sixteen bytes"));
            generations.insert(aek, u64::from_le_bytes(*generation.first_chunk().expect("eight bytes")));
        }
        Ok(Self { seq: number(0), hash: *fixed[8..].first_chunk().expect("thirty-two bytes"), oldest: number(40), generations })
    }
}
