//! What the catalog hands in and out: one type per kind of row.

pub(crate) mod clusters;
pub(crate) mod directory;
pub(crate) mod lockbox;

use serde::{Deserialize, Serialize};
use strongroom_model::{
    AccountId, AekId, Epoch, KeyClass, ObjectId, Position, TableId, TableName, TimeRange, Window, WorkspaceId, WorkspaceName,
};

use clusters::LinkRow;
use lockbox::TablePlan;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $word:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$what])* $word),+ }

        impl $name {
            /// As the catalog and the wire spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ();
            /// Case does not count: clients are not of one mind.
            fn from_str(text: &str) -> Result<Self, ()> {
                $(if text.eq_ignore_ascii_case(stringify!($word)) { return Ok(Self::$word); })+
                Err(())
            }
        }
    };
}
pub(crate) use words;

/// One process's turn as the writer: flushes and compactions of an older turn are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterEpoch(pub u64);

/// A storage account: what an AEK belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its id.
    pub id: AccountId,
    /// The region it lies in.
    pub region: String,
    /// The dedicated cluster that owns it; `None` for a region's shared account.
    pub cluster: Option<String>,
}

/// A wrapped AEK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AekRow {
    /// Its id.
    pub aek: AekId,
    /// The account it belongs to.
    pub account: AccountId,
    /// Who can take it away.
    pub class: KeyClass,
    /// Grows with each AEK of the account; a lower one than the highest is refused.
    pub generation: u64,
    /// The wrapped-AEK record; opaque here.
    pub record: Vec<u8>,
    /// Whether it reigns: at most one per account.
    pub current: bool,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
}

/// A record that waits beside the live one: the same AEK, wrapped by another version of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyRow {
    /// The AEK.
    pub aek: AekId,
    /// The key's version that wrapped it.
    pub version: String,
    /// The account.
    pub account: AccountId,
    /// The wrapped-AEK record; opaque here.
    pub record: Vec<u8>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
}

/// A workspace secret, sealed under its AEK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// The row the cell is bound to.
    pub row: ObjectId,
    /// The sealed cell.
    pub cell: Vec<u8>,
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceRow {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name: unique in its resource group, without regard to case.
    pub name: WorkspaceName,
    /// The account its new rows go to.
    pub account: AccountId,
    /// The subscription it is billed to.
    pub subscription: String,
    /// The resource group it lies in.
    pub resource_group: String,
    /// The region.
    pub region: String,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// Days that rows are kept, where a table says nothing else.
    pub retention_days: u32,
    /// The dedicated cluster it is linked to.
    pub link: Option<LinkRow>,
}

/// A workspace that was deleted and is not shredded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedRow {
    /// The workspace as it was.
    pub workspace: WorkspaceRow,
    /// When it was deleted, milliseconds since 1970.
    pub deleted_ms: i64,
    /// From when on it is to be shredded, milliseconds since 1970: until then it can be brought back.
    pub shred_ms: i64,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// Its id.
    pub id: TableId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its name: unique in its workspace, case counts.
    pub name: TableName,
    /// Days that rows are kept; `None`: as the workspace says.
    pub retention_days: Option<u32>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// What it is kept for.
    pub plan: TablePlan,
}

/// One version of a table's schema in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRow {
    /// The table.
    pub table: TableId,
    /// The epoch's AEK.
    pub aek: AekId,
    /// Counts up within (table, AEK).
    pub version: u32,
    /// The row the cell is bound to.
    pub row: ObjectId,
    /// The sealed cell.
    pub cell: Vec<u8>,
}

/// A block that is about to be put: its row comes first, so that a crash leaves no object nobody knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingBlock {
    /// The object.
    pub object: ObjectId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its table.
    pub table: TableId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The window all its rows lie in.
    pub window: Window,
    /// The last WAL position it may hold rows of; 0 for a compaction.
    pub through: Position,
}

/// A block whose object is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBlock {
    /// The object, pended before.
    pub object: ObjectId,
    /// The window it was pended with.
    pub window: Window,
    /// First and last event time in it.
    pub time: TimeRange,
    /// Rows in it.
    pub rows: u64,
    /// Length of the stored object, bytes.
    pub sealed_len: u64,
    /// Length of the Parquet file inside, bytes.
    pub plain_len: u64,
    /// SHA-256 of the stored object.
    pub sha256: [u8; 32],
    /// 0 from a flush, one more for each merge.
    pub level: u8,
    /// When the oldest of its rows arrived, milliseconds since 1970.
    pub arrived_ms: i64,
    /// Its statistics: a sealed cell placed at `object`.
    pub stats: Vec<u8>,
}

