//! Saved content: one row an entry, its sealed cell in the row or in an object elsewhere. What an entry is called is in its cell.
//!
//! An object is announced before it is put (`content_objects`), counts once its row names it, and is announced again, to be deleted, by
//! the commit that makes another count: a stop at any step leaves an entry in one place and no object that nobody knows of.

use std::fmt;

use sqlx::sqlite::SqliteRow;
use strongroom_model::{AekId, ObjectId, WorkspaceId};

use crate::columns::{Columns, signed};
use crate::db::{Tx, commit, refused};
use crate::{Catalog, CatalogError};

const ENTRY: &str = "saved content";
const OBJECT: &str = "an object of saved content";

/// What kind of content an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentKind {
    /// A saved search that nothing calls.
    Query,
    /// A stored function, or a saved search that is called by a name.
    Functions,
    /// The texts of an alert rule.
    Alerts,
    /// What an alert rule remembers of rows.
    AlertStates,
    /// The questions that somebody asked.
    History,
    /// The questions that somebody pinned.
    Pins,
    /// A workbook that was asked into the customer's own storage.
    Workbooks,
}

impl ContentKind {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Query, Self::Functions, Self::Alerts, Self::AlertStates, Self::History, Self::Pins, Self::Workbooks];

    /// As it is written down.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "Query",
            Self::Functions => "Functions",
            Self::Alerts => "Alerts",
            Self::AlertStates => "AlertStates",
            Self::History => "History",
            Self::Pins => "Pins",
            Self::Workbooks => "Workbooks",
        }
    }
}

impl fmt::Display for ContentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ContentKind {
    type Err = CatalogError;
    fn from_str(text: &str) -> Result<Self, CatalogError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(CatalogError::BadValue { what: ENTRY })
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRow {
    /// The entry, as long as it is there.
    pub id: ObjectId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// What kind.
    pub kind: ContentKind,
    /// The row that the cell which counts is bound to: another with each sealing.
    pub rev: ObjectId,
    /// How the cell's value is laid out.
    pub format: u8,
    /// The epoch's AEK.
    pub aek: AekId,
    /// The storage account that the cell lies in; `None`: it is here.
    pub storage: Option<ObjectId>,
    /// The cell, if it is here.
    pub cell: Option<Vec<u8>>,
    /// Its bytes.
    pub sealed_len: u64,
    /// When the entry was last changed, milliseconds since 1970.
    pub changed_ms: i64,
}

/// An object that is being written, or is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentObjectRow {
    /// The cell's row.
    pub rev: ObjectId,
    /// The storage account it lies in.
    pub storage: ObjectId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// What kind of content.
    pub kind: ContentKind,
}

macro_rules! contents {
    ($rest:literal) => {
        concat!("SELECT id, workspace, kind, rev, format, aek, storage, cell, sealed_len, changed_ms FROM contents ", $rest)
    };
}

// Asked for by every query and every rule: each is answered by an index.
pub(crate) const OF_KIND: &str = contents!("WHERE workspace = ? AND kind = ? ORDER BY id");
pub(crate) const ONE: &str = contents!("WHERE workspace = ? AND kind = ? AND id = ?");
pub(crate) const COUNTS: &str = "SELECT 1 FROM contents WHERE rev = ?";
pub(crate) const COUNT: &str = "SELECT count(*) FROM contents WHERE workspace = ? AND kind = ?";

fn entry(row: &SqliteRow) -> Result<ContentRow, CatalogError> {
    let mut columns = Columns::of(row, ENTRY);
    Ok(ContentRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        kind: columns.parsed()?,
        rev: ObjectId::from_bytes(columns.fixed()?),
        format: columns.number()?,
        aek: AekId::from_bytes(columns.fixed()?),
        storage: columns.fixed_opt()?.map(ObjectId::from_bytes),
        cell: columns.bytes_opt()?,
        sealed_len: columns.number()?,
        changed_ms: columns.int()?,
    })
}

