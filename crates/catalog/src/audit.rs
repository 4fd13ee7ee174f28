//! The audit chain's head, and which of its records are still to be carried into workspaces' tables and to webhooks.
//!
//! The chain itself is a file that nothing here reads. Head and errands move in one transaction, so that each record is carried
//! once and none is passed over.

use strongroom_model::{ObjectId, WorkspaceId};

use crate::columns::{Columns, signed};
use crate::db::{Tx, commit, refused};
use crate::{Catalog, CatalogError};

const HEAD: &str = "the audit chain's head";
const CARRY: &str = "an audit record to carry";
const TOLD: &str = "a notice's mark";
/// Marks kept for a cluster; the oldest go first.
const TOLD_MAX: i64 = 1_000;

/// Where the chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHeadRow {
    /// The last record.
    pub seq: u64,
    /// The sealed head.
    pub cell: Vec<u8>,
}

/// Where a record is carried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuditSink {
    /// A workspace's table of audit records.
    Audit,
    /// A workspace's table of notices.
    Notice,
    /// A webhook.
    Call,
}

impl AuditSink {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Notice => "notice",
            Self::Call => "call",
        }
    }
}

impl std::str::FromStr for AuditSink {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Audit, Self::Notice, Self::Call].into_iter().find(|sink| sink.as_str() == text).ok_or(())
    }
}

/// A new record of the chain, as far as the catalog is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditErrand {
    /// The record.
    pub seq: u64,
    /// The first record of the file it lies in.
    pub file: u64,
    /// Where it begins there, in bytes.
    pub start: u64,
    /// The workspace whose table it goes to.
    pub workspace: Option<WorkspaceId>,
    /// The cluster; it goes to the tables of all workspaces that are linked to it now.
    pub cluster: Option<ObjectId>,
    /// Whether it is a notice besides.
    pub notice: bool,
    /// Whether somebody is to be called.
    pub call: bool,
    /// What it says is said once: its mark, for the cluster.
    pub told: Option<String>,
}

/// A record on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCarryRow {
    /// The record.
    pub seq: u64,
    /// The first record of the file it lies in.
    pub file: u64,
    /// Where it begins there, in bytes.
    pub start: u64,
}

impl Catalog {
    /// The chain's head; `None` if there was never one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_head(&self) -> Result<Option<AuditHeadRow>, CatalogError> {
        let row = sqlx::query("SELECT seq, cell FROM audit_head")
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(HEAD, &e))?;
        row.map(|row| {
            let mut columns = Columns::of(&row, HEAD);
            Ok(AuditHeadRow { seq: columns.number()?, cell: columns.bytes()? })
        })
        .transpose()
    }

    /// Moves the head, along with what follows from the records up to it. Doing it twice is no harm.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_advance(&self, head: &AuditHeadRow, errands: &[AuditErrand]) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(HEAD).await?;
        sqlx::query("INSERT INTO audit_head (one, seq, cell) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, cell = excluded.cell")
            .bind(signed(head.seq, HEAD)?)
            .bind(&head.cell[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(HEAD, &e))?;
        for errand in errands {
            let sinks = [(AuditSink::Audit, true), (AuditSink::Notice, errand.notice)];
            for (sink, _) in sinks.into_iter().filter(|(_, wanted)| *wanted) {
                carry_to_workspaces(&mut tx, sink, errand).await?;
            }
            if errand.call {
                let target = errand.cluster.unwrap_or(ObjectId::NIL);
                carry(&mut tx, AuditSink::Call, target.as_bytes(), errand).await?;
            }
            if let (Some(mark), Some(cluster)) = (&errand.told, errand.cluster) {
                tell(&mut tx, cluster, mark, errand.seq).await?;
            }
        }
        commit(tx, HEAD).await
    }

    /// Everything that waits to be carried: where to.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_targets(&self) -> Result<Vec<(AuditSink, [u8; 16])>, CatalogError> {
        let rows = sqlx::query("SELECT DISTINCT sink, target FROM audit_carry ORDER BY sink, target")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CARRY, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, CARRY);
                Ok((columns.parsed()?, columns.fixed()?))
            })
            .collect()
    }

    /// The first records that wait for a target, in the chain's order.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_waiting(&self, sink: AuditSink, target: &[u8; 16], limit: u32) -> Result<Vec<AuditCarryRow>, CatalogError> {
        let rows = sqlx::query("SELECT seq, file, start FROM audit_carry WHERE sink = ? AND target = ? ORDER BY seq LIMIT ?")
            .bind(sink.as_str())
            .bind(&target[..])
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CARRY, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, CARRY);
                Ok(AuditCarryRow { seq: columns.number()?, file: columns.number()?, start: columns.number()? })
            })
            .collect()
    }

    /// Strikes off what was carried: every record of a target up to `seq`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_carried(&self, sink: AuditSink, target: &[u8; 16], seq: u64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CARRY).await?;
        sqlx::query("DELETE FROM audit_carry WHERE sink = ? AND target = ? AND seq <= ?")
            .bind(sink.as_str())
            .bind(&target[..])
            .bind(signed(seq, CARRY)?)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(CARRY, &e))?;
        commit(tx, CARRY).await
    }

    /// Keeps the newest `keep` records that wait for a target and gives up the older ones; how many.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_give_up(&self, sink: AuditSink, target: &[u8; 16], keep: u32) -> Result<u64, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CARRY).await?;
        let done = sqlx::query(
            "DELETE FROM audit_carry WHERE sink = ?1 AND target = ?2
             AND seq <= (SELECT seq FROM audit_carry WHERE sink = ?1 AND target = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)",
        )
        .bind(sink.as_str())
        .bind(&target[..])
        .bind(i64::from(keep))
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(CARRY, &e))?;
        commit(tx, CARRY).await?;
        Ok(done.rows_affected())
    }

    /// Forgets every record that waits: the chain they lay in was put aside.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_forget(&self) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CARRY).await?;
        sqlx::query("DELETE FROM audit_carry").execute(&mut *tx).await.map_err(|e| refused(CARRY, &e))?;
        commit(tx, CARRY).await
    }

    /// Whether something was told of a cluster before.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn audit_told(&self, cluster: ObjectId, mark: &str) -> Result<bool, CatalogError> {
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_told WHERE cluster = ? AND mark = ?")
            .bind(&cluster.as_bytes()[..])
            .bind(mark)
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(TOLD, &e))?;
        Ok(found > 0)
    }
}

