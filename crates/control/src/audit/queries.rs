//! Queries, written down with their text: as a cell under the key of the workspace that was asked, so that the text goes with the
//! key as the rows do.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strongroom_envelope::{CellPlace, open_cell, seal_cell};
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::{Epoch, ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_world::World;

use super::{Audit, Event, SealedText, name};
use crate::ControlError;

/// Bytes of a text that are kept.
const TEXT_MAX: usize = 64 << 10;
/// Texts being sealed at once; a query that finds no room is counted and goes on.
pub(super) const AT_ONCE: usize = 64;

/// A query that was answered.
#[derive(Debug)]
pub struct AskedQuery {
    /// Who asked.
    pub principal: PrincipalId,
    /// Which workspace.
    pub workspace: WorkspaceId,
    /// What.
    pub text: String,
    /// `kql` or `sql`.
    pub language: &'static str,
    /// What came of it: `ok`, or the code of the error.
    pub code: &'static str,
    /// How long the answer took.
    pub took: Duration,
    /// Rows that were read for it, if known.
    pub rows: Option<u64>,
    /// Bytes that were read for it, if known.
    pub bytes: Option<u64>,
}

impl Audit {
    /// Whether queries are written down.
    #[must_use]
    pub fn wants_queries(&self) -> bool {
        self.config.queries
    }

    /// Has a query written down, if the settings say so. Waits for nothing: sealing is done aside.
    pub fn query(self: &Arc<Self>, keys: &Arc<KeyRing>, asked: AskedQuery) {
        if !self.config.queries || !self.may_write_query() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.sealing).try_acquire_owned() else {
            return self.shared.lose(1);
        };
        let (audit, keys) = (Arc::clone(self), Arc::clone(keys));
        tokio::spawn(async move {
            let _permit = permit;
            let text = audit.seal_text(&keys, asked.principal, asked.workspace, &asked.text).await;
            let millis = u64::try_from(asked.took.as_millis()).unwrap_or(u64::MAX);
            let mut event = Event::new(name::QUERY).by(asked.principal).workspace(asked.workspace).code(asked.code);
            event = event.with("language", asked.language).with("millis", millis);
            for (detail, figure) in [("rowsRead", asked.rows), ("bytesRead", asked.bytes)] {
                if let Some(figure) = figure {
                    event = event.with(detail, figure);
                }
            }
            event.text = text;
            audit.note(event);
        });
    }

    /// `None` while the key is away: then the text is not kept at all.
    async fn seal_text(&self, keys: &KeyRing, principal: PrincipalId, workspace: WorkspaceId, text: &str) -> Option<SealedText> {
        let world = &self.reader.world;
        let account = self.reader.catalog.workspace(workspace).await.ok()??.account;
        let epoch = keys.write_epoch(account).await.ok()?;
        let guard = keys.guard(epoch, workspace, principal, Purpose::Ingest).await.ok()?;
        let (ms, random) = world.id_seed();
        let row = ObjectId::mint(ms, random);
        let place = CellPlace { epoch, workspace, table: TableId::NIL, row };
        let text = &text.as_bytes()[..text.floor_char_boundary(TEXT_MAX)];
        let cell = seal_cell(&guard, world.clock.boot(), world.rng.as_ref(), &place, text).ok()?;
        Some(SealedText { account, aek: epoch.aek, row, cell: STANDARD.encode(cell) })
    }
}

/// Opens a query's text: for who may see the workspace's rows, while its key is there.
///
/// # Errors
/// As the keys say; [`ControlError::Damaged`].
pub async fn open_text(keys: &KeyRing, world: &World, workspace: WorkspaceId, text: &SealedText) -> Result<String, ControlError> {
    let damaged = || ControlError::Damaged { what: "the text of a query in the audit chain" };
    let epoch = Epoch { account: text.account, aek: text.aek };
    let guard = keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Maintain).await?;
    let cell = STANDARD.decode(&text.cell).map_err(|_| damaged())?;
    let place = CellPlace { epoch, workspace, table: TableId::NIL, row: text.row };
    let plain = open_cell(&guard, world.clock.boot(), &place, &cell).map_err(|_| damaged())?;
    String::from_utf8(plain).map_err(|_| damaged())
}