impl Catalog {
    /// The entries of a workspace, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn contents(&self, workspace: WorkspaceId) -> Result<Vec<ContentRow>, CatalogError> {
        self.entries(contents!("WHERE workspace = ? ORDER BY id"), &workspace.as_bytes()[..]).await
    }

    /// The entries of a workspace of one kind, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn contents_of(&self, workspace: WorkspaceId, kind: ContentKind) -> Result<Vec<ContentRow>, CatalogError> {
        let rows = sqlx::query(OF_KIND)
            .bind(&workspace.as_bytes()[..])
            .bind(kind.as_str())
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ENTRY, &e))?;
        rows.iter().map(entry).collect()
    }

    /// One entry of a workspace, if it is of that kind.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn content(&self, workspace: WorkspaceId, kind: ContentKind, id: ObjectId) -> Result<Option<ContentRow>, CatalogError> {
        let row = sqlx::query(ONE)
            .bind(&workspace.as_bytes()[..])
            .bind(kind.as_str())
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ENTRY, &e))?;
        row.as_ref().map(entry).transpose()
    }

    /// Whether a sealing still counts: its entry was neither changed nor taken away since.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn content_counts(&self, rev: ObjectId) -> Result<bool, CatalogError> {
        let found: Option<i64> = sqlx::query_scalar(COUNTS)
            .bind(&rev.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ENTRY, &e))?;
        Ok(found.is_some())
    }

    /// The entries that are sealed in an epoch, of all workspaces.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn contents_under(&self, aek: AekId) -> Result<Vec<ContentRow>, CatalogError> {
        self.entries(contents!("WHERE aek = ? ORDER BY id"), &aek.as_bytes()[..]).await
    }

    /// The entries that lie in a storage account, of all workspaces.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn contents_in(&self, storage: ObjectId) -> Result<Vec<ContentRow>, CatalogError> {
        self.entries(contents!("WHERE storage = ? ORDER BY id"), &storage.as_bytes()[..]).await
    }

    async fn entries(&self, sql: &'static str, id: &[u8]) -> Result<Vec<ContentRow>, CatalogError> {
        let rows = sqlx::query(sql).bind(id).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(ENTRY, &e))?;
        rows.iter().map(entry).collect()
    }

    /// How many entries of a kind a workspace has.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn contents_count(&self, workspace: WorkspaceId, kind: ContentKind) -> Result<u64, CatalogError> {
        let count: i64 = sqlx::query_scalar(COUNT)
            .bind(&workspace.as_bytes()[..])
            .bind(kind.as_str())
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ENTRY, &e))?;
        u64::try_from(count).map_err(|_| CatalogError::BadValue { what: ENTRY })
    }

    /// The workspaces that have entries in storage accounts.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn contents_elsewhere(&self) -> Result<Vec<WorkspaceId>, CatalogError> {
        let rows = sqlx::query("SELECT DISTINCT workspace FROM contents WHERE storage IS NOT NULL ORDER BY workspace")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ENTRY, &e))?;
        rows.iter().map(|row| Ok(WorkspaceId::from_bytes(Columns::of(row, ENTRY).fixed()?))).collect()
    }

    /// Writes an entry, in the place of what `replaces` names, or as a new one. Its object, if it has one, counts from now on; the one
    /// before, if there was one, is announced to be deleted.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if it was changed meanwhile, is gone or is there already; [`CatalogError::Orphan`] if the workspace is
    /// not there.
    pub async fn content_put(&self, row: &ContentRow, replaces: Option<ObjectId>) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ENTRY).await?;
        if let Some(rev) = replaces
            && !take(&mut tx, row.workspace, row.id, Some(rev)).await?
        {
            return Err(CatalogError::Conflict { what: ENTRY, why: "it was changed meanwhile" });
        }
        sqlx::query("DELETE FROM content_objects WHERE rev = ?")
            .bind(&row.rev.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(ENTRY, &e))?;
        sqlx::query(
            "INSERT INTO contents (id, workspace, kind, rev, format, aek, storage, cell, sealed_len, changed_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(&row.workspace.as_bytes()[..])
        .bind(row.kind.as_str())
        .bind(&row.rev.as_bytes()[..])
        .bind(i64::from(row.format))
        .bind(&row.aek.as_bytes()[..])
        .bind(row.storage.as_ref().map(|storage| &storage.as_bytes()[..]))
        .bind(row.cell.as_deref())
        .bind(signed(row.sealed_len, ENTRY)?)
        .bind(row.changed_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(ENTRY, &e))?;
        commit(tx, ENTRY).await
    }

    /// Takes an entry away; whether it was there. Its object, if it has one, is announced to be deleted.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn content_delete(&self, workspace: WorkspaceId, id: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ENTRY).await?;
        let there = take(&mut tx, workspace, id, None).await?;
        commit(tx, ENTRY).await?;
        Ok(there)
    }

    /// Announces an object: nothing counts it until an entry is written that names it.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn content_object_announce(&self, row: &ContentObjectRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(OBJECT).await?;
        sqlx::query("INSERT INTO content_objects (rev, storage, workspace, kind) VALUES (?, ?, ?, ?)")
            .bind(&row.rev.as_bytes()[..])
            .bind(&row.storage.as_bytes()[..])
            .bind(&row.workspace.as_bytes()[..])
            .bind(row.kind.as_str())
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(OBJECT, &e))?;
        commit(tx, OBJECT).await
    }

    /// The objects that nothing counts.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn content_objects(&self) -> Result<Vec<ContentObjectRow>, CatalogError> {
        let rows = sqlx::query("SELECT rev, storage, workspace, kind FROM content_objects ORDER BY rev")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(OBJECT, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, OBJECT);
                Ok(ContentObjectRow {
                    rev: ObjectId::from_bytes(columns.fixed()?),
                    storage: ObjectId::from_bytes(columns.fixed()?),
                    workspace: WorkspaceId::from_bytes(columns.fixed()?),
                    kind: columns.parsed()?,
                })
            })
            .collect()
    }

    /// Says that an object is gone.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn content_object_gone(&self, rev: ObjectId) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(OBJECT).await?;
        sqlx::query("DELETE FROM content_objects WHERE rev = ?")
            .bind(&rev.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(OBJECT, &e))?;
        commit(tx, OBJECT).await
    }
}

