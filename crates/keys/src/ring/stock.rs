//! What lies there at a start: each record is the right one and has its copy, or its cluster is shut, and that cluster alone.

use std::collections::HashMap;

use object_store::ObjectStoreExt;
use strongroom_catalog::{AccountRow, AekRow};
use strongroom_envelope::WrappedAek;
use strongroom_model::{AccountId, AekId, Epoch, ErrorKind, KeyClass, ObjectId};

use super::KeyRing;
use crate::gate::Standing;
use crate::records::copy_path;
use crate::{KeyError, Shut};

impl KeyRing {
    /// Compares the records of an account with their copies and with what the ledger knew at the start.
    ///
    /// # Errors
    /// [`KeyError::Catalog`], [`KeyError::Objects`]; for an account that is no cluster's, a record that is not the right one.
    pub(super) async fn take_stock(&self, account: &AccountRow, known: &HashMap<AekId, u64>) -> Result<(), KeyError> {
        for row in self.catalog.aeks(account.id).await? {
            if let Err(error) = self.inspect(&row, known).await {
                match &account.cluster {
                    Some(cluster) if error.kind() == ErrorKind::Corrupt => {
                        tracing::error!(aek = %row.aek, account = %account.id, %cluster, %error, "a key record is not the right one: its cluster is quarantined");
                        self.distrust(account.id, cluster).await?;
                    }
                    _ => return Err(error),
                }
            }
        }
        if !self.is_distrusted(account.id) {
            self.settle_standbys(account.id).await;
        }
        Ok(())
    }

    async fn inspect(&self, row: &AekRow, known: &HashMap<AekId, u64>) -> Result<(), KeyError> {
        let record = self.admit(row)?;
        if let Err(error) = self.copies.reconcile(&record).await {
            if let KeyError::Stale { aek, highest, .. } = &error {
                // From now on this record is refused wherever it is asked for.
                self.generations.note(*aek, *highest);
            }
            return Err(error);
        }
        // Kept just before a stop, or before there was a ledger.
        if known.get(&row.aek).is_none_or(|highest| *highest < row.generation) {
            self.ledger.kept(&record);
        }
        Ok(())
    }

    /// Shuts the gate of a cluster's account: the watch goes on from there.
    async fn distrust(&self, account: AccountId, cluster: &str) -> Result<(), KeyError> {
        self.distrusted.lock().insert(account);
        let id: Option<ObjectId> = cluster.parse().ok();
        let row = match id {
            Some(id) => self.catalog.cluster_get(id).await?,
            None => None,
        };
        let name = row.map_or_else(|| cluster.to_owned(), |row| row.name);
        let standing = Standing::Shut(Shut::Quarantined, self.world.clock.wall().unix_ms());
        self.gate(account, id.unwrap_or(ObjectId::NIL), &name, standing);
        Ok(())
    }

    /// Whether a record of the account was not the right one when the ring was opened, and nobody mended it since.
    #[must_use]
    pub fn is_distrusted(&self, account: AccountId) -> bool {
        self.distrusted.lock().contains(&account)
    }

    /// The epochs of an account under the customer's key as the catalog has them, whatever their records are.
    ///
    /// # Errors
    /// [`KeyError::Catalog`].
    pub async fn customer_epochs(&self, account: AccountId) -> Result<Vec<Epoch>, KeyError> {
        let rows = self.customer_rows(account).await?;
        Ok(rows.into_iter().map(|row| Epoch { account, aek: row.aek }).collect())
    }

    /// Puts the newest record known back in the place of an older one, from the copy beside the data. How many. What it unwraps to
    /// is for a vault to prove.
    ///
    /// # Errors
    /// [`KeyError::Catalog`], [`KeyError::Objects`]. A record that has no right copy stays, and goes on being refused.
    pub async fn mend_records(&self, account: AccountId) -> Result<usize, KeyError> {
        let mut mended = 0;
        for row in self.catalog.aeks(account).await? {
            if row.class != KeyClass::Cmk || self.admit(&row).is_ok() {
                continue;
            }
            let bytes = match self.copies.objects().get(&copy_path(account, row.aek)).await {
                Ok(found) => found.bytes().await?,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let Ok(copy) = WrappedAek::from_bytes(&bytes) else { continue };
            let newer = AekRow { generation: copy.ids.generation, record: bytes.to_vec(), ..row };
            if self.admit(&newer).is_err() {
                continue;
            }
            self.catalog.aek_mend(&newer).await?;
            tracing::warn!(aek = %newer.aek, %account, generation = newer.generation, "a key record was put right from its copy beside the data");
            mended += 1;
        }
        Ok(mended)
    }

    /// Every record of the account was proved: it is as any other from now on.
    pub fn trust(&self, account: AccountId) {
        self.distrusted.lock().remove(&account);
    }
}
