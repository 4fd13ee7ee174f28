//! Connections: one that writes, a few that read; in memory one that does both.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex as Lock, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

use crate::error::sqlite;
use crate::{CatalogError, WriterEpoch};

/// Readers at once; more wait. A snapshot of a day takes well under a millisecond, so few suffice.
const READERS: usize = 4;
/// How long SQLite waits for another process (an offline command) before it says busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Page cache of each connection, KiB (negative: SQLite's sign for KiB).
const CACHE_KIB: &str = "-16384";
/// The journal is cut back to this many bytes after a checkpoint.
const JOURNAL_BYTES: &str = "67108864";
/// Rows a reader runs ahead of its caller.
const ROW_BUFFER: usize = 512;

pub(crate) type Tx<'a> = Transaction<'a, Sqlite>;

#[derive(Debug)]
pub(crate) struct Db {
    /// `None` once closed, or until it is opened anew.
    writer: Mutex<Option<SqliteConnection>>,
    /// The writer could not begin: its connection is replaced before the next use.
    broken: AtomicBool,
    closed: AtomicBool,
    /// `None` in memory: the writer's connection reads too.
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    write: SqliteConnectOptions,
    read: SqliteConnectOptions,
    permits: Semaphore,
    idle: Lock<Vec<SqliteConnection>>,
}

impl File {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("trusted_schema", "OFF")
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
}

impl Db {
    pub(crate) async fn file(path: &Path) -> Result<Self, CatalogError> {
        let base = options().filename(path).pragma("cache_size", CACHE_KIB);
        let write = base
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", JOURNAL_BYTES);
        let writer = write.connect().await.map_err(|e| refused("opening the catalog", &e))?;
        Ok(Self {
            writer: Mutex::new(Some(writer)),
            broken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            file: Some(File { write, read: base.read_only(true), permits: Semaphore::new(READERS), idle: Lock::default() }),
        })
    }

    pub(crate) async fn memory() -> Result<Self, CatalogError> {
        let writer = options().in_memory(true).connect().await.map_err(|e| refused("opening the catalog", &e))?;
        Ok(Self { writer: Mutex::new(Some(writer)), broken: AtomicBool::new(false), closed: AtomicBool::new(false), file: None })
    }

    /// The connection that writes; one caller at a time.
    pub(crate) async fn writer(&self) -> Result<Writer<'_>, CatalogError> {
        let mut slot = self.writer.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if let Some(file) = &self.file
            && (slot.is_none() || self.broken.load(Ordering::Acquire))
        {
            // Dropped first: two writers of one process would only wait for each other.
            *slot = None;
            *slot = Some(file.write.connect().await.map_err(|e| refused("opening the catalog", &e))?);
            self.broken.store(false, Ordering::Release);
        }
        if slot.is_none() {
            return Err(closed());
        }
        Ok(Writer { slot, db: self })
    }

    /// A connection to read with.
    pub(crate) async fn reader(&self) -> Result<Reader<'_>, CatalogError> {
        let Some(file) = &self.file else {
            return self.writer().await.map(Reader::Shared);
        };
        let permit = file.permits.acquire().await.map_err(|_| closed())?;
        let idle = file.idle().pop();
        if let Some(mut conn) = idle
            && conn.ping().await.is_ok()
        {
            return Ok(Reader::Lent(Lent { conn: Some(conn), file, _permit: permit }));
        }
        let conn = file.read.connect().await.map_err(|e| refused("opening the catalog", &e))?;
        Ok(Reader::Lent(Lent { conn: Some(conn), file, _permit: permit }))
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(file) = &self.file {
            file.permits.close();
            let idle = std::mem::take(&mut *file.idle());
            for conn in idle {
                shut(conn).await;
            }
        }
        // Last, so that SQLite folds the journal into the file.
        if let Some(conn) = self.writer.lock().await.take() {
            shut(conn).await;
        }
    }
}

async fn shut(conn: SqliteConnection) {
    if let Err(error) = conn.close().await {
        tracing::warn!(error = %refused("closing the catalog", &error), "catalog connection did not close cleanly");
    }
}

fn closed() -> CatalogError {
    CatalogError::Connection { what: "the catalog", cause: "it is closed" }
}

/// The writing connection, held.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    db: &'a Db,
}