/// What announces the objects of the entries that `contents` names, before those go.
const ANNOUNCE: &str = "INSERT INTO content_objects (rev, storage, workspace, kind)
     SELECT rev, storage, workspace, kind FROM contents WHERE workspace = ?1 AND id = ?2 AND storage IS NOT NULL";

/// Takes a row out, if it is still that one. Whether it was.
async fn take(tx: &mut Tx<'_>, workspace: WorkspaceId, id: ObjectId, rev: Option<ObjectId>) -> Result<bool, CatalogError> {
    let there: Option<Vec<u8>> = sqlx::query_scalar("SELECT rev FROM contents WHERE workspace = ? AND id = ?")
        .bind(&workspace.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .fetch_optional(&mut **tx)
        .await
        .map_err(|e| refused(ENTRY, &e))?;
    let Some(there) = there else { return Ok(false) };
    if rev.is_some_and(|rev| rev.as_bytes()[..] != there[..]) {
        return Ok(false);
    }
    for sql in [ANNOUNCE, "DELETE FROM contents WHERE workspace = ?1 AND id = ?2"] {
        sqlx::query(sql)
            .bind(&workspace.as_bytes()[..])
            .bind(&id.as_bytes()[..])
            .execute(&mut **tx)
            .await
            .map_err(|e| refused(ENTRY, &e))?;
    }
    Ok(true)
}