/// One freeze made durable: all its blocks, how far the WAL is flushed, and the batch ids in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushCommit {
    /// The table.
    pub table: TableId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The epoch of the memtable.
    pub epoch: Epoch,
    /// Every row of (table, epoch) up to here is in a block now.
    pub through: Position,
    /// The blocks; none if every row was past its retention.
    pub blocks: Vec<LiveBlock>,
    /// The batch ids of the rows.
    pub batches: Vec<BatchRow>,
}

/// Blocks merged into fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionCommit {
    /// The table.
    pub table: TableId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The epoch of inputs and outputs.
    pub epoch: Epoch,
    /// What was merged: all must still be live.
    pub inputs: Vec<ObjectId>,
    /// What it was merged into, pended before; as many rows as the inputs have.
    pub outputs: Vec<LiveBlock>,
}

/// Where a block stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockState {
    /// Announced, maybe not put yet.
    Pending,
    /// Part of the table.
    Live,
    /// No longer part of the table; the object waits for the last reader.
    Tombstone,
}

/// A block as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRow {
    /// The object.
    pub object: ObjectId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its table.
    pub table: TableId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its window.
    pub window: Window,
    /// Where it stands.
    pub state: BlockState,
    /// When it came to that state, milliseconds since 1970.
    pub since_ms: i64,
    /// First and last event time in it (0 to 0 if it never went live).
    pub time: TimeRange,
    /// Rows in it (0 if it never went live).
    pub rows: u64,
    /// Length of the stored object, bytes (0 if it never went live).
    pub sealed_len: u64,
    /// Length of the Parquet file inside, bytes (0 if it never went live).
    pub plain_len: u64,
    /// SHA-256 of the stored object (zeros if it never went live).
    pub sha256: [u8; 32],
    /// 0 from a flush, one more for each merge.
    pub level: u8,
    /// When the oldest of its rows arrived, milliseconds since 1970.
    pub arrived_ms: i64,
    /// The commit that made it live.
    pub added_seq: Option<u64>,
    /// The commit that made it a tombstone.
    pub removed_seq: Option<u64>,
    /// Its statistics: a sealed cell placed at `object`; empty unless live.
    pub stats: Vec<u8>,
}

/// A table at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSnapshot {
    /// The commit it is as of: equal numbers, equal snapshots.
    pub seq: u64,
    /// The live blocks that may hold rows of the asked range, newest window first.
    pub blocks: Vec<BlockRow>,
    /// How far each epoch's rows of this table are in blocks.
    pub flushed: Vec<(Epoch, Position)>,
}

/// A window with several small blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The table.
    pub table: TableId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The epoch of these blocks.
    pub epoch: Epoch,
    /// The window.
    pub window: Window,
    /// How many live blocks below [`SMALL_BLOCK_BYTES`].
    pub count: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// When it last got one, milliseconds since 1970.
    pub last_ms: i64,
}

/// A block of at least this many stored bytes is no longer worth merging: half of the largest that compaction makes (DESIGN §5).
pub const SMALL_BLOCK_BYTES: u64 = 64 << 20;

/// A batch id that was answered: the same one again gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    /// The workspace it was sent to.
    pub workspace: WorkspaceId,
    /// SHA-256 of the id alone.
    pub id_sha256: [u8; 32],
    /// SHA-256 of workspace, table, id and body.
    pub key_sha256: [u8; 32],
    /// The first answer; opaque here.
    pub reply: Vec<u8>,
    /// When it was answered, milliseconds since 1970.
    pub at_ms: i64,
}

/// A WAL segment that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// The segment.
    pub segment: ObjectId,
    /// The epoch it is sealed under.
    pub epoch: Epoch,
    /// Who wrote it.
    pub writer: WriterEpoch,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
}

/// Part of a segment of the sealed buffer, ready to be made durable as blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferedCommit {
    /// The segment.
    pub segment: ObjectId,
    /// Its records up to here are in these blocks, or in those of earlier commits.
    pub through: u64,
    /// The epoch of segment and blocks.
    pub epoch: Epoch,
    /// The blocks, by table.
    pub tables: Vec<(TableId, Vec<LiveBlock>)>,
    /// The batch ids of the records.
    pub batches: Vec<BatchRow>,
}

/// What became of requests that came while a key was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwayRow {
    /// Whose.
    pub workspace: WorkspaceId,
    /// For which table; NIL for one that is not there.
    pub table: TableId,
    /// Requests that were not taken.
    pub refused: u64,
    /// Rows that were kept sealed.
    pub sealed: u64,
    /// Rows that were thrown away.
    pub dropped: u64,
    /// When the last of them came, milliseconds since 1970.
    pub last_ms: i64,
}
