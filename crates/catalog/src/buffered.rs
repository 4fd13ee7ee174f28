//! What comes while a customer's key is away: public keys, segments on their way into blocks, policies, counts.

use strongroom_model::{AekId, ObjectId, TableId, WhileRevoked, WorkspaceId};

use crate::blocks::{go_live, next_seq, went_live};
use crate::columns::{Columns, signed};
use crate::db::{commit, refused};
use crate::{AwayRow, BufferedCommit, Catalog, CatalogError, WriterEpoch, batches};

const KEY: &str = "a buffer's public key";
const OPENED: &str = "an opened buffer";
const POLICY: &str = "an ingest policy";
const AWAY: &str = "a count of what came while a key was away";

impl Catalog {
    /// The public key of an AEK's buffer, in the cell that vouches for it.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn buffer_key(&self, aek: AekId) -> Result<Option<Vec<u8>>, CatalogError> {
        sqlx::query_scalar("SELECT cell FROM buffer_keys WHERE aek = ?")
            .bind(&aek.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(KEY, &e))
    }

    /// Keeps the public key of an AEK's buffer, unless there is one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn buffer_key_put(&self, aek: AekId, cell: &[u8]) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(KEY).await?;
        sqlx::query("INSERT INTO buffer_keys (aek, cell) VALUES (?, ?) ON CONFLICT (aek) DO NOTHING")
            .bind(&aek.as_bytes()[..])
            .bind(cell)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(KEY, &e))?;
        commit(tx, KEY).await
    }

    /// Makes part of a segment durable as blocks: they go live, its batch ids are kept, and the records up to `through` count as
    /// opened; all or nothing. The same commit again is answered as done.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if a block is not pending as announced or the records were opened by
    /// another commit; [`CatalogError::CommitUnknown`] if it cannot be known: ask again.
    pub async fn buffered_commit(&self, writer: WriterEpoch, commit: &BufferedCommit) -> Result<(), CatalogError> {
        fail::fail_point!("restore.txn", |_| Err(CatalogError::Failpoint { point: "restore.txn" }));
        match self.buffered_once(writer, commit).await {
            Err(CatalogError::CommitUnknown { .. }) => self.buffered_once(writer, commit).await,
            known => known,
        }
    }

    async fn buffered_once(&self, writer: WriterEpoch, opened: &BufferedCommit) -> Result<(), CatalogError> {
        let now_ms = self.now_ms();
        let through = signed(opened.through, "a position")?;
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, OPENED).await?;
        let reached: Option<i64> = sqlx::query_scalar("SELECT through FROM buffer_opened WHERE segment = ?")
            .bind(&opened.segment.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(OPENED, &e))?;
        if reached.is_some_and(|reached| through <= reached) {
            // By this very commit, or its rows would be there twice.
            for block in opened.tables.iter().flat_map(|(_, blocks)| blocks) {
                if !went_live(&mut tx, block).await? {
                    return Err(CatalogError::Conflict { what: OPENED, why: "its records were opened before" });
                }
            }
            return Ok(());
        }
        let seq = next_seq(&mut tx, OPENED).await?;
        for (table, blocks) in &opened.tables {
            for block in blocks {
                go_live(&mut tx, *table, opened.epoch.aek, block, now_ms, seq, OPENED).await?;
            }
        }
        for batch in &opened.batches {
            batches::keep(&mut tx, batch).await?;
        }
        sqlx::query(
            "INSERT INTO buffer_opened (segment, through) VALUES (?, ?) ON CONFLICT (segment) DO UPDATE SET through = excluded.through",
        )
        .bind(&opened.segment.as_bytes()[..])
        .bind(through)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(OPENED, &e))?;
        commit(tx, OPENED).await
    }

    /// How far segments were opened whose files may still be there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn buffer_opened(&self) -> Result<Vec<(ObjectId, u64)>, CatalogError> {
        let rows = sqlx::query("SELECT segment, through FROM buffer_opened")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(OPENED, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, OPENED);
                Ok((ObjectId::from_bytes(columns.fixed()?), columns.number()?))
            })
            .collect()
    }

    /// Forgets a segment whose file is gone.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn buffer_opened_forget(&self, segment: ObjectId) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(OPENED).await?;
        sqlx::query("DELETE FROM buffer_opened WHERE segment = ?")
            .bind(&segment.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(OPENED, &e))?;
        commit(tx, OPENED).await
    }

    /// What a workspace wants done with rows while its key is revoked.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn ingest_policy(&self, workspace: WorkspaceId) -> Result<WhileRevoked, CatalogError> {
        let found: Option<String> = sqlx::query_scalar("SELECT while_revoked FROM ingest_policies WHERE workspace = ?")
            .bind(&workspace.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(POLICY, &e))?;
        found.map_or(Ok(WhileRevoked::Refuse), |text| text.parse().map_err(|_| CatalogError::BadValue { what: POLICY }))
    }

    /// Sets it.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if there is no such workspace.
    pub async fn ingest_policy_set(&self, workspace: WorkspaceId, policy: WhileRevoked) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(POLICY).await?;
        let query = match policy {
            WhileRevoked::Refuse => sqlx::query("DELETE FROM ingest_policies WHERE workspace = ?").bind(&workspace.as_bytes()[..]),
            other => sqlx::query(
                "INSERT INTO ingest_policies (workspace, while_revoked) VALUES (?, ?)
                 ON CONFLICT (workspace) DO UPDATE SET while_revoked = excluded.while_revoked",
            )
            .bind(&workspace.as_bytes()[..])
            .bind(other.as_str()),
        };
        query.execute(&mut *tx).await.map_err(|e| refused(POLICY, &e))?;
        commit(tx, POLICY).await
    }

    /// Adds to what became of requests that came while a key was away.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn away_add(&self, counts: &[AwayRow]) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(AWAY).await?;
        for count in counts {
            sqlx::query(
                "INSERT INTO ingest_away (workspace, table_id, refused, sealed, dropped, last_ms) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (workspace, table_id) DO UPDATE
                 SET refused = refused + excluded.refused, sealed = sealed + excluded.sealed, dropped = dropped + excluded.dropped,
                     last_ms = max(last_ms, excluded.last_ms)",
            )
            .bind(&count.workspace.as_bytes()[..])
            .bind(&count.table.as_bytes()[..])
            .bind(signed(count.refused, AWAY)?)
            .bind(signed(count.sealed, AWAY)?)
            .bind(signed(count.dropped, AWAY)?)
            .bind(count.last_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(AWAY, &e))?;
        }
        commit(tx, AWAY).await
    }

    /// What became of a workspace's requests that came while its key was away, by table.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn away_counts(&self, workspace: WorkspaceId) -> Result<Vec<AwayRow>, CatalogError> {
        let rows = sqlx::query("SELECT table_id, refused, sealed, dropped, last_ms FROM ingest_away WHERE workspace = ? ORDER BY table_id")
            .bind(&workspace.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(AWAY, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, AWAY);
                Ok(AwayRow {
                    workspace,
                    table: TableId::from_bytes(columns.fixed()?),
                    refused: columns.number()?,
                    sealed: columns.number()?,
                    dropped: columns.number()?,
                    last_ms: columns.int()?,
                })
            })
            .collect()
    }
}
