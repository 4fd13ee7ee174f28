//! The format of the file, version by version.

use std::path::Path;

use sqlx::{Connection as _, SqliteConnection};
use strongroom_model::NodeId;
use strongroom_world::World;

use crate::CatalogError;
use crate::db::refused;

/// `SRMC` in SQLite's application id: tells our file from any other SQLite database.
const APPLICATION_ID: i64 = 0x5352_4d43;

/// Step n brings a file from version n to n + 1. Steps are never edited once released.
const STEPS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql"),
    include_str!("migrations/0013.sql"),
    include_str!("migrations/0014.sql"),
    include_str!("migrations/0015.sql"),
    include_str!("migrations/0016.sql"),
    include_str!("migrations/0017.sql"),
    include_str!("migrations/0018.sql"),
    include_str!("migrations/0019.sql"),
    include_str!("migrations/0020.sql"),
    include_str!("migrations/0021.sql"),
    include_str!("migrations/0022.sql"),
    include_str!("migrations/0023.sql"),
    include_str!("migrations/0024.sql"),
    include_str!("migrations/0025.sql"),
    include_str!("migrations/0026.sql"),
];

/// Brings the file to this build's version: each step in a transaction of its own, along with the version.
pub(crate) async fn migrate(conn: &mut SqliteConnection, path: &Path, world: &World) -> Result<(), CatalogError> {
    let what = "upgrading the catalog";
    let application: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *conn).await.map_err(|error| not_ours(refused(what, &error), path))?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *conn).await.map_err(|e| refused(what, &e))?;
    if application != APPLICATION_ID {
        let things: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *conn).await.map_err(|e| refused(what, &e))?;
        if application != 0 || found != 0 || things != 0 {
            return Err(CatalogError::NotACatalog { path: path.to_owned() });
        }
    }
    let newest = i64::try_from(STEPS.len()).expect("few steps");
    if found > newest {
        return Err(CatalogError::NewerFormat { path: path.to_owned(), found, newest });
    }
    let done = usize::try_from(found).map_err(|_| CatalogError::NotACatalog { path: path.to_owned() })?;
    for (step, &sql) in STEPS.iter().enumerate().skip(done) {
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(|e| refused(what, &e))?;
        sqlx::raw_sql(sql).execute(&mut *tx).await.map_err(|e| refused(what, &e))?;
        if step == 0 {
            let (ms, random) = world.id_seed();
            sqlx::query("INSERT INTO state (one, node, writer, seq) VALUES (1, ?, 0, 0)")
                .bind(&NodeId::mint(ms, random).as_bytes()[..])
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(what, &e))?;
        }
        // A pragma takes no parameters; the number is ours.
        let version = sqlx::AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}", step + 1));
        sqlx::raw_sql(version).execute(&mut *tx).await.map_err(|e| refused(what, &e))?;
        tx.commit().await.map_err(|e| refused(what, &e))?;
    }
    Ok(())
}

fn not_ours(error: CatalogError, path: &Path) -> CatalogError {
    match error {
        CatalogError::Sqlite { code, .. } if code & 0xff == crate::error::sqlite::NOTADB => {
            CatalogError::NotACatalog { path: path.to_owned() }
        }
        other => other,
    }
}
