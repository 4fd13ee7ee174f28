//! The end of workspaces and of clusters' keys: deleted, kept for a while, shredded.
//!
//! Here a shredding is one transaction: the sealed secrets go, and with them the meaning of every cell and block that was made
//! under them; the blocks become tombstones whose objects the next sweep deletes. `secure_delete` overwrites the rows;
//! [`Catalog::scrub`] folds the journal, which may still hold them, into the file.

use strongroom_model::{AccountId, ObjectId, TableId, WorkspaceId};

use crate::blocks::{bury, go_live, next_seq, went_live};
use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::resources::{DELETED, workspace};
use crate::{BlockRow, BlockState, Catalog, CatalogError, DeletedRow, LiveBlock, WriterEpoch, groups, snapshot};

const WORKSPACE: &str = "a deleted workspace";
const CLUSTER: &str = "a deleted cluster";
const SHRED: &str = "a shredding";

/// Rows of a table taken away: blocks that go, and blocks replaced by what is left of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShredCommit {
    /// Blocks whose every row goes.
    pub gone: Vec<ObjectId>,
    /// Blocks of which rows stay: the old one, and the new one, pended before.
    pub replaced: Vec<(ObjectId, LiveBlock)>,
}

impl Catalog {
    /// Marks a workspace as deleted; from `shred_ms` on it is to be shredded. It is not found any more, and its name stays taken.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it is not there or deleted already; [`CatalogError::Conflict`] while it is linked.
    pub async fn workspace_delete(&self, id: WorkspaceId, deleted_ms: i64, shred_ms: i64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(WORKSPACE).await?;
        let linked: Option<i64> = sqlx::query_scalar("SELECT cluster IS NOT NULL FROM workspaces WHERE id = ? AND deleted_ms IS NULL")
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        match linked {
            None => return Err(CatalogError::NotFound { what: WORKSPACE }),
            Some(1) => return Err(CatalogError::Conflict { what: WORKSPACE, why: "it is linked to a cluster" }),
            Some(_) => {}
        }
        sqlx::query("UPDATE workspaces SET deleted_ms = ?, shred_ms = ? WHERE id = ?")
            .bind(deleted_ms)
            .bind(shred_ms)
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        commit(tx, WORKSPACE).await
    }

