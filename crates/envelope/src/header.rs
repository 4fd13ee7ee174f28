//! The clear header: what an object says about itself, and the context that its keys are derived with.

use strongroom_model::{AccountId, AekId, Epoch, ObjectId, TableId, WorkspaceId};

use crate::OpenError;

const MAGIC: [u8; 4] = *b"STRG";
const VERSION: u8 = 1;
/// C2SP chunked encryption with AES-256-GCM and HKDF-Expand-SHA512 ("Cobblestone-256").
const SUITE: u8 = 1;
const FLAG_DOUBLE: u8 = 1;

/// What a sealed object is. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// A Parquet block.
    Block = 1,
    /// A WAL segment.
    Wal = 2,
    /// A cell of the catalog.
    Cell = 3,
    /// A key wrapped by the MMK.
    Key = 4,
    /// A part of a stored object in the hot cache.
    Cache = 5,
    /// A spill file of one query.
    Spill = 6,
    /// A segment of the sealed buffer.
    Buffered = 7,
    /// Token filters of several blocks.
    Filters = 8,
}

impl ObjectKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Block,
            2 => Self::Wal,
            3 => Self::Cell,
            4 => Self::Key,
            5 => Self::Cache,
            6 => Self::Spill,
            7 => Self::Buffered,
            8 => Self::Filters,
            _ => return None,
        })
    }
}

/// The clear header of a sealed object: 96 bytes, little-endian. Every field is bound by the key derivation; fields that
/// a kind does not use are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// What it is.
    pub kind: ObjectKind,
    /// Whether an outer layer under the infrastructure key lies around it.
    pub double: bool,
    /// The AEK its keys come from.
    pub aek: AekId,
    /// The storage account.
    pub account: AccountId,
    /// The workspace, or NIL.
    pub workspace: WorkspaceId,
    /// The table, or NIL.
    pub table: TableId,
    /// Start of the window in seconds since 1970. In a segment of the log or the sealed buffer: the longest retention of its rows,
    /// in days.
    pub window_start: i64,
    /// The object's own id.
    pub object: ObjectId,
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 96;

    /// A header of this kind with all else zero.
    pub(crate) const fn blank(kind: ObjectKind) -> Self {
        Self {
            kind,
            double: false,
            aek: AekId::NIL,
            account: AccountId::NIL,
            workspace: WorkspaceId::NIL,
            table: TableId::NIL,
            window_start: 0,
            object: ObjectId::NIL,
        }
    }

    /// The epoch it names.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        Epoch { account: self.account, aek: self.aek }
    }

    /// The bytes as they stand at the start of the object.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&[VERSION, SUITE, self.kind as u8, if self.double { FLAG_DOUBLE } else { 0 }]);
        bytes[8..24].copy_from_slice(self.aek.as_bytes());
        bytes[24..40].copy_from_slice(self.account.as_bytes());
        bytes[40..56].copy_from_slice(self.workspace.as_bytes());
        bytes[56..72].copy_from_slice(self.table.as_bytes());
        bytes[72..80].copy_from_slice(&self.window_start.to_le_bytes());
        bytes[80..].copy_from_slice(self.object.as_bytes());
        bytes
    }

    /// Reads a header from the first 96 bytes. What it says is not yet proved.
    ///
    /// # Errors
    /// [`OpenError::UnknownFormat`] for another magic, version, suite, kind or flag; [`OpenError::Truncated`] if short.
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        let Some(bytes) = bytes.first_chunk::<{ Self::LEN }>() else {
            return Err(OpenError::Truncated { object: ObjectId::NIL, len: bytes.len() as u64 });
        };
        let id = |at: usize| <[u8; 16]>::try_from(&bytes[at..at + 16]).expect("16 bytes");
        if bytes[..4] != MAGIC {
            let found = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            return Err(OpenError::UnknownFormat { what: "sealed object", found });
        }
        let unknown = |what, byte: u8| OpenError::UnknownFormat { what, found: u32::from(byte) };
        if bytes[4] != VERSION {
            return Err(unknown("format version", bytes[4]));
        }
        if bytes[5] != SUITE {
            return Err(unknown("cipher suite", bytes[5]));
        }
        let kind = ObjectKind::from_byte(bytes[6]).ok_or_else(|| unknown("kind of object", bytes[6]))?;
        if bytes[7] & !FLAG_DOUBLE != 0 {
            return Err(unknown("header flags", bytes[7]));
        }
        Ok(Self {
            kind,
            double: bytes[7] & FLAG_DOUBLE != 0,
            aek: AekId::from_bytes(id(8)),
            account: AccountId::from_bytes(id(24)),
            workspace: WorkspaceId::from_bytes(id(40)),
            table: TableId::from_bytes(id(56)),
            window_start: i64::from_le_bytes(bytes[72..80].try_into().expect("8 bytes")),
            object: ObjectId::from_bytes(id(80)),
        })
    }

    /// Refuses bytes whose header is not exactly this one.
    pub(crate) fn expect_in(&self, sealed: &[u8]) -> Result<(), OpenError> {
        let found = Self::parse(sealed)?;
        if found == *self { Ok(()) } else { Err(OpenError::WrongPlace { object: self.object }) }
    }
}
