//! Lockbox requests. Each moves forward only: asked, decided, over.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, LockboxRow, LockboxState};

const REQUEST: &str = "a Lockbox request";

macro_rules! requests {
    ($rest:literal) => {
        concat!(
            "SELECT id, workspace, cluster, requester, requester_name, reason, hours, state, asked_ms, answer_by_ms, decider, decider_name,
                    decided_ms, until_ms, ended_ms FROM lockbox_requests ",
            $rest
        )
    };
}

pub(crate) const APPROVED: &str =
    requests!("WHERE workspace = ?1 AND requester = ?2 AND state = 'Approved' AND until_ms > ?3 ORDER BY until_ms DESC LIMIT 1");
pub(crate) const OVER: &str = requests!(
    "WHERE state IN ('Pending', 'Approved') AND ((state = 'Pending' AND answer_by_ms <= ?1) OR (state = 'Approved' AND until_ms <= ?1))"
);

fn request(row: &SqliteRow) -> Result<LockboxRow, CatalogError> {
    let mut columns = Columns::of(row, REQUEST);
    Ok(LockboxRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        cluster: ObjectId::from_bytes(columns.fixed()?),
        requester: PrincipalId::from_bytes(columns.fixed()?),
        requester_name: columns.text()?,
        reason: columns.text()?,
        hours: columns.number()?,
        state: columns.parsed()?,
        asked_ms: columns.int()?,
        answer_by_ms: columns.int()?,
        decided: match (columns.fixed_opt()?, columns.text_opt()?, columns.int_opt()?) {
            (Some(who), Some(name), Some(at_ms)) => Some((PrincipalId::from_bytes(who), name, at_ms)),
            (None, None, None) => None,
            _ => return Err(CatalogError::BadValue { what: REQUEST }),
        },
        until_ms: columns.int_opt()?,
        ended_ms: columns.int_opt()?,
    })
}

impl Catalog {
    /// Writes a request down.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken; [`CatalogError::Orphan`] if the workspace is not there.
    pub async fn lockbox_insert(&self, row: &LockboxRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(REQUEST).await?;
        sqlx::query(
            "INSERT INTO lockbox_requests (id, workspace, cluster, requester, requester_name, reason, hours, state, asked_ms, answer_by_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(&row.workspace.as_bytes()[..])
        .bind(&row.cluster.as_bytes()[..])
        .bind(&row.requester.as_bytes()[..])
        .bind(row.requester_name.as_str())
        .bind(row.reason.as_str())
        .bind(i64::from(row.hours))
        .bind(row.state.as_str())
        .bind(row.asked_ms)
        .bind(row.answer_by_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(REQUEST, &e))?;
        commit(tx, REQUEST).await
    }

    /// One request.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn lockbox_get(&self, id: ObjectId) -> Result<Option<LockboxRow>, CatalogError> {
        let row = sqlx::query(requests!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(REQUEST, &e))?;
        row.as_ref().map(request).transpose()
    }

    /// All requests, newest first; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn lockbox_list(&self, limit: u32) -> Result<Vec<LockboxRow>, CatalogError> {
        let rows = sqlx::query(requests!("ORDER BY id DESC LIMIT ?"))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(REQUEST, &e))?;
        rows.iter().map(request).collect()
    }

    /// The approval that lasts longest of those in force at `now_ms` for a principal and a workspace.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn lockbox_approved(
        &self,
        workspace: WorkspaceId,
        requester: PrincipalId,
        now_ms: i64,
    ) -> Result<Option<LockboxRow>, CatalogError> {
        let row = sqlx::query(APPROVED)
            .bind(&workspace.as_bytes()[..])
            .bind(&requester.as_bytes()[..])
            .bind(now_ms)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(REQUEST, &e))?;
        row.as_ref().map(request).transpose()
    }

    /// Requests whose time was over at `now_ms` and that still stand as if it were not.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn lockbox_over(&self, now_ms: i64) -> Result<Vec<LockboxRow>, CatalogError> {
        let rows = sqlx::query(OVER).bind(now_ms).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(REQUEST, &e))?;
        rows.iter().map(request).collect()
    }

    /// Moves a request on from the state it was in. `false`: it was in another by then, and stays.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn lockbox_move(&self, row: &LockboxRow, from: LockboxState) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(REQUEST).await?;
        let decided = row.decided.as_ref();
        let done = sqlx::query(
            "UPDATE lockbox_requests SET state = ?, decider = ?, decider_name = ?, decided_ms = ?, until_ms = ?, ended_ms = ?
             WHERE id = ? AND state = ?",
        )
        .bind(row.state.as_str())
        .bind(decided.map(|(who, ..)| &who.as_bytes()[..]))
        .bind(decided.map(|(_, name, _)| name.as_str()))
        .bind(decided.map(|(.., at_ms)| *at_ms))
        .bind(row.until_ms)
        .bind(row.ended_ms)
        .bind(&row.id.as_bytes()[..])
        .bind(from.as_str())
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(REQUEST, &e))?;
        commit(tx, REQUEST).await?;
        Ok(done.rows_affected() == 1)
    }
}
