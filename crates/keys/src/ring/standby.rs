//! Records that wait: every live AEK of a pinned key wrapped by newer versions too, so that "update the key identifier to resume"
//! works even after the old version is disabled.
//!
//! A record that waits stands beside exactly one live record: it has that one's ids, generation included, and is dead with it. It
//! unwraps nothing for anybody but [`KeyRing::rewrap`], which is called when the customer has set the key to its version.

use strongroom_catalog::{AekRow, StandbyRow};
use strongroom_envelope::{Aek, WrappedAek};
use strongroom_model::{AccountId, AekId, KeyClass};

use super::KeyRing;
use super::customers::wrapped;
use crate::KeyError;
use crate::provider::KeyVault;

impl KeyRing {
    /// Wraps every customer AEK of an account by `to`, whose newest version is `version`, and keeps the records beside the live ones,
    /// which `from` unwraps. Those that wait already are left. How many were made.
    ///
    /// # Errors
    /// [`KeyError::Vault`] as either vault answered: what was made so far stays.
    pub async fn stand_by(&self, account: AccountId, from: &dyn KeyVault, to: &dyn KeyVault, version: &str) -> Result<usize, KeyError> {
        let waiting = self.catalog.standbys(account).await?;
        let mut made = 0;
        for row in self.customer_rows(account).await? {
            let live = self.admit(&row)?;
            let there = waiting.iter().any(|standby| standby.aek == row.aek && standby.version == version);
            if there || live.key_version == version {
                continue;
            }
            let aek = from.unwrap_key(&live).await?;
            let record = wrapped(&aek, live.ids, to).await?;
            if record.key_uri != live.key_uri || record.key_version != version {
                // The vault went on in between: next time.
                continue;
            }
            fail::fail_point!("standby.keep");
            let created_ms = self.world.clock.wall().unix_ms();
            let standby = StandbyRow { aek: row.aek, version: version.to_owned(), account, record: record.to_bytes(), created_ms };
            if self.catalog.standby_put(&standby, live.ids.generation).await? {
                made += 1;
            }
        }
        if made > 0 {
            self.settle_standbys(account).await;
        }
        Ok(made)
    }

    /// The versions that records wait under, for each AEK, oldest first.
    ///
    /// # Errors
    /// [`KeyError::Catalog`].
    pub async fn standbys(&self, account: AccountId) -> Result<Vec<(AekId, String)>, KeyError> {
        Ok(self.catalog.standbys(account).await?.into_iter().map(|row| (row.aek, row.version)).collect())
    }

    /// The AEK of a record that waits under `version`, if there is one beside this live record and `to` unwraps it.
    pub(super) async fn waiting_for(&self, live: &WrappedAek, to: &dyn KeyVault, version: &str) -> Result<Option<Aek>, KeyError> {
        let waiting = self.catalog.standbys(live.ids.account).await?;
        let Some(row) = waiting.into_iter().find(|row| row.aek == live.ids.aek && row.version == version) else { return Ok(None) };
        let record = WrappedAek::from_bytes(&row.record)?;
        if record.ids != live.ids || record.key_uri != live.key_uri || record.key_version != version {
            return Err(KeyError::WrongRecord { aek: row.aek });
        }
        to.unwrap_key(&record).await.map(Some).map_err(KeyError::from)
    }

    /// Makes the copies beside the data what the catalog says waits. What fails is done at the next start.
    pub(super) async fn settle_standbys(&self, account: AccountId) {
        let settled = async {
            let waiting = self.catalog.standbys(account).await?;
            let mut records = Vec::with_capacity(waiting.len());
            for row in &waiting {
                records.push(WrappedAek::from_bytes(&row.record)?);
            }
            self.copies.settle_standbys(account, &records).await
        };
        if let Err(error) = settled.await {
            tracing::error!(%account, code = error.code(), "copies of waiting key records beside the data are not in order yet");
        }
    }

    /// The rows of an account's AEKs under the customer's key, oldest first.
    pub(super) async fn customer_rows(&self, account: AccountId) -> Result<Vec<AekRow>, KeyError> {
        let mut rows = self.catalog.aeks(account).await?;
        rows.retain(|row| row.class == KeyClass::Cmk);
        Ok(rows)
    }
}
