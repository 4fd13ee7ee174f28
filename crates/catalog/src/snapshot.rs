//! What a reader sees: live blocks by time range, and how far the WAL is flushed.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, SqliteConnection};
use strongroom_model::{AccountId, AekId, Epoch, ObjectId, Position, TableId, TimeRange, Window, WindowLength, WorkspaceId};

use crate::columns::Columns;
use crate::db::refused;
use crate::{BlockRow, BlockState, Catalog, CatalogError, TableSnapshot};

const BLOCK: &str = "a block";
const NS_PER_SEC: i64 = 1_000_000_000;

/// The columns of a block, its statistics as given, and the rest of the query.
macro_rules! blocks {
    ($stats:literal, $rest:literal) => {
        concat!(
            "SELECT id, workspace, table_id, account, aek, window_start, window_len, state, since_ms, time_min, time_max, rows, sealed_len, ",
            "plain_len, sha256, level, arrived_ms, added_seq, removed_seq, ",
            $stats,
            " FROM blocks ",
            $rest
        )
    };
}
pub(crate) use blocks;

/// A live block whose statistics are missing must fail here, not vanish from the answer: hence the outer join.
pub(crate) const SNAPSHOT: &str = blocks!(
    "cell",
    "LEFT JOIN block_stats ON n = stats
     WHERE table_id = ?1 AND window_start > ?2 AND window_start <= ?3 AND state = 1
       AND window_start + window_len > ?4 AND time_max >= ?5 AND time_min <= ?6
     ORDER BY window_start DESC, id DESC"
);
pub(crate) const ARRIVED: &str =
    blocks!("x''", "WHERE state = 1 AND account = ?1 AND arrived_ms >= ?2 ORDER BY arrived_ms DESC, id DESC LIMIT ?3");
pub(crate) const BLOCKS_IN: &str = blocks!(
    "cell",
    "LEFT JOIN block_stats ON n = stats
     WHERE table_id = ?1 AND window_start = ?2 AND window_len = ?3 AND aek = ?4 AND account = ?5 AND state = 1
     ORDER BY id"
);
pub(crate) const ONE_BLOCK: &str = blocks!("x''", "WHERE id = ?1");
pub(crate) const FLUSHED: &str = "SELECT account, aek, through FROM flushed WHERE table_id = ?1";

pub(crate) fn block_row(row: &SqliteRow) -> Result<BlockRow, CatalogError> {
    let mut columns = Columns::of(row, BLOCK);
    Ok(BlockRow {
        object: ObjectId::from_bytes(columns.fixed()?),
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        table: TableId::from_bytes(columns.fixed()?),
        epoch: epoch(&mut columns)?,
        window: columns.window()?,
        state: match columns.int()? {
            0 => BlockState::Pending,
            1 => BlockState::Live,
            2 => BlockState::Tombstone,
            _ => return Err(CatalogError::BadValue { what: BLOCK }),
        },
        since_ms: columns.int()?,
        time: TimeRange { start: columns.int()?, end: columns.int()? },
        rows: columns.number()?,
        sealed_len: columns.number()?,
        plain_len: columns.number()?,
        sha256: columns.fixed_opt()?.unwrap_or_default(),
        level: columns.number()?,
        arrived_ms: columns.int()?,
        added_seq: columns.number_opt()?,
        removed_seq: columns.number_opt()?,
        stats: columns.bytes_opt()?.ok_or(CatalogError::BadValue { what: "a block without statistics" })?,
    })
}

/// A row of [`FLUSHED`].
pub(crate) fn flushed_row(row: &SqliteRow) -> Result<(Epoch, Position), CatalogError> {
    let mut columns = Columns::of(row, "a flushed position");
    Ok((epoch(&mut columns)?, Position(columns.number()?)))
}

pub(crate) fn epoch(columns: &mut Columns<'_>) -> Result<Epoch, CatalogError> {
    Ok(Epoch { account: AccountId::from_bytes(columns.fixed()?), aek: AekId::from_bytes(columns.fixed()?) })
}

/// One block in whatever state, without statistics.
pub(crate) async fn block(conn: &mut SqliteConnection, object: ObjectId) -> Result<Option<BlockRow>, CatalogError> {
    let row = sqlx::query(ONE_BLOCK).bind(&object.as_bytes()[..]).fetch_optional(conn).await.map_err(|e| refused(BLOCK, &e))?;
    row.as_ref().map(block_row).transpose()
}

impl Catalog {
    /// The live blocks of a table that may hold rows of `range`, and its flushed-through, as of one commit.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn snapshot(&self, table: TableId, range: TimeRange) -> Result<TableSnapshot, CatalogError> {
        let what = "a snapshot";
        let (first, last) = (range.start.div_euclid(NS_PER_SEC), range.end.div_euclid(NS_PER_SEC));
        let mut reader = self.reader().await?;
        let mut tx = reader.begin().await.map_err(|e| refused(what, &e))?;
        let seq = sqlx::query("SELECT seq FROM state").fetch_one(&mut *tx).await.map_err(|e| refused(what, &e))?;
        let blocks = sqlx::query(SNAPSHOT)
            .bind(&table.as_bytes()[..])
            // A day window that the range starts in may have begun most of a day before it.
            .bind(first - WindowLength::Day.seconds())
            .bind(last)
            .bind(first)
            .bind(range.start)
            .bind(range.end)
            .fetch_all(&mut *tx)
            .await
            .map_err(|e| refused(what, &e))?;
        let flushed = sqlx::query(FLUSHED).bind(&table.as_bytes()[..]).fetch_all(&mut *tx).await.map_err(|e| refused(what, &e))?;
        tx.rollback().await.map_err(|e| refused(what, &e))?;
        drop(reader);
        Ok(TableSnapshot {
            seq: Columns::of(&seq, what).number()?,
            blocks: blocks.iter().map(block_row).collect::<Result<_, _>>()?,
            flushed: flushed.iter().map(flushed_row).collect::<Result<_, _>>()?,
        })
    }

    /// How far each (table, epoch) is flushed: what replay of the WAL skips.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn flushed_all(&self) -> Result<Vec<(TableId, Epoch, Position)>, CatalogError> {
        let what = "a flushed position";
        let rows = sqlx::query("SELECT table_id, account, aek, through FROM flushed")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(what, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, what);
                Ok((TableId::from_bytes(columns.fixed()?), epoch(&mut columns)?, Position(columns.number()?)))
            })
            .collect()
    }

    /// The live blocks of one (table, epoch, window), oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn blocks_in(&self, table: TableId, epoch: Epoch, window: Window) -> Result<Vec<BlockRow>, CatalogError> {
        let rows = sqlx::query(BLOCKS_IN)
            .bind(&table.as_bytes()[..])
            .bind(window.start)
            .bind(window.length.seconds())
            .bind(&epoch.aek.as_bytes()[..])
            .bind(&epoch.account.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(BLOCK, &e))?;
        rows.iter().map(block_row).collect()
    }

    /// The live blocks of an account whose oldest row arrived since then, without statistics, the latest arrival first;
    /// at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn live_since(&self, account: AccountId, arrived_ms: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        let rows = sqlx::query(ARRIVED)
            .bind(&account.as_bytes()[..])
            .bind(arrived_ms)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(BLOCK, &e))?;
        rows.iter().map(block_row).collect()
    }

    /// Every live block, without statistics: for the check at start and for `verify`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn live_objects(&self) -> Result<Vec<BlockRow>, CatalogError> {
        let rows =
            sqlx::query(blocks!("x''", "WHERE state = 1")).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(BLOCK, &e))?;
        rows.iter().map(block_row).collect()
    }
}
