//! Records that wait beside the live ones, and the erasing of those that were replaced.

use std::time::Duration;

use strongroom_model::{AccountId, AekId};

use crate::columns::{Columns, signed};
use crate::db::{Tx, commit, refused};
use crate::{Catalog, CatalogError, StandbyRow};

const STANDBY: &str = "a standby record";
const SCRUB: &str = "erasing what was replaced";
/// Versions of a key that wait for one AEK; the oldest gives way.
const WAITING_MAX: i64 = 8;
/// How often the journal is tried to be folded away while others read, a tenth of a second apart.
const SCRUB_TRIES: usize = 50;

impl Catalog {
    /// Keeps a record that waits, made while the AEK's live record was of `generation`. Whether it was kept: not beside another
    /// live record than that.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn standby_put(&self, row: &StandbyRow, generation: u64) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(STANDBY).await?;
        let done = sqlx::query(
            "INSERT OR REPLACE INTO standby_records (aek, version, account, record, created_ms)
             SELECT id, ?, account, ?, ? FROM aeks WHERE id = ? AND account = ? AND generation = ?",
        )
        .bind(row.version.as_str())
        .bind(&row.record[..])
        .bind(row.created_ms)
        .bind(&row.aek.as_bytes()[..])
        .bind(&row.account.as_bytes()[..])
        .bind(signed(generation, "a generation")?)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(STANDBY, &e))?;
        sqlx::query(
            "DELETE FROM standby_records WHERE aek = ?1 AND version IN
               (SELECT version FROM standby_records WHERE aek = ?1 ORDER BY created_ms DESC, version LIMIT -1 OFFSET ?2)",
        )
        .bind(&row.aek.as_bytes()[..])
        .bind(WAITING_MAX)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(STANDBY, &e))?;
        commit(tx, STANDBY).await?;
        Ok(done.rows_affected() == 1)
    }

    /// The records that wait for an account's AEKs, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn standbys(&self, account: AccountId) -> Result<Vec<StandbyRow>, CatalogError> {
        let sql =
            "SELECT aek, version, account, record, created_ms FROM standby_records WHERE account = ? ORDER BY created_ms, aek, version";
        let rows =
            sqlx::query(sql).bind(&account.as_bytes()[..]).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(STANDBY, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, STANDBY);
                Ok(StandbyRow {
                    aek: AekId::from_bytes(columns.fixed()?),
                    version: columns.text()?,
                    account: AccountId::from_bytes(columns.fixed()?),
                    record: columns.bytes()?,
                    created_ms: columns.int()?,
                })
            })
            .collect()
    }

    /// Folds the journal into the file and cuts it to nothing, so that no replaced row is left in either. Whether it came to that:
    /// not while somebody goes on reading an old state.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn scrub(&self) -> Result<bool, CatalogError> {
        for _ in 0..SCRUB_TRIES {
            let busy: i64 = {
                let mut writer = self.writer().await?;
                sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer.conn()).await.map_err(|e| refused(SCRUB, &e))?
            };
            if busy == 0 {
                return Ok(true);
            }
            self.inner.world.clock.sleep(Duration::from_millis(100)).await;
        }
        Ok(false)
    }
}

/// What waits for an AEK goes with the record it waited beside.
pub(crate) async fn dismiss(tx: &mut Tx<'_>, aek: AekId) -> Result<(), CatalogError> {
    sqlx::query("DELETE FROM standby_records WHERE aek = ?")
        .bind(&aek.as_bytes()[..])
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(STANDBY, &e))?;
    Ok(())
}
