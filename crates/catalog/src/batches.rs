//! Batch ids that were answered. They come in with [`Catalog::flush_commit`].

use strongroom_model::WorkspaceId;

use crate::columns::Columns;
use crate::db::{Tx, commit, refused};
use crate::{BatchRow, Catalog, CatalogError};

const BATCH: &str = "a batch id";

/// Keeps a batch id; a later answer to the same id (its 24 h were over) replaces an earlier one.
pub(crate) async fn keep(tx: &mut Tx<'_>, row: &BatchRow) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO batches (workspace, id_sha256, key_sha256, reply, at_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (workspace, id_sha256) DO UPDATE
         SET key_sha256 = excluded.key_sha256, reply = excluded.reply, at_ms = excluded.at_ms WHERE excluded.at_ms > at_ms",
    )
    .bind(&row.workspace.as_bytes()[..])
    .bind(&row.id_sha256[..])
    .bind(&row.key_sha256[..])
    .bind(&row.reply[..])
    .bind(row.at_ms)
    .execute(&mut **tx)
    .await
    .map_err(|e| refused(BATCH, &e))?;
    Ok(())
}

impl Catalog {
    /// The batch ids answered at or after `since_ms` (milliseconds since 1970), oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn batches(&self, since_ms: i64) -> Result<Vec<BatchRow>, CatalogError> {
        let sql = "SELECT workspace, id_sha256, key_sha256, reply, at_ms FROM batches WHERE at_ms >= ? ORDER BY at_ms";
        let rows = sqlx::query(sql).bind(since_ms).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(BATCH, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, BATCH);
                Ok(BatchRow {
                    workspace: WorkspaceId::from_bytes(columns.fixed()?),
                    id_sha256: columns.fixed()?,
                    key_sha256: columns.fixed()?,
                    reply: columns.bytes()?,
                    at_ms: columns.int()?,
                })
            })
            .collect()
    }

    /// Forgets those answered before `before_ms` (milliseconds since 1970); how many.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn batches_trim(&self, before_ms: i64) -> Result<u64, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(BATCH).await?;
        let done =
            sqlx::query("DELETE FROM batches WHERE at_ms < ?").bind(before_ms).execute(&mut *tx).await.map_err(|e| refused(BATCH, &e))?;
        commit(tx, BATCH).await?;
        Ok(done.rows_affected())
    }
}