impl Writer<'_> {
    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        self.slot.as_mut().expect("checked when the slot was taken")
    }

    /// Begins a transaction that holds the write lock from its first statement. Dropped before [`commit`], it is rolled back.
    pub(crate) async fn begin(&mut self, what: &'static str) -> Result<Tx<'_>, CatalogError> {
        let db = self.db;
        // A rollback that SQLite did on its own leaves sqlx counting a transaction that is gone; so does a dead worker
        // thread. Either way the connection is of no more use.
        self.conn().begin_with("BEGIN IMMEDIATE").await.map_err(|error| {
            if matches!(error, sqlx::Error::InvalidSavePointStatement | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed) {
                db.broken.store(true, Ordering::Release);
            }
            refused(what, &error)
        })
    }

    /// As [`begin`](Self::begin), and refuses any writer but the reigning one.
    pub(crate) async fn begin_as(&mut self, held: WriterEpoch, what: &'static str) -> Result<Tx<'_>, CatalogError> {
        let mut tx = self.begin(what).await?;
        let reigning: i64 = sqlx::query_scalar("SELECT writer FROM state").fetch_one(&mut *tx).await.map_err(|e| refused(what, &e))?;
        let reigning = WriterEpoch(u64::try_from(reigning).map_err(|_| CatalogError::BadValue { what: "writer epoch" })?);
        if reigning != held {
            return Err(CatalogError::Fenced { held, reigning });
        }
        Ok(tx)
    }
}

/// Commits. An error means that nobody knows whether it was done.
pub(crate) async fn commit(tx: Tx<'_>, what: &'static str) -> Result<(), CatalogError> {
    match commit_fault() {
        None => {
            let db_full = |code: i32| code & 0xff == sqlite::FULL;
            tx.commit().await.map_err(|error| match refused(what, &error) {
                // Nothing was written: there was no room for it.
                full @ CatalogError::Sqlite { code, .. } if db_full(code) => full,
                _ => CatalogError::CommitUnknown { what },
            })
        }
        Some(fault) if fault == "lost" => Err(CatalogError::CommitUnknown { what }),
        Some(_) => {
            tx.commit().await.map_err(|error| refused(what, &error))?;
            Err(CatalogError::CommitUnknown { what })
        }
    }
}

/// `return(lost)`: the commit never arrived; `return` alone: it was done and the answer got lost.
fn commit_fault() -> Option<String> {
    fail::fail_point!("catalog.commit_unknown", |fault| Some(fault.unwrap_or_default()));
    None
}

/// A connection to read with.
#[derive(Debug)]
pub(crate) enum Reader<'a> {
    Shared(Writer<'a>),
    Lent(Lent<'a>),
}

/// A reader's connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    conn: Option<SqliteConnection>,
    file: &'a File,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take()
            && !self.file.permits.is_closed()
        {
            self.file.idle().push(conn);
        }
    }
}

impl Deref for Reader<'_> {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Shared(writer) => writer.slot.as_ref().expect("checked when the slot was taken"),
            Self::Lent(lent) => lent.conn.as_ref().expect("there until dropped"),
        }
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Shared(writer) => writer.conn(),
            Self::Lent(lent) => lent.conn.as_mut().expect("there until dropped"),
        }
    }
}

/// What SQLite or sqlx said, without its text.
pub(crate) fn refused(what: &'static str, error: &sqlx::Error) -> CatalogError {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
            match code {
                sqlite::CONSTRAINT_PRIMARYKEY | sqlite::CONSTRAINT_UNIQUE => CatalogError::Conflict { what, why: "it is there already" },
                sqlite::CONSTRAINT_FOREIGNKEY => CatalogError::Orphan { what },
                _ => CatalogError::Sqlite { what, code },
            }
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
            CatalogError::BadValue { what }
        }
        sqlx::Error::Io(_) => CatalogError::Connection { what, cause: "an i/o error" },
        sqlx::Error::WorkerCrashed => CatalogError::Connection { what, cause: "the connection is gone" },
        sqlx::Error::InvalidSavePointStatement | sqlx::Error::BeginFailed => {
            CatalogError::Connection { what, cause: "no transaction could begin" }
        }
        _ => CatalogError::Connection { what, cause: "an unexpected error" },
    }
}
