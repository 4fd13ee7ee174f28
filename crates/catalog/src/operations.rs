//! Operations: changes that take their time, written down so that a restart goes on with them.

use sqlx::sqlite::SqliteRow;
use strongroom_model::ObjectId;

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, OperationErrorRow, OperationRow};

const OPERATION: &str = "an operation";

macro_rules! operations {
    ($rest:literal) => {
        concat!("SELECT id, resource, region, kind, input, status, start_ms, end_ms, code, message, details FROM operations ", $rest)
    };
}

pub(crate) const RUNNING_ON: &str = operations!("WHERE resource = ? AND status = 'InProgress'");
pub(crate) const FORGET: &str = "DELETE FROM operations WHERE end_ms < ?";

fn operation(row: &SqliteRow) -> Result<OperationRow, CatalogError> {
    let mut columns = Columns::of(row, OPERATION);
    Ok(OperationRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        resource: columns.text()?,
        region: columns.text()?,
        kind: columns.text()?,
        input: columns.text()?,
        status: columns.parsed()?,
        start_ms: columns.int()?,
        end_ms: columns.int_opt()?,
        error: match (columns.text_opt()?, columns.text_opt()?, columns.text_opt()?) {
            (Some(code), Some(message), Some(details)) => Some(OperationErrorRow { code, message, details }),
            (None, None, None) => None,
            _ => return Err(CatalogError::BadValue { what: OPERATION }),
        },
    })
}

impl Catalog {
    /// Writes down an operation that begins.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if another runs on the same resource: of two that begin at once, one does.
    pub async fn operation_insert(&self, row: &OperationRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(OPERATION).await?;
        let error = row.error.as_ref();
        sqlx::query(
            "INSERT INTO operations (id, resource, region, kind, input, status, start_ms, end_ms, code, message, details)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.resource.as_str())
        .bind(row.region.as_str())
        .bind(row.kind.as_str())
        .bind(row.input.as_str())
        .bind(row.status.as_str())
        .bind(row.start_ms)
        .bind(row.end_ms)
        .bind(error.map(|error| error.code.as_str()))
        .bind(error.map(|error| error.message.as_str()))
        .bind(error.map(|error| error.details.as_str()))
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(OPERATION, &e))?;
        commit(tx, OPERATION).await
    }

    /// One operation.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn operation_get(&self, id: ObjectId) -> Result<Option<OperationRow>, CatalogError> {
        let row = sqlx::query(operations!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(OPERATION, &e))?;
        row.as_ref().map(operation).transpose()
    }

    /// The operation that runs on a resource.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn operation_running_on(&self, resource: &str) -> Result<Option<OperationRow>, CatalogError> {
        let row =
            sqlx::query(RUNNING_ON).bind(resource).fetch_optional(&mut *self.reader().await?).await.map_err(|e| refused(OPERATION, &e))?;
        row.as_ref().map(operation).transpose()
    }

    /// The operation that began last on a resource and is still known.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn operation_last_on(&self, resource: &str) -> Result<Option<OperationRow>, CatalogError> {
        let row = sqlx::query(operations!("WHERE resource = ? ORDER BY start_ms DESC, id DESC LIMIT 1"))
            .bind(resource)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(OPERATION, &e))?;
        row.as_ref().map(operation).transpose()
    }

    /// The operations that run, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn operation_list_running(&self) -> Result<Vec<OperationRow>, CatalogError> {
        let rows = sqlx::query(operations!("WHERE status = 'InProgress' ORDER BY id"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(OPERATION, &e))?;
        rows.iter().map(operation).collect()
    }

    /// Writes down anew what an operation that runs needs to go on.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it does not run.
    pub async fn operation_reinput(&self, id: ObjectId, input: &str) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(OPERATION).await?;
        let done = sqlx::query("UPDATE operations SET input = ? WHERE id = ? AND status = 'InProgress'")
            .bind(input)
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(OPERATION, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: OPERATION });
        }
        commit(tx, OPERATION).await
    }

    /// Writes down how an operation ended: `None`, it was done; else why not.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it does not run.
    pub async fn operation_finish(&self, id: ObjectId, end_ms: i64, error: Option<&OperationErrorRow>) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(OPERATION).await?;
        let done = sqlx::query(
            "UPDATE operations SET status = ?, end_ms = ?, code = ?, message = ?, details = ? WHERE id = ? AND status = 'InProgress'",
        )
        .bind(if error.is_some() { "Failed" } else { "Succeeded" })
        .bind(end_ms)
        .bind(error.map(|error| error.code.as_str()))
        .bind(error.map(|error| error.message.as_str()))
        .bind(error.map(|error| error.details.as_str()))
        .bind(&id.as_bytes()[..])
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(OPERATION, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: OPERATION });
        }
        commit(tx, OPERATION).await
    }

    /// Forgets operations that ended before a time; how many.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn operation_forget(&self, before_ms: i64) -> Result<u64, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(OPERATION).await?;
        let done = sqlx::query(FORGET).bind(before_ms).execute(&mut *tx).await.map_err(|e| refused(OPERATION, &e))?;
        commit(tx, OPERATION).await?;
        Ok(done.rows_affected())
    }
}
