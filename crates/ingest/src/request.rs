//! What a door hands in, and what it gets back.

use std::str::FromStr;

use bytes::Bytes;
use serde::Serialize;
use strongroom_model::{Column, PrincipalId, TableName, WorkspaceId};

use crate::IngestError;
use crate::stream::Through;

/// How a body is packed on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it is.
    #[default]
    Identity,
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
}

impl FromStr for Encoding {
    type Err = IngestError;

    /// Reads a `Content-Encoding`: `identity`, `gzip`, `x-gzip` or `zstd`, in any case.
    fn from_str(text: &str) -> Result<Self, IngestError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(IngestError::UnsupportedEncoding),
        }
    }
}

/// What a body is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON array of objects if the first byte that is not white space is `[`, else one JSON object per line.
    #[default]
    Json,
    /// Plain lines: each becomes `{"RawData": line}`.
    Lines,
    /// As [`Json`](Self::Json), of fields whose names end in what their values are: `_s` text, `_d` number, `_b` true or false, `_t`
    /// time, `_g` GUID.
    Suffixed,
}

/// What to do about a record that cannot be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// Refuse the whole request and name the first bad record.
    #[default]
    Refuse,
    /// Take the others; keep the bad ones, with the reason, in the table `Rejected`.
    Skip,
}

/// Rows on their way in.
#[derive(Clone, Debug)]
pub struct IngestRequest {
    /// Where to.
    pub workspace: WorkspaceId,
    /// Who sends them.
    pub principal: PrincipalId,
    /// The table; it is made when its first row comes.
    pub table: TableName,
    /// The body as it came on the wire.
    pub body: Bytes,
    /// How it is packed.
    pub encoding: Encoding,
    /// What it is made of.
    pub format: Format,
    /// The field that holds a row's time, if it is not `TimeGenerated`.
    pub time_field: Option<String>,
    /// The sender's name for this batch (at most 128 bytes): the same batch again is answered again and not taken twice.
    pub batch_id: Option<String>,
    /// What to do about bad records.
    pub on_error: OnError,
    /// The rule that shapes the rows, if one does.
    pub through: Option<Through>,
}

/// Where a request's rows went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Taken {
    /// Into log and memory: queries see them.
    #[default]
    Stored,
    /// Into the sealed buffer, for the vault does not answer: queries see them when it does.
    Buffered,
    /// Into the sealed buffer, for the key is revoked and the workspace wants it so.
    Sealed,
    /// Nowhere: the key is revoked and the workspace wants it so.
    Dropped,
}

impl Taken {
    /// Whether queries see the rows.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        *self == Self::Stored
    }
}

/// What became of a request. As JSON: `{"accepted":N,"rejected":M,"columnsAdded":[{"name","type"}],"duplicate":false}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestReply {
    /// Rows taken: durable, and visible to queries that start from now on; unless `taken` says otherwise.
    pub accepted: u64,
    /// Records kept in the table `Rejected` instead.
    pub rejected: u64,
    /// Columns the table did not have before.
    pub columns_added: Vec<Column>,
    /// Whether this batch had been taken before; the counts are the first answer's.
    pub duplicate: bool,
    /// Where the rows went.
    #[serde(default, skip_serializing_if = "Taken::is_stored")]
    pub taken: Taken,
}

/// What a flush wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlushReport {
    /// Blocks written.
    pub blocks: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their sealed bytes.
    pub bytes: u64,
}

impl FlushReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// Blocks read and replaced.
    pub inputs: u64,
    /// Blocks written in their place.
    pub outputs: u64,
    /// Rows in them.
    pub rows: u64,
    /// Sealed bytes written.
    pub bytes: u64,
}

impl CompactReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.outputs += other.outputs;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// What a shredding took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShredReport {
    /// Blocks whose every row went.
    pub deleted: u64,
    /// Blocks that were written once more without some of their rows.
    pub rewritten: u64,
    /// Rows that went.
    pub rows: u64,
    /// Sealed bytes of the old objects.
    pub bytes: u64,
    /// Old objects that could not be unlinked yet: the sweep tries again.
    pub objects_left: u64,
    /// Segments of the log with rows of the table that could not go yet, for others' rows in them.
    pub segments_left: u64,
}