    /// Brings a deleted workspace back. `false`: its shredding has begun, or it is not deleted.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspace_recover(&self, id: WorkspaceId, now_ms: i64) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(WORKSPACE).await?;
        let done = sqlx::query(
            "UPDATE workspaces SET deleted_ms = NULL, shred_ms = NULL WHERE id = ? AND deleted_ms IS NOT NULL AND shredded_ms IS NULL AND shred_ms > ?",
        )
        .bind(&id.as_bytes()[..])
        .bind(now_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(WORKSPACE, &e))?;
        commit(tx, WORKSPACE).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deleted workspaces that are not shredded yet, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspaces_deleted(&self) -> Result<Vec<DeletedRow>, CatalogError> {
        let rows = sqlx::query(DELETED).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(WORKSPACE, &e))?;
        rows.iter()
            .map(|row| {
                let (workspace, mut rest) = workspace(row)?;
                Ok(DeletedRow { workspace, deleted_ms: rest.int()?, shred_ms: rest.int()? })
            })
            .collect()
    }

    /// Destroys a deleted workspace's secrets of every epoch, with all cells made under them, and makes tombstones of its
    /// blocks. How many secrets and blocks. Doing it twice is no harm.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] unless it is deleted.
    pub async fn workspace_shred(&self, id: WorkspaceId) -> Result<(u64, u64), CatalogError> {
        fail::fail_point!("shred.secrets", |_| Err(CatalogError::Failpoint { point: "shred.secrets" }));
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SHRED).await?;
        let deleted: Option<i64> = sqlx::query_scalar("SELECT 1 FROM workspaces WHERE id = ? AND deleted_ms IS NOT NULL")
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(SHRED, &e))?;
        if deleted.is_none() {
            return Err(CatalogError::NotFound { what: WORKSPACE });
        }
        let seq = next_seq(&mut tx, SHRED).await?;
        let mut counts = Vec::new();
        for sql in [
            "DELETE FROM workspace_secrets WHERE workspace = ?1 AND ?2 > 0",
            "UPDATE blocks SET state = 2, since_ms = 0, removed_seq = ?2, stats = NULL
             WHERE table_id IN (SELECT id FROM tables WHERE workspace = ?1) AND state <> 2",
            "DELETE FROM schemas WHERE table_id IN (SELECT id FROM tables WHERE workspace = ?1) AND ?2 > 0",
            "DELETE FROM batches WHERE workspace = ?1 AND ?2 > 0",
            "INSERT INTO content_objects (rev, storage, workspace, kind)
             SELECT rev, storage, workspace, kind FROM contents WHERE workspace = ?1 AND storage IS NOT NULL AND ?2 > 0",
            "DELETE FROM contents WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM storage_links WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM workspace_pages WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM table_pages WHERE table_id IN (SELECT id FROM tables WHERE workspace = ?1) AND ?2 > 0",
            "DELETE FROM link_marks WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM links_kept WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM shared_keys WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM collection_rules WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM alerts WHERE rule IN (SELECT id FROM alert_rules WHERE workspace = ?1) AND ?2 > 0",
            "DELETE FROM alert_rules WHERE workspace = ?1 AND ?2 > 0",
            "DELETE FROM documents WHERE workspace = ?1 AND ?2 > 0",
            "UPDATE filter_groups SET state = 2, since_ms = 0 WHERE workspace = ?1 AND (state <> 2 OR since_ms > 0) AND ?2 > 0",
        ] {
            let done = sqlx::query(sql).bind(&id.as_bytes()[..]).bind(seq).execute(&mut *tx).await.map_err(|e| refused(SHRED, &e))?;
            counts.push(done.rows_affected());
        }
        commit(tx, SHRED).await?;
        Ok((counts[0], counts[1]))
    }

    /// Says that nothing of a deleted workspace is left to shred; its name is free.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] unless it is deleted.
    pub async fn workspace_shredded(&self, id: WorkspaceId, now_ms: i64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SHRED).await?;
        let done = sqlx::query("UPDATE workspaces SET shredded_ms = ? WHERE id = ? AND deleted_ms IS NOT NULL")
            .bind(now_ms)
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SHRED, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: WORKSPACE });
        }
        commit(tx, SHRED).await
    }

    /// Deleted clusters whose keys are not destroyed yet: which, and since when they are deleted, milliseconds since 1970.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn clusters_unshredded(&self) -> Result<Vec<(ObjectId, i64)>, CatalogError> {
        let rows = sqlx::query("SELECT id, deleted_ms FROM clusters WHERE deleted_ms IS NOT NULL AND shredded_ms IS NULL ORDER BY id")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, CLUSTER);
                Ok((ObjectId::from_bytes(columns.fixed()?), columns.int()?))
            })
            .collect()
    }

    /// Destroys every key of an account whose cluster is deleted (AEK records, its outer layer's key, secrets sealed under
    /// them) and makes tombstones of its blocks. How many AEKs and blocks. Doing it twice is no harm.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] unless the cluster is deleted; [`CatalogError::Conflict`] while a workspace sends rows there.
    pub async fn account_shred(&self, cluster: ObjectId, account: AccountId) -> Result<(u64, u64), CatalogError> {
        fail::fail_point!("shred.records", |_| Err(CatalogError::Failpoint { point: "shred.records" }));
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SHRED).await?;
        let deleted: Option<i64> = sqlx::query_scalar("SELECT 1 FROM clusters WHERE id = ? AND account = ? AND deleted_ms IS NOT NULL")
            .bind(&cluster.as_bytes()[..])
            .bind(&account.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(SHRED, &e))?;
        if deleted.is_none() {
            return Err(CatalogError::NotFound { what: CLUSTER });
        }
        let homes: i64 = sqlx::query_scalar("SELECT count(*) FROM workspaces WHERE account = ?")
            .bind(&account.as_bytes()[..])
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(SHRED, &e))?;
        if homes > 0 {
            return Err(CatalogError::Conflict { what: SHRED, why: "workspaces still send rows to the account" });
        }
        let seq = next_seq(&mut tx, SHRED).await?;
        let mut counts = Vec::new();
        for sql in [
            "DELETE FROM workspace_secrets WHERE aek IN (SELECT id FROM aeks WHERE account = ?1) AND ?2 > 0",
            "UPDATE blocks SET state = 2, since_ms = 0, removed_seq = ?2, stats = NULL WHERE account = ?1 AND state <> 2",
            "DELETE FROM schemas WHERE aek IN (SELECT id FROM aeks WHERE account = ?1) AND ?2 > 0",
            "INSERT INTO content_objects (rev, storage, workspace, kind) SELECT rev, storage, workspace, kind FROM contents
             WHERE aek IN (SELECT id FROM aeks WHERE account = ?1) AND storage IS NOT NULL AND ?2 > 0",
            "DELETE FROM contents WHERE aek IN (SELECT id FROM aeks WHERE account = ?1) AND ?2 > 0",
            "DELETE FROM collection_rules WHERE aek IN (SELECT id FROM aeks WHERE account = ?1) AND ?2 > 0",
            "DELETE FROM flushed WHERE account = ?1 AND ?2 > 0",
            "DELETE FROM segments WHERE account = ?1 AND ?2 > 0",
            "DELETE FROM standby_records WHERE account = ?1 AND ?2 > 0",
            "DELETE FROM buffer_keys WHERE aek IN (SELECT id FROM aeks WHERE account = ?1) AND ?2 > 0",
            "DELETE FROM infrastructure WHERE account = ?1 AND ?2 > 0",
            "DELETE FROM aeks WHERE account = ?1 AND ?2 > 0",
            "DELETE FROM own_identities WHERE cluster IN (SELECT id FROM clusters WHERE account = ?1) AND ?2 > 0",
            "UPDATE clusters SET principal = NULL, tenant = NULL, public_key = NULL, identity_cell = NULL, user_identity = NULL WHERE account = ?1 AND ?2 > 0",
            "UPDATE filter_groups SET state = 2, since_ms = 0 WHERE account = ?1 AND (state <> 2 OR since_ms > 0) AND ?2 > 0",
        ] {
            let done = sqlx::query(sql).bind(&account.as_bytes()[..]).bind(seq).execute(&mut *tx).await.map_err(|e| refused(SHRED, &e))?;
            counts.push(done.rows_affected());
        }
        commit(tx, SHRED).await?;
        Ok((counts[11], counts[1]))
    }

    /// Says that nothing of a deleted cluster is left to shred.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] unless it is deleted.
    pub async fn cluster_shredded(&self, cluster: ObjectId, now_ms: i64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SHRED).await?;
        let done = sqlx::query("UPDATE clusters SET shredded_ms = ? WHERE id = ? AND deleted_ms IS NOT NULL")
            .bind(now_ms)
            .bind(&cluster.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SHRED, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: CLUSTER });
        }
        commit(tx, SHRED).await
    }

    /// Takes rows of a table away, all or nothing; answers the blocks that became tombstones. The same commit again is answered as
    /// done, so an unknown outcome is asked for once more here.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if a block is no longer live or a new one not pending as announced;
    /// [`CatalogError::Invalid`] if a new block lies in another window or has as many rows as the old one, or more;
    /// [`CatalogError::CommitUnknown`] if it cannot be known: ask again.
    pub async fn shred_commit(&self, writer: WriterEpoch, table: TableId, shred: &ShredCommit) -> Result<Vec<BlockRow>, CatalogError> {
        fail::fail_point!("shred.txn", |_| Err(CatalogError::Failpoint { point: "shred.txn" }));
        match self.shred_once(writer, table, shred).await {
            Err(CatalogError::CommitUnknown { .. }) => self.shred_once(writer, table, shred).await,
            known => known,
        }
    }

    async fn shred_once(&self, writer: WriterEpoch, table: TableId, shred: &ShredCommit) -> Result<Vec<BlockRow>, CatalogError> {
        let now_ms = self.now_ms();
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, SHRED).await?;
        let mut again = !shred.replaced.is_empty();
        for (_, next) in &shred.replaced {
            again &= went_live(&mut tx, next).await?;
        }
        let mut buried = Vec::new();
        let seq = if again { 0 } else { next_seq(&mut tx, SHRED).await? };
        let olds = shred.gone.iter().map(|gone| (*gone, None)).chain(shred.replaced.iter().map(|(old, next)| (*old, Some(next))));
        for (old, next) in olds {
            let row = snapshot::block(&mut tx, old).await?.filter(|row| row.table == table);
            let Some(row) = row else { return Err(CatalogError::Conflict { what: SHRED, why: "a block is not the table's" }) };
            if row.state == BlockState::Live {
                // As if long ago: what is not unlinked at once is for the very next sweep.
                groups::end_of(&mut tx, &row, 0, SHRED).await?;
                bury(&mut tx, &row, 0, seq).await?;
                if let Some(next) = next {
                    if next.window != row.window || next.rows >= row.rows {
                        return Err(CatalogError::Invalid { what: "what is left of a block" });
                    }
                    go_live(&mut tx, table, row.epoch.aek, next, now_ms, seq, SHRED).await?;
                }
            } else if !(again || next.is_none() && row.state == BlockState::Tombstone) {
                return Err(CatalogError::Conflict { what: SHRED, why: "a block is no longer live" });
            }
            buried.push(row);
        }
        commit(tx, SHRED).await?;
        Ok(buried)
    }
}