async fn carry_to_workspaces(tx: &mut Tx<'_>, sink: AuditSink, errand: &AuditErrand) -> Result<(), CatalogError> {
    if let Some(workspace) = errand.workspace {
        carry(tx, sink, workspace.as_bytes(), errand).await?;
    }
    let Some(cluster) = errand.cluster else { return Ok(()) };
    sqlx::query(
        "INSERT OR IGNORE INTO audit_carry (sink, target, seq, file, start) SELECT ?, id, ?, ?, ? FROM workspaces WHERE cluster = ?",
    )
    .bind(sink.as_str())
    .bind(signed(errand.seq, CARRY)?)
    .bind(signed(errand.file, CARRY)?)
    .bind(signed(errand.start, CARRY)?)
    .bind(&cluster.as_bytes()[..])
    .execute(&mut **tx)
    .await
    .map_err(|e| refused(CARRY, &e))?;
    Ok(())
}

async fn carry(tx: &mut Tx<'_>, sink: AuditSink, target: &[u8; 16], errand: &AuditErrand) -> Result<(), CatalogError> {
    sqlx::query("INSERT OR IGNORE INTO audit_carry (sink, target, seq, file, start) VALUES (?, ?, ?, ?, ?)")
        .bind(sink.as_str())
        .bind(&target[..])
        .bind(signed(errand.seq, CARRY)?)
        .bind(signed(errand.file, CARRY)?)
        .bind(signed(errand.start, CARRY)?)
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(CARRY, &e))?;
    Ok(())
}

async fn tell(tx: &mut Tx<'_>, cluster: ObjectId, mark: &str, seq: u64) -> Result<(), CatalogError> {
    sqlx::query("INSERT OR IGNORE INTO audit_told (cluster, mark, seq) VALUES (?, ?, ?)")
        .bind(&cluster.as_bytes()[..])
        .bind(mark)
        .bind(signed(seq, TOLD)?)
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(TOLD, &e))?;
    sqlx::query(
        "DELETE FROM audit_told WHERE cluster = ?1
         AND seq < (SELECT seq FROM audit_told WHERE cluster = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(&cluster.as_bytes()[..])
    .bind(TOLD_MAX)
    .execute(&mut **tx)
    .await
    .map_err(|e| refused(TOLD, &e))?;
    Ok(())
}
