//! WAL segments that were begun.

use strongroom_model::{AccountId, AekId, Epoch, ObjectId};

use crate::columns::{Columns, signed};
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, SegmentRow, WriterEpoch};

const SEGMENT: &str = "a WAL segment";

impl Catalog {
    /// Adds a segment.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken; [`CatalogError::Fenced`] if its writer no longer writes.
    pub async fn segment_insert(&self, row: &SegmentRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin_as(row.writer, SEGMENT).await?;
        sqlx::query("INSERT INTO segments (id, account, aek, writer, created_ms) VALUES (?, ?, ?, ?, ?)")
            .bind(&row.segment.as_bytes()[..])
            .bind(&row.epoch.account.as_bytes()[..])
            .bind(&row.epoch.aek.as_bytes()[..])
            .bind(signed(row.writer.0, "a writer epoch")?)
            .bind(row.created_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SEGMENT, &e))?;
        commit(tx, SEGMENT).await
    }

    /// All segments, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn segments(&self) -> Result<Vec<SegmentRow>, CatalogError> {
        let rows = sqlx::query("SELECT id, account, aek, writer, created_ms FROM segments ORDER BY id")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(SEGMENT, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, SEGMENT);
                Ok(SegmentRow {
                    segment: ObjectId::from_bytes(columns.fixed()?),
                    epoch: Epoch { account: AccountId::from_bytes(columns.fixed()?), aek: AekId::from_bytes(columns.fixed()?) },
                    writer: WriterEpoch(columns.number()?),
                    created_ms: columns.int()?,
                })
            })
            .collect()
    }

    /// Removes a segment's row once its file is gone; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn segment_delete(&self, segment: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SEGMENT).await?;
        let done = sqlx::query("DELETE FROM segments WHERE id = ?")
            .bind(&segment.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SEGMENT, &e))?;
        commit(tx, SEGMENT).await?;
        Ok(done.rows_affected() > 0)
    }
}
