//! Workbooks, query packs and the queries in them. What they say is a sealed cell, or lies elsewhere.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{ObjectId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const DOCUMENT: &str = "a document";

/// What kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A workbook.
    Workbook,
    /// A query pack.
    Pack,
    /// A query in one.
    PackQuery,
}

impl DocumentKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Workbook => "workbook",
            Self::Pack => "pack",
            Self::PackQuery => "packQuery",
        }
    }
}

impl std::str::FromStr for DocumentKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Workbook, Self::Pack, Self::PackQuery].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its id, which stays.
    pub id: ObjectId,
    /// Its kind.
    pub kind: DocumentKind,
    /// The pack that it is in; [`ObjectId::NIL`]: none.
    pub parent: ObjectId,
    /// Its name.
    pub name: String,
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub region: String,
    /// Its tags, a JSON object.
    pub tags: String,
    /// The workspace whose saved content has it; `None`: its cell is here.
    pub workspace: Option<WorkspaceId>,
    /// The row its cell is bound to.
    pub cell_id: ObjectId,
    /// The sealed cell.
    pub cell: Option<Vec<u8>>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written.
    pub changed_ms: i64,
}

macro_rules! documents {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, parent, name, subscription, resource_group, region, tags, workspace, cell_id, cell, created_ms, changed_ms FROM documents ",
            $rest
        )
    };
}

fn document(row: &SqliteRow) -> Result<DocumentRow, CatalogError> {
    let mut columns = Columns::of(row, DOCUMENT);
    Ok(DocumentRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        kind: columns.parsed()?,
        parent: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        tags: columns.text()?,
        workspace: columns.fixed_opt()?.map(WorkspaceId::from_bytes),
        cell_id: ObjectId::from_bytes(columns.fixed()?),
        cell: columns.bytes_opt()?,
        created_ms: columns.int()?,
        changed_ms: columns.int()?,
    })
}

impl Catalog {
    /// Makes a document, or writes one anew: its id, its birth and the spelling of its name stay.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn document_put(&self, row: &DocumentRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(DOCUMENT).await?;
        sqlx::query(
            "INSERT INTO documents (id, kind, parent, name, subscription, resource_group, region, tags, workspace, cell_id, cell, created_ms, changed_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET tags = excluded.tags, workspace = excluded.workspace, cell_id = excluded.cell_id,
                                            cell = excluded.cell, changed_ms = excluded.changed_ms",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.kind.as_str())
        .bind(&row.parent.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.region.as_str())
        .bind(row.tags.as_str())
        .bind(row.workspace.as_ref().map(|id| id.as_bytes().to_vec()))
        .bind(&row.cell_id.as_bytes()[..])
        .bind(row.cell.as_deref())
        .bind(row.created_ms)
        .bind(row.changed_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(DOCUMENT, &e))?;
        commit(tx, DOCUMENT).await
    }

    /// One document of that name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn document(
        &self,
        kind: DocumentKind,
        parent: ObjectId,
        (subscription, resource_group, name): (&str, &str, &str),
    ) -> Result<Option<DocumentRow>, CatalogError> {
        let row = sqlx::query(documents!("WHERE kind = ? AND parent = ? AND name = ? AND subscription = ? AND resource_group = ?"))
            .bind(kind.as_str())
            .bind(&parent.as_bytes()[..])
            .bind(name)
            .bind(subscription)
            .bind(resource_group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(DOCUMENT, &e))?;
        row.as_ref().map(document).transpose()
    }

    /// All documents of a kind in a pack, or in none, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn documents(&self, kind: DocumentKind, parent: ObjectId) -> Result<Vec<DocumentRow>, CatalogError> {
        let rows = sqlx::query(documents!("WHERE kind = ? AND parent = ? ORDER BY name, subscription, resource_group"))
            .bind(kind.as_str())
            .bind(&parent.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(DOCUMENT, &e))?;
        rows.iter().map(document).collect()
    }

    /// Takes a document away, and what is in it. Whether it was there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn document_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(DOCUMENT).await?;
        sqlx::query("DELETE FROM documents WHERE parent = ?")
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(DOCUMENT, &e))?;
        let done = sqlx::query("DELETE FROM documents WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(DOCUMENT, &e))?;
        commit(tx, DOCUMENT).await?;
        Ok(done.rows_affected() == 1)
    }
}
